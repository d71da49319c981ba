"""What the planned sizes of ReuseRL could detect, before anything runs.

Assumptions, stated with each row: arms succeed at the published rates, episodes are independent draws with the same
rate on every task, and training adds a spread between seeds. A difference of the tasks' rates between arms makes the
effects larger.
"""

from __future__ import annotations

from scipy import stats

from reproduce.claims.published import published_number
from reproduce.papers.reuserl.experiment import EASY_ENVIRONMENT, IRREVERSIBLE_ENVIRONMENT, KEY, ReuseConfig
from theory.inference import minimum_detectable_effect

SEED_DEVIATION = 5.0
"""Points: spread of a difference of two arms over seeds that no number of episodes removes. Ours; no source reports
any spread."""


def _rate(identifier: str) -> float:
    return float(published_number(KEY, identifier).value) / 100


def planned_effects(config: ReuseConfig) -> tuple[tuple[str, str, str], ...]:
    """Claim, minimum detectable effect, assumption. One-sided 5 % tests over seeds with 80 % power, before Holm."""
    seeds = config.seeds
    if 2.0**-seeds > 0.05:
        few = f"{seeds} seeds: the smallest p of a sign-flip over seeds is {2.0**-seeds:g}"
        return (("all superiority claims", "none", few),)

    def deviation(environment: str, *rates: float) -> float:
        """Of a difference of arms with these rates, one seed, in points."""
        bed = config.bed(environment)
        episodes = bed.panels.test * bed.evaluation.samples
        return float((SEED_DEVIATION**2 + 100**2 * sum(rate * (1 - rate) for rate in rates) / episodes) ** 0.5)

    def row(claim: str, environment: str, *names: str) -> tuple[str, str, str]:
        spread = deviation(environment, *(_rate(name) for name in names))
        smallest = float(minimum_detectable_effect(spread, seeds, alternative="greater"))
        bed = config.bed(environment)
        design = f"{environment}: {seeds} seeds, {bed.panels.test} tasks, n = {bed.evaluation.samples}; published "
        return f"{KEY}.{claim}", f"{smallest:.1f} points", f"{design}rates, spread of seeds {SEED_DEVIATION:g} points"

    rows = [
        row("penalties-beat-grpo", "countdown", "success.GRPO.Countdown", "success.SegCost-buf.Countdown"),
        row(
            "length-harms-guarded",
            IRREVERSIBLE_ENVIRONMENT,
            "success.GRPO.TextWorld-Cooking",
            "success.length.TextWorld-Cooking",
        ),
        row(
            "segcost-avoids-harm",
            IRREVERSIBLE_ENVIRONMENT,
            "success.SegCost-buf.TextWorld-Cooking",
            "success.length.TextWorld-Cooking",
        ),
        row(
            "structure-matters",
            IRREVERSIBLE_ENVIRONMENT,
            "success.SegCost-buf.TextWorld-Cooking",
            "success.GRPO.TextWorld-Cooking",
        ),
    ]
    if config.arms(EASY_ENVIRONMENT):
        names = ("success.SegCost-buf.ALFWorld-IID", "success.length.ALFWorld-IID")
        spread = deviation(EASY_ENVIRONMENT, *(_rate(name) for name in names))
        margin = (stats.t.ppf(0.95, seeds - 1) + stats.t.ppf(0.9, seeds - 1)) * spread / seeds**0.5
        assumption = (
            f"{EASY_ENVIRONMENT}: {seeds} seeds, published rates, truly equal, spread {SEED_DEVIATION:g} points"
        )
        rows.append((f"{KEY}.easy-env-equivalence", f"margin of {margin:.1f} points", assumption))
    return tuple(rows)
