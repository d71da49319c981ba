"""What the claims, figures and sections of EchoRL read from the records, and evidence whose unit is the seed alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import POWER
from reproduce.claims.verdicts import Evidence
from reproduce.papers.echorl.experiment import ARMS
from theory.inference import (
    mean_interval,
    minimum_detectable_effect,
    sign_flip_minimum_detectable_effect,
    sign_flip_test,
)
from theory.pass_kt import all_at_k, pass_at_k

REASONING, COUNTDOWN = "reasoning", "countdown"
ENVIRONMENTS = (REASONING, COUNTDOWN)
MOST_ENUMERATED = 15
"""Seeds up to which every pattern of signs is tried."""


def control(records: MethodRecords, environment: str = REASONING) -> str:
    """The arm that gains are measured against: the placebo, or GRPO, which equals it bit for bit (an identity)."""
    return "placebo" if records.has(environment, "placebo") else "grpo"


def trained_arms(records: MethodRecords, environment: str) -> list[str]:
    """The trained arms of an environment in the order of the designs; the frozen base is not trained."""
    return [arm for arm in ARMS if arm not in ("base", "frozen") and records.has(environment, arm)]


def gain(
    records: MethodRecords, arm: str, against: str | None = None, panel: str = "test", environment: str = REASONING
) -> np.ndarray:
    """Success of an arm minus that of another (by default the control), points, (seeds, tasks)."""
    other = control(records, environment) if against is None else against
    return records.success(environment, arm, panel) - records.success(environment, other, panel)


def edge(steps: int) -> int:
    """Steps that count as the start or the end of a training: a tenth, at least one."""
    return max(1, steps // 10)


def ends(log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a (seeds, steps) log over its first and over its last tenth, each (seeds,); NaN where nothing is
    logged."""
    size = edge(log.shape[1])
    return mean_known(log[:, :size]), mean_known(log[:, -size:])


def mean_known(log: np.ndarray) -> np.ndarray:
    """Mean of each row over what is not NaN; NaN for a row of NaN."""
    known = np.isfinite(log)
    return np.where(known.any(axis=1), np.where(known, log, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)


def logged(records: MethodRecords, environment: str, arm: str, column: str) -> np.ndarray:
    """One column of the training log, (seeds, steps); NaN where it was not logged, at some step or by any arm.

    Raises ValueError for an arm that was not trained.
    """
    if column in records.training:
        return records.log(environment, arm, column)
    return np.full_like(records.log(environment, arm, "reward"), np.nan)


def has_log(records: MethodRecords, environment: str, arm: str, *columns: str) -> bool:
    """Whether an arm was trained and logged these columns at some step."""
    rows = records.training[(records.training["environment"] == environment) & (records.training["arm"] == arm)]
    return all(column in rows and rows[column].notna().any() for column in columns)


def group_size(records: MethodRecords, environment: str = REASONING) -> int:
    """G of the experiment."""
    return int(records.experiment[environment]["training"]["group_size"])


def all_success_share(
    records: MethodRecords, arm: str, environment: str = REASONING, panel: str = "test", category: str | None = None
) -> np.ndarray:
    """Chance that all of G episodes of a task succeed, unbiased from the counts, (seeds, tasks).

    As many episodes as a task has stand for G where it has fewer.
    """
    n, successes = (
        records.table(environment, arm, name, panel, category).astype(np.int64) for name in ("n", "successes")
    )
    return all_at_k(n, successes, min(group_size(records, environment), int(n.min())))


def pass_points(
    records: MethodRecords, arm: str, k: int, environment: str = REASONING, panel: str = "test"
) -> np.ndarray:
    """Unbiased PASS@k in points, (seeds, tasks)."""
    n, successes = (records.table(environment, arm, name, panel).astype(np.int64) for name in ("n", "successes"))
    return 100 * pass_at_k(n, successes, k)


def largest_k(records: MethodRecords, environment: str = REASONING) -> int:
    """The largest power of two that is at most half of the episodes of a task."""
    samples = int(records.table(environment, "base", "n").min())
    return 2 ** max(0, (samples // 2).bit_length() - 1)


def over_seeds_evidence(
    values: np.ndarray,
    in_favour: Callable[[float, float], bool],
    against: Callable[[float, float], bool],
    unit_of_effect: str = "points",
    alternative: str | None = "greater",
    null: float = 0.0,
    tasks: int = 0,
    details: tuple[tuple[str, str], ...] = (),
) -> Evidence:
    """Evidence from one number a seed: t interval, and the exact sign-flip of its difference from `null`.

    values: (seeds,), NaN where a seed has none; with fewer than two there is no interval and no verdict.
    in_favour, against: of the interval's ends. alternative: None for a descriptive claim, without p.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        estimate = float(known.mean()) if len(known) else float("nan")
        return _evidence(estimate, (np.nan, np.nan), None, None, (False, False), 0, tasks, unit_of_effect, details)
    found = mean_interval(known)
    p = detectable = None
    if alternative is not None:
        p = sign_flip_test(known - null, alternative, np.random.default_rng(0)).p_value
        detectable = _detectable(float(known.std(ddof=1)), len(known))
    reading = (in_favour(found.low, found.high), against(found.low, found.high))
    return _evidence(
        found.mean, (found.low, found.high), p, detectable, reading, len(known), tasks, unit_of_effect, details
    )


def _evidence(
    effect: float,
    ends_of_interval: tuple[float, float],
    p: float | None,
    detectable: float | None,
    reading: tuple[bool, bool],
    seeds: int,
    tasks: int,
    unit: str,
    details: tuple[tuple[str, str], ...],
) -> Evidence:
    return Evidence(
        effect=float(effect),
        low=float(ends_of_interval[0]),
        high=float(ends_of_interval[1]),
        confidence=0.95,
        interval_method="t over seeds, unit: seed",
        p_value=p,
        minimum_detectable_effect=detectable,
        in_favour=bool(reading[0]),
        against=bool(reading[1]),
        seeds=seeds,
        questions=tasks,
        unit_of_effect=unit,
        details=details,
    )


def _detectable(deviation: float, seeds: int) -> float | None:
    if 2.0**-seeds > 0.05:
        return None
    if seeds > MOST_ENUMERATED:
        return float(minimum_detectable_effect(deviation, seeds, power=POWER, alternative="greater"))
    generator = np.random.default_rng(0)
    return float(sign_flip_minimum_detectable_effect(deviation, seeds, generator, power=POWER, alternative="greater"))


def shown(values: np.ndarray, digits: int = 1, signed: bool = True) -> str:
    """`mean [low, high]` of one number a seed, t interval; `none` where fewer than two are known."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return "none"
    found = mean_interval(known)
    sign = "+" if signed else ""
    parts = [f"{round(part, digits) + 0.0:{sign}.{digits}f}" for part in (found.mean, found.low, found.high)]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"
