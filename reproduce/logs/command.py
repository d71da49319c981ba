"""`pass-kt`: read episode logs, analyse them, print the tables, say what they mean, and write what was asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from reproduce.core.files import UserError, write_text
from reproduce.core.names import escaped
from reproduce.logs.analysis import SATURATED, Analysis, Boundary, Comparison, PolicySurface, Settings, analyse
from reproduce.logs.plain_tables import Columns
from reproduce.logs.reading import read_logs
from reproduce.logs.scores import ScoreRule
from reproduce.logs.tables import (
    check_new,
    decimal,
    interval,
    name,
    plain,
    print_table,
    probability,
    say,
    span,
    write_csv,
)

FIGURE_KINDS = (".png", ".svg", ".pdf")
LARGEST_K, MOST_KS = 100_000, 40
FEWEST_RESAMPLES, MOST_RESAMPLES = 100, 200_000
FEW_QUESTIONS = 50
MOST_SOURCES = 12


@dataclass(frozen=True)
class Outputs:
    """Files to write, None for those that were not asked for."""

    figure: Path | None = None
    numbers: Path | None = None
    table: Path | None = None


def show_pass_kt(
    console: Console,
    files: Sequence[str],
    rule: ScoreRule,
    settings: Settings,
    columns: Columns | None = None,
    outputs: Outputs | None = None,
) -> None:
    """Print the analysis; write what was asked for. Raises UserError with one line."""
    outputs = outputs or Outputs()
    _check(rule, settings, outputs)
    analysis = analyse(read_logs(files, rule, columns), settings)
    print_sources(console, analysis.sources)
    _print_surfaces(console, analysis)
    for comparison in analysis.comparisons:
        _print_comparison(console, analysis, comparison)
    if analysis.boundaries:
        _print_boundaries(console, analysis)
    print_notes(console, notes(analysis))
    if outputs.figure is not None:
        from reproduce.logs.figure import draw

        draw(analysis, outputs.figure)
        console.print(Text(f"Figure: {escaped(str(outputs.figure))}"))
    write_numbers(console, plain(analysis) | {"notes": notes(analysis)}, list(_csv_rows(analysis)), outputs)


def _check(rule: ScoreRule, settings: Settings, outputs: Outputs) -> None:
    """What the options alone tell to be wrong, before a file is read."""
    check_common(rule, settings.level, settings.resamples, settings.seed)
    if not 0 <= settings.tau <= 1:
        raise UserError(f"--tau {settings.tau}: must lie between 0 and 1")
    for k in settings.ks or ():
        if not 1 <= k <= LARGEST_K:
            raise UserError(f"--k {k}: from 1 to {LARGEST_K:,}")
    if len(settings.ks or ()) > MOST_KS:
        raise UserError(f"--k: at most {MOST_KS} numbers, got {len(settings.ks or ())}")
    if outputs.figure is not None and outputs.figure.suffix.lower() not in FIGURE_KINDS:
        raise UserError(f"--figure {outputs.figure}: must end in {', '.join(FIGURE_KINDS)}")
    check_new(figure=outputs.figure, json=outputs.numbers, csv=outputs.table)


def check_common(rule: ScoreRule, level: float, resamples: int, seed: int) -> None:
    """Options of both commands."""
    if rule.threshold is not None and not math.isfinite(rule.threshold):
        raise UserError(f"--threshold {rule.threshold}: must be a finite number")
    if not 0.5 <= level < 1:
        raise UserError(f"--level {level}: must be at least .5 and below 1, such as .95")
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise UserError(f"--resamples {resamples}: from {FEWEST_RESAMPLES} to {MOST_RESAMPLES:,}")
    if seed < 0:
        raise UserError(f"--seed {seed}: must not be negative")


def print_sources(console: Console, sources: Sequence[str]) -> None:
    """What each file was taken for."""
    for line in sources[:MOST_SOURCES]:
        console.print(Text(f"Read {escaped(line)}", style="dim"))
    if len(sources) > MOST_SOURCES:
        console.print(Text(f"Read {len(sources) - MOST_SOURCES:,} files more", style="dim"))
    console.print()


def print_notes(console: Console, found: Sequence[str]) -> None:
    """What a reader must know before believing a number."""
    for note in found:
        console.print(Text(f"Note: {escaped(note)}"))


def write_numbers(console: Console, numbers: dict[str, Any], rows: list[dict[str, Any]], outputs: Outputs) -> None:
    """The numbers as JSON and as a table, where these were asked for."""
    if outputs.numbers is not None:
        write_text(outputs.numbers, json.dumps(numbers, indent=2, allow_nan=False) + "\n")
        console.print(Text(f"Numbers: {escaped(str(outputs.numbers))}"))
    if outputs.table is not None:
        write_csv(outputs.table, rows)
        console.print(Text(f"Table: {escaped(str(outputs.table))}"))


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know of the data: unequal n, values that cannot be had, questions left out."""
    found = list(analysis.log_notes)
    policies: dict[str, list[str]] = {}
    for surface in analysis.surfaces:
        for text in _surface_notes(surface):
            policies.setdefault(text, []).append(surface.policy)
    found += [f"{', '.join(names)}: {text}" for text, names in policies.items()]
    for comparison in analysis.comparisons:
        left = (comparison.only_policy, comparison.only_baseline)
        if any(left):
            found.append(
                f"{comparison.policy} - {comparison.baseline}: paired on {comparison.questions:,} questions; left out "
                f"{left[0]:,} only in the first and {left[1]:,} only in the second"
            )
    if any(not boundary.equal_n for boundary in analysis.boundaries):
        found.append(
            "boundary at unequal n: gained and lost are expected counts at the smallest n (marked ~), and have no "
            "exact test"
        )
    return found


