"""Credit assignment with resets: the tables of localization, reset positions and signal."""

from __future__ import annotations

from reproduce.papers.resets.audit.localization import (
    CLEAN_TREND,
    COUNTINGS,
    EARLIER,
    LATER,
    POSITION_ARMS,
    TREND,
    Agreement,
    LocalizationTest,
    agreement,
    class_sizes,
    localization_tests,
    positions,
    signal,
)
from reproduce.papers.resets.audit.scores import published
from reproduce.report.audit_tables import PAPER, AuditRow, AuditTable
from reproduce.report.text import listed, number, probability

COUNTING_NOTE = (
    "`raw` counts all steps; `eff5`, the paper's main figure, skips steps of fewer than five words. The reference is "
    "another language model given the same prompt, not ground truth."
)
CLUSTER_NOTE = (
    "Four suffixes share a prefix and a prompt, so p-values on suffixes are too small; groups share prompts only, but "
    "over three runs."
)


def agreement_table() -> AuditTable:
    """Section 5.3: how often the localizer is right, and what its resets correct."""
    found = [agreement(counting) for counting in COUNTINGS]
    return AuditTable(
        "localization-agreement",
        "How often the self-localized step is right",
        "Shares of graded localizations that name the reference's step or an earlier one, and what suffixes from clean "
        "and from erroneous prefixes correct.",
        (
            "counting",
            "exact",
            "clean prefix",
            "groups solved, clean",
            "groups solved, erroneous",
            "suffixes corrected, clean",
            "suffixes corrected, erroneous",
            "all suffixes",
        ),
        tuple(AuditRow(_agreement_cells(item), PAPER) for item in found),
        "The localizer names the reference's step in "
        + listed([f"{number(100 * item.exact)} % ({item.counting})" for item in found])
        + " of cases and leaves a clean prefix in "
        + listed([f"{number(100 * item.clean)} %" for item in found])
        + ". Groups of four from a clean prefix are solved "
        + listed([f"{number(_ratio(item), 2)}" for item in found])
        + " times as often as from an erroneous one.",
        (COUNTING_NOTE,),
    )


def localization_tests_table() -> AuditTable:
    """Section 5.3: what the counts by deviation say."""
    tests = localization_tests()
    rows = tuple(
        AuditRow(
            (test.counting, test.question, test.effect, probability(test.p_value), probability(test.adjusted)), PAPER
        )
        for test in tests
    )
    groups, suffixes = class_sizes("raw")
    return AuditTable(
        "localization-tests",
        "Whether precise localization or an early reset pays",
        f"Cochran-Armitage trends and Fisher tests on the counts behind the figure; Holm over these {len(tests)} "
        "tests.",
        ("counting", "question", "effect", "p", "Holm p"),
        rows,
        " ".join(_counting_reading(counting, tests) for counting in COUNTINGS)
        + " A trend within clean prefixes speaks for earliness, exact against +1 for precision: which of the two shows "
        "depends on how steps are counted. An exact step against one to three steps too early has Holm p of "
        f"{_adjusted(tests, EARLIER)}. At the raw rates, {groups} groups or {suffixes} suffixes of each kind of prefix "
        "give 80 % power.",
        (COUNTING_NOTE, CLUSTER_NOTE, "Early resets also leave more of the chain's 20 thoughts for the suffix."),
    )


def positions_table() -> AuditTable:
    """Section 5.3: where the arms reset."""
    rows = []
    found = [positions(arm) for arm in POSITION_ARMS]
    for item in found:
        printed = [
            published()[f"position-summary.{item.arm}.{name}"] for name in ("mean", "first-half", "last-quarter")
        ]
        rows.append(
            AuditRow(
                (
                    item.arm,
                    str(item.resets),
                    f"{number(item.mean, 3)} (between {number(item.low, 3)} and {number(item.high, 3)})",
                    number(printed[0], 2),
                    f"{number(item.first_half)} ({printed[1]:g})",
                    f"{number(item.last_quarter)} ({printed[2]:g})",
                ),
                PAPER,
            )
        )
    return AuditTable(
        "reset-positions",
        "Where the resets fall",
        "Mean and shares from the histogram in 20 bins, bins at their middle (limits with bins at their ends), beside "
        "the stated values.",
        ("arm", "resets", "mean position", "stated mean", "first half, % (stated)", "last quarter, % (stated)"),
        tuple(rows),
        "; ".join(
            f"{item.arm} resets at {number(item.mean, 2)} of the chain on average, {number(item.first_half, 0)} % in "
            f"its first half and {number(item.last_quarter)} % in its last quarter"
            for item in found
        )
        + ". The two arms differ in position as well as in choice, and no arm of the paper separates the two.",
    )


