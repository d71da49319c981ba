"""Where ReuseRL's dictionary comes from: the success buffer, the re-extraction each step, and the frozen controls.

Sources: specification of ReuseRL, sections 2.4 (corpus and extraction), 2.6 (one extraction each step, FIFO buffer),
6.1 (switches) and 8 (controls 8a, 8c, 8e, 8f). Nothing here needs torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_strings import Phrase, SkillDictionary

DICTIONARIES = ("learned", "shuffled_order", "frozen_singletons", "frozen")


@dataclass(frozen=True)
class DictionarySettings:
    """How the dictionary C is made.

    dictionary: `learned` from the successes; `shuffled_order`, learned from successes whose symbols are put in random
    order (control 8f); `frozen_singletons`, which makes the cost a length penalty; `frozen`, the one in `frozen`
    (control 8a, see `matched_random_dictionary`).
    extraction: phrase cap L and the switches of the code length. buffer_size: skill strings the FIFO buffer G keeps,
    0 for none. min_corpus: with fewer strings in B+ and G the dictionary stays as it is, at first all singletons.
    refresh_every: batches from one extraction to the next. freeze_after: batches after which there is no more
    extraction (control 8c). seed: of the random orders.
    Raises ValueError for an unknown or senseless setting.
    """

    dictionary: str = "learned"
    frozen: SkillDictionary | None = None
    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    buffer_size: int = 1024
    min_corpus: int = 50
    refresh_every: int = 1
    freeze_after: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dictionary not in DICTIONARIES:
            raise ValueError(f"dictionary must be one of {', '.join(DICTIONARIES)}, got {self.dictionary!r}")
        if (self.dictionary == "frozen") != (self.frozen is not None):
            raise ValueError("`frozen` holds the dictionary if, and only if, dictionary is 'frozen'")
        smallest = (("buffer_size", 0), ("min_corpus", 1), ("refresh_every", 1), ("freeze_after", 0), ("seed", 0))
        for name, least in smallest:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    @property
    def learns(self) -> bool:
        """Is the dictionary extracted from what the policy does?"""
        return self.dictionary in ("learned", "shuffled_order")


class DictionaryLearner:
    """The dictionary in force, the success buffer, and the number of training batches seen."""

    def __init__(self, alphabet_size: int, settings: DictionarySettings) -> None:
        self.settings = settings
        singletons = SkillDictionary(alphabet_size, settings.extraction.max_phrase_length)
        self.dictionary = settings.frozen or singletons
        if self.dictionary.alphabet_size != alphabet_size:
            raise ValueError(
                f"the frozen dictionary has {self.dictionary.alphabet_size} symbols, the alphabet {alphabet_size}"
            )
        self.buffer: deque[bytes] = deque(maxlen=settings.buffer_size)
        self.batches = 0
        self.corpus_size = 0

    def observe(self, successes: Sequence[bytes]) -> None:
        """Take in the successes B+ of one batch, over all processes: extract from B+ and G, then add B+ to G.

        successes: skill strings, each the bytes of its symbols.
        """
        if not self.settings.learns:
            return
        if self.settings.dictionary == "shuffled_order":
            # Shuffled once, on entry: the buffer holds the same strings at every later extraction.
            successes = in_random_order(successes, np.random.default_rng((self.settings.seed, self.batches)))
        corpus = [*self.buffer, *successes]
        self.corpus_size = len(corpus)
        frozen = self.settings.freeze_after is not None and self.batches >= self.settings.freeze_after
        due = self.batches % self.settings.refresh_every == 0 and not frozen
        if due and len(corpus) >= self.settings.min_corpus:
            self.dictionary = extract_dictionary(corpus, self.dictionary.alphabet_size, self.settings.extraction)
        self.buffer.extend(successes)
        self.batches += 1

    def state(self) -> dict[str, Any]:
        """All that changes in training, in types that JSON knows."""
        return {
            "phrases": [list(phrase) for phrase in self.dictionary.phrases],
            "buffer": [string.hex() for string in self.buffer],
            "batches": self.batches,
            "corpus_size": self.corpus_size,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned. Raises ValueError for phrases outside the alphabet or over the cap."""
        if self.settings.learns:
            phrases = tuple(tuple(phrase) for phrase in state["phrases"])
            self.dictionary = SkillDictionary(self.dictionary.alphabet_size, self.dictionary.max_phrase_length, phrases)
        self.buffer = deque(map(bytes.fromhex, state["buffer"]), maxlen=self.settings.buffer_size)
        self.batches, self.corpus_size = int(state["batches"]), int(state["corpus_size"])


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
