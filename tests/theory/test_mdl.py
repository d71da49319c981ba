import itertools
import math
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.dictionary_code import (
    decode_dictionary,
    decode_strings,
    dictionary_code_bits,
    encode_dictionary,
    encode_strings,
)
from theory.mdl import (
    chosen_cap_kraft_sum,
    description_length,
    dictionary_bits,
    dictionary_nats,
    kraft_sum,
    phrase_bits,
)
from theory.segmentation import phrase_counts, segment
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_grammar import SkillGrammar
from theory.skill_strings import SkillDictionary

# Search, Take, Transport, Process, Deliver: search runs, plain deliveries and deliveries with a step of processing.
TOY = SkillGrammar(5, ((0,), (1, 2, 4), (1, 2, 3, 4), (3, 4)), (4.0, 2.0, 1.0, 1.0), 3, 5, noise=0.05)


@st.composite
def dictionaries(draw):
    alphabet, cap = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    phrase = st.lists(st.integers(0, alphabet - 1), min_size=2, max_size=max(cap, 2)).map(tuple)
    return SkillDictionary(alphabet, cap, tuple(draw(st.lists(phrase, max_size=12 if cap > 1 else 0, unique=True))))


def all_dictionaries(alphabet, cap):
    phrases = [p for n in range(2, cap + 1) for p in itertools.product(range(alphabet), repeat=n)]
    for kept in itertools.product((False, True), repeat=len(phrases)):
        yield SkillDictionary(alphabet, cap, tuple(itertools.compress(phrases, kept)))


# --- code lengths -----------------------------------------------------------------------------------------------------


def test_phrase_costs_of_the_specification():
    for alphabet, published in ((5, (6.23, 8.55, 10.87)), (26, (10.99, 15.69, 20.39))):
        assert [phrase_bits(n, alphabet, 4) for n in (2, 3, 4)] == pytest.approx(published, abs=0.005)
    assert phrase_bits(2, 5, 2) == pytest.approx(2 * math.log2(5))
    for length, cap in ((1, 4), (5, 4), (2, 1)):
        with pytest.raises(ValueError, match="stored phrase"):
            phrase_bits(length, 5, cap)


@pytest.mark.parametrize(("alphabet", "cap"), [(2, 1), (1, 4), (2, 2), (3, 2), (2, 3)])
def test_kraft_sum_of_the_default_code_by_enumeration(alphabet, cap):
    total = math.fsum(2 ** -dictionary_bits(d) for d in all_dictionaries(alphabet, cap))
    assert float(kraft_sum(alphabet, cap)) == pytest.approx(total, rel=1e-12)


def test_kraft_sum_of_the_default_code_needs_the_nat():
    assert float(kraft_sum(5, 4)) == pytest.approx(2.711, abs=5e-4)
    for alphabet, cap in itertools.product((1, 2, 5, 9), (2, 3, 4)):
        assert Fraction(1) < kraft_sum(alphabet, cap) < Fraction(math.e)
    assert kraft_sum(7, 1) == 1
    assert dictionary_nats(SkillDictionary(5, 4)) == 1
    assert dictionary_nats(SkillDictionary(5, 4, ((0, 1),))) == pytest.approx(1 + 6.2288 * math.log(2), abs=1e-4)


@pytest.mark.parametrize(("alphabet", "largest"), [(2, 3), (1, 5), (3, 2)])
def test_kraft_sum_over_a_chosen_cap_by_enumeration(alphabet, largest):
    """Each dictionary once, under the cap that stores it cheapest."""
    total = 0.0
    for dictionary in all_dictionaries(alphabet, largest):
        longest = max(map(len, dictionary.phrases), default=1)
        costs = [
            dictionary_bits(SkillDictionary(alphabet, cap, dictionary.phrases)) for cap in range(longest, largest + 1)
        ]
        total += 2 ** -min(costs)
    assert float(chosen_cap_kraft_sum(alphabet, largest)) == pytest.approx(total, rel=1e-12)


def test_choosing_the_cap_costs_little():
    """ln of the sum over caps up to 4 lies half a nat above the one nat of a fixed cap, and below 1 + ln 4."""
    assert 1.4 < math.log(chosen_cap_kraft_sum(5, 4)) < 1.55
    assert math.log(chosen_cap_kraft_sum(5, 4)) < 1 + math.log(4)


