"""Fewest phrases of a dictionary that make up a skill string, for many strings at once.

Source: specification of ReuseRL, sections 2.2 (seg) and 2.5 (exact dynamic programme, leftmost longest phrase among
the minima).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.estimators import IntArray
from theory.skill_strings import Phrase, SkillDictionary, SkillString, SkillStrings

NO_WINDOW = -1


def segment(string: SkillString, dictionary: SkillDictionary) -> tuple[Phrase, ...]:
    """The fewest phrases that make up `string`, in order; among those the longest first phrase, then second, and so on.

    Raises ValueError for a symbol outside the alphabet.
    """
    symbols = tuple(int(symbol) for symbol in string)
    table = _table(SkillStrings.pack([symbols], dictionary.alphabet_size), dictionary)
    lengths = table.chosen_lengths()[:, 0]
    phrases, start = [], 0
    while start < len(symbols):
        end = start + int(lengths[start])
        phrases.append(symbols[start:end])
        start = end
    return tuple(phrases)


def phrase_counts(strings: Iterable[SkillString], dictionary: SkillDictionary) -> IntArray:
    """seg(s, C) of each string, shape (strings,): the number of phrases `segment` returns. Errors as `segment`."""
    packed = SkillStrings.pack(strings, dictionary.alphabet_size)
    return np.asarray(_table(packed, dictionary).fewest()[packed.column_of], dtype=np.int64)


def _table(strings: SkillStrings, dictionary: SkillDictionary) -> SegmentationTable:
    longest = max((len(phrase) for phrase in dictionary.phrases), default=1)
    table = SegmentationTable(strings, longest)
    for phrase in dictionary.phrases:
        table.add(table.code(phrase), len(phrase))
    return table


class SegmentationTable:
    """Starts of all phrases in all strings, and the dynamic programme over them. Phrases can be added.

    codes: (max_phrase_length, longest, distinct), the window of length l + 1 from each position read as a number in
    base alphabet_size, or NO_WINDOW where it runs over the end of its string.
    """

    def __init__(self, strings: SkillStrings, max_phrase_length: int) -> None:
        self.strings = strings
        self.max_phrase_length = max_phrase_length
        longest, distinct = strings.symbols.shape
        # A position costs at most `longest`, so blocked steps stay above every real cost without overflow.
        self._cost_type: Any = np.uint8 if longest <= 127 else np.int64
        self._blocked = 255 - longest if longest <= 127 else 1 << 40
        self.inside = np.arange(longest)[:, None] < strings.lengths
        self.codes = _window_codes(strings, max_phrase_length)
        # Cost of the phrase of length l from position i: 1 if it is there. Padding is walked through for nothing.
        self._steps: NDArray[Any] = np.full((longest, max_phrase_length, distinct), self._blocked, self._cost_type)
        self._steps[:, 0] = self.inside

    def code(self, phrase: Phrase) -> int:
        """The number a phrase is known by among those of its length."""
        value = 0
        for symbol in phrase:
            value = value * self.strings.alphabet_size + symbol
        return value

    def add(self, code: int, length: int) -> NDArray[Any]:
        """Allow a phrase; returns what `restore` needs to take it back."""
        before = self._steps[:, length - 1].copy()
        np.copyto(self._steps[:, length - 1], 1, where=self.codes[length - 1] == code)
        return before

    def restore(self, before: NDArray[Any], length: int) -> None:
        """Undo the latest `add` of a phrase of this length."""
        self._steps[:, length - 1] = before

    def fewest(self) -> NDArray[Any]:
        """seg of each distinct string, shape (distinct,)."""
        return self._remaining()[0]

    def total(self) -> int:
        """seg summed over all strings, repeated ones counted."""
        return int(self.fewest() @ self.strings.multiplicities)

    def chosen_lengths(self) -> NDArray[np.uint8]:
        """Length of the phrase taken if a segmentation reaches this position, shape (longest, distinct)."""
        remaining = self._remaining()
        longest = len(self._steps)
        chosen = np.ones(self.inside.shape, dtype=np.uint8)
        for length in range(2, self.max_phrase_length + 1):
            reached = remaining[length : length + longest] + self._steps[:, length - 1]
            np.maximum(chosen, (reached == remaining[:longest]) * np.uint8(length), out=chosen)
        return chosen

    def starts(self, chosen: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Starts of the phrases of the chosen segmentations, shape (longest, distinct)."""
        longest, distinct = chosen.shape
        marks = np.zeros((longest + self.max_phrase_length, distinct), dtype=bool)
        marks[0] = True
        goes = chosen[:, None] == np.arange(1, self.max_phrase_length + 1, dtype=np.uint8)[:, None]
        for position in range(longest):
            goes[position] &= marks[position]
            marks[position + 1 : position + 1 + self.max_phrase_length] |= goes[position]
        return marks[:longest] & self.inside

    def _remaining(self) -> NDArray[Any]:
        """Fewest phrases from each position to the end of its string, shape (longest + max_phrase_length, distinct)."""
        steps = self._steps
        longest, width, distinct = steps.shape
        best = np.zeros((longest + width, distinct), dtype=self._cost_type)
        ways = np.empty((width, distinct), dtype=self._cost_type)
        for position in range(longest - 1, -1, -1):
            np.add(best[position + 1 : position + 1 + width], steps[position], out=ways)
            np.minimum.reduce(ways, axis=0, out=best[position])
        return best


