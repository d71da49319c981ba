"""The plain data between the audit of a paper and its report."""

from __future__ import annotations

from dataclasses import dataclass

PAPER, DIGEST, OURS = "paper", "digest", "own calculation"
"""Where the numbers of a row come from: the paper or its released files were read; a third party's digest of the
paper was; or no published number enters at all (such as the size of a hypothetical test)."""


@dataclass(frozen=True)
class AuditRow:
    """One row of a table, as it is printed."""

    cells: tuple[str, ...]
    """One text for each column of the table."""
    source: str
    """`paper`, `digest` or `own calculation`; a row that mixes sources takes the weaker one, `digest`."""


@dataclass(frozen=True)
class AuditTable:
    """One re-analysis: what was asked of the published numbers, and the answer."""

    identifier: str
    """Unique within the paper, such as `boundary-counts`."""
    title: str
    question: str
    """One or two sentences: what is recomputed, by which test, and over which family p-values are adjusted."""
    columns: tuple[str, ...]
    rows: tuple[AuditRow, ...]
    reading: str
    """What the numbers say, in one or two sentences built from the numbers themselves, never typed beside them."""
    notes: tuple[str, ...] = ()
    """What a reader has to know before quoting a row."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{self.identifier}: {len(row.cells)} cells under {len(self.columns)} columns")
            if row.source not in (PAPER, DIGEST, OURS):
                raise ValueError(f"{self.identifier}: source {row.source!r} is none of {PAPER}, {DIGEST}, {OURS}")


@dataclass(frozen=True)
class PaperAudit:
    """Every re-analysis of one paper."""

    paper: str
    """Key of the paper."""
    provenance: str
    """What was read for it, and what comes from digests."""
    tables: tuple[AuditTable, ...]
