"""CSV, JSONL and Parquet tables: one episode a row (policy, question, T, success) or its counts (n, c).

`policy` and `T` may be left out. Columns are encoded as codes and distinct values first, so that a table of a million
episodes costs the parsing of its few distinct values. Any other column is ignored.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.logs.count_rows import CountRows
from reproduce.logs.log_files import LogFile
from reproduce.logs.scores import ScoreRule
from reproduce.logs.values import cap_of, count_of, name_of, whole_or_real

COLUMNS = ("policy", "question", "T", "success", "n", "c", "n_correct")
MISSING = -1


@dataclass(frozen=True, eq=False)
class Column:
    """`codes` (rows,) index the distinct `values`; MISSING where there is none."""

    codes: np.ndarray
    values: list[Any]


@dataclass(frozen=True, eq=False)
class PlainTable:
    """The columns of COLUMNS that a file has, the score's among them; `place` names a row for a message."""

    columns: dict[str, Column]
    names: tuple[str, ...]
    rows: int
    place: Callable[[int], str]


def rows_of_table(file: LogFile, table: PlainTable, rule: ScoreRule) -> CountRows:
    """Check and decode a table. Raises UserError naming the column that is missing or the first row that is wrong."""
    source = str(file.path)
    if table.rows == 0:
        raise UserError(f"{source}: empty; there are no rows")
    _require(source, table, "question")
    for column, said in (("policy", file.policy), ("T", file.depth)):
        if column in table.columns and said is not None:
            raise UserError(f"{source}: has a column {column} of its own; name it without POLICY or T before it")
    questions, question = _names(table, "question")
    if "policy" in table.columns:
        policies, policy = _names(table, "policy")
    else:
        policies, policy = (file.policy or file.path.stem,), np.zeros(table.rows, dtype=np.int64)
    depth = None if file.depth is None else np.full(table.rows, file.depth)
    if "T" in table.columns:
        depth = _numbers(table, "T", cap_of)
    counted = "n" in table.columns and bool({"c", "n_correct"} & table.columns.keys())
    n, c = _counts(source, table) if counted else _episodes(source, table, rule)
    return CountRows(
        source=source,
        policies=policies,
        questions=questions,
        policy=policy,
        question=question,
        depth=depth,
        n=n,
        c=c,
        counted=counted,
        policy_is_file_name="policy" not in table.columns and file.policy is None,
    )


def _episodes(source: str, table: PlainTable, rule: ScoreRule) -> tuple[np.ndarray, np.ndarray]:
    score = rule.name or "success"
    _require(source, table, score)
    won = rule.successes(_numbers(table, score, whole_or_real), score, source)
    return np.ones(table.rows, dtype=np.int64), won.astype(np.int64)


def _counts(source: str, table: PlainTable) -> tuple[np.ndarray, np.ndarray]:
    if {"c", "n_correct"} <= table.columns.keys() or "success" in table.columns:
        given = [name for name in ("success", "n", "c", "n_correct") if name in table.columns]
        raise UserError(f"{source}: columns {', '.join(given)}; expected success alone, or n with one of c, n_correct")
    successes = "c" if "c" in table.columns else "n_correct"
    n, c = _numbers(table, "n", count_of), _numbers(table, successes, count_of)
    for place in np.flatnonzero(c > n)[:1].tolist():
        raise UserError(f"{table.place(place)}: {successes} = {c[place]:.0f} exceeds n = {n[place]:.0f}")
    return n.astype(np.int64), c.astype(np.int64)


def _require(source: str, table: PlainTable, column: str) -> None:
    if column not in table.columns:
        hint = nearest(column, table.names[:12]) if table.names else "there are none"
        more = " (or n and c)" if column == "success" else ""
        raise UserError(f"{source}: no column {column!r}{more}; {hint}")


