"""Smallest effects that a whole rule finds: the corrected sign-flip test and an interval that excludes the null."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from theory.bootstrap import crossed_error
from theory.randomization import EXACT_UNITS, TIE_TOLERANCE
from theory.resampling import FloatArray
from theory.step_down import rooted, sign_patterns

INTERVAL_LEVEL = 0.975
"""One-sided level of the limit that must exclude the null: that of a two-sided 95 % interval."""
RANDOM_PATTERNS = 1_000
MOST_DOUBLINGS = 30
MOST_CHOICES = 16
"""Choices of one component of each other hypothesis that are tried."""


@dataclass(frozen=True, eq=False)
class Design:
    """Components measured on the same units, as draws of normal values.

    The values of the units are `factor`.T @ z with z standard normal, so that `factor`.T @ factor is their covariance:
    residuals over the root of (units - 1) give that of observed values, a diagonal matrix independent ones.
    """

    units: int
    factor: FloatArray
    """(rank, components)."""
    question_variance: FloatArray
    """(components,): variance that the questions, which all units share, add to the mean; 0 where there are none."""
    questions: FloatArray
    """(components,): questions that each value is a mean over; 0 where they are not taken as random."""
    question_square: FloatArray
    residual_square: FloatArray
    """(components,): mean squares of the crossed analysis of variance, of questions and of the rest."""

    @staticmethod
    def of_units(units: int, factor: FloatArray) -> Design:
        """A design without questions."""
        nothing = np.zeros(factor.shape[1])
        return Design(units, factor, nothing, nothing, nothing, nothing)

    def limits(self, parts: Sequence[int], variance: FloatArray, levels: FloatArray, seed: int) -> FloatArray:
        """Half-widths of one-sided limits at `levels`, (parts, simulations), where the units have this variance, with
        mean squares of questions drawn anew."""
        generator, rows = np.random.default_rng((2, seed)), []
        for place, part in enumerate(parts):
            size = int(self.questions[part])
            if size < 2:
                error = np.sqrt(variance[place] / self.units)
                rows.append(float(scipy.special.stdtrit(self.units - 1.0, levels[place])) * error)
                continue
            freedom = size - 1, (size - 1) * (self.units - 1)
            of_questions, of_rest = (
                mean * generator.chisquare(one, variance.shape[1]) / one
                for mean, one in zip((self.question_square[part], self.residual_square[part]), freedom, strict=True)
            )
            error, found = crossed_error(size * variance[place], of_questions, of_rest, self.units, size)
            rows.append(scipy.special.stdtrit(found, levels[place]) * error)
        return np.array(rows)


@dataclass(frozen=True)
class Correction:
    """The family that a hypothesis is tested in. The default is no family: the hypothesis alone at 5 %."""

    level: float = 0.05
    others: Sequence[Sequence[int]] = ()
    """Components of each of the other hypotheses whose flips are shared."""
    by_p: int = 0
    """Other hypotheses that enter by their p."""
    intervals: int = 1
    """Hypotheses whose intervals are corrected together (Holm's first step)."""


def detectable_effect(
    design: Design,
    own: Sequence[int],
    correction: Correction | None = None,
    power: float = 0.8,
    simulations: int = 2_000,
) -> float:
    """Smallest true effect, the same in all components `own`, with which the whole rule finds the hypothesis with the
    stated power while the other hypotheses are truly null.

    Found: the largest t of the family reaches that of the hypothesis in at most `level` of the sign patterns (the first
    and strictest step of `step_down_maxt`), and the lower limit of every own component lies above 0: at 97.5 %, where
    questions are random at 1 - `level` / `intervals` if that is more. In the unit of the factor; infinite where no
    effect is found, however large. Simulated with fixed random numbers: the error of the power is .009 at 2,000
    simulations. Raises ValueError for fewer than 2 units.
    Source: own; it equals `theory.power.sign_flip_minimum_detectable_effect` without family and interval.
    """
    if design.units < 2:
        raise ValueError(f"at least 2 units are needed, got {design.units}")
    found = _power_curve(design, own, correction or Correction(), simulations)
    deviation = float(np.sqrt((design.factor**2).sum(axis=0)[list(own)].max()))
    upper = deviation or 1.0
    for _ in range(MOST_DOUBLINGS):
        if found(upper) >= power:
            break
        upper *= 2
    else:
        return float("inf")
    lower = 0.0
    while upper - lower > 1e-3 * upper:
        middle = (lower + upper) / 2
        lower, upper = (lower, middle) if found(middle) >= power else (middle, upper)
    return upper


def _power_curve(
    design: Design, own: Sequence[int], correction: Correction, simulations: int
) -> Callable[[float], float]:
    """Power as a function of the effect, from one set of draws."""
    generator, units = np.random.default_rng(0), design.units
    draws = generator.standard_normal((simulations, units, len(design.factor))) @ design.factor
    draws += generator.standard_normal((simulations, 1, draws.shape[2])) * np.sqrt(design.question_variance)
    signs = sign_patterns(units, np.random.default_rng(1), RANDOM_PATTERNS)
    added = 0 if units <= EXACT_UNITS else 1
    largest = _largest_roots(draws, signs, correction)
    flips = [draws[:, :, part] @ signs.T for part in own]
    sums = np.stack([draws[:, :, part].sum(axis=1) for part in own])
    squares = np.stack([(draws[:, :, part] ** 2).sum(axis=1) for part in own])
    drift = signs.sum(axis=1)
    variance = np.maximum(squares - sums**2 / units, 0) / (units - 1)
    corrected = max(INTERVAL_LEVEL, 1 - correction.level / correction.intervals)
    levels = np.where(design.questions[list(own)] > 1, corrected, INTERVAL_LEVEL)
    limit = design.limits(own, variance, levels, 0)

    def power(effect: float) -> float:
        scale = np.sqrt(units * (squares + 2 * effect * sums + units * effect**2))
        observed = (sums + units * effect) / scale
        bound = observed.min(axis=0)[:, None] - TIE_TOLERANCE
        share = np.zeros(simulations)
        own_reached = [
            (flipped + effect * drift) / scale[place][:, None] >= bound for place, flipped in enumerate(flips)
        ]
        for others in largest:
            beyond = others >= bound
            for reached in own_reached:
                share = np.maximum(share, ((beyond | reached).sum(axis=1) + added) / (len(signs) + added))
        if correction.by_p:
            root = np.minimum(bound[:, 0], 1 - 1e-15)
            share += correction.by_p * scipy.special.stdtr(units - 1.0, -root * np.sqrt((units - 1.0) / (1 - root**2)))
        beyond_limit = (sums / units + effect > limit).all(axis=0)
        return float(((share <= correction.level + TIE_TOLERANCE) & beyond_limit).mean())

    return power


def _largest_roots(draws: FloatArray, signs: FloatArray, correction: Correction) -> list[FloatArray]:
    """Largest rooted statistic of the other hypotheses in each draw and pattern, one table for each choice of one
    component a hypothesis."""
    units = draws.shape[1]
    roots = {}
    for part in {part for group in correction.others for part in group}:
        scale = np.sqrt(units * (draws[:, :, part] ** 2).sum(axis=1, keepdims=True))
        # What never varies reaches no bound.
        roots[part] = draws[:, :, part] @ signs.T / np.where(scale > 0, scale, 1.0)
    choices = itertools.islice(itertools.product(*correction.others), MOST_CHOICES)
    floor = np.full((len(draws), len(signs)), -np.inf)
    return [functools.reduce(np.maximum, (roots[part] for part in choice), floor) for choice in choices]


def level_by_p(design: Design, correction: Correction, simulations: int = 200) -> float:
    """Largest p, on average, at which a hypothesis that enters by its p is rejected in a family of true nulls: the
    level less what the flips of the others take of it, shared with the others that enter by their p. Simulated with
    fixed random numbers."""
    generator, units = np.random.default_rng(0), design.units
    draws = generator.standard_normal((simulations, units, len(design.factor))) @ design.factor
    signs = sign_patterns(units, np.random.default_rng(1), RANDOM_PATTERNS)
    grid = np.geomspace(correction.level / 50, correction.level / (1 + correction.by_p), 60)
    bounds = rooted(-scipy.special.stdtrit(units - 1.0, grid), units)
    share = np.zeros((simulations, len(grid)))
    for table in _largest_roots(draws, signs, correction):
        # Counts at or above each bound, from the ascending order of each draw.
        counts = [len(signs) - np.searchsorted(row, bounds - TIE_TOLERANCE) for row in np.sort(table, axis=1)]
        share = np.maximum(share, np.array(counts) / len(signs))
    allowed = share + (1 + correction.by_p) * grid <= correction.level
    return float(np.where(allowed, grid, grid[0]).max(axis=1).mean())


def detectable_margin(
    design: Design, own: Sequence[int], level: float = 0.05, power: float = 0.8, simulations: int = 2_000
) -> float:
    """Margin that two one-sided t tests at `level` meet with the stated power in all components `own`, where every true
    difference is 0. Simulated with fixed random numbers."""
    generator, chosen = np.random.default_rng(0), list(own)
    draws = generator.standard_normal((simulations, design.units, len(design.factor))) @ design.factor[:, chosen]
    offsets = generator.standard_normal((simulations, len(chosen))) * np.sqrt(design.question_variance[chosen])
    half = design.limits(chosen, draws.var(axis=1, ddof=1).T, np.full(len(chosen), 1 - level), 1)
    reach = np.abs(draws.mean(axis=1) + offsets).T + half
    return float(np.quantile(reach.max(axis=0), power))


def formula_effect(
    deviation: float, units: int, question_variance: float = 0.0, level: float = 0.05, power: float = 0.8
) -> float:
    """The same by formula, without a family: quantiles of t at the stricter of `level` and the interval's level.

    deviation: of one unit's value. (t(1 - level) + t(power)) sqrt(deviation^2 / units + question_variance), both with
    units - 1 degrees of freedom. It leaves out how coarse the p of few sign patterns are. Source: textbook.
    """
    strictest = max(1 - level, INTERVAL_LEVEL)
    quantiles = float(scipy.special.stdtrit(units - 1.0, strictest) + scipy.special.stdtrit(units - 1.0, power))
    return quantiles * float(np.sqrt(deviation**2 / units + question_variance))


def units_needed(
    effect: float,
    deviation: float,
    question_variance: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    most: int = 1_000,
) -> int | None:
    """Fewest units with which the whole rule finds an effect; None beyond `most`, and for an effect that the spread of
    the questions alone hides.

    ratio: of `detectable_effect` to `formula_effect` at a number of units where both are known. The smallest p of a
    sign-flip test, 2^-units, must not exceed the level.
    """
    counts = np.arange(2, most + 1)
    strictest = max(1 - level, INTERVAL_LEVEL)
    quantiles = scipy.special.stdtrit(counts - 1.0, strictest) + scipy.special.stdtrit(counts - 1.0, power)
    smallest = ratio * quantiles * np.sqrt(deviation**2 / counts + question_variance)
    enough = np.flatnonzero((smallest <= effect) & (2.0**-counts <= level))
    return int(counts[enough[0]]) if enough.size else None
