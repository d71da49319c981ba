"""Tabular finite-horizon Markov decision processes and their exact values, state laws and policy advantages.

Times are array indices 0 .. H-1; the papers count h = 1 .. H. A policy is an array (..., H, S, A) of probabilities, and
every exact quantity is vectorised over the leading axes, so a thousand policies cost one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.resampling import FloatArray

# The generator's multinomial accepts no larger excess.
SUM_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class MarkovDecisionProcess:
    """A finite-horizon decision process with H times, S states and A actions.

    initial: (S,), the law mu of the first state; transition: (H, S, A, S), laws on the last axis, the one of the last
    time without effect; reward: (H, S, A), expected rewards in [0, reward_bound]. With `bernoulli` a sampled reward is
    reward_bound or 0 with that expectation, as a verifier's verdict; otherwise it is the expectation itself.
    Raises ValueError for shapes that do not fit, laws that do not sum to 1 and rewards out of range.
    Source: section 2 of arXiv 2605.25507.
    """

    initial: FloatArray
    transition: FloatArray
    reward: FloatArray
    reward_bound: float = 1.0
    bernoulli: bool = False

    def __post_init__(self) -> None:
        if np.ndim(self.reward) != 3:
            raise ValueError(f"reward needs shape (times, states, actions), got {np.shape(self.reward)}")
        horizon, states, actions = np.shape(self.reward)
        if min(horizon, states, actions) < 1:
            raise ValueError("a decision process needs at least one time, one state and one action")
        object.__setattr__(self, "initial", _laws(self.initial, (states,), "initial"))
        object.__setattr__(self, "transition", _laws(self.transition, (horizon, states, actions, states), "transition"))
        object.__setattr__(self, "reward", np.asarray(self.reward, dtype=np.float64))
        if not (self.reward_bound > 0 and np.isfinite(self.reward_bound)):
            raise ValueError(f"reward_bound must be positive and finite, got {self.reward_bound}")
        if not np.all((self.reward >= 0) & (self.reward <= self.reward_bound)):
            raise ValueError(f"rewards must lie in [0, {self.reward_bound}]")

    @property
    def horizon(self) -> int:
        return int(self.reward.shape[0])

    @property
    def states(self) -> int:
        return int(self.reward.shape[1])

    @property
    def actions(self) -> int:
        return int(self.reward.shape[2])


@dataclass(frozen=True, eq=False)
class PolicyEvaluation:
    """Exact values of a policy: `values` V_h (..., H, S) and `action_values` Q_h (..., H, S, A), undiscounted."""

    values: FloatArray
    action_values: FloatArray

    @property
    def advantages(self) -> FloatArray:
        """A_h = Q_h - V_h, shape (..., H, S, A)."""
        return self.action_values - self.values[..., None]


def stationary_process(
    initial: ArrayLike,
    transition: ArrayLike,
    reward: ArrayLike,
    horizon: int,
    reward_bound: float = 1.0,
    bernoulli: bool = False,
) -> MarkovDecisionProcess:
    """The process with the same transition (S, A, S) and reward (S, A) at each of `horizon` times."""
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    moves, pay = np.asarray(transition, dtype=np.float64), np.asarray(reward, dtype=np.float64)
    return MarkovDecisionProcess(
        np.asarray(initial, dtype=np.float64),
        np.broadcast_to(moves, (horizon, *moves.shape)),
        np.broadcast_to(pay, (horizon, *pay.shape)),
        reward_bound,
        bernoulli,
    )


def evaluate_policy(process: MarkovDecisionProcess, policy: ArrayLike) -> PolicyEvaluation:
    """V^pi and Q^pi by backward induction; policy (..., H, S, A). Raises ValueError if it is no policy."""
    rule = as_policy(process, policy)
    action_values, values = np.empty(rule.shape), np.empty(rule.shape[:-1])
    after = np.zeros((*rule.shape[:-3], process.states))
    for time in reversed(range(process.horizon)):
        action_values[..., time, :, :] = process.reward[time] + np.einsum(
            "sat,...t->...sa", process.transition[time], after
        )
        after = (rule[..., time, :, :] * action_values[..., time, :, :]).sum(axis=-1)
        values[..., time, :] = after
    return PolicyEvaluation(values, action_values)


def state_laws(process: MarkovDecisionProcess, policy: ArrayLike) -> FloatArray:
    """d_h^pi, the law of the state at each time, shape (..., H, S); policy (..., H, S, A)."""
    rule = as_policy(process, policy)
    laws = np.empty(rule.shape[:-1])
    laws[..., 0, :] = process.initial
    for time in range(process.horizon - 1):
        visits = laws[..., time, :, None] * rule[..., time, :, :]
        laws[..., time + 1, :] = np.einsum("...sa,sat->...t", visits, process.transition[time])
    return laws


def expected_return(process: MarkovDecisionProcess, policy: ArrayLike) -> FloatArray:
    """J(pi), shape (...,); policy (..., H, S, A)."""
    return np.asarray(evaluate_policy(process, policy).values[..., 0, :] @ process.initial)


def policy_advantage(process: MarkovDecisionProcess, policy: ArrayLike, new_policy: ArrayLike) -> FloatArray:
    """A_{pi,mu}(pi') = (1/H) sum_h E_{x ~ d_h^pi, y ~ pi'} A_h^pi(x, y), exact, shape (...,).

    policy, new_policy: (..., H, S, A), leading axes broadcast. mu is the initial law of the process.
    Source: section 2 of arXiv 2605.25507; Kakade and Langford 2002, definition 4.1, for a finite horizon.
    """
    new = as_policy(process, new_policy)
    expected = (new * evaluate_policy(process, policy).advantages).sum(axis=-1)
    return np.asarray((state_laws(process, policy) * expected).sum(axis=(-2, -1)) / process.horizon)


def greedy_policy(action_values: ArrayLike) -> FloatArray:
    """The policy that plays argmax_y Q; (..., H, S, A), of several best actions the one with the lowest index."""
    table = np.asarray(action_values, dtype=np.float64)
    return np.eye(table.shape[-1])[table.argmax(axis=-1)]


def as_policy(process: MarkovDecisionProcess, policy: ArrayLike) -> FloatArray:
    """`policy` as floats of shape (..., H, S, A); ValueError unless its last axis holds laws over the actions."""
    rule = np.asarray(policy, dtype=np.float64)
    if rule.shape[-3:] != process.reward.shape:
        raise ValueError(f"a policy needs shape (..., {_shape(process.reward.shape)}), got ({_shape(rule.shape)})")
    return _laws(rule, rule.shape, "policy")


def _laws(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    laws = np.asarray(values, dtype=np.float64)
    if laws.shape != shape:
        raise ValueError(f"{name} needs shape ({_shape(shape)}), got ({_shape(laws.shape)})")
    # A NaN fails both comparisons.
    if not (np.all(laws >= 0) and np.all(np.abs(laws.sum(axis=-1) - 1) <= SUM_TOLERANCE)):
        raise ValueError(f"{name} needs probabilities that sum to 1 on the last axis")
    return laws


def _shape(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)
