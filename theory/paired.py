"""Tests and intervals for paired means, paired binary outcomes and single proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.estimators import as_integers
from theory.resampling import FloatArray


@dataclass(frozen=True)
class MeanInterval:
    """A mean with a t interval and the two-sided p of "the mean is 0"; Welch has fractional degrees of freedom."""

    mean: float
    low: float
    high: float
    standard_error: float
    p_value: float
    confidence: float
    degrees_of_freedom: float
    unit: str
    method: str


@dataclass(frozen=True)
class EquivalenceResult:
    """Result of `paired_tost`: `low` and `high` bound the mean at level 1 - 2 alpha."""

    mean: float
    p_value: float
    low: float
    high: float
    margin_low: float
    margin_high: float
    alpha: float
    units: int

    @property
    def equivalent(self) -> bool:
        return self.p_value <= self.alpha


def paired_tost(differences: ArrayLike, margin: float | tuple[float, float], alpha: float = 0.05) -> EquivalenceResult:
    """Two one-sided paired t-tests: is the mean difference inside the margin?

    differences: shape (units,), at least two; margin: a positive half-width or (low, high), in the same units. The
    p-value is the larger of the two one-sided p-values, and p <= alpha exactly when the (1 - 2 alpha) interval lies
    inside the margin.
    Raises ValueError for a margin that is not an interval around something, alpha outside (0, .5), or bad differences.
    Source: Schuirmann 1987, through statsmodels `ttost_paired`.
    """
    from statsmodels.stats.weightstats import ttost_paired

    values = finite_vector(differences, "differences", at_least=2)
    low, high = (-margin, margin) if isinstance(margin, int | float) else margin
    if not low < high:
        raise ValueError(f"the margin must be positive, or (low, high) with low < high, got {margin}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie in (0, 0.5), got {alpha}")
    interval = mean_interval(values, 1 - 2 * alpha)
    # Units that agree to rounding have no t statistic. Where all lie on one side of a limit, the sign test speaks.
    if interval.standard_error <= 1e-14 * np.abs(values).max():
        p_value = 0.5**values.size if low < interval.mean < high else 1.0
    else:
        p_value = float(ttost_paired(values, np.zeros_like(values), low, high)[0])
    return EquivalenceResult(
        interval.mean, p_value, interval.low, interval.high, float(low), float(high), alpha, values.size
    )


def mean_interval(differences: ArrayLike, confidence: float = 0.95, unit: str = "unit") -> MeanInterval:
    """One-sample (paired) t interval and two-sided t-test of a mean.

    differences: shape (units,), at least two. Raises ValueError for fewer, for non-finite values and for a confidence
    outside (0, 1). Source: Student's t.
    """
    values = finite_vector(differences, "differences", at_least=2)
    error = float(values.std(ddof=1) / np.sqrt(values.size))
    return t_interval(float(values.mean()), error, values.size - 1.0, confidence, unit, "paired t")


def t_interval(
    mean: float, standard_error: float, degrees_of_freedom: float, confidence: float, unit: str, method: str
) -> MeanInterval:
    """Interval and two-sided p-value from an estimate, its standard error and degrees of freedom."""
    check_confidence(confidence)
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, degrees_of_freedom)) * standard_error
    if standard_error > 0:
        p_value = float(2 * scipy.stats.t.sf(abs(mean) / standard_error, degrees_of_freedom))
    else:
        p_value = 1.0 if mean == 0 else 0.0
    return MeanInterval(
        mean, mean - half, mean + half, standard_error, p_value, confidence, degrees_of_freedom, unit, method
    )


def mcnemar_exact(b: ArrayLike, c: ArrayLike, alternative: str = "two-sided") -> FloatArray:
    """Exact McNemar p-value from the two discordant counts.

    b, c: whole numbers that broadcast (for example gained, lost); returns their common shape. `greater` asks whether b
    is larger than c. No discordant pair gives p = 1. Raises ValueError for negative or fractional counts.
    Source: McNemar 1947, binomial(b + c, 1/2); equals statsmodels `mcnemar(exact=True)`, which takes one table at a
    time.
    """
    b, c = _discordant(b, c)
    if alternative == "two-sided":
        return np.minimum(1.0, 2.0 * scipy.stats.binom.cdf(np.minimum(b, c), b + c, 0.5))
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative must be two-sided, greater or less, got {alternative!r}")
    return np.asarray(
        scipy.stats.binom.sf(b - 1, b + c, 0.5) if alternative == "greater" else scipy.stats.binom.cdf(b, b + c, 0.5)
    )


def mcnemar_mid_p(b: ArrayLike, c: ArrayLike) -> FloatArray:
    """Two-sided mid-p McNemar p-value: the exact p less half the probability of what is exactly as extreme as observed.

    Shapes and errors as `mcnemar_exact`. Where b = c this is 1 - P(b)/2, since only one outcome is as extreme as the
    observed one.
    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, supplement equation 2.
    """
    b, c = _discordant(b, c)
    point = scipy.stats.binom.pmf(b, b + c, 0.5)
    return np.where(b == c, 1.0 - point / 2, mcnemar_exact(b, c) - point)


def _discordant(b: ArrayLike, c: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.broadcast_arrays(as_integers(b, "b"), as_integers(c, "c"))
    if first.size and min(first.min(), second.min()) < 0:
        raise ValueError("discordant counts must be at least 0")
    return first, second


def wilson_interval(successes: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson score interval (low, high) of a proportion; arrays of the common shape of successes and n.

    Raises ValueError unless 0 <= successes <= n and n >= 1. Source: Wilson 1927, through statsmodels
    `proportion_confint`.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_confidence(confidence)
    hits, trials = np.broadcast_arrays(as_integers(successes, "successes"), as_integers(n, "n"))
    if trials.size and (trials.min() < 1 or hits.min() < 0 or np.any(hits > trials)):
        raise ValueError("a proportion needs 0 <= successes <= n and n >= 1")
    low, high = proportion_confint(hits, trials, alpha=1 - confidence, method="wilson")
    return np.asarray(low), np.asarray(high)


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's step-down adjusted p-values, in the order given; valid under any dependence.

    p_values: shape (tests,) in [0, 1]. Raises ValueError otherwise. Source: Holm 1979, through statsmodels
    `multipletests`.
    """
    from statsmodels.stats.multitest import multipletests

    values = finite_vector(p_values, "p_values", at_least=0)
    if values.size == 0:
        return values
    if values.min() < 0 or values.max() > 1:
        raise ValueError("p-values must lie in [0, 1]")
    return np.asarray(multipletests(values, method="holm")[1], dtype=np.float64)


def finite_vector(values: ArrayLike, name: str, at_least: int) -> FloatArray:
    """`values` as a float vector; ValueError unless it has one axis, enough entries and no NaN or infinity."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {vector.shape}")
    if vector.size < at_least:
        raise ValueError(f"{name} needs at least {at_least} values, got {vector.size}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} hold NaN or infinite values")
    return vector


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
