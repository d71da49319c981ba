"""Credit assignment with resets: what the printed scores support. Numbers only; the tables are in
`resets_scores_tables`.

Sections are those of arXiv 2605.25507v2. Scores are pass@1 in %, over three training seeds; the printed standard
deviations are taken as population ones, which `solved_counts` shows from the benchmark of 30 items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import PermutationMethod, binomtest, wilcoxon

from reproduce.claims.published import load_published, load_settings
from theory.inference import holm
from theory.published import (
    chance_of_fit,
    consistent_trials,
    solved_count_multisets,
    welch_from_summary,
)
from theory.resampling import FloatArray

KEY = "resets"
MODELS = ("Qwen", "OLMo")
ARMS = ("Base", "GRPO", "SCoRe", "Critique-GRPO", "SPO-Tree", "RRPO", "SRPO")
BENCHMARKS = ("oly", "hmmt", "lvl5", "stra", "ace", "chem", "bio", "csqa", "mat", "phys")
MATH = ("oly", "hmmt", "lvl5", "ace")
CONTRASTS = (("SRPO", "GRPO"), ("SRPO", "RRPO"), ("RRPO", "GRPO"))
SPLITS = ("1x4", "2x4", "1x8")
FREED = ("mat", "phys", "stra")
"""The benchmarks on which Qwen's gain over GRPO is gone once SRPO is clipped (own reading of Tables 3 and 4)."""


@dataclass(frozen=True)
class ScoreMean:
    """Unweighted means of one row of Table 3, and what a tracker page says it is (None where it says nothing)."""

    model: str
    arm: str
    ten: float
    mathematics: float
    tracker: float | None


@dataclass(frozen=True)
class CellTest:
    """Welch's test of one contrast on one benchmark; `adjusted` is Holm's over the 20 cells of the contrast."""

    model: str
    arm: str
    against: str
    benchmark: str
    difference: float
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class Across:
    """Wilcoxon's signed-rank test of a contrast over benchmarks, with Holm's adjustment over its family."""

    model: str
    arm: str
    against: str
    mean: float
    wins: int
    losses: int
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class SolvedCounts:
    """Counts of 30 items behind one printed mean and SD, read as population and as sample SD."""

    model: str
    arm: str
    mean: float
    deviation: float
    population: tuple[tuple[int, ...], ...]
    sample: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ItemCount:
    """Numbers of items, up to the stated sample, that all single evaluations of a benchmark could have had."""

    benchmark: str
    cells: int
    fitting: tuple[int, ...]
    chance: float
    """Probability that as many arbitrary printed percentages would all be counts of the stated number of items."""


@dataclass(frozen=True)
class ClipCounts:
    """Cells of the clip ablation that each side wins; p of the sign test over cells that are not tied."""

    no_clip: int
    clip: int
    ties: int
    p_value: float


@cache
def published() -> dict[str, float]:
    """Every published number of the paper by id."""
    return {number.id: number.value for number in load_published(KEY)}


@cache
def settings() -> dict[str, object]:
    """Every published setting of the paper by id."""
    return {setting.id: setting.value for setting in load_settings(KEY)}


def whole_setting(identifier: str) -> int:
    """A setting that is a whole number; TypeError if it is not."""
    value = settings()[identifier]
    if not isinstance(value, int):
        raise TypeError(f"{identifier} is {value!r}, not a whole number")
    return value


def scores(model: str, arm: str) -> FloatArray:
    """Printed scores of an arm, a split or a side of the clip ablation on `BENCHMARKS`, shape (10,), in %."""
    return np.array([published()[f"{_table_of(arm)}.{model}.{_row_of(arm)}.{name}"] for name in BENCHMARKS])


def deviations(model: str, arm: str) -> FloatArray:
    """Printed (population) standard deviations over seeds of an arm or split, shape (10,), in points."""
    return np.array([published()[f"{_table_of(arm)}-sd.{model}.{_row_of(arm)}.{name}"] for name in BENCHMARKS])


def sample_factor() -> float:
    """What turns a population SD over the seeds into a sample SD."""
    seeds = whole_setting("evaluation.seeds")
    return float(np.sqrt(seeds / (seeds - 1)))


def score_means() -> tuple[ScoreMean, ...]:
    """Means over all ten and over the four mathematics benchmarks of every row of Table 3."""
    return tuple(
        ScoreMean(model, arm, *mean_scores(model, arm), published().get(f"tracker-mean.{model}.{arm}"))
        for model in MODELS
        for arm in ARMS
    )


def mean_scores(model: str, arm: str) -> tuple[float, float]:
    """Unweighted means over all ten and over the four mathematics benchmarks, in %."""
    row = scores(model, arm)
    return float(row.mean()), float(row[[BENCHMARKS.index(name) for name in MATH]].mean())


