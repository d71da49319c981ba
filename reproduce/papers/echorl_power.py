"""What the claims of EchoRL could find at a given size, before anything runs."""

from __future__ import annotations

from reproduce.papers.echorl_design import EchoRLConfig
from theory.inference import minimum_detectable_effect

SEED_DEVIATION = 2.0
"""Points: assumed spread between seeds of the difference of two arms that start from one base, beside sampling."""
TASK_DEVIATION = 10.0
"""Points: assumed spread between tasks of the true difference of two arms."""
RATE = 0.5
"""Success rate at which sampling is noisiest."""


def planned_effects(config: EchoRLConfig) -> tuple[tuple[str, str, str], ...]:
    """Claim, minimum detectable effect, assumption. One-sided 5 % tests over seeds with 80 % power, before Holm."""
    seeds = config.seeds
    if 2.0**-seeds > 0.05:
        few = f"{seeds} seeds: the smallest p of a sign-flip over seeds is {2.0**-seeds:g}"
        return (("all superiority claims", "none", few),)
    bed = config.reasoning
    tasks = bed.panels.test * max(1, len(bed.panels.categories))
    sampling = 2 * RATE * (1 - RATE) * 1e4 / (tasks * bed.evaluation.samples)

    def smallest(times: float = 1.0, share: float = 1.0) -> str:
        deviation = times * (SEED_DEVIATION**2 + (sampling + TASK_DEVIATION**2 / tasks) / share) ** 0.5
        return f"{float(minimum_detectable_effect(deviation, seeds, alternative='greater')):.1f} points"

    design = (
        f"{seeds} seeds, {tasks} test tasks, {bed.evaluation.samples} episodes each; {SEED_DEVIATION:g} points between "
        f"seeds, {TASK_DEVIATION:g} between tasks, success at {100 * RATE:.0f} %"
    )
    names = ("final-accuracy", "peak-selection", "prefix-form", "vs-remedies")
    rows = [(f"echorl.{name}", smallest(), design) for name in names]
    rows.append(("echorl.ood-transfer", smallest(2**0.5), f"{design}; as much noise on ood tasks"))
    if config.countdown_arms:
        rows.append(("echorl.demo-complement", smallest(), design))
    return tuple(rows)
