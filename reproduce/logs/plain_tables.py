"""Tables of CSV, TSV, JSON and Parquet: one episode a row (policy, question, T, success) or its counts (n, c).

`policy` and `T` may be left out; other columns are named by `--question`, `--policy-column` and `--success`. Known
dumps are the same with other names: human-eval's results, verl's rollouts and validations, TRL's completions. Only the
columns that are wanted are parsed.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.logs.episodes import MISSING, Column, Log
from reproduce.logs.log_files import JsonRows, LogFile, first_line, json_rows, lines_of
from reproduce.logs.scores import ScoreRule
from reproduce.logs.values import cap_of, count_of, is_absent, name_of

DELIMITERS = ",\t;|"
OPTIONAL = ("T", "n", "c", "n_correct", "seed", "uuid")
SETTINGS = ("model", "checkpoint", "step", "adapter", "lora", "temperature", "top_p", "top_k", "solver", "revision")
"""Columns that may tell one policy from another."""
MOST_ROWS = 4_000_000
"""About 1 GB of memory: few bytes of Parquet may hold far more."""
LARGEST_COLUMNS = 400 << 20
"""Bytes of the wanted columns of a Parquet file, unpacked."""
GUESSED_FROM = 50
"""Rows from which the types of a JSONL table's columns are guessed; where they mislead, every line is parsed."""


EMPTY = Column(np.zeros(0, dtype=np.int64), [])


@dataclass(frozen=True)
class Columns:
    """Columns to read: several of one kind are joined by a slash. `named`: the user said which, so that no known
    layout is looked for. `cluster`: groups of questions that were not drawn independently. `scores`: to be read where
    several are."""

    question: tuple[str, ...] = ("question",)
    policy: tuple[str, ...] = ("policy",)
    cluster: str | None = None
    named: bool = False
    scores: tuple[str, ...] = ()


def columns_of(question: str, policy: str, cluster: str | None) -> Columns:
    """The columns that options name; several with commas between them."""

    def listed(option: str, text: str, default: str) -> tuple[str, ...]:
        names = tuple(part.strip() for part in text.split(",")) if text else (default,)
        if not all(names):
            raise UserError(f"--{option} {text!r}: expected names of columns with commas between them")
        return names

    named = bool(question or policy)
    return Columns(listed("question", question, "question"), listed("policy-column", policy, "policy"), cluster, named)


@dataclass(frozen=True)
class Layout:
    """A table of known column names: `signs` are the columns by which it is known."""

    name: str
    signs: tuple[str, ...]
    question: str
    scores: tuple[str, ...]
    content: str


HUMAN_EVAL = Layout("results of human-eval", ("task_id", "passed", "completion"), "task_id", ("passed",), "completion")
VERL = Layout(
    "rollouts or validations of verl", ("input", "output", "score", "step"), "input", ("acc", "score"), "output"
)
TRL = Layout("completions of TRL", ("step", "prompt", "completion"), "prompt", (), "completion")
LAYOUTS = (HUMAN_EVAL, VERL, TRL)


@dataclass(frozen=True, eq=False)
class PlainTable:
    """Columns of a file: all `names`, and a way to read some of them; `place` names a row for a message."""

    names: tuple[str, ...]
    rows: int
    place: Callable[[int], str]
    read: Callable[[Sequence[str]], dict[str, Column]]


def layout_of(names: Iterable[str]) -> Layout | None:
    """The known layout that has all its signs among the columns."""
    present = set(names)
    return next((layout for layout in LAYOUTS if present.issuperset(layout.signs)), None)


