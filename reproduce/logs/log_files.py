"""What the user names on the command line: a file, and for logs that do not say it, its policy and its T."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.logs.values import whole_or_real


@dataclass(frozen=True)
class LogFile:
    """One file. `policy` and `depth` are what the user said of it, None where the file itself is to say it."""

    path: Path
    policy: str | None
    depth: float | None


def parse_log_files(arguments: Sequence[str]) -> list[LogFile]:
    """`FILE`, `POLICY=FILE` or `POLICY@T=FILE` for each argument. Raises UserError for a file that is not there, or
    is there twice."""
    files = [_parse(argument) for argument in arguments]
    if not files:
        raise UserError("name at least one FILE of episodes: CSV, JSONL, Parquet, or a log of an evaluation program")
    seen: dict[tuple[str | None, float | None, str], Path] = {}
    for file in files:
        with file.path.open("rb") as content:
            key = (file.policy, file.depth, hashlib.file_digest(content, "sha256").hexdigest())
        if key in seen:
            same = "named twice" if seen[key].resolve() == file.path.resolve() else f"the same content as {seen[key]}"
            raise UserError(f"{file.path}: {same}; its episodes would count double")
        seen[key] = file.path
    return files


def _parse(argument: str) -> LogFile:
    if _is_file(argument):
        return LogFile(Path(argument), None, None)
    name, equals, path = argument.partition("=")
    if not equals:
        name, path = "", argument
    if Path(path).is_dir():
        raise UserError(f"{path}: a folder; name the files in it")
    if not _is_file(path):
        raise UserError(f"{path}: no such file")
    if not equals:
        return LogFile(Path(path), None, None)
    policy, at, cap = name.rpartition("@")
    try:
        depth = whole_or_real(cap) if at else None
    except ValueError:
        policy, depth = name, None
    policy = policy if depth is not None else name
    if not policy.strip() or (depth is not None and depth < 0):
        raise UserError(f"{argument!r}: expected POLICY=FILE or POLICY@T=FILE, with T at least 0")
    return LogFile(Path(path), policy.strip(), depth)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that is not blank. Raises UserError naming the first damaged line."""
    try:
        # Lines end at \n alone: other separators may stand inside JSON strings.
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _json_object(line, f"{path}, line {number}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _json_object(line: str, place: str) -> dict[str, Any]:
    row = parsed_json(line, place)
    if not isinstance(row, dict):
        raise UserError(f"{place}: expected a JSON object, found {type(row).__name__}")
    return row


def parsed_json(text: str | bytes, place: str) -> Any:
    """The JSON value. Raises UserError naming the place for text that is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{place}: not JSON that can be read (nested too deeply)") from None
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error})") from None


def neighbouring_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file beside a log, empty where there is none: it only helps to name the policy."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
