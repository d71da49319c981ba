import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.segmentation import SegmentationTable, adjacent_pairs, phrase_counts, segment
from theory.skill_strings import SkillDictionary, SkillStrings


@st.composite
def dictionaries(draw, largest_alphabet=3, largest_cap=4, most_phrases=6):
    alphabet = draw(st.integers(1, largest_alphabet))
    cap = draw(st.integers(1, largest_cap))
    phrase = st.lists(st.integers(0, alphabet - 1), min_size=2, max_size=max(cap, 2)).map(tuple)
    phrases = draw(st.lists(phrase, max_size=most_phrases if cap > 1 else 0, unique=True))
    return SkillDictionary(alphabet, cap, tuple(phrases))


def strings_over(alphabet, longest=9):
    return st.lists(st.integers(0, alphabet - 1), max_size=longest).map(tuple)


def every_segmentation(string, dictionary):
    """All ways to write the string, by trying every set of cuts."""
    known = {(symbol,) for symbol in range(dictionary.alphabet_size)} | set(dictionary.phrases)
    for cuts in itertools.product((False, True), repeat=max(len(string) - 1, 0)):
        ends = [place + 1 for place, cut in enumerate(cuts) if cut] + [len(string)]
        parts = tuple(string[start:end] for start, end in zip([0, *ends], ends, strict=False))
        if all(part in known for part in parts if part):
            yield tuple(part for part in parts if part)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_dynamic_programme_equals_enumeration(data):
    """Fewest phrases, and among those the longest first, then the longest second, and so on."""
    dictionary = data.draw(dictionaries())
    strings = data.draw(st.lists(strings_over(dictionary.alphabet_size), max_size=4))
    for string, count in zip(strings, phrase_counts(strings, dictionary), strict=True):
        best = min(every_segmentation(string, dictionary), key=lambda parts: (len(parts), [-len(p) for p in parts]))
        assert segment(string, dictionary) == best
        assert count == len(best)


def test_the_longest_match_is_not_the_minimum():
    dictionary = SkillDictionary(4, 4, ((0, 1), (1, 2, 3)))
    assert segment((0, 1, 2, 3), dictionary) == ((0,), (1, 2, 3))


def test_ties_take_the_longest_phrase_first():
    dictionary = SkillDictionary(3, 3, ((0, 1), (1, 2), (0, 1, 2), (2, 0)))
    assert segment((0, 1, 2, 0), dictionary) == ((0, 1, 2), (0,))


def test_length_identity_and_bounds_of_the_cost():
    """reuserl.length-identity: singletons alone cost the length (Proposition 1); |s|/L <= seg <= |s| in general."""
    rng = np.random.default_rng(0)
    strings = [tuple(rng.integers(0, 5, length)) for length in rng.integers(0, 51, 4000)]
    lengths = np.array([len(string) for string in strings])
    for cap in (1, 4):
        np.testing.assert_array_equal(phrase_counts(strings, SkillDictionary(5, cap)), lengths)
    phrases = {tuple(rng.integers(0, 5, length).tolist()) for length in rng.integers(2, 5, 60)}
    counts = phrase_counts(strings, SkillDictionary(5, 4, tuple(phrases)))
    assert np.all(counts <= lengths)
    assert np.all(4 * counts >= lengths)
    assert counts.sum() < 0.7 * lengths.sum()


def test_repetition_is_cheap_and_alternation_is_not():
    """reuserl.repetition-cheap."""
    dictionary = SkillDictionary(5, 4, ((0, 0), (0, 0, 0, 0), (1, 2, 3)))
    assert phrase_counts([(0,) * 8, (0, 2) * 4], dictionary).tolist() == [2, 8]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pair_counts_equal_a_count_over_segmentations(data):
    dictionary = data.draw(dictionaries())
    cap = dictionary.max_phrase_length
    strings = data.draw(st.lists(strings_over(dictionary.alphabet_size), max_size=6))
    expected = {}
    for string in strings:
        for first, second in itertools.pairwise(segment(string, dictionary)):
            if len(first + second) <= cap:
                expected[first, second] = expected.get((first, second), 0) + 1
    table = SegmentationTable(SkillStrings.pack(strings, dictionary.alphabet_size), cap)
    for phrase in dictionary.phrases:
        table.add(table.code(phrase), len(phrase))
    pairs = adjacent_pairs(table)
    columns = zip(pairs.first.tolist(), pairs.both.tolist(), pairs.code.tolist(), pairs.count.tolist(), strict=True)
    found = {(first, both, code): count for first, both, code, count in columns}
    assert found == {(len(a), len(a + b), table.code(a + b)): count for (a, b), count in expected.items()}


def test_long_strings_leave_the_narrow_counters():
    """127 symbols are the most that fit a byte; both sides of the edge agree with a plain count."""
    for length in (126, 127, 128, 600):
        dictionary = SkillDictionary(2, 2, ((0, 1),))
        assert phrase_counts([(0, 1) * (length // 2) + (0,) * (length % 2), (1,) * length], dictionary).tolist() == [
            length // 2 + length % 2,
            length,
        ]


def test_packing_keeps_order_and_multiplicity():
    strings = [(1, 0), (0,), np.array([1, 0]), b"\x01", [], (0,)]
    packed = SkillStrings.pack(strings, 2)
    assert packed.count == 6
    assert packed.multiplicities.sum() == 6
    assert packed.lengths[packed.column_of].tolist() == [2, 1, 2, 1, 0, 1]
    assert packed.column_of[0] == packed.column_of[2]
    assert phrase_counts([], SkillDictionary(2, 4)).shape == (0,)


def test_bad_input():
    with pytest.raises(ValueError, match="outside"):
        phrase_counts([(0, 5)], SkillDictionary(5, 4))
    for bad in ((0, -1), (0, 300), (0.5,)):
        with pytest.raises(ValueError, match="skill string"):
            phrase_counts([bad], SkillDictionary(5, 4))
    for phrases, message in (((0,),), "must have"), (((0, 7),), "outside"), (((0, 1), (0, 1)), "twice"):
        with pytest.raises(ValueError, match=message):
            SkillDictionary(5, 4, phrases)
    for alphabet, cap, message in ((0, 4, "alphabet"), (256, 4, "alphabet"), (5, 0, "max_phrase"), (26, 14, "48 bits")):
        with pytest.raises(ValueError, match=message):
            SkillDictionary(alphabet, cap)


def test_fewest_phrases_equal_brute_force_on_ten_thousand_cases():
    """Every composition of each string is tried: 500 random dictionaries, 20 random strings each."""
    rng = np.random.default_rng(2605)
    cases = 0
    for _ in range(500):
        alphabet, cap = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        lengths = rng.integers(2, cap + 1, rng.integers(0, 8)) if cap > 1 else ()
        phrases = {tuple(rng.integers(0, alphabet, length).tolist()) for length in lengths}
        dictionary = SkillDictionary(alphabet, cap, tuple(sorted(phrases)))
        strings = [tuple(rng.integers(0, alphabet, length).tolist()) for length in rng.integers(0, 8, 20)]
        fewest = [min(len(parts) for parts in every_segmentation(string, dictionary)) for string in strings]
        assert phrase_counts(strings, dictionary).tolist() == fewest
        cases += len(strings)
    assert cases == 10_000
