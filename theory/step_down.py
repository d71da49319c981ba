"""Step-down correction of a family of one-sided tests whose sign flips are shared (Westfall and Young 1993).

Tests on the same units flip the same signs, so that the largest statistic of the family is compared with its own law
instead of with a bound over tests. A test that has no flips to share enters by its p, with a union bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from theory.randomization import EXACT_UNITS, TIE_TOLERANCE
from theory.resampling import FloatArray, all_bits, random_bits

MOST_SELECTIONS = 1024
"""Choices of one component a hypothesis that are enumerated; beyond, all components count."""


@dataclass(frozen=True, eq=False)
class Component:
    """One test of a hypothesis: a one-sided p, or the values whose signs are flipped."""

    values: FloatArray | None = None
    """(units,), the null subtracted, positive where they speak against it; NaN for a unit without a value."""
    p_value: float | None = None
    """Read where there are no values."""


def step_down_maxt(
    hypotheses: Sequence[Sequence[Component]], generator: np.random.Generator | None = None, resamples: int = 10_000
) -> FloatArray:
    """Adjusted p of every hypothesis, (hypotheses,), in the order given; they control the family-wise error strongly.

    A hypothesis is rejected when all of its components are (an intersection-union test), so that its statistic is the
    least of theirs. The statistic of a component is the one-sample t of its values; that of a p is the t with units - 1
    degrees of freedom whose upper tail it is. Starting from the most extreme, the adjusted p of a hypothesis is the
    share of sign patterns in which a component of those that are left reaches its statistic, plus, for each of those
    left that enters by its p, the tail of the statistic; it never falls below an earlier one. Where hypotheses have
    several components, one of each is taken, in the choice that gives the largest p: any of them may be the true null.

    Up to 15 units every sign pattern is enumerated; above, `resamples` patterns are drawn from `generator` and counted
    as (1 + hits) / (1 + resamples). Raises ValueError where values differ in their number of units, a hypothesis has no
    component, a p lies outside [0, 1], or more than 15 units come without a generator.
    Source: Westfall and Young 1993, algorithm 2.8, with sign flips; the mixture with p is our own: reject where the
    largest t reaches a bound or a p its tail, which the sum of both shares bounds.
    """
    parts = [component for hypothesis in hypotheses for component in hypothesis]
    _check(hypotheses, parts)
    known = [component.values for component in parts if component.values is not None]
    units = len(known[0]) if known else 2
    signs = sign_patterns(units, generator, resamples) if known else np.ones((1, units))
    flipped, observed = _statistics(parts, signs, units)
    place = np.cumsum([0, *(len(hypothesis) for hypothesis in hypotheses)])
    members = [list(range(start, end)) for start, end in itertools.pairwise(place)]
    least = np.array([min(observed[part] for part in own) for own in members])
    added = 0 if units <= EXACT_UNITS else 1
    left = sorted(range(len(members)), key=lambda one: -least[one])
    adjusted, reached = np.empty(len(members)), 0.0
    for step, one in enumerate(left):
        remaining = [members[other] for other in left[step:]]
        reached = max(reached, min(1.0, _share_reached(remaining, flipped, least[one], units, signs.shape[0], added)))
        adjusted[one] = reached
    return adjusted


def sign_patterns(units: int, generator: np.random.Generator | None = None, resamples: int = 10_000) -> FloatArray:
    """Sign patterns as +1 and -1, (patterns, units): all of them up to 15 units, the first without a flip; above,
    `resamples` random ones. Raises ValueError for more than 15 units without a generator."""
    if units <= EXACT_UNITS:
        return _every_pattern(units)
    if generator is None:
        raise ValueError(
            f"{units} units are too many to enumerate (limit {EXACT_UNITS}): pass a numpy random Generator"
        )
    return 1.0 - 2.0 * random_bits(generator, resamples, units)


@cache
def _every_pattern(units: int) -> FloatArray:
    return 1.0 - 2.0 * all_bits(units)


def rooted(statistic: FloatArray | float, units: int) -> FloatArray:
    """t / sqrt(units - 1 + t^2): the mean over the root mean square of `units` values with this t, free of the
    singularity that t has where all values agree."""
    t = np.asarray(statistic, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(t), np.sign(t), t / np.sqrt(units - 1.0 + t**2))


def tail_of(root: float, units: int) -> float:
    """Upper tail of t with units - 1 degrees of freedom, from `rooted`."""
    if root >= 1:
        return 0.0
    if root <= -1:
        return 1.0
    return float(scipy.special.stdtr(units - 1.0, -root * math.sqrt((units - 1.0) / (1.0 - root**2))))


def _statistics(
    parts: Sequence[Component], signs: FloatArray, units: int
) -> tuple[list[FloatArray | None], FloatArray]:
    """Of every component the rooted statistic in each pattern (None without values), and the observed one."""
    flipped: list[FloatArray | None] = []
    observed = np.empty(len(parts))
    for place, part in enumerate(parts):
        if part.values is None:
            assert part.p_value is not None
            # The quantiles of 0 and 1 are infinite, which the library does not say for every number of units.
            certain = {0.0: 1.0, 1.0: -1.0}
            t = -float(scipy.special.stdtrit(units - 1.0, part.p_value))
            observed[place] = certain.get(part.p_value, float(rooted(t, units)))
            flipped.append(None)
            continue
        have = np.isfinite(part.values)
        values, count = np.where(have, part.values, 0.0), int(have.sum())
        scale = math.sqrt(count * float(values @ values))
        root = signs @ (values / scale) if scale > 0 else np.zeros(len(signs))
        own = float(values.sum() / scale) if scale > 0 else 0.0
        if count < units:
            # Fewer values have a t of fewer degrees of freedom: brought to the scale of all units through t.
            both = np.append(root, own).clip(-1, 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                t = both * np.sqrt(max(count - 1.0, 0.0)) / np.sqrt(1.0 - both**2)
            both = rooted(np.nan_to_num(t, nan=0.0, posinf=np.inf, neginf=-np.inf), units)
            root, own = both[:-1], float(both[-1])
        flipped.append(root)
        observed[place] = own
    return flipped, observed


def _share_reached(
    remaining: Sequence[Sequence[int]],
    flipped: Sequence[FloatArray | None],
    bound: float,
    units: int,
    patterns: int,
    added: int,
) -> float:
    """Share of patterns in which one chosen component of each remaining hypothesis reaches the bound, plus the tails of
    those that enter by their p; the largest over all choices."""
    reached: dict[int, int | None] = {}
    for own in remaining:
        for part in own:
            root = flipped[part]
            # Patterns as bits of one whole number: unions and counts cost next to nothing.
            hit = None if root is None else np.packbits(root >= bound - TIE_TOLERANCE).tobytes()
            reached[part] = None if hit is None else int.from_bytes(hit, "big")
    tail = tail_of(bound, units)
    if math.prod(len(own) for own in remaining) > MOST_SELECTIONS:
        remaining = [[part] for own in remaining for part in own]
    largest = 0.0
    for choice in itertools.product(*remaining):
        union, others = 0, 0
        for part in choice:
            hit_bits = reached[part]
            if hit_bits is None:
                others += 1
            else:
                union |= hit_bits
        any_flipped = others < len(choice)
        share = (union.bit_count() + added) / (patterns + added) if any_flipped else 0.0
        largest = max(largest, share + others * tail)
    return largest


def _check(hypotheses: Sequence[Sequence[Component]], parts: Sequence[Component]) -> None:
    if any(not hypothesis for hypothesis in hypotheses):
        raise ValueError("every hypothesis needs a component")
    shapes = {np.shape(part.values) for part in parts if part.values is not None}
    if len(shapes) > 1 or any(len(shape) != 1 or not shape[0] for shape in shapes):
        raise ValueError(f"values must share one shape (units,), got {sorted(shapes)}")
    for part in parts:
        if part.values is None and (part.p_value is None or not 0 <= part.p_value <= 1):
            raise ValueError(f"a component without values needs a p in [0, 1], got {part.p_value}")