def test_description_length_is_its_two_parts():
    dictionary = SkillDictionary(5, 4, ((1, 2, 4), (1, 2)))
    strings = [(0, 1, 2, 4), (1, 2, 3), (1, 2, 3), ()]
    parts = description_length(strings, dictionary)
    assert parts.strings == 4
    assert parts.dictionary_bits == pytest.approx(phrase_bits(3, 5, 4) + phrase_bits(2, 5, 4))
    assert parts.data_bits == pytest.approx((2 + 2 + 2) * math.log2(7))
    assert parts.total_bits == pytest.approx(parts.dictionary_bits + parts.data_bits)


# --- the prefix code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alphabet", "cap"), [(2, 1), (1, 4), (2, 2), (3, 2), (2, 3)])
def test_prefix_code_by_enumeration(alphabet, cap):
    words = [encode_dictionary(d) for d in all_dictionaries(alphabet, cap)]
    assert len(set(words)) == len(words)
    ordered = sorted(words)
    # A beginning of another word would stand right before a word that it begins.
    assert not any(later.startswith(earlier) for earlier, later in itertools.pairwise(ordered))
    assert sum(Fraction(1, 2 ** len(word)) for word in words) <= 1


@settings(deadline=None)
@given(dictionaries(), st.text("01", max_size=8))
def test_decode_undoes_encode(dictionary, behind):
    word = encode_dictionary(dictionary)
    assert len(word) == dictionary_code_bits(dictionary)
    found, rest = decode_dictionary(word + behind, dictionary.alphabet_size, dictionary.max_phrase_length)
    assert (found, rest) == (dictionary, behind)
    for cut in range(len(word)):
        with pytest.raises(ValueError, match="end inside"):
            decode_dictionary(word[:cut], dictionary.alphabet_size, dictionary.max_phrase_length)


@settings(deadline=None)
@given(st.text("01", max_size=40), st.integers(1, 3), st.integers(1, 4))
def test_any_bits_decode_to_their_own_code_word_or_are_refused(bits, alphabet, cap):
    try:
        dictionary, rest = decode_dictionary(bits, alphabet, cap)
    except ValueError:
        return
    assert encode_dictionary(dictionary) + rest == bits


@settings(deadline=None)
@given(st.data())
def test_strings_come_back_and_cost_what_the_data_term_says(data):
    dictionary = data.draw(dictionaries())
    symbol = st.integers(0, dictionary.alphabet_size - 1)
    strings = data.draw(st.lists(st.lists(symbol, max_size=12).map(tuple), max_size=5))
    horizon = data.draw(st.integers(12, 20))
    bits = encode_strings(strings, dictionary, horizon)
    assert decode_strings(bits + "101", dictionary, horizon) == (strings, "101")
    ideal = description_length(strings, dictionary).data_bits + len(strings) * math.log2(horizon + 1)
    count_bits = 2 * math.floor(math.log2(len(strings) + 1)) + 1
    assert len(bits) <= ideal + 2 * len(strings) + count_bits + 1e-9


def test_the_code_refuses_what_it_cannot_write_or_read():
    with pytest.raises(ValueError, match="more than 3 symbols"):
        encode_strings([(0, 1, 0, 1)], SkillDictionary(2, 2), 3)
    with pytest.raises(ValueError, match="0 and 1"):
        decode_dictionary("012", 2, 2)
    # Elias gamma of 6 says five phrases of length 2, but two symbols have four.
    with pytest.raises(ValueError, match="there are 4"):
        decode_dictionary("00110" + "0" * 20, 2, 2)


def test_prefix_code_is_as_short_as_the_corrected_default():
    """On dictionaries of extracted size the real code costs within 12 bits of the default with its nat."""
    rng = np.random.default_rng(0)
    for m in (16, 128, 1024):
        dictionary = extract_dictionary(TOY.draw(m, rng), 5)
        assert abs(dictionary_code_bits(dictionary) - dictionary_nats(dictionary) / math.log(2)) < 12


# --- extraction -------------------------------------------------------------------------------------------------------


def literal_objective(strings, dictionary, options):
    seg = sum(len(segment(s, dictionary)) for s in strings)
    if options.code.startswith("units"):
        storage, data = sum(map(len, dictionary.phrases)), Fraction(seg)
    else:
        storage, data = dictionary_bits(dictionary), seg * math.log2(dictionary.size)
    if options.code.endswith("mean") and strings:
        data /= len(strings)
    return options.storage_weight * storage + data


