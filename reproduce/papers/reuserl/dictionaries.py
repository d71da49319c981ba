"""Controls of ReuseRL's dictionary: frozen, random, or learned from shuffled strings (specification, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from methods.reuserl_dictionary import DictionaryLearner, DictionarySettings
from theory.skill_strings import Phrase, SkillDictionary

Kind = Literal["learned", "shuffled_order", "frozen_singletons", "frozen"]


@dataclass(frozen=True)
class ControlSettings(DictionarySettings):
    """The method's settings and a control.

    dictionary: `learned` as the method; `shuffled_order`, learned from successes whose symbols are put in random order
    (8f); `frozen_singletons`, which makes the cost a length penalty; `frozen`, the one in `frozen` (8a, see
    `matched_random_dictionary`). freeze_after: batches after which there is no more extraction (8c). seed: of the
    random orders. Raises ValueError for an unknown or senseless setting.
    """

    dictionary: Kind = "learned"
    frozen: SkillDictionary | None = None
    freeze_after: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dictionary not in get_args(Kind):
            raise ValueError(f"dictionary must be one of {', '.join(get_args(Kind))}, got {self.dictionary!r}")
        if (self.dictionary == "frozen") != (self.frozen is not None):
            raise ValueError("`frozen` holds the dictionary if, and only if, dictionary is 'frozen'")
        for name in ("freeze_after", "seed"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")


class ControlledLearner(DictionaryLearner):
    """A dictionary made as its settings, a `ControlSettings`, say."""

    settings: ControlSettings

    def __init__(self, alphabet_size: int, settings: DictionarySettings) -> None:
        super().__init__(alphabet_size, settings)
        self.learns = self.settings.dictionary in ("learned", "shuffled_order")
        self.dictionary = self.settings.frozen or self.dictionary
        if self.dictionary.alphabet_size != alphabet_size:
            raise ValueError(
                f"the frozen dictionary has {self.dictionary.alphabet_size} symbols, the alphabet {alphabet_size}"
            )

    def observe(self, successes: Sequence[bytes]) -> None:
        """Take in the successes of one batch, where the dictionary learns at all."""
        if not self.learns:
            return
        if self.settings.dictionary == "shuffled_order":
            # Shuffled once, on entry: the buffer holds the same strings at every later extraction.
            successes = in_random_order(successes, np.random.default_rng((self.settings.seed, self.batches)))
        super().observe(successes)

    def is_due(self) -> bool:
        """Say if the dictionary is not frozen yet."""
        return self.settings.freeze_after is None or self.batches < self.settings.freeze_after

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; a frozen dictionary stays the one given."""
        given = self.dictionary
        super().restore(state)
        if not self.learns:
            self.dictionary = given


def in_random_order(strings: Sequence[bytes], generator: np.random.Generator) -> list[bytes]:
    """Each string with its symbols in a random order of its own: the same symbols, no structure."""
    return [generator.permutation(np.array(list(string), dtype=np.uint8)).tobytes() for string in strings]


def matched_random_dictionary(dictionary: SkillDictionary, seed: int) -> SkillDictionary:
    """As many phrases of each length as `dictionary` has, drawn uniformly without replacement (control 8a)."""
    generator, phrases = np.random.default_rng(seed), list[Phrase]()
    alphabet = dictionary.alphabet_size
    for length in range(2, dictionary.max_phrase_length + 1):
        wanted, drawn = sum(len(phrase) == length for phrase in dictionary.phrases), set[int]()
        while len(drawn) < wanted:
            drawn.add(int(generator.integers(alphabet**length)))
        phrases += [tuple(code // alphabet**place % alphabet for place in range(length)) for code in drawn]
    return SkillDictionary(alphabet, dictionary.max_phrase_length, tuple(phrases))
