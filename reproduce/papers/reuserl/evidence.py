"""From tables of ReuseRL's records to evidence: directed tests with one-sided refutation, ratios, contrasts.

A table has shape (seeds, tasks). A ratio of sums, or a contrast of two panels, becomes such a table by linearisation:
its row means are each seed's statistic exactly, and its spread over tasks is each task's influence, so that the
crossed interval takes seeds and tasks as random (delta method, textbook).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from reproduce.claims.tests import all_must_hold, superiority
from reproduce.claims.verdicts import Evidence
from reproduce.report.text import effect_text, probability
from theory.inference import crossed_t_interval, holm

ONE_SIDED = 0.90
"""Level of the two-sided interval whose ends are one-sided 95 % limits."""


def directed(
    table: np.ndarray, details: tuple[tuple[str, str], ...] = (), unit: str = "points", against: bool | None = None
) -> Evidence:
    """Evidence that a mean is positive. Refuted when the upper one-sided 95 % limit is not above 0, or as `against`
    says. A table of zeros only (nothing of the kind ever happened) is no evidence either way."""
    found = superiority(table, smallest_effect=0.0, details=details)
    refuted = float(crossed_t_interval(table, ONE_SIDED).high) <= 0 if against is None else against
    return replace(found, against=bool(refuted and np.any(table)), unit_of_effect=unit)


def of_seeds(values: np.ndarray) -> np.ndarray:
    """(seeds, 2) of a statistic that has one value a seed and no tasks.

    Without spread over its columns the crossed interval is the t interval of the seeds.
    """
    return np.repeat(np.asarray(values, dtype=np.float64)[:, None], 2, axis=1)


def seed_evidence(found: Evidence) -> Evidence:
    """Evidence from a table that `of_seeds` made, with the unit it really has."""
    return replace(found, interval_method="t, unit: seed", questions=1)


def nothing_measured(seeds: int, questions: int, reason: str, unit: str = "points") -> Evidence:
    """Evidence of a statistic that does not exist in the records, such as a share of no failures."""
    return Evidence(
        effect=float("nan"),
        low=float("nan"),
        high=float("nan"),
        confidence=0.95,
        interval_method="none",
        p_value=1.0,
        minimum_detectable_effect=None,
        in_favour=False,
        against=False,
        seeds=seeds,
        questions=questions,
        unit_of_effect=unit,
        details=(("not measured", reason),),
    )


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
    """Ratio of `treated` minus ratio of `control`, each (numerator, denominator), over the seeds in which both exist;
    and a sentence on the seeds left out, or ""."""
    table = ratio_table(*treated) - ratio_table(*control)
    known = np.isfinite(table).all(axis=1)
    left_out = int((~known).sum())
    note = f"{left_out} of {len(table)} seeds left out: a share of nothing" if left_out else ""
    return table[known], note


def two_panels(table: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean of `table` minus mean of `other`, tables of the same seeds on different tasks, as one linearised table."""
    tasks = table.shape[1] + other.shape[1]
    first, second = table.mean(axis=1, keepdims=True), other.mean(axis=1, keepdims=True)
    parts = ((table - first) * tasks / table.shape[1], (second - other) * tasks / other.shape[1])
    return first - second + np.concatenate(parts, axis=1)


def not_inferior(table: np.ndarray, margin: float, details: tuple[tuple[str, str], ...] = ()) -> Evidence:
    """Evidence that a mean lies above -margin. Refuted when the upper one-sided 95 % limit lies below -margin."""
    found = superiority(table + margin, smallest_effect=0.0, details=details)
    detectable = found.minimum_detectable_effect
    return replace(
        found,
        effect=found.effect - margin,
        low=found.low - margin,
        high=found.high - margin,
        minimum_detectable_effect=None if detectable is None else detectable - margin,
        against=bool(crossed_t_interval(table, ONE_SIDED).high < -margin),
    )


def together(parts: Mapping[str, Evidence], against: bool | None = None) -> Evidence:
    """Evidence for a claim all of whose parts must hold, with a row of details for each part.

    The largest p is valid for the whole, as every part must be shown (intersection-union test); the p that Holm's
    correction over the parts gives is shown with each.
    """
    if not parts:
        return nothing_measured(0, 0, "no environment with these arms")
    known = [1.0 if part.p_value is None else part.p_value for part in parts.values()]
    whole = all_must_hold(list(parts.values()))
    rows = [
        (label, f"{effect_text(part)}, {probability(p, 'Holm p')}")
        for (label, part), p in zip(parts.items(), holm(known).tolist(), strict=True)
    ]
    # Parts that one reason leaves unmeasured name it once.
    further = list(dict.fromkeys(row for part in parts.values() for row in part.details))
    refuted = whole.against if against is None else against
    return replace(whole, details=tuple(rows + further), against=refuted)
