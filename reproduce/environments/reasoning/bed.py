"""The bed of `reasoning`: chains of arithmetic, a line a step, in tiers; longer chains out of distribution.

What makes steps differ in difficulty is the demonstrators: each operation has its own reliability, dealt once a seed
from the quantiles of a U-shaped Beta. Few operations in one wording, and drills on long chains before anything else,
teach a tiny policy in half a minute to follow a question; what it then gets wrong are mostly results.

All of it was chosen from the base alone: what the base can do, and how it fails (reports/LOG.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import scipy

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    PanelSizes,
    PolicyConfig,
    SamplingConfig,
    TrainingConfig,
)
from reproduce.core.files import UserError, expanded
from reproduce.environments.plain_actions import PlainActions, plain_lines
from reproduce.environments.protocol import Panel
from reproduce.environments.reasoning import (
    DECISIVE,
    HORIZON,
    SKILLS,
    Demonstrator,
    MathEnvironment,
    MathTask,
    ReasoningEnvironment,
    ReasoningTask,
    Tier,
    build_panels,
    demonstrate,
    words,
)
from reproduce.environments.reasoning.dataset import check_grader
from reproduce.environments.reasoning.official import build_dataset_panels, find_sets
from reproduce.environments.reasoning.steps import FREE
from reproduce.environments.reasoning.tasks import Template, make_task
from reproduce.environments.sequences import Batch, Sequence, demonstration_words, epochs

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

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 120.0, 500.0
"""Of one worker with the reference policy (`reproduce.cost.time`)."""
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
DEMONSTRATED_TASKS = 250
"""Chains of each category that are demonstrated."""
OPERATIONS = ("plus 1", "plus 4", "plus 6", "minus 2", "minus 5", "minus 8", "times 3", "times 7", "times 9")
"""What chains are made of: all 210 results of the environment's 21 operations would take twice the warm start."""
TIERS = tuple(Tier(name, steps, steps, ("listed",)) for name, steps in (("easy", 2), ("medium", 4), ("hard", 6)))
"""Categories of train and test, besides the decisive chains."""
OOD_TIERS = (Tier("longer", 8, 9, ("listed",)), Tier("template", 2, 6, ("trailing",)))
"""Categories of ood: longer chains, and chains of known lengths in another wording."""
RELIABILITY = (1.0, 0.15)
"""Parameters of the Beta from which the operations' reliabilities are taken: mean .87, five of nine above .98."""
DEMONSTRATOR = Demonstrator(skips=0.02, head_slip=0.3, repeats=0.04)
"""Who demonstrates; the reliabilities are added."""
WEIGHT_OF_DECISIVE = 0.5
"""How often a category of decisive chains is demonstrated, where each tier counts 1."""
DRILL_SHARE = 1 / 3
"""Share of the optimiser steps, at the start, that show long chains without a mistake."""
DRILLED_STEPS = (4, 5, 6, 7, 8)
"""Steps of the chains in drills, drawn once a batch."""
BED = BedConfig(
    panels=PanelSizes(train=64, test=64, ood=32),
    policy=PolicyConfig(layers=3, width=64, heads=4, feed_forward=128, window=6, longest=192, initial_deviation=0.12),
    warm_start=DemonstrationConfig(steps=360, batch_size=64, demonstrations=8000, learning_rate=5e-3),
    training=TrainingConfig(epochs=6, group_size=8, questions_per_step=16, rounds=HORIZON, learning_rate=3e-4),
    sampling=SamplingConfig(temperature=0.7, longest_action=80),
)
"""The sizes that were measured; profiles change some of them."""
INSTRUCTIONS = (
    "Solve the problem step by step, one step a line. End with the answer in the form that the problem asks for, and "
    "write nothing after it."
)
"""What a general model is told first: unstated in the papers, ours. The form of the answer is in each question."""
SOURCE = "train.jsonl and test.jsonl (or .parquet; several sets as test/NAME.jsonl), columns question and answer"
"""What a source holds."""


