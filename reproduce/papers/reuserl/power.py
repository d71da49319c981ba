"""What the planned sizes of ReuseRL could detect, before anything runs.

Assumptions, stated with each row: arms succeed at the published rates, episodes are independent draws with the same
rate on every task, and training adds a spread between seeds. A difference of the tasks' rates between arms makes the
effects larger.
"""

from __future__ import annotations

from reproduce.claims.power import Planned
from reproduce.claims.published import published_number
from reproduce.papers.reuserl.experiment import EASY_ENVIRONMENT, IRREVERSIBLE_ENVIRONMENT, KEY, ReuseConfig

SEED_DEVIATION = 5.0
"""Points: spread of a difference of two arms over seeds that no number of episodes removes. Ours; no source reports
any spread."""


def _rate(identifier: str) -> float:
    return float(published_number(KEY, identifier).value) / 100


def planned_effects(config: ReuseConfig) -> tuple[Planned, ...]:
    """The assumed spread of the claims about success."""

    def row(claim: str, environment: str, *names: str, margin: bool = False) -> Planned:
        bed = config.bed(environment)
        episodes = bed.panels.test * bed.evaluation.samples
        rates = [_rate(name) for name in names]
        deviation = (SEED_DEVIATION**2 + 100**2 * sum(rate * (1 - rate) for rate in rates) / episodes) ** 0.5
        design = f"{environment}: {config.seeds} seeds, {bed.panels.test} tasks, n = {bed.evaluation.samples}; "
        design += f"published rates, spread of seeds {SEED_DEVIATION:g} points{', truly equal' if margin else ''}"
        return Planned(f"{KEY}.{claim}", deviation, design, margin=margin)

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
        rows.append(row("easy-env-equivalence", EASY_ENVIRONMENT, *names, margin=True))
    return tuple(rows)
