"""Exact law of the advantage estimate of conservative policy iteration when the direction of the step is known.

The estimate is a mean of n independent terms Y = |Y| (pi'(y|x) - pi(y|x)) (G - baseline(x)). On a small process the law
of one term is enumerated, and with it the probability that the mean of n terms is not positive: no step is made then.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm, log, sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.estimators import IntArray
from theory.markov_decision_process import MarkovDecisionProcess, as_policy
from theory.resampling import FloatArray

# Returns that agree to this many decimals are one value.
DECIMALS = 10
LARGEST_SUPPORT = 100_000
LARGEST_DENOMINATOR = 100_000
LARGEST_TRANSFORM = 1 << 24
# Probability that the transform may drop outside its window.
TAIL = 1e-15

Law = dict[float, float]


@dataclass(frozen=True, eq=False)
class TermLaw:
    """Law of one term of the estimate: distinct `values` with their `probabilities`, shape (values,) each."""

    values: FloatArray
    probabilities: FloatArray

    @property
    def mean(self) -> float:
        return float(self.values @ self.probabilities)

    @property
    def variance(self) -> float:
        return float((self.values - self.mean) ** 2 @ self.probabilities)


def term_law(
    process: MarkovDecisionProcess,
    policy: ArrayLike,
    new_policy: ArrayLike,
    reset_law: ArrayLike,
    baseline: ArrayLike | None = None,
) -> TermLaw:
    """Exact law of one term for resets with law `reset_law` over (h, x), shape (H, S), and y ~ Unif(Y).

    policy, new_policy: (H, S, A); baseline: (H, S) or None for 0. Its mean is the policy advantage of new_policy under
    random resets, and that advantage given an improvable state under the credit sampler.
    Raises ValueError if the returns take more than 100,000 values. Source: equation of Y_i in appendix A.3 of arXiv
    2605.25507.
    """
    base, new = as_policy(process, policy), as_policy(process, new_policy)
    centre = np.zeros(base.shape[:-1]) if baseline is None else np.asarray(baseline, dtype=np.float64)
    laws = return_laws(process, base)
    total: Law = defaultdict(float)
    reset = np.asarray(reset_law, dtype=np.float64)
    for time, state in np.argwhere(reset > 0).tolist():
        chance = float(reset[time, state]) / process.actions
        for action in range(process.actions):
            weight = process.actions * float(new[time, state, action] - base[time, state, action])
            for value, probability in laws[time][state][action].items():
                total[round(weight * (value - float(centre[time, state])), DECIMALS) + 0.0] += chance * probability
    values = sorted(value for value, probability in total.items() if probability > 0)
    return TermLaw(np.array(values), np.array([total[value] for value in values]))


def return_laws(process: MarkovDecisionProcess, policy: ArrayLike) -> list[list[list[Law]]]:
    """Law of the return-to-go of `policy` from every (time, state, action), as {return: probability}, enumerated.

    Raises ValueError if a return takes more than 100,000 values, as continuous rewards over many times do.
    """
    rule = as_policy(process, policy)
    table: list[list[list[Law]]] = []
    after: list[Law] = [{0.0: 1.0}] * process.states
    for time in reversed(range(process.horizon)):
        cells = [
            [
                _add(_pay_law(process, time, state, action), _mixture(process.transition[time, state, action], after))
                for action in range(process.actions)
            ]
            for state in range(process.states)
        ]
        after = [_mixture(rule[time, state], cells[state]) for state in range(process.states)]
        table.append(cells)
    return table[::-1]


def failure_probability(law: TermLaw, samples: int) -> float:
    """P(mean of `samples` independent terms <= 0), exact to about 1e-12.

    The values must be whole multiples of a common unit; the sum is then a power of one discrete Fourier transform over
    a window that holds all but 1e-15 of the probability (Bernstein's inequality). Raises ValueError for values without
    a unit, or one so small that the transform would not fit in memory.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    steps = _lattice(law.values)
    mean, deviation = float(steps @ law.probabilities), float(np.abs(steps).max() or 1)
    variance = float((steps - mean) ** 2 @ law.probabilities)
    bound, level = (deviation + abs(mean)) / 3, log(2 / TAIL)
    reach = bound * level + sqrt((bound * level) ** 2 + 2 * samples * variance * level)
    low = max(samples * int(steps.min()), ceil(samples * mean - reach) - 1)
    high = min(samples * int(steps.max()), int(samples * mean + reach) + 1)
    # As long as one term, too: values that fall on one another in the ring would be confused.
    size = scipy.fft.next_fast_len(max(high - low, int(np.ptp(steps))) + 1, real=True)
    if size > LARGEST_TRANSFORM:
        raise ValueError("the values of the terms have too small a common unit: simulate instead")
    one = np.zeros(size)
    np.add.at(one, steps % size, law.probabilities)
    ring = np.fft.irfft(np.fft.rfft(one) ** samples, size)
    if high <= 0:
        return 1.0
    return float(np.clip(ring[np.arange(low, 1) % size].sum(), 0.0, 1.0)) if low <= 0 else 0.0


def samples_for_failure(law: TermLaw, level: float = 0.05) -> int:
    """Smallest n with P(mean of n terms <= 0) <= level, by doubling and bisection on the exact probability.

    Raises ValueError for a level outside (0, 1) and for terms whose mean is not positive.
    """
    _check_level(law, level)
    upper = 1
    while failure_probability(law, upper) > level:
        upper *= 2
    lower = upper // 2
    while upper - lower > 1:
        middle = (lower + upper) // 2
        if failure_probability(law, middle) > level:
            lower = middle
        else:
            upper = middle
    return upper


def normal_samples_for_failure(law: TermLaw, level: float = 0.05) -> float:
    """n = z^2 Var(Y)/E[Y]^2, at which a normal mean is 0 or less with probability `level`; not rounded."""
    _check_level(law, level)
    return float(scipy.stats.norm.isf(level)) ** 2 * law.variance / law.mean**2


def simulate_estimates(law: TermLaw, samples: int, trials: int, generator: np.random.Generator) -> FloatArray:
    """`trials` independent estimates from `samples` terms each, shape (trials,); memory does not grow with samples."""
    counts = generator.multinomial(samples, law.probabilities / law.probabilities.sum(), size=trials)
    return np.asarray(counts @ law.values / samples)


def _lattice(values: FloatArray) -> IntArray:
    """The values in units of the largest unit that divides them all."""
    scale = float(np.abs(values).max())
    if scale == 0:
        return np.zeros(values.size, dtype=np.int64)
    fractions = [Fraction(value / scale).limit_denominator(LARGEST_DENOMINATOR) for value in values.tolist()]
    denominator = lcm(*(fraction.denominator for fraction in fractions))
    steps = np.array([fraction.numerator * (denominator // fraction.denominator) for fraction in fractions])
    if np.abs(steps / denominator - values / scale).max() > 1e-9:
        raise ValueError("the values of the terms have no common unit: simulate instead")
    return np.asarray(steps // np.gcd.reduce(steps), dtype=np.int64)


def _pay_law(process: MarkovDecisionProcess, time: int, state: int, action: int) -> Law:
    reward = float(process.reward[time, state, action])
    if not process.bernoulli:
        return {reward: 1.0}
    chance = reward / process.reward_bound
    return {0.0: 1 - chance, process.reward_bound: chance}


def _mixture(weights: FloatArray, laws: list[Law]) -> Law:
    mixed: Law = defaultdict(float)
    for weight, law in zip(weights.tolist(), laws, strict=True):
        if weight > 0:
            for value, probability in law.items():
                mixed[value] += weight * probability
    return _small(mixed)


def _add(first: Law, second: Law) -> Law:
    """Law of the sum of two independent returns."""
    summed: Law = defaultdict(float)
    for a, chance in first.items():
        if chance > 0:
            for b, probability in second.items():
                summed[round(a + b, DECIMALS)] += chance * probability
    return _small(summed)


def _small(law: Law) -> Law:
    if len(law) > LARGEST_SUPPORT:
        raise ValueError(f"the returns of this process take more than {LARGEST_SUPPORT} values: simulate instead")
    return law


def _check_level(law: TermLaw, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if law.mean <= 0:
        raise ValueError("terms without a positive mean fail however many there are")
