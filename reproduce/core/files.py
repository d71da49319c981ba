"""Files that appear whole or not at all, and errors that name the damaged place."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class UserError(Exception):
    """Something the user can put right. Shown as one line, exit code 2."""


class FolderInUse(UserError):
    """Another process holds the lock of a folder."""


UNUSABLE_PATH = (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError)
"""Errors of a path that cannot be used as asked: for the user to put right."""


def unusable(error: OSError) -> UserError:
    """One line for an error in UNUSABLE_PATH."""
    return UserError(f"{error.filename}: {error.strerror}; choose another or change it")


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then rename it: readers see the old file or the new one, never half of
    one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        raise UserError(f"{path.parent}: no folder can be made there; choose another") from None
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    write_whole(path, write)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON whole."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, whole."""
    write_text(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a Parquet file whole."""
    import pyarrow.parquet as pq

    write_whole(path, lambda beside: pq.write_table(table, beside, compression="zstd", compression_level=7))


def read_json(path: Path) -> Any:
    """Read JSON. Raises UserError naming the file when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged ({error}); run again with --redo") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line. Raises UserError naming file and row of the first damaged line."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged ({error}); run again with --redo") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            raise UserError(f"{path}, row {number}: damaged; run again with --redo") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: damaged (no JSON object); run again with --redo")
        rows.append(row)
    return rows


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file. Raises UserError naming the file, and the row where reading stopped, when it is damaged."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            groups = []
            for group in range(file.num_row_groups):
                groups.append(file.read_row_group(group, columns=columns))
                row += groups[-1].num_rows
            return pa.concat_tables(groups) if groups else file.schema_arrow.empty_table()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}, row {row + 1}: damaged ({reason}); run again with --redo") from None


def digest(content: Any) -> str:
    """sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
