"""From the files a user names to counts: which format is which file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from reproduce.core.files import UserError
from reproduce.logs import inspect_ai, lm_evaluation_harness, plain_tables, verifiers
from reproduce.logs.count_rows import CountRows, EpisodeCounts
from reproduce.logs.log_files import LogFile, json_lines, parse_log_files
from reproduce.logs.merging import merge
from reproduce.logs.scores import ScoreRule


def read_logs(arguments: Sequence[str], rule: ScoreRule) -> EpisodeCounts:
    """Counts of all files, each named as FILE, POLICY=FILE or POLICY@T=FILE.

    Raises UserError, one line that names file and row, for anything that cannot be counted.
    """
    return merge([_read(file, rule) for file in parse_log_files(arguments)])


def _read(file: LogFile, rule: ScoreRule) -> CountRows:
    if file.path.stat().st_size == 0:
        raise UserError(f"{file.path}: empty")
    suffix = file.path.suffix.lower()
    if suffix == ".csv":
        return plain_tables.rows_of_table(file, plain_tables.read_csv(file.path, rule), rule)
    if suffix == ".parquet":
        return plain_tables.rows_of_table(file, plain_tables.read_parquet(file.path, rule), rule)
    if suffix == ".jsonl":
        return _read_lines(file, rule)
    if suffix == ".json":
        return inspect_ai.rows_of_json(file, rule)
    if suffix == ".eval":
        return inspect_ai.rows_of_archive(file, rule)
    raise UserError(f"{file.path}: unknown kind of file; known: .csv, .jsonl, .parquet, .json and .eval of inspect_ai")


def _read_lines(file: LogFile, rule: ScoreRule) -> CountRows:
    """A JSONL file: a log of lm-evaluation-harness or verifiers by the keys of its first line, else a table."""
    lines = json_lines(file.path)
    first = next(lines, None)
    if first is None:
        raise UserError(f"{file.path}: empty; there are no rows")
    lines = itertools.chain([first], lines)
    if lm_evaluation_harness.is_sample(first[1]):
        return lm_evaluation_harness.rows_of_samples(file, lines, rule)
    if verifiers.is_rollout(first[1]) or verifiers.is_episode(first[1]):
        return verifiers.rows_of_rollouts(file, lines, rule)
    return plain_tables.rows_of_table(file, plain_tables.table_of_objects(file.path, lines, rule), rule)
