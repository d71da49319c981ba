"""Sample logs of lm-evaluation-harness, `samples_TASK_DATE.jsonl`: one line for each document and filter.

A metric is one number, or a list with one a repeat where the task scores all of them. HumanEval-like tasks log
`pass@1`, the share of the repeats that passed, from which the successes are recovered exactly. Where a filter keeps one
answer of several repeats, only that one is scored, and a note says so. Layout: lm_eval 0.4, `evaluator.py` and
`loggers/evaluation_tracker.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reproduce.core.files import UserError
from reproduce.logs.count_rows import CountRows, ScoredEpisodes, rows_of_one_policy
from reproduce.logs.log_files import LogFile, neighbouring_object
from reproduce.logs.scores import ScoreRule
from reproduce.logs.values import name_of, whole_or_real

FILE_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
SHARE_OF_REPEATS = "pass@1"
MOST_REPEATS = 100_000


def is_sample(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of such a log."""
    return "doc_id" in row and ("filtered_resps" in row or "resps" in row)


def rows_of_samples(file: LogFile, samples: Iterable[tuple[int, dict[str, Any]]], rule: ScoreRule) -> CountRows:
    """Read a log. The policy is the model named in `results_DATE.json` beside it, else the file's name."""
    named = FILE_NAME.fullmatch(file.path.name)
    model = None
    if named and file.policy is None:
        found = neighbouring_object(file.path.with_name(f"results_{named['date']}.json")).get("model_name")
        model = found.strip() if isinstance(found, str) else None
    policy = file.policy or model or file.path.stem
    episodes = _episodes(file, named["task"] if named else "", samples, rule)
    return rows_of_one_policy(
        str(file.path), policy, file.depth, episodes, rule, policy_is_file_name=not (file.policy or model)
    )


def _episodes(
    file: LogFile, task: str, samples: Iterable[tuple[int, dict[str, Any]]], rule: ScoreRule
) -> ScoredEpisodes:
    kept: list[tuple[str, str, Any, dict[str, Any], int]] = []
    metrics: dict[tuple[str, str], None] = {}
    for line, row in samples:
        if not is_sample(row):
            raise UserError(f"{file.path}, line {line}: no sample of lm-evaluation-harness, as the lines before are")
        chosen_filter = str(row.get("filter", "none"))
        names = row.get("metrics")
        for name in names if isinstance(names, list) else []:
            metrics[str(name), chosen_filter] = None
            kept.append((str(name), chosen_filter, row.get("doc_id"), row, line))
    metric, chosen_filter = _choose(file, list(metrics), rule)
    questions: list[str] = []
    scores: list[float] = []
    seen: set[str] = set()
    unscored = 0
    for name, of_filter, document, row, line in kept:
        if (name, of_filter) != (metric, chosen_filter):
            continue
        place = f"{file.path}, line {line}"
        try:
            # The hash keeps apart documents that have one number in two versions of a task.
            question = f"{task}/{name_of(document)}/{str(row.get('doc_hash', ''))[:12]}"
            values = _values(metric, row)
        except ValueError as error:
            raise UserError(f"{place}: {metric} or doc_id {error}") from None
        if question in seen:
            raise UserError(f"{place}: duplicate doc_id {document!r}; repeated runs must be files of their own")
        seen.add(question)
        questions += [question] * len(values)
        scores += values
        unscored += max(0, _repeats(row) - len(values))
    notes: tuple[str, ...] = ()
    if unscored:
        notes = (
            f"{file.path}: {unscored:,} sampled answers have no score of their own (filter {chosen_filter!r} keeps one "
            "a question); to count all, let the task score every repeat",
        )
    return ScoredEpisodes(questions, scores, metric, notes)


def _choose(file: LogFile, metrics: list[tuple[str, str]], rule: ScoreRule) -> tuple[str, str]:
    """Metric and filter. The filter is part of the name, as in the harness's own tables, where there are several."""
    filters = {of_filter for _, of_filter in metrics}
    names = {
        f"{metric},{of_filter}" if len(filters) > 1 else metric: (metric, of_filter) for metric, of_filter in metrics
    }
    return names[rule.choose(list(names), str(file.path))]


def _values(metric: str, row: dict[str, Any]) -> list[float]:
    value = row.get(metric)
    if isinstance(value, list):
        return [whole_or_real(each) for each in value]
    number = whole_or_real(value)
    repeats = _repeats(row)
    if (
        metric == SHARE_OF_REPEATS
        and 1 < repeats <= MOST_REPEATS
        and abs(number * repeats - round(number * repeats)) < 1e-6
    ):
        successes = min(max(round(number * repeats), 0), repeats)
        return [1.0] * successes + [0.0] * (repeats - successes)
    return [number]


def _repeats(row: dict[str, Any]) -> int:
    """Answers sampled for a document with one request; several requests are the choices of a multiple-choice task."""
    answers = row.get("resps")
    if isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], list):
        return len(answers[0])
    return 1
