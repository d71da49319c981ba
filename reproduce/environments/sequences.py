"""Demonstrations as words, each with whether the policy writes it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np

from reproduce.environments.protocol import Turn

PAD, BEGIN, TURN, END, UNKNOWN = MARKERS = ("<pad>", "<begin>", "<turn>", "<end>", "<unknown>")
"""First ids of the policies' tokenizer. `<turn>` hands the word to the policy (written by the environment); `<end>`
closes an action (written by the policy)."""

Sequence = list[tuple[str, bool]]
"""Words, each with whether the policy writes it: only those are trained."""
Batch = list[Sequence]


def demonstration_words(turns: tuple[Turn, ...]) -> Sequence:
    """The words of a demonstration, with the markers that the rollouts use."""
    words: Sequence = [(BEGIN, False)]
    for by_policy, group in itertools.groupby(turns, key=lambda turn: turn.by_policy):
        words += [(word, by_policy) for turn in group for word in turn.text.split()]
        words.append((END if by_policy else TURN, by_policy))
    return words


def draw_demonstrations(
    generator: random.Random,
    count: int,
    tasks: SequenceOf[Any],
    mixture: SequenceOf[tuple[float, Any]],
    demonstrate: Callable[..., tuple[Turn, ...]],
    rounds: int,
) -> list[Sequence]:
    """`count` demonstrations: each by a demonstrator of the mixture (weights and demonstrators), of a task, both drawn
    anew; demonstrate: called with (task, rounds, generator, demonstrator)."""
    weights, demonstrators = zip(*mixture, strict=True)
    pool = []
    for _ in range(count):
        demonstrator = generator.choices(demonstrators, weights)[0]
        pool.append(demonstration_words(demonstrate(generator.choice(tasks), rounds, generator, demonstrator)))
    return pool


def epochs(pool: SequenceOf[Sequence], batch_size: int, steps: int, seed: int) -> Iterator[list[Batch]]:
    """Batches of a pool that is gone through again and again, in a new order each time.

    Sequences of like length share a batch, so that little is padding; which lengths come when is random.
    """
    generator = np.random.default_rng([seed, 0])
    lengths = np.array([len(sequence) for sequence in pool])

    def ordered() -> Iterable[np.ndarray]:
        while True:
            # A random number breaks ties and mixes neighbours, so that no two epochs have the same batches.
            order = np.argsort(lengths * generator.uniform(0.9, 1.1, len(lengths)), kind="stable")
            cuts = np.array_split(order, max(1, len(order) // batch_size))
            for place in generator.permutation(len(cuts)):
                yield cuts[place]

    for places in itertools.islice(ordered(), steps):
        yield [[pool[place] for place in places]]
