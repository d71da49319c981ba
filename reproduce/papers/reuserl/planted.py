"""Does the analysis find what is there, and nothing else? Tried on the run's own records, without new runs.

Nothing there: GRPO's episodes of each task are split at random into two halves of one policy. Something there: GRPO
against its base. A known gain: the difference length - GRPO with its mean taken out, seeds drawn anew with random
signs, plus the effect that as many seeds with this spread should find with 80 % power.
"""

from __future__ import annotations

import numpy as np

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import POWER
from reproduce.claims.verdicts import Evidence
from reproduce.papers.reuserl.evidence import directed
from reproduce.papers.reuserl.figures import environments
from reproduce.papers.reuserl.statistics import gain
from reproduce.report.text import Section, effect_text, number, plain, probability, table

DRAWS = 200
ALPHA = 0.05


def is_found(evidence: Evidence) -> bool:
    """Whether a claim with this evidence alone would be supported."""
    return evidence.in_favour and evidence.p_value is not None and evidence.p_value <= ALPHA


def halves(records: MethodRecords, environment: str, generator: np.random.Generator) -> np.ndarray:
    """Success of one random half of GRPO's episodes of each task minus that of the other, points, (seeds, tasks)."""
    successes, n = (records.table(environment, "grpo", name).astype(np.int64) for name in ("successes", "n"))
    half = n // 2
    # Which of a task's episodes succeeded is exchangeable, so that a random half has a hypergeometric count.
    first = generator.hypergeometric(successes, n - successes, half)
    return np.asarray(100 * (first / half - (successes - first) / (n - half)))


def planted(difference: np.ndarray, effect: float, generator: np.random.Generator) -> np.ndarray:
    """A (seeds, tasks) table with the spread of `difference` and a known mean: seeds drawn anew, each with a random
    sign."""
    seeds = len(difference)
    # Seeds drawn from their own mean are less spread than the seeds are.
    residual = (difference - difference.mean(axis=0)) * (seeds / (seeds - 1)) ** 0.5
    drawn = residual[generator.integers(seeds, size=seeds)]
    return np.asarray(effect + generator.choice((-1.0, 1.0), size=(seeds, 1)) * drawn)


def share_found(tables: list[np.ndarray]) -> float:
    """Share of tables in which a gain is found, in points."""
    return 100 * float(np.mean([is_found(directed(one)) for one in tables]))


def does_it_find(records: MethodRecords) -> Section:
    """The section of the report."""
    rows = []
    for environment in (name for name in environments(records) if records.has(name, "grpo", "length", "base")):
        generator = np.random.default_rng(0)
        rows.append((environment, *_row(records, environment, generator)))
    headings = (
        "Environment",
        "Halves of GRPO: found, %",
        "GRPO minus base",
        "p",
        "No gain: found, %",
        "Planted, points",
        "Planted: found, %",
    )
    body = [
        plain(
            f"The test of the claims (95 % interval above 0 and one-sided sign-flip p of {ALPHA:g} at most, before "
            f"Holm) on what is known beforehand. Halves of GRPO: {DRAWS} random splits of its episodes of each task "
            f"into two halves of the same policy; found should be {100 * ALPHA:g} % at most. GRPO minus base: the gain "
            f"of training. Planted: the difference length - GRPO with its mean taken out, seeds drawn anew with random "
            f"signs {DRAWS} times, without a gain and with the effect that this spread should find with "
            f"{100 * POWER:g} % power by the sign-flip alone; found also asks for the interval over seeds and tasks, "
            f"so that its share may be lower (and is rough: few seeds, drawn from few)."
        ),
        table(headings, rows, numbers=(1, 4, 5, 6)),
    ]
    return Section("Does the analysis find what is there?", "\n\n".join(body))


def _row(records: MethodRecords, environment: str, generator: np.random.Generator) -> tuple[str, ...]:
    if records.table(environment, "grpo", "n").min() < 2:
        same = None
    else:
        same = share_found([halves(records, environment, generator) for _ in range(DRAWS)])
    trained = directed(gain(records, environment, "grpo", "base"))
    difference = gain(records, environment, "length", "grpo")
    detectable = directed(difference).minimum_detectable_effect
    found = share_found([planted(difference, 0.0, generator) for _ in range(DRAWS)])
    with_gain = None
    if detectable is not None:
        with_gain = share_found([planted(difference, detectable, generator) for _ in range(DRAWS)])
    return (
        number(same, 1),
        effect_text(trained),
        probability(trained.p_value),
        number(found, 1),
        number(detectable, 1),
        number(with_gain, 1),
    )