def _surface_notes(surface: PolicySurface) -> Iterator[str]:
    ks = surface.grid.ks
    if surface.smallest_n < surface.largest_n:
        yield (
            f"n is unequal, {surface.smallest_n:,} to {surface.largest_n:,} episodes a question; each question is "
            "estimated without bias from all of its own, and all weigh the same"
        )
    if surface.dropped:
        yield f"{surface.dropped:,} questions left out, which lack episodes at some T"
    short = [k for k in ks if k > surface.smallest_n]
    if short:
        lacking = surface.questions - int(surface.available[:, ks.index(short[0])].min())
        yield (
            f"no value at k = {_listed(short)}, since {lacking:,} of {surface.questions:,} questions have fewer than "
            f"{short[0]} episodes"
        )
    half = [k for k in ks if surface.smallest_n < 2 * k and k <= surface.smallest_n]
    if half:
        yield (
            f"n < 2k at k = {_listed(half)}; the part of the error that comes from the episodes cannot be told there "
            "(the intervals over questions hold it)"
        )
    if surface.questions < FEW_QUESTIONS:
        yield f"{surface.questions} question{'s are' if surface.questions > 1 else ' is'} few; the intervals are wide"


def _print_surfaces(console: Console, analysis: Analysis) -> None:
    tau, level = decimal(analysis.settings.tau, 2), _level(analysis)
    rows = []
    for surface in analysis.surfaces:
        grid = surface.grid
        for row, depth in enumerate(grid.depths):
            for column, k in enumerate(grid.ks):
                cell = (row, column)
                rows.append(
                    [
                        name(surface.policy),
                        *([f"{depth:g}"] if analysis.has_depth else []),
                        f"{k}",
                        decimal(grid.estimate[cell]),
                        interval(grid.low[cell], grid.high[cell]),
                        interval(grid.band_low[cell], grid.band_high[cell]),
                        decimal(surface.g_pass[cell], 2),
                        decimal(surface.cover[row], 2) if column == 0 else "",
                    ]
                )
    keys = ["policy", "T", "k"] if analysis.has_depth else ["policy", "k"]
    shown = "PASS@(k,T)" if analysis.has_depth else "PASS@k"
    headers = [*keys, "PASS", level, "band", "G-Pass", "cover"]
    print_table(console, shown, headers, rows, labels=len(keys))
    sizes = "; ".join(
        f"{name(surface.policy)} {surface.questions:,} questions, n {span(surface.smallest_n, surface.largest_n)}"
        + (f", {surface.seeds} seeds" if surface.seeds > 1 else "")
        for surface in analysis.surfaces
    )
    say(
        console,
        f"PASS: unbiased estimate, mean over questions. {level}: interval of the cell alone; band: of all cells of a "
        f"policy at once. Unit: question. G-Pass: that at least {tau} of k episodes succeed; cover: share of questions "
        f"with a success rate of at least {tau}. {sizes}.",
    )
    say(console, " ".join(_in_words(surface, analysis) for surface in analysis.surfaces))


