"""`compare-logs`: print the comparison of two logs, say what it means, and write what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console

from reproduce.core.files import UserError
from reproduce.logs.command import LARGEST_K, Outputs, check_common, print_notes, print_sources, write_numbers
from reproduce.logs.comparison import POWER, ComparisonSettings, LogComparison, ScoreComparison, compare_logs
from reproduce.logs.plain_tables import Columns
from reproduce.logs.scores import ScoreRule
from reproduce.logs.tables import check_new, decimal, interval, name, plain, print_table, probability, say, span


def show_comparison(
    console: Console,
    files: Sequence[str],
    scores: Sequence[str],
    rule: ScoreRule,
    settings: ComparisonSettings,
    columns: Columns,
    outputs: Outputs,
) -> None:
    """Print the comparison; write what was asked for. Raises UserError with one line."""
    check_common(rule, settings.level, settings.resamples, settings.seed)
    if not 0 < settings.margin < 1:
        raise UserError(f"--margin {settings.margin}: must lie between 0 and 1")
    if not 1 <= settings.k <= LARGEST_K:
        raise UserError(f"--k {settings.k}: from 1 to {LARGEST_K:,}")
    check_new(json=outputs.numbers, csv=outputs.table)
    found = compare_logs(files, scores, rule, settings, columns)
    print_sources(console, found.sources)
    _print_differences(console, found)
    _print_questions(console, found)
    _print_sizes(console, found)
    for each in found.scores:
        say(console, in_words(each, found))
    print_notes(console, notes(found))
    rows = [{"A": found.first, "B": found.second} | plain(each) for each in found.scores]
    write_numbers(console, plain(found) | {"notes": notes(found)}, rows, outputs)


def _print_differences(console: Console, found: LogComparison) -> None:
    level = f"{100 * found.settings.level:g}%"
    rows = [
        [
            name(each.score),
            decimal(each.first),
            decimal(each.second),
            decimal(each.difference, signed=True),
            interval(each.low, each.high),
            probability(each.p_value),
            probability(each.holm_p_value),
            probability(each.equivalence_holm_p_value),
        ]
        for each in found.scores
    ]
    what = f"PASS@{found.settings.k}" if found.settings.k > 1 else "success rate"
    headers = ["score", "A", "B", "B − A", level, "p", "Holm", "equal"]
    print_table(console, f"{what}, paired by question", headers, rows)
    exact = ", all patterns" if all(each.exact for each in found.scores) else ""
    unit = f"cluster ({found.cluster})" if found.cluster else "question"
    say(
        console,
        f"A: {name(found.first)}. B: {name(found.second)}. {level}: interval of the difference, unit: {unit}. p: "
        f"sign-flip test{exact}; Holm: over {len(found.scores)} score{'s' if len(found.scores) > 1 else ''}; equal: p "
        f"of equivalence within ±{decimal(found.settings.margin, 2)} (two one-sided tests), by Holm as well.",
    )


def _print_questions(console: Console, found: LogComparison) -> None:
    rows = []
    for each in found.scores:
        if math.isnan(each.gained):
            continue
        counts = [f"{x:.0f}" if each.equal_n else f"~{x:.1f}" for x in (each.gained, each.lost)]
        halves = (
            [f"{x:.1f}" for x in (each.half_gained, each.half_lost, each.self_gained)] if each.self_n else ["–"] * 3
        )
        rows.append(
            [name(each.score), f"{each.n:,}", *counts, probability(each.mcnemar_p_value), f"{each.self_n:,}", *halves]
        )
    if not rows:
        return
    headers = ["score", "n", "gained", "lost", "McNemar", "half n", "gained", "lost", "self"]
    print_table(console, "Questions solved at least once", headers, rows)
    say(
        console,
        "gained: solved by B alone; lost: by A alone, in n episodes each (~ expected, at unequal n); McNemar: exact, "
        "two-sided. At half n: the same, beside what A would gain, and lose, against itself by chance alone; – where A "
        "has one episode a question, which says nothing of its own noise.",
    )


def _print_sizes(console: Console, found: LogComparison) -> None:
    unit = "clusters" if found.cluster else "questions"
    rows = [
        [
            name(each.score),
            f"{each.units:,}",
            span(each.smallest_n, each.largest_n),
            decimal(each.detectable) if each.detectable <= 1 else "–",
            _count(each.units_to_detect),
            _count(each.units_to_equate),
        ]
        for each in found.scores
    ]
    headers = ["score", unit, "n", "detectable", "to detect", "to equate"]
    print_table(console, "What this design can find", headers, rows)
    say(
        console,
        f"detectable: smallest difference found with {POWER:.0%} power, – where there is none; to detect: {unit} that "
        f"find the observed one so; to equate: {unit} that show equal logs to be within the margin so.",
    )


def in_words(each: ScoreComparison, found: LogComparison) -> str:
    """The verdict on one score in a sentence."""
    first, second, margin = name(found.first), name(found.second), decimal(found.settings.margin, 2)
    points = f"{100 * abs(each.difference):.1f} points"
    verdict = each.verdict(1 - found.settings.level)
    limits = f"interval {interval(each.low, each.high)}, {each.questions:,} questions"
    score = f"{name(each.score)}: "
    if verdict in ("better", "worse"):
        return f"{score}{second} is {verdict} than {first} by {points} ({limits}, p {_said(each.holm_p_value)})."
    if verdict == "equivalent":
        equal = f"two one-sided tests, p {_said(each.equivalence_holm_p_value)}"
        return f"{score}{second} and {first} are equivalent within ±{margin} ({equal}; {limits})."
    text = (
        f"{score}undecided. {second} is {points} {'above' if each.difference > 0 else 'below'} {first}"
        if each.difference
        else f"{score}undecided. {second} and {first} are level"
    )
    text += f" ({limits}), which is neither told from 0 nor shown to be within ±{margin}"
    if not math.isnan(each.units_to_detect):
        unit = "clusters" if found.cluster else "questions"
        text += f"; to settle it takes about {_count(min(each.units_to_detect, each.units_to_equate))} {unit}"
    return f"{text}."


def notes(found: LogComparison) -> list[str]:
    """What a reader must know before believing a number."""
    listed = list(found.notes)
    if found.only_first or found.only_second:
        listed.append(
            f"paired on {found.scores[0].questions:,} questions; left out {found.only_first:,} only in A and "
            f"{found.only_second:,} only in B"
        )
    return listed


def _said(p_value: float) -> str:
    text = probability(p_value)
    return text if text.startswith("<") else f"= {text}"


def _count(units: float) -> str:
    if math.isnan(units):
        return "–"
    return "over 10^9" if math.isinf(units) else f"{units:,.0f}"
