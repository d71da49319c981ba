"""Upper bounds on an expected loss from its mean over a sample and the complexity of what was chosen on that sample.

Forms (A) to (E) of the specification of ReuseRL, section 3.2. Which form the paper has is not public.

Common assumptions: the m losses are independent draws of one law, the law the bound speaks about (fixed policy, no
buffer of older policies); losses lie in [0, loss_range]; the prior over dictionaries (code, alphabet, cap and loss
range included) is fixed before the data are seen. `complexity` is in nats. For one chosen dictionary it is -ln P(C),
that is `theory.mdl.dictionary_nats`, or ln 2 times the bits of a real prefix code; for a random choice Q it is
KL(Q || P). A buffer that mixes policies, or a cap chosen to make the bound small, breaks them.

All arguments broadcast; every function returns their common shape. A result above loss_range says nothing. All raise
ValueError for a mean outside [0, loss_range], a negative complexity, fewer than one sample, or a delta outside (0, 1).
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.resampling import FloatArray


def occam_hoeffding_bound(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike = 0.05,
    loss_range: ArrayLike = 1.0,
) -> FloatArray:
    """(A) mean + range sqrt((complexity + ln(1/delta)) / 2m), for all dictionaries at once; needs Kraft's inequality.

    Source: Hoeffding's inequality per dictionary and a union bound; McAllester 2013 (arXiv 1307.2118), Occam bound.
    """
    mean, budget, width = _prepared(mean_loss, complexity, samples, delta, loss_range, mixture=False)
    return np.asarray(width * (mean + np.sqrt(budget / 2)))


def mcallester_maurer_bound(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike = 0.05,
    loss_range: ArrayLike = 1.0,
) -> FloatArray:
    """(B) mean + range sqrt((complexity + ln(2 sqrt(m)/delta)) / 2m), for all random choices Q at once.

    Source: McAllester 1999 with the constant of Maurer 2004; follows from (C) by Pinsker's inequality.
    """
    mean, budget, width = _prepared(mean_loss, complexity, samples, delta, loss_range, mixture=True)
    return np.asarray(width * (mean + np.sqrt(budget / 2)))


def seeger_langford_bound(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike = 0.05,
    loss_range: ArrayLike = 1.0,
) -> FloatArray:
    """(C) largest p with kl(mean || p) <= (complexity + ln(2 sqrt(m)/delta)) / m, for all random choices Q at once.

    Source: Seeger 2002, Langford 2005, constant of Maurer 2004.
    """
    mean, budget, width = _prepared(mean_loss, complexity, samples, delta, loss_range, mixture=True)
    return np.asarray(width * binary_kl_inverse(mean, budget))


def catoni_bound(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike = 0.05,
    loss_range: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
) -> FloatArray:
    """(D) (1 - exp(-beta mean - (complexity + ln(1/delta)) / m)) / (1 - exp(-beta)), for all Q at once.

    beta > 0 must be fixed before the data are seen; choosing among n values costs ln(n) of complexity. Raises
    ValueError for beta <= 0. Source: Catoni 2007, theorem 1.2.1.
    """
    slope = np.asarray(beta, dtype=np.float64)
    if not np.all(slope > 0):
        raise ValueError("beta must be positive")
    mean, budget, width = _prepared(mean_loss, complexity, samples, delta, loss_range, mixture=False)
    return np.asarray(width * np.expm1(-slope * mean - budget) / np.expm1(-slope))


def occam_chernoff_bound(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike = 0.05,
    loss_range: ArrayLike = 1.0,
) -> FloatArray:
    """(E) largest p with kl(mean || p) <= (complexity + ln(1/delta)) / m, for all dictionaries at once; needs Kraft.

    Never above (A). Source: Chernoff's bound per dictionary and a union bound; Langford 2005.
    """
    mean, budget, width = _prepared(mean_loss, complexity, samples, delta, loss_range, mixture=False)
    return np.asarray(width * binary_kl_inverse(mean, budget))


def binary_kl(q: ArrayLike, p: ArrayLike) -> FloatArray:
    """kl(q || p) of two coins, in nats; infinite where p excludes what q allows. q and p in [0, 1] broadcast."""
    first, second = np.asarray(q, dtype=np.float64), np.asarray(p, dtype=np.float64)
    return np.asarray(scipy.special.rel_entr(first, second) + scipy.special.rel_entr(1 - first, 1 - second))


def binary_kl_inverse(q: ArrayLike, budget: ArrayLike) -> FloatArray:
    """Largest p in [q, 1] with kl(q || p) <= budget; q in [0, 1] and budget >= 0 (nats) broadcast.

    Bisected to the last bit and rounded up, so that a bound made of it stays one.
    """
    mean, most = np.broadcast_arrays(np.asarray(q, dtype=np.float64), np.asarray(budget, dtype=np.float64))
    low, high = mean.copy(), np.ones_like(mean)
    # Sixty halvings leave less than the spacing of doubles.
    for _ in range(60):
        middle = (low + high) / 2
        inside = binary_kl(mean, middle) <= most
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(high)


def _prepared(
    mean_loss: ArrayLike,
    complexity: ArrayLike,
    samples: ArrayLike,
    delta: ArrayLike,
    loss_range: ArrayLike,
    mixture: bool,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean on the scale [0, 1], nats per sample (for a mixture with Maurer's 2 sqrt(m)), and the range."""
    mean, nats, count, risk, width = (
        np.asarray(value, dtype=np.float64) for value in (mean_loss, complexity, samples, delta, loss_range)
    )
    if not np.all(width > 0):
        raise ValueError("loss_range must be positive")
    if not (np.all(mean >= 0) and np.all(mean <= width)):
        raise ValueError("mean_loss must lie in [0, loss_range]")
    if not np.all(nats >= 0):
        raise ValueError("complexity must be at least 0 nats")
    if not np.all(count >= 1):
        raise ValueError("a bound needs at least one sample")
    if not (np.all(risk > 0) and np.all(risk < 1)):
        raise ValueError("delta must lie in (0, 1)")
    confidence = np.log(2 * np.sqrt(count) / risk) if mixture else np.log(1 / risk)
    return mean / width, (nats + confidence) / count, width
