"""Rollouts from reset states: random resets and resets by a credit oracle, for many independent trials at once.

A trial keeps, for each cell (time, state, action), how many resets fell there and the sum of their returns. Both
are sampled exactly by passing counts, rather than single rollouts, through the process: the cost depends on the number
of cells and not on the number of resets, so the 10^5 resets that a small coverage asks for are no slower than ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.estimators import IntArray
from theory.markov_decision_process import MarkovDecisionProcess, as_policy, state_laws
from theory.resampling import FloatArray


@dataclass(frozen=True, eq=False)
class ResetRollouts:
    """Resets of several trials: `counts` and `returns` (summed), shape (trials, H, S, A), and `oracle_queries`.

    `samples` is the number of resets, hence of rollouts, of each trial. oracle_queries has shape (trials,): on-policy
    states shown to the credit oracle until `samples` of them were accepted; 0 for random resets, which ask nothing.
    """

    counts: IntArray
    returns: FloatArray
    oracle_queries: IntArray
    samples: int


def random_reset_law(process: MarkovDecisionProcess, policy: ArrayLike) -> FloatArray:
    """Joint law of (h, x) of a random reset, h ~ Unif[H] and x ~ d_h^pi; shape (H, S), sums to 1."""
    return state_laws(process, policy) / process.horizon


def credit_reset_law(process: MarkovDecisionProcess, policy: ArrayLike, improvable: ArrayLike) -> FloatArray:
    """The random reset law given that (h, x) is improvable; improvable: booleans (H, S). Returns (H, S).

    Raises ValueError if the policy never visits the improvable set: rejection would not end.
    Source: credit sampler, section 3.1 of arXiv 2605.25507.
    """
    law = random_reset_law(process, policy) * _improvable(process, improvable)
    if law.sum() == 0:
        raise ValueError("the policy never visits an improvable state: a credit oracle would reject for ever")
    return law / law.sum()


def draw_resets(
    process: MarkovDecisionProcess,
    policy: ArrayLike,
    samples: int,
    trials: int,
    generator: np.random.Generator,
    improvable: ArrayLike | None = None,
) -> ResetRollouts:
    """Step 1 of conservative policy iteration: `samples` resets (x, h), y ~ Unif(Y) and one rollout of the policy each.

    policy: (H, S, A). With `improvable`, booleans (H, S), the resets come from the credit oracle: on-policy states are
    drawn until accepted. The number rejected before `samples` acceptances is negative binomial in the coverage and
    independent of what is accepted, so it is drawn as such. Raises ValueError for counts below 1.
    Source: algorithm 1 of arXiv 2605.25507.
    """
    if samples < 1 or trials < 1:
        raise ValueError(f"samples and trials must be at least 1, got {samples} and {trials}")
    law = random_reset_law(process, policy)
    queries = np.zeros(trials, dtype=np.int64)
    if improvable is not None:
        accepted = min(1.0, float(law[_improvable(process, improvable)].sum()))
        law = credit_reset_law(process, policy, improvable)
        queries = samples + generator.negative_binomial(samples, accepted, size=trials)
    shape = (trials, process.horizon, process.states, process.actions)
    cells = np.repeat(law.ravel() / process.actions, process.actions)
    counts = generator.multinomial(samples, cells / cells.sum(), size=trials).reshape(shape)
    return ResetRollouts(counts, sum_of_returns(process, policy, counts, generator), queries, samples)


def monte_carlo_values(
    process: MarkovDecisionProcess,
    policy: ArrayLike,
    rollouts: int,
    trials: int,
    generator: np.random.Generator,
) -> FloatArray:
    """Estimates of V^pi from fresh rollouts at every time and state, as a group mean does; shape (trials, H, S)."""
    if rollouts < 1 or trials < 1:
        raise ValueError(f"rollouts and trials must be at least 1, got {rollouts} and {trials}")
    rule = as_policy(process, policy)
    counts = generator.multinomial(rollouts, rule, size=(trials, *rule.shape[:-1]))
    return sum_of_returns(process, policy, counts, generator).sum(axis=-1) / rollouts


def sum_of_returns(
    process: MarkovDecisionProcess, policy: ArrayLike, counts: IntArray, generator: np.random.Generator
) -> FloatArray:
    """Sampled sum of the returns-to-go of `counts` rollouts from every cell; (trials, H, S, A) in and out.

    The first action of a rollout is that of its cell, all later ones are the policy's. The rollouts of one cell move
    on together: multinomial splits over actions and next states have the law of independent single rollouts.
    """
    rule = as_policy(process, policy)
    trials, horizon, states, actions = counts.shape
    cells = horizon * states * actions
    totals = np.zeros(trials * cells)
    here = np.zeros((trials * cells, states), dtype=np.int64)
    for time in range(horizon):
        # A row is a trial and the cell where its rollouts began; those under way choose an action by the policy.
        row, state = np.nonzero(here)
        chosen = generator.multinomial(here[row, state], rule[time, state])
        entry, action = np.nonzero(chosen)
        begun = _begin(counts, time)
        row = np.concatenate([row[entry], begun[0]])
        state = np.concatenate([state[entry], begun[1]])
        number = np.concatenate([chosen[entry, action], begun[3]])
        action = np.concatenate([action, begun[2]])
        pay = _pay(process, process.reward[time, state, action], number, generator)
        totals += np.bincount(row, weights=pay, minlength=totals.size)
        moved = generator.multinomial(number, process.transition[time, state, action])
        here[:] = 0
        np.add.at(here, row, moved)
    return totals.reshape(counts.shape)


def _begin(counts: IntArray, time: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """(row, state, action, number) of the rollouts that begin at this time."""
    _, horizon, states, actions = counts.shape
    trial, state, action = np.nonzero(counts[:, time])
    row = ((trial * horizon + time) * states + state) * actions + action
    return row, state, action, counts[trial, time, state, action]


def _pay(
    process: MarkovDecisionProcess, reward: FloatArray, number: IntArray, generator: np.random.Generator
) -> FloatArray:
    if not process.bernoulli:
        return reward * number
    chance = np.minimum(1.0, reward / process.reward_bound)
    return np.asarray(process.reward_bound * generator.binomial(number, chance), dtype=np.float64)


def _improvable(process: MarkovDecisionProcess, improvable: ArrayLike) -> np.ndarray:
    mask = np.asarray(improvable)
    if mask.dtype != bool or mask.shape != (process.horizon, process.states):
        raise ValueError(f"improvable needs booleans of shape ({process.horizon}, {process.states})")
    return mask
