"""The command that checks evidence from end to end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reproduce.core.files import UserError
from reproduce.core.hashes import sha256
from reproduce.runs.verify import DAMAGED, UNVERIFIED, sources, verify


def show_verification(console: Console, folder: Path) -> None:
    """Print every piece of evidence below a folder with its state, and the files that each number rests on.

    Raises UserError at the end where something is damaged.
    """
    counts: Counter[tuple[str, str]] = Counter()
    damaged, reported = [], []
    for found in verify(folder):
        counts[found.kind, found.state] += 1
        if found.state == DAMAGED:
            damaged.append(found.text)
        if found.kind in ("records", "report") or found.state != "intact":
            _say(console, f"{found.state}: {found.kind} {found.path}: {found.text}")
        if found.kind == "report" and found.state != DAMAGED:
            reported.append(found.path)
    if not counts:
        raise UserError(f"{folder}: holds no base, run, records or report")
    for report in reported:
        console.print(_numbers(report))
    for kind in dict.fromkeys(kind for kind, _ in sorted(counts)):
        states = [f"{number} {state}" for (of, state), number in sorted(counts.items()) if of == kind]
        _say(console, f"{kind}: {', '.join(states)}")
    if any(state == UNVERIFIED for _, state in counts):
        _say(console, "unverified: written by a version that kept no sha256, or not complete")
    if damaged:
        raise UserError(f"{len(damaged)} damaged, the first: {damaged[0]}")


def _numbers(report: Path) -> Table:
    """One row per claim of a report: its effect and the files of the records that it is computed from."""
    records = report.parent / "records"
    table = Table(title=f"{report} rests on {records}", title_justify="left")
    for name in ("claim", "effect", "computed from (sha256)"):
        table.add_column(name, justify="right" if name == "effect" else "left", overflow="fold")
    for source in sources(records):
        files = ", ".join(f"{name} {sha256(records / name)[:12]}" for name in source.files)
        table.add_row(source.claim, "not measured" if source.effect is None else f"{source.effect:.4g}", files)
    return table


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
