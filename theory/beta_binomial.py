"""Beta laws of the success rate over questions: curves, maximum likelihood with and without a mass at zero, posteriors.

The success rate of a question is p ~ Beta(alpha, beta), or exactly 0 with probability `zero_mass`. No finite number of
episodes tells a mass at 0 from a Beta that is steep there without this parametric form; the boundary at k to infinity
is that mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.estimators import FloatArray, IntArray, checked_counts

# exp of these bounds: a Beta outside is a point mass or two to the accuracy of any data set.
LOG_PARAMETER_BOUNDS = (-12.0, 12.0)
ZERO_MASS_BOUND = 1.0 - 1e-9


@dataclass(frozen=True)
class BetaBinomialFit:
    """A Beta law of success rates fitted by maximum likelihood. `zero_mass` is 0 for the plain Beta-binomial.

    `at_bound` says that alpha or beta ran into the search limits: the rates are (nearly) equal over questions, or all
    0 or 1.
    """

    alpha: float
    beta: float
    zero_mass: float
    log_likelihood: float
    questions: int
    at_bound: bool

    def pass_at_k(self, k: ArrayLike) -> FloatArray:
        """Model curve at any k (not limited by n)."""
        return beta_pass_at_k(self.alpha, self.beta, k, self.zero_mass)


@dataclass(frozen=True)
class ZeroMassInterval:
    """Profile-likelihood interval of the mass at p = 0, with the p-value of "there is none"."""

    estimate: float
    low: float
    high: float
    p_value: float
    confidence: float
    questions: int
    method: str


def beta_pass_at_k(alpha: ArrayLike, beta: ArrayLike, k: ArrayLike, zero_mass: ArrayLike = 0.0) -> FloatArray:
    """Mean pass@k under the law: (1 - zero_mass) (1 - B(alpha, beta + k) / B(alpha, beta)).

    All arguments broadcast; k >= 0 need not be whole. Raises ValueError for parameters out of range. Source: pass_kt
    section 3.5.
    """
    a, b, draws, mass = (np.asarray(x, dtype=np.float64) for x in (alpha, beta, k, zero_mass))
    if not (np.all(a > 0) and np.all(b > 0) and np.all(draws >= 0) and np.all((mass >= 0) & (mass <= 1))):
        raise ValueError("need alpha > 0, beta > 0, k >= 0 and zero_mass in [0, 1]")
    return np.asarray((1 - mass) * -np.expm1(scipy.special.betaln(a, b + draws) - scipy.special.betaln(a, b)))


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
    """Maximum-likelihood Beta-binomial fit to one (n, c) a question; n may differ between questions.

    n, c: broadcast to (questions,). Questions without episodes are ignored. Raises ValueError as `pass_at_k`, and
    where every episode failed or every one succeeded, because no Beta is then best. Source: Kazdan et al. 2025, arXiv
    2510.05197.
    """
    return fit_weighted(*tabulate(n, c), zero_inflated=False)


def fit_zero_inflated_beta_binomial(n: ArrayLike, c: ArrayLike) -> BetaBinomialFit:
    """As `fit_beta_binomial`, with a point mass at p = 0. Its likelihood is never below that of the plain fit.

    The mass is weakly identified unless n is large (256 or more on questions without a success): report
    `zero_mass_interval` with it. Source: pass_kt section 3.5; zero inflation as in Verine et al. 2026.
    """
    return fit_weighted(*tabulate(n, c), zero_inflated=True)


def zero_mass_interval(n: ArrayLike, c: ArrayLike, confidence: float = 0.95) -> ZeroMassInterval:
    """Profile-likelihood interval of the zero mass, and the likelihood-ratio test against no mass.

    Arguments and errors as `fit_beta_binomial`. The p-value halves the chi-square tail, since 0 is on the edge of the
    parameter space (Self and Liang 1987). Source: pass_kt.zero-mass, profile likelihood.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    table = tabulate(n, c)
    best = fit_weighted(*table, zero_inflated=True)
    without_mass = _maximise(*table, fixed_mass=0.0)[1]
    top = without_mass if best.zero_mass == 0 else _maximise(*table, fixed_mass=best.zero_mass)[1]
    cutoff = top - scipy.stats.chi2.ppf(confidence, 1) / 2

    def height(mass: float) -> float:
        return _maximise(*table, fixed_mass=mass)[1] - cutoff

    low = 0.0 if without_mass >= cutoff else scipy.optimize.brentq(height, 0.0, best.zero_mass, xtol=1e-6)
    high = scipy.optimize.brentq(height, best.zero_mass, ZERO_MASS_BOUND, xtol=1e-6)
    p_value = 1.0 if best.zero_mass == 0 else float(scipy.stats.chi2.sf(2 * max(0.0, top - without_mass), 1) / 2)
    return ZeroMassInterval(
        best.zero_mass, float(low), float(high), p_value, confidence, best.questions, "profile likelihood"
    )