def signal_table() -> AuditTable:
    """Appendix G: signal per token and passes of the shared-prefix group."""
    found = signal()
    first, last = (published()[f"same-outcome.shared-prefix.{end}"] for end in ("first", "last"))
    stated = [published()[f"suffix-pass-rate.{name}"] for name in ("first", "last", "correlation")]
    rows = (
        (
            "steps with a ratio above 1",
            f"{found.above} of {found.steps}",
            "–",
            probability(found.sign_p),
            probability(found.sign_adjusted),
        ),
        ("median ratio over steps", number(found.median, 2), "–", "–", "–"),
        (
            "ratio of the showcase prompt",
            number(found.showcase, 2),
            f"{published()['signal.showcase.ratio']:g}",
            "–",
            "–",
        ),
        (
            "passes of the shared-prefix group, first and last step, %",
            f"{number(found.first_rate)} and {number(found.last_rate)}",
            f"{stated[0]:g} and {stated[1]:g}",
            "–",
            "–",
        ),
        (
            "their correlation with the step",
            number(found.correlation, 2, signed=True),
            f"{stated[2]:+g}",
            probability(found.correlation_p),
            probability(found.correlation_adjusted),
        ),
        ("groups that give a gradient, first and last step, %", f"{100 - first:g} and {100 - last:g}", "–", "–", "–"),
    )
    return AuditTable(
        "signal",
        "Signal per token of the shared-prefix group",
        "Ratio of the mean |A|/T (1 − π) of the shared-prefix group to the base group's by step (sign test against 1), "
        "and Pearson's correlation of its passes with the step; Holm over these two tests.",
        ("quantity", "recomputed", "stated", "p", "Holm p"),
        tuple(AuditRow(cells, PAPER) for cells in rows),
        f"The ratio is above 1 in {found.above} of {found.steps} steps with median {number(found.median, 2)}, against "
        f"{number(found.showcase)} at the showcase prompt. In the first step only {100 - first:g} % of shared-prefix "
        "groups give a gradient, so the base group of four carries most of the early update.",
        (
            "The ratio compares prompts on which both groups have signal; part of it is arithmetic, since suffixes are "
            "shorter than whole responses and the weight is |A|/T.",
            "Steps of one run depend on each other, so both p-values are too small.",
        ),
    )


def _agreement_cells(item: Agreement) -> tuple[str, ...]:
    pairs = (
        item.clean_groups,
        item.erroneous_groups,
        item.clean_suffixes,
        item.erroneous_suffixes,
        item.overall,
    )
    shares = tuple(f"{number(100 * share)} %" for share in (item.exact, item.clean))
    return (item.counting, *shares, *(f"{hits}/{trials} = {number(100 * hits / trials)} %" for hits, trials in pairs))


def _ratio(item: Agreement) -> float:
    (clean, clean_groups), (erroneous, erroneous_groups) = item.clean_groups, item.erroneous_groups
    return (clean / clean_groups) / (erroneous / erroneous_groups)


def _counting_reading(counting: str, tests: tuple[LocalizationTest, ...]) -> str:
    found = {test.question: test for test in tests if test.counting == counting}
    trend, within, later = found[TREND], found[CLEAN_TREND], found[LATER]
    return (
        f"Counted {counting}, correction falls with the deviation ({trend.effect}, "
        f"{probability(trend.adjusted, 'Holm p')}), within clean prefixes too ({within.effect}, "
        f"{probability(within.adjusted, 'Holm p')}), and an exact step against one too late gives {later.effect} "
        f"({probability(later.adjusted, 'Holm p')})."
    )


def _adjusted(tests: tuple[LocalizationTest, ...], question: str) -> str:
    return listed([probability(test.adjusted) for test in tests if test.question == question])
