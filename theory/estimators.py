"""Unbiased estimators from success counts: c successes in n independent episodes of one policy on one question.

All of them are U-statistics of Bernoulli draws. With g_k(c) = C(n-c, k) / C(n, k), the probability that k episodes
drawn without replacement all fail, E g_k = (1-p)^k, hence everything below (Chen et al. 2021, arXiv 2107.03374, for
pass@k; the variance is an own derivation from E[g_2k] = (1-p)^2k).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Table = Callable[[int, IntArray, int], FloatArray]


def as_integers(values: ArrayLike, name: str) -> IntArray:
    """`values` as an int64 array of the same shape; ValueError if any entry is not a finite whole number."""
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return array.astype(np.int64, copy=False)
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold whole numbers, got values of type {array.dtype}") from None
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**53)
    if not whole.all():
        raise ValueError(f"{name} must hold whole numbers, got {numbers[~whole].flat[0]}")
    return numbers.astype(np.int64)


def checked_counts(n: ArrayLike, c: ArrayLike) -> tuple[IntArray, IntArray]:
    """Episodes and successes as int64 arrays that broadcast together; ValueError where 0 <= c <= n fails."""
    episodes, successes = as_integers(n, "n"), as_integers(c, "c")
    if successes.size and successes.min() < 0:
        raise ValueError(f"c must be at least 0, got {successes.min()}")
    if episodes.size and episodes.min() < 0:
        raise ValueError(f"n must be at least 0, got {episodes.min()}")
    try:
        excess = successes > episodes
    except ValueError:
        raise ValueError(f"n of shape {episodes.shape} and c of shape {successes.shape} do not broadcast") from None
    if np.any(excess):
        first = np.argwhere(np.atleast_1d(excess))[0]
        raise ValueError(f"c must not exceed n, but does at index {tuple(first.tolist())}")
    return episodes, successes


def _checked_k(k: ArrayLike, name: str = "k") -> IntArray:
    draws = as_integers(k, name)
    if draws.size and draws.min() < 1:
        raise ValueError(f"{name} must be at least 1, got {draws.min()}")
    return draws


def _failure_table(n: int, k: IntArray, largest_c: int) -> FloatArray:
    """g_k(c) for c = 0..largest_c, shape (k, largest_c + 1); NaN rows where k > n.

    The recurrence g_k(c+1) = g_k(c) (n-c-k)/(n-c) keeps a relative error of a few units in the last place per step;
    log-gamma forms lose four digits at n = 1024.
    """
    j = np.arange(largest_c)
    factors = np.maximum(n - k[:, None] - j, 0) / (n - j)
    table = np.ones((k.size, largest_c + 1))
    np.cumprod(factors, axis=1, out=table[:, 1:])
    table[k > n] = np.nan
    return table


def _pass_table(n: int, k: IntArray, largest_c: int) -> FloatArray:
    """1 - g_k(c), by a sum of positive terms where 1 - g would cancel. Same shape as `_failure_table`."""
    failure = _failure_table(n, k, largest_c)
    increments = failure[:, :-1] * (k[:, None] / (n - np.arange(largest_c)))
    table = np.zeros_like(failure)
    np.cumsum(increments, axis=1, out=table[:, 1:])
    table = np.where(failure < 0.5, 1.0 - failure, table)
    table[k > n] = np.nan
    return table


def _look_up(table_of: Table, n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    """Gather table_of(n, k, max c) at [k, c], one table per distinct n, for arrays that broadcast together."""
    try:
        shape = np.broadcast_shapes(n.shape, c.shape, k.shape)
    except ValueError:
        raise ValueError(f"n {n.shape}, c {c.shape} and k {k.shape} do not broadcast") from None
    if 0 in shape:
        return np.empty(shape)
    distinct_k, k_index = np.unique(k, return_inverse=True)
    k_index = k_index.reshape(k.shape)
    if n.min() == n.max():
        table = table_of(int(n.flat[0]), distinct_k, int(c.max()))
        if k.ndim == 1 and c.shape[-1:] == (1,):
            # The usual call, counts[..., None] against a vector of k: one row of the table for each count.
            values = np.take(np.ascontiguousarray(table[k_index].T), c[..., 0], axis=0)
        else:
            values = np.take(table, k_index * table.shape[1] + c)
        return np.asarray(values) if values.shape == shape else np.broadcast_to(values, shape).copy()
    result = np.empty(shape)
    full_n, full_c, full_k = (np.broadcast_to(array, shape) for array in (n, c, k_index))
    for value in np.unique(n).tolist():
        here = full_n == value
        table = table_of(value, distinct_k, int(full_c[here].max()))
        result[here] = table[full_k[here], full_c[here]]
    return result


def _failure(n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    return _look_up(_failure_table, n, c, k)


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased estimate of the probability that at least one of k episodes succeeds, 1 - C(n-c, k)/C(n, k).

    n, c, k: whole numbers that broadcast together (episodes, successes, draws). Returns their common shape, in [0, 1],
    NaN where k > n (the data hold no unbiased estimate). Raises ValueError for c < 0, c > n, k < 1 or values that are
    not whole.
    Source: Chen et al. 2021, equation 1; the paper applies it per cell (q, T).
    """
    episodes, successes = checked_counts(n, c)
    return _look_up(_pass_table, episodes, successes, _checked_k(k))


