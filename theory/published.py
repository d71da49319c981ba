"""Inference from rounded numbers on a page: counts behind percentages, tests from summaries, samples a claim needed."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from theory.estimators import as_integers
from theory.paired import MeanInterval, t_interval

SLACK = 1e-9
"""Room for the last binary digit of a printed value."""


def rounded_counts(
    percentages: ArrayLike, trials: ArrayLike, decimals: ArrayLike, half_way: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest and most successes among `trials` whose percentage is printed as `percentages`; fewest > most if none.

    percentages in [0, 100], trials >= 1 and the printed number of decimals >= 0 broadcast to the common shape of both
    results. A percentage exactly half way between two printed values may have become either, and is left out of both
    if `half_way` is False. Raises ValueError otherwise.
    Source: Brown and Heathers 2017, "The GRIM test", for a percentage.
    """
    printed, number, places = np.broadcast_arrays(
        np.asarray(percentages, dtype=np.float64), as_integers(trials, "trials"), as_integers(decimals, "decimals")
    )
    if printed.size and not np.all((printed >= 0) & (printed <= 100)):
        raise ValueError("percentages must lie in [0, 100]")
    if printed.size and (number.min() < 1 or places.min() < 0):
        raise ValueError("trials must be at least 1 and decimals at least 0")
    half = 0.5 * 10.0**-places
    slack = SLACK if half_way else -SLACK
    fewest = np.ceil((printed - half) * number / 100 - slack)
    most = np.floor((printed + half) * number / 100 + slack)
    return np.maximum(fewest, 0).astype(np.int64), np.minimum(most, number).astype(np.int64)


def consistent_trials(
    percentages: ArrayLike, trials: ArrayLike, decimals: ArrayLike, half_way: bool = True
) -> NDArray[np.bool_]:
    """True for those of `trials`, shape (grid,), that could lie behind every one of `percentages`, shape (printed,).

    decimals: one number or shape (printed,). Returns shape (grid,). `half_way`, errors and source as
    `rounded_counts`.
    """
    printed = np.atleast_1d(np.asarray(percentages, dtype=np.float64))
    grid = np.atleast_1d(as_integers(trials, "trials"))
    places = np.broadcast_to(as_integers(decimals, "decimals"), printed.shape)
    fewest, most = rounded_counts(printed[None, :], grid[:, None], places[None, :], half_way)
    return np.asarray((fewest <= most).all(axis=1))


def chance_of_fit(trials: int, decimals: int) -> float:
    """Share of all percentages with so many decimals that are a count among `trials`: how little a fit may mean.

    Near trials / (100 * 10**decimals) below that number of trials, and 1 from it on. Errors as `rounded_counts`.
    Source: enumeration of the printable values.
    """
    printable = np.arange(100 * 10**decimals + 1) / 10**decimals
    fewest, most = rounded_counts(printable, trials, decimals)
    return float((fewest <= most).mean())


def solved_count_multisets(
    mean: float, standard_deviation: float, questions: int, runs: int, ddof: int, decimals: int = 1
) -> tuple[tuple[int, ...], ...]:
    """Every multiset of solved counts whose printed mean and standard deviation over runs are the given ones.

    mean and standard_deviation are percentages of `questions`, both with so many decimals; runs >= 2; ddof 0 is the
    population and 1 the sample standard deviation. Counts ascend within a multiset. Raises ValueError for fewer runs,
    another ddof or a negative standard deviation.
    Source: enumeration, as in Heathers et al. 2018, "SPRITE", of counts within standard_deviation * sqrt(runs - ddof)
    of the mean, outside which one deviation alone exceeds the printed sum of squares.
    """
    if runs < 2 or ddof not in (0, 1) or standard_deviation < 0:
        raise ValueError(
            f"need runs >= 2, ddof 0 or 1 and a standard deviation >= 0, got {runs}, {ddof}, {standard_deviation}"
        )
    half = 0.5 * 10.0**-decimals + SLACK
    reach = (standard_deviation + half) * np.sqrt(runs - ddof) + half
    lowest = max(0, int(np.ceil((mean - reach) * questions / 100)))
    highest = min(questions, int(np.floor((mean + reach) * questions / 100)))
    candidates = list(combinations_with_replacement(range(lowest, highest + 1), runs))
    if not candidates:
        return ()
    rates = 100.0 * np.array(candidates) / questions
    fits = np.abs(rates.mean(axis=1) - mean) <= half
    fits &= np.abs(rates.std(axis=1, ddof=ddof) - standard_deviation) <= half
    return tuple(candidates[index] for index in np.flatnonzero(fits))


def welch_from_summary(
    first: tuple[float, float, int], second: tuple[float, float, int], confidence: float = 0.95, unit: str = "seed"
) -> MeanInterval:
    """Difference first - second with Welch's interval and two-sided test, each arm as (mean, sample SD, units).

    A printed population SD has to be multiplied by sqrt(n / (n - 1)) before it comes here. Raises ValueError for fewer
    than two units, a negative SD or a confidence outside (0, 1).
    Source: Welch 1947; equals scipy `ttest_ind_from_stats(equal_var=False)`.
    """
    for _, deviation, units in (first, second):
        if units < 2 or deviation < 0:
            raise ValueError(f"an arm needs at least 2 units and a standard deviation >= 0, got {units}, {deviation}")
    difference = first[0] - second[0]
    variance, freedom = _welch_error(first[1], first[2], second[1], second[2])
    return t_interval(difference, float(np.sqrt(variance)), freedom, confidence, unit, "Welch t")


