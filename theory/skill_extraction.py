"""Greedy extraction of a phrase dictionary from skill strings, stopped by description length.

Sources: specification of ReuseRL, section 2.4 (steps 1-6), and the codes of section 6.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.mdl import phrase_bits
from theory.segmentation import AdjacentPairs, SegmentationTable, adjacent_pairs, phrase_of_code
from theory.skill_strings import Phrase, SkillDictionary, SkillString, SkillStrings

CODES = ("bits_sum", "bits_mean", "units_sum", "units_mean")
# Cells of the table of window frequencies: small enough for the cache, large enough for few collisions.
FREQUENCY_CELLS = 1 << 16


@dataclass(frozen=True)
class ExtractionSettings:
    """Settings of the search for phrases, and of the price that a phrase must pay.

    max_phrase_length: L. code: storage and data in bits or in units (symbols stored, phrases written), with the SUM
    over strings or the mean. storage_weight: coefficient of the storage term. Raises ValueError for an unknown code.
    """

    max_phrase_length: int = 4
    code: str = "bits_sum"
    storage_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"code must be one of {', '.join(CODES)}, got {self.code!r}")
        if not (math.isfinite(self.storage_weight) and self.storage_weight >= 0):
            raise ValueError(f"storage_weight must be at least 0, got {self.storage_weight}")

    def lowers_objective(
        self, dictionary: SkillDictionary, phrase_length: int, before: int, after: ArrayLike, strings: int
    ) -> NDArray[np.bool_]:
        """True where one more phrase lowers the objective, if it takes the phrases written from `before` to `after`.

        Shape of `after`. The answer never turns from yes to no as `after` falls.
        """
        # Multiplied by the number of strings rather than divided, so that units stay whole and ties exact.
        storage = self.storage_weight * (strings if self.code.endswith("mean") else 1)
        if self.code.startswith("units"):
            return np.asarray(storage * phrase_length + np.asarray(after) < before)
        stored = phrase_bits(phrase_length, dictionary.alphabet_size, dictionary.max_phrase_length)
        bits = storage * stored + np.asarray(after) * math.log2(dictionary.size + 1)
        return np.asarray(bits < before * math.log2(dictionary.size))


def extract_dictionary(
    strings: Iterable[SkillString], alphabet_size: int, settings: ExtractionSettings | None = None
) -> SkillDictionary:
    """The dictionary that greedy pair merging finds in `strings`.

    Starting from single symbols, the strings are segmented, adjacent phrases are ranked by frequency (ties by the
    phrases, lexicographically), and the first pair whose concatenation lowers the objective is added; this repeats
    until none does. The result depends neither on the order of the strings nor on hashing. Raises ValueError for a
    symbol outside the alphabet. Source: section 2.4.
    """
    settings = settings or ExtractionSettings()
    dictionary = SkillDictionary(alphabet_size, settings.max_phrase_length)
    packed = SkillStrings.pack(strings, alphabet_size)
    table = SegmentationTable(packed, settings.max_phrase_length)
    frequencies = _window_frequencies(table)
    total = table.total()
    while True:
        accepted = _next_phrase(table, dictionary, settings, frequencies, total)
        if accepted is None:
            return dictionary
        phrase, total = accepted
        dictionary = dictionary.with_phrase(phrase)


def _next_phrase(
    table: SegmentationTable,
    dictionary: SkillDictionary,
    settings: ExtractionSettings,
    frequencies: NDArray[np.int64],
    total: int,
) -> tuple[Phrase, int] | None:
    """The phrase to add and the phrases written with it, or None; a phrase that is returned stays in the table."""
    strings, alphabet = table.strings.count, table.strings.alphabet_size
    # Two adjacent phrases never concatenate to one of the dictionary: a segmentation would have used that one.
    pairs = adjacent_pairs(table)
    pairs = pairs.select(_may_pay(pairs, dictionary, settings, frequencies, total, strings))
    refused = set()
    for phrase in _ranking(pairs, alphabet):
        # Several pairs may concatenate to one phrase.
        if phrase in refused:
            continue
        refused.add(phrase)
        before = table.add(table.code(phrase), len(phrase))
        after = table.total()
        if settings.lowers_objective(dictionary, len(phrase), total, after, strings):
            return phrase, after
        table.restore(before, len(phrase))
    return None


def _ranking(pairs: AdjacentPairs, alphabet_size: int) -> list[Phrase]:
    """The concatenated phrase of each pair, most frequent first, ties lexicographically by the two phrases."""
    ranked = []
    columns = (pairs.first.tolist(), pairs.both.tolist(), pairs.code.tolist(), pairs.count.tolist())
    for first, both, code, count in zip(*columns, strict=True):
        phrase = phrase_of_code(code, both, alphabet_size)
        ranked.append((-count, phrase[:first], phrase[first:]))
    return [first + second for _, first, second in sorted(ranked)]


def _may_pay(
    pairs: AdjacentPairs,
    dictionary: SkillDictionary,
    settings: ExtractionSettings,
    frequencies: NDArray[np.int64],
    total: int,
    strings: int,
) -> NDArray[np.bool_]:
    """True for pairs that could lower the objective, shape (pairs,); the others are refused without a trial.

    Each use of a new phrase saves at most one, so its frequency bounds the saving.
    """
    fewest = total - frequencies[pairs.both - 1, pairs.code % frequencies.shape[1]]
    pays = np.zeros(pairs.count.shape, dtype=bool)
    for length in range(2, settings.max_phrase_length + 1):
        here = pairs.both == length
        pays[here] = settings.lowers_objective(dictionary, length, total, fewest[here], strings)
    return pays


def _window_frequencies(table: SegmentationTable) -> NDArray[np.int64]:
    """At least how often each window code occurs, shape (max_phrase_length, cells), read at code modulo cells.

    Codes that share a cell are counted together, which keeps the number an upper bound.
    """
    cells = min(table.strings.alphabet_size**table.max_phrase_length, FREQUENCY_CELLS)
    frequencies = np.zeros((table.max_phrase_length, cells), dtype=np.int64)
    weights = np.broadcast_to(table.strings.multiplicities, table.inside.shape)
    for index, codes in enumerate(table.codes):
        fits = codes >= 0
        frequencies[index] = np.bincount(codes[fits] % cells, weights=weights[fits], minlength=cells)
    return frequencies