def literal_extraction(strings, alphabet, options):
    """Section 2.4 word by word."""
    dictionary = SkillDictionary(alphabet, options.max_phrase_length)
    while True:
        counts = Counter()
        for s in strings:
            counts.update(itertools.pairwise(segment(s, dictionary)))
        pairs = [
            (a, b) for a, b in counts if len(a + b) <= options.max_phrase_length and a + b not in dictionary.phrases
        ]
        pairs.sort(key=lambda ab: (-counts[ab], ab))
        now = literal_objective(strings, dictionary, options)
        for a, b in pairs:
            larger = dictionary.with_phrase(a + b)
            if literal_objective(strings, larger, options) < now:
                dictionary = larger
                break
        else:
            return dictionary


@pytest.mark.parametrize("code", ["bits_sum", "bits_mean", "units_sum", "units_mean"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_extraction_equals_the_literal_procedure(code, data):
    options = ExtractionSettings(
        max_phrase_length=data.draw(st.integers(1, 4)),
        code=code,
        # Powers of two keep the literal sums free of rounding.
        storage_weight=data.draw(st.sampled_from((0.0, 0.0625, 0.25, 1.0))),
    )
    alphabet = data.draw(st.integers(2, 4))
    chunk = data.draw(st.lists(st.lists(st.integers(0, alphabet - 1), min_size=1, max_size=4), min_size=1, max_size=3))
    strings = data.draw(
        st.lists(
            st.lists(st.sampled_from(chunk), max_size=4).map(lambda parts: tuple(itertools.chain.from_iterable(parts))),
            max_size=8,
        )
    )
    assert extract_dictionary(strings, alphabet, options) == literal_extraction(strings, alphabet, options)


def test_extraction_equals_the_literal_procedure_on_a_batch():
    for seed, m in enumerate((16, 64, 128)):
        strings = TOY.draw(m, np.random.default_rng(seed))
        options = ExtractionSettings()
        found = extract_dictionary(strings, 5, options)
        assert found == literal_extraction([tuple(s) for s in strings], 5, options)
        assert found.phrases


def test_extraction_where_frequencies_share_cells():
    """26 symbols have more windows of length 4 than the table of frequencies has cells."""
    rng = np.random.default_rng(7)
    routines = [tuple(rng.integers(0, 26, 4).tolist()) for _ in range(3)]
    strings = [sum((routines[i] for i in rng.integers(0, 3, 3)), ()) for _ in range(12)]
    found = extract_dictionary(strings, 26)
    assert found == literal_extraction(strings, 26, ExtractionSettings())
    assert any(len(phrase) == 4 for phrase in found.phrases)


def test_the_routine_of_the_toy_corpus_is_found_and_pays():
    strings = TOY.draw(256, np.random.default_rng(1))
    dictionary = extract_dictionary(strings, 5)
    assert (1, 2, 4) in dictionary.phrases
    assert (
        description_length(strings, dictionary).total_bits
        < description_length(strings, SkillDictionary(5, 4)).total_bits
    )


@pytest.mark.parametrize("m", [16, 128, 512])
def test_mean_objective_is_degenerate(m):
    """reuserl.mean-objective-degenerate: nothing on the toy corpus, but merges on long repetitive strings."""
    strings = TOY.draw(m, np.random.default_rng(m))
    long = [(0, 1) * 20 + (2,)] * m
    for code in ("units_mean", "bits_mean"):
        assert extract_dictionary(strings, 5, ExtractionSettings(code=code)).phrases == ()
        assert extract_dictionary(long, 5, ExtractionSettings(code=code)).phrases
    for code in ("units_sum", "bits_sum"):
        assert extract_dictionary(strings, 5, ExtractionSettings(code=code)).phrases


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), max_size=16).map(tuple), min_size=1, max_size=5))
def test_units_mean_accepts_only_what_saves_more_than_its_length(strings):
    """At unit weight a first phrase p saves over |p| phrases per success on average, and no less is refused."""
    options = ExtractionSettings(code="units_mean")
    single = SkillDictionary(3, 4)
    counts = Counter(itertools.chain.from_iterable(itertools.pairwise(s) for s in strings))
    saves = {p: (phrase_counts(strings, single) - phrase_counts(strings, single.with_phrase(p))).mean() for p in counts}
    assert bool(extract_dictionary(strings, 3, options).phrases) == any(saved > 2 for saved in saves.values())


