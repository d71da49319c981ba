"""Credit assignment with resets: the tables of what the printed scores support."""

from __future__ import annotations

from reproduce.papers.resets.audit.scores import (
    BENCHMARKS,
    CONTRASTS,
    FREED,
    MODELS,
    SPLITS,
    Across,
    best_benchmarks,
    cell_tests,
    clip_across_benchmarks,
    clip_counts,
    contrasts_across_benchmarks,
    item_counts,
    mean_scores,
    published,
    score_means,
    scores,
    solved_counts,
    splits_across_benchmarks,
    whole_setting,
)
from reproduce.report.audit_tables import DIGEST, PAPER, AuditRow, AuditTable
from reproduce.report.text import listed, number, probability

SHARED_MODELS = (
    "Benchmarks are scored by the same three trained models, so they are not independent and a p-value across them is "
    "too small."
)
SHARED_RUNS = "The printed SDs are converted from population to sample SDs, as the table of solved counts justifies."


def means_table() -> AuditTable:
    """Averages of Table 3, and those that a tracker page attributes to it."""
    found = score_means()
    rows = tuple(
        AuditRow(
            (
                item.model,
                item.arm,
                number(item.ten),
                number(item.mathematics),
                number(item.tracker),
                number(None if item.tracker is None else item.tracker - item.ten, signed=True),
            ),
            PAPER if item.tracker is None else DIGEST,
        )
        for item in found
    )
    quoted = [item for item in found if item.tracker is not None]
    off = [abs(item.tracker - item.ten) for item in quoted if item.tracker is not None]
    best = listed([f"{best_benchmarks(model)} of {len(BENCHMARKS)} ({model})" for model in MODELS])
    said = listed([f"{published()[f'best-benchmarks.{model}']:g}" for model in MODELS])
    gains = listed(
        [
            f"{number(mean_scores(model, 'SRPO')[0] - mean_scores(model, 'GRPO')[0], signed=True)} points"
            for model in MODELS
        ]
    )
    mathematics = listed(
        [f"{number(mean_scores(model, 'SRPO')[1] - mean_scores(model, 'GRPO')[1], signed=True)}" for model in MODELS]
    )
    oly = BENCHMARKS.index("oly")
    trained = listed(
        [f"{number(float(scores(model, 'SRPO')[oly] - scores(model, 'GRPO')[oly]), signed=True)}" for model in MODELS]
    )
    return AuditTable(
        "score-means",
        "Averages of the main table",
        "The unweighted mean of Table 3 over its ten benchmarks and over the four mathematics ones, beside the "
        "averages that a tracker page attributes to that table.",
        ("model", "arm", "mean of 10, %", "mean of mathematics, %", "tracker page, %", "tracker minus table"),
        rows,
        f"None of the {len(quoted)} averages on the tracker page follows from Table 3: they are off by "
        f"{number(min(off))} to {number(max(off))} points. SRPO is best on {best} benchmarks, "
        f"where the paper says {said}. SRPO minus GRPO is "
        f"{gains} over all ten benchmarks ({listed(list(MODELS))}), {mathematics} over mathematics, and {trained} on "
        "the training distribution (oly).",
        ("Base is one evaluation, the other arms are means over three seeds.",),
    )


