"""`pass-kt`: read episode logs, analyse them, print the tables, draw the figure and write the numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reproduce.core.files import UserError, write_text
from reproduce.core.names import escaped
from reproduce.logs.analysis import Analysis, BandedGrid, Boundary, Comparison, PolicySurface, Settings, analyse
from reproduce.logs.reading import read_logs
from reproduce.logs.scores import ScoreRule

FIGURE_KINDS = (".png", ".svg", ".pdf")
LARGEST_K, MOST_KS = 100_000, 40
FEWEST_RESAMPLES, MOST_RESAMPLES = 100, 200_000
VALUE_WIDTH, DIFFERENCE_WIDTH = 12, 15
"""Widths of a column of cells, with what stands between columns."""
LONGEST_NAME = 18
FEW_QUESTIONS = 50


def show_pass_kt(
    console: Console,
    files: Sequence[str],
    rule: ScoreRule,
    settings: Settings,
    figure: Path | None,
    numbers: Path | None,
) -> None:
    """Print the analysis; write the figure and the numbers where wanted. Raises UserError with one line."""
    _check(rule, settings, figure)
    analysis = analyse(read_logs(files, rule), settings)
    _print_surfaces(console, analysis)
    for comparison in analysis.comparisons:
        _print_comparison(console, analysis, comparison)
    if analysis.boundaries:
        _print_boundaries(console, analysis)
    for note in notes(analysis):
        console.print(Text(f"Note: {escaped(note)}"))
    if figure is not None:
        from reproduce.logs.figure import draw

        draw(analysis, figure)
        console.print(Text(f"Figure: {escaped(str(figure))}"))
    if numbers is not None:
        write_text(numbers, json.dumps(plain(analysis) | {"notes": notes(analysis)}, indent=2, allow_nan=False) + "\n")
        console.print(Text(f"Numbers: {escaped(str(numbers))}"))


def _check(rule: ScoreRule, settings: Settings, figure: Path | None) -> None:
    """What the options alone tell to be wrong, before a file is read."""
    if rule.threshold is not None and not math.isfinite(rule.threshold):
        raise UserError(f"--threshold {rule.threshold}: must be a finite number")
    if not 0.5 <= settings.level < 1:
        raise UserError(f"--level {settings.level}: must be at least .5 and below 1, such as .95")
    if not FEWEST_RESAMPLES <= settings.resamples <= MOST_RESAMPLES:
        raise UserError(f"--resamples {settings.resamples}: from {FEWEST_RESAMPLES} to {MOST_RESAMPLES:,}")
    if settings.seed < 0:
        raise UserError(f"--seed {settings.seed}: must not be negative")
    for k in settings.ks or ():
        if not 1 <= k <= LARGEST_K:
            raise UserError(f"--k {k}: from 1 to {LARGEST_K:,}")
    if len(settings.ks or ()) > MOST_KS:
        raise UserError(f"--k: at most {MOST_KS} numbers, got {len(settings.ks or ())}")
    if figure is not None and figure.suffix.lower() not in FIGURE_KINDS:
        raise UserError(f"--figure {figure}: must end in {', '.join(FIGURE_KINDS)}, or be none")


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
    if surface.questions < 2:
        yield "a single question has no interval"
    elif surface.questions < FEW_QUESTIONS:
        yield f"{surface.questions} questions are few to resample; the intervals tend to be too narrow"


def _print_surfaces(console: Console, analysis: Analysis) -> None:
    level = _level(analysis)
    rows = [
        (surface.policy, depth, [_value_cell(surface.grid, row, k) for k in range(len(surface.grid.ks))])
        for surface in analysis.surfaces
        for row, depth in enumerate(surface.grid.depths)
    ]
    sizes = "; ".join(
        f"{_name(surface.policy)} {surface.questions:,} questions, n {_range(surface.smallest_n, surface.largest_n)}"
        for surface in analysis.surfaces
    )
    _print_grid(console, "PASS@(k,T)" if analysis.has_depth else "PASS@k", "policy", analysis, rows)
    _say(
        console,
        f"Unbiased estimate, mean over questions. [ ]: {level} interval of the cell alone; ±: half-width of the "
        f"{level} band over all cells of a policy at once. Unit: question (bootstrap, {analysis.settings.resamples:,} "
        f"resamples). {sizes}.",
    )


def _print_comparison(console: Console, analysis: Analysis, comparison: Comparison) -> None:
    grid = comparison.grid
    rows = [
        (comparison.policy, depth, [_difference_cell(comparison, row, k) for k in range(len(grid.ks))])
        for row, depth in enumerate(grid.depths)
    ]
    title = f"{_name(comparison.policy)} − {_name(comparison.baseline)}, paired by question"
    _print_grid(console, title, "", analysis, [("", depth, cells) for _, depth, cells in rows])
    family = len(analysis.comparisons)
    _say(
        console,
        f"Difference, [interval], ± band over the grid; p: sign-flip test of the cell"
        f"{', all patterns' if comparison.exact else ''}; P: adjusted over the grid by maxT. {comparison.questions:,} "
        f"questions. Any difference on the grid: P = {_probability(comparison.grid_p_value)}"
        + (f", Holm over {family} policies {_probability(comparison.holm_p_value)}." if family > 1 else "."),
    )


def _print_boundaries(console: Console, analysis: Analysis) -> None:
    baseline = _name(analysis.baseline)
    table = _boundary_table(f"Boundary against {baseline}: questions solved at least once", analysis)
    for name in ("n", "gained", "lost", "p", "Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in analysis.boundaries:
        counted = [f"{x:.0f}" if each.equal_n else f"~{x:.1f}" for x in (each.n, each.gained, each.lost)]
        counted[0] = f"{each.n:,}"
        table.add_row(*_place(each, analysis), *counted, *map(_probability, (each.p_value, each.holm_p_value)))
    console.print(table)
    tests = sum(not np.isnan(each.p_value) for each in analysis.boundaries)
    _say(
        console,
        f"gained: solved by the policy alone; lost: by {baseline} alone, in n episodes each. p: exact McNemar, "
        f"two-sided; Holm over {tests} tests."
        if tests
        else "Unequal n: no McNemar test.",
    )
    table = _boundary_table("The same at half the episodes, beside the self-null", analysis)
    for name in ("n", "gained", "lost", "self", "excess", "interval", "p", "Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in analysis.boundaries:
        if each.half_n:
            values = [f"{x:.1f}" for x in (each.half_gained, each.half_lost, each.self_gained)]
            unknown = np.isnan(each.excess_low)
            interval = "–" if unknown else f"[{each.excess_low:.1f} {each.excess_high:.1f}]"
            excess = (f"{each.excess:+.1f}", interval)
            tested = map(_probability, (each.excess_p_value, each.excess_holm_p_value))
            table.add_row(*_place(each, analysis), f"{each.half_n:,}", *values, *excess, *tested)
    if not table.row_count:
        return
    console.print(table)
    _say(
        console,
        f"Expected counts at n episodes. self: gained, and as many lost, when {baseline} is compared with itself; "
        f"excess: gained less self, with its {_level(analysis)} t interval over questions. p: that questions are "
        "gained, one-sided. Without any change the excess is skewed: the test is conservative for gains, and an "
        "interval below 0 is found two to three times as often as it should be.",
    )


def _boundary_table(title: str, analysis: Analysis) -> Table:
    table = _table(title)
    table.add_column("policy", overflow="fold", max_width=LONGEST_NAME)
    if analysis.has_depth:
        table.add_column("T", justify="right")
    return table


def _place(boundary: Boundary, analysis: Analysis) -> tuple[Text | str, ...]:
    return Text(_name(boundary.policy)), *((f"{boundary.depth:g}",) if analysis.has_depth else ())


def _level(analysis: Analysis) -> str:
    return f"{100 * analysis.settings.level:g}%"


def _print_grid(
    console: Console, title: str, label: str, analysis: Analysis, rows: list[tuple[str, float, list[str]]]
) -> None:
    """One table, or several below each other where the columns of all k are too wide for the terminal."""
    ks = analysis.surfaces[0].grid.ks
    names = min(LONGEST_NAME, max(len(_name(policy)) for policy, *_ in rows)) + 3 if label else 0
    width = VALUE_WIDTH if label else DIFFERENCE_WIDTH
    fitting = max(1, (console.width - names - (5 if analysis.has_depth else 0)) // width)
    for start in range(0, len(ks), fitting):
        part = slice(start, start + fitting)
        table = _table(title if start == 0 else f"{title}, continued")
        if label:
            table.add_column(label, overflow="fold", max_width=LONGEST_NAME)
        if analysis.has_depth:
            table.add_column("T", justify="right")
        for k in ks[part]:
            table.add_column(f"k = {k}", justify="right", no_wrap=True)
        last = None
        for policy, depth, cells in rows:
            name = (Text("" if policy == last else _name(policy)),) if label else ()
            last = policy
            table.add_row(*name, *((f"{depth:g}",) if analysis.has_depth else ()), *map(Text, cells[part]))
        console.print(table)


def _table(title: str) -> Table:
    return Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _say(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"))
    console.print()


def _value_cell(grid: BandedGrid, row: int, k: int, digits: int = 2) -> str:
    value, low, high, half = (part[row, k] for part in (grid.estimate, grid.low, grid.high, grid.half_width))
    if np.isnan(value):
        return "–"
    lines = [_decimal(value, 3)]
    if not np.isnan(low):
        lines += [f"[{_decimal(low, digits)} {_decimal(high, digits)}]", f"±{_decimal(half, 3)}"]
    return "\n".join(lines)


def _difference_cell(comparison: Comparison, row: int, k: int) -> str:
    cell = _value_cell(comparison.grid, row, k, digits=3)
    if cell == "–":
        return cell
    value, *rest = cell.split("\n")
    signed = value if value.startswith("-") else f"+{value}"
    p, adjusted = (_probability(part[row, k]) for part in (comparison.p_value, comparison.adjusted_p_value))
    return "\n".join([signed, *rest, f"p {p}", f"P {adjusted}"])


def _decimal(value: float, digits: int) -> str:
    """Without the zero before the point: the columns are narrow, and all values lie in [-1, 1]."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _probability(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "<.001" if value < 0.0005 else _decimal(value, 3)


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _listed(ks: list[int]) -> str:
    return ", ".join(map(str, ks))


def _name(name: str, longest: int = 40) -> str:
    text = escaped(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def plain(value: Any) -> Any:
    """Dataclasses and arrays as what JSON holds; NaN as null."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
