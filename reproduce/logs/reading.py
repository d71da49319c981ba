"""From the files a user names to counts: which format is which file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from reproduce.core.files import UserError
from reproduce.logs import inspect_ai, instance_logs, lm_evaluation_harness, plain_tables, verifiers
from reproduce.logs.episodes import EpisodeCounts, Log
from reproduce.logs.log_files import (
    JsonRows,
    LogFile,
    as_object,
    json_rows,
    lines_of,
    parse_log_files,
    parsed_json,
    rows_of_list,
)
from reproduce.logs.merging import merge
from reproduce.logs.plain_tables import Columns
from reproduce.logs.scores import ScoreRule

KINDS = ".csv, .tsv, .jsonl, .json, .parquet, and .eval of inspect_ai; all but the last two also as .gz or .zst"


def read_logs(arguments: Sequence[str], rule: ScoreRule, columns: Columns | None = None) -> EpisodeCounts:
    """Counts of all files, each named as FILE, POLICY=FILE or POLICY@T=FILE.

    Raises UserError, one line that names file and row, for anything that cannot be counted.
    """
    columns = columns or Columns()
    return merge([read_log(file, rule, columns) for file in parse_log_files(arguments)], rule)


def read_log(file: LogFile, rule: ScoreRule, columns: Columns) -> Log:
    """One file, by its suffix and what it holds."""
    if file.path.stat().st_size == 0:
        raise UserError(f"{file.path}: empty")
    suffix = file.suffix
    if suffix in (".parquet", ".eval") and file.path.suffix.lower() != suffix:
        raise UserError(f"{file.path}: {suffix} files are read as they are, not compressed again")
    if suffix == ".parquet":
        return plain_tables.log_of_table(file, plain_tables.parquet_table(file), rule, columns)
    if suffix == ".eval":
        return inspect_ai.log_of_archive(file, columns.cluster)
    if suffix in (".csv", ".tsv"):
        return plain_tables.log_of_table(file, plain_tables.csv_table(file), rule, columns)
    if suffix in (".jsonl", ".json", ".ndjson"):
        return _of_json(file, file.content(), rule, columns)
    raise UserError(f"{file.path}: unknown kind of file; known: {KINDS}")


def _of_json(file: LogFile, content: bytes, rule: ScoreRule, columns: Columns) -> Log:
    """JSON by what it holds: one value over the whole file, or one a line."""
    path = file.path
    start = content.lstrip()[:1]
    if start == b"[" and (file.suffix == ".json" or not _one_a_line(content)):
        return _of_rows(file, rows_of_list(path, parsed_json(content, str(path))), rule, columns)
    # One value, or one a line under the suffix of one; what is wrong in it is then said with its line.
    if start == b"{" and file.suffix == ".json" and not _one_a_line(content):
        return _of_value(file, as_object(parsed_json(content, str(path)), str(path)), rule, columns)
    first = [as_object(*_parsed(path, *line)) for line in islice(lines_of(content), plain_tables.GUESSED_FROM)]
    if not columns.named and _reader_of(first[0]):
        return _of_rows(file, json_rows(path, content), rule, columns)
    return plain_tables.log_of_table(file, plain_tables.jsonl_table(file, content, first), rule, columns)


def _parsed(path: Any, number: int, line: bytes) -> tuple[Any, str]:
    place = f"{path}, line {number}"
    return parsed_json(line, place), place


def _one_a_line(content: bytes) -> bool:
    """Whether there are several lines, of which the first is a JSON value by itself."""
    first, *more = (line for _, line in islice(lines_of(content), 2))
    try:
        return bool(more) and parsed_json(first, "") is not None
    except UserError:
        return False


def _of_value(file: LogFile, value: dict[str, Any], rule: ScoreRule, columns: Columns) -> Log:
    if instance_logs.is_evalplus(value):
        return instance_logs.log_of_evalplus(file, value)
    if inspect_ai.is_log(value):
        return inspect_ai.log_of_json(file, value, columns.cluster)
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each and isinstance(each[0], dict)}
    if len(lists) == 1 and "eval" not in value:
        return _of_rows(file, rows_of_list(file.path, next(iter(lists.values()))), rule, columns)
    if {"results", "configs"} <= value.keys():
        raise UserError(f"{file.path}: results of lm-evaluation-harness hold averages; name the samples_*.jsonl beside")
    if "eval" not in value and not lists:
        return _of_rows(file, rows_of_list(file.path, [value]), rule, columns)
    raise UserError(
        f"{file.path}: no log of inspect_ai or EvalPlus (key eval, with a model or with tasks), and no list of rows"
    )


def _of_rows(file: LogFile, rows: JsonRows, rule: ScoreRule, columns: Columns) -> Log:
    if not rows.objects:
        raise UserError(f"{file.path}: empty; there are no rows")
    reader = None if columns.named else _reader_of(rows.objects[0])
    if reader == "lm":
        return lm_evaluation_harness.log_of_samples(file, rows, columns.cluster)
    if reader == "verifiers":
        return verifiers.log_of_rollouts(file, rows, columns.cluster)
    if reader == "eee":
        return instance_logs.log_of_every_eval_ever(file, rows, columns.cluster)
    if reader == "helm":
        return instance_logs.log_of_helm(file, rows)
    return plain_tables.log_of_table(file, plain_tables.objects_table(rows), rule, columns)


def _reader_of(row: dict[str, Any]) -> str:
    """The program whose log the row is of; empty for a table."""
    if lm_evaluation_harness.is_sample(row):
        return "lm"
    if verifiers.is_rollout(row) or verifiers.is_episode(row):
        return "verifiers"
    if instance_logs.is_every_eval_ever(row):
        return "eee"
    return "helm" if instance_logs.is_helm(row) else ""
