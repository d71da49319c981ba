"""Rows of a user's data set, one after the other: JSONL, a JSON list, or Parquet, of any size.

What is in a file is data: it is decoded and checked, nothing else. Errors name the file and the row, counted from 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from reproduce.core.files import UserError, check_readable

LONGEST_ROW = 4_000_000
"""Characters of one row of JSON; a longer one is refused."""
_CHUNK = 1 << 18
_BLANK = " \t\n\r"
Row = Mapping[str, Any]
State = tuple[str, int, int]
"""Path, size and time of change of a file."""


def read_rows(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """Number and content of each row of a .jsonl, .json or .parquet file; at most one batch of rows is in memory.

    columns: those to read of a Parquet file, which need not all be there; all when empty. Raises UserError for a file
    that is missing, damaged or of another kind.
    """
    readers = {".jsonl": _lines, ".json": _listed}
    check_readable(path)
    try:
        if path.suffix == ".parquet":
            yield from _batches(path, columns)
        elif path.suffix in readers:
            # The byte order mark that some editors write is no part of the first row.
            with path.open(encoding="utf-8-sig") as file:
                yield from readers[path.suffix](path, file)
        else:
            raise UserError(f"{path}: not a .jsonl, .json or .parquet file")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def text_of(path: Path, number: int, row: Row, names: Sequence[str], longest: int) -> str:
    """The text of the first of these columns that a row has, without the blanks around it; a number as its digits.

    Raises UserError, which names the last of them, where there is none, or where it is blank, longer than `longest`
    characters, or no text that can be written in Unicode.
    """
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{path}: row {number} has no {' or '.join(names)}")
    if len(value) > longest:
        raise UserError(f"{path}: row {number} has a longer {names[0]} than {longest} characters")
    if not is_unicode(value):
        raise UserError(f"{path}: row {number} has a {names[0]} that is no Unicode text")
    return value.strip()


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: JSON can write halves of a surrogate pair, and tokenizers fail on them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(path: Path, number: int, row: Any) -> tuple[int, Row]:
    if not isinstance(row, dict):
        raise UserError(f"{path}: row {number} is no object")
    return number, row


def _lines(path: Path, file: TextIO) -> Iterator[tuple[int, Row]]:
    number = 0
    while line := file.readline(LONGEST_ROW + 1):
        number += 1
        if len(line) > LONGEST_ROW:
            raise UserError(f"{path}: row {number} is longer than {LONGEST_ROW} characters")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{path}: row {number} is damaged (no JSON)") from None
        yield _checked(path, number, row)


def _listed(path: Path, file: TextIO) -> Iterator[tuple[int, Row]]:
    """The objects of one JSON list, decoded one at a time: HotpotQA's training file has half a gigabyte in one line."""
    text = _ListText(file)
    if text.next_mark() != "[":
        raise UserError(f"{path}: damaged (no JSON list)")
    text.place += 1
    number = 0
    while (mark := text.next_mark()) != "]":
        if number:
            if mark != ",":
                raise UserError(f"{path}: row {number + 1} is damaged (no JSON)")
            text.place += 1
            mark = text.next_mark()
        number += 1
        if mark != "{":
            raise UserError(f"{path}: row {number} is {'damaged (no JSON)' if mark in ('', ']') else 'no object'}")
        row = text.take()
        if row is None:
            raise UserError(f"{path}: row {number} is damaged (no JSON, or longer than {LONGEST_ROW} characters)")
        yield _checked(path, number, row)
    text.place += 1
    if text.next_mark():
        raise UserError(f"{path}: damaged (text after the list)")


class _ListText:
    """The unread part of a file, as much of it as is needed."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.place = file, "", 0
        self.decoder = json.JSONDecoder()

    def next_mark(self) -> str:
        """The next character that is not blank, which is not taken; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in _BLANK:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._read(_CHUNK):
                return ""

    def take(self) -> Any:
        """The object that begins here; None where there is none."""
        more = _CHUNK
        while True:
            try:
                row, self.place = self.decoder.raw_decode(self.text, self.place)
                return row
            except RecursionError:
                return None
            except ValueError:
                # Not all of it may be here yet. Each attempt reads as much again, so that few are needed.
                if len(self.text) - self.place > LONGEST_ROW or not self._read(more):
                    return None
                more *= 2

    def _read(self, count: int) -> bool:
        added = self.file.read(count)
        self.text, self.place = self.text[self.place :] + added, 0
        return bool(added)


def _batches(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            wanted = [name for name in columns if name in known] if columns else None
            for batch in file.iter_batches(batch_size=512, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged after row {number} ({str(error).splitlines()[0]})") from None


def files_of(folder: Path, name: str, endings: Sequence[str]) -> list[Path]:
    """The files of one part of a data set: NAME with one of these endings, or the shards of a Parquet file as Hugging
    Face names them, NAME-00000-of-00002.parquet. Empty where there is none.

    Raises UserError where there is more than one version of it, or not every shard.
    """
    shards = sorted(folder.glob(f"{name}-[0-9]*-of-[0-9]*.parquet"))
    versions = [[file] for ending in endings if (file := folder / f"{name}{ending}").is_file()]
    if shards:
        versions.append(shards)
        expected = int(shards[0].stem.rpartition("-")[2])
        if len(shards) != expected:
            raise UserError(f"{folder}: {len(shards)} of {expected} files {name}-*.parquet")
    if len(versions) > 1:
        raise UserError(f"{folder}: both {versions[0][0].name} and {versions[1][0].name}; leave one of them there")
    return versions[0] if versions else []


def states_of(files: Sequence[Path]) -> tuple[State, ...]:
    """The state of each file: the same as long as nobody wrote to it."""
    found = [(file, file.stat()) for file in files]
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in found)
