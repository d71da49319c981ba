"""What ReuseRL logs of the successes of a batch (specification of ReuseRL, sections 4.4 and 9, traps 3, 5 and 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from theory.mdl import dictionary_bits
from theory.skill_strings import SkillDictionary, SkillStrings


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
