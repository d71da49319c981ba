"""The bed of `countdown`: puzzles of three and four numbers; five numbers and larger targets out of distribution.

Numbers and targets are smaller and rounds fewer than the environment's own: what takes a tiny policy long to learn is
which operation on two numbers gives the target. Eight rounds allow two attempts at four numbers, and one to spare.

The mixture of demonstrators was chosen from the base alone: what the base can do, and how it fails (reports/LOG.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    PanelSizes,
    PolicyConfig,
    SamplingConfig,
    TrainingConfig,
)
from reproduce.environments.countdown import (
    SKILLS,
    CountdownEnvironment,
    CountdownTask,
    Demonstrator,
    Level,
    build_panels,
    demonstrate,
)
from reproduce.environments.countdown import words as words_up_to
from reproduce.environments.plain_actions import PlainActions
from reproduce.environments.protocol import Panel
from reproduce.environments.sequences import Batch, draw_demonstrations, epochs
from reproduce.environments.sources import refuse_source

__all__ = [
    "BED",
    "INSTRUCTIONS",
    "SKILLS",
    "batches",
    "check_source",
    "description",
    "environment",
    "panels",
    "words",
]

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 80.0, 180.0
"""Of one worker with the reference policy (`reproduce.cost.time`)."""
CATEGORIES: dict[str, tuple[str, ...]] = {}
"""Panels are not drawn by category: sizes are of whole panels."""
STORED_AS = "float16"
"""Precision of the weights in a stored base."""
DEMONSTRATION_SEED = 1000
"""Seed of the tasks that are demonstrated: of the training split, but not those of the training panel's seed."""
DEMONSTRATED_TASKS = 1200
"""Puzzles that are demonstrated."""
LEVEL = Level(fewest_numbers=3, most_numbers=4, largest_number=9, smallest_target=1, largest_target=30)
OOD_LEVEL = Level(fewest_numbers=5, most_numbers=5, largest_number=9, smallest_target=1, largest_target=40)
LARGEST_RESULT = 60
"""The largest intermediate result."""
OFFICIAL = "reasoning-gym"
"""The category that asks for puzzles of the generator's own sizes instead, for general models."""
OFFICIAL_LEVEL = Level(fewest_numbers=4, most_numbers=6, largest_number=100, smallest_target=100, largest_target=999)
"""The defaults of reasoning-gym."""
OFFICIAL_OOD_LEVEL = Level(
    fewest_numbers=6, most_numbers=6, largest_number=100, smallest_target=1_000, largest_target=1_999
)
"""Larger targets: unstated in the paper, ours."""
OFFICIAL_LARGEST_RESULT = 9_999
"""Unstated, ours: beyond what a sensible solution needs."""
ROUNDS = 8
"""Horizon T of every puzzle."""
MIXTURE: tuple[tuple[float, Demonstrator], ...] = (
    (0.3, Demonstrator(slip=0.05, misspeaks=0.03, needless_reset=0.05)),
    (0.5, Demonstrator(careless=1.0, slip=0.1, misspeaks=0.05, needless_reset=0.1)),
    (0.2, Demonstrator(sums_only=1.0, slip=0.1, overlooks=0.5, misspeaks=0.05)),
)
"""Weights and demonstrators; each demonstration is by one of them."""
BED = BedConfig(
    panels=PanelSizes(train=96, test=128, ood=64),
    policy=PolicyConfig(layers=2, width=64, heads=4, feed_forward=128, window=10, longest=192, initial_deviation=0.12),
    warm_start=DemonstrationConfig(steps=300, batch_size=64, demonstrations=4000, learning_rate=5e-3),
    training=TrainingConfig(epochs=4, group_size=8, questions_per_step=16, rounds=ROUNDS, learning_rate=1e-3),
    sampling=SamplingConfig(temperature=0.7, longest_action=6),
)
"""The sizes that were measured; profiles change some of them."""
INSTRUCTIONS = (
    "You play a number game. In each turn write one operation on two of the numbers that are left, on one line and "
    "nothing else, such as 8 * 3, without its result. The operators are + - * /. The result replaces the two numbers; "
    "it must be an integer that is not negative, and division must come out even. Use every number, so that the one "
    "that is left at the end is the target. Write reset to start again with all numbers."
)
"""What a general model is told first: unstated in the papers, ours."""


def words() -> tuple[str, ...]:
    """The vocabulary of the policy."""
    return words_up_to(LARGEST_RESULT)


def environment(sizes: PanelSizes | None = None, full_texts: bool = False) -> CountdownEnvironment | PlainActions:
    """The environment that the episodes run in: few words for a tiny model, or the engine's own for a general one."""
    return PlainActions(CountdownEnvironment("full")) if full_texts else CountdownEnvironment()


def check_source(sizes: PanelSizes) -> None:
    """There is no official data: tasks are generated. Raises UserError where one is named."""
    refuse_source("countdown", sizes.source)


def panels(sizes: PanelSizes) -> dict[str, Panel[CountdownTask]]:
    """The panels train, test and ood. The category `reasoning-gym` asks for puzzles of the generator's own sizes.

    Raises UserError where the sizes name a source, and ValueError for any other category.
    """
    check_source(sizes)
    if sizes.categories not in ((), (OFFICIAL,)):
        raise ValueError(f"no categories {', '.join(sizes.categories)} of countdown; there is {OFFICIAL}")
    official = bool(sizes.categories)
    return build_panels(
        sizes.train,
        sizes.test,
        sizes.ood,
        sizes.train_seed,
        sizes.test_seed,
        level=OFFICIAL_LEVEL if official else LEVEL,
        ood_level=OFFICIAL_OOD_LEVEL if official else OOD_LEVEL,
        largest_result=OFFICIAL_LARGEST_RESULT if official else LARGEST_RESULT,
    )


def description(config: DemonstrationConfig) -> dict[str, Any]:
    """What determines the demonstrations, besides configuration and seed."""
    shown = [[weight, asdict(demonstrator)] for weight, demonstrator in MIXTURE]
    return {
        "environment": "countdown",
        "mixture": shown,
        "level": asdict(LEVEL),
        "largest_result": LARGEST_RESULT,
        "rounds": ROUNDS,
        "demonstrated_tasks": DEMONSTRATED_TASKS,
    }


def batches(config: DemonstrationConfig, seed: int) -> Iterator[list[Batch]]:
    """The batch of each optimiser step of the warm start."""
    generator = random.Random(f"countdown demonstrations {seed}")
    sizes = PanelSizes(DEMONSTRATED_TASKS, 0, 0, train_seed=DEMONSTRATION_SEED)
    tasks = panels(sizes)["train"].tasks
    pool = draw_demonstrations(generator, config.demonstrations, tasks, MIXTURE, demonstrate, ROUNDS)
    return epochs(pool, config.batch_size, config.steps, seed)
