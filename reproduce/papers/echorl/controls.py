"""The positive controls of EchoRL: does each arm learn?"""

from __future__ import annotations

from reproduce.claims.evidence import Part
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import superiority
from reproduce.papers.echorl.experiment import ARMS
from reproduce.papers.echorl.measures import ENVIRONMENTS, gain, trained_arms


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Part], ...]:
    """Every trained arm learns: success on test tasks rises over the base's."""
    return tuple(
        (
            f"{ARMS[arm].label} minus base, {environment}",
            superiority(gain(records, arm, "base", environment=environment), 0.0),
        )
        for environment in ENVIRONMENTS
        for arm in trained_arms(records, environment)
    )
