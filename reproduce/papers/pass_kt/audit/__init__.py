"""Audit of PASS@(k,T): which of its printed numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.pass_kt.audit import counts, designs, noise
from reproduce.report.audit_tables import PaperAudit

PROVENANCE = (
    "Only the title page and the abstract of the paper were read. Every number comes from third-party digests of "
    "version 1 (three, independent of each other), so every row is marked as such; where two digests disagree the "
    "row or its note says so."
)


def audit() -> PaperAudit:
    """Every re-analysis of the published numbers of PASS@(k,T)."""
    analyses = (
        counts.boundary_counts,
        counts.boundary_sums,
        counts.task_specific,
        counts.static_inert,
        counts.sizes_only,
        noise.self_null,
        noise.self_null_episodes,
        noise.no_success,
        noise.curves,
        noise.priors,
        noise.plug_in,
        designs.design_power,
        designs.widening,
        designs.equality,
        designs.panel_sizes,
        counts.mechanism,
        counts.novelty_null,
        counts.effort,
    )
    return PaperAudit(counts.KEY, PROVENANCE, tuple(analysis() for analysis in analyses))
