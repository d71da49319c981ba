"""Boundary sets: the questions with at least one success in n episodes, and how much they change by chance alone.

A question outside the set at n = 64 may well be solvable: detection is even at a success rate of .011. Two samples of
one policy therefore differ in several questions, and no difference of sets means anything without that self-null
beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.estimators import FloatArray, IntArray, as_integers, pass_at_k


class BoundaryDifference(NamedTuple):
    """Number of questions only the first policy solves, and number only the second solves."""

    gained: IntArray
    lost: IntArray


@dataclass(frozen=True)
class SelfNull:
    """Law of the boundary difference when the same policy is sampled twice, on questions drawn from one population.

    `gain_rate` is the probability per question of being solved in the first sample alone; losing has the same
    probability.
    """

    gain_rate: float
    questions: int

    @property
    def expected_discordants(self) -> float:
        return 2 * self.gain_rate * self.questions

    @property
    def standard_deviation_of_net(self) -> float:
        return float(np.sqrt(self.expected_discordants))

    def discordant_range(self, confidence: float = 0.95) -> tuple[int, int]:
        """Central range of the number of discordant questions."""
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = scipy.stats.binom.ppf(tails, self.questions, 2 * self.gain_rate)
        return int(low), int(high)

    def probability(
        self, gained_at_least: int = 0, lost_at_most: int | None = None, net_at_least: int | None = None
    ) -> float:
        """P(gained >= gained_at_least, lost <= lost_at_most, gained - lost >= net_at_least) by enumeration."""
        total = np.arange(self.questions + 1)[:, None]
        gained = np.arange(self.questions + 1)[None, :]
        lost = total - gained
        wanted = (lost >= 0) & (gained >= gained_at_least)
        if lost_at_most is not None:
            wanted &= lost <= lost_at_most
        if net_at_least is not None:
            wanted &= gained - lost >= net_at_least
        law = scipy.stats.binom.pmf(total, self.questions, 2 * self.gain_rate) * scipy.stats.binom.pmf(
            gained, total, 0.5
        )
        return float(law[wanted].sum())


def boundary_difference(successes_a: ArrayLike, successes_b: ArrayLike) -> BoundaryDifference:
    """(gained, lost) = (|A \\ B|, |B \\ A|), where A and B are the questions with at least one success.

    successes_a, successes_b: success counts of the policy in question and of its reference, questions on the last
    axis; shapes broadcast. Both must come from equally many episodes a question, else the difference is one of effort.
    Returns counts of the leading shape. Raises ValueError for negative or fractional counts. Source: section 2 of the
    paper, pair written 5:1.
    """
    a, b = _solved(successes_a), _solved(successes_b)
    return BoundaryDifference((a & ~b).sum(axis=-1), (b & ~a).sum(axis=-1))


def expected_self_null_discordants(alpha: ArrayLike, beta: ArrayLike, n: ArrayLike, questions: ArrayLike) -> FloatArray:
    """Mean number of questions solved in exactly one of two samples of n episodes of the same policy.

    The success rate of a question is Beta(alpha, beta). All arguments broadcast. 2 M (E(1-p)^n - E(1-p)^2n). Raises
    ValueError for parameters out of range. Source: own derivation.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (alpha, beta))
    episodes = as_integers(n, "n")
    if not (np.all(a > 0) and np.all(b > 0)):
        raise ValueError("alpha and beta must be positive")
    if np.any(episodes < 1):
        raise ValueError("n must be at least 1")
    none = np.exp(scipy.special.betaln(a, b + episodes) - scipy.special.betaln(a, b))
    none_in_both = np.exp(scipy.special.betaln(a, b + 2 * episodes) - scipy.special.betaln(a, b))
    return np.asarray(2 * np.asarray(questions) * (none - none_in_both))


def beta_self_null(alpha: float, beta: float, n: int, questions: int) -> SelfNull:
    """The whole self-null law for Beta-distributed success rates; arguments as `expected_self_null_discordants`."""
    return SelfNull(float(expected_self_null_discordants(alpha, beta, n, 1)) / 2, int(questions))


def self_null_from_counts(n: ArrayLike, c: ArrayLike, sample_size: int) -> SelfNull:
    """The self-null at `sample_size` episodes, estimated without bias from counts of n >= 2 sample_size episodes.

    n, c: broadcast to (questions,). Averages over all ways to split off two disjoint samples, of which one succeeds
    and the other does not. Raises ValueError where n < 2 sample_size. Source: own derivation, E[g_m - g_2m] = (1-p)^m
    - (1-p)^2m.
    """
    rate = _self_gain(n, c, sample_size)
    return SelfNull(float(rate.mean()), rate.size)


def excess_gain(
    n_new: ArrayLike, c_new: ArrayLike, n_reference: ArrayLike, c_reference: ArrayLike, sample_size: int
) -> FloatArray:
    """Per question: probability of being gained by the new policy, less that of being gained by the reference itself.

    Unbiased for (1-r)^m ((1-r)^m - (1-p)^m), with p the new and r the reference rate and m = sample_size; its mean
    over questions is 0 if no rate changed, and is to be tested with the questions as units, for gains. Its law is
    then skewed: at 30 to 100 questions a one-sided 5 % t-test for gains rejects in 1.4 to 3 % (conservative), one for
    losses in 10 to 13 % (tests/theory/test_simulations.py). Shapes broadcast to (questions,). Raises ValueError where
    n_new < m or n_reference < 2 m.
    Source: own derivation, for the claim pass_kt.beyond-self-null.
    """
    solved_by_new = pass_at_k(n_new, c_new, sample_size)
    if np.isnan(solved_by_new).any():
        raise ValueError(f"the new policy needs at least {sample_size} episodes for every question")
    self_gain = _self_gain(n_reference, c_reference, sample_size)
    return np.asarray(solved_by_new * (1 - pass_at_k(n_reference, c_reference, sample_size)) - self_gain)


def expected_gained_and_lost(
    n_new: ArrayLike, c_new: ArrayLike, n_reference: ArrayLike, c_reference: ArrayLike, sample_size: int
) -> tuple[float, float]:
    """Unbiased (gained, lost) as they would be at `sample_size` episodes a question; NaN where n is smaller.

    Shapes broadcast to (questions,). Raises ValueError as `pass_at_k`. Source: independence of the two samples.
    """
    new, old = pass_at_k(n_new, c_new, sample_size), pass_at_k(n_reference, c_reference, sample_size)
    return float((new * (1 - old)).sum()), float((old * (1 - new)).sum())


def _self_gain(n: ArrayLike, c: ArrayLike, sample_size: int) -> FloatArray:
    gain = np.atleast_1d(pass_at_k(n, c, 2 * sample_size) - pass_at_k(n, c, sample_size))
    if np.isnan(gain).any():
        raise ValueError(f"the self-null at {sample_size} needs at least {2 * sample_size} episodes for every question")
    return gain


def _solved(successes: ArrayLike) -> np.ndarray:
    counts = as_integers(successes, "successes")
    if counts.size and counts.min() < 0:
        raise ValueError(f"successes must be at least 0, got {counts.min()}")
    if counts.ndim < 1:
        raise ValueError("successes need questions on the last axis")
    return counts > 0