def trend_in_proportions(successes: ArrayLike, trials: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Cochran-Armitage trend: z (positive if the proportion rises with the score) and two-sided p.

    successes, trials, scores: shape (groups,), at least two groups. Raises ValueError unless 0 <= successes <= trials
    and the scores differ; if nothing or everything succeeded, z is 0.
    Source: Armitage 1955, with the binomial variance (no finite-sample factor).
    """
    hits, number = as_integers(successes, "successes"), as_integers(trials, "trials")
    score = np.asarray(scores, dtype=np.float64)
    if hits.ndim != 1 or hits.shape != number.shape or hits.shape != score.shape or hits.size < 2:
        raise ValueError("successes, trials and scores need one common axis of at least two groups")
    if hits.min() < 0 or np.any(hits > number) or np.unique(score[number > 0]).size < 2:
        raise ValueError("a trend needs 0 <= successes <= trials and at least two different scores")
    overall = hits.sum() / number.sum()
    centred = score - (number * score).sum() / number.sum()
    variance = overall * (1 - overall) * (number * centred**2).sum()
    z = float((centred * hits).sum() / np.sqrt(variance)) if variance > 0 else 0.0
    return z, float(2 * scipy.stats.norm.sf(abs(z)))


def two_proportion_samples(first: float, second: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Samples per arm for which two independent proportions differ significantly with the stated power.

    first, second in [0, 1] and different; two-sided test. Not rounded up. Raises ValueError otherwise.
    Source: normal approximation with unpooled variance (Fleiss, Levin and Paik 2003, section 4.2).
    """
    _check_proportions(first, second)
    if first == second:
        raise ValueError("equal proportions differ in no number of samples")
    quantile = scipy.stats.norm.isf(alpha / 2) + scipy.stats.norm.ppf(power)
    return float(quantile**2 * (first * (1 - first) + second * (1 - second)) / (first - second) ** 2)


def two_proportion_power(first: float, second: float, samples: float, alpha: float = 0.05) -> float:
    """Power of the two-sided comparison of two independent proportions, `samples` per arm.

    Inverse of `two_proportion_samples` up to the far tail; source and errors as there.
    """
    _check_proportions(first, second)
    error = np.sqrt((first * (1 - first) + second * (1 - second)) / samples)
    if error == 0:
        return float(first != second)
    shift, critical = abs(first - second) / error, scipy.stats.norm.isf(alpha / 2)
    return float(scipy.stats.norm.sf(critical - shift) + scipy.stats.norm.cdf(-critical - shift))


def power_welch(
    effect: float, deviations: tuple[float, float], units: tuple[float, float], alpha: float = 0.05
) -> float:
    """Power of Welch's two-sided t-test on normal data, its degrees of freedom taken at the true sample SDs.

    effect: true difference of means; deviations (not both 0) and units (>= 2 each) of the two arms. Raises ValueError
    otherwise. Exact for equal SDs and equal sizes, where it equals statsmodels `TTestIndPower().power`.
    Source: noncentral t with Welch-Satterthwaite degrees of freedom.
    """
    if min(deviations) < 0 or max(deviations) == 0 or min(units) < 2:
        raise ValueError(f"need SDs >= 0, not both 0, and at least 2 units, got {deviations} and {units}")
    variance, freedom = _welch_error(deviations[0], units[0], deviations[1], units[1])
    shift, critical = abs(effect) / np.sqrt(variance), scipy.stats.t.isf(alpha / 2, freedom)
    # scipy's nct loses the far tail to NaN, where its true value is 0.
    return float(
        scipy.stats.nct.sf(critical, freedom, shift) + np.nan_to_num(scipy.stats.nct.cdf(-critical, freedom, shift))
    )


def welch_detectable_difference(
    deviations: tuple[float, float], units: tuple[float, float], alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest difference of means that Welch's t-test finds with the stated power; arguments as `power_welch`."""
    upper = max(deviations)
    while power_welch(upper, deviations, units, alpha) < power:
        upper *= 2
    return float(
        scipy.optimize.brentq(lambda effect: power_welch(effect, deviations, units, alpha) - power, 0.0, upper)
    )


def welch_units(
    effect: float, deviations: tuple[float, float], alpha: float = 0.05, power: float = 0.8, limit: int = 10**6
) -> int:
    """Smallest number of units per arm for which Welch's t-test finds `effect` with the stated power.

    Raises ValueError if `limit` units per arm do not suffice; other arguments as `power_welch`.
    """
    if power_welch(effect, deviations, (limit, limit), alpha) < power:
        raise ValueError(f"{limit} units per arm do not find a difference of {effect}")
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        if power_welch(effect, deviations, (middle, middle), alpha) >= power:
            high = middle
        else:
            low = middle
    return high


def _welch_error(first: float, first_units: float, second: float, second_units: float) -> tuple[float, float]:
    """Squared standard error of the difference and Welch-Satterthwaite degrees of freedom."""
    one, two = first**2 / first_units, second**2 / second_units
    if one + two == 0:
        return 0.0, float(first_units + second_units - 2)
    return one + two, (one + two) ** 2 / (one**2 / (first_units - 1) + two**2 / (second_units - 1))


def _check_proportions(first: float, second: float) -> None:
    if not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"proportions must lie in [0, 1], got {first} and {second}")
