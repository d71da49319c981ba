"""What the claims, figures and sections of EchoRL read from the records, seed by seed."""

from __future__ import annotations

import numpy as np

from reproduce.claims.records import MethodRecords
from reproduce.papers.echorl.experiment import ARMS
from theory.pass_kt import all_at_k, pass_at_k

REASONING, COUNTDOWN = "reasoning", "countdown"
ENVIRONMENTS = (REASONING, COUNTDOWN)


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
