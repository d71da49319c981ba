"""Credit assignment with resets: what the printed scores support, and what three seeds per arm can find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import published_values, whole_setting
from reproduce.papers.resets.published import (
    ARMS,
    BENCHMARKS,
    CONTRASTS,
    KEY,
    MODELS,
    SPLITS,
    deviations,
    mean_scores,
    sample_factor,
    scores,
    seeds,
    value,
)
from reproduce.report.audit_tables import DIGEST, PAPER, Analysis, filled, numbers, probabilities, texts
from reproduce.report.text import listed, number, probability
from theory.inference import holm
from theory.published import chance_of_fit, consistent_trials, solved_count_multisets, welch_from_summary
from theory.resampling import FloatArray

FREED = ("mat", "phys", "stra")
"""The benchmarks on which Qwen's gain over GRPO is gone once SRPO is clipped (own reading of Tables 3 and 4)."""
SHARED_MODELS = (
    "Benchmarks are scored by the same three trained models, so they are not independent and a p-value across them is "
    "too small."
)


def cell_tests(arm: str, against: str) -> pd.DataFrame:
    """Welch's test of a contrast for each model and benchmark, Holm over these 20 cells."""
    rows = []
    for model in MODELS:
        arms = [
            zip(scores(model, name), sample_factor() * deviations(model, name), strict=True) for name in (arm, against)
        ]
        for name, first, second in zip(BENCHMARKS, *arms, strict=True):
            test = welch_from_summary((*first, seeds()), (*second, seeds()))
            rows.append((model, name, float(test.mean), test.p_value))
    found = pd.DataFrame(rows, columns=["model", "benchmark", "difference", "p"])
    return found.assign(adjusted=holm(found.p)).set_index(["model", "benchmark"])


def differences(model: str, arm: str, against: str) -> FloatArray:
    """Differences of printed scores, to the printed decimal: equal differences must tie."""
    return np.round(scores(model, arm) - scores(model, against), 1)


