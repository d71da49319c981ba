"""Audit of EchoRL: which of its printed numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.echorl.audit.clips import short_steps_table, toy_table
from reproduce.papers.echorl.audit.copies import copies_table
from reproduce.papers.echorl.audit.scores_tables import (
    average_gains_table,
    averages_table,
    cell_gains_table,
    count_fits_table,
    signs_table,
)
from reproduce.papers.echorl.audit.training import coverage_table, headline_table, loss_scale_table, seeds_table
from reproduce.report.audit_tables import PaperAudit

KEY = "echorl"
PROVENANCE = (
    "The abstract pages and the authors' repository (configuration only: the file that would hold EchoClip is "
    "missing) were read. All accuracies come from one third-party digest that prints an excerpt of the main table. "
    "LUFFY's table, which several rows are compared with, was read in LUFFY's repository. Sizes of benchmarks are "
    "general knowledge."
)


def audit() -> PaperAudit:
    """Every re-analysis of the published numbers of EchoRL."""
    return PaperAudit(
        KEY,
        PROVENANCE,
        (
            averages_table(),
            count_fits_table(),
            copies_table(),
            cell_gains_table(),
            average_gains_table(),
            signs_table(),
            headline_table(),
            coverage_table(),
            seeds_table(),
            loss_scale_table(),
            toy_table(),
            short_steps_table(),
        ),
    )
