"""The files a user names, and their content: unpacked, checked to be text and parsed as JSON, every size bounded."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from reproduce.core.files import UserError
from reproduce.logs.values import number_of

PACKED = {".gz": "gzip", ".zst": "zstd"}
SUSPECT_SIZE, LARGEST_RATIO, LARGEST_UNPACKED = 1 << 26, 200, 400 << 20
"""Bytes from which on the ratio of unpacked to packed is limited, that ratio, and the most bytes in any case."""
MOST_PARTS = 2_500_000
"""Objects and lists of one JSON value: each takes some hundred bytes of memory, a few in the file."""
MOST_VALUES = 15_000_000
"""Values of JSON that are parsed at once."""
BYTE_ORDER_MARKS = ((b"\xff\xfe", "UTF-16 or UTF-32"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32"))


@dataclass(frozen=True)
class LogFile:
    """One file. `policy` and `depth` are what the user said of it, None where the file itself is to say it."""

    path: Path
    policy: str | None
    depth: float | None

    @cached_property
    def suffix(self) -> str:
        """The last suffix in lower case, without that of a compression."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        return next((suffix for suffix in reversed(suffixes) if suffix not in PACKED), "")

    @property
    def stem(self) -> str:
        name = self.path.name
        for suffix in reversed(self.path.suffixes):
            if suffix.lower() in PACKED or suffix.lower() == self.suffix:
                name = name.removesuffix(suffix)
        return name or self.path.name

    def content(self) -> bytes:
        """The bytes of a text file, unpacked, without a byte order mark. Raises UserError for what is no UTF-8 text."""
        packing = PACKED.get(self.path.suffix.lower())
        content = self.path.read_bytes() if packing is None else self._unpacked(packing)
        for mark, name in BYTE_ORDER_MARKS:
            if content.startswith(mark):
                raise UserError(f"{self.path}, row 1: {name} text; save it as UTF-8")
        content = content.removeprefix(b"\xef\xbb\xbf")
        place = content.find(b"\0")
        reason = "a NUL byte, so no text (UTF-16 without its mark, or a damaged file)"
        if place < 0:
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                place, reason = error.start, f"not UTF-8 text ({error.reason})"
        if place >= 0:
            row = content.count(b"\n", 0, place) + 1
            raise UserError(f"{self.path}, row {row}: {reason}")
        if not content.strip():
            raise UserError(f"{self.path}: empty; there are no rows")
        return content

    def _unpacked(self, packing: str) -> bytes:
        content, packed = bytearray(), self.path.stat().st_size
        try:
            with pa.CompressedInputStream(pa.OSFile(str(self.path)), packing) as stream:
                while part := stream.read(1 << 22):
                    content += part
                    size = len(content)
                    if size > LARGEST_UNPACKED or (size > SUSPECT_SIZE and size > LARGEST_RATIO * packed):
                        raise UserError(
                            f"{self.path}: unpacks to more than {size >> 20} MiB from {packed >> 10} KiB; refused "
                            "(unpack it first if you trust it)"
                        )
                    if b"\0" in part:
                        break
        except (pa.ArrowException, OSError, zlib.error) as error:
            raise UserError(f"{self.path}: no {packing} file that can be read ({first_line(error)})") from None
        return bytes(content)


def parse_log_files(arguments: Sequence[str]) -> list[LogFile]:
    """`FILE`, `POLICY=FILE` or `POLICY@T=FILE` for each argument. Raises UserError for a file that is not there, or
    is there twice."""
    files = [_parse(argument) for argument in arguments]
    if not files:
        raise UserError("name at least one FILE of episodes: a table, or a log of an evaluation program")
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
    try:
        if Path(path).is_dir():
            raise UserError(f"{path}: a folder; name the files in it")
    except (OSError, ValueError):
        pass
    if not _is_file(path):
        raise UserError(f"{path}: no such file")
    if not equals:
        return LogFile(Path(path), None, None)
    policy, at, cap = name.rpartition("@")
    try:
        depth = number_of(cap) if at else None
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


@dataclass(frozen=True)
class JsonRows:
    """Objects of a file, one a line or the items of a list; `word` is "line" or "item"."""

    path: Path
    numbers: list[int]
    objects: list[dict[str, Any]]
    word: str

    def place(self, row: int) -> str:
        return f"{self.path}, {self.word} {self.numbers[row]}"

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, each in zip(self.numbers, self.objects, strict=True):
            yield f"{self.path}, {self.word} {number}", each


def lines_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of every line that is not blank. Lines end at \\n: other separators may stand in strings."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def json_rows(path: Path, content: bytes) -> JsonRows:
    """Every line as a JSON object. Raises UserError naming the first damaged line."""
    check_values(content, str(path))
    numbers, objects = [], []
    for number, line in lines_of(content):
        numbers.append(number)
        objects.append(as_object(parsed_json(line, f"{path}, line {number}"), f"{path}, line {number}"))
    return JsonRows(path, numbers, objects, "line")


def rows_of_list(path: Path, items: list[Any]) -> JsonRows:
    """The items of a JSON list, which must all be objects."""
    objects = [as_object(each, f"{path}, item {number}") for number, each in enumerate(items, start=1)]
    return JsonRows(path, list(range(1, len(items) + 1)), objects, "item")


def as_object(value: Any, place: str) -> dict[str, Any]:
    """The value, if it is a JSON object; else UserError."""
    if not isinstance(value, dict):
        raise UserError(f"{place}: expected a JSON object, found {type(value).__name__}")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object; else an empty one, for parts that a log may lack."""
    return value if isinstance(value, dict) else {}


def parsed_json(text: bytes, place: str) -> Any:
    """The JSON value. Raises UserError naming the place for text that is none, and for more parts than fit a value."""
    parts = text.count(b"{") + text.count(b"[") if len(text) > 2 * MOST_PARTS else 0
    if parts > MOST_PARTS:
        raise UserError(f"{place}: one JSON value of too many parts; write one object a line, as .jsonl")
    check_values(text, place)
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
    return mapping(content)


def check_values(content: bytes, place: str) -> None:
    """Raise UserError for JSON that would fill the memory: an empty list takes 3 bytes in a file and 64 there."""
    if len(content) > MOST_VALUES and sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise UserError(f"{place}: more than {MOST_VALUES:,} values; refused")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