def _names(table: PlainTable, name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Distinct names in order of appearance, and the position of each row's."""
    column = table.columns[name]
    position: dict[str, int] = {}
    place = [position.setdefault(text, len(position)) for text in _decoded(table, name, name_of)]
    return tuple(position), np.array(place, dtype=np.int64)[column.codes]


def _numbers(table: PlainTable, name: str, parse: Callable[[Any], float]) -> np.ndarray:
    return np.array(_decoded(table, name, parse), dtype=np.float64)[table.columns[name].codes]


def _decoded(table: PlainTable, name: str, parse: Callable[[Any], Any]) -> list[Any]:
    """The distinct values of a column, parsed; UserError at the first row of the first that cannot be."""
    column = table.columns[name]
    for place in np.flatnonzero(column.codes == MISSING)[:1].tolist():
        raise UserError(f"{table.place(place)}: {name} is missing")
    decoded = []
    for code, value in enumerate(column.values):
        try:
            decoded.append(parse(value))
        except ValueError as error:
            first = int(np.flatnonzero(column.codes == code)[0])
            raise UserError(f"{table.place(first)}: {name} {error}") from None
    return decoded


def read_csv(path: Path, rule: ScoreRule) -> PlainTable:
    """Read a comma-separated table with a header. Raises UserError for text that is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV table in UTF-8 ({error})") from None
    if not header:
        raise UserError(f"{path}: empty; expected a header such as policy,question,T,success")
    wanted = _wanted(path, header, rule)
    if not wanted:
        return PlainTable({}, tuple(header), 1, str)
    try:
        table = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted, column_types={name: pa.string() for name in wanted}
            ),
        )
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{path}: not a CSV table ({_first_line(error)})") from None
    return _from_arrow(path, table, tuple(header), lambda row: f"{path}, row {row + 1} below the header")


def read_parquet(path: Path, rule: ScoreRule) -> PlainTable:
    """Read the wanted columns of a Parquet file. Raises UserError for a file that is none."""
    try:
        with pq.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            wanted = _wanted(path, names, rule)
            if not wanted:
                return PlainTable({}, names, file.metadata.num_rows, str)
            table = file.read(columns=wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a Parquet file that can be read ({_first_line(error)})") from None
    return _from_arrow(path, table.select(wanted), names, lambda row: f"{path}, row {row + 1}")


def table_of_objects(path: Path, objects: Iterable[tuple[int, dict[str, Any]]], rule: ScoreRule) -> PlainTable:
    """The columns of JSON objects, one a line; a key that a line lacks is missing there."""
    numbered = iter(objects)
    first = next(numbered, None)
    if first is None:
        return PlainTable({}, (), 0, str)
    names = tuple(first[1])
    wanted = _wanted(path, names, rule)
    codes: dict[str, list[int]] = {name: [] for name in wanted}
    seen: dict[str, dict[Any, int]] = {name: {} for name in wanted}
    lines = []
    for line, row in itertools.chain([first], numbered):
        lines.append(line)
        for name in wanted:
            value = row.get(name)
            # true, 1 and 1.0 are equal as keys, and lists are no keys at all.
            key = (type(value), value if isinstance(value, str | int | float) else repr(value))
            codes[name].append(MISSING if value is None else seen[name].setdefault(key, len(seen[name])))
    columns = {
        name: Column(np.array(codes[name], dtype=np.int64), [_plain(*key) for key in seen[name]]) for name in wanted
    }
    return PlainTable(columns, names, len(lines), lambda row: f"{path}, line {lines[row]}")


def _plain(kind: type, value: Any) -> Any:
    """The value itself, or for what no column may hold, something of its type to complain of."""
    return value if issubclass(kind, str | int | float) else kind()


def _wanted(path: Path, names: Iterable[str], rule: ScoreRule) -> list[str]:
    known = (*COLUMNS, rule.name) if rule.name else COLUMNS
    wanted = [name for name in names if name in known]
    for name in wanted:
        if wanted.count(name) > 1:
            raise UserError(f"{path}: column {name!r} occurs twice")
    return wanted


def _from_arrow(path: Path, table: pa.Table, names: tuple[str, ...], place: Callable[[int], str]) -> PlainTable:
    columns = {}
    for name in table.column_names:
        try:
            data = table[name]
            if pa.types.is_dictionary(data.type):
                data = data.cast(data.type.value_type)
            encoded = data.combine_chunks().dictionary_encode()
            codes = encoded.indices.fill_null(MISSING).to_numpy(zero_copy_only=False)
            columns[name] = Column(codes.astype(np.int64), encoded.dictionary.to_pylist())
        except (pa.ArrowException, ValueError, OverflowError):
            raise UserError(f"{path}: column {name} holds {table[name].type}; expected text or numbers") from None
    return PlainTable(columns, names, table.num_rows, place)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
