"""The base group of algorithm 2 of arXiv 2605.25507 is not a sample of independent rollouts: its exact law.

Rollouts are drawn until the group is full and a failure was seen, at most `limit` of them. The first failure becomes
the seed of the resets and is left out of the group, while the successes before it stay in: success is overstated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.resampling import FloatArray


@dataclass(frozen=True, eq=False)
class BaseGroupLaw:
    """Closed forms for success rates p; every array has the shape of p.

    `success_rate` and `mixed` are the expected share of successes in the base group and the probability that it holds
    both a success and a failure. The forms `..._given_reset` condition on a failure within the limit, NaN where there
    is none; without one nothing is reset and the first `size` rollouts, all successes, count as the group.
    `reset` is the probability of a reset, `rollouts` the expected number of chains generated, suffixes or the fresh
    ones that replace them included.
    """

    success_rate: FloatArray
    mixed: FloatArray
    success_rate_given_reset: FloatArray
    mixed_given_reset: FloatArray
    reset: FloatArray
    rollouts: FloatArray


def base_group_law(success: ArrayLike, size: int = 4, limit: int = 12, suffixes: int = 4) -> BaseGroupLaw:
    """Law of the base group for rollouts that succeed independently with probability `success`, of any shape.

    size: rollouts in the base group; limit: largest number drawn; suffixes: rollouts added after them.
    Raises ValueError for a p outside [0, 1] and for a limit that could leave the group short (limit < size + 1).
    Source: algorithm 2 and the released sampling loop; own derivation, conditioning on the number of successes before
    the first failure.
    """
    p = np.asarray(success, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("success must lie in [0, 1]")
    if size < 1 or limit < size + 1 or suffixes < 0:
        raise ValueError("size >= 1, limit >= size + 1 and suffixes >= 0 are needed")
    leading = p[..., None] ** np.arange(1, size + 1)
    rate = p + (1 - p) * leading.sum(axis=-1) / size
    # All successes: a full run of them, or a failure dropped at any of the first `size` places.
    all_right = p**size * (1 + size * (1 - p))
    mixed = 1 - all_right - (1 - p) ** (size + 1)
    none_failed = p**limit
    reset = 1 - none_failed
    waiting = (p[..., None] ** np.arange(size + 1, limit)).sum(axis=-1)
    return BaseGroupLaw(
        success_rate=np.asarray(rate),
        mixed=np.asarray(np.maximum(mixed, 0.0)),
        success_rate_given_reset=_given(rate - none_failed, reset),
        mixed_given_reset=_given(np.maximum(mixed, 0.0), reset),
        reset=np.asarray(reset),
        rollouts=np.asarray(size + 1 + waiting + suffixes),
    )


def independent_group_mixed(success: ArrayLike, size: int) -> FloatArray:
    """1 - p^size - (1 - p)^size, the probability that a group of independent rollouts is mixed; shape of p."""
    p = np.asarray(success, dtype=np.float64)
    return np.asarray(1 - p**size - (1 - p) ** size)


def _given(joint: FloatArray, condition: FloatArray) -> FloatArray:
    return np.divide(joint, condition, out=np.full(np.shape(condition), np.nan), where=condition > 0)
