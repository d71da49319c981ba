"""Ratios of sums, and contrasts of two panels, as (seeds, tasks) tables.

They become such tables by linearisation: row means are each seed's statistic exactly, and the spread over tasks is each
task's influence, so that the crossed interval takes seeds and tasks as random (delta method, textbook).
"""

from __future__ import annotations

import numpy as np


def ratio_table(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Linearised ratio of sums, (seeds, tasks), in points; NaN in the row of a seed whose denominator is 0."""
    below = denominator.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = numerator.mean(axis=1, keepdims=True) / below
        return np.asarray(100 * (ratio + (numerator - ratio * denominator) / below))


def seed_ratios(of: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Ratio of sums, (numerator, denominator), in points, one value a seed; NaN where the denominator is 0."""
    return np.asarray(ratio_table(*of).mean(axis=1))


def ratio_difference(
    treated: tuple[np.ndarray, np.ndarray], control: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, str]:
    """Ratio of `treated` minus ratio of `control`, each (numerator, denominator), NaN in the row of a seed in which one
    does not exist; and a sentence on these seeds, or ""."""
    table = ratio_table(*treated) - ratio_table(*control)
    known = np.isfinite(table).all(axis=1)
    left_out = int((~known).sum())
    note = f"{left_out} of {len(table)} seeds left out: a share of nothing" if left_out else ""
    return np.where(known[:, None], table, np.nan), note


def two_panels(table: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean of `table` minus mean of `other`, tables of the same seeds on different tasks, as one linearised table."""
    tasks = table.shape[1] + other.shape[1]
    first, second = table.mean(axis=1, keepdims=True), other.mean(axis=1, keepdims=True)
    parts = ((table - first) * tasks / table.shape[1], (second - other) * tasks / other.shape[1])
    return first - second + np.concatenate(parts, axis=1)
