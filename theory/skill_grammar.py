"""A known law of skill strings: sub-routines one after the other, with noise. For checks that need the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.skill_strings import Phrase, check_alphabet


@dataclass(frozen=True)
class SkillGrammar:
    """Law of the skill strings of one fixed policy's successes.

    A string has a uniform number fewest_routines .. most_routines of sub-routines, each drawn independently with
    probability proportional to its weight. Behind each symbol another one, uniform over the alphabet, is inserted
    with probability `noise`. What exceeds `horizon` symbols is cut. Raises ValueError for what is no such law.
    """

    alphabet_size: int
    routines: tuple[Phrase, ...]
    weights: tuple[float, ...]
    fewest_routines: int = 1
    most_routines: int = 4
    noise: float = 0.05
    horizon: int = 50

    def __post_init__(self) -> None:
        check_alphabet(self.alphabet_size)
        if not self.routines or any(not routine for routine in self.routines):
            raise ValueError("a grammar needs sub-routines of at least one symbol")
        if any(not 0 <= symbol < self.alphabet_size for routine in self.routines for symbol in routine):
            raise ValueError(f"a sub-routine has a symbol outside 0 .. {self.alphabet_size - 1}")
        if len(self.weights) != len(self.routines) or not min(self.weights) > 0:
            raise ValueError("every sub-routine needs a positive weight")
        if not 1 <= self.fewest_routines <= self.most_routines:
            raise ValueError("the number of sub-routines must run from at least 1 to no less than that")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must lie in [0, 1], got {self.noise}")
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")

    def draw(self, count: int, generator: np.random.Generator) -> list[bytes]:
        """`count` independent skill strings, each as bytes (a sequence of symbols) of 1 .. horizon symbols."""
        per_string = generator.integers(self.fewest_routines, self.most_routines + 1, count)
        shares = np.asarray(self.weights, dtype=np.float64)
        drawn = generator.choice(len(self.routines), int(per_string.sum()), p=shares / shares.sum())
        routine_lengths = np.array([len(routine) for routine in self.routines])
        symbols = np.frombuffer(b"".join([bytes(self.routines[index]) for index in drawn]), dtype=np.uint8)
        owner = np.repeat(np.repeat(np.arange(count), per_string), routine_lengths[drawn])
        # A symbol and, after some, one more: repeated, and the second copy overwritten.
        inserted = generator.random(symbols.size) < self.noise
        copies = 1 + inserted
        noisy = np.repeat(symbols, copies)
        noisy[np.cumsum(copies)[inserted] - 1] = generator.integers(0, self.alphabet_size, int(inserted.sum()))
        lengths = np.bincount(owner, weights=copies, minlength=count).astype(np.int64)
        ends = np.cumsum(lengths)
        data, starts = noisy.tobytes(), ends - lengths
        return [
            data[start : min(end, start + self.horizon)]
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


HOUSEHOLD = SkillGrammar(5, ((0,), (1, 2, 4), (1, 2, 3, 4), (3, 4)), (4.0, 2.0, 1.0, 1.0), 3, 6, noise=0.05)
"""Search, take, transport, process, deliver."""
