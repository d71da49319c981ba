"""The bed of `cooking`: the cookbook burns half of the meals, unless the food is looked at first.

The mixture of demonstrators was chosen from the base alone: what the base can do, and how it fails (reports/LOG.md).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    PanelSizes,
    PolicyConfig,
    SamplingConfig,
    TrainingConfig,
)
from reproduce.environments.cooking import (
    SKILLS,
    CookingEnvironment,
    CookingTask,
    Demonstrator,
    Level,
    build_panels,
    demonstrate,
    words,
)
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

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 30.0, 75.0
"""Of one worker with the reference policy (`reproduce.cost.time`)."""
CATEGORIES: dict[str, tuple[str, ...]] = {}
"""Panels are not drawn by category: sizes are of whole panels."""
STORED_AS = "float16"
"""Precision of the weights in a stored base."""
LEVELS = (Level(recipe=1), Level(recipe=2))
"""One and two ingredients, in one room."""
_LABEL = re.compile(
    r"recipe(?P<recipe>\d)(\+take(?P<take>\d))?(?P<cut>\+cut)?(?P<open>\+open)?\+go(?P<rooms>\d{1,2})", re.ASCII
)
ROUNDS = 10
"""Horizon T of every game; a careful player needs four to six, so that dawdling times out."""
DEMONSTRATION_SEED = 1000
"""Seed of the tasks that are demonstrated: of the training split, but not those of the training panel's seed."""
DEMONSTRATED_TASKS = 96
"""Games that are demonstrated."""
# The careless do not cut again what is cut already: with those cuts their way would be longer than the careful one, and
# a price on length would teach to look at the food, which is the opposite of a trap.
_BRISK = Demonstrator(cuts_again=0.0, examines_each=0.2, detour=0.1, misspeaks=0.03)
_DAWDLING = replace(_BRISK, detour=0.6, misspeaks=0.12)
MIXTURE: tuple[tuple[float, Demonstrator], ...] = (
    (0.22, replace(_BRISK, careless=1.0)),
    (0.22, replace(_DAWDLING, careless=1.0)),
    (0.22, _BRISK),
    (0.34, _DAWDLING),
)
"""Weights and demonstrators; each demonstration is by one of them."""
BED = BedConfig(
    panels=PanelSizes(train=48, test=48, ood=32),
    policy=PolicyConfig(layers=2, width=64, heads=4, feed_forward=128, window=4, longest=512),
    warm_start=DemonstrationConfig(steps=400, batch_size=48, demonstrations=3000),
    training=TrainingConfig(epochs=6, group_size=8, questions_per_step=16, rounds=ROUNDS, learning_rate=3e-4),
    sampling=SamplingConfig(temperature=1.0, longest_action=8),
)
"""The sizes that were measured; profiles change some of them."""
INSTRUCTIONS = (
    "You play a cooking game. In each turn write one command, on one line and nothing else. Find the recipe in the "
    "cookbook and follow it; a mistake in cooking or cutting loses the game. With everything ready and with you, "
    "prepare the meal in the kitchen and eat it. The commands are: look; inventory; go DIRECTION; open THING; close "
    "THING; examine THING; take THING; drop THING; put THING on THING; insert THING into THING; cook THING with "
    "APPLIANCE (the stove fries, the oven roasts, the bbq grills); chop THING with knife; slice THING with knife; dice "
    "THING with knife; prepare meal; eat THING. For example: examine cookbook"
)
"""What a general model is told first: unstated in the papers, ours. That food may be cooked already it does not say."""


def environment(sizes: PanelSizes | None = None, full_texts: bool = False) -> CookingEnvironment | PlainActions:
    """The environment that the episodes run in: few words for a tiny model, or the engine's own for a general one."""
    return PlainActions(CookingEnvironment("full")) if full_texts else CookingEnvironment()


def check_source(sizes: PanelSizes) -> None:
    """There is no official data: tasks are generated. Raises UserError where one is named."""
    refuse_source("cooking", sizes.source)


def panels(sizes: PanelSizes) -> dict[str, Panel[CookingTask]]:
    """The panels train, test and ood. categories: levels in TextWorld's words, such as `recipe3+take3+cut+open+go6`.

    Raises UserError where the sizes name a source, and ValueError for a level that does not exist.
    """
    check_source(sizes)
    levels = tuple(map(level_of, sizes.categories)) or LEVELS
    return build_panels(sizes.train, sizes.test, sizes.ood, sizes.train_seed, sizes.test_seed, levels=levels)


def level_of(label: str) -> Level:
    """The level with this label (`Level.label`). Raises ValueError where there is none."""
    found = _LABEL.fullmatch(label)
    if found is None:
        raise ValueError(f"no level {label!r} of cooking; levels are written such as {LEVELS[0].label}")
    recipe, take, rooms = (int(found[name] or 0) for name in ("recipe", "take", "rooms"))
    level = Level(recipe, take, cut=found["cut"] is not None, rooms=rooms, closed=found["open"] is not None)
    if level.label != label:
        raise ValueError(f"no level {label!r} of cooking; it is written {level.label}")
    return level


def description(config: DemonstrationConfig) -> dict[str, Any]:
    """What determines the demonstrations, besides configuration and seed."""
    shown = [[weight, asdict(demonstrator)] for weight, demonstrator in MIXTURE]
    return {
        "environment": "cooking",
        "mixture": shown,
        "levels": [asdict(level) for level in LEVELS],
        "rounds": ROUNDS,
        "demonstrated_tasks": DEMONSTRATED_TASKS,
    }


def batches(config: DemonstrationConfig, seed: int) -> Iterator[list[Batch]]:
    """The batch of each optimiser step of the warm start."""
    generator = random.Random(f"cooking demonstrations {seed}")
    tasks = build_panels(DEMONSTRATED_TASKS, 0, 0, train_seed=DEMONSTRATION_SEED, levels=LEVELS)["train"].tasks
    pool = draw_demonstrations(generator, config.demonstrations, tasks, MIXTURE, demonstrate, ROUNDS)
    return epochs(pool, config.batch_size, config.steps, seed)
