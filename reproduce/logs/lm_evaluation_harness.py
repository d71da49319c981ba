"""Sample logs of lm-evaluation-harness, `samples_TASK_DATE.jsonl`: one line for each document and filter.

A metric is one number, or a list with one a repeat where the task scores all of them. Up to 0.4.6 a line names neither
its metrics nor its filter; 0.4.0 writes one list of all lines. `results_DATE.json` beside it names the model, its
arguments and how it generates. Layout: lm_eval 0.4, `evaluator.py` and `loggers/evaluation_tracker.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.episodes import Column, Log
from reproduce.logs.log_files import JsonRows, LogFile, mapping, neighbouring_object
from reproduce.logs.settings import described, settings_of
from reproduce.logs.values import name_of

FILE_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl?(\.gz|\.zst)?")
OF_THE_LAYOUT = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash", "task_name", "schema_version"),
}


def is_sample(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of such a log."""
    return "doc_id" in row and ("filtered_resps" in row or "resps" in row)


def log_of_samples(file: LogFile, rows: JsonRows, cluster: str | None) -> Log:
    """Read a log, one row a document. The policy is the model named in the results beside it, else the file's name."""
    named = FILE_NAME.fullmatch(file.path.name)
    task, date = (named["task"], named["date"]) if named else ("", "")
    results = neighbouring_object(file.path.with_name(f"results_{date}.json")) if named else {}
    documents, filters, places = _documents(file, rows, task)
    names = _filter_names(filters, results, task)
    metrics = dict.fromkeys(
        (metric, of_filter)
        for lines in documents.values()
        for of_filter, row in lines.items()
        for metric in _metrics(row)
    )
    firsts = [next(iter(lines.values())) for lines in documents.values()]
    model = results.get("model_name")
    return Log(
        source=str(file.path),
        format="samples of lm-evaluation-harness (keys doc_id, resps)",
        place=lambda row: places[row],
        question=Column.of(list(documents)),
        scores={
            f"{metric},{names[of_filter]}" if len(filters) > 1 else metric: Column.of(
                [lines.get(of_filter, {}).get(metric) for lines in documents.values()]
            )
            for metric, of_filter in metrics
        },
        user_policy=file.policy,
        file_stem=file.stem,
        model=model.strip() if isinstance(model, str) else "",
        settings=_settings(results, task),
        task=task,
        depth=file.depth,
        answers=np.array([_repeats(row) for row in firsts], dtype=np.int64),
        content=Column.of([json.dumps(row.get("resps"), default=str) if "resps" in row else None for row in firsts]),
        cluster=Column.of([described(row, cluster, "doc") for row in firsts]) if cluster else None,
    )


def _documents(
    file: LogFile, rows: JsonRows, task: str
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str], list[str]]:
    """Lines by question and filter, all filters, and the place of each question's first line."""
    documents: dict[str, dict[str, dict[str, Any]]] = {}
    places = []
    for place, row in rows:
        if not is_sample(row):
            raise UserError(f"{place}: no sample of lm-evaluation-harness, as the lines before are")
        try:
            # The hash keeps apart documents that have one number in two versions of a task.
            name = "/".join(part for part in (task, name_of(row["doc_id"]), _document_hash(row)) if part)
        except ValueError as error:
            raise UserError(f"{place}: doc_id {error}") from None
        if name not in documents:
            documents[name] = {}
            places.append(place)
        lines = documents[name]
        # Old logs do not name the filter: its place among the lines of a document does.
        of_filter = str(row["filter"]) if "filter" in row else f"filter {len(lines) + 1}"
        if of_filter in lines:
            raise UserError(f"{place}: duplicate doc_id {row['doc_id']!r}; repeated runs must be files of their own")
        lines[of_filter] = row
    filters = list(dict.fromkeys(each for lines in documents.values() for each in lines))
    uneven = next(
        (place for place, lines in zip(places, documents.values(), strict=True) if len(lines) < len(filters)), ""
    )
    if uneven and any("filter" not in row for lines in documents.values() for row in lines.values()):
        raise UserError(f"{uneven}: duplicate doc_id in some lines only; repeated runs must be files of their own")
    return documents, filters, places


def _document_hash(row: dict[str, Any]) -> str:
    if row.get("doc_hash"):
        return str(row["doc_hash"])[:12]
    if not row.get("doc"):
        return ""
    # As the harness itself computes it from 0.4.3 on, so that old and new logs name a document alike.
    text = json.dumps(row["doc"], indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _metrics(row: dict[str, Any]) -> list[str]:
    names = row.get("metrics")
    if isinstance(names, list):
        return [str(name) for name in names]
    return [name for name, value in row.items() if name not in OF_THE_LAYOUT and isinstance(value, int | float | list)]


def _filter_names(filters: list[str], results: dict[str, Any], task: str) -> dict[str, str]:
    """Names of filters that old logs only number, from the task's settings where these are there."""
    listed = mapping(mapping(results.get("configs")).get(task)).get("filter_list")
    known = [each.get("name") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if len(known) == len(filters) and all(each.startswith("filter ") for each in filters):
        return dict(zip(filters, map(str, known), strict=True))
    return {each: each for each in filters}


def _settings(results: dict[str, Any], task: str) -> dict[str, str]:
    """What makes a policy of a model: its arguments, how it generates, what it is told."""
    config, of_task = mapping(results.get("config")), mapping(mapping(results.get("configs")).get(task))
    return (
        settings_of(config.get("model_args"))
        | settings_of(config.get("gen_kwargs"))
        | settings_of({key: results.get(key) for key in ("system_instruction", "chat_template_sha")})
        | settings_of({key: config.get(key) for key in ("model_sha", "model_revision", "model_dtype")})
        | settings_of(
            {key: of_task.get(key) for key in ("generation_kwargs", "num_fewshot") if key in of_task}, "task:"
        )
    )


def _repeats(row: dict[str, Any]) -> int:
    """Answers sampled for a document with one request; several requests are the choices of a multiple-choice task."""
    answers = row.get("resps")
    if isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], list):
        return len(answers[0])
    return 1