def log_of_table(file: LogFile, table: PlainTable, rule: ScoreRule, columns: Columns) -> Log:
    """Choose and read the columns. Raises UserError naming the column that is missing or the first wrong row."""
    layout = None if "question" in table.names else layout_of(table.names)
    if layout is not None and columns.question == ("question",):
        columns = replace(columns, question=(layout.question,))
    scores = _score_names(table, layout, rule, columns)
    counted = rule.name is None and "n" in table.names and bool({"c", "n_correct"} & set(table.names))
    found = table.read(_wanted(file, table, columns, scores, counted, layout))
    for said, name in ((file.policy, "policy"), (file.depth, "T")):
        if said is not None and name in found:
            raise UserError(f"{file.path}: has a column {name} of its own; name it without POLICY or T before it")
    counts = _counts(file, table, found) if counted else None
    known = f"{layout.name} (columns {', '.join(layout.signs)})" if layout else ""
    if columns.policy != ("policy",):
        found |= {name: _absent_named(found[name], f"no {name}") for name in columns.policy if name in found}
    policy = _joined(table, found, columns.policy) if columns.policy[0] in found else None
    settings = {name: found[name] for name in SETTINGS if name in found and name not in columns.policy}
    if layout is not None and policy is None and file.policy is None and len(settings.get("step", EMPTY).values) > 1:
        policy = Column(settings["step"].codes, [f"{file.stem} (step={step})" for step in settings["step"].values])
    return Log(
        source=str(file.path),
        format=known or f"table of {'counts' if counts else 'episodes'} (question {'/'.join(columns.question)})",
        place=table.place,
        question=_joined(table, found, columns.question),
        scores={name: found[name] for name in scores if name in found},
        policy=policy,
        user_policy=file.policy,
        file_stem=file.stem,
        settings={
            name: str(column.values[0])
            for name, column in settings.items()
            if len(column.values) == 1 and (column.codes >= 0).all()
        },
        depth=found.get("T", file.depth),
        counts=counts,
        answers=_answers(table, found) if rule.name else None,
        episode=found.get("uuid"),
        content=found.get(layout.content) if layout else None,
        cluster=found.get(columns.cluster) if columns.cluster else None,
        seed=found.get("seed"),
        default_score=next((name for name in scores if name in found), None) if layout and layout.scores else None,
        notes=_pooled_settings(file, settings) if layout is None else (),
    )


def _score_names(table: PlainTable, layout: Layout | None, rule: ScoreRule, columns: Columns) -> tuple[str, ...]:
    if columns.scores or rule.name:
        return columns.scores or (str(rule.name),)
    if layout is None:
        return ("success",)
    others = {*layout.signs, "policy", "advantage", "prompt_ids", "completion_ids"}
    return layout.scores or tuple(name for name in table.names if name not in others)


def _wanted(
    file: LogFile, table: PlainTable, columns: Columns, scores: tuple[str, ...], counted: bool, layout: Layout | None
) -> list[str]:
    """The columns to read, in the table's order. Raises UserError for one that is missing or there twice."""
    for name in columns.question:
        _require(file, table, name, "" if columns.named else "; name it by --question COLUMN")
    for name in (
        *(columns.policy if columns.policy != ("policy",) else ()),
        *([columns.cluster] if columns.cluster else ()),
    ):
        _require(file, table, name, "")
    named = bool(columns.scores) or scores[:1] != ("success",)
    if not counted and not any(name in table.names for name in scores):
        _require(file, table, scores[0], "" if named else " (or n and c); name it by --success COLUMN")
    wanted = {*columns.question, *columns.policy, *scores, *OPTIONAL, *SETTINGS, columns.cluster}
    wanted |= {layout.content} if layout else set()
    for name in table.names:
        if name in wanted and table.names.count(name) > 1:
            raise UserError(f"{file.path}: column {name!r} occurs twice")
    return [name for name in dict.fromkeys(table.names) if name in wanted]


def _pooled_settings(file: LogFile, settings: dict[str, Column]) -> tuple[str, ...]:
    """What may make several policies of one, and was not named."""
    varying = [name for name, column in settings.items() if np.unique(column.codes).size > 1]
    if not varying:
        return ()
    return (
        f"{file.path}: several values of {', '.join(varying)} are pooled; where they make policies of their own, name "
        f"them by --policy-column {','.join(varying)}",
    )


def _counts(file: LogFile, table: PlainTable, found: dict[str, Column]) -> tuple[Column, Column]:
    if {"c", "n_correct"} <= found.keys() or "success" in found:
        given = [name for name in ("success", "n", "c", "n_correct") if name in found]
        raise UserError(
            f"{file.path}: columns {', '.join(given)}; expected success alone, or n with one of c, n_correct"
        )
    successes = "c" if "c" in found else "n_correct"
    arrays = []
    for name in ("n", successes):
        arrays.append(found[name].numbers(_count_if_any, name, table.place))
    for row in np.flatnonzero(arrays[1] > arrays[0])[:1].tolist():
        raise UserError(f"{table.place(row)}: {successes} = {arrays[1][row]:.0f} exceeds n = {arrays[0][row]:.0f}")
    return _of_numbers(arrays[0]), _of_numbers(arrays[1])


def _count_if_any(value: Any) -> float:
    return float("nan") if is_absent(value) else count_of(value)


def _of_numbers(numbers: np.ndarray) -> Column:
    values, codes = np.unique(np.nan_to_num(numbers, nan=-1.0), return_inverse=True)
    return Column(np.where(np.isnan(numbers), MISSING, codes), values.tolist())