def _in_words(surface: PolicySurface, analysis: Analysis) -> str:
    """One policy in a sentence, at its largest T."""
    values, ks = surface.grid.estimate[-1], surface.grid.ks
    known = np.flatnonzero(~np.isnan(values))
    if not known.size:
        return f"{name(surface.policy)}: no k has enough episodes."
    last = known[-1]
    text = f"{name(surface.policy)} solves {_percent(values[known[0]])} of the questions in {_tries(ks[known[0]])}"
    text += f" and {_percent(values[last])} in {_tries(ks[last])}" if last > known[0] else ""
    text += f" at T = {surface.grid.depths[-1]:g}" if analysis.has_depth else ""
    k = surface.saturated_k[-1]
    if not math.isnan(k):
        text += f"; from k = {k:.0f} on twice the samples add less than {_percent(SATURATED, 0)}"
    elif surface.smallest_n > 1:
        text += f"; up to k = {surface.smallest_n} twice the samples keep adding {_percent(SATURATED, 0)} or more"
    if not math.isnan(surface.saturated_depth):
        text += f"; T = {surface.saturated_depth:g} is enough, the next adds less than {_percent(SATURATED, 0)}"
    return f"{text}."


def _print_comparison(console: Console, analysis: Analysis, comparison: Comparison) -> None:
    grid = comparison.grid
    rows = [
        [
            *([f"{depth:g}"] if analysis.has_depth else []),
            f"{k}",
            decimal(grid.estimate[row, column], signed=True),
            interval(grid.low[row, column], grid.high[row, column]),
            interval(grid.band_low[row, column], grid.band_high[row, column]),
            probability(comparison.p_value[row, column]),
            probability(comparison.adjusted_p_value[row, column]),
        ]
        for row, depth in enumerate(grid.depths)
        for column, k in enumerate(grid.ks)
    ]
    keys = ["T", "k"] if analysis.has_depth else ["k"]
    title = f"{name(comparison.policy)} − {name(comparison.baseline)}, paired by question"
    print_table(console, title, [*keys, "difference", _level(analysis), "band", "p", "P"], rows, labels=len(keys))
    family = len(analysis.comparisons)
    say(
        console,
        f"p: sign-flip test of the cell{', all patterns' if comparison.exact else ''}; P: adjusted over the grid by "
        f"maxT. {comparison.questions:,} questions. Any difference on the grid: "
        f"P = {probability(comparison.grid_p_value)}"
        + (f", Holm over {family} policies {probability(comparison.holm_p_value)}." if family > 1 else "."),
    )
    say(console, " ".join(_crossing_in_words(comparison, row, analysis) for row in range(len(grid.depths))))


def _crossing_in_words(comparison: Comparison, row: int, analysis: Analysis) -> str:
    """Where one curve is ahead for certain, and where it first gains or loses."""
    found = comparison.crossings[row]
    policy, baseline = name(comparison.policy), name(comparison.baseline)
    at = f"At T = {comparison.grid.depths[row]:g}: " if analysis.has_depth else ""
    if found is None:
        return f"{at}a single question cannot tell {policy} from {baseline}."
    last = found.estimate.size
    gains, losses = found.low > 0, found.high < 0
    if not gains.any() and not losses.any():
        return f"{at}at no k from 1 to {last} can {policy} be told from {baseline} (all k at once)."
    text = f"{at}{policy} is ahead of {baseline} for certain at {_where(gains)}, behind at {_where(losses)}"
    if found.gain_then_loss:
        text += f"; it first falls behind at a k {_set(found.first_loss)}"
    if found.loss_then_gain:
        text += f"; it first gets ahead at a k {_set(found.first_gain)}"
    return f"{text} ({_level(analysis)}, k = 1 to {last} at once, unit: {found.unit})."


def _where(certified: np.ndarray) -> str:
    places = np.flatnonzero(certified) + 1
    if not places.size:
        return "no k"
    parts = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return "k = " + ", ".join(f"{part[0]}" if part.size == 1 else f"{part[0]} to {part[-1]}" for part in parts)


