"""Credit assignment with resets: localization, reset positions and signal. Numbers only; the tables are in
`resets_localization_tables`.

Sections are those of arXiv 2605.25507v2 (5.3, appendix G); counts were decoded from the released figures. A deviation
is the self-localized step minus the reference's; a prefix is clean if it is at most 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, fisher_exact, pearsonr

from reproduce.papers.resets.audit.scores import published, whole_setting
from reproduce.report.text import number
from theory.inference import holm
from theory.published import trend_in_proportions, two_proportion_samples
from theory.resampling import FloatArray

COUNTINGS = ("raw", "eff5")
DEVIATIONS = np.arange(-4, 5)
BINS = 20
POSITION_ARMS = ("SRPO", "RRPO")
SOLVED = "groups solved, clean against erroneous prefix (Fisher)"
TREND = "suffixes corrected, trend over the deviation"
CLEAN_TREND = "suffixes corrected, trend within clean prefixes"
LATER = "suffixes corrected, exact against +1 (Fisher)"
EARLIER = "suffixes corrected, exact against −1 to −3 (Fisher)"


@dataclass(frozen=True)
class Agreement:
    """How often the self-localized step is exact or clean, and what its suffixes correct, for one way of counting."""

    counting: str
    exact: float
    clean: float
    clean_groups: tuple[int, int]
    erroneous_groups: tuple[int, int]
    clean_suffixes: tuple[int, int]
    erroneous_suffixes: tuple[int, int]

    @property
    def overall(self) -> tuple[int, int]:
        """Corrected suffixes and attempts of all localizations."""
        return (
            self.clean_suffixes[0] + self.erroneous_suffixes[0],
            self.clean_suffixes[1] + self.erroneous_suffixes[1],
        )


@dataclass(frozen=True)
class LocalizationTest:
    """One test on the localization counts; `adjusted` is Holm's over all tests of both ways of counting."""

    counting: str
    question: str
    effect: str
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class Positions:
    """Reset positions of an arm from its histogram, shares in %; the mean lies within `low` and `high`."""

    arm: str
    resets: int
    mean: float
    low: float
    high: float
    first_half: float
    last_quarter: float


@dataclass(frozen=True)
class Signal:
    """Signal per token, shared-prefix over base, and passes of the shared-prefix group, over training steps."""

    above: int
    steps: int
    median: float
    sign_p: float
    sign_adjusted: float
    correlation: float
    correlation_p: float
    correlation_adjusted: float
    first_rate: float
    last_rate: float
    showcase: float


def counts(counting: str, row: str) -> NDArray[np.int64]:
    """Localizations, corrected suffixes or attempts by deviation, shape (9,)."""
    return np.array([published()[f"deviation.{counting}.{row}.{place}"] for place in DEVIATIONS], dtype=np.int64)


def prefix_groups(counting: str, prefix: str) -> tuple[int, int]:
    """Groups of four suffixes with a correct one, and groups, of clean or erroneous prefixes."""
    solved, groups = (published()[f"prefix.{counting}.{prefix}.{item}"] for item in ("solved", "groups"))
    return int(solved), int(groups)


def agreement(counting: str) -> Agreement:
    """Shares of all graded localizations, and counts by clean and erroneous prefix."""
    made = counts(counting, "localizations")
    corrected, attempts = counts(counting, "corrected"), counts(counting, "attempts")
    clean = DEVIATIONS <= 0
    return Agreement(
        counting,
        float(made[DEVIATIONS == 0].sum() / made.sum()),
        float(made[clean].sum() / made.sum()),
        prefix_groups(counting, "clean"),
        prefix_groups(counting, "erroneous"),
        (int(corrected[clean].sum()), int(attempts[clean].sum())),
        (int(corrected[~clean].sum()), int(attempts[~clean].sum())),
    )


def localization_tests() -> tuple[LocalizationTest, ...]:
    """Five tests for each way of counting, Holm over all ten."""
    raw = [(counting, *test) for counting in COUNTINGS for test in _tests(counting)]
    adjusted = holm([p for *_, p in raw])
    return tuple(LocalizationTest(*case, float(holm_p)) for case, holm_p in zip(raw, adjusted, strict=True))


