"""Audit of EchoRL: which of its printed numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.echorl.audit import scores, training
from reproduce.report.audit_tables import PaperAudit

PROVENANCE = (
    "The abstract pages and the authors' repository (configuration only: the file that would hold EchoClip is "
    "missing) were read. All accuracies come from one third-party digest that prints an excerpt of the main table. "
    "LUFFY's table, which several rows are compared with, was read in LUFFY's repository. Sizes of benchmarks are "
    "general knowledge."
)


def audit() -> PaperAudit:
    """Every re-analysis of the published numbers of EchoRL."""
    analyses = (
        scores.averages,
        scores.counts,
        scores.copies,
        scores.gains,
        scores.average_gains,
        scores.signs,
        training.headline,
        training.coverage,
        training.seeds,
        training.loss_scale,
        training.selection_toy,
        training.short_steps,
    )
    return PaperAudit(scores.KEY, PROVENANCE, tuple(analysis() for analysis in analyses))
