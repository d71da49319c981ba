"""ReuseRL's dictionary: the success buffer, the re-extraction at each step, and what is logged of both.

Sources: the paper's section 3.7 and algorithm 1, appendix D. Nothing here needs torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.mdl import dictionary_bits
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_strings import SkillDictionary, SkillStrings


@dataclass(frozen=True)
class DictionarySettings:
    """Settings of the dictionary C; the defaults are the paper's.

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
    """True where the dictionary is extracted from what the policy does."""

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
        """Say if this batch gives a dictionary."""
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


def longest_runs(strings: SkillStrings) -> NDArray[np.int64]:
    """Longest run of one symbol in each distinct string, shape (distinct,); 0 for an empty one."""
    longest = np.zeros(strings.lengths.shape, dtype=np.int64)
    run = np.zeros_like(longest)
    before = np.full(strings.lengths.shape, -1)
    for position, symbols in enumerate(strings.symbols.astype(np.int64)):
        run = np.where(symbols == before, run + 1, 1)
        longest = np.where(position < strings.lengths, np.maximum(longest, run), longest)
        before = symbols
    return longest


def dictionary_metrics(dictionary: SkillDictionary, corpus_size: int) -> dict[str, float]:
    """Number of phrases of two symbols and more, |C|, bits to store the dictionary, strings it was drawn from."""
    return {
        "reuse/phrases": float(len(dictionary.phrases)),
        "reuse/dictionary_size": float(dictionary.size),
        "reuse/dictionary_bits": dictionary_bits(dictionary),
        "reuse/corpus": float(corpus_size),
    }


def success_metrics(
    strings: Sequence[bytes], counts: NDArray[np.int64], alphabet_size: int, horizon: int
) -> dict[str, float]:
    """Of the successes: mean seg/T, mean seg, mean length, distinct strings, their entropy in bits, longest run.

    strings: skill strings, at least one; counts: seg of each, shape (strings,). The longest run of one symbol is the
    mean over successes: repeating a symbol is nearly free once its repetition is a phrase.
    """
    packed = SkillStrings.pack(strings, alphabet_size)
    shares = packed.multiplicities / packed.count
    return {
        "reuse/success_cost": float(counts.mean()) / horizon,
        "reuse/success_segments": float(counts.mean()),
        "reuse/success_length": float(packed.lengths @ shares),
        "reuse/distinct_successes": float(packed.lengths.size),
        "reuse/success_entropy": float(-(shares * np.log2(shares)).sum()),
        "reuse/longest_run": float(longest_runs(packed) @ shares),
    }