def _answers(table: PlainTable, found: dict[str, Column]) -> np.ndarray | None:
    """n beside a score of several answers, such as pass@8."""
    return np.nan_to_num(found["n"].numbers(_count_if_any, "n", table.place)).astype(np.int64) if "n" in found else None


def _require(file: LogFile, table: PlainTable, column: str, more: str) -> None:
    if column not in table.names:
        hint = nearest(column, table.names[:12]) if table.names else "there are none"
        raise UserError(f"{file.path}: read as a table: no column {column!r}{more}; {hint}")


def _joined(table: PlainTable, found: dict[str, Column], names: tuple[str, ...]) -> Column:
    """One column, or the names of several with slashes between them."""
    if len(names) == 1:
        return found[names[0]]
    parts = [found[name].names(name_of, name, table.place) for name in names]
    together = np.stack([codes for _, codes in parts])
    distinct, codes = np.unique(together, axis=1, return_inverse=True)
    values = [
        "/".join(part[0][code] for part, code in zip(parts, column, strict=True)) for column in distinct.T.tolist()
    ]
    return Column(codes.ravel().astype(np.int64), values)


def _absent_named(column: Column, name: str) -> Column:
    """A setting that some rows lack, such as the adapter of the base model, as a value of its own."""
    known = [place for place, value in enumerate(column.values) if not is_absent(value)]
    position = np.full(len(column.values) + 1, len(known))
    position[known] = np.arange(len(known))
    return Column(position[column.codes], [*(column.values[place] for place in known), name])


def cap_column(log: Log) -> np.ndarray | None:
    """T of every row, None where the file has none. Raises UserError at the first row without one."""
    if not isinstance(log.depth, Column):
        return None if log.depth is None else np.full(log.rows, float(log.depth))
    for row in np.flatnonzero(log.depth.codes == MISSING)[:1].tolist():
        raise UserError(f"{log.place(row)}: T is missing")
    return log.depth.numbers(cap_of, "T", log.place)


def csv_table(file: LogFile) -> PlainTable:
    """A table of text with a header, its columns parted by commas, tabs, semicolons or bars."""
    path, content = file.path, file.content()
    _check_rows(path, content.count(b"\n"))
    end = content.find(b"\n")
    first = content[: end if end >= 0 else len(content)].decode("utf-8")
    delimiter = max(DELIMITERS, key=first.count) if file.suffix != ".tsv" else "\t"
    try:
        header = next(
            csv.reader(io.StringIO(content[: 1 << 20].decode("utf-8", "ignore"), newline=""), delimiter=delimiter)
        )
    except (csv.Error, StopIteration) as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    names = tuple(name.strip() for name in header)

    def read(wanted: Sequence[str]) -> dict[str, Column]:
        options = pyarrow.csv.ConvertOptions(
            include_columns=list(wanted), column_types={name: pa.string() for name in wanted}, strings_can_be_null=False
        )
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(content),
                read_options=pyarrow.csv.ReadOptions(column_names=list(names), skip_rows_after_names=1),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in content),
                convert_options=options,
            )
        except (pa.ArrowException, OSError, KeyError) as error:
            row = next((f", row {number}" for number in _uneven_rows(content, delimiter, len(names))), "")
            raise UserError(f"{path}{row}: not a CSV table ({first_line(error)})") from None
        if not table.num_rows:
            raise UserError(f"{path}: empty; there are no rows")
        return _from_arrow(path, table)

    return PlainTable(names, 0, lambda row: f"{path}, row {row + 1} below the header", read)


