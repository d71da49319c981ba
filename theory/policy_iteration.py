"""Conservative policy iteration with random resets and with a credit oracle, on tabular processes.

One step of algorithm 1 of arXiv 2605.25507, for many independent trials at once. Random resets update every state
(CPI-RR); the credit oracle resets to improvable states and updates only these (CPI-CARO).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.markov_decision_process import (
    MarkovDecisionProcess,
    as_policy,
    evaluate_policy,
    expected_return,
    greedy_policy,
)
from theory.resampling import FloatArray
from theory.reset_rollouts import ResetRollouts, random_reset_law


@dataclass(frozen=True, eq=False)
class PolicyIterationStep:
    """One step of each trial, the leading axis of every array.

    `direction` is the policy stepped towards, (trials, H, S, A); `advantage_estimate` the estimate of its policy
    advantage and `step_size` the mixture weight, (trials,); `policy` the mixture, (trials, H, S, A).
    """

    direction: FloatArray
    advantage_estimate: FloatArray
    step_size: FloatArray
    policy: FloatArray


def improvable_set(process: MarkovDecisionProcess, policy: ArrayLike, threshold: float) -> np.ndarray:
    """G = {(h, x): max_y A_h^pi(x, y) >= threshold}, booleans (H, S). Source: section 3.1 of arXiv 2605.25507."""
    return np.asarray(evaluate_policy(process, policy).advantages.max(axis=-1) >= threshold)


def coverage(process: MarkovDecisionProcess, policy: ArrayLike, improvable: ArrayLike) -> float:
    """p = (1/H) sum_h P_{d_h^pi}(x in G_h): the share of random resets that land in the improvable set."""
    return float(random_reset_law(process, policy)[np.asarray(improvable, dtype=bool)].sum())


def restrict_policy(policy: ArrayLike, new_policy: ArrayLike, improvable: ArrayLike) -> FloatArray:
    """pi_G: plays `new_policy` on the improvable set (H, S) and `policy` elsewhere; policies (..., H, S, A)."""
    return np.where(np.asarray(improvable, dtype=bool)[..., None], new_policy, policy)


def mix_policies(policy: ArrayLike, new_policy: ArrayLike, step_size: ArrayLike) -> FloatArray:
    """(1 - alpha) pi + alpha pi' at every time and state; policies (..., H, S, A), step_size (...,) in [0, 1]."""
    weight = np.asarray(step_size, dtype=np.float64)[..., None, None, None]
    if not np.all((weight >= 0) & (weight <= 1)):
        raise ValueError("a step size must lie in [0, 1]")
    return (1 - weight) * np.asarray(policy) + weight * np.asarray(new_policy)


def conservative_step(
    process: MarkovDecisionProcess,
    policy: ArrayLike,
    rollouts: ResetRollouts,
    improvable: ArrayLike | None = None,
    function_class: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
) -> PolicyIterationStep:
    """Steps 2 to 6 of algorithm 1 on rollouts that `draw_resets` made with the same `improvable`.

    policy: (H, S, A). improvable: booleans (H, S) for CPI-CARO, None for CPI-RR. function_class: (F, H, S, A), a finite
    class of action values; None stands for all tables. baseline: (H, S) or (trials, H, S), subtracted from every
    return: with V^pi this is the centred variant, which changes no expectation, only the noise.
    An advantage estimate of 0 or less gives step size 0, which the paper leaves open: a mixture cannot have a negative
    weight, and there is nothing to step towards.
    """
    base = as_policy(process, policy)
    fitted = fit_action_values(rollouts, function_class, baseline)
    direction = greedy_policy(fitted)
    if improvable is not None:
        direction = restrict_policy(base, direction, improvable)
    estimate = estimate_advantage(base, direction, rollouts, baseline)
    step = step_size(process, estimate, with_oracle=improvable is not None)
    return PolicyIterationStep(direction, estimate, step, mix_policies(base, direction, step))


def fit_action_values(
    rollouts: ResetRollouts, function_class: ArrayLike | None = None, baseline: ArrayLike | None = None
) -> FloatArray:
    """Least squares of the returns, less the baseline, on (h, x, y); shape (trials, H, S, A).

    function_class: (F, H, S, A), from which the best member is taken; it predicts returns, so the baseline is
    subtracted from it as well and cannot change the choice. None: all tables, whose least-squares solution of smallest
    norm is the cell mean, and 0 where no reset fell.
    """
    centred = _centred_returns(rollouts, baseline)
    if function_class is None:
        return np.divide(centred, rollouts.counts, out=np.zeros(centred.shape), where=rollouts.counts > 0)
    members = np.asarray(function_class, dtype=np.float64)
    if members.ndim != 4 or members.shape[1:] != rollouts.counts.shape[1:]:
        raise ValueError(f"function_class needs shape (members, {rollouts.counts.shape[1:]}), got {members.shape}")
    # The squared returns are the same for every member and are left out.
    loss = np.einsum("tijk,fijk->tf", rollouts.counts, members**2) - 2 * np.einsum(
        "tijk,fijk->tf", rollouts.returns, members
    )
    best = members[loss.argmin(axis=1)]
    return best if baseline is None else best - np.asarray(baseline, dtype=np.float64)[..., None]


def estimate_advantage(
    policy: ArrayLike, new_policy: ArrayLike, rollouts: ResetRollouts, baseline: ArrayLike | None = None
) -> FloatArray:
    """(1/n) sum_i |Y| (pi'(y_i|x_i) - pi(y_i|x_i)) (G_i - baseline(x_i)), shape (trials,).

    G_i is the sampled return. For the table of cell means the fitted values give the same number. Unbiased for the
    policy advantage of pi' over pi when pi' does not depend on the rollouts, with or without a baseline; under the
    credit sampler for the advantage given an improvable state.
    """
    weight = rollouts.counts.shape[-1] * (np.asarray(new_policy) - np.asarray(policy))
    return np.asarray((weight * _centred_returns(rollouts, baseline)).sum(axis=(-3, -2, -1)) / rollouts.samples)


def step_size(process: MarkovDecisionProcess, advantage_estimate: ArrayLike, with_oracle: bool) -> FloatArray:
    """alpha = min{1, A/(H^2 R)}, with the credit oracle min{1, A/(2 H^2 R)}, and 0 where A < 0; shape as given."""
    scale = (2 if with_oracle else 1) * process.horizon**2 * process.reward_bound
    return np.clip(np.asarray(advantage_estimate, dtype=np.float64) / scale, 0.0, 1.0)


def gain(process: MarkovDecisionProcess, policy: ArrayLike, new_policy: ArrayLike) -> FloatArray:
    """J(new) - J(pi), exact; policies (..., H, S, A)."""
    return np.asarray(expected_return(process, new_policy) - expected_return(process, policy))


def _centred_returns(rollouts: ResetRollouts, baseline: ArrayLike | None) -> FloatArray:
    if baseline is None:
        return rollouts.returns
    return rollouts.returns - rollouts.counts * np.asarray(baseline, dtype=np.float64)[..., None]
