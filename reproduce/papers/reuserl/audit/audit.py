"""Audit of ReuseRL: which of its reported numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.reuserl.audit.scores import KEY
from reproduce.papers.reuserl.audit.tables import (
    burned_table,
    cases_table,
    counts_table,
    out_of_distribution_table,
    power_table,
    sums_table,
    tests_table,
)
from reproduce.report.audit_tables import PaperAudit

PROVENANCE = (
    "Only the title block, the abstract and the opening lines of the paper were read. Every number comes from "
    "third-party digests and a leaderboard page, so every row is marked as such; where they contradict each other the "
    "row or its note says so."
)


def audit() -> PaperAudit:
    """Every re-analysis of the reported numbers of ReuseRL."""
    return PaperAudit(
        KEY,
        PROVENANCE,
        (
            sums_table(),
            counts_table(),
            tests_table(),
            out_of_distribution_table(),
            power_table(),
            burned_table(),
            cases_table(),
        ),
    )
