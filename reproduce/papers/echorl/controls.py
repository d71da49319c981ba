"""Controls of EchoRL's report: does each arm learn, and would the statistic find an effect of known size?

The second needs no further run. GRPO's test episodes are dealt into two halves at random, task by task: both halves
come from the same policies, so nothing must be found between them (A/A); then a known share of one half's failures is
turned into successes, and the test of `final-accuracy` must find that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import superiority
from reproduce.claims.verdicts import Evidence
from reproduce.papers.echorl.experiment import ARMS
from reproduce.papers.echorl.measures import ENVIRONMENTS, REASONING, gain, trained_arms
from reproduce.report.text import Section, number, plain, probability, table
from theory.inference import crossed_t_interval, sign_flip_test

PLANTED = (0.0, 3.0, 6.0, 12.0)
"""Points that are planted; 0 is the A/A."""
DEALS = 100
"""Times that the episodes are dealt."""
LEVEL = 0.05


@dataclass(frozen=True)
class PlantedGain:
    """What the test of `final-accuracy` made of a gain of known size."""

    gain: float
    """Points, as planted."""
    found: float
    """Share of the deals with p of at most 5 % and a 95 % interval above 0."""
    effect: float
    """Points: mean over the deals of the estimated gain."""
    p_value: float
    """Median over the deals, before any correction."""


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Evidence], ...]:
    """Every trained arm learns: success on test tasks rises over the base's."""
    return tuple(
        (
            f"{ARMS[arm].label} minus base, {environment}",
            superiority(gain(records, arm, "base", environment=environment), smallest_effect=0.0),
        )
        for environment in ENVIRONMENTS
        for arm in trained_arms(records, environment)
    )


def deal(n: np.ndarray, successes: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Successes in two halves of the episodes of each task, dealt at random; an odd episode is left out.

    n, successes: of the same shape, integers. Episodes of a task are exchangeable, so the first half's number of
    successes is hypergeometric, and the second's is from what is left.
    """
    half = n // 2
    first = generator.hypergeometric(successes, n - successes, half)
    left = successes - first
    return first, generator.hypergeometric(left, n - half - left, half)


def planted_gains(records: MethodRecords, arm: str = "grpo") -> tuple[PlantedGain, ...]:
    """Deal the test episodes of an arm `DEALS` times, plant each gain in one half, and test half against half.

    The gain is planted episode by episode: each failure becomes a success with the chance that makes the expected gain
    of the panel the planted one (all failures, where the panel has too few).
    """
    n, successes = (records.table(REASONING, arm, name).astype(np.int64) for name in ("n", "successes"))
    failing = 100 * float(1 - (successes / n).mean())
    found = []
    for gained in PLANTED:
        generator = np.random.default_rng(0)
        chance = min(1.0, gained / failing) if failing > 0 else 0.0
        effects, ps, above = np.zeros(DEALS), np.zeros(DEALS), np.zeros(DEALS, dtype=bool)
        for turn in range(DEALS):
            one, two = deal(n, successes, generator)
            differences = 100 * (two + generator.binomial(n // 2 - two, chance) - one) / (n // 2)
            # The test of `reproduce.claims.tests.superiority`, without its search for the number of seeds needed.
            effects[turn] = differences.mean()
            above[turn] = crossed_t_interval(differences).low > 0
            ps[turn] = sign_flip_test(differences.mean(axis=1), "greater", np.random.default_rng(0)).p_value
        seen = float((above & (ps <= LEVEL)).mean())
        found.append(PlantedGain(chance * failing, seen, float(effects.mean()), float(np.median(ps))))
    return tuple(found)


def planted_section(records: MethodRecords) -> Section:
    """The planted gains, and which of them were found."""
    gains = planted_gains(records)
    rows = [
        (
            "nothing (A/A)" if row.gain == 0 else f"{row.gain:.1f} points",
            number(row.effect, 1, signed=True),
            probability(row.p_value),
            f"{100 * row.found:.0f} %",
        )
        for row in gains
    ]
    most = gains[-1]
    reading = (
        f"A gain of {most.gain:.1f} points is found in {100 * most.found:.0f} % of the deals, where there is none in "
        f"{100 * gains[0].found:.0f} % (the test allows 5 %)."
    )
    body = [
        plain(
            f"GRPO's test episodes in reasoning were dealt into two halves at random, {DEALS} times. Both halves come "
            "from the same policies, so that nothing must be found between them. Then failures of one half were turned "
            "into successes at random, for a gain of known size, and the test of `final-accuracy` (exact one-sided "
            "sign-flip over seeds at 5 %, interval above 0, before Holm) was asked for it. Halves have half of the "
            "episodes, and two trainings differ by more than two halves of one do: this shows that statistic and test "
            "work on these records, not the power between arms, which is in each claim's minimum detectable effect."
        ),
        plain(reading),
        table(("Planted", "Mean estimate", "Median p", "Found"), rows, numbers=(1, 2, 3)),
    ]
    return Section("Planted gains", "\n\n".join(body))
