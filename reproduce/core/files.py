"""Files that appear whole or not at all, and errors that name the damaged place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
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


_FOR_THE_USER = {
    getattr(errno, name)
    for name in "EACCES EPERM EROFS ENOTDIR EEXIST EISDIR ENAMETOOLONG ELOOP ENXIO ENOTEMPTY EINVAL EBUSY".split()
}
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_WORDS_OF_NO_SPACE = ("os error 28", "os error 27", "os error 122", "No space left", "File too large", "quota exceeded")
"""Of libraries that tell the reason in words only."""


def refusal(error: BaseException) -> UserError | None:
    """One line for an error that the user can put right: a path that cannot be used as asked, a full disk.

    None for any other.
    """
    number = error.errno if isinstance(error, OSError) else None
    place = getattr(error, "filename", None) or ""
    if number in _NO_SPACE or any(words in str(error) for words in _WORDS_OF_NO_SPACE) or _half_written(error):
        return UserError(f"{place or 'writing failed'}: no space left on the disk, or a limit of file sizes is reached")
    if number in _FOR_THE_USER and place:
        shown = place if len(str(place)) <= 200 else f"{str(place)[:200]}..."
        return UserError(f"{shown}: {os.strerror(error.errno)}; choose another or change it")  # type: ignore[attr-defined]
    return None


def _half_written(error: BaseException) -> bool:
    """True for what torch raises where its archive cannot be written on."""
    words = ("PytorchStreamWriter failed writing", "inline_container")
    return isinstance(error, RuntimeError) and any(part in str(error) for part in words)


def expanded(name: str) -> Path:
    """A path with `~` written out. Raises UserError for the home of nobody."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: no such user") from None


def remove(path: Path) -> None:
    """Remove a file or a folder; of a link, only the link. Nothing there is no error."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then rename it: readers see the old file or the new
    one, never half of one, also after a loss of power."""
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except FileNotFoundError:
        raise UserError(f"{path.parent}: nothing can be written there; choose another") from None
    os.close(descriptor)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
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


def check_readable(path: Path) -> None:
    """Raise UserError unless a path is a file: a pipe would be waited for without end, as would some devices."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)[:200]}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: not a file")


def _read_text(path: Path) -> str:
    check_readable(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged ({error}); run again with --redo") from None


def read_json(path: Path) -> Any:
    """Read JSON. Raises UserError naming the file when it is missing, no file or damaged."""
    text = _read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); run again with --redo") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object per line. Raises UserError naming file and row of the first damaged line."""
    rows, lines = [], _read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{path}, row {number}: damaged; run again with --redo") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: damaged (no JSON object); run again with --redo")
        rows.append(row)
    return rows


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file. Raises UserError naming the file, and the row where reading stopped, when it is damaged."""
    check_readable(path)
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
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}, row {row + 1}: damaged ({reason}); run again with --redo") from None


def digest(content: Any) -> str:
    """sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