def environment(
    sizes: PanelSizes | None = None, full_texts: bool = False
) -> ReasoningEnvironment | PlainActions | MathEnvironment:
    """The environment that the episodes run in: few words for a tiny model, or sentences for a general one; the
    questions of a source are as they are."""
    if sizes is not None and sizes.source:
        return MathEnvironment()
    return PlainActions(ReasoningEnvironment("full"), plain_lines) if full_texts else ReasoningEnvironment()


def check_source(sizes: PanelSizes) -> None:
    """Raises UserError where files with questions are not there, or math-verify is missing."""
    if sizes.source:
        try:
            find_sets(expanded(sizes.source))
        except UserError as error:
            raise UserError(f"{error}; the source of reasoning holds {SOURCE}") from None
        check_grader()


def panels(sizes: PanelSizes) -> dict[str, Panel[ReasoningTask]] | dict[str, Panel[MathTask]]:
    """The panels train, test and ood: of the source, if there is one. Raises ValueError for a category that does not
    exist, and UserError for a source that cannot be used."""
    if sizes.source:
        check_source(sizes)
        return build_dataset_panels(
            expanded(sizes.source),
            sizes.train,
            sizes.test,
            sizes.ood,
            sizes.categories,
            sizes.ood_categories,
        )
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
        operations=OPERATIONS,
    )


def description(config: DemonstrationConfig) -> dict[str, Any]:
    """What determines the demonstrations, besides configuration and seed."""
    return {
        "environment": "reasoning",
        "operations": OPERATIONS,
        "reliability": RELIABILITY,
        "demonstrator": asdict(DEMONSTRATOR),
        "tiers": [asdict(tier) for tier in TIERS],
        "decisive": [*DECISIVE, WEIGHT_OF_DECISIVE],
        "drills": [DRILL_SHARE, *DRILLED_STEPS],
        "demonstrated_tasks": DEMONSTRATED_TASKS,
    }


def batches(config: DemonstrationConfig, seed: int) -> Iterator[list[Batch]]:
    """The batch of each optimiser step of the warm start: drills first, then demonstrations."""
    generator = random.Random(f"reasoning demonstrations {seed}")
    demonstrator = draw_demonstrator(generator)
    drill_steps = round(config.steps * DRILL_SHARE)
    yield from _drills(config.batch_size, drill_steps, generator)
    panel = build_panels(
        DEMONSTRATED_TASKS, 0, 0, train_seed=DEMONSTRATION_SEED, tiers=TIERS, ood_tiers=(), operations=OPERATIONS
    )["train"]
    weights = [WEIGHT_OF_DECISIVE if task.template == "decisive" else 1.0 for task in panel.tasks]
    pool = [
        demonstration_words(demonstrate(task, HORIZON, generator, demonstrator))
        for task in generator.choices(panel.tasks, weights, k=config.demonstrations)
    ]
    yield from epochs(pool, config.batch_size, config.steps - drill_steps, seed)


def draw_demonstrator(generator: random.Random) -> Demonstrator:
    """A seed's demonstrator: the quantiles of the Beta, dealt to the operations at random."""
    quantiles = (np.arange(len(OPERATIONS)) + 0.5) / len(OPERATIONS)
    dealt = [float(level) for level in scipy.stats.beta.ppf(quantiles, *RELIABILITY)]
    generator.shuffle(dealt)
    return replace(DEMONSTRATOR, reliability=dict(zip(OPERATIONS, dealt, strict=True)))


def _drills(batch_size: int, steps: int, generator: random.Random) -> Iterator[list[Batch]]:
    """Long chains without a mistake: to follow the question is the slow skill. Tiers first, then decisive ones too."""
    for step in range(steps):
        template: Template = "decisive" if step >= 0.75 * steps and step % 2 else "listed"
        length, batch = generator.choice(DRILLED_STEPS), list[Sequence]()
        for _ in range(batch_size):
            operations = generator.sample(OPERATIONS, length)
            if template == "decisive":
                operations = [
                    operation if generator.random() < 0.4 else f"{FREE} {place % 10}"
                    for place, operation in enumerate(operations)
                ]
            task = make_task("drill", "drill", template, generator.randrange(10), operations)
            batch.append(demonstration_words(demonstrate(task, HORIZON, generator)))
        yield [batch]