def cell_tests(arm: str, against: str) -> tuple[CellTest, ...]:
    """Welch's test of every cell of a contrast, both models, Holm over these 20 cells."""
    seeds, factor = whole_setting("evaluation.seeds"), sample_factor()
    raw = []
    for model in MODELS:
        first = zip(scores(model, arm), factor * deviations(model, arm), strict=True)
        second = zip(scores(model, against), factor * deviations(model, against), strict=True)
        for name, (mean, deviation), (other, other_deviation) in zip(BENCHMARKS, first, second, strict=True):
            test = welch_from_summary((mean, deviation, seeds), (other, other_deviation, seeds))
            raw.append((model, name, float(test.mean), test.p_value))
    adjusted = holm([p for *_, p in raw])
    return tuple(
        CellTest(model, arm, against, name, difference, p, float(holm_p))
        for (model, name, difference, p), holm_p in zip(raw, adjusted, strict=True)
    )


def contrasts_across_benchmarks() -> tuple[Across, ...]:
    """Wilcoxon over the ten benchmarks for each contrast and model; Holm over these six tests."""
    return _across([(model, arm, against) for arm, against in CONTRASTS for model in MODELS])


def splits_across_benchmarks() -> tuple[Across, ...]:
    """Wilcoxon over the ten benchmarks of the split 1x4 against the others; Holm over these four tests."""
    return _across([(model, "1x4", against) for against in SPLITS[1:] for model in MODELS])


def clip_across_benchmarks() -> tuple[Across, ...]:
    """Wilcoxon over the benchmarks, no clip against clip, one for each model; Holm over these two tests."""
    return _across([(model, "no-clip", "clip") for model in MODELS])


def clip_counts() -> ClipCounts:
    """Cells won by each side of the clip ablation, both models, and the sign test over untied cells."""
    differences = np.concatenate([_differences(model, "no-clip", "clip") for model in MODELS])
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return ClipCounts(wins, losses, int((differences == 0).sum()), float(binomtest(wins, wins + losses).pvalue))


def solved_counts() -> tuple[SolvedCounts, ...]:
    """Counts behind every cell of the benchmark with 30 items, for both readings of the printed SD."""
    items, seeds, place = whole_setting("evaluation.items.hmmt"), whole_setting("evaluation.seeds"), 1
    found = []
    for model in MODELS:
        for arm in (*ARMS[1:], *SPLITS[1:]):
            mean, deviation = float(scores(model, arm)[place]), float(deviations(model, arm)[place])
            readings = [solved_count_multisets(mean, deviation, items, seeds, ddof) for ddof in (0, 1)]
            found.append(SolvedCounts(model, arm, mean, deviation, *readings))
    return tuple(found)


def item_counts() -> tuple[ItemCount, ...]:
    """Numbers of items that fit all single evaluations (Base, clip ablation) of each benchmark but the one of 30."""
    most = whole_setting("evaluation.items")
    found = []
    for place, name in enumerate(BENCHMARKS):
        if name == "hmmt":
            continue
        cells = [float(scores(model, arm)[place]) for model in MODELS for arm in ("Base", "no-clip", "clip")]
        grid = np.arange(1, most + 1)
        fitting = tuple(int(items) for items in grid[consistent_trials(cells, grid, 1)])
        found.append(ItemCount(name, len(cells), fitting, chance_of_fit(most, 1) ** len(cells)))
    return tuple(found)


def best_benchmarks(model: str, arm: str = "SRPO") -> int:
    """Benchmarks on which an arm's printed score is the highest of the table, ties included."""
    table = np.array([scores(model, other) for other in ARMS])
    return int((table[ARMS.index(arm)] == table.max(axis=0)).sum())


def _across(cases: list[tuple[str, str, str]]) -> tuple[Across, ...]:
    raw = []
    for model, arm, against in cases:
        differences = _differences(model, arm, against)
        # Every sign assignment is enumerated: exact with tied ranks too; ties of 0 are dropped, as Wilcoxon did.
        untied = differences[differences != 0]
        p = float(wilcoxon(untied, method=PermutationMethod(n_resamples=2 ** (untied.size + 1))).pvalue)
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        raw.append((model, arm, against, float(differences.mean()), wins, losses, p))
    adjusted = holm([p for *_, p in raw])
    return tuple(Across(*case, float(holm_p)) for case, holm_p in zip(raw, adjusted, strict=True))


def _differences(model: str, arm: str, against: str) -> FloatArray:
    """Differences of printed scores, to the printed decimal: equal differences must tie."""
    return np.round(scores(model, arm) - scores(model, against), 1)


def _table_of(arm: str) -> str:
    if arm in ("no-clip", "clip"):
        return "clip"
    return "split" if arm in SPLITS[1:] else "pass"


def _row_of(arm: str) -> str:
    return "SRPO" if arm == "1x4" else arm
