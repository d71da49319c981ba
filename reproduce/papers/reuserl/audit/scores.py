"""ReuseRL: what the reported success rates support. Numbers only; the tables are in `reuserl_tables`.

All values come from third-party digests of arXiv 2605.31509. Rates are turned into counts of episodes by the sizes of
the test sets where these are stated, and by what fits every rate where they are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import fisher_exact, norm

from reproduce.claims.published import PublishedNumber, load_published, load_settings
from theory.inference import holm
from theory.published import (
    chance_of_fit,
    consistent_trials,
    rounded_counts,
    two_proportion_power,
    two_proportion_samples,
)

KEY = "reuserl"
BENCHMARKS = ("ALFWorld-IID", "ALFWorld-OOD", "TextWorld-Cooking", "Countdown")
ARMS = ("GRPO", "length", "SegCost-buf")
COMPARISONS = (("SegCost-buf", "GRPO"), ("SegCost-buf", "length"), ("length", "GRPO"))
DECIMALS = 2
REPEATS = 3
"""Runs of one instance, inferred: 3000 episodes are three passes over the 1000 stated games of TextWorld-Cooking."""
COUNTDOWN_PUZZLES = 1024
"""Inferred: 3 x 1024 is the power of two among the sizes that fit the three rates of Countdown."""
MAJORITY_ROLLOUTS = 7
"""The 7 of the metric SC@7, whose meaning is not public."""
LARGEST = 10_000
"""From this size on every rate with two decimals is a whole count."""


@dataclass(frozen=True)
class Fit:
    """One benchmark's rates as counts of the assumed number of episodes."""

    benchmark: str
    episodes: int
    counts: tuple[int, ...]
    """Of `ARMS`."""
    fits: bool
    chance: float
    """Probability that as many arbitrary rates with two decimals would all fit that number."""
    smallest: int
    fitting: int
    """Sizes up to `LARGEST` that fit."""


@dataclass(frozen=True)
class RateTest:
    """Fisher's test of two arms on one benchmark; `adjusted` is Holm's over all comparisons and benchmarks.

    The clustered p counts each instance once, as if its repeats agreed entirely; it equals `p_value` without repeats.
    """

    benchmark: str
    arm: str
    against: str
    episodes: int
    wins: int
    wins_against: int
    p_value: float
    adjusted: float
    clustered_wins: tuple[int, int]
    clustered_p: float
    clustered_adjusted: float


@dataclass(frozen=True)
class Need:
    """Power of a comparison at its number of episodes, and the episodes per arm for 80 % power."""

    benchmark: str
    arm: str
    against: str
    difference: float
    episodes: int
    power: float
    clustered_power: float
    needed: float


@dataclass(frozen=True)
class GainContrast:
    """Gain out of distribution minus gain in distribution over GRPO, in points, with a 95 % half-width and p."""

    out_of_distribution: float
    in_distribution: float
    difference: float
    half_width: float
    p_value: float


@dataclass(frozen=True)
class Burned:
    """Burned and other failures of one arm in % of all episodes of TextWorld-Cooking."""

    arm: str
    failures: float
    burned: float
    other: float


@dataclass(frozen=True)
class DifferenceCheck:
    """A reported difference beside that of the main table, in points."""

    benchmark: str
    arm: str
    against: str
    reported: float
    recomputed: float


@cache
def published() -> dict[str, PublishedNumber]:
    """Every reported number by id."""
    return {number.id: number for number in load_published(KEY)}


def value(identifier: str) -> float:
    """The reported number of that id."""
    return float(published()[identifier].value)


def rate(arm: str, benchmark: str) -> float:
    """Reported success rate in %."""
    return value(f"success.{arm}.{benchmark}")


@cache
def instances() -> dict[str, int]:
    """Test instances by benchmark: stated for three, inferred for Countdown."""
    stated = {setting.id: setting.value for setting in load_settings(KEY)}
    sizes = {"Countdown": COUNTDOWN_PUZZLES}
    for name, unit in (("ALFWorld-IID", "scenes"), ("ALFWorld-OOD", "scenes"), ("TextWorld-Cooking", "games")):
        size = stated[f"evaluation.{name}.{unit}"]
        if not isinstance(size, int):
            raise TypeError(f"the size of {name} is {size!r}, not a whole number")
        sizes[name] = size
    return sizes


def episodes(benchmark: str) -> int:
    """Episodes behind a rate: one verdict a scene on ALFWorld, `REPEATS` an instance elsewhere."""
    return instances()[benchmark] * (1 if benchmark.startswith("ALFWorld") else REPEATS)


def fits() -> tuple[Fit, ...]:
    """The three rates of each benchmark as counts."""
    grid = np.arange(1, LARGEST + 1)
    found = []
    for benchmark in BENCHMARKS:
        rates, size = [rate(arm, benchmark) for arm in ARMS], episodes(benchmark)
        fewest, most = rounded_counts(rates, size, DECIMALS)
        fitting = grid[consistent_trials(rates, grid, DECIMALS)]
        chance = chance_of_fit(size, DECIMALS) ** len(rates)
        counts = tuple(int(count) for count in fewest)
        found.append(Fit(benchmark, size, counts, bool((fewest == most).all()), chance, int(fitting[0]), fitting.size))
    return tuple(found)


