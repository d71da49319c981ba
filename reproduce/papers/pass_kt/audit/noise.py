"""PASS@(k,T): how much of the published boundary difference is the noise of 64 episodes a question.

Everything rests on the Beta law of success rates over the questions of category C that passes through the two published
points of a curve, pass@1 and pass@64 (section 5.5 of the specification).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import betabinom

from reproduce.claims.published import load_settings, published_number
from reproduce.papers.pass_kt.audit.counts import BoundaryPair, boundary_pairs, evaluation_questions
from theory.inference import holm
from theory.pass_kt import (
    SelfNull,
    beta_from_pass_values,
    beta_pass_at_k,
    beta_self_null,
    boundary_membership,
    crossing_k,
    expected_self_null_discordants,
    pass_at_k,
    posterior_pass_at_k,
)

KEY = "pass_kt"
EXTRAPOLATED = (256, 1024)
EPISODES = (16, 32, 64, 128, 256, 512)
PLUG_IN_K = (4, 16, 32, 64)


@dataclass(frozen=True)
class RateLaw:
    """Beta law of the success rate over questions of category C through an arm's two published points."""

    arm: str
    alpha: float
    beta: float

    @property
    def parameters(self) -> tuple[float, float]:
        return self.alpha, self.beta


@dataclass(frozen=True)
class SelfNullComparison:
    """A published pair beside what the base shows against itself.

    `pair_probability`: P(at least as many changed in the observed direction and at most as many in the other).
    `net_probability`: P(net change in that direction at least as large); `two_sided` doubles it: the law is symmetric.
    """

    pair: BoundaryPair
    pair_probability: float
    net_probability: float
    two_sided: float
    adjusted: float


@dataclass(frozen=True)
class NoSuccess:
    """What no success in n episodes says about the success rate of a question."""

    episodes: int
    one_sided_bound: float
    two_sided_bound: float
    pass_at_bound: float
    """Pass@64 of a question at the one-sided bound."""
    membership: float
    """P(true pass@64 > .5) under the law of the base."""


@dataclass(frozen=True)
class PriorEffect:
    """Pass@k that a prior assigns to a question without a success in 64, and to the whole panel."""

    name: str
    at_64: float
    at_256: float
    panel: float


@dataclass(frozen=True)
class PlugInBias:
    """Expected pass@k of the base with and without replacement, n = 64."""

    k: int
    with_replacement: float
    unbiased: float


def evaluation_episodes() -> int:
    """Episodes a policy, question and T; also the largest k."""
    return next(int(str(setting.value)) for setting in load_settings(KEY) if setting.id == "evaluation.episodes")


def published_grid() -> tuple[int, ...]:
    """The k of the paper's curves."""
    value = next(setting.value for setting in load_settings(KEY) if setting.id == "evaluation.k")
    return tuple(int(k) for k in value) if isinstance(value, tuple) else ()


def rate_law(arm: str) -> RateLaw:
    """The law through pass@1 and pass@64 of an arm on category C."""
    first, last = (published_number(KEY, f"pass.C.{arm}.k{k}.T5").value for k in (1, 64))
    return RateLaw(arm, *beta_from_pass_values(first, last, 64))


def fitted_crossing() -> float:
    """The k at which the two laws cross, linear in log2 k between the grid points."""
    grid = (*published_grid(), *EXTRAPOLATED)
    base, trained = (beta_pass_at_k(*rate_law(arm).parameters, grid) for arm in ("base", "RL"))
    return float(crossing_k(grid, trained - base))


def self_null() -> SelfNull:
    """Law of the boundary difference when the base meets itself, in the published design."""
    return beta_self_null(*rate_law("base").parameters, evaluation_episodes(), evaluation_questions())


def self_null_comparisons() -> tuple[SelfNullComparison, ...]:
    """The pairs of category C against the self-null, Holm over them."""
    null = self_null()
    pairs = [pair for pair in boundary_pairs() if pair.category == "C"]
    joint, net = [], []
    for pair in pairs:
        more, fewer = max(pair.gained, pair.lost), min(pair.gained, pair.lost)
        joint.append(null.probability(gained_at_least=more, lost_at_most=fewer))
        net.append(null.probability(net_at_least=abs(pair.net)))
    two_sided = np.minimum(1.0, 2 * np.array(net))
    adjusted = holm(two_sided)
    return tuple(
        SelfNullComparison(pair, joint[place], net[place], float(two_sided[place]), float(adjusted[place]))
        for place, pair in enumerate(pairs)
    )


def self_null_by_episodes(arm: str) -> tuple[float, ...]:
    """Expected discordant questions of an arm against itself for each number of episodes in EPISODES."""
    return tuple(expected_self_null_discordants(*rate_law(arm).parameters, EPISODES, evaluation_questions()).tolist())


def no_success(episodes: int) -> NoSuccess:
    """Exact (Clopper-Pearson) upper 95 % bounds after 0 of n; one-sided 1 - .05^(1/n), two-sided 1 - .025^(1/n)."""
    one_sided, two_sided = (float(-np.expm1(np.log(tail) / episodes)) for tail in (0.05, 0.025))
    at_bound = float(-np.expm1(64 * np.log1p(-one_sided)))
    member = float(boundary_membership(*rate_law("base").parameters, episodes, 0, 64, 0.5))
    return NoSuccess(episodes, one_sided, two_sided, at_bound, member)


def detection_rate(share: float, episodes: int) -> float:
    """Success rate at which a question enters the boundary of n episodes with probability `share`."""
    return float(-np.expm1(np.log1p(-share) / episodes))


def prior_effects() -> tuple[PriorEffect, ...]:
    """Section 3.4: what three priors make of the same counts, the truth being the law of the base."""
    truth, episodes = rate_law("base").parameters, evaluation_episodes()
    counts = np.arange(episodes + 1)
    law = betabinom.pmf(counts, episodes, *truth)
    priors = {"uniform, Beta(1, 1)": (1.0, 1.0), "Jeffreys, Beta(1/2, 1/2)": (0.5, 0.5), "law of the base": truth}
    return tuple(
        PriorEffect(
            name,
            float(posterior_pass_at_k(*prior, episodes, 0, 64)),
            float(posterior_pass_at_k(*prior, episodes, 0, 256)),
            float(law @ posterior_pass_at_k(*prior, episodes, counts, 64)),
        )
        for name, prior in priors.items()
    )


def plug_in_biases() -> tuple[PlugInBias, ...]:
    """Trap 1 of section 9: exact expectations under the law of the base."""
    episodes = evaluation_episodes()
    counts = np.arange(episodes + 1)
    law = betabinom.pmf(counts, episodes, *rate_law("base").parameters)
    return tuple(
        PlugInBias(k, float(law @ (1 - (1 - counts / episodes) ** k)), float(law @ pass_at_k(episodes, counts, k)))
        for k in PLUG_IN_K
    )