def posterior_zero_mass(
    alpha: ArrayLike, beta: ArrayLike, n: ArrayLike, c: ArrayLike, zero_mass: ArrayLike = 0.0
) -> FloatArray:
    """P(p = 0 | c of n); 0 wherever c > 0. Arguments broadcast; errors as `pass_at_k`. Source: Bayes' rule."""
    episodes, successes = checked_counts(n, c)
    a, b, mass = (np.asarray(x, dtype=np.float64) for x in (alpha, beta, zero_mass))
    none = np.exp(scipy.special.betaln(a, b + episodes) - scipy.special.betaln(a, b))
    return np.asarray(np.where(successes == 0, mass / (mass + (1 - mass) * none), 0.0))


def posterior_pass_at_k(
    alpha: ArrayLike, beta: ArrayLike, n: ArrayLike, c: ArrayLike, k: ArrayLike, zero_mass: ArrayLike = 0.0
) -> FloatArray:
    """Posterior mean of a question's true pass@k after c of n, under the given prior.

    Arguments broadcast. Use a prior fitted to the panel: the uniform Beta(1, 1) claims .50 for pass@64 after 0 of 64.
    Errors as `pass_at_k`. Source: pass_kt section 3.4; scorio's closed form.
    """
    episodes, successes = checked_counts(n, c)
    a, b = np.asarray(alpha, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    at_zero = posterior_zero_mass(a, b, episodes, successes, zero_mass)
    return np.asarray((1 - at_zero) * beta_pass_at_k(a + successes, b + episodes - successes, k))


def boundary_membership(
    alpha: ArrayLike,
    beta: ArrayLike,
    n: ArrayLike,
    c: ArrayLike,
    k: ArrayLike,
    level: ArrayLike = 0.5,
    zero_mass: ArrayLike = 0.0,
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
    at_zero = posterior_zero_mass(a, b, episodes, successes, zero_mass)
    # The complement through the mirrored Beta keeps small probabilities accurate.
    return np.asarray((1 - at_zero) * scipy.special.betainc(b + episodes - successes, a + successes, 1 - threshold))


def tabulate(n: ArrayLike, c: ArrayLike) -> tuple[IntArray, IntArray, FloatArray]:
    """Distinct (n, c) pairs and how often each occurs; questions without episodes are left out."""
    episodes, successes = np.broadcast_arrays(*checked_counts(n, c))
    pairs = np.stack([episodes.ravel(), successes.ravel()], axis=1)
    pairs = pairs[pairs[:, 0] > 0]
    if pairs.shape[0] == 0:
        raise ValueError("there are no episodes to fit")
    distinct, occurrences = np.unique(pairs, axis=0, return_counts=True)
    return distinct[:, 0], distinct[:, 1], occurrences.astype(np.float64)


def fit_weighted(n: IntArray, c: IntArray, weights: FloatArray, zero_inflated: bool) -> BetaBinomialFit:
    """Fit to distinct (n, c) pairs with multiplicities, as `tabulate` returns them; weights of 0 are allowed."""
    seen = weights > 0
    n, c, weights = n[seen], c[seen], weights[seen]
    if np.all(c == 0) or np.all(c == n):
        raise ValueError("every episode had the same outcome: a Beta-binomial fit does not exist")
    plain, plain_height = _maximise(n, c, weights, fixed_mass=0.0)
    parameters, height = plain, plain_height
    if zero_inflated and np.any(c == 0):
        candidate, candidate_height = _maximise(n, c, weights, fixed_mass=None)
        # A mass that gains nothing beyond the optimiser's own tolerance is no mass.
        if candidate_height > plain_height + 1e-7:
            parameters, height = candidate, candidate_height
    log_alpha, log_beta, mass = parameters
    low, high = LOG_PARAMETER_BOUNDS
    at_bound = min(log_alpha, log_beta) < low + 1e-3 or max(log_alpha, log_beta) > high - 1e-3
    constant = float(
        weights @ (scipy.special.gammaln(n + 1) - scipy.special.gammaln(c + 1) - scipy.special.gammaln(n - c + 1))
    )
    return BetaBinomialFit(
        alpha=float(np.exp(log_alpha)),
        beta=float(np.exp(log_beta)),
        zero_mass=float(mass),
        log_likelihood=height + constant,
        questions=round(float(weights.sum())),
        at_bound=bool(at_bound),
    )


def _maximise(n: IntArray, c: IntArray, weights: FloatArray, fixed_mass: float | None) -> tuple[FloatArray, float]:
    """(log alpha, log beta, zero mass) and the log-likelihood without its binomial coefficients.

    The mass is estimated where `fixed_mass` is None.
    """
    rate = c / n
    mean = float(weights @ rate / weights.sum())
    spread = float(weights @ (rate - mean) ** 2 / weights.sum())
    total = np.clip(mean * (1 - mean) / max(spread, 1e-9) - 1, 0.05, 1e4)
    start = [np.log(mean * total), np.log((1 - mean) * total)]
    starts: list[list[float]] = [start, [-0.7, -0.7]]
    if fixed_mass is None:
        zero_share = float(weights[c == 0].sum() / weights.sum())
        starts = [[*pair, share * zero_share] for pair in starts for share in (0.9, 0.3)]
    bounds = [LOG_PARAMETER_BOUNDS] * 2 + ([(0.0, ZERO_MASS_BOUND)] if fixed_mass is None else [])

    def negative(parameters: FloatArray) -> tuple[float, FloatArray]:
        mass = float(parameters[2]) if fixed_mass is None else fixed_mass
        value, gradient = _log_likelihood(float(parameters[0]), float(parameters[1]), mass, n, c, weights)
        return -value, -gradient[: len(parameters)]

    best: FloatArray | None = None
    lowest = np.inf
    for point in starts:
        clipped = [float(np.clip(x, *bound)) for x, bound in zip(point, bounds, strict=True)]
        found = scipy.optimize.minimize(
            negative, clipped, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-7}
        )
        if best is None or found.fun < lowest - 1e-9:
            best, lowest = np.asarray(found.x), float(found.fun)
    assert best is not None
    if fixed_mass is not None:
        best = np.append(best, fixed_mass)
    return best, -lowest


def _log_likelihood(
    log_alpha: float, log_beta: float, mass: float, n: IntArray, c: IntArray, weights: FloatArray
) -> tuple[float, FloatArray]:
    """Value and gradient in (log alpha, log beta, mass)."""
    alpha, beta = np.exp(log_alpha), np.exp(log_beta)
    plain = scipy.special.betaln(alpha + c, beta + n - c) - scipy.special.betaln(alpha, beta)
    common = scipy.special.digamma(alpha + beta) - scipy.special.digamma(alpha + beta + n)
    by_alpha = alpha * (scipy.special.digamma(alpha + c) - scipy.special.digamma(alpha) + common)
    by_beta = beta * (scipy.special.digamma(beta + n - c) - scipy.special.digamma(beta) + common)
    none = c == 0
    log_rest = np.log1p(-mass)
    log_mass = np.log(mass) if mass > 0 else -np.inf
    # Where there was a success the mass only scales the likelihood; where there was none it is a second way to get
    # there. In logarithms throughout: far from the optimum the probability of no success underflows.
    value = np.where(none, np.logaddexp(log_mass, log_rest + plain), log_rest + plain)
    share = np.where(none, np.exp(log_rest + plain - value), 1.0)
    by_mass = np.where(none, -np.expm1(plain) * np.exp(np.minimum(-value, 700.0)), -1.0 / (1 - mass))
    gradient = np.array([weights @ (share * by_alpha), weights @ (share * by_beta), weights @ by_mass])
    return float(weights @ value), gradient
