"""Warm start: supervised training of the tiny policy on demonstrations of mixed quality and unequal exposure.

What makes success differ from question to question is the demonstrators. Each phrasing (and each arithmetic step of
the static questions) has its own reliability, drawn once a seed from the quantiles of a U-shaped Beta: some words are
nearly always read correctly, some nearly never. Phrasings and depths are also shown unequally often.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.stats import beta as beta_distribution
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from reproduce.configuration import PolicyConfig, WarmStartConfig
from reproduce.environments.retrieval.expert import Demonstrator, Turn, demonstrate
from reproduce.environments.retrieval.tasks import RetrievalTask, bridge, comparison, entity_names, static
from reproduce.environments.retrieval.vocabulary import (
    DIGITS,
    ENTITY_PHRASINGS,
    ENTITY_RELATIONS,
    NUMBER_PHRASINGS,
    NUMBER_RELATIONS,
    NUMBERS,
    OPERATIONS,
    Phrasing,
)
from reproduce.policies import BEGIN, END, TURN, build_model


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
        levels = beta_distribution.ppf(
            (np.arange(len(names)) + 0.5) / len(names), config.reliability_alpha, config.reliability_beta
        )
        dealt = [float(level) for level in levels]
        generator.shuffle(dealt)
        reliability |= dict(zip(names, dealt, strict=True))
    return Demonstrator(reliability, config.early_answer, config.useless_search)


Sequence = list[tuple[str, bool]]
"""Words, each with whether the policy writes it: only those are trained."""


def demonstration_words(turns: tuple[Turn, ...]) -> Sequence:
    """The words of a demonstration, with the markers that the rollouts use."""
    words: Sequence = [(BEGIN, False)]
    for by_policy, group in itertools.groupby(turns, key=lambda turn: turn.by_policy):
        words += [(word, by_policy) for turn in group for word in turn.text.split()]
        words.append((END if by_policy else TURN, by_policy))
    return words


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


def _loss(model: Qwen3ForCausalLM, sequences: list[Sequence], vocabulary: dict[str, int], pad: int) -> torch.Tensor:
    """Mean next-token loss. Padding is on the right, out of the causal mask's sight, so no attention mask is needed."""
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad)
    labels = torch.full((len(sequences), longest), -100)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor([vocabulary[word] for word, _ in sequence])
        labels[row, : len(sequence)] = torch.tensor(
            [vocabulary[word] if trained else -100 for word, trained in sequence]
        )
    return model(input_ids=ids, labels=labels).loss


def warm_start(
    config: WarmStartConfig,
    policy: PolicyConfig,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> Qwen3ForCausalLM:
    """Train one base from scratch. `report` is called with (steps done, loss) after every step."""
    model = build_model(policy, tokenizer, seed).train()
    vocabulary, pad = tokenizer.get_vocab(), int(tokenizer.pad_token_id)
    stream = DemonstrationStream(config, seed)
    demonstrations, drills = stream.demonstrations(), stream.drills()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    warm_up = max(1, config.steps // 20)

    def schedule(step: int) -> float:
        rise, fall = (step + 1) / warm_up, 1 - 0.9 * (step - warm_up) / max(1, config.steps - warm_up)
        return min(1.0, rise, fall)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    for step in range(config.steps):
        shown = 0 if step < config.drill_steps else config.batch_size // 2
        optimizer.zero_grad()
        loss = 0.0
        # Drills are short: on their own they need no padding to the length of the demonstrations.
        for source, count in ((demonstrations, shown), (drills, config.batch_size - shown)):
            if count:
                part = _loss(model, list(itertools.islice(source, count)), vocabulary, pad) * count / config.batch_size
                part.backward()
                loss += float(part.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        report(step + 1, loss)
    return model.eval()