def test_bits_mean_threshold_is_not_the_phrase_length():
    """With many phrases in C already, one of four symbols pays in bits at fewer than four uses per success.

    The statement "more than |p| times" is exact in units only: in bits the threshold is phrase_bits / log2(|C| + 1)
    plus the price of a larger |C|.
    """
    options = ExtractionSettings(code="bits_mean")
    phrases = tuple(itertools.product(range(5), repeat=2))
    large = SkillDictionary(5, 4, phrases)
    assert options.lowers_objective(large, 4, 20, 20 - 3, 1)
    assert not ExtractionSettings(code="units_mean").lowers_objective(large, 4, 20, 20 - 3, 1)
    assert not options.lowers_objective(large, 4, 20, 20 - 2, 1)


def test_no_merges_without_room_or_data():
    assert extract_dictionary([(0, 1) * 10] * 50, 2, ExtractionSettings(max_phrase_length=1)).phrases == ()
    assert extract_dictionary([], 5).phrases == ()
    assert extract_dictionary([()] * 5, 5).phrases == ()
    # L = 2 leaves nothing to say about the length of a phrase, and one symbol nothing about its symbols.
    assert extract_dictionary([(0, 1) * 10] * 50, 2, ExtractionSettings(max_phrase_length=2)).phrases == ((0, 1),)
    assert extract_dictionary([(0,) * 12] * 50, 1).size == 1


def test_order_and_hash_seed_do_not_matter():
    strings = TOY.draw(128, np.random.default_rng(3))
    assert extract_dictionary(strings[::-1], 5) == extract_dictionary(strings, 5)
    program = (
        "from theory.skill_extraction import extract_dictionary;"
        f"print(extract_dictionary({[tuple(s) for s in strings]!r}, 5).phrases)"
    )
    root = Path(__file__).parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{extract_dictionary(strings, 5).phrases}\n"}


def test_unknown_switches():
    for bad in ({"code": "nats"}, {"storage_weight": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ExtractionSettings(**bad)
    with pytest.raises(ValueError, match="max_phrase_length"):
        extract_dictionary([(0,)], 2, ExtractionSettings(max_phrase_length=0))


# --- the grammar ------------------------------------------------------------------------------------------------------


def test_grammar_without_noise_writes_whole_routines():
    grammar = SkillGrammar(5, ((0, 1), (2, 3, 4)), (3.0, 1.0), 2, 2, noise=0.0)
    drawn = Counter(map(tuple, grammar.draw(8000, np.random.default_rng(0))))
    assert set(drawn) == {a + b for a in grammar.routines for b in grammar.routines}
    assert drawn[0, 1, 0, 1] / 8000 == pytest.approx(9 / 16, abs=0.025)


def test_grammar_inserts_noise_and_stops_at_the_horizon():
    grammar = SkillGrammar(4, ((0,),), (1.0,), 30, 30, noise=0.2, horizon=200)
    strings = grammar.draw(2000, np.random.default_rng(0))
    assert np.mean([len(s) for s in strings]) == pytest.approx(36, abs=0.25)
    # A noise symbol is uniform, so three quarters of the insertions show.
    assert np.mean([np.count_nonzero(np.frombuffer(s, np.uint8)) for s in strings]) == pytest.approx(4.5, abs=0.2)
    short = SkillGrammar(4, ((0, 1),), (1.0,), 5, 9, noise=1.0, horizon=7)
    assert {len(s) for s in short.draw(50, np.random.default_rng(0))} == {7}
    assert short.draw(0, np.random.default_rng(0)) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"routines": ()},
        {"routines": ((),)},
        {"routines": ((7,),)},
        {"weights": (0.0,)},
        {"weights": (1.0, 1.0)},
        {"fewest_routines": 0},
        {"most_routines": 0},
        {"noise": 1.5},
        {"horizon": 0},
        {"alphabet_size": 0},
    ],
)
def test_grammar_refuses_what_is_no_law(bad):
    with pytest.raises(ValueError, match=r"routine|symbol|weight|noise|horizon|alphabet"):
        SkillGrammar(**{"alphabet_size": 4, "routines": ((0, 1),), "weights": (1.0,), **bad})
