"""Intervals and tests for means of values that cannot leave a range, honest from one unit on and at the range's ends.

A sample never shows the units it missed. The upper bound therefore adds one unseen unit at the upper end of the range,
the lower bound one at the lower end, and spreads a Dirichlet(1, ..., 1) weight over all of them. For values of 0 and 1
this is the Clopper-Pearson interval exactly; for others it narrows with their spread, and never leaves the range.
Source: Gaffke 2005, Mathematical Methods of Statistics 14; Learned-Miller and Thomas 2019, arXiv 1905.06208. Own: the
weighted mean's law is taken as the Beta on the range of the units with the same mean and variance, which is exact
where the units take two values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.paired import check_confidence
from theory.resampling import FloatArray


@dataclass(frozen=True, eq=False)
class BoundedInterval:
    """Mean and interval of each cell; NaN where a cell holds a NaN."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    units: int


def bounded_mean_interval(
    values: ArrayLike, confidence: float = 0.95, low: float = 0.0, high: float = 1.0, clusters: ArrayLike | None = None
) -> BoundedInterval:
    """Interval of the mean over units of values in [low, high].

    values: shape (units, ...cells), at least one unit. clusters: shape (units,), labels of units that were not drawn
    independently; the cluster is then the unit. Coverage at nominal 95 %, for means of PASS@k and their paired
    differences over 3 to 500 questions (benchmarks/intervals.py): at least .93 everywhere, .98 on average.
    Raises ValueError for no units, values outside the range, or a bad confidence.
    """
    check_confidence(confidence)
    units = _units(values, low, high, clusters)
    tail = (1 - confidence) / 2
    return BoundedInterval(
        estimate=np.asarray(units.mean(axis=0)),
        low=_Law(units, low).quantile(tail),
        high=_Law(units, high).quantile(1 - tail),
        confidence=confidence,
        units=units.shape[0],
    )


def bounded_mean_p_value(
    values: ArrayLike,
    null: float = 0.0,
    alternative: str = "greater",
    low: float = -1.0,
    high: float = 1.0,
    clusters: ArrayLike | None = None,
) -> FloatArray:
    """p of "the mean is at most `null`" (`greater`) or "at least" (`less`): the interval's own test.

    Shapes and errors as `bounded_mean_interval`; never 0 unless the range itself excludes the null. Equivalence within
    a margin has as p the larger of `greater` against -margin and `less` against margin (two one-sided tests).
    """
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative must be greater or less, got {alternative!r}")
    units = _units(values, low, high, clusters)
    if alternative == "greater":
        return _Law(units, low).below(null)
    return 1 - _Law(units, high).below(null)


def simultaneous_confidence(
    values: ArrayLike, generator: np.random.Generator, confidence: float = 0.95, draws: int = 10_000
) -> float:
    """Level at which each cell's own interval must be taken so that all cells are covered together.

    values: shape (units, ...cells). The largest of the studentised cell means is taken as that of a Gaussian vector
    with their correlation (sup-t, Montiel Olea and Plagborg-Moller 2019); cells that do not vary, or hold a NaN, take
    no part. Returns a confidence of at least the one given. Raises ValueError for a bad confidence.
    """
    check_confidence(confidence)
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(table.shape[0], -1)
    deviations = table - table.mean(axis=0)
    spread = np.sqrt((deviations**2).mean(axis=0))
    varies = spread > 1e-12
    if not varies.any():
        return confidence
    scaled = deviations[:, varies] / spread[varies]
    if scaled.shape[0] > scaled.shape[1]:
        strength, axes = np.linalg.eigh(scaled.T @ scaled / scaled.shape[0])
        scaled = np.sqrt(np.maximum(strength, 0))[:, None] * axes.T
    else:
        scaled = scaled / np.sqrt(scaled.shape[0])
    largest = [
        np.abs(generator.standard_normal((min(1000, draws - start), scaled.shape[0])) @ scaled).max(axis=1)
        for start in range(0, draws, 1000)
    ]
    critical = float(np.quantile(np.concatenate(largest), confidence))
    return max(confidence, float(1 - 2 * scipy.stats.norm.sf(critical)))


def _units(values: ArrayLike, low: float, high: float, clusters: ArrayLike | None) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim < 1 or table.shape[0] < 1:
        raise ValueError(f"values must have shape (units, ...) with at least one unit, got {table.shape}")
    if not low < high:
        raise ValueError(f"the range must have low < high, got {low} and {high}")
    if np.nanmin(table, initial=low) < low - 1e-9 or np.nanmax(table, initial=high) > high + 1e-9:
        raise ValueError(f"values must lie in [{low}, {high}]")
    return np.clip(cluster_means(table, clusters), low, high)


def cluster_means(values: ArrayLike, clusters: ArrayLike | None) -> FloatArray:
    """The mean over units as a mean over clusters, linearised: a large cluster moves it more than a small one.

    values: shape (units, ...cells); clusters: shape (units,), None for units that stand alone. Returns shape
    (clusters, ...cells), whose mean is that of the units. Raises ValueError for shapes that do not match.
    """
    table = np.asarray(values, dtype=np.float64)
    if clusters is None:
        return table
    _, code = np.unique(np.asarray(clusters), return_inverse=True)
    if code.shape != table.shape[:1]:
        raise ValueError(f"clusters must have shape ({table.shape[0]},), got {code.shape}")
    mean = table.mean(axis=0)
    sums = np.zeros((code.max() + 1, *table.shape[1:]))
    np.add.at(sums, code, table - mean)
    return np.asarray(mean + sums * (sums.shape[0] / table.shape[0]))


class _Law:
    """The Dirichlet mean of the units and one more at `edge`, as a Beta on their range."""

    def __init__(self, units: FloatArray, edge: float) -> None:
        count = units.shape[0]
        self.edge = edge
        self.start = np.minimum(units.min(axis=0), edge)
        self.width = np.maximum(units.max(axis=0), edge) - self.start
        with np.errstate(divide="ignore", invalid="ignore"):
            # Scaled first: values that differ by 1e-10 alone would otherwise lose their variance to rounding.
            share, share_of_edge = (units - self.start) / self.width, (edge - self.start) / self.width
            self.mean = (share.sum(axis=0) + share_of_edge) / (count + 1)
            square = ((share - self.mean) ** 2).sum(axis=0) + (share_of_edge - self.mean) ** 2
            size = self.mean * (1 - self.mean) * (count + 1) * (count + 2) / square - 1
        self.first, self.second = self.mean * size, (1 - self.mean) * size

    def quantile(self, level: float) -> FloatArray:
        inside = self.start + self.width * scipy.stats.beta.ppf(level, self.first, self.second)
        return np.asarray(np.where(self.width == 0, self.edge, inside))

    def below(self, value: float) -> FloatArray:
        """Probability of at most `value`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = scipy.stats.beta.cdf((value - self.start) / self.width, self.first, self.second)
        return np.asarray(np.where(self.width == 0, np.float64(self.edge <= value), inside))
