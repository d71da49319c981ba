"""Sign-flip tests of paired differences, for one quantity and for a family of them.

Under the null that the two arms are exchangeable within a unit, each unit's difference is as likely to carry either
sign, so all 2^units sign patterns are equally likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.resampling import FloatArray, all_bits, block_sizes, random_bits

EXACT_UNITS = 15
ALTERNATIVES = ("two-sided", "greater", "less")
# Sums of the same numbers in another order differ in the last bits; such ties must count as ties.
TIE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class SignFlipResult:
    """Result of `sign_flip_test`. `statistic` is the mean, `exact` says whether all patterns were enumerated."""

    statistic: float
    p_value: float
    exact: bool
    units: int
    resamples: int
    alternative: str


@dataclass(frozen=True)
class MaxTResult:
    """Result of `westfall_young_maxt`; arrays have the shape of one unit's cells.

    `statistic` is the one-sample t of each cell (infinite where all units agree to
    rounding, 0 where all are 0, NaN for a single unit).
    """

    mean: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    adjusted_p_value: FloatArray
    exact: bool
    units: int
    resamples: int
    alternative: str


def sign_flip_test(
    differences: ArrayLike,
    alternative: str = "two-sided",
    generator: np.random.Generator | None = None,
    resamples: int = 10_000,
) -> SignFlipResult:
    """Test that the paired differences are symmetric about 0, by flipping their signs.

    differences: shape (units,), in the units of the measured quantity; `greater` means a positive mean. Up to 15 units
    every sign pattern is enumerated (the smallest p is 2^-units one-sided, 2^(1-units) two-sided); above, `resamples`
    random patterns are drawn from `generator` and p = (1 + hits) / (1 + resamples), which keeps the level exactly
    (Phipson and Smyth 2010).
    Raises ValueError for anything but one axis, no units, non-finite values, an unknown alternative, or more than 15
    units without a generator. Source: Fisher's randomisation test; compare
    scipy.stats.permutation_test(permutation_type="samples").
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences must have shape (units,), got {values.shape}")
    family = westfall_young_maxt(values[:, None], generator, alternative, resamples)
    return SignFlipResult(
        statistic=float(family.mean[0]),
        p_value=float(family.p_value[0]),
        exact=family.exact,
        units=family.units,
        resamples=family.resamples,
        alternative=alternative,
    )


def westfall_young_maxt(
    differences: ArrayLike,
    generator: np.random.Generator | None = None,
    alternative: str = "two-sided",
    resamples: int = 10_000,
) -> MaxTResult:
    """Single-step maxT over cells measured on the same units: controls the family-wise error, using correlation.

    differences: shape (units, ...cells); every cell of a unit gets the same sign. Each cell is studentised, so that
    cells of unequal spread count alike. `p_value` is the cell's own sign-flip p, `adjusted_p_value` is the share of
    sign patterns whose largest statistic over the cells reaches the cell's own. Exact up to 15 units, otherwise Monte
    Carlo as in `sign_flip_test`.
    Raises ValueError as `sign_flip_test`. Source: Westfall and Young 1993, algorithm 2.5 (single-step), with
    sign-flips.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim < 2:
        raise ValueError(f"differences must have shape (units, cells), got {values.shape}")
    if values.size == 0:
        raise ValueError("differences hold no values")
    if not np.isfinite(values).all():
        raise ValueError("differences hold NaN or infinite values; drop these units or cells first")
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative must be one of {', '.join(ALTERNATIVES)}, got {alternative!r}")
    units, cell_shape = values.shape[0], values.shape[1:]
    flat = values.reshape(units, -1)

    # Flips leave the sum of squares alone, so t = sqrt(units - 1) r / sqrt(1 - r^2) with r = mean / root mean square,
    # the same increasing function of r for every cell and every pattern. Ranking by r is ranking by t, without its
    # singularity at |r| = 1.
    root_mean_square = np.sqrt(np.mean(flat**2, axis=0))
    scaled = np.divide(flat, root_mean_square, out=np.zeros_like(flat), where=root_mean_square > 0) / units
    observed = scaled.sum(axis=0)
    extremeness = _extremeness(observed, alternative)

    exact = units <= EXACT_UNITS
    hits = np.zeros(flat.shape[1])
    family_hits = np.zeros(flat.shape[1])
    drawn = 0
    for bits in _patterns(units, flat.shape[1], generator, resamples):
        flipped = _extremeness(observed - 2.0 * (bits @ scaled), alternative)
        hits += (flipped >= extremeness - TIE_TOLERANCE).sum(axis=0)
        largest = np.sort(flipped.max(axis=1))
        family_hits += largest.size - np.searchsorted(largest, extremeness - TIE_TOLERANCE)
        drawn += bits.shape[0]
    added = 0 if exact else 1
    variance_share = 1.0 - observed**2
    variance_share[variance_share < TIE_TOLERANCE] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(observed == 0.0, 0.0, observed * np.sqrt(units - 1.0) / np.sqrt(variance_share))
    return MaxTResult(
        mean=flat.mean(axis=0).reshape(cell_shape),
        statistic=statistic.reshape(cell_shape),
        p_value=((hits + added) / (drawn + added)).reshape(cell_shape),
        adjusted_p_value=((family_hits + added) / (drawn + added)).reshape(cell_shape),
        exact=exact,
        units=units,
        resamples=drawn,
        alternative=alternative,
    )


def _extremeness(statistic: FloatArray, alternative: str) -> FloatArray:
    if alternative == "two-sided":
        return np.abs(statistic)
    return statistic if alternative == "greater" else -statistic


def _patterns(units: int, cells: int, generator: np.random.Generator | None, resamples: int) -> Iterator[FloatArray]:
    """Blocks of sign patterns as bits, where 1 flips the unit."""
    if units <= EXACT_UNITS:
        every = all_bits(units)
        start = 0
        for size in block_sizes(every.shape[0], max(units, cells)):
            yield every[start : start + size]
            start += size
        return
    if generator is None:
        raise ValueError(
            f"{units} units are too many to enumerate (limit {EXACT_UNITS}): pass a numpy random Generator"
        )
    for size in block_sizes(resamples, max(units, cells)):
        yield random_bits(generator, size, units)