def cells_table() -> AuditTable:
    """Section 5.2: every cell of the three contrasts."""
    tests = {pair: cell_tests(*pair) for pair in CONTRASTS}
    by_cell = {(*pair, test.model, test.benchmark): test for pair, found in tests.items() for test in found}
    rows = []
    for pair in CONTRASTS:
        for name in BENCHMARKS:
            cells = [" − ".join(pair), name]
            for model in MODELS:
                test = by_cell[(*pair, model, name)]
                cells += [
                    number(test.difference, signed=True),
                    probability(test.p_value),
                    probability(test.adjusted),
                ]
            rows.append(AuditRow(tuple(cells), PAPER))
    said = []
    for (arm, against), found in tests.items():
        below = [f"{test.benchmark} ({test.model})" for test in found if test.p_value < 0.05]
        smallest = min(found, key=lambda test: test.p_value)
        said.append(
            f"{arm} against {against}: {len(below)} of {len(found)} cells below .05"
            + (f", {listed(below)}" if below else "")
            + f"; smallest {probability(smallest.p_value, 'p')} ({smallest.benchmark}, {smallest.model}), "
            f"adjusted {probability(min(test.adjusted for test in found))}"
        )
    return AuditTable(
        "score-cells",
        "Welch tests of the main table, cell by cell",
        f"Differences of Table 3 in points with Welch's t-test over {whole_setting('evaluation.seeds')} seeds an arm; "
        "Holm over the 20 cells of a contrast.",
        (
            "contrast",
            "benchmark",
            *[f"{model} {what}" for model in MODELS for what in ("difference", "p", "Holm p")],
        ),
        tuple(rows),
        ". ".join(said) + ".",
        (SHARED_RUNS,),
    )


def across_table() -> AuditTable:
    """Section 5.2: the contrasts over benchmarks."""
    found = contrasts_across_benchmarks()
    opposite = [item for item in found if (item.arm, item.against) == ("RRPO", "GRPO")]
    kept = [item for item in found if item.adjusted < 0.05]
    return AuditTable(
        "score-contrasts",
        "The contrasts over ten benchmarks",
        "Mean difference in points, benchmarks won and lost, and Wilcoxon's signed-rank test over benchmarks (exact, "
        "tied ranks averaged); Holm over these six tests.",
        _ACROSS_COLUMNS,
        _across_rows(found),
        f"{len([item for item in found if item.p_value < 0.05])} of {len(found)} contrasts are below .05 alone and "
        f"{len(kept)} after Holm, although benchmarks are counted as independent. SRPO − RRPO, the only contrast that "
        f"isolates the choice of the step, has {_p_values(found, 'SRPO', 'RRPO')}. That RRPO is comparable to GRPO "
        "hides " + listed([f"{number(item.mean, signed=True)} ({item.model})" for item in opposite]) + ".",
        (SHARED_MODELS,),
    )


def splits_table() -> AuditTable:
    """Tables 2 and 6: the split of the eight rollouts."""
    found = splits_across_benchmarks()
    means = "; ".join(
        f"{model} {', '.join(f'{split} {number(mean_scores(model, split)[0])}' for split in SPLITS)}"
        for model in MODELS
    )
    mathematics = "; ".join(
        f"{model} {', '.join(number(mean_scores(model, split)[1]) for split in SPLITS)}" for model in MODELS
    )
    return AuditTable(
        "score-splits",
        "The split of the eight trained rollouts",
        "SRPO with one prefix of four suffixes (1x4) against two of four (2x4) and one of eight (1x8): mean difference "
        "in points and Wilcoxon over the ten benchmarks; Holm over these four tests.",
        _ACROSS_COLUMNS,
        _across_rows(found),
        f"Means of ten: {means}; of mathematics in the same order: {mathematics}. "
        f"1x4 beats the other splits with Holm p of at most {probability(max(item.adjusted for item in found))}, as "
        "far as benchmarks that share three models can tell.",
        (
            SHARED_MODELS,
            "As released, 1x8 localizes at temperature 0.0 and the others at 0.3, and its fallback groups carry no "
            "signal.",
        ),
    )


