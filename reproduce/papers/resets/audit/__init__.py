"""Audit of credit assignment with resets: which of its printed numbers carry which of its statements."""

from __future__ import annotations

from reproduce.papers.resets.audit import curves, localization, scores
from reproduce.report.audit_tables import PaperAudit

PROVENANCE = (
    "The full text of version 2 and the released code were read directly, and values of plotted curves were decoded "
    "from the released vector figures. Only the averages of a tracker page come from a third party. No logs, "
    "checkpoints or per-seed scores are public, so no run can be repeated."
)


def audit() -> PaperAudit:
    """Every re-analysis of the published numbers of credit assignment with resets."""
    analyses = (
        scores.solved_counts,
        scores.item_counts,
        scores.score_means,
        scores.score_cells,
        scores.score_contrasts,
        scores.score_splits,
        scores.score_clip,
        curves.curve_steps,
        curves.curve_speed,
        curves.cost_ratios,
        localization.localization_agreement,
        localization.localization_tests,
        localization.reset_positions,
        localization.signal,
        curves.base_group,
        curves.power,
    )
    return PaperAudit(scores.KEY, PROVENANCE, tuple(analysis() for analysis in analyses))
