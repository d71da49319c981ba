"""What the planned sizes of the experiment on RRPO and SRPO could detect, before anything runs.

Assumptions, stated with each row: every task succeeds with chance one half, episodes are independent, and the true gain
differs between seeds by the stated number of points. A larger spread between seeds makes the effects larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import stats

from reproduce.papers.resets.measures import CATEGORIES
from theory.inference import minimum_detectable_effect

if TYPE_CHECKING:
    from reproduce.papers.resets.experiment import ResetsConfig

SPREAD_BETWEEN_SEEDS = 2.0
"""Standard deviation of the true gain over seeds, in points."""


def planned_effects(config: ResetsConfig) -> tuple[tuple[str, str, str], ...]:
    """Claim, minimum detectable effect, assumption. One-sided 5 % tests over seeds with 80 % power, before Holm."""
    if 2.0**-config.seeds > 0.05:
        few = f"{config.seeds} seeds: the smallest p of a sign-flip over seeds is {2.0**-config.seeds:g}"
        return (("all superiority claims", "none", few),)
    bed = config.reasoning
    tasks, samples = len(CATEGORIES) * bed.panels.test, bed.evaluation.samples
    of_episodes = 100 * (2 * 0.25 / (tasks * samples)) ** 0.5
    deviation = (of_episodes**2 + SPREAD_BETWEEN_SEEDS**2) ** 0.5
    effect = float(minimum_detectable_effect(deviation, config.seeds, alternative="greater"))
    design = (
        f"{config.seeds} seeds, {tasks} tasks, n = {samples}; success one half; true gains differ by "
        f"{SPREAD_BETWEEN_SEEDS:g} points between seeds"
    )
    freedom = config.seeds - 1
    margin = (stats.t.ppf(0.95, freedom) + stats.t.ppf(0.9, freedom)) * deviation / config.seeds**0.5
    gains = ("srpo-vs-rrpo", "srpo-vs-grpo", "position-control")
    return (
        *((f"resets.{name}", f"{effect:.1f} points", design) for name in gains),
        ("resets.rrpo-like-grpo", f"margin of {margin:.1f} points", f"{design}; truly equal"),
    )
