"""Credit assignment with resets: localization, reset positions and signal.

Sections are those of arXiv 2605.25507v2 (5.3, appendix G); counts were decoded from the released figures. A deviation
is the self-localized step minus the reference's; a prefix is clean if it is at most 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import whole_setting
from reproduce.papers.resets.audit.curves import final_step
from reproduce.papers.resets.published import KEY, value
from reproduce.report.audit_tables import PAPER, Analysis, filled, numbers, probabilities, texts
from reproduce.report.text import NOTHING, listed, number, probability
from theory.inference import holm
from theory.published import trend_in_proportions, two_proportion_samples

COUNTINGS = ("raw", "eff5")
BINS = 20
POSITION_ARMS = ("SRPO", "RRPO")
SOLVED = "groups solved, clean against erroneous prefix (Fisher)"
TREND = "suffixes corrected, trend over the deviation"
CLEAN_TREND = "suffixes corrected, trend within clean prefixes"
LATER = "suffixes corrected, exact against +1 (Fisher)"
EARLIER = "suffixes corrected, exact against −1 to −3 (Fisher)"
COUNTING_NOTE = (
    "`raw` counts all steps; `eff5`, the paper's main figure, skips steps of fewer than five words. The reference is "
    "another language model given the same prompt, not ground truth."
)
CLUSTER_NOTE = (
    "Four suffixes share a prefix and a prompt, so p-values on suffixes are too small; groups share prompts only, but "
    "over three runs."
)


def counts(counting: str) -> pd.DataFrame:
    """Localizations, corrected suffixes and attempts by deviation from -4 to 4."""
    places, kinds = range(-4, 5), ("localizations", "corrected", "attempts")
    cells = {kind: [int(value(f"deviation.{counting}.{kind}.{place}")) for place in places] for kind in kinds}
    return pd.DataFrame(cells, index=list(places))


def successes(counting: str) -> pd.DataFrame:
    """Successes and trials by prefix: groups of four suffixes with a correct one, and single suffixes."""
    by_deviation = counts(counting)
    corrected = by_deviation[["corrected", "attempts"]]
    parts = (by_deviation.index <= 0, by_deviation.index > 0)
    rows: dict[str, list[int]] = {}
    for prefix, part in zip(("clean", "erroneous"), parts, strict=True):
        groups = [int(value(f"prefix.{counting}.{prefix}.{item}")) for item in ("solved", "groups")]
        rows |= {f"groups, {prefix}": groups, f"suffixes, {prefix}": corrected[part].sum().tolist()}
    rows["all suffixes"] = corrected.sum().tolist()
    return pd.DataFrame.from_dict(rows, orient="index", columns=["hits", "trials"])


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided Fisher p of two (successes, trials)."""
    return float(scipy.stats.fisher_exact([[hits, trials - hits] for hits, trials in (first, second)]).pvalue)


def tests() -> pd.DataFrame:
    """Five tests for each way of counting, Holm over all ten; `effect` holds two rates or Cochran-Armitage's z."""
    rows = []
    for counting in COUNTINGS:
        by_deviation, by_prefix = counts(counting), successes(counting)
        pairs = {SOLVED: tuple(tuple(by_prefix.loc[f"groups, {prefix}"]) for prefix in ("clean", "erroneous"))}
        for question, others in ((LATER, [1]), (EARLIER, [-1, -2, -3])):
            chosen = by_deviation[["corrected", "attempts"]]
            pairs[question] = tuple(chosen.loc[0]), tuple(chosen.loc[others].sum())
        for question in (SOLVED, TREND, CLEAN_TREND, LATER, EARLIER):
            if question in pairs:
                effect = tuple(hits / trials for hits, trials in pairs[question])
                p = fisher(*pairs[question])
            else:
                used = by_deviation[by_deviation.index <= 0] if question == CLEAN_TREND else by_deviation
                z, p = trend_in_proportions(used.corrected, used.attempts, used.index)
                effect = (z,)
            rows.append((counting, question, effect, p))
    found = pd.DataFrame(rows, columns=["counting", "question", "effect", "p"])
    return found.assign(adjusted=holm(found.p)).set_index(["counting", "question"])


def class_sizes(counting: str) -> tuple[int, int]:
    """Groups and suffixes per class for 80 % power at the rates of clean and erroneous prefixes, rounded up."""
    rates = successes(counting).eval("hits / trials")
    groups, suffixes = (
        int(np.ceil(two_proportion_samples(rates[f"{unit}, clean"], rates[f"{unit}, erroneous"])))
        for unit in ("groups", "suffixes")
    )
    return groups, suffixes


