"""EchoRL: rows of its table beside LUFFY's own table of the same model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproduce.papers.echorl.audit.scores import IN_DOMAIN, accuracies
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import NOTHING, listed, number, probability
from theory.inference import holm

OWN_ROWS = ("GRPO", "UFT", "UFT+EchoRL", "LUFFY+EchoRL")
"""Rows that LUFFY's table does not hold."""


@dataclass(frozen=True)
class SharedCells:
    """In-domain cells of one row of the excerpt that LUFFY's table holds too."""

    method: str
    same_row: int | None
    """Cells equal to those of the row of the same name, out-of-domain included; None where LUFFY has no such row."""
    same_row_cells: int
    elsewhere: tuple[tuple[str, float, tuple[str, ...]], ...]
    """Benchmark, value and the rows of LUFFY's table with that value in that column."""
    expected: float
    """Coincidences expected if every cell were drawn evenly from the range of its column."""
    p_value: float
    """Probability of at least so many coincidences then."""
    adjusted: float | None
    """After Holm over OWN_ROWS; None for rows that LUFFY's table holds."""


def shared_cells() -> tuple[SharedCells, ...]:
    """Section 5.2: which rows look copied, and from where."""
    ours, theirs = accuracies(), accuracies("luffy-accuracy")
    chances = coincidence_chances()
    drafts = []
    for method, row in ours.items():
        elsewhere = []
        for name in IN_DOMAIN:
            holders = tuple(other for other, cells in theirs.items() if cells.get(name) == row[name])
            if holders:
                elsewhere.append((name, row[name], holders))
        same = [row[name] == value for name, value in theirs.get(method, {}).items() if name in row]
        drafts.append((method, sum(same) if same else None, len(same), tuple(elsewhere)))
    raw = {method: coincidence_probability(len(elsewhere), chances) for method, _, _, elsewhere in drafts}
    adjusted = dict(zip(OWN_ROWS, holm([raw[method] for method in OWN_ROWS]).tolist(), strict=True))
    return tuple(SharedCells(*draft, float(chances.sum()), raw[draft[0]], adjusted.get(draft[0])) for draft in drafts)


def coincidence_chances() -> np.ndarray:
    """In-domain columns: share of the one-decimal values in its range that LUFFY's table holds, base left out."""
    theirs = {method: row for method, row in accuracies("luffy-accuracy").items() if method != "base"}
    chances = []
    for name in IN_DOMAIN:
        values = {round(10 * row[name]) for row in theirs.values()}
        chances.append(len(values) / (max(values) - min(values) + 1))
    return np.array(chances)


def coincidence_probability(at_least: int, chances: np.ndarray) -> float:
    """P(at least so many of the independent events), by convolution of their laws (Poisson-binomial)."""
    law = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    return float(law[at_least:].sum())


def copies_table() -> AuditTable:
    """Rows that equal LUFFY's, and a GRPO row put together from others."""
    found = shared_cells()
    rows = tuple(
        AuditRow(
            (
                item.method,
                NOTHING if item.same_row is None else f"{item.same_row} of {item.same_row_cells}",
                f"{len(item.elsewhere)} of {len(IN_DOMAIN)}",
                NOTHING if item.adjusted is None else number(item.expected),
                NOTHING if item.adjusted is None else probability(item.p_value),
                NOTHING if item.adjusted is None else probability(item.adjusted),
            ),
            DIGEST,
        )
        for item in found
    )
    copied = [
        f"{item.method} ({item.same_row} of {item.same_row_cells} cells)" for item in found if item.same_row is not None
    ]
    mixed = [item for item in found if item.adjusted is not None and item.adjusted <= 0.05]
    pieces = [
        f"{item.method}: all of "
        f"{', '.join(f'{name} {number(value)} ({holders[0]})' for name, value, holders in item.elsewhere)}"
        for item in mixed
    ]
    return AuditTable(
        "copies",
        "Rows that LUFFY's table holds already",
        "Cells equal to the row of the same name in LUFFY's own table, and in-domain cells equal to any row of it in "
        "the same column; how many of the latter chance would give if values were even over the range of the column, "
        "and its tail probability, Holm over the four rows that LUFFY does not have.",
        ("row", "same row", "anywhere in the column", "expected by chance", "p", "Holm"),
        rows,
        f"{listed(copied)} repeat LUFFY's numbers, so these baselines look copied, not run again. More coincidences "
        f"than chance: {listed(pieces) if pieces else 'none'}.",
        (
            "Even values are a rough null: accuracies cluster. It is enough to tell six of six from one or two.",
            "LUFFY's repository prints no out-of-domain row for SFT.",
        ),
    )
