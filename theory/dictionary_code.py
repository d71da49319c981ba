"""A prefix code for dictionaries and for skill strings written with one: encoder, decoder, length.

A dictionary is a set, so for each length 2 .. L the code says how many phrases have it (Elias gamma) and which of the
equally long sets it is (its rank in the combinatorial number system, in a truncated binary code). Alphabet size and L
are known to both sides. Unlike the default code length of `theory.mdl` this is complete as it stands: the Kraft sum is
at most 1 and a bound needs no correction.
Sources: Elias 1975 (gamma); Cover 1973 (enumerative coding); truncated binary: textbook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from theory.segmentation import phrase_of_code, segment
from theory.skill_strings import Phrase, SkillDictionary, SkillString


class BitReader:
    """Reads a text of 0 and 1 from the front; raises ValueError where it ends too early or holds another sign."""

    def __init__(self, bits: str) -> None:
        if not set(bits) <= {"0", "1"}:
            raise ValueError("bits must be a text of 0 and 1")
        self._bits = bits
        self._position = 0

    def take(self, count: int) -> str:
        """The next `count` bits."""
        if self._position + count > len(self._bits):
            raise ValueError("the bits end inside a code word")
        self._position += count
        return self._bits[self._position - count : self._position]

    def rest(self) -> str:
        """The bits that have not been read."""
        return self._bits[self._position :]


def encode_dictionary(dictionary: SkillDictionary) -> str:
    """The code word of a dictionary, a text of 0 and 1. No code word is the beginning of another one."""
    words = []
    for length, codes in _codes_by_length(dictionary).items():
        words.append(_elias_gamma(len(codes) + 1))
        words.append(_truncated_binary(_rank(codes), math.comb(dictionary.alphabet_size**length, len(codes))))
    return "".join(words)


def decode_dictionary(bits: str, alphabet_size: int, max_phrase_length: int) -> tuple[SkillDictionary, str]:
    """The dictionary whose code word `bits` begins with, and the bits behind it.

    Raises ValueError if the bits end inside the code word or name more phrases than there are.
    """
    reader = BitReader(bits)
    phrases: list[Phrase] = []
    for length in range(2, max_phrase_length + 1):
        possible = alphabet_size**length
        count = _read_elias_gamma(reader) - 1
        if count > possible:
            raise ValueError(f"the bits name {count} phrases of length {length}, but there are {possible}")
        rank = _read_truncated_binary(reader, math.comb(possible, count))
        phrases += [phrase_of_code(code, length, alphabet_size) for code in _unrank(rank, count, possible)]
    return SkillDictionary(alphabet_size, max_phrase_length, tuple(phrases)), reader.rest()


def dictionary_code_bits(dictionary: SkillDictionary) -> int:
    """Length of the code word in bits; with `bits * ln 2` as complexity a bound holds without a Kraft correction."""
    return len(encode_dictionary(dictionary))


def encode_strings(strings: Sequence[SkillString], dictionary: SkillDictionary, horizon: int) -> str:
    """Skill strings of at most `horizon` symbols, written with the fewest phrases; a text of 0 and 1.

    Each string takes its number of phrases and then all its phrases as one number, hence less than one bit above
    log2(horizon + 1) + 1 + seg log2|C|. Raises ValueError for a longer string.
    """
    numbers = _phrase_numbers(dictionary)
    words = [_elias_gamma(len(strings) + 1)]
    for string in strings:
        phrases = segment(string, dictionary)
        if sum(map(len, phrases)) > horizon:
            raise ValueError(f"a skill string has more than {horizon} symbols")
        words.append(_truncated_binary(len(phrases), horizon + 1))
        value = 0
        for phrase in phrases:
            value = value * dictionary.size + numbers[phrase]
        words.append(_truncated_binary(value, dictionary.size ** len(phrases)))
    return "".join(words)


def decode_strings(bits: str, dictionary: SkillDictionary, horizon: int) -> tuple[list[Phrase], str]:
    """The strings that `encode_strings` wrote, and the bits behind them. Raises ValueError if the bits end early."""
    reader = BitReader(bits)
    phrases = list(_phrase_numbers(dictionary))
    strings = []
    for _ in range(_read_elias_gamma(reader) - 1):
        count = _read_truncated_binary(reader, horizon + 1)
        value = _read_truncated_binary(reader, dictionary.size**count)
        string: Phrase = ()
        for _ in range(count):
            value, number = divmod(value, dictionary.size)
            string = phrases[number] + string
        strings.append(string)
    return strings, reader.rest()


def _phrase_numbers(dictionary: SkillDictionary) -> dict[Phrase, int]:
    singles = [(symbol,) for symbol in range(dictionary.alphabet_size)]
    return {phrase: number for number, phrase in enumerate([*singles, *dictionary.phrases])}


def _codes_by_length(dictionary: SkillDictionary) -> dict[int, list[int]]:
    codes: dict[int, list[int]] = {length: [] for length in range(2, dictionary.max_phrase_length + 1)}
    for phrase in dictionary.phrases:
        code = 0
        for symbol in phrase:
            code = code * dictionary.alphabet_size + symbol
        codes[len(phrase)].append(code)
    return codes


def _rank(increasing: list[int]) -> int:
    return sum(math.comb(value, place) for place, value in enumerate(increasing, start=1))


def _unrank(rank: int, count: int, possible: int) -> list[int]:
    """The increasing numbers below `possible` that `_rank` maps to `rank`."""
    values = []
    for place in range(count, 0, -1):
        # The largest value whose binomial coefficient does not exceed what is left.
        low, high = 0, possible - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if math.comb(middle, place) <= rank else (low, middle - 1)
        rank -= math.comb(low, place)
        values.append(low)
    return values[::-1]


def _elias_gamma(number: int) -> str:
    binary = f"{number:b}"
    return "0" * (len(binary) - 1) + binary


def _read_elias_gamma(reader: BitReader) -> int:
    zeros = 0
    while reader.take(1) == "0":
        zeros += 1
    return int("1" + reader.take(zeros), 2)


def _truncated_binary(value: int, choices: int) -> str:
    """`value` among 0 .. choices - 1 in the floor or the ceiling of log2(choices) bits."""
    width = choices.bit_length() - 1
    short = (1 << width + 1) - choices
    if value < short:
        return f"{value:0{width}b}" if width else ""
    return f"{value + short:0{width + 1}b}"


def _read_truncated_binary(reader: BitReader, choices: int) -> int:
    width = choices.bit_length() - 1
    short = (1 << width + 1) - choices
    value = int(reader.take(width) or "0", 2)
    if value < short:
        return value
    return 2 * value + int(reader.take(1), 2) - short
