"""Logs with one record an instance: EvalPlus, HELM and every_eval_ever.

EvalPlus: `*_eval_results.json` of evalplus 0.3.1, statuses of the base tests and of base and extra tests together.
HELM: `per_instance_stats.json` of crfm-helm 0.5.16, statistics by instance, perturbation and trial; `run_spec.json`
beside it names the model. every_eval_ever 0.3.0: one record an instance and metric, `instance_level_types.py`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import zip_longest
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.episodes import Column, Log
from reproduce.logs.log_files import JsonRows, LogFile, mapping, neighbouring_object
from reproduce.logs.settings import described, settings_of
from reproduce.logs.values import name_of

PASS = "pass"


def is_evalplus(content: Any) -> bool:
    """Whether a JSON value maps tasks to lists of solutions with a status."""
    tasks = content.get("eval") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not tasks:
        return False
    first = next((results for results in tasks.values() if results), None)
    if isinstance(first, dict):
        return isinstance(first.get("base"), list)
    return isinstance(first, list) and bool(first) and isinstance(first[0], dict) and "base_status" in first[0]


def log_of_evalplus(file: LogFile, content: dict[str, Any]) -> Log:
    """Read an EvalPlus log; `plus` counts what passes base and extra tests, `base` the base tests alone."""
    questions, base, plus, solutions, places = [], [], [], [], []
    for task, results in content["eval"].items():
        if isinstance(results, dict):
            results = _of_first_version(results)
        if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
            raise UserError(f"{file.path}: task {task!r}: expected a list of solutions")
        for number, each in enumerate(results, start=1):
            questions.append(task)
            places.append(f"{file.path}, task {task!r}, solution {number}")
            base.append(_passed(each.get("base_status")))
            extra = _passed(each.get("plus_status"))
            plus.append(None if extra is None or base[-1] is None else base[-1] * extra)
            solutions.append(each.get("solution") if isinstance(each.get("solution"), str) else None)
    scores = {"base": Column.of(base), "plus": Column.of(plus)}
    bare = sum(not results for results in content["eval"].values())
    return Log(
        source=str(file.path),
        format="results of EvalPlus (keys eval, base_status)",
        place=lambda row: places[row],
        question=Column.of(questions),
        scores={name: column for name, column in scores.items() if column.values},
        user_policy=file.policy,
        file_stem=file.stem,
        depth=file.depth,
        content=Column.of(solutions),
        default_score="plus" if scores["plus"].values else "base",
        notes=(f"{file.path}: {bare:,} tasks without a solution are left out",) if bare else (),
    )


def _of_first_version(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of version 0.1: a list of statuses for the base tests, and one for all tests."""
    base, plus = (each if isinstance(each := results.get(name), list) else [] for name in ("base", "plus"))
    return [{"base_status": one, "plus_status": other} for one, other in zip_longest(base, plus)]


def _passed(status: Any) -> float | None:
    # Results of version 0.1 are lists of a status and its details.
    status = status[0] if isinstance(status, list) and status else status
    return float(status == PASS) if isinstance(status, str) else None


def is_helm(row: dict[str, Any]) -> bool:
    """Whether a JSON object is an item of `per_instance_stats.json`."""
    return "instance_id" in row and isinstance(row.get("stats"), list)


def log_of_helm(file: LogFile, rows: JsonRows) -> Log:
    """Read HELM's statistics, one row an instance, perturbation and trial."""
    spec = neighbouring_object(file.path.with_name("run_spec.json"))
    adapter = mapping(spec.get("adapter_spec"))
    model = adapter.get("model") or adapter.get("model_deployment")
    scenario = str(spec.get("name", "")).partition(":")[0]
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    places = []
    for place, row in rows:
        if not is_helm(row):
            raise UserError(f"{place}: no statistics of HELM, as the items before are")
        perturbation = mapping(row.get("perturbation"))
        changed = perturbation.get("name", "changed") if perturbation else ""
        try:
            name = "/".join(part for part in (scenario, name_of(row["instance_id"]), str(changed)) if part)
        except ValueError as error:
            raise UserError(f"{place}: instance_id {error}") from None
        key = (name, str(row.get("train_trial_index", 0)))
        if key not in found:
            places.append(place)
        for stat in row["stats"]:
            metric = mapping(mapping(stat).get("name")).get("name")
            if not metric:
                raise UserError(f"{place}: a statistic without a name")
            found[key][str(metric)] = stat.get("mean", _mean(stat))
    names = dict.fromkeys(name for each in found.values() for name in each)
    return Log(
        source=str(file.path),
        format="statistics of HELM (keys instance_id, stats)",
        place=lambda row: places[row],
        question=Column.of([name for name, _ in found]),
        scores={name: Column.of([each.get(name) for each in found.values()]) for name in names},
        user_policy=file.policy,
        file_stem=file.stem,
        model=str(model) if model else "",
        settings=settings_of({key: adapter.get(key) for key in ("model_deployment", "temperature", "max_tokens")})
        | settings_of({key: adapter.get(key) for key in ("instructions", "max_train_instances")}, "task:"),
        task=scenario,
        depth=file.depth,
    )


