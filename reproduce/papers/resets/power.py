"""What the planned sizes of the experiment on RRPO and SRPO could detect, before anything runs.

Assumptions, stated with each row: every task succeeds with chance one half, episodes are independent, and the true gain
differs between seeds by the stated number of points. A larger spread between seeds makes the effects larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reproduce.claims.power import Planned
from reproduce.papers.resets.measures import CATEGORIES

if TYPE_CHECKING:
    from reproduce.papers.resets.experiment import ResetsConfig

SPREAD_BETWEEN_SEEDS = 2.0
"""Standard deviation of the true gain over seeds, in points."""


def planned_effects(config: ResetsConfig) -> tuple[Planned, ...]:
    """The assumed spread of the claims about success."""
    bed = config.reasoning
    tasks, samples = len(CATEGORIES) * bed.panels.test, bed.evaluation.samples
    of_episodes = 100 * (2 * 0.25 / (tasks * samples)) ** 0.5
    deviation = (of_episodes**2 + SPREAD_BETWEEN_SEEDS**2) ** 0.5
    design = (
        f"{config.seeds} seeds, {tasks} tasks, n = {samples}; success one half; true gains differ by "
        f"{SPREAD_BETWEEN_SEEDS:g} points between seeds"
    )
    gains = ("srpo-vs-rrpo", "srpo-vs-grpo", "position-control")
    return (
        *(Planned(f"resets.{name}", deviation, design) for name in gains),
        Planned("resets.rrpo-like-grpo", deviation, f"{design}; truly equal", margin=True),
    )
