"""The bed of `retrieval`: tasks and warm start of PASS@(k,T).

What makes success differ from question to question is the demonstrators. Each phrasing (and each arithmetic step of
the static questions) has its own reliability, drawn once a seed from the quantiles of a U-shaped Beta: some words are
nearly always read correctly, some nearly never. Phrasings and depths are also shown unequally often.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import scipy

from reproduce.core.config import PanelConfig, WarmStartConfig
from reproduce.core.files import expanded
from reproduce.environments.protocol import Panel
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask, build_panels
from reproduce.environments.retrieval.expert import Demonstrator, demonstrate
from reproduce.environments.retrieval.hotpot import HotpotTask
from reproduce.environments.retrieval.official import build_hotpot_panels, find_files
from reproduce.environments.retrieval.tagged import INSTRUCTIONS, GeneratedCorpus, HotpotCorpus, TaggedEnvironment
from reproduce.environments.retrieval.tasks import bridge, comparison, entity_names, static
from reproduce.environments.retrieval.vocabulary import (
    DIGITS,
    ENTITY_PHRASINGS,
    ENTITY_RELATIONS,
    NUMBER_PHRASINGS,
    NUMBER_RELATIONS,
    NUMBERS,
    OPERATIONS,
    Phrasing,
    words,
)
from reproduce.environments.sequences import BEGIN, END, TURN, Batch, Sequence, demonstration_words

__all__ = [
    "INSTRUCTIONS",
    "DemonstrationStream",
    "batches",
    "check_source",
    "description",
    "environment",
    "panels",
    "words",
]

TRAINING_EPISODES_PER_SECOND, EVALUATION_EPISODES_PER_SECOND = 400.0, 25_000.0
"""Of one worker with the reference policy (`reproduce.cost.time`); episodes with one history share computation."""
STORED_AS = "float32"
"""Precision of the weights in a stored base."""
PASSAGES = 1
"""Paragraphs of HotpotQA that a search shows: with one, rounds bind (ours; the paper's number is not public)."""


def environment(sizes: PanelConfig | None = None, full_texts: bool = False) -> RetrievalEnvironment | TaggedEnvironment:
    """The environment that the episodes run in: few words for a tiny model, or sentences and tags for a general one;
    the questions of a source have tags in any case."""
    if sizes is not None and sizes.source:
        return TaggedEnvironment(HotpotCorpus(PASSAGES))
    return TaggedEnvironment(GeneratedCorpus()) if full_texts else RetrievalEnvironment()


def check_source(sizes: PanelConfig) -> None:
    """Raises UserError where HotpotQA's files are not there."""
    if sizes.source:
        find_files(expanded(sizes.source))


def panels(sizes: PanelConfig) -> dict[str, Panel[RetrievalTask]] | dict[str, Panel[HotpotTask]]:
    """The panels train, test and ood: of the source, if there is one. Raises UserError for one that cannot be used."""
    if sizes.source:
        source = expanded(sizes.source)
        return build_hotpot_panels(source, sizes.train_per_category, sizes.test_per_category)
    return _generated_panels(sizes)


@lru_cache(maxsize=4)
def _generated_panels(sizes: PanelConfig) -> dict[str, Panel[RetrievalTask]]:
    """Drawn once a process: plan and run ask several times."""
    return build_panels(**{name: size for name, size in asdict(sizes).items() if name != "source"})


def description(config: WarmStartConfig) -> dict[str, object]:
    """What determines the demonstrations besides the seed: nothing that the configuration does not say."""
    return {}


def batches(config: WarmStartConfig, seed: int) -> Iterator[list[Batch]]:
    """The batches of each optimiser step: demonstrations and drills apart, drills only at the start."""
    stream = DemonstrationStream(config, seed)
    demonstrations, drills = stream.demonstrations(), stream.drills()
    for step in range(config.steps):
        shown = 0 if step < config.drill_steps else config.batch_size // 2
        # Drills are short: on their own they need no padding to the length of the demonstrations.
        parts = ((demonstrations, shown), (drills, config.batch_size - shown))
        yield [list(itertools.islice(source, count)) for source, count in parts if count]


def draw_demonstrator(config: WarmStartConfig, seed: int) -> Demonstrator:
    """A seed's demonstrators: the Beta's quantiles, dealt at random within each kind of word."""
    generator = random.Random(f"demonstrator {seed}")
    reliability: dict[str, float] = {}
    kinds = (
        [phrasing.word for phrasing in ENTITY_PHRASINGS],
        [phrasing.word for phrasing in NUMBER_PHRASINGS],
        [f"{operation} {digit}" for operation in OPERATIONS for digit in DIGITS],
    )
    for names in kinds:
        levels = scipy.stats.beta.ppf(
            (np.arange(len(names)) + 0.5) / len(names), config.reliability_alpha, config.reliability_beta
        )
        dealt = [float(level) for level in levels]
        generator.shuffle(dealt)
        reliability |= dict(zip(names, dealt, strict=True))
    return Demonstrator(reliability, config.early_answer, config.useless_search)


class DemonstrationStream:
    """Endless demonstrations and drills for one seed, from the training split's entities only."""

    def __init__(self, config: WarmStartConfig, seed: int) -> None:
        self.config, self.demonstrator = config, draw_demonstrator(config, seed)
        self.generator = random.Random(f"demonstrations {seed}")
        self.entity_weights = self._exposure(len(ENTITY_PHRASINGS))
        self.number_weights = self._exposure(len(NUMBER_PHRASINGS))

    def _exposure(self, count: int) -> list[float]:
        return [(1 + place % 3) ** -self.config.phrasing_exponent for place in range(count)]

    def _chain(self, hops: int) -> tuple[Phrasing, ...]:
        while True:
            chain = tuple(self.generator.choices(ENTITY_PHRASINGS, self.entity_weights, k=hops))
            named = [phrasing.relation for phrasing in chain] + [phrasing.misread_as for phrasing in chain]
            if len(set(named)) == len(named):
                return chain

    def task(self) -> RetrievalTask:
        """A question, by exposure: half bridge, a quarter comparison, a quarter static."""
        kind = self.generator.choices(("bridge", "comparison", "static"), (0.5, 0.25, 0.25))[0]
        if kind == "static":
            return static("demonstration", "train", self.generator)
        if kind == "comparison":
            asked = self.generator.choices(NUMBER_PHRASINGS, self.number_weights)[0]
            return comparison("demonstration", "train", self.generator, asked)
        depths = range(1, len(self.config.depth_weights) + 1)
        hops = self.generator.choices(depths, self.config.depth_weights)[0]
        return bridge("demonstration", "train", hops, self.generator, self._chain(hops))

    def demonstrations(self) -> Iterator[Sequence]:
        """Two demonstrations a question."""
        while True:
            task = self.task()
            for _ in range(2):
                cap = 0 if task.category == "static" else self.generator.randint(0, self.config.longest_cap)
                yield demonstration_words(demonstrate(task, cap, self.generator, self.demonstrator))

    def drills(self) -> Iterator[Sequence]:
        """Look values up by their relation: a paragraph of three facts, then six times one of the facts."""
        names, generator = entity_names("train"), self.generator
        while True:
            facts = []
            for relation in generator.sample(ENTITY_RELATIONS + NUMBER_RELATIONS, 3):
                value = generator.choice(NUMBERS if relation in NUMBER_RELATIONS else names)
                facts.append(f"{relation} {value}")
            shown = [BEGIN, "result", *generator.choice(names).split(), *" ".join(facts).split(), TURN]
            recalled = [word for fact in generator.choices(facts, k=6) for word in (*fact.split(), END)]
            yield [(word, False) for word in shown] + [(word, True) for word in recalled]
