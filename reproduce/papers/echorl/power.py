"""What the claims of EchoRL could find at a given size, before anything runs."""

from __future__ import annotations

from functools import cache

import numpy as np

from reproduce.claims.tests import POWER
from reproduce.claims.verdicts import tested_claims
from reproduce.papers.echorl.claims import CLAIMS, family_size
from reproduce.papers.echorl.experiment import KEY, EchoRLConfig
from reproduce.papers.echorl.measures import MOST_ENUMERATED
from theory.inference import minimum_detectable_effect, sign_flip_minimum_detectable_effect

ALPHA = 0.05
SEED_DEVIATION = 2.0
"""Points: assumed spread between seeds of the difference of two arms that start from one base, beside sampling."""
TASK_DEVIATION = 10.0
"""Points: assumed spread between tasks of the true difference of two arms."""
RATE = 0.5
"""Success rate at which sampling is noisiest."""
NOISE = {
    "final-accuracy": 1.0,
    "peak-selection": 1.0,
    "prefix-form": 1.0,
    "ood-transfer": 2**0.5,
    "demo-complement": 1.0,
    "vs-remedies": 1.0,
}
"""Claims about success: the deviation of their difference over that of two arms on the test tasks."""


@cache
def _in_deviations(seeds: int, level: float) -> float:
    """Smallest effect that is found with 80 % power at a level, in standard deviations of a seed's difference."""
    if seeds > MOST_ENUMERATED:
        return float(minimum_detectable_effect(1.0, seeds, alpha=level, power=POWER, alternative="greater"))
    generator = np.random.default_rng(0)
    return float(
        sign_flip_minimum_detectable_effect(1.0, seeds, generator, alpha=level, power=POWER, alternative="greater")
    )


def planned_effects(config: EchoRLConfig) -> tuple[tuple[str, str, str], ...]:
    """Claim, minimum detectable effect, assumption. One-sided sign-flips over seeds with 80 % power after Holm's first
    step, the strictest: p of at most 5 % over the size of the family."""
    seeds, family = config.seeds, family_size(config.profile)
    level = ALPHA / family
    if 2.0**-seeds > level:
        few = f"{seeds} seeds: the smallest p of a sign-flip is {2.0**-seeds:g}, Holm's first step {level:.2g}"
        return (("all superiority claims", "none", few),)
    bed = config.reasoning
    tasks = bed.panels.test * max(1, len(bed.panels.categories))
    sampling = 2 * RATE * (1 - RATE) * 1e4 / (tasks * bed.evaluation.samples)
    deviation = (SEED_DEVIATION**2 + sampling + TASK_DEVIATION**2 / tasks) ** 0.5
    smallest = _in_deviations(seeds, level)
    design = (
        f"{seeds} seeds, {tasks} test tasks, {bed.evaluation.samples} episodes each; {SEED_DEVIATION:g} points between "
        f"seeds, {TASK_DEVIATION:g} between tasks, success at {100 * RATE:.0f} %; after Holm over {family}, "
        f"{smallest:.2f} deviations of {deviation:.1f} points"
    )
    tested = {claim.identifier for claim in tested_claims(CLAIMS, config.profile)}
    return tuple(
        (f"{KEY}.{name}", f"{times * smallest * deviation:.1f} points", _assumption(name, design))
        for name, times in NOISE.items()
        if f"{KEY}.{name}" in tested
    )


def _assumption(name: str, design: str) -> str:
    if name == "ood-transfer":
        return f"{design}; as much noise on ood tasks"
    return f"{design}; as for a sign-flip" if name == "prefix-form" else design