def _uneven_rows(content: bytes, delimiter: str, columns: int) -> Iterator[int]:
    """Lines at which rows end that have another number of columns than the header."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row and len(row) != columns:
                yield reader.line_num
    except csv.Error:
        yield reader.line_num


def parquet_table(file: LogFile) -> PlainTable:
    """The columns of a Parquet file. Raises UserError for a file that is none."""
    path = file.path
    try:
        with pq.ParquetFile(path) as parquet:
            names, rows = tuple(parquet.schema_arrow.names), parquet.metadata.num_rows
            leaves = [parquet.schema.column(place) for place in range(len(parquet.schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a Parquet file that can be read ({first_line(error)})") from None
    if not rows:
        raise UserError(f"{path}: empty; there are no rows")
    _check_rows(path, rows)

    def read(wanted: Sequence[str]) -> dict[str, Column]:
        try:
            # Text as its distinct values: a few bytes of Parquet may repeat a long one for every row.
            with pq.ParquetFile(
                path, read_dictionary=[text for text in texts if text.split(".")[0] in wanted]
            ) as parquet:
                _check_unpacked(path, parquet.metadata, wanted)
                table = parquet.read(columns=list(wanted))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"{path}: not a Parquet file that can be read ({first_line(error)})") from None
        return _from_arrow(path, table.select(list(wanted)))

    return PlainTable(names, rows, lambda row: f"{path}, row {row + 1}", read)


def _check_rows(path: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        raise UserError(f"{path}: {rows:,} rows; at most {MOST_ROWS:,} (counts, n and c, need one row a question)")


def _check_unpacked(path: Path, metadata: pq.FileMetaData, wanted: Sequence[str]) -> None:
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    chunks = [group.column(place) for group in groups for place in range(metadata.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in wanted]
    values, most = sum(chunk.num_values for chunk in chunks), MOST_ROWS * len(wanted)
    if values > most:  # A row of lists may hold any number of them.
        raise UserError(f"{path}: {values:,} values; at most {most:,}")
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    if size > LARGEST_COLUMNS:
        raise UserError(f"{path}: {size >> 20:,} MiB of columns when unpacked; at most {LARGEST_COLUMNS >> 20} MiB")


def jsonl_table(file: LogFile, content: bytes, first: Sequence[dict[str, Any]]) -> PlainTable:
    """Lines of JSON objects. `first`: some of the first ones, by which the types of the columns are guessed."""
    path = file.path
    _check_rows(path, content.count(b"\n"))
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(first)))

    def read(wanted: Sequence[str]) -> dict[str, Column]:
        types = {name: _type_of([row.get(name) for row in first]) for name in wanted}
        if None not in types.values():
            schema = pa.schema(list(types.items()))
            options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
            try:
                blocks = pyarrow.json.ReadOptions(block_size=1 << 24)
                table = pyarrow.json.read_json(pa.BufferReader(content), read_options=blocks, parse_options=options)
                return _from_arrow(path, table.select(list(wanted)))
            except (pa.ArrowException, KeyError):
                # Something the types of the first rows did not foresee: every line by itself, and its number.
                pass
        return objects_table(json_rows(path, content)).read(wanted)

    numbers: list[int] = []

    def place(row: int) -> str:
        if not numbers:
            numbers.extend(number for number, _ in lines_of(content))
        return f"{path}, line {numbers[row]}"

    return PlainTable(names, 0, place, read)


def objects_table(rows: JsonRows) -> PlainTable:
    """Objects that are parsed already; a key that one lacks is missing there."""
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(rows.objects[:GUESSED_FROM])))
    return PlainTable(
        names,
        len(rows.objects),
        rows.place,
        lambda wanted: {name: Column.of([_flat(row.get(name)) for row in rows.objects]) for name in wanted},
    )


def _flat(value: Any) -> Any:
    """A conversation as its text: what names a question in a dump of prompts."""
    return _text(value) if isinstance(value, list) and value and isinstance(value[0], dict) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _type_of(values: Sequence[Any]) -> pa.DataType | None:
    kinds = {type(value) for value in values if value is not None}
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    if kinds == {int, float}:
        return pa.float64()
    return known.get(kinds.pop()) if len(kinds) == 1 else None


def _from_arrow(path: Path, table: pa.Table) -> dict[str, Column]:
    columns = {}
    for name in table.column_names:
        data = table[name]
        try:
            if pa.types.is_nested(data.type) and name in ("prompt", "completion"):
                # One by one, and one text for all that are equal: conversations are repeated for every sample.
                found: dict[str, str] = {}
                texts = (_text(each.as_py()) if each.is_valid else None for each in data)
                columns[name] = Column.of([None if text is None else found.setdefault(text, text) for text in texts])
                continue
            encoded = data.unify_dictionaries().combine_chunks().dictionary_encode()
            codes = encoded.indices.fill_null(MISSING).to_numpy(zero_copy_only=False).astype(np.int64)
            # Only values that occur: a dictionary may hold others, and none that a code points to.
            used, places = np.unique(codes, return_inverse=True)
            values = encoded.dictionary.take(pa.array(used[used >= 0])).to_pylist()
            absent = int(used[:1].sum() < 0)
            columns[name] = Column(places.astype(np.int64) - absent, values)
        except (pa.ArrowException, ValueError, OverflowError):
            raise UserError(f"{path}: column {name} holds {data.type}; expected text or numbers") from None
    return columns
