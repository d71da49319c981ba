"""Coverage of the bound on the cost of future successes, for the frozen base (claim reuserl.bound-coverage).

The base never changes, so its recorded successes have one law. Taking that empirical law as the truth makes the
expected cost of fresh successes exact: a sum over the distinct strings. Each draw takes m = 128 successes from it,
independently, extracts a dictionary from them alone (no buffer) and asks whether the true expected cost lies below the
bound. Source: specification of ReuseRL, sections 3.2 and 7.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from reproduce.claims.records import MethodRecords
from reproduce.papers.reuserl.measures import ALPHABETS, drawn_law, encoded, strings_of
from theory.mdl import dictionary_bits, dictionary_nats
from theory.pac_bayes import occam_chernoff_bound, occam_hoeffding_bound
from theory.resampling import FloatArray
from theory.segmentation import phrase_counts
from theory.skill_extraction import extract_dictionary

DRAWS, SUCCESSES, DELTA = 200, 128, 0.05


@dataclass(frozen=True)
class BoundDraws:
    """Of each draw, (draws,): mean seg/T on the batch, true expected seg/T, bound (A) and bound (E) with the nat,
    bits of the dictionary, and its phrases of two symbols and more."""

    batch_cost: FloatArray
    true_cost: FloatArray
    bound: FloatArray
    tighter_bound: FloatArray
    dictionary_bits: FloatArray
    phrases: FloatArray
    distinct: int
    """Distinct strings of the law."""

    @property
    def violations(self) -> int:
        """Draws whose expected cost exceeds bound (A)."""
        return int((self.true_cost > self.bound).sum())

    @property
    def limits(self) -> tuple[float, float]:
        """Exact 95 % limits of the share of violating draws (Clopper and Pearson)."""
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(self.violations, len(self.bound), alpha=0.05, method="beta")
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """Exact binomial p of so few violations if their share were delta."""
        return float(scipy.stats.binom.cdf(self.violations, len(self.bound), DELTA))


def base_draws(records: MethodRecords, environment: str) -> BoundDraws | None:
    """The draws from the base's successes on the test panel, pooled over seeds; None without a success."""
    pooled = strings_of(records, environment, "base").groupby("skills")["count"].sum().reset_index()
    if pooled.empty:
        return None
    horizon = int(strings_of(records, environment, "base")["T"].max())
    strings, law = tuple(encoded(pooled["skills"], environment)), tuple(drawn_law(pooled).tolist())
    return bound_draws(strings, law, len(ALPHABETS[environment]), horizon)


@cache
def bound_draws(strings: tuple[bytes, ...], law: tuple[float, ...], alphabet_size: int, horizon: int) -> BoundDraws:
    """DRAWS batches of SUCCESSES strings from a known law: strings and their probabilities."""
    generator, shares = np.random.default_rng(0), np.array(law)
    rows = []
    for _ in range(DRAWS):
        batch = generator.choice(len(strings), SUCCESSES, p=shares)
        dictionary = extract_dictionary([strings[place] for place in batch], alphabet_size)
        costs = phrase_counts(strings, dictionary) / horizon
        mean, nats = float(costs[batch].mean()), dictionary_nats(dictionary)
        bounds = (occam_hoeffding_bound, occam_chernoff_bound)
        upper = [float(bound(mean, nats, SUCCESSES, DELTA)) for bound in bounds]
        rows.append((mean, float(costs @ shares), *upper, dictionary_bits(dictionary), len(dictionary.phrases)))
    assert math.isclose(shares.sum(), 1.0)
    means, expected, hoeffding, chernoff, bits, phrases = np.array(rows, dtype=np.float64).T
    return BoundDraws(means, expected, hoeffding, chernoff, bits, phrases, distinct=len(strings))
