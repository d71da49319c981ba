"""The parts of the report on PASS@(k,T) that are its own."""

from __future__ import annotations

from reproduce.claims.grid import Records
from reproduce.core.paper import Reporting
from reproduce.papers.pass_kt.claims import positive_controls
from reproduce.papers.pass_kt.figures import draw
from reproduce.papers.pass_kt.tables import further_sections
from reproduce.report.appendix import policy_text, seeds_text, tasks_text


def scope(records: Records) -> str:
    """Sizes of the experiment, for the report's first page."""
    experiment, panels = records.experiment, records.experiment["panels"]
    return (
        f"{policy_text(experiment, experiment['policy'])}, on {tasks_text(panels, 'generated questions')}; "
        f"{seeds_text(experiment, experiment['seeds'])}; {panels['test_per_category']} test questions a "
        f"category; {experiment['evaluation']['samples']} episodes for each policy, question and T."
    )


REPORTING = Reporting(scope, positive_controls, draw, further_sections)
