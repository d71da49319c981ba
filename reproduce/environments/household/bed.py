"""The bed of `household`: the six ALFWorld tasks in small scenes; unseen layouts and pairs out of distribution.

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
from reproduce.core.files import expanded
from reproduce.environments.household import (
    SKILLS,
    Demonstrator,
    HouseholdEnvironment,
    SceneSize,
    build_panels,
    demonstrate,
    words,
)
from reproduce.environments.household.selection import build_official_panels, find_folders
from reproduce.environments.household.tasks import CATEGORIES as TASK_TYPES
from reproduce.environments.plain_actions import PlainActions
from reproduce.environments.protocol import Panel
from reproduce.environments.sequences import Batch, draw_demonstrations, epochs

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

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 20.0, 40.0
"""Of one worker with the reference policy (`reproduce.cost.time`)."""
CATEGORIES = {"train": TASK_TYPES, "test": TASK_TYPES, "ood": TASK_TYPES}
"""Categories of each panel; each has as many tasks as the size says."""
STORED_AS = "float16"
"""Precision of the weights in a stored base."""
DEMONSTRATION_SEED = 1000
"""Seed of the tasks that are demonstrated: of the training split, but not those of the training panel's seed."""
SCENE = SceneSize(receptacles=6, objects=6)
"""Small scenes: in those of eight receptacles and eight objects a policy of this size solved an eighth of its tasks."""
ROUNDS = 24
"""Horizon T of every task."""
DEMONSTRATED_TASKS = 60
"""Tasks of each category that are demonstrated."""
MIXTURE: tuple[tuple[float, Demonstrator], ...] = (
    (0.5, Demonstrator(detour=0.1, slip=0.03, checks=0.05)),
    (
        0.5,
        Demonstrator(
            detour=0.4, slip=0.06, checks=0.2, wrong_object=0.2, skips_process=0.2, splits_pair=0.2, gives_up=0.01
        ),
    ),
)
"""Weights and demonstrators; each demonstration is by one of them."""
BED = BedConfig(
    panels=PanelSizes(train=16, test=16, ood=12),
    policy=PolicyConfig(layers=2, width=96, heads=4, feed_forward=192, window=4, longest=512),
    warm_start=DemonstrationConfig(steps=600, batch_size=48, demonstrations=3000),
    training=TrainingConfig(epochs=6, group_size=8, questions_per_step=16, rounds=ROUNDS, learning_rate=3e-4),
    sampling=SamplingConfig(temperature=1.0, longest_action=12),
)
"""The sizes that were measured; profiles change some of them."""
INSTRUCTIONS = (
    "You act in a household to carry out a task. In each turn write one command, on one line and nothing else; things "
    "are named with their number, such as apple 1. The commands are: go to PLACE; open PLACE; close PLACE; take THING "
    "from PLACE; move THING to PLACE; heat THING with PLACE; cool THING with PLACE; clean THING with PLACE; use THING; "
    "slice THING with THING; examine THING; look; inventory. You can carry one thing at a time. If nothing happens, "
    "the command was not possible. For example: take apple 1 from countertop 2"
)
"""What a general model is told first: unstated in the papers, ours."""


def environment(sizes: PanelSizes | None = None, full_texts: bool = False) -> HouseholdEnvironment | PlainActions:
    """The environment that the episodes run in: few words for a tiny model, or the engine's own for a general one."""
    return PlainActions(HouseholdEnvironment("full")) if full_texts else HouseholdEnvironment()


def check_source(sizes: PanelSizes) -> None:
    """Raises UserError where ALFWorld's folders `train`, `valid_seen` and `valid_unseen` are not there."""
    if sizes.source:
        wanted = {"train": sizes.train, "test": sizes.test, "ood": sizes.ood}
        find_folders(expanded(sizes.source), wanted)


def panels(sizes: PanelSizes) -> dict[str, Panel[Any]]:
    """The panels train, test and ood: of the source, if there is one. Raises UserError for one that cannot be used."""
    if sizes.source:
        return build_official_panels(expanded(sizes.source), sizes.train, sizes.test, sizes.ood)
    return build_panels(sizes.train, sizes.test, sizes.ood, sizes.train_seed, sizes.test_seed, SCENE)


def description(config: DemonstrationConfig) -> dict[str, Any]:
    """What determines the demonstrations, besides configuration and seed."""
    shown = [[weight, asdict(demonstrator)] for weight, demonstrator in MIXTURE]
    return {
        "environment": "household",
        "mixture": shown,
        "scene": asdict(SCENE),
        "rounds": ROUNDS,
        "demonstrated_tasks": DEMONSTRATED_TASKS,
    }


def batches(config: DemonstrationConfig, seed: int) -> Iterator[list[Batch]]:
    """The batch of each optimiser step of the warm start."""
    generator = random.Random(f"household demonstrations {seed}")
    tasks = build_panels(DEMONSTRATED_TASKS, 0, 0, train_seed=DEMONSTRATION_SEED, size=SCENE)["train"].tasks
    pool = draw_demonstrations(generator, config.demonstrations, tasks, MIXTURE, demonstrate, ROUNDS)
    return epochs(pool, config.batch_size, config.steps, seed)
