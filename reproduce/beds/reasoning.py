"""The bed of `reasoning`: chains of arithmetic, a line a step, in tiers; longer chains out of distribution.

The mixture of demonstrators was chosen from the base alone: what the base can do, and how it fails (reports/LOG.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from reproduce.beds.sequences import Batch, demonstration_words, epochs
from reproduce.configuration import (
    BedConfig,
    DemonstrationConfig,
    PanelSizes,
    PolicyConfig,
    SamplingConfig,
    TrainingConfig,
)
from reproduce.environments.protocol import Panel
from reproduce.environments.reasoning import (
    DECISIVE,
    HORIZON,
    OOD_TIERS,
    SKILLS,
    TIERS,
    Demonstrator,
    ReasoningEnvironment,
    ReasoningTask,
    build_panels,
    demonstrate,
    words,
)

__all__ = ["BED", "SKILLS", "batches", "description", "environment", "panels", "words"]

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 100.0, 400.0
"""Of one worker with the reference policy (`reproduce.planning`)."""
CATEGORIES: dict[str, tuple[str, ...]] = {
    "train": ("easy", "medium"),
    "test": ("easy", "medium"),
    "ood": ("longer", "template"),
}
"""Categories of each panel where `PanelSizes` names none; each has as many tasks as the size says."""
STORED_AS = "float16"
"""Precision of the weights in a stored base."""
DEMONSTRATION_SEED = 1000
"""Seed of the tasks that are demonstrated: of the training split, but not those of the training panel's seed."""
DEMONSTRATED_TASKS = 400
"""Chains of each category that are demonstrated."""
MIXTURE: tuple[tuple[float, Demonstrator], ...] = (
    (0.6, Demonstrator(skips=0.05, head_slip=0.3, repeats=0.05)),
    (0.4, Demonstrator(in_head=0.3, skips=0.3, head_slip=0.5, repeats=0.1, stops=0.02, misspeaks=0.02)),
)
"""Weights and demonstrators; each demonstration is by one of them."""
BED = BedConfig(
    panels=PanelSizes(train=64, test=64, ood=32),
    policy=PolicyConfig(layers=2, width=96, heads=4, feed_forward=192, window=4, longest=256),
    warm_start=DemonstrationConfig(steps=400, batch_size=64, demonstrations=6000),
    training=TrainingConfig(epochs=6, group_size=8, questions_per_step=16, rounds=HORIZON, learning_rate=3e-4),
    sampling=SamplingConfig(temperature=1.0, longest_action=80),
)
"""The sizes that were measured; profiles change some of them."""


def environment() -> ReasoningEnvironment:
    """The environment that the episodes run in, with the few words that a tiny model reads."""
    return ReasoningEnvironment()


def panels(sizes: PanelSizes) -> dict[str, Panel[ReasoningTask]]:
    """The panels train, test and ood. Raises ValueError for a category that does not exist."""
    wanted, wanted_ood = sizes.categories or CATEGORIES["train"], sizes.ood_categories or CATEGORIES["ood"]
    chains = {f"decisive-{k}-of-{length}": (k, length) for k, length in DECISIVE}
    known, known_ood = {tier.name: tier for tier in TIERS}, {tier.name: tier for tier in OOD_TIERS}
    for name in (*(set(wanted) - {*known, *chains}), *(set(wanted_ood) - set(known_ood))):
        raise ValueError(
            f"no category {name!r}; there are {', '.join((*known, *chains))}, and ood {', '.join(known_ood)}"
        )
    return build_panels(
        sizes.train,
        sizes.test,
        sizes.ood,
        sizes.train_seed,
        sizes.test_seed,
        tiers=[known[name] for name in wanted if name in known],
        ood_tiers=[known_ood[name] for name in wanted_ood],
        decisive=[chains[name] for name in wanted if name in chains],
    )


def description(config: DemonstrationConfig) -> dict[str, Any]:
    """What determines the demonstrations, besides configuration and seed."""
    shown = [[weight, asdict(demonstrator)] for weight, demonstrator in MIXTURE]
    return {"environment": "reasoning", "mixture": shown, "demonstrated_tasks": DEMONSTRATED_TASKS}


def batches(config: DemonstrationConfig, seed: int) -> Iterator[list[Batch]]:
    """The batch of each optimiser step of the warm start."""
    generator = random.Random(f"reasoning demonstrations {seed}")
    tasks = build_panels(DEMONSTRATED_TASKS, 0, 0, train_seed=DEMONSTRATION_SEED)["train"].tasks
    weights, demonstrators = zip(*MIXTURE, strict=True)
    pool = []
    for _ in range(config.demonstrations):
        demonstrator = generator.choices(demonstrators, weights)[0]
        turns = demonstrate(generator.choice(tasks), HORIZON, generator, demonstrator)
        pool.append(demonstration_words(turns))
    return epochs(pool, config.batch_size, config.steps, seed)