def trend(counting: str, clean_only: bool) -> tuple[float, float]:
    """Cochran-Armitage z and p of the correction rate over the deviation."""
    chosen = DEVIATIONS <= 0 if clean_only else np.full(DEVIATIONS.size, True)
    return trend_in_proportions(
        counts(counting, "corrected")[chosen], counts(counting, "attempts")[chosen], DEVIATIONS[chosen]
    )


def exact_against(counting: str, others: tuple[int, ...]) -> tuple[float, float, float]:
    """Correction rates at deviation 0 and at `others`, and Fisher's p."""
    corrected, attempts = counts(counting, "corrected"), counts(counting, "attempts")
    exact, rest = DEVIATIONS == 0, np.isin(DEVIATIONS, others)
    first = int(corrected[exact].sum()), int(attempts[exact].sum())
    second = int(corrected[rest].sum()), int(attempts[rest].sum())
    return first[0] / first[1], second[0] / second[1], fisher(first, second)


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided Fisher p of two (successes, trials)."""
    table = [[hits, trials - hits] for hits, trials in (first, second)]
    return float(fisher_exact(table).pvalue)


def class_sizes(counting: str) -> tuple[int, int]:
    """Groups and suffixes per class for 80 % power at the rates of clean and erroneous prefixes, rounded up."""
    found = agreement(counting)
    pairs = (
        (found.clean_groups, found.erroneous_groups),
        (found.clean_suffixes, found.erroneous_suffixes),
    )
    groups, suffixes = (
        int(np.ceil(two_proportion_samples(clean[0] / clean[1], erroneous[0] / erroneous[1])))
        for clean, erroneous in pairs
    )
    return groups, suffixes


def histogram(arm: str) -> FloatArray:
    """Resets of an arm in 20 bins of width .05 of the chain."""
    return np.array([published()[f"position.{arm}.{place}"] for place in range(1, BINS + 1)])


def positions(arm: str) -> Positions:
    """Mean (bins at their middle; its limits with bins at their ends) and shares of the reset positions."""
    made = histogram(arm)
    upper = np.arange(1, BINS + 1) / BINS
    weight = made / made.sum()
    high, half_bin = float(weight @ upper), 0.5 / BINS
    return Positions(
        arm,
        int(made.sum()),
        high - half_bin,
        high - 2 * half_bin,
        high,
        100 * float(weight[upper <= 0.5].sum()),
        100 * float(weight[upper > 0.75].sum()),
    )


def signal() -> Signal:
    """Section 5.3 and appendix G: sign test of the ratio against 1, correlation of the passes with the step."""
    steps = np.arange(1, whole_setting("data.code.steps") + 1)
    ratio = np.array([published()[f"signal-ratio.shared-prefix.{step}"] for step in steps])
    passes = np.array([published()[f"suffix-passes.shared-prefix.{step}"] for step in steps])
    suffixes = whole_setting("batch.prompts") * whole_setting("buffer.shared-prefix-group")
    above = int((ratio > 1).sum())
    sign_p = float(binomtest(above, int((ratio != 1).sum())).pvalue)
    fitted = pearsonr(steps, passes)
    adjusted = holm([sign_p, float(fitted.pvalue)])
    return Signal(
        above,
        steps.size,
        float(np.median(ratio)),
        sign_p,
        float(adjusted[0]),
        float(fitted.statistic),
        float(fitted.pvalue),
        float(adjusted[1]),
        100 * float(passes[0]) / suffixes,
        100 * float(passes[-1]) / suffixes,
        published()["signal.showcase.shared-prefix"] / published()["signal.showcase.base"],
    )


def _tests(counting: str) -> list[tuple[str, str, float]]:
    found = agreement(counting)
    groups = fisher(found.clean_groups, found.erroneous_groups)
    rates = " against ".join(
        f"{number(100 * solved / made)} %" for solved, made in (found.clean_groups, found.erroneous_groups)
    )
    tests = [(SOLVED, rates, groups)]
    for question, clean_only in (
        (TREND, False),
        (CLEAN_TREND, True),
    ):
        z, p = trend(counting, clean_only)
        tests.append((question, f"z = {number(z)}", p))
    for question, others in (
        (LATER, (1,)),
        (EARLIER, (-1, -2, -3)),
    ):
        first, second, p = exact_against(counting, others)
        tests.append((question, f"{number(100 * first)} % against {number(100 * second)} %", p))
    return tests
