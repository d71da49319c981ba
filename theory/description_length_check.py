"""Do the bounds of `theory.pac_bayes` hold, and how loose are they, where the law of the skill strings is known?

Each draw extracts a dictionary from a batch of a `SkillGrammar` and compares the mean cost seg / T of fresh strings of
the evaluated policy with every bound. Settings that break an assumption are part of the check: a buffer that mixes
policies, a cap chosen for the smallest bound, a dictionary that is not paid for. Source: specification of ReuseRL,
sections 3.2, 3.3 and claim reuserl.bound-coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from theory.dictionary_code import dictionary_code_bits
from theory.mdl import KRAFT_NATS, dictionary_bits
from theory.pac_bayes import (
    catoni_bound,
    mcallester_maurer_bound,
    occam_chernoff_bound,
    occam_hoeffding_bound,
    seeger_langford_bound,
)
from theory.resampling import FloatArray
from theory.segmentation import phrase_counts
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_grammar import SkillGrammar
from theory.skill_strings import SkillDictionary

BOUNDS: dict[str, Callable[..., FloatArray]] = {
    "A": occam_hoeffding_bound,
    "B": mcallester_maurer_bound,
    "C": seeger_langford_bound,
    "D": catoni_bound,
    "E": occam_chernoff_bound,
}
# (A) with the length of the real prefix code in the place of the default code and its nat.
PREFIX_CODE = "A, prefix code"


@dataclass(frozen=True)
class CheckSetting:
    """One law, batch size and way to use the bound.

    policy: the evaluated policy, which writes `successes` strings of the corpus; older_policy: writes another
    older_successes of them (a buffer that mixes policies; None and 0 keep the assumption). caps: phrase caps L; of
    more than one, the one with the smallest bound (A) is taken and the choice not paid for. pays_dictionary: False
    leaves the description length out, as if the dictionary had been fixed before the data. fresh: strings of the
    evaluated policy that estimate the true cost.
    """

    name: str
    policy: SkillGrammar
    successes: int
    older_policy: SkillGrammar | None = None
    older_successes: int = 0
    caps: tuple[int, ...] = (4,)
    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    pays_dictionary: bool = True
    fresh: int = 1000
    delta: float = 0.05

    def __post_init__(self) -> None:
        if self.successes < 0 or self.older_successes < 0 or self.successes + self.older_successes < 1:
            raise ValueError("the corpus needs at least one string")
        if (self.older_policy is None) != (self.older_successes == 0):
            raise ValueError("older_policy and older_successes go together")
        older = self.older_policy or self.policy
        if (older.alphabet_size, older.horizon) != (self.policy.alphabet_size, self.policy.horizon):
            raise ValueError("both policies need one alphabet and one horizon")
        if not self.caps or self.fresh < 1:
            raise ValueError("a setting needs a cap and fresh strings")


@dataclass(frozen=True)
class Draw:
    """What one batch gives: the mean cost on it and on fresh strings (both seg / T), the dictionary and the bounds."""

    dictionary: SkillDictionary
    batch_cost: float
    fresh_cost: float
    bounds: dict[str, float]


@dataclass(frozen=True)
class CheckRow:
    """One bound in one setting over all draws.

    Costs and bounds are means over draws of values in units of seg / T. violation_low and violation_high are the exact
    95 % (Clopper-Pearson) limits of the share of draws whose fresh cost exceeds the bound.
    """

    setting: str
    bound: str
    corpus: int
    draws: int
    phrases: float
    dictionary_bits: float
    batch_cost: float
    fresh_cost: float
    bound_value: float
    violations: int
    violation_low: float
    violation_high: float
    delta: float

    @property
    def coverage(self) -> float:
        """Share of draws in which the bound held."""
        return 1 - self.violations / self.draws

    @property
    def refuted(self) -> bool:
        """Do more draws violate the bound than delta allows, beyond chance?"""
        return self.violation_low > self.delta

    @property
    def looseness(self) -> float:
        """Bound divided by the fresh cost."""
        return self.bound_value / self.fresh_cost


def draw_once(setting: CheckSetting, generator: np.random.Generator) -> Draw:
    """One batch, its dictionary and bounds, and the cost of fresh strings of the evaluated policy."""
    corpus = setting.policy.draw(setting.successes, generator)
    if setting.older_policy is not None:
        corpus += setting.older_policy.draw(setting.older_successes, generator)
    dictionary, batch_cost, bounds = min(
        (_bounded(setting, cap, corpus) for cap in setting.caps), key=lambda candidate: candidate[2]["A"]
    )
    fresh = phrase_counts(setting.policy.draw(setting.fresh, generator), dictionary, setting.extraction.segmenter)
    return Draw(dictionary, batch_cost, float(fresh.mean()) / setting.policy.horizon, bounds)


def _bounded(setting: CheckSetting, cap: int, corpus: list[bytes]) -> tuple[SkillDictionary, float, dict[str, float]]:
    extraction = replace(setting.extraction, max_phrase_length=cap)
    dictionary = extract_dictionary(corpus, setting.policy.alphabet_size, extraction)
    cost = float(phrase_counts(corpus, dictionary, extraction.segmenter).mean()) / setting.policy.horizon
    paid = float(setting.pays_dictionary)
    nats = paid * (dictionary_bits(dictionary) * math.log(2) + KRAFT_NATS)
    values = {name: float(bound(cost, nats, len(corpus), setting.delta)) for name, bound in BOUNDS.items()}
    nats = paid * dictionary_code_bits(dictionary) * math.log(2)
    values[PREFIX_CODE] = float(occam_hoeffding_bound(cost, nats, len(corpus), setting.delta))
    return dictionary, cost, values


def check_bounds(setting: CheckSetting, draws: int, generator: np.random.Generator) -> tuple[CheckRow, ...]:
    """Coverage and size of every bound over `draws` independent batches; one row a bound.

    Raises ValueError for fewer than one draw.
    """
    from statsmodels.stats.proportion import proportion_confint

    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    made = [draw_once(setting, generator) for _ in range(draws)]
    batch, fresh = (np.array([getattr(draw, name) for draw in made]) for name in ("batch_cost", "fresh_cost"))
    rows = []
    for name in (*BOUNDS, PREFIX_CODE):
        values = np.array([draw.bounds[name] for draw in made])
        violations = int(np.sum(fresh > values))
        low, high = proportion_confint(violations, draws, alpha=0.05, method="beta")
        rows.append(
            CheckRow(
                setting=setting.name,
                bound=name,
                corpus=setting.successes + setting.older_successes,
                draws=draws,
                phrases=float(np.mean([len(draw.dictionary.phrases) for draw in made])),
                dictionary_bits=float(np.mean([dictionary_bits(draw.dictionary) for draw in made])),
                batch_cost=float(batch.mean()),
                fresh_cost=float(fresh.mean()),
                bound_value=float(values.mean()),
                violations=violations,
                violation_low=float(low),
                violation_high=float(high),
                delta=setting.delta,
            )
        )
    return tuple(rows)


# Search, take, transport, process, deliver. The policy after some training, and what it was before: either close to
# it, or one that knew a short cut which the present tasks no longer allow.
HOUSEHOLD = SkillGrammar(5, ((0,), (1, 2, 4), (1, 2, 3, 4), (3, 4)), (4.0, 2.0, 1.0, 1.0), 3, 6, noise=0.05)
SLIGHTLY_OLDER = replace(HOUSEHOLD, fewest_routines=2, most_routines=5)
SHORT_CUT = replace(HOUSEHOLD, routines=((1, 4),), weights=(1.0,), fewest_routines=1, most_routines=1, noise=0.0)
LONG_WAY = replace(HOUSEHOLD, fewest_routines=18, most_routines=24, noise=0.9)
# No routine at all: every string is random, so whatever a dictionary saves on the batch is learned by heart.
UNSTRUCTURED = SkillGrammar(100, tuple((symbol,) for symbol in range(100)), (1.0,) * 100, 50, 50, noise=0.0)


def standard_settings(fresh: int = 1000) -> tuple[CheckSetting, ...]:
    """The settings of the table: assumptions kept over m and dictionary length, then broken, mildly and badly.

    An unpaid cap can do little harm: by `theory.mdl.chosen_cap_kraft_sum` the share of violations stays below delta
    times that sum divided by e, which is 1.66 delta for caps up to 4 and 2.06 delta up to 6 (5 symbols).
    """
    kept = [CheckSetting(f"frozen policy, m = {m}", HOUSEHOLD, m, fresh=fresh) for m in (32, 128, 512, 2048)]
    # The same law and batch with dictionaries of different length, from dear storage to nearly free one.
    for code, weight in (("bits_sum", 64.0), ("bits_sum", 16.0), ("units_sum", 1.0), ("units_sum", 0.125)):
        extraction = ExtractionSettings(code=code, storage_weight=weight)
        kept.append(
            CheckSetting(f"frozen policy, {code}, weight {weight}", HOUSEHOLD, 512, extraction=extraction, fresh=fresh)
        )
    mild = CheckSetting("buffer of a slightly older policy", HOUSEHOLD, 128, SLIGHTLY_OLDER, 384, fresh=fresh)
    short_cut = CheckSetting("buffer of a short cut no longer taken", LONG_WAY, 16, SHORT_CUT, 2032, fresh=fresh)
    caps = CheckSetting("cap chosen and not paid for", HOUSEHOLD, 128, caps=(1, 2, 3, 4, 5, 6), fresh=fresh)
    large_caps = replace(caps, name="cap chosen and not paid for, m = 2048", successes=2048)
    memorised = CheckSetting(
        "dictionary not paid for",
        UNSTRUCTURED,
        8,
        extraction=ExtractionSettings(code="units_sum", storage_weight=0.0),
        pays_dictionary=False,
        fresh=fresh,
    )
    paid = replace(memorised, name="the same dictionary paid for", pays_dictionary=True)
    return (*kept, mild, short_cut, caps, large_caps, memorised, paid)


def bound_table(
    draws: int = 200, seed: int = 0, settings: Iterable[CheckSetting] | None = None
) -> tuple[CheckRow, ...]:
    """`check_bounds` of every setting, each from its own random stream, so that settings can be added or left out."""
    rows: list[CheckRow] = []
    for setting in standard_settings() if settings is None else settings:
        stream = np.random.default_rng([seed, *setting.name.encode()])
        rows += check_bounds(setting, draws, stream)
    return tuple(rows)
