"""Power and minimum detectable effects, to be printed before a claim is run."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.paired import mcnemar_exact, mcnemar_mid_p
from theory.randomization import ALTERNATIVES, EXACT_UNITS
from theory.resampling import FloatArray, all_bits, block_sizes


def power_paired_t(
    effect: ArrayLike,
    standard_deviation: ArrayLike,
    units: ArrayLike,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> FloatArray:
    """Exact power of the paired t-test when the differences are normal.

    effect (signed true mean difference), standard_deviation (> 0, of one unit's difference) and units (>= 2)
    broadcast; returns their common shape. `greater` tests for a positive mean. Raises ValueError for a bad argument.
    Source: noncentral t; equals statsmodels `TTestPower().power`.
    """
    _check_design(alpha, alternative)
    deviation, count = np.asarray(standard_deviation, dtype=np.float64), np.asarray(units, dtype=np.float64)
    if not np.all(deviation > 0):
        raise ValueError("standard_deviation must be positive")
    if not np.all(count >= 2):
        raise ValueError("a paired t-test needs at least 2 units")
    shift = np.asarray(effect, dtype=np.float64) / deviation * np.sqrt(count)
    shift, freedom = np.broadcast_arrays(shift, count - 1.0)
    if alternative == "two-sided":
        critical = scipy.stats.t.isf(alpha / 2, freedom)
        # scipy's nct loses the far tail on the wrong side to NaN, where its true value is 0.
        return np.asarray(
            np.nan_to_num(scipy.stats.nct.sf(critical, freedom, shift))
            + np.nan_to_num(scipy.stats.nct.cdf(-critical, freedom, shift))
        )
    signed = shift if alternative == "greater" else -shift
    return np.asarray(np.nan_to_num(scipy.stats.nct.sf(scipy.stats.t.isf(alpha, freedom), freedom, signed)))


def minimum_detectable_effect(
    standard_deviation: ArrayLike,
    units: ArrayLike,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: str = "two-sided",
) -> FloatArray:
    """Smallest absolute mean difference that a paired t-test finds with the stated power.

    standard_deviation (>= 0) and units (>= 2) broadcast; returns their common shape, in the units of the standard
    deviation. For sign-flip tests on few units use `sign_flip_minimum_detectable_effect`. Raises ValueError for a bad
    argument.
    Source: noncentral t, solved for the effect; equals statsmodels `TTestPower().solve_power`.
    """
    _check_design(alpha, alternative, power)
    deviation, count = np.broadcast_arrays(np.asarray(standard_deviation, dtype=np.float64), np.asarray(units))
    if not np.all(deviation >= 0):
        raise ValueError("standard_deviation must be at least 0")
    one_sided = alternative if alternative == "two-sided" else "greater"
    distinct, index = np.unique(count, return_inverse=True)

    def shortfall(effect: float, number: float) -> float:
        return float(power_paired_t(effect, 1.0, number, alpha, one_sided)) - power

    standardised = np.empty(distinct.size)
    for position, number in enumerate(distinct.tolist()):
        upper = 1.0
        while shortfall(upper, number) < 0:
            upper *= 2.0
        standardised[position] = scipy.optimize.brentq(shortfall, 0.0, upper, args=(number,), xtol=1e-12)
    return np.asarray(standardised[index].reshape(count.shape) * deviation)


def units_for_effect(
    standard_deviation: float, effect: float, alpha: float = 0.05, power: float = 0.8, limit: int = 10**9
) -> float:
    """Fewest units with which a two-sided paired t-test finds a mean difference with the stated power.

    standard_deviation (> 0) of one unit's difference, effect (not 0) in the same units. Infinite beyond `limit`.
    Raises ValueError for a bad argument. Source: noncentral t; equals statsmodels `TTestPower().solve_power`, rounded
    up.
    """
    _check_design(alpha, "two-sided", power)
    if effect == 0:
        raise ValueError("no number of units finds an effect of 0")
    low, high = 1, 2
    while power_paired_t(effect, standard_deviation, high, alpha) < power:
        low, high = high, 2 * high
        if high > limit:
            return float("inf")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if power_paired_t(effect, standard_deviation, middle, alpha) >= power else (middle, high)
        )
    return float(high)


def units_for_equivalence(standard_deviation: float, margin: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Units with which two one-sided tests show equal means to be within +-margin, with the stated power.

    standard_deviation (> 0) of one unit's difference; margin (> 0) in the same units; alpha of each test. Normal
    approximation: ((z(1 - alpha) + z((1 + power) / 2)) sd / margin)^2. Raises ValueError for a bad argument. Source:
    Phillips 1990, J Pharmacokinet Biopharm 18:137, in the limit of known variance.
    """
    _check_design(alpha, "two-sided", power)
    if not (standard_deviation > 0 and margin > 0):
        raise ValueError("standard_deviation and margin must be positive")
    total = scipy.stats.norm.isf(alpha) + scipy.stats.norm.isf((1 - power) / 2)
    return float(np.ceil((total * standard_deviation / margin) ** 2))


def sign_flip_minimum_detectable_effect(
    standard_deviation: float,
    units: int,
    generator: np.random.Generator,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: str = "two-sided",
    simulations: int = 2_000,
) -> float:
    """Smallest mean difference that the exact sign-flip test finds with the stated power, for normal differences.

    standard_deviation: of one unit's difference; units: 2 to 15, the sizes that are enumerated. Infinite where the
    smallest attainable p (2^-units one-sided, twice that two-sided) exceeds alpha: no effect, however large, can be
    found. Simulation error of the power is sqrt(power (1 - power) / simulations), .009 at the defaults. Above 15 units
    the test is as powerful as the t-test to within that error: use `minimum_detectable_effect`.

    Own derivation: adding delta to every unit makes a flip of the subset A at least as extreme as the observed pattern
    exactly when delta <= -mean(A). So every simulated sample has its own critical delta, an order statistic of the
    negated subset means, and the answer is the `power` quantile of these. Two-sided rejections in the wrong direction
    are not counted as power.
    """
    _check_design(alpha, alternative, power)
    if standard_deviation < 0:
        raise ValueError("standard_deviation must be at least 0")
    if not 2 <= units <= EXACT_UNITS:
        raise ValueError(f"units must be 2 to {EXACT_UNITS} for the enumerated test, got {units}")
    level = alpha / 2 if alternative == "two-sided" else alpha
    allowed = int(np.floor(level * 2**units + 1e-9))
    if allowed < 1:
        return float("inf")
    subsets = all_bits(units)[1:]
    averaging = (subsets / subsets.sum(axis=1, keepdims=True)).T
    critical: list[FloatArray] = []
    for size in block_sizes(simulations, averaging.shape[1]):
        negated = -(generator.standard_normal((size, units)) @ averaging)
        # The observed pattern itself always counts, so allowed - 1 other flips may be as extreme.
        position = negated.shape[1] - allowed
        critical.append(np.partition(negated, position, axis=1)[:, position])
    return float(np.quantile(np.concatenate(critical), power)) * standard_deviation


def power_mcnemar(
    gained_rate: float,
    lost_rate: float,
    questions: int,
    alpha: float = 0.05,
    mid_p: bool = False,
) -> float:
    """Power of the two-sided exact (or mid-p) McNemar test, for given rates of the two kinds of discordant question.

    gained_rate, lost_rate: probabilities per question, together at most 1; questions: panel size. No approximation: a
    sum over the number of discordant questions and their split. Raises ValueError for rates or sizes that make no
    sense.
    Source: own enumeration.
    """
    if min(gained_rate, lost_rate) < 0 or not 0 < gained_rate + lost_rate <= 1:
        raise ValueError("discordant rates must be at least 0 and sum to a value in (0, 1]")
    if questions < 1:
        raise ValueError(f"questions must be at least 1, got {questions}")
    _check_design(alpha, "two-sided")
    rate = gained_rate + lost_rate
    # Panels of this size are out of reach of the binomial tails beyond; the mass left out is below 1e-12.
    low, high = scipy.stats.binom.ppf(1e-13, questions, rate), scipy.stats.binom.isf(1e-13, questions, rate)
    total = np.arange(int(low), int(high) + 1)[:, None]
    gained = np.arange(int(high) + 1)[None, :]
    # Impossible splits have probability 0 below; only their counts must not be negative.
    lost = np.maximum(total - gained, 0)
    p_value = mcnemar_mid_p(gained, lost) if mid_p else mcnemar_exact(gained, lost)
    probability = scipy.stats.binom.pmf(total, questions, rate) * scipy.stats.binom.pmf(
        gained, total, gained_rate / rate
    )
    return float((probability * (p_value <= alpha)).sum())


def mcnemar_questions(
    gained_rate: float, lost_rate: float, alpha: float = 0.05, power: float = 0.8, limit: int = 20_000
) -> int:
    """Smallest panel for which the exact McNemar test reaches the stated power.

    Discreteness makes power a saw-tooth in the panel size, so a slightly larger panel may fall just below again.
    Raises ValueError if the two rates are equal or `limit` questions are too few. Source: own enumeration.
    """
    _check_design(alpha, "two-sided", power)
    if gained_rate == lost_rate:
        raise ValueError("equal rates are the null hypothesis: no panel size has power")
    # Coarse steps up first: one power evaluation costs as much as the number of discordant pairs squared.
    upper = 8
    while power_mcnemar(gained_rate, lost_rate, upper, alpha) < power:
        upper *= 2
        if upper > limit:
            raise ValueError(f"more than {limit} questions are needed")
    for questions in range(upper // 2, upper + 1):
        if power_mcnemar(gained_rate, lost_rate, questions, alpha) >= power:
            return questions
    return upper


def _check_design(alpha: float, alternative: str, power: float | None = None) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative must be one of {', '.join(ALTERNATIVES)}, got {alternative!r}")
    if power is not None and not alpha < power < 1:
        raise ValueError(f"power must lie between alpha and 1, got {power}")