def pass_at_k_variance(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased variance of `pass_at_k` over repeated sampling of the n episodes of a fixed question: g_k^2 - g_2k.

    Shapes and errors as `pass_at_k`; NaN where 2k > n, because nothing unbiased exists there. Single values are 0 at c
    = 0 and wherever n - c < k, so use the mean over questions: the standard error of a mean over M fixed questions is
    sqrt(sum V_i) / M. It does not hold the variation between questions. Source: own derivation.
    """
    episodes, successes = checked_counts(n, c)
    draws = _checked_k(k)
    variance = _failure(episodes, successes, draws) ** 2 - _failure(episodes, successes, 2 * draws)
    # The exact value is never negative; what falls below 0 is rounding, and would turn a square root into NaN.
    return np.maximum(variance, 0.0)


def all_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased estimate of the probability that every one of k episodes succeeds (pass^k), C(c, k)/C(n, k).

    Shapes and errors as `pass_at_k`; NaN where k > n. Source: Yao et al. 2024 (tau-bench), arXiv 2406.12045.
    """
    episodes, successes = checked_counts(n, c)
    draws = _checked_k(k)
    return _failure(episodes, episodes - successes, draws)


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, tau: ArrayLike) -> FloatArray:
    """Unbiased estimate of the probability that at least max(1, ceil(tau k)) of k episodes succeed.

    n, c, k, tau broadcast together, tau in [0, 1]. NaN where k > n. tau = 0 gives pass@k, tau = 1 gives `all_at_k`.
    Raises ValueError as `pass_at_k`, and for tau outside [0, 1]. Source: Liu et al. 2024 (G-Pass@k), arXiv 2412.13147.
    """
    episodes, successes = checked_counts(n, c)
    draws, share = _checked_k(k), _checked_share(tau)
    # Without the slack, a share such as .55 of 100 rounds up to 56.
    needed = np.maximum(1, np.ceil(share * draws - 1e-9))
    feasible = draws <= episodes
    possible_draws = np.where(feasible, draws, 0)
    return np.where(feasible, scipy.stats.hypergeom.sf(needed - 1, episodes, successes, possible_draws), np.nan)


def cover_at(n: ArrayLike, c: ArrayLike, tau: ArrayLike) -> FloatArray:
    """Cover@tau: share of questions whose observed success rate c/n is at least tau.

    n, c broadcast together, questions on the last axis; tau is a scalar or a vector of shares. Returns the leading
    shape, followed by the shape of tau. Raises ValueError as `pass_at_k`, for n = 0 and for tau outside [0, 1].
    Plug-in, hence biased at small n: compare policies at equal n. Source: arXiv 2510.08325.
    """
    episodes, successes = np.broadcast_arrays(*checked_counts(n, c))
    if episodes.ndim == 0 or episodes.shape[-1] == 0:
        raise ValueError("cover_at needs at least one question on the last axis")
    if episodes.min() < 1:
        raise ValueError("cover_at needs at least one episode for every question")
    share = _checked_share(tau)
    rate = (successes / episodes).reshape(successes.shape[:-1] + (1,) * share.ndim + successes.shape[-1:])
    return np.asarray((rate >= share[..., None] - 1e-12).mean(axis=-1))


def _checked_share(tau: ArrayLike) -> FloatArray:
    share = np.asarray(tau, dtype=np.float64)
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError("tau must lie in [0, 1]")
    return share