def round_sizes(benchmark: str, half_way: bool, with_best: bool) -> tuple[int, ...]:
    """Multiples of 500 up to `LARGEST` that fit the rates of a benchmark, if asked the leaderboard's best one too."""
    rates = [rate(arm, benchmark) for arm in ARMS] + ([value(f"best.{benchmark}")] if with_best else [])
    grid = np.arange(500, LARGEST + 1, 500)
    return tuple(int(size) for size in grid[consistent_trials(rates, grid, DECIMALS, half_way)])


def chance_of_whole_scenes() -> float:
    """Chance that all six ALFWorld rates are whole scenes if each scene scored a mean over seven rollouts."""
    return float(MAJORITY_ROLLOUTS ** -(2.0 * len(ARMS)))


def rate_tests() -> tuple[RateTest, ...]:
    """Fisher's test of every comparison on every benchmark, once by episode and once by instance, each with Holm."""
    raw = []
    for arm, against in COMPARISONS:
        for benchmark in BENCHMARKS:
            by_size = [_wins(arm, against, benchmark, size) for size in (episodes(benchmark), instances()[benchmark])]
            raw.append((benchmark, arm, against, by_size))
    adjusted, clustered = (holm([sizes[place][2] for *_, sizes in raw]) for place in (0, 1))
    return tuple(
        RateTest(
            benchmark,
            arm,
            against,
            episodes(benchmark),
            *sizes[0],
            float(adjusted[place]),
            (sizes[1][0], sizes[1][1]),
            sizes[1][2],
            float(clustered[place]),
        )
        for place, (benchmark, arm, against, sizes) in enumerate(raw)
    )


def needs() -> tuple[Need, ...]:
    """Power of every comparison at its own size and per instance, and the episodes that give 80 %."""
    found = []
    for arm, against in COMPARISONS:
        for benchmark in BENCHMARKS:
            first, second = _proportion(arm, benchmark), _proportion(against, benchmark)
            found.append(
                Need(
                    benchmark,
                    arm,
                    against,
                    100 * (first - second),
                    episodes(benchmark),
                    two_proportion_power(first, second, episodes(benchmark)),
                    two_proportion_power(first, second, instances()[benchmark]),
                    two_proportion_samples(first, second),
                )
            )
    return tuple(found)


def gain_contrast(arm: str = "SegCost-buf", against: str = "GRPO") -> GainContrast:
    """Gain on the unseen scenes of ALFWorld minus gain on the seen ones; Wald, all four rates independent."""
    gains, variance = [], 0.0
    for benchmark in ("ALFWorld-OOD", "ALFWorld-IID"):
        first, second = _proportion(arm, benchmark), _proportion(against, benchmark)
        gains.append(100 * (first - second))
        variance += 1e4 * (first * (1 - first) + second * (1 - second)) / instances()[benchmark]
    difference, error = gains[0] - gains[1], float(np.sqrt(variance))
    return GainContrast(
        gains[0], gains[1], difference, float(norm.isf(0.025)) * error, float(2 * norm.sf(abs(difference) / error))
    )


def burned() -> tuple[Burned, ...]:
    """Burned share of failures times the failure rate, for the arms whose success rate is reported."""
    found = []
    for arm in ARMS:
        failures = 100 - rate(arm, "TextWorld-Cooking")
        share = value(f"failures.TextWorld-Cooking.burned.{arm}") / 100
        found.append(Burned(arm, failures, failures * share, failures * (1 - share)))
    return tuple(found)


def difference_checks() -> tuple[DifferenceCheck, ...]:
    """Reported differences beside those of the main table."""
    table = {("SegCost-buf", "GRPO"): "difference.GRPO", ("SegCost-buf", "length"): "difference.length"}
    table[("length", "GRPO")] = "difference.length.GRPO"
    return tuple(
        DifferenceCheck(
            benchmark,
            arm,
            against,
            value(f"{table[(arm, against)]}.{benchmark}"),
            rate(arm, benchmark) - rate(against, benchmark),
        )
        for arm, against in COMPARISONS
        for benchmark in BENCHMARKS
    )


def _wins(arm: str, against: str, benchmark: str, size: int) -> tuple[int, int, float]:
    """Wins of both arms among `size`, the nearest whole counts to the rates, and Fisher's p."""
    first, second = (round(rate(name, benchmark) * size / 100) for name in (arm, against))
    p = fisher_exact([[first, size - first], [second, size - second]]).pvalue
    return first, second, float(p)


def _proportion(arm: str, benchmark: str) -> float:
    """Success rate as the whole count of episodes that it prints."""
    size = episodes(benchmark)
    return round(rate(arm, benchmark) * size / 100) / size