def across_benchmarks(cases: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Wilcoxon's signed-rank test over the ten benchmarks of each contrast and model; Holm over all of these tests."""
    rows = []
    for arm, against in cases:
        for model in MODELS:
            gaps = differences(model, arm, against)
            # Every sign assignment is enumerated: exact with tied ranks too; ties of 0 are dropped, as Wilcoxon did.
            untied = gaps[gaps != 0]
            p = float(
                scipy.stats.wilcoxon(
                    untied, method=scipy.stats.PermutationMethod(n_resamples=2 ** (untied.size + 1))
                ).pvalue
            )
            rows.append((arm, against, model, float(gaps.mean()), int((gaps > 0).sum()), int((gaps < 0).sum()), p))
    found = pd.DataFrame(rows, columns=["arm", "against", "model", "mean", "won", "lost", "p"])
    return found.assign(adjusted=holm(found.p))


def _across_columns(found: pd.DataFrame) -> dict[str, Any]:
    return {
        "contrast": found.arm + " − " + found.against,
        "model": found.model,
        "mean difference": numbers(found["mean"], signed=True),
        "won": texts(found.won),
        "lost": texts(found.lost),
        "p": probabilities(found.p),
        "Holm p": probabilities(found.adjusted),
    }


def best_benchmarks(model: str, arm: str = "SRPO") -> int:
    """Benchmarks on which an arm's printed score is the highest of the table, ties included."""
    table = np.array([scores(model, other) for other in ARMS])
    return int((table[ARMS.index(arm)] == table.max(axis=0)).sum())


def solved_counts() -> Analysis:
    """HMMT Nov 2025: counts of 30 behind each printed mean and SD, read as population and as sample SD."""
    items, place = whole_setting(KEY, "evaluation.items.hmmt"), BENCHMARKS.index("hmmt")
    rows = []
    for model in MODELS:
        for arm in (*ARMS[1:], *SPLITS[1:]):
            mean, deviation = float(scores(model, arm)[place]), float(deviations(model, arm)[place])
            readings = [solved_count_multisets(mean, deviation, items, seeds(), ddof) for ddof in (0, 1)]
            rows.append((model, arm, mean, deviation, *readings))
    found = pd.DataFrame(rows, columns=["model", "arm", "mean", "deviation", "population", "sample"])
    spread = found[found.deviation > 0]
    population, sample = ((spread[reading].map(len) > 0).sum() for reading in ("population", "sample"))
    several = [f"{row.arm} ({row.model})" for row in found[found.population.map(len) > 1].itertuples()]
    return Analysis(
        "solved-counts",
        f"Solved counts behind the benchmark of {items} items",
        f"All sets of three counts of {items} items (HMMT) that print as the given mean and SD, if the SD is a "
        "population one and if it is a sample one.",
        found,
        {
            "model": found.model,
            "arm": found.arm,
            "printed, %": filled("{} ± {}", numbers(found["mean"]), numbers(found.deviation)),
            "counts, population SD": map(_multisets, found.population),
            "counts, sample SD": map(_multisets, found["sample"]),
        },
        f"Of the {len(spread)} cells with a spread, {population} have counts under a population SD and {sample} under "
        "a sample SD: the printed ± are population SDs over three seeds, and sample SDs are √1.5 times as large."
        + (f" More than one set fits {listed(several)}." if several else ""),
        source=PAPER,
    )


def _multisets(multisets: tuple[tuple[int, ...], ...]) -> str:
    return " or ".join("{" + ", ".join(map(str, counts)) + "}" for counts in multisets) or "none"


def item_counts() -> Analysis:
    """Numbers of items that fit all single evaluations (Base, clip ablation) of each benchmark but the one of 30.

    `chance` is that of as many arbitrary printed percentages all being counts of the stated number of items.
    """
    most, rows = whole_setting(KEY, "evaluation.items"), []
    grid = np.arange(1, most + 1)
    for place, name in enumerate(BENCHMARKS):
        if name != "hmmt":
            cells = [float(scores(model, arm)[place]) for model in MODELS for arm in ("Base", "no-clip", "clip")]
            fitting = tuple(grid[consistent_trials(cells, grid, 1)].tolist())
            rows.append((name, len(cells), fitting, chance_of_fit(most, 1) ** len(cells)))
    found = pd.DataFrame(rows, columns=["benchmark", "cells", "fitting", "chance"])
    full = sum(most in fitting for fitting in found.fitting)
    return Analysis(
        "item-counts",
        "Items behind the single evaluations",
        f"Every number of items up to {most} of which all single evaluations of a benchmark (Base and the clip "
        "ablation, both models) are whole counts.",
        found,
        {
            "benchmark": found.benchmark,
            "evaluations": texts(found.cells),
            "items that fit": [", ".join(texts(fitting)) for fitting in found.fitting],
            f"chance that {most} fits arbitrary values": probabilities(found.chance),
        },
        f"{most} items fit on {full} of {len(found)} benchmarks, and on "
        f"{sum(fitting == (most,) for fitting in found.fitting)} nothing smaller does.",
        source=PAPER,
    )


def score_means() -> Analysis:
    """Averages of Table 3, and those that a tracker page attributes to it (NaN where it says nothing)."""
    tracked = published_values(KEY)
    rows = [
        (model, arm, *mean_scores(model, arm), tracked.get(f"tracker-mean.{model}.{arm}", np.nan))
        for model in MODELS
        for arm in ARMS
    ]
    found = pd.DataFrame(rows, columns=["model", "arm", "ten", "mathematics", "tracker"])
    quoted, off = found.tracker.notna(), (found.tracker - found.ten).abs()
    best = listed([f"{best_benchmarks(model)} of {len(BENCHMARKS)} ({model})" for model in MODELS])
    said = listed([f"{value(f'best-benchmarks.{model}'):g}" for model in MODELS])
    ours, theirs = (found[found.arm == arm].reset_index(drop=True) for arm in ("SRPO", "GRPO"))
    gains = listed([f"{gain} points" for gain in numbers(ours.ten - theirs.ten, signed=True)])
    mathematics = listed(numbers(ours.mathematics - theirs.mathematics, signed=True))
    trained = listed(numbers([(scores(model, "SRPO") - scores(model, "GRPO"))[0] for model in MODELS], signed=True))
    return Analysis(
        "score-means",
        "Averages of the main table",
        "The unweighted mean of Table 3 over its ten benchmarks and over the four mathematics ones, beside the "
        "averages that a tracker page attributes to that table.",
        found,
        {
            "model": found.model,
            "arm": found.arm,
            "mean of 10, %": numbers(found.ten),
            "mean of mathematics, %": numbers(found.mathematics),
            "tracker page, %": numbers(found.tracker),
            "tracker minus table": numbers(found.tracker - found.ten, signed=True),
        },
        f"None of the {quoted.sum()} averages on the tracker page follows from Table 3: they are off by "
        f"{number(off.min())} to {number(off.max())} points. SRPO is best on {best} benchmarks, where the paper says "
        f"{said}. SRPO minus GRPO is {gains} over all ten benchmarks ({listed(list(MODELS))}), {mathematics} over "
        f"mathematics, and {trained} on the training distribution (oly).",
        ("Base is one evaluation, the other arms are means over three seeds.",),
        source=quoted.map({True: DIGEST, False: PAPER}),
    )


def score_cells() -> Analysis:
    """Section 5.2: every cell of the three contrasts."""
    tests = {pair: cell_tests(*pair) for pair in CONTRASTS}
    cells: dict[str, list[str]] = {
        "contrast": [" − ".join(pair) for pair in CONTRASTS for _ in BENCHMARKS],
        "benchmark": [*BENCHMARKS] * len(CONTRASTS),
    }
    for model in MODELS:
        of_model = pd.concat([found.loc[model] for found in tests.values()])
        cells[f"{model} difference"] = numbers(of_model.difference, signed=True)
        cells[f"{model} p"], cells[f"{model} Holm p"] = probabilities(of_model.p), probabilities(of_model.adjusted)
    said = []
    for (arm, against), found in tests.items():
        below = [f"{name} ({model})" for model, name in found.index[found.p < 0.05]]
        model, name = found.p.idxmin()
        said.append(
            f"{arm} against {against}: {len(below)} of {len(found)} cells below .05"
            + (f", {listed(below)}" if below else "")
            + f"; smallest {probability(found.p.min(), 'p')} ({name}, {model}), "
            f"adjusted {probability(found.adjusted.min())}"
        )
    return Analysis(
        "score-cells",
        "Welch tests of the main table, cell by cell",
        f"Differences of Table 3 in points with Welch's t-test over {seeds()} seeds an arm; "
        "Holm over the 20 cells of a contrast.",
        pd.concat(tests, names=["arm", "against"]),
        cells,
        ". ".join(said) + ".",
        ("The printed SDs are converted from population to sample SDs, as the table of solved counts justifies.",),
        source=PAPER,
    )


def score_contrasts() -> Analysis:
    """Section 5.2: the contrasts over benchmarks."""
    found = across_benchmarks(CONTRASTS)
    of_pair = found.set_index(["arm", "against"])
    isolated = [f"{probability(row.p, 'p')} ({row.model})" for row in of_pair.loc["SRPO", "RRPO"].itertuples()]
    opposite = [f"{number(row.mean, signed=True)} ({row.model})" for row in of_pair.loc["RRPO", "GRPO"].itertuples()]
    return Analysis(
        "score-contrasts",
        "The contrasts over ten benchmarks",
        "Mean difference in points, benchmarks won and lost, and Wilcoxon's signed-rank test over benchmarks (exact, "
        "tied ranks averaged); Holm over these six tests.",
        found,
        _across_columns(found),
        f"{(found.p < 0.05).sum()} of {len(found)} contrasts are below .05 alone and {(found.adjusted < 0.05).sum()} "
        "after Holm, although benchmarks are counted as independent. SRPO − RRPO, the only contrast that isolates the "
        f"choice of the step, has {listed(isolated)}. That RRPO is comparable to GRPO hides {listed(opposite)}.",
        (SHARED_MODELS,),
        source=PAPER,
    )


def score_splits() -> Analysis:
    """Tables 2 and 6: the split of the eight rollouts."""
    found = across_benchmarks([(SPLITS[0], against) for against in SPLITS[1:]])
    tens = {model: [f"{split} {number(mean_scores(model, split)[0])}" for split in SPLITS] for model in MODELS}
    mathematics = {model: [number(mean_scores(model, split)[1]) for split in SPLITS] for model in MODELS}
    means, in_mathematics = (
        "; ".join(f"{model} {', '.join(cells)}" for model, cells in rows.items()) for rows in (tens, mathematics)
    )
    return Analysis(
        "score-splits",
        "The split of the eight trained rollouts",
        "SRPO with one prefix of four suffixes (1x4) against two of four (2x4) and one of eight (1x8): mean difference "
        "in points and Wilcoxon over the ten benchmarks; Holm over these four tests.",
        found,
        _across_columns(found),
        f"Means of ten: {means}; of mathematics in the same order: {in_mathematics}. "
        f"1x4 beats the other splits with Holm p of at most {probability(found.adjusted.max())}, as "
        "far as benchmarks that share three models can tell.",
        (
            SHARED_MODELS,
            "As released, 1x8 localizes at temperature 0.0 and the others at 0.3, and its fallback groups carry no "
            "signal.",
        ),
        source=PAPER,
    )


def clip_cells() -> tuple[int, int, int, float]:
    """Cells of the clip ablation that no clip and clip win, ties, and the sign test over untied cells."""
    gaps = np.concatenate([differences(model, "no-clip", "clip") for model in MODELS])
    wins, losses = int((gaps > 0).sum()), int((gaps < 0).sum())
    return wins, losses, int((gaps == 0).sum()), float(scipy.stats.binomtest(wins, wins + losses).pvalue)


def score_clip() -> Analysis:
    """Table 4: SRPO with and without the clip."""
    found = across_benchmarks([("no-clip", "clip")])
    wins, losses, ties, p = clip_cells()
    printed = [value(f"clip-wins.{side}") for side in ("no-clip", "clip", "tie")]
    means = [
        f"{model} {number(mean_scores(model, 'no-clip')[0])} against {number(mean_scores(model, 'clip')[0])}"
        for model in MODELS
    ]
    freed = []
    for name in FREED:
        clipped, plain, ours = numbers(scores("Qwen", arm)[BENCHMARKS.index(name)] for arm in ("clip", "GRPO", "SRPO"))
        freed.append(f"{name} {clipped} (GRPO {plain}, SRPO {ours})")
    return Analysis(
        "score-clip",
        "SRPO with and without the clip",
        "Table 4, seed 42 only: mean difference in points and Wilcoxon over the ten benchmarks, ties dropped; Holm "
        "over these two tests. The sign test over all untied cells stands in the reading.",
        found,
        _across_columns(found),
        f"No clip wins {wins} cells, clip {losses}, {ties} tie, "
        f"{'as' if printed == [wins, losses, ties] else 'unlike'} the paper says; as if the cells were independent, "
        f"the sign test gives {probability(p, 'p')}. Means of ten: {'; '.join(means)}. With the clip Qwen scores "
        f"{listed(freed)}: there the gain over GRPO is small or gone, so that removing the clip, not the resets, may "
        "carry part of the main table.",
        (SHARED_MODELS, "One seed a cell: no test over seeds is possible."),
        source=PAPER,
    )
