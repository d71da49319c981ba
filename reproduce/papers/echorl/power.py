"""What the claims of EchoRL could find at a given size, before anything runs."""

from __future__ import annotations

from reproduce.claims.power import Planned
from reproduce.papers.echorl.experiment import KEY, EchoRLConfig

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


def planned_effects(config: EchoRLConfig) -> tuple[Planned, ...]:
    """The assumed spread of the claims about success."""
    bed = config.reasoning
    tasks = bed.panels.test * max(1, len(bed.panels.categories))
    sampling = 2 * RATE * (1 - RATE) * 1e4 / (tasks * bed.evaluation.samples)
    deviation = (SEED_DEVIATION**2 + sampling) ** 0.5
    design = (
        f"{config.seeds} seeds, {tasks} test tasks, {bed.evaluation.samples} episodes each; {SEED_DEVIATION:g} points "
        f"between seeds, {TASK_DEVIATION:g} between tasks, success at {100 * RATE:.0f} %"
    )
    return tuple(
        Planned(
            f"{KEY}.{name}",
            times * deviation,
            f"{design}; as much noise on ood tasks" if name == "ood-transfer" else design,
            times**2 * TASK_DEVIATION**2 / tasks,
            tasks,
        )
        for name, times in NOISE.items()
    )
