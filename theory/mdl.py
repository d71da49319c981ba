"""Two-part description length of skill strings: what a dictionary costs, and what the strings cost written with it.

The code lengths are the default of the specification of ReuseRL, sections 2.3 and 3.2; the weights of the paper are
not public. `theory.dictionary_code` holds an encoder and decoder, `theory.skill_extraction` the search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from theory.segmentation import phrase_counts
from theory.skill_strings import SkillDictionary, SkillString

# The default code does not say how many phrases there are, so its Kraft sum reaches e: one nat more makes it a prior.
KRAFT_NATS = 1.0


@dataclass(frozen=True)
class DescriptionLength:
    """Bits of a dictionary, bits of the strings written with it, and the number of strings."""

    dictionary_bits: float
    data_bits: float
    strings: int

    @property
    def total_bits(self) -> float:
        return self.dictionary_bits + self.data_bits


def phrase_bits(length: int, alphabet_size: int, max_phrase_length: int) -> float:
    """Bits to store one phrase of 2 .. max_phrase_length symbols: its symbols and its length.

    Raises ValueError for another length. Source: section 2.3, L_dict.
    """
    if not 2 <= length <= max_phrase_length:
        raise ValueError(f"a stored phrase has 2 to {max_phrase_length} symbols, got {length}")
    return length * math.log2(alphabet_size) + math.log2(max_phrase_length - 1)


def dictionary_bits(dictionary: SkillDictionary) -> float:
    """L_dict(C): bits to store the phrases of two symbols and more, one after the other. Source: section 2.3."""
    alphabet, cap = dictionary.alphabet_size, dictionary.max_phrase_length
    return math.fsum(phrase_bits(len(phrase), alphabet, cap) for phrase in dictionary.phrases)


def dictionary_nats(dictionary: SkillDictionary) -> float:
    """Complexity -ln P(C) of the prior that the default code gives, in nats: L_dict ln 2 + 1.

    The one nat keeps the prior's total mass at or below 1, which the bounds of `theory.pac_bayes` need. Source:
    section 3.2, Kraft correction.
    """
    return dictionary_bits(dictionary) * math.log(2) + KRAFT_NATS


def kraft_sum(alphabet_size: int, max_phrase_length: int) -> Fraction:
    """Exact sum of 2^-L_dict(C) over every dictionary (as a set of phrases): the product over phrases of 1 + 2^-bits.

    Below e for all arguments, since the phrases alone have a complete code; 1 where no phrase can be stored.
    Source: section 3.2.
    """
    total = Fraction(1)
    for length in range(2, max_phrase_length + 1):
        phrases = alphabet_size**length
        total *= (1 + Fraction(1, phrases * (max_phrase_length - 1))) ** phrases
    return total


def chosen_cap_kraft_sum(alphabet_size: int, largest_cap: int) -> Fraction:
    """Exact sum of 2^-L_dict(C) when each dictionary is stored under the cap L <= largest_cap that makes it cheapest.

    That is the longest phrase it holds. The logarithm is what a bound must add, instead of the one nat, if the cap was
    chosen after the data were seen; trying `largest_cap` caps by a union bound costs 1 + ln(largest_cap) nats.
    Source: own derivation.
    """
    total = Fraction(1)
    for cap in range(2, largest_cap + 1):
        longest = alphabet_size**cap
        # Dictionaries whose longest phrase has `cap` symbols: all under this cap, less those without such a phrase.
        without = kraft_sum(alphabet_size, cap) / (1 + Fraction(1, longest * (cap - 1))) ** longest
        total += kraft_sum(alphabet_size, cap) - without
    return total


def description_length(strings: Iterable[SkillString], dictionary: SkillDictionary) -> DescriptionLength:
    """L_BDL(T, C) = L_dict(C) + sum of seg(s, C) log2|C|, in bits.

    strings: sequences of symbols. Raises ValueError for a symbol outside the alphabet. Source: section 2.3.
    """
    counts = phrase_counts(strings, dictionary)
    return DescriptionLength(dictionary_bits(dictionary), float(counts.sum()) * math.log2(dictionary.size), counts.size)
