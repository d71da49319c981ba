"""Rules of where to reset that make the quality of localization a controlled variable (arXiv 2605.25507).

`Oracle` is exact, or degraded to a chosen rate of exact hits and offset. `LearnedFromResampling` is fitted to where the
policy's own continuations stop succeeding. `PositionsByLength` is the control for earliness: it knows where another run
resets in chains of each length, and nothing else of the chain. A chain whose steps are all right (cut off, say) has its
last step as first error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from methods.localizers import step_means, told_entropies
from methods.reset_buffer import ResetChoice, Sampler, Seed
from methods.rivals.segment_values import prefix_values

# ---- the truth, whole or spoilt


@dataclass(frozen=True)
class Oracle:
    """The true first error with probability `hit_rate`, else another step near `offset` steps after it.

    A miss aims at truth + offset + Unif{-spread .. spread} and takes the step of the chain nearest to that other than
    the truth, at random among two: the rate of exact hits is `hit_rate` whatever the offset, save that a chain of one
    step is always hit. Near the ends of a chain a miss has less room, so that its mean offset falls short.
    """

    first_error: Callable[[Seed], int | None]
    """From 1; None where every step is right."""
    hit_rate: float = 1.0
    offset: int = 0
    spread: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.hit_rate <= 1 or self.spread < 0:
            raise ValueError(f"hit_rate in [0, 1] and spread >= 0 are needed, got {self.hit_rate} and {self.spread}")

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        return [ResetChoice(self._step(seed, generator)) for seed in seeds]

    def truth(self, seed: Seed) -> int:
        """The first error, from 1; the last step where every step is right."""
        found = self.first_error(seed)
        return seed.chain.steps if found is None else min(max(found, 1), seed.chain.steps)

    def _step(self, seed: Seed, generator: np.random.Generator) -> int:
        truth, steps = self.truth(seed), seed.chain.steps
        # Both numbers are always drawn, so that two hit rates share the random numbers of their common seeds.
        hit, aim = generator.random() < self.hit_rate, generator.integers(-self.spread, self.spread + 1)
        tie = generator.random()
        if hit or steps == 1:
            return truth
        others = np.delete(np.arange(1, steps + 1), truth - 1)
        distance = np.abs(others - (truth + self.offset + aim))
        nearest = others[distance == distance.min()]
        return int(nearest[int(tie * len(nearest))])


# ---- learned from the policy's own continuations


@dataclass(frozen=True)
class Resampled:
    """For each seed the step whose loss of success is greatest, and what it cost."""

    steps: tuple[int, ...]
    values: tuple[np.ndarray, ...]
    """Share of continuations that succeed from the prefix before each step, (H,)."""
    generated_tokens: int


def resample_first_errors(seeds: Sequence[Seed], sample: Sampler, continuations: int, longest: int = 20) -> Resampled:
    """Estimate by resampling where each chain was lost: the h with the greatest V(h) - V(h + 1).

    V(h) is the share of continuations from steps 1 .. h - 1 that succeed, V(H + 1) = 0 for the failed chain itself.
    The first of equal drops is taken; where no continuation ever succeeds that is step 1. Continuations that failed to
    come count as failures. Source: step labels of Math-Shepherd (arXiv 2312.08935), own choice of the greatest drop.
    """
    values, _, tokens = prefix_values(seeds, sample, continuations, longest, lambda chain: float(chain.correct))
    steps = tuple(int(np.argmax(value - np.append(value[1:], 0.0))) + 1 for value in values)
    return Resampled(steps, values, tokens)


@dataclass(frozen=True, eq=False)
class LearnedFromResampling:
    """P(h* = h | chain) proportional to exp(w . x_h), with w fitted to steps found by resampling; the mode is chosen.

    x_h, of each step: what `features` gives, (steps, d), centred within the chain.
    """

    weights: np.ndarray
    features: Callable[[Seed], np.ndarray]

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        return [ResetChoice(int(np.argmax(_centred(self.features(seed)) @ self.weights)) + 1) for seed in seeds]


def fit_to_resampling(
    seeds: Sequence[Seed],
    steps: Sequence[int],
    features: Callable[[Seed], np.ndarray],
    ridge: float = 1.0,
    updates: int = 50,
) -> LearnedFromResampling:
    """Penalised maximum likelihood of the conditional logit model, by Newton's method.

    steps: the labels, from 1. ridge: weight of |w|^2 / 2, > 0, which keeps the optimum finite and unique.
    Source: McFadden, "Conditional logit analysis of qualitative choice behavior", 1974.
    """
    if not seeds or ridge <= 0:
        raise ValueError(f"at least one labelled chain and ridge > 0 are needed, got {len(seeds)} and {ridge}")
    chains = [_centred(features(seed)) for seed in seeds]
    weights = np.zeros(chains[0].shape[1])
    for _ in range(updates):
        gradient, curvature = -ridge * weights, ridge * np.eye(len(weights))
        for table, step in zip(chains, steps, strict=True):
            chance = _softmax(table @ weights)
            mean = chance @ table
            gradient += table[step - 1] - mean
            curvature += (table * chance[:, None]).T @ table - np.outer(mean, mean)
        move = np.linalg.solve(curvature, gradient)
        weights = weights + move
        if np.abs(move).max() < 1e-10:
            break
    return LearnedFromResampling(weights, features)


def step_features(seed: Seed) -> np.ndarray:
    """Position h/H, mean entropy and mean log-probability of each step, (H, 3); the sampler must tell both."""
    chain = seed.chain
    if chain.log_probabilities is None:
        raise ValueError("the sampler gave no log-probabilities with its chains, which these features need")
    place = np.arange(1, chain.steps + 1) / chain.steps
    return np.column_stack(
        [place, step_means(told_entropies(chain), chain), step_means(chain.log_probabilities, chain)]
    )


def _centred(table: np.ndarray) -> np.ndarray:
    return table - table.mean(axis=0)


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised: np.ndarray[Any, Any] = np.exp(scores - scores.max())
    return raised / raised.sum()


# ---- the control for earliness


@dataclass(frozen=True)
class PositionHistogram:
    """Random resets whose h*/H follows a histogram of equal bins over (0, 1].

    A place is drawn uniformly from its bin and the step that covers it is taken. Exact where the bins are a multiple
    of the steps of every chain; else up to the width of a bin.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.weights or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f"a histogram needs weights >= 0 with a positive sum, got {self.weights}")

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        chances = np.array(self.weights, dtype=float) / sum(self.weights)
        bins = generator.choice(len(chances), size=len(seeds), p=chances)
        # 1 - random() lies in (0, 1], as the bins do.
        places = (bins + 1 - generator.random(len(seeds))) / len(chances)
        steps = np.array([seed.chain.steps for seed in seeds], dtype=int)
        found = np.clip(np.ceil(places * steps), 1, np.maximum(steps, 1))
        return [ResetChoice(int(step)) for step in found]


