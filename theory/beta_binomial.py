"""Beta laws of the success rate over questions: curves, maximum likelihood, posteriors.

The success rate of a question is p ~ Beta(alpha, beta).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.estimators import FloatArray, checked_counts

# exp of these bounds: a Beta outside is a point mass or two to the accuracy of any data set.
LOG_PARAMETER_BOUNDS = (-12.0, 12.0)


@dataclass(frozen=True)
class BetaBinomialFit:
    """A Beta law of success rates fitted by maximum likelihood.

    `at_bound` says that alpha or beta ran into the search limits: the rates are (nearly) equal over questions, or all
    0 or 1.
    """

    alpha: float
    beta: float
    log_likelihood: float
    questions: int
    at_bound: bool

    def pass_at_k(self, k: ArrayLike) -> FloatArray:
        """Model curve at any k (not limited by n)."""
        return beta_pass_at_k(self.alpha, self.beta, k)


def beta_pass_at_k(alpha: ArrayLike, beta: ArrayLike, k: ArrayLike) -> FloatArray:
    """Mean pass@k under the law: 1 - B(alpha, beta + k) / B(alpha, beta).

    All arguments broadcast; k >= 0 need not be whole. Raises ValueError for parameters out of range. Source: pass_kt
    section 3.5.
    """
    a, b, draws = (np.asarray(x, dtype=np.float64) for x in (alpha, beta, k))
    if not (np.all(a > 0) and np.all(b > 0) and np.all(draws >= 0)):
        raise ValueError("need alpha > 0, beta > 0 and k >= 0")
    return np.asarray(-np.expm1(scipy.special.betaln(a, b + draws) - scipy.special.betaln(a, b)))


def beta_from_pass_values(pass_at_1: float, pass_at_k: float, k: int) -> tuple[float, float]:
    """(alpha, beta) of the Beta whose curve goes through pass@1 and pass@k: what two published numbers imply.

    Raises ValueError unless 0 < pass@1 < pass@k < 1 - (1 - pass@1)^k, the range a Beta can reach. Source: own
    calculation.
    """
    if k < 2 or not 0 < pass_at_1 < pass_at_k < -np.expm1(k * np.log1p(-pass_at_1)):
        raise ValueError(f"no Beta has pass@1 = {pass_at_1} and pass@{k} = {pass_at_k}")

    def excess(log_total: float) -> float:
        total = np.exp(log_total)
        return float(beta_pass_at_k(pass_at_1 * total, (1 - pass_at_1) * total, k)) - pass_at_k

    total = np.exp(scipy.optimize.brentq(excess, -20.0, 20.0, xtol=1e-12))
    return float(pass_at_1 * total), float((1 - pass_at_1) * total)


def fit_beta_binomial(n: ArrayLike, c: ArrayLike) -> BetaBinomialFit:
    """Maximum-likelihood Beta-binomial fit to one (n, c) per question; n may differ between questions.

    n, c: broadcast to (questions,). Questions without episodes are ignored. Raises ValueError as `pass_at_k`, and
    where every episode failed or every one succeeded, because no Beta is then best. Source: Kazdan et al. 2025, arXiv
    2510.05197.
    """
    pairs = np.stack([array.ravel() for array in np.broadcast_arrays(*checked_counts(n, c))], axis=1)
    pairs = pairs[pairs[:, 0] > 0]
    if pairs.shape[0] == 0:
        raise ValueError("there are no episodes to fit")
    distinct, weights = np.unique(pairs, axis=0, return_counts=True)
    episodes, successes = distinct.T
    if np.all(successes == 0) or np.all(successes == episodes):
        raise ValueError("every episode had the same outcome: a Beta-binomial fit does not exist")

    def negative(parameters: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log-likelihood without its binomial coefficients, and its gradient in (log alpha, log beta)."""
        a, b = np.exp(parameters)
        value = scipy.special.betaln(a + successes, b + episodes - successes) - scipy.special.betaln(a, b)
        common = scipy.special.digamma(a + b) - scipy.special.digamma(a + b + episodes)
        by_alpha = a * (scipy.special.digamma(a + successes) - scipy.special.digamma(a) + common)
        by_beta = b * (scipy.special.digamma(b + episodes - successes) - scipy.special.digamma(b) + common)
        return -float(weights @ value), -np.array([weights @ by_alpha, weights @ by_beta])

    rate = successes / episodes
    mean = float(weights @ rate / weights.sum())
    spread = float(weights @ (rate - mean) ** 2 / weights.sum())
    total = np.clip(mean * (1 - mean) / max(spread, 1e-9) - 1, 0.05, 1e4)
    low, high = LOG_PARAMETER_BOUNDS
    found = []
    for start in ([np.log(mean * total), np.log((1 - mean) * total)], [-0.7, -0.7]):
        options = {"ftol": 1e-13, "gtol": 1e-7}
        bounds = [LOG_PARAMETER_BOUNDS] * 2
        point = np.clip(start, low, high)
        found.append(
            scipy.optimize.minimize(negative, point, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        )
    # The second start counts only if it is better by more than the optimiser's tolerance.
    best = found[1] if found[1].fun < found[0].fun - 1e-9 else found[0]
    log_alpha, log_beta = best.x
    constant = (
        scipy.special.gammaln(episodes + 1)
        - scipy.special.gammaln(successes + 1)
        - scipy.special.gammaln(episodes - successes + 1)
    )
    return BetaBinomialFit(
        alpha=float(np.exp(log_alpha)),
        beta=float(np.exp(log_beta)),
        log_likelihood=float(weights @ constant) - float(best.fun),
        questions=int(weights.sum()),
        at_bound=bool(min(log_alpha, log_beta) < low + 1e-3 or max(log_alpha, log_beta) > high - 1e-3),
    )


def posterior_pass_at_k(alpha: ArrayLike, beta: ArrayLike, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Posterior mean of a question's true pass@k after c of n, under the given prior.

    Arguments broadcast. Use a prior fitted to the panel: the uniform Beta(1, 1) claims .50 for pass@64 after 0 of 64.
    Errors as `pass_at_k`. Source: pass_kt section 3.4; scorio's closed form.
    """
    episodes, successes = checked_counts(n, c)
    return beta_pass_at_k(np.asarray(alpha) + successes, np.asarray(beta) + episodes - successes, k)


def boundary_membership(
    alpha: ArrayLike, beta: ArrayLike, n: ArrayLike, c: ArrayLike, k: ArrayLike, level: ArrayLike = 0.5
) -> FloatArray:
    """P(true pass@k > level | c of n): an empirical-Bayes statement of being inside the boundary, instead of c > 0.

    Arguments broadcast; level in [0, 1). With k = 1 it is P(p > level). Raises ValueError as `pass_at_k` or for a bad
    level.
    Source: pass_kt section 3.4, own notation.
    """
    episodes, successes = checked_counts(n, c)
    a, b, height = (np.asarray(x, dtype=np.float64) for x in (alpha, beta, level))
    if not np.all((height >= 0) & (height < 1)):
        raise ValueError("level must lie in [0, 1)")
    threshold = -np.expm1(np.log1p(-height) / np.asarray(k, dtype=np.float64))
    # The complement through the mirrored Beta keeps small probabilities accurate.
    return np.asarray(scipy.special.betainc(b + episodes - successes, a + successes, 1 - threshold))
