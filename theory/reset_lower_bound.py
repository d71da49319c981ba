"""Proposition 10 of arXiv 2605.25507: two states, one step, and random resets that fail for lack of coverage.

State x1 has probability p. The base policy always plays y0. Every reward is R/2, save that y1 adds tau in x1 and
epsilon in x2; so the greedy policy plays y1 everywhere, and only x1 matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.advantage_estimate_law import TermLaw, term_law
from theory.markov_decision_process import MarkovDecisionProcess, stationary_process
from theory.resampling import FloatArray
from theory.reset_rollouts import credit_reset_law, random_reset_law

BERRY_ESSEEN_SCALE = 80


@dataclass(frozen=True)
class TwoStateConstruction:
    """The construction; `coverage` p in (0, 1], `advantage` tau in (0, R/2], `nuisance` epsilon in [0, tau)."""

    coverage: float
    actions: int = 4
    reward_bound: float = 1.0
    advantage: float = 0.25
    nuisance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage must lie in (0, 1], got {self.coverage}")
        if self.actions < 2:
            raise ValueError(f"two actions are needed at least, got {self.actions}")
        if not 0 <= self.nuisance < self.advantage <= self.reward_bound / 2:
            raise ValueError("0 <= nuisance < advantage <= reward_bound / 2 is needed")

    @property
    def process(self) -> MarkovDecisionProcess:
        reward = np.full((2, self.actions), self.reward_bound / 2)
        reward[:, 1] += [self.advantage, self.nuisance]
        moves = np.broadcast_to(np.eye(2)[:, None], (2, self.actions, 2))
        return stationary_process([self.coverage, 1 - self.coverage], moves, reward, 1, self.reward_bound)

    @property
    def base(self) -> FloatArray:
        return self._always(0)

    @property
    def greedy(self) -> FloatArray:
        return self._always(1)

    @property
    def improvable(self) -> np.ndarray:
        return np.array([[True, False]])

    def terms(self, with_oracle: bool, centred: bool = False) -> TermLaw:
        """Law of Y_i, with random resets or resets to x1 alone; centred terms use r - V^pi instead of r."""
        process, base = self.process, self.base
        law = credit_reset_law(process, base, self.improvable) if with_oracle else random_reset_law(process, base)
        baseline = np.full((1, 2), self.reward_bound / 2) if centred else None
        return term_law(process, base, self.greedy, law, baseline)

    def _always(self, action: int) -> FloatArray:
        return np.broadcast_to(np.eye(self.actions)[action], (1, 2, self.actions))


def failure_window(construction: TwoStateConstruction) -> tuple[float, float]:
    """(low, high) of n for which the paper states P(A <= 0) >= .18: 6400 |Y|^2 and sigma^2/(4 E[A]^2).

    The window is empty where low > high, which for |Y| = 4, R = 1, tau = .25 is every p above about .009.
    """
    law = construction.terms(with_oracle=False)
    return float(BERRY_ESSEEN_SCALE**2 * construction.actions**2), law.variance / (4 * law.mean**2)


def centred_failure_probability(construction: TwoStateConstruction, samples: int) -> float:
    """P(A <= 0) = (1 - p/|Y|)^n when V^pi is subtracted and epsilon is 0: only (x1, y1) gives a term that is not 0."""
    _check_no_nuisance(construction)
    return (1 - construction.coverage / construction.actions) ** samples


def centred_samples_for_failure(construction: TwoStateConstruction, level: float = 0.05) -> float:
    """n with (1 - p/|Y|)^n = level, not rounded."""
    _check_no_nuisance(construction)
    return float(np.log(level) / np.log1p(-construction.coverage / construction.actions))


def limiting_gain(construction: TwoStateConstruction, with_oracle: bool) -> float:
    """Gain of one step as n grows: (p tau)^2/R with random resets, p tau^2/(2R) with the oracle, for epsilon = 0."""
    _check_no_nuisance(construction)
    tau, p, bound = construction.advantage, construction.coverage, construction.reward_bound
    return p * tau**2 / (2 * bound) if with_oracle else (p * tau) ** 2 / bound


def _check_no_nuisance(construction: TwoStateConstruction) -> None:
    if construction.nuisance:
        raise ValueError("the closed form holds for nuisance 0 only")
