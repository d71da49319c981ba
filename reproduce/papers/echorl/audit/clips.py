"""EchoRL: what its rule of selection does before any training, by enumeration and simulation of the stated rule."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import geom

from reproduce.papers.echorl.audit.scores import setting_number
from reproduce.report.audit_tables import OURS, AuditRow, AuditTable
from reproduce.report.text import listed, number

STEPS_A_ROLLOUT = 12
MEAN_LENGTH = 25
DRAWS = 4_000
BLOCK = 250
LOG_NORMAL_SHAPES = (1.0, 1.5, 2.0)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PickedLengths:
    """Lengths in tokens of the steps that an argmax of mean entropies picks, under one law of token entropies."""

    law: str
    median: float
    up_to_three: float
    below_five: float


def toy_directions(group: int) -> dict[str, Fraction]:
    """Exact expected ascent direction of each rule in the two-step toy of section 3.2 of the specification.

    Step 1 takes branch A or B with probability 1/2 (score +1/2 or -1/2, entropy ln 2); step 2 is uniform over eight
    tokens in A (entropy ln 8) and nearly certain in B, and carries no score on average. All rewards are 1. Enumerates
    the branches of the group; a clip of L tokens weighs its score by 1/L.
    """
    half = Fraction(1, 2)
    totals = {"argmax": Fraction(0), "argmin": Fraction(0), "random step": Fraction(0), "full rollout": Fraction(0)}
    for branches in product((half, -half), repeat=group):
        weight = Fraction(1, 2**group)
        has_a, has_b = half in branches, -half in branches
        # Highest entropy: step 2 of A, else step 1 of a B. Lowest: step 2 of B, else step 1 of an A.
        totals["argmax"] += weight * (half / 2 if has_a else -half)
        totals["argmin"] += weight * (-half / 2 if has_b else half)
        mean = sum(branches, Fraction(0)) / group
        totals["random step"] += weight * (mean + mean / 2) / 2
        totals["full rollout"] += weight * mean / 2
    return totals


def picked_lengths(draws: int = DRAWS) -> tuple[PickedLengths, ...]:
    """Section 3.3: one step picked from the pool of a group, `draws` groups under each law of token entropies.

    Step lengths are geometric with mean MEAN_LENGTH; token entropies are independent. The first entry is the exact law
    of a step picked without selection.
    """
    pool = STEPS_A_ROLLOUT * int(setting_number("train.group-size"))
    generator = np.random.default_rng(0)
    blocks: dict[str, list[IntArray]] = {}
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        lengths = generator.geometric(1 / MEAN_LENGTH, (size, pool))
        for law, means in _step_entropies(generator, lengths).items():
            best = means.argmax(axis=1)
            blocks.setdefault(law, []).append(lengths[np.arange(size), best])
    law = geom(1 / MEAN_LENGTH)
    unselected = PickedLengths("no selection", float(law.median()), float(law.cdf(3)), float(law.cdf(4)))
    return unselected, *(_summary(name, np.concatenate(parts)) for name, parts in blocks.items())


def _step_entropies(generator: np.random.Generator, lengths: IntArray) -> dict[str, FloatArray]:
    """Mean token entropy of each step; sums of exponentials are drawn as gammas, log-normals token by token."""
    means = {"exponential": generator.gamma(lengths) / lengths}
    high = generator.binomial(lengths, 0.2)
    mixed = generator.standard_gamma(high) + 0.02 * generator.standard_gamma(lengths - high)
    means["20 % exponential(1), 80 % exponential(0.02)"] = mixed / lengths
    scores = generator.standard_normal(int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths.ravel())[:-1]])
    for shape in LOG_NORMAL_SHAPES:
        sums = np.add.reduceat(np.exp(shape * scores), starts)
        means[f"log-normal, s = {shape:g}"] = sums.reshape(lengths.shape) / lengths
    return means


def _summary(law: str, lengths: IntArray) -> PickedLengths:
    return PickedLengths(law, float(np.median(lengths)), float((lengths <= 3).mean()), float((lengths < 5).mean()))


def toy_table() -> AuditTable:
    """Section 3.2: selection, not imitation, moves the policy."""
    directions = toy_directions(int(setting_number("train.group-size")))
    rows = tuple(
        AuditRow((rule, str(value).replace("-", "−"), number(float(value), 3, signed=True)), OURS)
        for rule, value in directions.items()
    )
    silent = [rule for rule, value in directions.items() if value == 0]
    return AuditTable(
        "selection-toy",
        "What the rule of selection does to a group of successes",
        "Exact expected ascent direction on the logit of the uncertain branch, two steps of one token, group of 8 "
        "successes.",
        ("clip", "direction", "value"),
        rows,
        "In a two-step toy argmax clips push towards the uncertain branch by "
        f"{number(float(directions['argmax']), 3, signed=True)}, argmin clips by "
        f"{number(float(directions['argmin']), 3, signed=True)}; {listed(silent) if silent else 'no rule'} by 0. "
        "Whatever EchoRL does comes from its selection, and the paper's readable parts hold no ablation of it.",
    )


def short_steps_table() -> AuditTable:
    """Section 3.3: an argmax over means prefers short steps."""
    results = picked_lengths()
    rows = tuple(
        AuditRow(
            (
                item.law,
                number(item.median, 0),
                number(100 * item.up_to_three),
                number(100 * item.below_five),
            ),
            OURS,
        )
        for item in results
    )
    base, laws = results[0], results[1:]
    shares = [100 * item.up_to_three for item in laws]
    return AuditTable(
        "short-steps",
        "An argmax over means prefers short steps",
        f"Length of the picked step among {STEPS_A_ROLLOUT} steps of each of 8 rollouts, geometric lengths with mean "
        f"{MEAN_LENGTH}, {DRAWS:,} groups under each law of independent token entropies.",
        ("token entropies", "median length", "up to 3 tokens, %", "below 5 tokens, %"),
        rows,
        f"Under the assumed laws of token entropy between {number(min(shares), 0)} and {number(max(shares), 0)} % of "
        f"the picks have at most three tokens, against {number(100 * base.up_to_three)} % of all steps: without a "
        "minimum length the rule picks fragments.",
        (
            f"Simulated; the standard error of a share is at most {number(50 / DRAWS**0.5)} points.",
            "The laws are assumed; real entropies depend on their neighbours.",
        ),
    )
