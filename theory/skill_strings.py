"""Skill strings and dictionaries of phrases: what the code lengths and the segmentation work on.

A skill string holds one symbol 0 .. alphabet_size - 1 per action (specification of ReuseRL, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.estimators import IntArray

SkillString = Sequence[int] | NDArray[np.integer]
Phrase = tuple[int, ...]

# Symbols are bytes, which makes packing and hashing of strings fast; the environments have 5 to 26.
LARGEST_ALPHABET = 255


@dataclass(frozen=True)
class SkillDictionary:
    """Phrases a skill string may be written with: every single symbol, and `phrases` of 2 .. max_phrase_length symbols.

    `phrases` may be given in any order and is kept sorted by length, then lexicographically. Raises ValueError for a
    phrase of another length, with a symbol outside the alphabet, or given twice. Source: section 2.2.
    """

    alphabet_size: int
    max_phrase_length: int
    phrases: tuple[Phrase, ...] = ()

    def __post_init__(self) -> None:
        check_alphabet(self.alphabet_size)
        if self.max_phrase_length < 1:
            raise ValueError(f"max_phrase_length must be at least 1, got {self.max_phrase_length}")
        if self.alphabet_size**self.max_phrase_length >= 1 << 48:
            raise ValueError(f"{self.alphabet_size} symbols with phrases of {self.max_phrase_length} exceed 48 bits")
        for phrase in self.phrases:
            if not 2 <= len(phrase) <= self.max_phrase_length:
                raise ValueError(f"phrase {phrase} must have 2 to {self.max_phrase_length} symbols")
            if not all(0 <= symbol < self.alphabet_size for symbol in phrase):
                raise ValueError(f"phrase {phrase} has a symbol outside 0 .. {self.alphabet_size - 1}")
        if len(set(self.phrases)) != len(self.phrases):
            raise ValueError("a phrase is given twice")
        object.__setattr__(self, "phrases", tuple(sorted(self.phrases, key=lambda phrase: (len(phrase), phrase))))

    @property
    def size(self) -> int:
        """Number of phrases, single symbols included: |C|."""
        return self.alphabet_size + len(self.phrases)

    def with_phrase(self, phrase: Phrase) -> SkillDictionary:
        """This dictionary and one phrase more."""
        return SkillDictionary(self.alphabet_size, self.max_phrase_length, (*self.phrases, phrase))


@dataclass(frozen=True)
class SkillStrings:
    """Skill strings packed for batched work: each distinct string once, with its multiplicity.

    symbols: uint8 (longest, distinct), one string a column, padded with 0 behind its end; lengths, multiplicities:
    (distinct,); column_of: (strings,), the column of each string in the order given.
    """

    alphabet_size: int
    symbols: NDArray[np.uint8]
    lengths: IntArray
    multiplicities: IntArray
    column_of: IntArray

    @classmethod
    def pack(cls, strings: Iterable[SkillString], alphabet_size: int) -> SkillStrings:
        """Pack any sequences of symbols (tuples, lists, bytes, arrays); columns are in sorted order of the strings.

        Raises ValueError for a symbol outside the alphabet, or an alphabet that is too large.
        """
        check_alphabet(alphabet_size)
        try:
            keys = [bytes(list(string)) if isinstance(string, np.ndarray) else bytes(string) for string in strings]
        except (ValueError, TypeError) as error:
            raise ValueError(f"a skill string holds whole symbols 0 .. {alphabet_size - 1}: {error}") from None
        distinct = sorted(set(keys))
        column = {key: index for index, key in enumerate(distinct)}
        column_of = np.fromiter((column[key] for key in keys), dtype=np.int64, count=len(keys))
        lengths = np.fromiter(map(len, distinct), dtype=np.int64, count=len(distinct))
        flat = np.frombuffer(b"".join(distinct), dtype=np.uint8)
        if flat.size and flat.max() >= alphabet_size:
            raise ValueError(f"symbol {flat.max()} lies outside 0 .. {alphabet_size - 1}")
        longest = int(lengths.max()) if lengths.size else 0
        padded = np.zeros((len(distinct), longest), dtype=np.uint8)
        padded[np.arange(longest) < lengths[:, None]] = flat
        multiplicities = np.bincount(column_of, minlength=len(distinct))
        return cls(alphabet_size, np.ascontiguousarray(padded.T), lengths, multiplicities, column_of)

    @property
    def count(self) -> int:
        """Number of strings, repeated ones counted as often as they were given."""
        return self.column_of.size


def check_alphabet(alphabet_size: int) -> None:
    """Raise ValueError unless symbols of this alphabet fit a byte."""
    if not 1 <= alphabet_size <= LARGEST_ALPHABET:
        raise ValueError(f"alphabet_size must lie in 1 .. {LARGEST_ALPHABET}, got {alphabet_size}")
