"""Audit of PASS@(k,T): which of its printed numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.pass_kt.audit.counts_tables import (
    boundary_counts_table,
    boundary_sums_table,
    category_table,
    equality_table,
    sizes_only_table,
)
from reproduce.papers.pass_kt.audit.designs_tables import (
    end_power_table,
    equality_power_table,
    panel_sizes_table,
    widening_power_table,
)
from reproduce.papers.pass_kt.audit.mechanism import effort_table, mechanism_table, novelty_table
from reproduce.papers.pass_kt.audit.noise_tables import (
    curves_table,
    no_success_table,
    plug_in_table,
    priors_table,
    self_null_episodes_table,
    self_null_table,
)
from reproduce.report.audit_tables import PaperAudit

KEY = "pass_kt"
PROVENANCE = (
    "Only the title page and the abstract of the paper were read. Every number comes from third-party digests of "
    "version 1 (three, independent of each other), so every row is marked as such; where two digests disagree the "
    "row or its note says so."
)


def audit() -> PaperAudit:
    """Every re-analysis of the published numbers of PASS@(k,T)."""
    return PaperAudit(
        KEY,
        PROVENANCE,
        (
            boundary_counts_table(),
            boundary_sums_table(),
            category_table(),
            equality_table(),
            sizes_only_table(),
            self_null_table(),
            self_null_episodes_table(),
            no_success_table(),
            curves_table(),
            priors_table(),
            plug_in_table(),
            end_power_table(),
            widening_power_table(),
            equality_power_table(),
            panel_sizes_table(),
            mechanism_table(),
            novelty_table(),
            effort_table(),
        ),
    )