def localization_agreement() -> Analysis:
    """Section 5.3: how often the localizer is right, and what its resets correct."""
    made = {counting: counts(counting).localizations for counting in COUNTINGS}
    by_prefix = {counting: successes(counting) for counting in COUNTINGS}
    found = pd.DataFrame.from_dict(
        {name: [row[0] / row.sum(), row[row.index <= 0].sum() / row.sum()] for name, row in made.items()},
        orient="index",
        columns=["exact", "clean"],
    )
    for name in by_prefix["raw"].index:
        found[name] = [tuple(by_prefix[counting].loc[name]) for counting in COUNTINGS]
    exact, clean = ([f"{share} %" for share in numbers(100 * found[name])] for name in ("exact", "clean"))
    ratios = [
        (solved / groups) / (others / other_groups)
        for (solved, groups), (others, other_groups) in zip(
            found["groups, clean"], found["groups, erroneous"], strict=True
        )
    ]
    headings = {
        "groups solved, clean": "groups, clean",
        "groups solved, erroneous": "groups, erroneous",
        "suffixes corrected, clean": "suffixes, clean",
        "suffixes corrected, erroneous": "suffixes, erroneous",
        "all suffixes": "all suffixes",
    }
    return Analysis(
        "localization-agreement",
        "How often the self-localized step is right",
        "Shares of graded localizations that name the reference's step or an earlier one, and what suffixes from clean "
        "and from erroneous prefixes correct.",
        found,
        {
            "counting": COUNTINGS,
            "exact": exact,
            "clean prefix": clean,
            **{
                heading: [f"{hits}/{trials} = {number(100 * hits / trials)} %" for hits, trials in found[name]]
                for heading, name in headings.items()
            },
        },
        "The localizer names the reference's step in "
        f"{listed([f'{share} ({name})' for share, name in zip(exact, COUNTINGS, strict=True)])} of cases and leaves a "
        f"clean prefix in {listed(clean)}. Groups of four from a clean prefix are solved {listed(numbers(ratios, 2))} "
        "times as often as from an erroneous one.",
        (COUNTING_NOTE,),
        source=PAPER,
    )


def _effect(effect: tuple[float, ...]) -> str:
    if len(effect) == 1:
        return f"z = {number(effect[0])}"
    return " against ".join(f"{number(100 * rate)} %" for rate in effect)


def localization_tests() -> Analysis:
    """Section 5.3: what the counts by deviation say."""
    found = tests()
    groups, suffixes = class_sizes("raw")
    effects, adjusted = found.effect.map(_effect), found.adjusted.map(lambda p: probability(p, "Holm p"))
    readings = [
        f"Counted {name}, correction falls with the deviation ({effects[name, TREND]}, {adjusted[name, TREND]}), "
        f"within clean prefixes too ({effects[name, CLEAN_TREND]}, {adjusted[name, CLEAN_TREND]}), and an exact step "
        f"against one too late gives {effects[name, LATER]} ({adjusted[name, LATER]})."
        for name in COUNTINGS
    ]
    return Analysis(
        "localization-tests",
        "Whether precise localization or an early reset pays",
        f"Cochran-Armitage trends and Fisher tests on the counts behind the figure; Holm over these {len(found)} "
        "tests.",
        found,
        {
            "counting": found.index.get_level_values("counting"),
            "question": found.index.get_level_values("question"),
            "effect": effects,
            "p": probabilities(found.p),
            "Holm p": probabilities(found.adjusted),
        },
        f"{' '.join(readings)} A trend within clean prefixes speaks for earliness, exact against +1 for precision: "
        "which of the two shows depends on how steps are counted. An exact step against one to three steps too early "
        f"has Holm p of {listed(probabilities(found.adjusted.xs(EARLIER, level='question')))}. At the raw rates, "
        f"{groups} groups or {suffixes} suffixes of each kind of prefix give 80 % power.",
        (COUNTING_NOTE, CLUSTER_NOTE, "Early resets also leave more of the chain's 20 thoughts for the suffix."),
        source=PAPER,
    )


