"""From a table of differences to evidence: the three kinds of test that the claims register.

All tables have shape (seeds, questions) or (seeds, questions, cells), in points (hundredths). Seeds and questions are
both taken as random for intervals; the p of a superiority test is the exact sign-flip over seeds, the unit of a claim
about a method.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import scipy

from reproduce.claims.published import published_number
from reproduce.claims.verdicts import Evidence
from theory.inference import (
    SeedQuestionInterval,
    crossed_t_interval,
    minimum_detectable_effect,
    power_paired_t,
    sign_flip_minimum_detectable_effect,
    sign_flip_test,
)

POWER = 0.8
MOST_SEEDS_PLANNED = 1000


def quote(paper: str, template: str) -> tuple[str, str]:
    """Fill `{identifier}` with published numbers; returns the text and where its numbers were read."""
    numbers = [published_number(paper, name) for name in re.findall(r"\{([^}]+)\}", template)]
    values = iter(f"{number.value:g}" for number in numbers)
    text = re.sub(r"\{[^}]+\}", lambda match: next(values), template)
    sources = dict.fromkeys(source for number in numbers for source in number.sources)
    directly = "read directly" if all(number.read_directly for number in numbers) else "not read directly"
    inferred = dict.fromkeys(key for number in numbers for key in number.inferred)
    directly += f"; {' and '.join(inferred)} inferred" if inferred else ""
    return text, f"{', '.join(sources)} ({directly})" if sources else "third-party digests (not read directly)"


def superiority(table: np.ndarray, smallest_effect: float, details: tuple[tuple[str, str], ...] = ()) -> Evidence:
    """Evidence that the mean of a (seeds, questions) table of differences is positive.

    Refuted when the 95 % interval is not above zero and ends below `smallest_effect`, the smallest effect of interest:
    the wrong sign, or an interval that includes zero and excludes that effect.
    """
    interval = crossed_t_interval(table)
    low, high = float(interval.low), float(interval.high)
    seed_means = table.mean(axis=1)
    return Evidence(
        effect=float(interval.estimate),
        low=low,
        high=high,
        confidence=interval.confidence,
        interval_method=f"{interval.method}, unit: {interval.unit}",
        p_value=sign_flip_test(seed_means, "greater").p_value if len(table) <= 15 else _monte_carlo(table),
        minimum_detectable_effect=_detectable(float(seed_means.std(ddof=1)), len(table)),
        in_favour=low > 0,
        against=low <= 0 and high < smallest_effect,
        seeds=len(table),
        questions=table.shape[1],
        details=details,
        seeds_needed=_seeds_needed(interval, float(seed_means.std(ddof=1)), len(table)),
    )


def _monte_carlo(table: np.ndarray) -> float:
    return sign_flip_test(table.mean(axis=1), "greater", np.random.default_rng(0)).p_value


def _detectable(deviation: float, seeds: int) -> float | None:
    """By simulation of the sign-flip test; None where no effect, however large, could be found with so few seeds."""
    if 2.0**-seeds > 0.05:
        return None
    if seeds > 15:
        return float(minimum_detectable_effect(deviation, seeds, power=POWER, alternative="greater"))
    return deviation * _detectable_at_deviation_one(seeds)


@cache
def _detectable_at_deviation_one(seeds: int) -> float:
    """The effect scales with the deviation, so one simulation serves all claims."""
    generator = np.random.default_rng(0)
    return sign_flip_minimum_detectable_effect(1.0, seeds, generator, power=POWER, alternative="greater")


def _seeds_needed(interval: SeedQuestionInterval, deviation: float, seeds: int) -> int | None:
    """Fewest seeds that find the observed effect with 80 % power at the observed spread of seed means.

    None beyond a thousand, and where the questions alone leave an interval that includes zero, however many the seeds.
    """
    effect = float(interval.estimate)
    of_questions = max(0.0, float(interval.standard_error) ** 2 - deviation**2 / seeds)
    if deviation <= 0 or effect <= scipy.stats.norm.ppf(0.975) * of_questions**0.5:
        return None
    counts = np.arange(2, MOST_SEEDS_PLANNED + 1)
    powers = power_paired_t(effect, deviation, counts, alternative="greater")
    enough = np.flatnonzero((powers >= POWER) & (2.0**-counts <= 0.05))
    return int(counts[enough[0]]) if len(enough) else None


def all_must_hold(parts: list[Evidence]) -> Evidence:
    """Evidence for a claim with several parts, as its deciding part: a refuted one, else the one with the largest p.

    Every part tests at the same level, so the largest p is valid for the whole (intersection-union test).
    """
    refuted = [part for part in parts if part.against]
    deciding = max(refuted or parts, key=lambda part: (part.p_value if part.p_value is not None else 1.0, -part.effect))
    largest = max(part.p_value for part in parts if part.p_value is not None)
    return replace(deciding, p_value=largest, in_favour=all(part.in_favour for part in parts), against=bool(refuted))


def equivalence(
    table: np.ndarray, margin: float, one_sided_refutation: bool = False, details: tuple[tuple[str, str], ...] = ()
) -> Evidence:
    """Evidence that every cell of a (seeds, questions, cells) table has a mean inside +-margin, by TOST.

    All cells must pass, so the claim's p is the largest of the cells' (intersection-union test) and needs no
    correction over cells. Shown is the deciding cell. Refuted when a cell's 90 % interval lies wholly outside the
    margin (`one_sided_refutation`: wholly above it).
    """
    interval = crossed_t_interval(table, confidence=0.90)
    p_values = _two_one_sided(interval, margin)
    cell = int(np.argmax(p_values))
    outside = interval.low > margin
    if not one_sided_refutation:
        outside = outside | (interval.high < -margin)
    if outside.any():
        cell = int(np.argmax(outside))
    error, freedom = float(interval.standard_error[cell]), float(np.asarray(interval.degrees_of_freedom)[cell])
    detectable = (scipy.stats.t.ppf(0.95, freedom) + scipy.stats.t.ppf((1 + POWER) / 2, freedom)) * error
    return Evidence(
        effect=float(interval.estimate[cell]),
        low=float(interval.low[cell]),
        high=float(interval.high[cell]),
        confidence=interval.confidence,
        interval_method=f"{interval.method}, unit: {interval.unit}",
        p_value=float(p_values[cell]),
        minimum_detectable_effect=float(detectable),
        in_favour=bool(((interval.low > -margin) & (interval.high < margin)).all()),
        against=bool(outside.any()),
        seeds=table.shape[0],
        questions=table.shape[1],
        details=details,
    )


def _two_one_sided(interval: SeedQuestionInterval, margin: float) -> np.ndarray:
    """p of the TOST for each cell, from the crossed standard error; a cell without spread is decided by its mean."""
    estimate, error = np.atleast_1d(interval.estimate), np.atleast_1d(interval.standard_error)
    freedom = np.atleast_1d(np.asarray(interval.degrees_of_freedom, dtype=np.float64))
    spread = np.where(error > 0, error, 1.0)
    p = np.maximum(
        scipy.stats.t.sf((estimate + margin) / spread, freedom),
        scipy.stats.t.cdf((estimate - margin) / spread, freedom),
    )
    return np.where(error > 0, p, np.where(np.abs(estimate) < margin, 0.0, 1.0))


def interval_text(interval: SeedQuestionInterval, cell: int | tuple[int, ...] = ()) -> str:
    """`estimate [low, high]` of one cell, in points."""
    # Adding zero turns the minus zero that rounding leaves into zero.
    estimate, low, high = (
        round(float(part[cell]), 1) + 0.0 for part in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate:+.1f} [{low:+.1f}, {high:+.1f}]"