@dataclass(frozen=True)
class PositionsByLength:
    """Random resets whose step, given the number of steps of the chain, follows what another run chose.

    Pooled over lengths h*/H would not do: the step that covers a place of a shorter chain lies later in it.
    """

    counts: Mapping[int, tuple[float, ...]]
    """Counts of the steps chosen, by the number of steps of the chain, (H,) each."""

    def __post_init__(self) -> None:
        if not self.counts or any(len(own) != steps for steps, own in self.counts.items()):
            raise ValueError("a count for each step of at least one length is needed")

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        return [self._nearest(seed.chain.steps)([seed], generator)[0] for seed in seeds]

    def _nearest(self, steps: int) -> PositionHistogram:
        # A bin for each step is exact at its own length; the shorter of two equally near lengths is taken.
        return PositionHistogram(self.counts[min(self.counts, key=lambda known: (abs(known - steps), known))])


def positions_by_length(chosen: Sequence[int], steps: Sequence[int]) -> PositionsByLength:
    """The steps that a run of SRPO chose, from 1, and the steps of the chains it chose them in, (n,) each.

    Raises ValueError without any, and for a step outside its chain.
    """
    places, lengths = np.asarray(chosen, dtype=int), np.asarray(steps, dtype=int)
    if not len(places) or not ((places >= 1) & (places <= lengths)).all():
        raise ValueError("steps are needed, each from 1 to the steps of its chain")
    counts = {int(own): np.bincount(places[lengths == own] - 1, minlength=own) for own in np.unique(lengths)}
    return PositionsByLength({own: tuple(found.astype(float).tolist()) for own, found in counts.items()})
