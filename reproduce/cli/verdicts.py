"""The commands about verdicts: the table that a run ends with, calibration, two replications side by side, all papers
on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from reproduce.claims.calibration import Calibration
from reproduce.claims.verdict_file import compare_verdicts, read_verdicts, recalibrate
from reproduce.claims.verdicts import decide
from reproduce.core.files import UserError, read_json
from reproduce.core.names import nearest
from reproduce.core.paper import load_paper, paper_keys
from reproduce.plan.experiment import records_at_hand
from reproduce.report.text import effect_text, number, probability

if TYPE_CHECKING:
    from reproduce.core.paper import Paper

FEWEST_REPLICATIONS = 100


def show_verdicts(console: Console, paper: Paper, records: Path) -> None:
    """Print the verdict on every claim that these records test."""
    table = _table(f"Verdicts, {paper.key}", "claim", "effect", "p", "corrected", "verdict")
    verdicts = decide(paper.claims, paper.read_records(records))
    for one in verdicts:
        effect = effect_text(one.told) if one.evidence.parts else "not measured"
        cells = (effect, probability(one.evidence.p_value), probability(one.adjusted_p), one.decision)
        table.add_row(one.claim.identifier.partition(".")[2], *cells)
    console.print(table, markup=False)


def calibrate_paper(
    console: Console, key: str, profile: str, records: Path | None, replications: int, relabellings: int
) -> None:
    """Calibrate on the records of a paper, print the table and keep it beside them."""
    paper = load_paper(key)
    if profile not in paper.profiles:
        raise UserError(f"unknown profile {profile!r} of {key}; {nearest(profile, tuple(paper.profiles))}")
    if min(replications, relabellings) < FEWEST_REPLICATIONS:
        raise UserError(f"--replications and --relabellings must be at least {FEWEST_REPLICATIONS}")
    folder = records or records_at_hand(key, profile)
    if not (folder / "experiment.json").is_file():
        raise UserError(f"no records in {folder}; `python -m reproduce run {key} --profile {profile}` writes them")
    if read_json(folder / "experiment.json").get("profile") == "smoke":
        raise UserError(f"{folder}: records of the profile smoke, whose verdicts are withheld")
    _show_calibration(console, key, recalibrate(paper, folder, replications, relabellings))


def _show_calibration(console: Console, key: str, found: Calibration) -> None:
    errors = _table(f"Calibration, {key}", "setting", "error", "times", "share", "95 % limits", "target")
    for row in found.errors:
        limits = " to ".join(f"{100 * limit:.1f}" for limit in row.limits)
        rate = f"{100 * row.rate:.1f} %"
        met = "met" if row.met else "missed"
        errors.add_row(row.setting, row.what, f"{row.replications:,}", rate, f"{limits} %", met)
    power = _table("Power at the printed effects", "claim", "tested", "planted", "found", "target")
    for one in found.power:
        where = "in its family" if one.corrected else "alone"
        name, planted = one.claim.partition(".")[2], number(one.effect, 2)
        power.add_row(name, where, planted, f"{100 * one.found:.0f} %", "met" if one.met else "missed")
    for table in (errors, power):
        console.print(table, markup=False)
    line = f"coverage of 95 % intervals: {100 * found.coverage:.1f} %; targets {'met' if found.met else 'missed'}"
    console.print(line, markup=False, highlight=False)


def compare_replications(console: Console, theirs: Path, ours: Path) -> bool:
    """Print two replications side by side; returns whether every verdict is the same.

    theirs, ours: files of verdicts, folders of reports, or folders that hold reports of papers by key.
    """
    pairs = _pairs(theirs, ours)
    same = True
    for first, second in pairs:
        one, other = read_verdicts(first), read_verdicts(second)
        rows = compare_verdicts(one, other)
        title = f"{one['paper']}: theirs {first}, ours {second}"
        table = _table(title, "claim", "theirs", "ours", "effect, theirs", "ours", "difference [95 %]", "same")
        for row in rows:
            difference = "–"
            if row.difference is not None:
                change, low, high = (number(value, 2, signed=True) for value in row.difference)
                difference = f"{change} [{low}, {high}] {row.unit}"
            effects = (number(value, 2) for value in row.effects)
            cells = (row.theirs, row.ours, *effects, difference, "yes" if row.same else "NO")
            table.add_row(row.claim.partition(".")[2], *cells)
        console.print(table, markup=False)
        agreeing = sum(row.same for row in rows)
        console.print(f"{one['paper']}: {agreeing} of {len(rows)} verdicts agree", markup=False, highlight=False)
        same = same and agreeing == len(rows)
    return same


def _pairs(theirs: Path, ours: Path) -> list[tuple[Path, Path]]:
    for path in (theirs, ours):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    if all(path.is_file() or (path / "verdicts.json").is_file() for path in (theirs, ours)):
        return [(theirs, ours)]
    shared = [key for key in paper_keys() if all((path / key / "verdicts.json").is_file() for path in (theirs, ours))]
    if not shared:
        raise UserError(f"{theirs} and {ours}: hold no verdicts.json of the same paper")
    return [(theirs / key, ours / key) for key in shared]


def summarise(console: Console, profile: str, folder: Path, out: Path) -> None:
    """Write the page on all papers from their files of verdicts."""
    from reproduce.report.summary import write_summary

    found = [folder / key for key in paper_keys() if (folder / key / "verdicts.json").is_file()]
    if not found:
        raise UserError(f"{folder}: no report with verdicts.json below; `python -m reproduce report PAPER` writes one")
    written = write_summary([read_verdicts(path) for path in found], profile, out)
    console.print(f"summary: {written}", markup=False, highlight=False, soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    return table
