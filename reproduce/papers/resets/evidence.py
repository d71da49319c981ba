"""Evidence from one number a seed, and from ratios, for the claims on RRPO and SRPO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from reproduce.claims.tests import equivalence, superiority
from reproduce.claims.verdicts import Evidence
from reproduce.report.text import interval, number, probability

METHOD = "paired t, unit: seed"


def of_seeds(values: np.ndarray, smallest_effect: float, unit: str = "points", tasks: int = 0) -> Evidence:
    """Evidence that a quantity with one value a seed, (seeds,), has a positive mean; refuted as by `superiority`.

    tasks: how many tasks each value is a summary of.
    """
    # Two equal columns leave no variance but that of the seeds: the crossed interval is then the paired t interval.
    found = superiority(np.column_stack([values, values]), smallest_effect)
    return replace(found, interval_method=METHOD, unit_of_effect=unit, questions=tasks)


def equal_over_seeds(values: np.ndarray, margin: float, unit: str = "points") -> Evidence:
    """Evidence that a quantity with one value a seed has a mean inside +-margin, by TOST over seeds."""
    found = equivalence(np.column_stack([values, values])[..., None], margin)
    return replace(found, interval_method=METHOD, unit_of_effect=unit, questions=0)


def as_ratio(evidence: Evidence, unit: str) -> Evidence:
    """Evidence about a mean logarithm, told as a ratio."""
    detectable = evidence.minimum_detectable_effect
    return replace(
        evidence,
        effect=float(np.exp(evidence.effect)),
        low=float(np.exp(evidence.low)),
        high=float(np.exp(evidence.high)),
        minimum_detectable_effect=None if detectable is None else float(np.exp(detectable)),
        interval_method=f"{evidence.interval_method}, of logarithms",
        unit_of_effect=unit,
    )


def not_worse(table: np.ndarray, margin: float) -> Evidence:
    """Evidence that the mean of a (seeds, tasks) table lies above -margin; refuted when its 95 % interval lies below 0.

    p: t test over seeds of the hypothesis that the mean is -margin.
    """
    found = superiority(table, smallest_effect=0.0)
    seeds = table.mean(axis=1)
    error = seeds.std(ddof=1) / len(seeds) ** 0.5
    shifted = float(seeds.mean() + margin)
    p = float(stats.t.sf(shifted / error, len(seeds) - 1)) if error > 0 else float(shifted <= 0)
    return replace(found, p_value=p, in_favour=found.low > -margin, against=found.high < 0, seeds_needed=None)


def different(table: np.ndarray, margin: float) -> Evidence:
    """Evidence that the mean of a (seeds, tasks) table is not 0, in either direction; refuted when its 90 % interval
    lies inside +-margin. p: two-sided sign flips over seeds."""
    found = superiority(table, smallest_effect=0.0)
    other = superiority(-table, smallest_effect=0.0)
    assert found.p_value is not None and other.p_value is not None
    equal = equivalence(table[..., None], margin)
    return replace(
        found,
        p_value=min(1.0, 2 * min(found.p_value, other.p_value)),
        in_favour=found.low > 0 or found.high < 0,
        against=equal.in_favour and not (found.low > 0 or found.high < 0),
        minimum_detectable_effect=None,
        seeds_needed=None,
    )


def shown(evidence: Evidence, digits: int = 1) -> str:
    """`effect [low, high], p` of a part of a claim."""
    signed = evidence.unit_of_effect == "points"
    ends = interval(evidence.low, evidence.high, digits, signed)
    p = "" if evidence.p_value is None else f", {probability(evidence.p_value, 'p')}"
    return f"{number(evidence.effect, digits, signed)} {ends}{p}"
