"""Logs of verifiers: `results.jsonl` (one rollout a line) and, from its version 1 interface on, `traces.jsonl` (one
episode a line, with the traces of its agents).

The score is the total reward unless one metric or reward is chosen by name. Numbers of examples begin anew in each
environment, which therefore belongs to a question's name. Layout: verifiers 0.1, `save_utils.py`, and 0.4,
`v1/episode.py` and `v1/trace.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.episodes import Column, Log
from reproduce.logs.log_files import JsonRows, LogFile, mapping, neighbouring_object
from reproduce.logs.settings import described, settings_of
from reproduce.logs.values import is_absent, name_of, number_of

TOTAL = "reward"
AGENT = ("harness", "sampling", "max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens")
"""What makes another policy of an agent's model."""


def is_rollout(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of `results.jsonl`."""
    return TOTAL in row and "completion" in row and ("example_id" in row or "id" in row)


def is_episode(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of `traces.jsonl`."""
    return isinstance(row.get("traces"), list) and isinstance(row.get("task"), dict)


@dataclass(frozen=True)
class _Row:
    question: str
    scores: dict[str, Any]
    failed: bool
    episode: str | None = None
    prompt: str | None = None
    content: str | None = None
    model: str = ""
    settings: tuple[tuple[str, str], ...] = ()


def log_of_rollouts(file: LogFile, rows: JsonRows, cluster: str | None) -> Log:
    """Read either log. The policy is the model that `metadata.json` beside it or the traces name, else the file's
    name."""
    metadata = neighbouring_object(file.path.with_name("metadata.json"))
    environment = metadata.get("env_id")
    found: list[_Row] = []
    for place, row in rows:
        try:
            found.append(_of_episode(row, place) if is_episode(row) else _of_rollout(row, environment))
        except ValueError as reason:
            raise UserError(f"{place}: identifier or reward {reason}") from None
    said = metadata.get("model")
    model, settings, policy = _policies(found, said.strip() if isinstance(said, str) else "", file.stem)
    names = dict.fromkeys(name for each in found for name in each.scores)
    return Log(
        source=str(file.path),
        format="traces of verifiers (keys task, traces)" if is_episode(rows.objects[0]) else
        "rollouts of verifiers (keys reward, completion, example_id)",
        place=rows.place,
        question=Column.of([each.question for each in found]),
        scores={name: Column.of([each.scores.get(name) for each in found]) for name in names or {TOTAL: None}},
        policy=policy if file.policy is None else None,
        user_policy=file.policy,
        file_stem=file.stem,
        model=model,
        settings=settings_of(metadata.get("sampling_args"))
        | settings_of({"env_args": metadata.get("env_args") or {}}, "task:")
        | settings,
        task=str(environment or ""),
        depth=file.depth,
        episode=Column.of([each.episode for each in found]),
        failed=np.array([each.failed for each in found], dtype=bool),
        content=Column.of([each.content for each in found]),
        prompt=Column.of([each.prompt for each in found]),
        cluster=Column.of([described(row, cluster, "info") for row in rows.objects]) if cluster else None,
        default_score=TOTAL,
    )  # fmt: skip


def _policies(found: list[_Row], beside: str, stem: str) -> tuple[str, dict[str, str], Column | None]:
    """Model and settings of a file of one policy; else each row's policy, its model with the settings that differ."""
    models = dict.fromkeys((each.model, each.settings) for each in found if each.model)
    if len(models) <= 1:
        model, settings = next(iter(models), (beside, ()))
        return model, dict(settings), None
    values: dict[str, dict[str, set[str | None]]] = {}
    for model, settings in models:
        for key in {key for _, other in models for key, _ in other}:
            values.setdefault(model, {}).setdefault(key, set()).add(dict(settings).get(key))

    def named(row: _Row) -> str:
        differing = [f"{key}={value}" for key, value in row.settings if len(values.get(row.model, {}).get(key, ())) > 1]
        return f"{row.model} ({', '.join(differing)})" if differing else row.model or beside or stem

    return "", {}, Column.of([named(each) for each in found])


def _of_rollout(row: dict[str, Any], environment: Any) -> _Row:
    numbers = {name: value for name, value in row.items() if _is_number(value) and name not in ("id", "example_id")}
    task = row.get("task")
    names = [environment] if isinstance(environment, str) and environment.strip() else []
    if isinstance(task, str) and task.strip() and task != "default" and task not in names:
        names.append(task)
    identifier = name_of(row.get("example_id", row.get("id")))
    return _Row(
        question="/".join([*names, identifier]),
        scores={TOTAL: row.get(TOTAL)} | numbers | mapping(row.get("metrics")),
        failed=not is_absent(row.get("error")) and row.get("error") is not False,
        prompt=_text(row.get("prompt")),
        content=_text(row.get("completion")),
    )


def _of_episode(row: dict[str, Any], place: str) -> _Row:
    task, env = row["task"], mapping(row.get("env"))
    data = mapping(task.get("data"))
    identifier = next(
        (found for found in (task.get("key"), data.get("id"), data.get("idx")) if found is not None), None
    )
    environment = env.get("name") or env.get("id")
    question = "/".join([*([environment] if isinstance(environment, str) and environment else []), name_of(identifier)])
    traces = [trace for trace in row["traces"] if isinstance(trace, dict)]
    episode = str(row["id"]) if row.get("id") else None
    if not traces:
        return _Row(question, {TOTAL: None}, failed=True, episode=episode)
    if len(traces) != 1:
        raise UserError(f"{place}: an episode of {len(traces)} agents; only episodes of one agent are read")
    trace = traces[0]
    rewards, metrics = mapping(trace.get("rewards")), mapping(trace.get("metrics"))
    single = {name: reward.get("score") if isinstance(reward, dict) else None for name, reward in rewards.items()}
    # A reward of None was not scored, and makes the total none; the total of no rewards is 0, as verifiers has it.
    total = None if any(is_absent(score) for score in single.values()) else sum(
        number_of(reward["score"]) * number_of(reward.get("weight", 1.0)) for reward in rewards.values()
    )  # fmt: skip
    config = mapping(mapping(trace.get("agent")).get("config"))
    model = config.get("model")
    return _Row(
        question=question,
        scores={TOTAL: total} | metrics | single,
        failed=row.get("ok", True) is False or trace.get("ok", True) is False,
        episode=episode,
        model=model.strip() if isinstance(model, str) else "",
        settings=tuple(settings_of({key: config.get(key) for key in AGENT}).items()),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str)