def _mean(stat: dict[str, Any]) -> Any:
    count, total = stat.get("count"), stat.get("sum")
    return total / count if isinstance(count, int) and count and isinstance(total, int | float) else None


def is_every_eval_ever(row: dict[str, Any]) -> bool:
    """Whether a JSON object is an instance record of every_eval_ever."""
    return "sample_id" in row and "evaluation_id" in row and isinstance(row.get("evaluation"), dict)


def log_of_every_eval_ever(file: LogFile, rows: JsonRows, cluster: str | None) -> Log:
    """Read instance records; several metrics of one sample are scores of one row."""
    metrics = dict.fromkeys(str(row.get("evaluation_result_id")) for row in rows.objects)
    seen: Counter[tuple[str, str, str]] = Counter()
    found: dict[tuple[str, str, int], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for place, row in rows:
        if not is_every_eval_ever(row):
            raise UserError(f"{place}: no record of every_eval_ever, as those before are")
        try:
            parts = (
                str(row.get("evaluation_name") or ""),
                name_of(row["sample_id"]),
                str(row.get("sample_hash") or ""),
            )
            question = "/".join(part for part in (*parts[:2], parts[2][:12]) if part)
            model = name_of(row.get("model_id"))
        except ValueError as error:
            raise UserError(f"{place}: sample_id or model_id {error}") from None
        metric = str(row.get("evaluation_result_id"))
        found[model, question, seen[model, question, metric]].append((place, row))
        seen[model, question, metric] += 1
    firsts = [records[0] for records in found.values()]
    several = len(metrics) > 1 and len(found) < len(rows.objects)

    def score(records: list[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
        return {
            f"{name},{row.get('evaluation_result_id')}" if several else name: row["evaluation"].get(name)
            for _, row in records
        }

    evaluations = list(dict.fromkeys(str(row["evaluation_id"]) for row in rows.objects))
    again = len(rows.objects) - len({json.dumps(row, sort_keys=True) for row in rows.objects})
    notes = []
    if len(found) > len({(model, question) for model, question, _ in found}) and len(evaluations) > 1:
        notes.append(
            f"{file.path}: {len(evaluations)} evaluations of one model are pooled ({', '.join(evaluations[:6])}); "
            "where their settings differ, name them by POLICY=FILE, one a file"
        )
    if again:
        notes.append(f"{file.path}: {again:,} records are exact copies of others, and count again")
    scores = [score(records, "is_correct") | score(records, "score") for records in found.values()]
    names = dict.fromkeys(name for each in scores for name in each)
    return Log(
        source=str(file.path),
        format="records of every_eval_ever (keys evaluation_id, sample_id)",
        place=lambda row: firsts[row][0],
        question=Column.of([question for _, question, _ in found]),
        scores={name: Column.of([each.get(name) for each in scores]) for name in names},
        policy=None if file.policy else Column.of([model for model, *_ in found]),
        user_policy=file.policy,
        file_stem=file.stem,
        depth=file.depth,
        failed=np.array([row.get("error") is not None for _, row in firsts], dtype=bool),
        cluster=Column.of([described(row, cluster, "metadata") for _, row in firsts]) if cluster else None,
        settings={"evaluation_id": evaluations[0]} if len(evaluations) == 1 else {},
        default_score="is_correct",
        notes=tuple(notes),
    )
