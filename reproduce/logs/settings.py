"""Which policy a log is of, where it names the model alone: an adapter, a temperature or a solver makes another one."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reproduce.core.files import UserError
from reproduce.logs.episodes import Log

NO_MATTER = {
    *("batch_size", "max_batch_size", "device", "devices", "device_map", "parallelize", "tensor_parallel_size"),
    *("pipeline_parallel_size", "data_parallel_size", "gpu_memory_utilization", "swap_space", "num_concurrent"),
    *("max_retries", "max_connections", "timeout", "attempt_timeout", "adaptive_connections", "cache", "cache_prompt"),
    *("batch", "seed", "n", "num_choices", "trust_remote_code", "tokenized_requests", "verify_certificate", "port"),
    *("base_url", "api_key", "log_level", "extra_headers"),
}
"""Settings of hardware, throughput and sampling seeds: the same policy with other values."""
LONGEST_VALUE = 40


def settings_of(value: Any, prefix: str = "") -> dict[str, str]:
    """Flat settings of a mapping, or of text such as "pretrained=org/m,temperature=1", without those of no matter."""
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {key.strip(): text.strip() for key, equals, text in parts if equals}
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, str] = {}
    for key, each in value.items():
        if key in NO_MATTER or each is None or each in ("", [], {}):
            continue
        if isinstance(each, Mapping):
            found |= settings_of(each, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = each if isinstance(each, str) else json.dumps(each, sort_keys=True, default=str)
    return found


def described(row: Mapping[str, Any], key: str, inside: str) -> Any:
    """The value of a key of the row itself, or of the object in it that describes the question."""
    described = row.get(inside)
    value = row.get(key, described.get(key) if isinstance(described, Mapping) else None)
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, default=str)


def policy_names(logs: Sequence[Log]) -> tuple[list[str | None], list[str]]:
    """The name of each log's policy, None where a column says it, and notes on what was told apart.

    A log of a model is of the policy the model is, with its settings behind it where logs of one model differ in them.
    Raises UserError for two files that do not say their policy and have one name.
    """
    names: list[str | None] = []
    by_model: dict[str, list[Log]] = defaultdict(list)
    for log in logs:
        if log.policy is None and log.user_policy is None and log.model:
            by_model[log.model].append(log)
    differing = {model: settings_that_differ(group) for model, group in by_model.items()}
    for log in logs:
        if log.policy is not None or log.user_policy is not None:
            names.append(log.user_policy)
        elif log.model:
            names.append(_with_settings(log, differing[log.model]))
        else:
            names.append(log.file_stem)
    _check_file_names(logs, names)
    notes = [
        f"{model}: its files differ in {shown_settings(keys)} and are read as policies of "
        "their own; to pool them, write POLICY=FILE"
        for model, keys in differing.items()
        if keys
    ]
    return names, notes


def settings_that_differ(group: Sequence[Log]) -> list[str]:
    """Settings in which logs of one model differ; those of a task only among logs of that task."""
    keys = dict.fromkeys(key for log in group for key in log.settings)
    found = []
    for key in keys:
        values: dict[str, set[str | None]] = defaultdict(set)
        for log in group:
            values[log.task if key.startswith("task:") else ""].add(log.settings.get(key))
        if any(len(each) > 1 for each in values.values()):
            found.append(key)
    return found


def shown_settings(keys: Sequence[str]) -> str:
    """The names of settings as a list in words."""
    return ", ".join(key.removeprefix("task:") for key in keys)


def _with_settings(log: Log, keys: Sequence[str]) -> str:
    if not keys:
        return log.model
    said = [f"{key.removeprefix('task:')}={_short(log.settings[key])}" for key in keys if key in log.settings]
    return f"{log.model} ({', '.join(said or [f'no {key}' for key in keys])})"


def _short(value: str) -> str:
    if len(value) <= LONGEST_VALUE:
        return value
    return f"{value[: LONGEST_VALUE - 12]}...{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _check_file_names(logs: Sequence[Log], names: Sequence[str | None]) -> None:
    """Two models that both wrote `results.jsonl` must not become one policy in silence."""
    for place, (log, name) in enumerate(zip(logs, names, strict=True)):
        if log.policy is None and log.user_policy is None and not log.model:
            for at, other in enumerate(logs):
                in_column = other.policy is not None and str(name) in map(str, other.policy.values)
                if at != place and (names[at] == name or in_column):
                    raise UserError(
                        f"{log.source} and {other.source} would both be policy {name!r}: the first does not say its "
                        "policy; write POLICY=FILE for each (the same name if they belong together)"
                    )
