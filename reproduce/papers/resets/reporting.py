"""The parts of the report on RRPO and SRPO that are its own."""

from __future__ import annotations

from reproduce.claims.evidence import Part
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import superiority
from reproduce.core.paper import Reporting
from reproduce.papers.resets.figures import draw
from reproduce.papers.resets.measures import CATEGORIES, ENVIRONMENT, gain, trained_arms
from reproduce.papers.resets.sections import further_sections
from reproduce.report.appendix import policy_text, seeds_text, tasks_text


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Part], ...]:
    """Each arm learns: its success on the test tiers rises over its base's."""
    return tuple((f"{arm} minus base", superiority(gain(records, arm, "base"), 0.0)) for arm in trained_arms(records))


def scope(records: MethodRecords) -> str:
    """Sizes of the experiment, for the report's first page."""
    bed = records.experiment[ENVIRONMENT]
    return (
        f"{policy_text(records.experiment, bed['policy'], ENVIRONMENT)}, on "
        f"{tasks_text(bed['panels'], 'generated chains of arithmetic')}; "
        f"{seeds_text(records.experiment, records.seeds)}; {len(CATEGORIES)} tiers with {bed['panels']['test']} test "
        f"tasks each, {bed['evaluation']['samples']} episodes for each policy and task; {len(trained_arms(records))} "
        "trained arms."
    )


REPORTING = Reporting(scope, positive_controls, draw, further_sections)