def _set(limits: tuple[int, int | None]) -> str:
    low, high = limits
    return f"of {low} or more" if high is None else f"from {low} to {high}"


def _print_boundaries(console: Console, analysis: Analysis) -> None:
    baseline = name(analysis.baseline)
    keys = ["policy", "T"] if analysis.has_depth else ["policy"]
    rows = []
    for each in analysis.boundaries:
        counted = [f"{x:.0f}" if each.equal_n else f"~{x:.1f}" for x in (each.gained, each.lost)]
        tested = map(probability, (each.p_value, each.holm_p_value))
        rows.append([*_place(each, analysis), f"{each.n:,}", *counted, *tested])
    title = f"Boundary against {baseline}: questions solved at least once"
    print_table(console, title, [*keys, "n", "gained", "lost", "p", "Holm"], rows, labels=len(keys))
    tests = sum(not np.isnan(each.p_value) for each in analysis.boundaries)
    say(
        console,
        f"gained: solved by the policy alone; lost: by {baseline} alone, in n episodes each. p: exact McNemar, "
        f"two-sided; Holm over {tests} tests."
        if tests
        else "Unequal n: no McNemar test.",
    )
    rows = []
    for each in analysis.boundaries:
        if each.half_n:
            values = [f"{x:.1f}" for x in (each.half_gained, each.half_lost, each.self_gained)]
            known = not np.isnan(each.excess_low)
            limits = f"[{each.excess_low:.1f} {each.excess_high:.1f}]" if known else "–"
            tested = map(probability, (each.excess_p_value, each.excess_holm_p_value))
            rows.append([*_place(each, analysis), f"{each.half_n:,}", *values, f"{each.excess:+.1f}", limits, *tested])
    if not rows:
        return
    headers = [*keys, "n", "gained", "lost", "self", "excess", _level(analysis), "p", "Holm"]
    print_table(console, "The same at half the episodes, beside the self-null", headers, rows, labels=len(keys))
    say(
        console,
        f"Expected counts at n episodes. self: gained, and as many lost, when {baseline} is compared with itself; "
        "excess: gained less self, interval over questions. p: that questions are gained, one-sided.",
    )


def _place(boundary: Boundary, analysis: Analysis) -> list[str]:
    return [name(boundary.policy), *([f"{boundary.depth:g}"] if analysis.has_depth else [])]


def _csv_rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    """A row a cell of every surface and every difference, and one a boundary."""
    for surface in analysis.surfaces:
        for row, column in np.ndindex(surface.grid.estimate.shape):
            yield {"kind": "surface", "policy": surface.policy, "baseline": ""} | _csv_cell(surface, row, column) | {
                "g_pass": surface.g_pass[row, column],
                "cover": surface.cover[row],
                "smallest_n": surface.smallest_n,
                "largest_n": surface.largest_n,
            }  # fmt: skip
    for comparison in analysis.comparisons:
        labels = {"kind": "difference", "policy": comparison.policy, "baseline": comparison.baseline}
        for row, column in np.ndindex(comparison.grid.estimate.shape):
            yield labels | _csv_cell(comparison, row, column) | {
                "p": comparison.p_value[row, column],
                "p_adjusted": comparison.adjusted_p_value[row, column],
            }  # fmt: skip
    for each in analysis.boundaries:
        yield {
            "kind": "boundary",
            "policy": each.policy,
            "baseline": analysis.baseline,
            "T": each.depth if analysis.has_depth else "",
            "k": each.n,
            "gained": each.gained,
            "lost": each.lost,
            "p": each.p_value,
            "p_adjusted": each.holm_p_value,
        }


def _csv_cell(part: PolicySurface | Comparison, row: int, column: int) -> dict[str, Any]:
    grid = part.grid
    return {
        "T": grid.depths[row],
        "k": grid.ks[column],
        "questions": part.questions,
        "estimate": grid.estimate[row, column],
        "low": grid.low[row, column],
        "high": grid.high[row, column],
        "band_low": grid.band_low[row, column],
        "band_high": grid.band_high[row, column],
    }


def _level(analysis: Analysis) -> str:
    return f"{100 * analysis.settings.level:g}%"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _tries(k: int) -> str:
    return "one try" if k == 1 else f"{k} tries"


def _listed(ks: list[int]) -> str:
    return ", ".join(map(str, ks))