def clip_table() -> AuditTable:
    """Table 4: SRPO with and without the clip."""
    found, counts = clip_across_benchmarks(), clip_counts()
    printed = [published()[f"clip-wins.{side}"] for side in ("no-clip", "clip", "tie")]
    agree = "as" if printed == [counts.no_clip, counts.clip, counts.ties] else "unlike"
    freed = [
        f"{name} {number(float(scores('Qwen', 'clip')[place]))} (GRPO {number(float(scores('Qwen', 'GRPO')[place]))}, "
        f"SRPO {number(float(scores('Qwen', 'SRPO')[place]))})"
        for name, place in ((name, BENCHMARKS.index(name)) for name in FREED)
    ]
    return AuditTable(
        "score-clip",
        "SRPO with and without the clip",
        "Table 4, seed 42 only: mean difference in points and Wilcoxon over the ten benchmarks, ties dropped; Holm "
        "over these two tests. The sign test over all untied cells stands in the reading.",
        _ACROSS_COLUMNS,
        _across_rows(found),
        f"No clip wins {counts.no_clip} cells, clip {counts.clip}, {counts.ties} tie, {agree} the paper says; as if "
        f"the cells were independent, the sign test gives {probability(counts.p_value, 'p')}. Means of ten: "
        + "; ".join(
            f"{model} {number(mean_scores(model, 'no-clip')[0])} against {number(mean_scores(model, 'clip')[0])}"
            for model in MODELS
        )
        + f". With the clip Qwen scores {listed(freed)}: there the gain over GRPO is small or gone, so that removing "
        "the clip, not the resets, may carry part of the main table.",
        (SHARED_MODELS, "One seed a cell: no test over seeds is possible."),
    )


def solved_counts_table() -> AuditTable:
    """HMMT Nov 2025: counts of 30 behind each printed mean and SD."""
    found = solved_counts()
    items = whole_setting("evaluation.items.hmmt")
    rows = tuple(
        AuditRow(
            (
                item.model,
                item.arm,
                f"{number(item.mean)} ± {number(item.deviation)}",
                _multisets(item.population),
                _multisets(item.sample),
            ),
            PAPER,
        )
        for item in found
    )
    spread = [item for item in found if item.deviation > 0]
    population, sample = (sum(bool(getattr(item, reading)) for item in spread) for reading in ("population", "sample"))
    several = [f"{item.arm} ({item.model})" for item in found if len(item.population) > 1]
    return AuditTable(
        "solved-counts",
        f"Solved counts behind the benchmark of {items} items",
        f"All sets of three counts of {items} items (HMMT) that print as the given mean and SD, if the SD is a "
        "population one and if it is a sample one.",
        ("model", "arm", "printed, %", "counts, population SD", "counts, sample SD"),
        rows,
        f"Of the {len(spread)} cells with a spread, {population} have counts under a population SD and {sample} under "
        "a sample SD: the printed ± are population SDs over three seeds, and sample SDs are √1.5 times as large."
        + (f" More than one set fits {listed(several)}." if several else ""),
    )


def item_counts_table() -> AuditTable:
    """Numbers of items behind the single evaluations."""
    found = item_counts()
    most = whole_setting("evaluation.items")
    rows = tuple(
        AuditRow((item.benchmark, str(item.cells), ", ".join(map(str, item.fitting)), probability(item.chance)), PAPER)
        for item in found
    )
    full = sum(most in item.fitting for item in found)
    return AuditTable(
        "item-counts",
        "Items behind the single evaluations",
        f"Every number of items up to {most} of which all single evaluations of a benchmark (Base and the clip "
        "ablation, both models) are whole counts.",
        ("benchmark", "evaluations", "items that fit", f"chance that {most} fits arbitrary values"),
        rows,
        f"{most} items fit on {full} of {len(found)} benchmarks, and on "
        f"{sum(item.fitting == (most,) for item in found)} nothing smaller does.",
    )


_ACROSS_COLUMNS = ("contrast", "model", "mean difference", "won", "lost", "p", "Holm p")


def _across_rows(found: tuple[Across, ...]) -> tuple[AuditRow, ...]:
    return tuple(
        AuditRow(
            (
                f"{item.arm} − {item.against}",
                item.model,
                number(item.mean, signed=True),
                str(item.wins),
                str(item.losses),
                probability(item.p_value),
                probability(item.adjusted),
            ),
            PAPER,
        )
        for item in found
    )


def _p_values(found: tuple[Across, ...], arm: str, against: str) -> str:
    chosen = [item for item in found if (item.arm, item.against) == (arm, against)]
    return listed([f"{probability(item.p_value, 'p')} ({item.model})" for item in chosen])


def _multisets(multisets: tuple[tuple[int, ...], ...]) -> str:
    return " or ".join("{" + ", ".join(map(str, counts)) + "}" for counts in multisets) or "none"
