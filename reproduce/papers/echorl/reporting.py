"""The parts of EchoRL's report that are its own."""

from __future__ import annotations

from reproduce.claims.records import MethodRecords
from reproduce.core.paper import Reporting
from reproduce.papers.echorl.controls import positive_controls
from reproduce.papers.echorl.figures import draw
from reproduce.papers.echorl.measures import REASONING, trained_arms
from reproduce.papers.echorl.sections import further_sections
from reproduce.report.appendix import policy_text, seeds_text, tasks_text


def scope(records: MethodRecords) -> str:
    """Sizes of the experiment, for the report's first page."""
    bed = records.experiment[REASONING]
    tasks = records.success(REASONING, "base").shape[1]
    more = " and number puzzles" if records.has("countdown", "grpo") else ""
    return (
        f"{policy_text(records.experiment, bed['policy'], REASONING)}, on "
        f"{tasks_text(bed['panels'], 'generated chains of arithmetic')}{more}; "
        f"{seeds_text(records.experiment, records.seeds)}; {tasks} test tasks in reasoning, "
        f"{bed['evaluation']['samples']} episodes for each policy and task; "
        f"{len(trained_arms(records, REASONING))} trained arms."
    )


REPORTING = Reporting(scope, positive_controls, draw, further_sections)
