"""Section 3 and appendix A of arXiv 2605.25507 on one conservative step: samples, gains and lemmas.

H is the horizon, R the largest reward, tau the smallest advantage of an improvable state, p the coverage. Advantages
are means over times, so a gain is about H times an advantage.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import ArrayLike

from theory.markov_decision_process import MarkovDecisionProcess, as_policy, evaluate_policy
from theory.resampling import FloatArray


def sufficient_samples(
    threshold: float,
    coverage: float,
    horizon: int,
    reward_bound: float,
    actions: int,
    class_size: int,
    failure: float,
    constant: float,
    with_oracle: bool,
) -> float:
    """Resets that theorem 1 asks for: N0/(tau^2 p^2) for CPI-RR, N0/tau^2 for CPI-CARO.

    N0 = constant |Y| H^2 R^2 log(|F|/delta). The paper leaves the constant open (36 C0, C0 that of lemma 7); its proof
    carries log(2|F|/delta). Rollouts are counted, oracle queries (about n/p) are not.
    """
    _check(threshold, coverage, horizon, reward_bound)
    if not (0 < failure < 1 and class_size >= 1 and actions >= 1 and constant > 0):
        raise ValueError("failure must lie in (0, 1), class_size and actions be at least 1, constant be positive")
    scale = constant * actions * horizon**2 * reward_bound**2 * log(class_size / failure)
    return scale / threshold**2 if with_oracle else scale / (threshold * coverage) ** 2


def guaranteed_gain(threshold: float, coverage: float, horizon: int, reward_bound: float, with_oracle: bool) -> float:
    """Gain J(new) - J(pi) that theorem 1 promises: tau^2 p^2/(8HR) for CPI-RR, tau^2 p/(16HR) for CPI-CARO."""
    _check(threshold, coverage, horizon, reward_bound)
    if with_oracle:
        return threshold**2 * coverage / (16 * horizon * reward_bound)
    return (threshold * coverage) ** 2 / (8 * horizon * reward_bound)


def conservative_gain_bound(step_size: ArrayLike, advantage: ArrayLike, spread: ArrayLike, horizon: int) -> FloatArray:
    """Lemma 4: J(pi_alpha) - J(pi) >= alpha H A - alpha^2 H^2 epsilon/2. Arguments broadcast.

    advantage: A_{pi,mu}(pi'); spread: epsilon, `advantage_spread` or anything larger, such as H R. The classical
    reading epsilon = max |E_{y~pi'} A(x, y)| is enough only if no such mean is negative, as for the greedy policy: two
    laws at total variation distance t give a function means up to t times its spread apart, and the spread can be
    twice the largest absolute value.
    """
    alpha = np.asarray(step_size, dtype=np.float64)
    return np.asarray(
        alpha * horizon * np.asarray(advantage) - alpha**2 * horizon**2 * np.asarray(spread, dtype=np.float64) / 2
    )


def credit_gain_bound(
    step_size: ArrayLike, advantage_given_improvable: ArrayLike, coverage: ArrayLike, spread: ArrayLike, horizon: int
) -> FloatArray:
    """Corollary 5: alpha H p A^G - alpha^2 H^2 p epsilon, for a policy that leaves states outside G alone."""
    alpha, p = np.asarray(step_size, dtype=np.float64), np.asarray(coverage, dtype=np.float64)
    first = alpha * horizon * p * np.asarray(advantage_given_improvable)
    return np.asarray(first - alpha**2 * horizon**2 * p * np.asarray(spread, dtype=np.float64))


def state_shift_bound(step_size: ArrayLike, coverage: ArrayLike, horizon: int) -> FloatArray:
    """Lemma 3: sum_h TV(d_h^{pi_alpha}, d_h^pi) <= alpha H^2 p, if pi' = pi outside the improvable set."""
    return np.asarray(np.asarray(step_size, dtype=np.float64) * horizon**2 * np.asarray(coverage))


def term_variance_bound(actions: int, horizon: int, reward_bound: float) -> float:
    """Lemma 8: Var(Y_i) <= 2 |Y| H^2 R^2 for one term of the advantage estimate, with both samplers."""
    return 2 * actions * (horizon * reward_bound) ** 2


def advantage_spread(process: MarkovDecisionProcess, policy: ArrayLike, new_policy: ArrayLike) -> FloatArray:
    """max_h (max_x - min_x) of E_{y~pi'} A_h^pi(x, y), shape (...,); policies (..., H, S, A)."""
    new = as_policy(process, new_policy)
    mean = (new * evaluate_policy(process, policy).advantages).sum(axis=-1)
    return np.asarray(np.ptp(mean, axis=-1).max(axis=-1))


def _check(threshold: float, coverage: float, horizon: int, reward_bound: float) -> None:
    if not (threshold > 0 and 0 < coverage <= 1 and horizon >= 1 and reward_bound > 0):
        raise ValueError("threshold, horizon and reward_bound must be positive and coverage lie in (0, 1]")
