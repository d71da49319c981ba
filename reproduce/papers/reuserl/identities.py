"""The claims of ReuseRL that are exact: tried anew whenever a report is written, on many cases, with the code that
training uses. Source: specification of ReuseRL, section 7.1."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Check, Identity
from reproduce.papers.reuserl.bound import DRAWS, SUCCESSES
from reproduce.papers.reuserl.experiment import KEY
from reproduce.papers.reuserl.statistics import bound_coverage
from theory.segmentation import phrase_counts
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_grammar import HOUSEHOLD
from theory.skill_strings import SkillDictionary

FloatArray = NDArray[np.float64]
GROUP = 8
WEIGHTS = (0.1, 0.3, 0.5, 0.9)
TRL_EPSILON = 1e-4
"""What TRL adds to the standard deviation of a group."""


def advantages(rewards: FloatArray, standardised: bool = True, epsilon: float = 0.0) -> FloatArray:
    """Advantages of groups, (groups, G): centred and, if `standardised`, divided by the Bessel-corrected standard
    deviation plus epsilon; 0 in a group without spread."""
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    if not standardised:
        return np.asarray(centred)
    deviation = rewards.std(axis=1, ddof=1, keepdims=True) + epsilon
    return np.asarray(np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0))


def random_strings(generator: np.random.Generator, count: int, alphabet: int, longest: int) -> list[bytes]:
    """Skill strings of 1 .. longest uniform symbols."""
    lengths = generator.integers(1, longest + 1, count)
    return [generator.integers(alphabet, size=length, dtype=np.uint8).tobytes() for length in lengths]


def length_identity() -> Check:
    """Rewards and advantages of SegCost under a dictionary that no phrase can enter, against the length penalty, bit
    for bit, and |s|/L <= seg <= |s| under learned dictionaries."""
    from methods.reuserl import PENALTIES, PenaltySettings
    from methods.reuserl_dictionary import DictionaryLearner, DictionarySettings
    from reproduce.papers.reuserl.dictionaries import ControlledLearner, ControlSettings

    cases = failures = 0
    for alphabet, horizon in ((5, 30), (6, 12), (9, 24), (26, 50)):
        generator = np.random.default_rng((alphabet, horizon))
        strings = random_strings(generator, 500 * GROUP, alphabet, horizon)
        success = generator.random(len(strings)) < 0.6
        capped = DictionarySettings(extraction=ExtractionSettings(max_phrase_length=1), min_corpus=1)
        singletons = ControlledLearner(alphabet, ControlSettings(dictionary="frozen_singletons"))
        learners = [DictionaryLearner(alphabet, capped), singletons]
        for learner in learners:
            learner.observe([string for string, solved in zip(strings, success, strict=True) if solved])
        lengths = np.array([len(string) for string in strings])
        found = [phrase_counts(strings, learner.dictionary) / horizon for learner in learners]
        for penalty, weight in itertools.product(PENALTIES, WEIGHTS):
            settings = PenaltySettings(weight, penalty=penalty)
            wanted = settings.rewards(success, lengths / horizon)
            for costs in found:
                rewards = settings.rewards(success, costs)
                cases, failures = cases + rewards.size, failures + int((rewards != wanted).sum())
                for standardised in (True, False):
                    ours, theirs = (
                        advantages(values.reshape(-1, GROUP), standardised, TRL_EPSILON) for values in (rewards, wanted)
                    )
                    cases, failures = cases + ours.size, failures + int((ours != theirs).sum())
        for cap in (1, 2, 4):
            learned = extract_dictionary(strings, alphabet, ExtractionSettings(max_phrase_length=cap))
            counts = phrase_counts(strings, learned)
            outside = (counts * cap < lengths) | (counts > lengths)
            cases, failures = cases + counts.size, failures + int(outside.sum())
    return Check(cases, failures, (("alphabets", "5, 6, 9 and 26 symbols"), ("penalties", ", ".join(PENALTIES))))


def mean_objective_degenerate() -> Check:
    """Extraction with the average in the place of the sum: no phrase on ordinary strings, phrases on long repetitive
    ones; in units, a phrase exactly where a pair saves more than its length per success."""
    cases = failures = 0
    details = []
    for m in (16, 128, 512):
        ordinary = HOUSEHOLD.draw(m, np.random.default_rng(m))
        repetitive = [bytes((0, 1) * 20 + (2,))] * m
        for code in ("units_mean", "bits_mean"):
            settings = ExtractionSettings(code=code)
            accepted = len(extract_dictionary(ordinary, 5, settings).phrases)
            fired = len(extract_dictionary(repetitive, 5, settings).phrases)
            cases, failures = cases + 2, failures + (accepted > 0) + (fired == 0)
        summed = len(extract_dictionary(ordinary, 5).phrases)
        details.append((f"phrases with the sum in bits, m = {m}", str(summed)))
    generator = np.random.default_rng(0)
    single = SkillDictionary(3, 4)
    for _ in range(200):
        strings = random_strings(generator, int(generator.integers(1, 6)), 3, 16)
        before = phrase_counts(strings, single)
        pairs = {pair for string in strings for pair in itertools.pairwise(string)}
        savings = [float((before - phrase_counts(strings, single.with_phrase(pair))).mean()) for pair in pairs]
        accepts = bool(extract_dictionary(strings, 3, ExtractionSettings(code="units_mean")).phrases)
        cases, failures = cases + 1, failures + (accepts != (max(savings, default=0.0) > 2))
    details.append(("scope", "exact in units; in bits the threshold also depends on the size of the dictionary"))
    return Check(cases, failures, tuple(details))


def lambda_cancels() -> Check:
    """Advantages of groups of successes over lambda: equal when standardised, in proportion to lambda when centred."""
    from methods.reuserl import PenaltySettings

    generator = np.random.default_rng(0)
    horizon = 24
    costs = generator.integers(1, horizon + 1, (500, GROUP)) / horizon
    # Without spread there is no advantage to compare.
    costs = costs[costs.std(axis=1) > 0]
    success = np.ones(costs.size)
    rewards = {
        weight: PenaltySettings(weight).rewards(success, costs.ravel()).reshape(costs.shape) for weight in WEIGHTS
    }
    wanted = -advantages(costs)
    cases = failures = 0
    for weight, values in rewards.items():
        for ours, theirs in ((advantages(values), wanted), (advantages(values, False), -weight * _centred(costs))):
            cases, failures = cases + ours.size, failures + int((~np.isclose(ours, theirs, rtol=1e-6, atol=1e-9)).sum())
    with_epsilon = {weight: advantages(values, epsilon=TRL_EPSILON) for weight, values in rewards.items()}
    change = max(float(np.abs(found - wanted).max()) for found in with_epsilon.values())
    details = (
        ("largest change by TRL's 0.0001 in the denominator, lambda from 0.1 to 0.9", f"{change:.4f}"),
        ("consequence", "with the standard deviation a sweep over lambda moves mixed groups only"),
    )
    return Check(cases, failures, details)


def _centred(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def repetition_cheap() -> Check:
    """Costs of eight symbols: a repeated symbol whose run of four is a phrase costs 2, an alternation of which no
    phrase occurs costs 8, whatever else the dictionary holds."""
    cases = failures = 0
    alphabet = 5
    for first, second in itertools.permutations(range(alphabet), 2):
        others = [symbol for symbol in range(alphabet) if symbol not in (first, second)]
        # Phrases of other symbols, and runs of the first: none occurs in the alternation.
        more = [tuple(others[:2]), (others[0],) * 4, (first, first)]
        for count in range(len(more) + 1):
            dictionary = SkillDictionary(alphabet, 4, ((first,) * 4, *more[:count]))
            repeated, alternating = bytes([first] * 8), bytes([first, second] * 4)
            found = phrase_counts([repeated, alternating], dictionary).tolist()
            cases, failures = cases + 2, failures + (found[0] != 2) + (found[1] != 8)
            plain = phrase_counts([repeated, alternating], SkillDictionary(alphabet, 4)).tolist()
            cases, failures = cases + 2, failures + sum(value != 8 for value in plain)
    return Check(cases, failures, (("the same strings under the length penalty", "8 and 8"),))


def _identity(name: str, statement: str, published: str, test: str, examine: object) -> Identity:
    text, provenance = (published, "this project") if published == "none" else quote(KEY, published)
    return Identity(f"{KEY}.{name}", statement, text, provenance, test, examine)  # type: ignore[arg-type]


IDENTITIES = (
    _identity(
        "length-identity",
        "With single symbols alone the SegCost reward is the round-length reward.",
        "stated in words only (Proposition 1); no number",
        "rewards and advantages compared bit for bit on random strings, outcomes, penalties and lambdas; "
        "|s|/L <= seg <= |s| under learned dictionaries",
        length_identity,
    ),
    _identity(
        "mean-objective-degenerate",
        "Storage plus AVERAGE cost at unit weight accepts no merge unless a pair saves more than its length per "
        "success.",
        "none",
        "accepted phrases on ordinary strings (none) and on long repetitive ones (some), m = 16, 128, 512; the "
        "threshold itself on random strings",
        mean_objective_degenerate,
    ),
    _identity(
        "lambda-cancels",
        "In a group of successes the standardised advantage does not depend on lambda; the centred one is in "
        "proportion.",
        "none",
        "advantages over lambda on random groups of eight successes, to a relative 1e-6, without the term that TRL "
        "adds to the standard deviation",
        lambda_cancels,
    ),
    _identity(
        "repetition-cheap",
        "Uniform repetition compresses, alternating junk does not.",
        "none",
        "seg of SSSSSSSS (2) and SRSRSRSR (8) for all pairs of symbols and several dictionaries that hold SSSS",
        repetition_cheap,
    ),
    Identity(
        f"{KEY}.bound-coverage",
        "For a frozen policy the mean cost of future successes lies below the bound in at least 95 % of batches.",
        *quote(KEY, "stated in words only (Theorem 3); no number"),
        f"{DRAWS} batches of m = {SUCCESSES} from the base's successes in each environment; expected cost under their "
        "law above bound (A) with the nat for Kraft; fails where the exact 95 % lower limit of the share of violations "
        "lies above 5 %",
        bound_coverage,
        reads_records=True,
    ),
)
