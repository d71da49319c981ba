"""Where ReuseRL's dictionary comes from: the success buffer and the re-extraction at each step.

Sources: the paper's section 3.7 and algorithm 1, appendix D. Nothing here needs torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_strings import SkillDictionary


@dataclass(frozen=True)
class DictionarySettings:
    """How the dictionary C is made; the defaults are the paper's.

    extraction: phrase cap L and the switches of the code length. buffer_size: skill strings the FIFO buffer G keeps,
    0 for none. min_corpus: with fewer strings the dictionary stays as it is, at first all singletons.
    Raises ValueError for a senseless setting.
    """

    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    buffer_size: int = 256
    min_corpus: int = 1

    def __post_init__(self) -> None:
        for name, least in (("buffer_size", 0), ("min_corpus", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class DictionaryLearner:
    """The dictionary in force, the success buffer, and the number of training batches seen."""

    learns = True
    """Whether the dictionary is extracted from what the policy does."""

    def __init__(self, alphabet_size: int, settings: DictionarySettings) -> None:
        self.settings = settings
        self.dictionary = SkillDictionary(alphabet_size, settings.extraction.max_phrase_length)
        self.buffer: deque[bytes] = deque(maxlen=settings.buffer_size)
        self.batches = 0
        self.corpus_size = 0

    def observe(self, successes: Sequence[bytes]) -> None:
        """Take in the successes B+ of one batch, over all processes: add them to G, then extract from G.

        successes: skill strings, each the bytes of its symbols. The corpus is B+ itself where G is smaller. A batch
        without a success leaves the dictionary as it is.
        """
        self.buffer.extend(successes)
        corpus = list(self.buffer) if len(successes) <= self.settings.buffer_size else list(successes)
        self.corpus_size = len(corpus)
        if successes and len(corpus) >= self.settings.min_corpus and self.is_due():
            self.dictionary = extract_dictionary(corpus, self.dictionary.alphabet_size, self.settings.extraction)
        self.batches += 1

    def is_due(self) -> bool:
        """Whether this batch gives a dictionary."""
        return True

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
        phrases = tuple(tuple(phrase) for phrase in state["phrases"])
        self.dictionary = SkillDictionary(self.dictionary.alphabet_size, self.dictionary.max_phrase_length, phrases)
        self.buffer = deque(map(bytes.fromhex, state["buffer"]), maxlen=self.settings.buffer_size)
        self.batches, self.corpus_size = int(state["batches"]), int(state["corpus_size"])