def _window_codes(strings: SkillStrings, max_phrase_length: int) -> NDArray[Any]:
    longest, distinct = strings.symbols.shape
    values = strings.alphabet_size**max_phrase_length
    code_type: Any = np.int16 if values < 1 << 15 else np.int32 if values < 1 << 31 else np.int64
    codes = np.full((max_phrase_length, longest, distinct), NO_WINDOW, dtype=code_type)
    rolling = strings.symbols.astype(code_type)
    positions = np.arange(longest)[:, None]
    for length in range(1, min(max_phrase_length, longest) + 1):
        if length > 1:
            rolling = rolling[:-1] * code_type(strings.alphabet_size) + strings.symbols[length - 1 :].astype(code_type)
        fits = positions[: len(rolling)] + length <= strings.lengths
        np.copyto(codes[length - 1, : len(rolling)], rolling, where=fits)
    return codes


def phrase_of_code(code: int, length: int, alphabet_size: int) -> Phrase:
    """The phrase of this length that `SegmentationTable.code` numbers `code`."""
    return tuple(code // alphabet_size**power % alphabet_size for power in range(length - 1, -1, -1))


@dataclass(frozen=True)
class AdjacentPairs:
    """Pairs of adjacent phrases that fit max_phrase_length, all of shape (pairs,).

    first: length of the first phrase; both: length of the two together; code: of the two together; count: how often
    the pair occurs over all strings, with multiplicity, in the segmentation `segment` returns.
    """

    first: IntArray
    both: IntArray
    code: IntArray
    count: IntArray

    def select(self, which: NDArray[Any]) -> AdjacentPairs:
        """The pairs a boolean mask or an index picks."""
        return AdjacentPairs(self.first[which], self.both[which], self.code[which], self.count[which])


def adjacent_pairs(table: SegmentationTable) -> AdjacentPairs:
    """All pairs of adjacent phrases with their counts. Source: section 2.4, step 3."""
    chosen = table.chosen_lengths()
    distinct = table.inside.shape[1]
    here = np.flatnonzero(table.starts(chosen))
    first = chosen.reshape(-1)[here].astype(np.int64)
    after = here + first * distinct
    # The last phrase of a string has no neighbour: behind it comes padding, or nothing.
    followed = after < chosen.size
    followed[followed] = table.inside.reshape(-1)[after[followed]]
    here, first, after = here[followed], first[followed], after[followed]
    both = first + chosen.reshape(-1)[after]
    fits = both <= table.max_phrase_length
    here, first, both = here[fits], first[fits], both[fits]
    # One number for the three of them, which the limit on dictionaries keeps within 64 bits.
    values = table.strings.alphabet_size**table.max_phrase_length
    key = (both * (table.max_phrase_length + 1) + first) * values + table.codes.reshape(-1)[
        (both - 1) * chosen.size + here
    ]
    found, count = np.unique(np.repeat(key, table.strings.multiplicities[here % distinct]), return_counts=True)
    lengths, code = np.divmod(found, values)
    both, first = np.divmod(lengths, table.max_phrase_length + 1)
    return AdjacentPairs(first, both, code, count)
