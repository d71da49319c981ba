"""Logs of verifiers: `results.jsonl` (one rollout a line) and, from its version 1 interface on, `traces.jsonl` (one
episode a line, with the traces of its agents).

The score is the total reward unless one metric or reward is chosen by name. Layout: verifiers 0.1, `save_utils.py`,
and 0.4, `v1/episode.py` and `v1/trace.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reproduce.core.files import UserError
from reproduce.logs.count_rows import CountRows, ScoredEpisodes, rows_of_one_policy
from reproduce.logs.log_files import LogFile, neighbouring_object
from reproduce.logs.scores import ScoreRule
from reproduce.logs.values import name_of, whole_or_real

TOTAL = "reward"


def is_rollout(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of `results.jsonl`."""
    return TOTAL in row and "completion" in row and ("example_id" in row or "id" in row)


def is_episode(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a line of `traces.jsonl`."""
    return isinstance(row.get("traces"), list) and isinstance(row.get("task"), dict)


def rows_of_rollouts(file: LogFile, rows: Iterable[tuple[int, dict[str, Any]]], rule: ScoreRule) -> CountRows:
    """Read either log. The policy is the model that `metadata.json` beside it or the traces name, else the file's
    name."""
    questions: list[str] = []
    scores: list[float] = []
    models: dict[str, None] = {}
    failed = 0
    for line, row in rows:
        place = f"{file.path}, line {line}"
        try:
            question, values, model, error = _of_episode(row, place) if is_episode(row) else _of_rollout(row)
            score = whole_or_real(values.get(rule.choose(list(values), place) if rule.name else TOTAL))
        except ValueError as reason:
            raise UserError(f"{place}: identifier or {rule.name or TOTAL} {reason}") from None
        questions.append(question)
        scores.append(score)
        failed += error
        if model:
            models[model] = None
    model = next(iter(models)) if len(models) == 1 else _model_beside(file)
    notes: tuple[str, ...] = ()
    if failed:
        notes = (f"{file.path}: {failed:,} rollouts ended in an error and count with the score that the log gives",)
    return rows_of_one_policy(
        str(file.path),
        file.policy or model or file.path.stem,
        file.depth,
        ScoredEpisodes(questions, scores, rule.name or TOTAL, notes),
        rule,
        policy_is_file_name=not (file.policy or model),
    )


def _model_beside(file: LogFile) -> str:
    model = neighbouring_object(file.path.with_name("metadata.json")).get("model")
    return model.strip() if isinstance(model, str) else ""


def _of_rollout(row: dict[str, Any]) -> tuple[str, dict[str, Any], str, bool]:
    """Question, scores by name, model, and whether the rollout ended in an error."""
    metrics = row.get("metrics")
    numbers = {name: value for name, value in row.items() if _is_number(value) and name not in ("id", "example_id")}
    scores = {TOTAL: row.get(TOTAL)} | numbers | (metrics if isinstance(metrics, dict) else {})
    return name_of(row.get("example_id", row.get("id"))), scores, "", row.get("error") is not None


def _of_episode(row: dict[str, Any], place: str) -> tuple[str, dict[str, Any], str, bool]:
    task = row["task"]
    data = task.get("data")
    data = data if isinstance(data, dict) else {}
    identifier = next(
        (found for found in (task.get("key"), data.get("id"), data.get("idx")) if found is not None), None
    )
    traces = [trace for trace in row["traces"] if isinstance(trace, dict)]
    if len(traces) != 1:
        raise UserError(f"{place}: an episode of {len(traces)} agents; only episodes of one agent are read")
    trace = traces[0]
    rewards, metrics, agent = (
        part if isinstance(part, dict) else {}
        for part in (trace.get("rewards"), trace.get("metrics"), trace.get("agent"))
    )
    weighted = [
        whole_or_real(reward.get("score")) * whole_or_real(reward.get("weight", 1.0))
        for reward in rewards.values()
        if isinstance(reward, dict)
    ]
    single = {name: reward.get("score") for name, reward in rewards.items() if isinstance(reward, dict)}
    config = agent.get("config")
    model = config.get("model") if isinstance(config, dict) else None
    # No reward at all is a rollout that was not scored; the total of nothing is 0, as verifiers has it.
    scores = {TOTAL: sum(weighted)} | metrics | single
    return name_of(identifier), scores, model.strip() if isinstance(model, str) else "", not row.get("ok", True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