def reset_positions() -> Analysis:
    """Section 5.3: the reset positions of each arm from its histogram in 20 bins, shares in %.

    The mean has bins at their middle, its limits `low` and `high` have them at their ends.
    """
    upper, rows = np.arange(1, BINS + 1) / BINS, []
    for arm in POSITION_ARMS:
        made = np.array([value(f"position.{arm}.{place}") for place in range(1, BINS + 1)])
        weight, width = made / made.sum(), 1 / BINS
        high = float(weight @ upper)
        shares = (100 * float(weight[chosen].sum()) for chosen in (upper <= 0.5, upper > 0.75))
        stated = (value(f"position-summary.{arm}.{name}") for name in ("mean", "first-half", "last-quarter"))
        rows.append((int(made.sum()), high - width / 2, high - width, high, *shares, *stated))
    columns = ["resets", "mean", "low", "high", "first_half", "last_quarter"]
    stated_columns = ["stated_mean", "stated_first_half", "stated_last_quarter"]
    found = pd.DataFrame(rows, columns=columns + stated_columns, index=list(POSITION_ARMS))
    said = [
        f"{row.Index} resets at {number(row.mean, 2)} of the chain on average, {number(row.first_half, 0)} % in its "
        f"first half and {number(row.last_quarter)} % in its last quarter"
        for row in found.itertuples()
    ]
    return Analysis(
        "reset-positions",
        "Where the resets fall",
        "Mean and shares from the histogram in 20 bins, bins at their middle (limits with bins at their ends), beside "
        "the stated values.",
        found,
        {
            "arm": POSITION_ARMS,
            "resets": texts(found.resets),
            "mean position": filled(
                "{} (between {} and {})", *(numbers(found[name], 3) for name in ("mean", "low", "high"))
            ),
            "stated mean": numbers(found.stated_mean, 2),
            "first half, % (stated)": filled("{} ({:g})", numbers(found.first_half), found.stated_first_half),
            "last quarter, % (stated)": filled("{} ({:g})", numbers(found.last_quarter), found.stated_last_quarter),
        },
        f"{'; '.join(said)}. The two arms differ in position as well as in choice, and no arm of the paper separates "
        "the two.",
        source=PAPER,
    )


def signal() -> Analysis:
    """Section 5.3 and appendix G: sign test of the ratio of signal per token against 1, passes against the step."""
    steps = np.arange(1, final_step() + 1)
    ratio, passes = (
        np.array([value(f"{name}.shared-prefix.{step}") for step in steps])
        for name in ("signal-ratio", "suffix-passes")
    )
    rate = 100 * passes / (whole_setting(KEY, "batch.prompts") * whole_setting(KEY, "buffer.shared-prefix-group"))
    above, fitted = int((ratio > 1).sum()), scipy.stats.pearsonr(steps, passes)
    p = np.array([scipy.stats.binomtest(above, int((ratio != 1).sum())).pvalue, fitted.pvalue])
    sign, correlation = zip(probabilities(p), probabilities(holm(p)), strict=True)
    showcase = value("signal.showcase.shared-prefix") / value("signal.showcase.base")
    median = float(np.median(ratio))
    first, last = (100 - value(f"same-outcome.shared-prefix.{end}") for end in ("first", "last"))
    stated = {name: value(f"suffix-pass-rate.{name}") for name in ("first", "last", "correlation")}
    none = (NOTHING, NOTHING)
    rows = (
        ("steps with a ratio above 1", f"{above} of {steps.size}", NOTHING, *sign),
        ("median ratio over steps", number(median, 2), NOTHING, *none),
        ("ratio of the showcase prompt", number(showcase, 2), f"{value('signal.showcase.ratio'):g}", *none),
        (
            "passes of the shared-prefix group, first and last step, %",
            " and ".join(numbers(rate[[0, -1]])),
            f"{stated['first']:g} and {stated['last']:g}",
            *none,
        ),
        (
            "their correlation with the step",
            number(fitted.statistic, 2, signed=True),
            f"{stated['correlation']:+g}",
            *correlation,
        ),
        ("groups that give a gradient, first and last step, %", f"{first:g} and {last:g}", NOTHING, *none),
    )
    cells = dict(zip(("quantity", "recomputed", "stated", "p", "Holm p"), zip(*rows, strict=True), strict=True))
    return Analysis(
        "signal",
        "Signal per token of the shared-prefix group",
        "Ratio of the mean |A|/T (1 − π) of the shared-prefix group to the base group's by step (sign test against 1), "
        "and Pearson's correlation of its passes with the step; Holm over these two tests.",
        pd.DataFrame({"step": steps, "ratio": ratio, "rate": rate}).assign(
            sign_p=p[0], correlation=fitted.statistic, showcase=showcase
        ),
        cells,
        f"The ratio is above 1 in {above} of {steps.size} steps with median {number(median, 2)}, against "
        f"{number(showcase)} at the showcase prompt. In the first step only {first:g} % of shared-prefix "
        "groups give a gradient, so the base group of four carries most of the early update.",
        (
            "The ratio compares prompts on which both groups have signal; part of it is arithmetic, since suffixes are "
            "shorter than whole responses and the weight is |A|/T.",
            "Steps of one run depend on each other, so both p-values are too small.",
        ),
        source=PAPER,
    )
