"""A chain with k decisive of H steps, so that the coverage of the improvable set is k/H, and the coverage law on it.

States: open, partly solved, solved. Only the last step pays: R/2, plus what was found. Action 1 solves the task at a
decisive step (worth tau) and finds a partial solution (worth epsilon) at any other; no other action changes the state.
The base policy plays action 0 and stays open, so its value is R/2 wherever it goes: only the coverage varies with k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.advantage_estimate_law import TermLaw, simulate_estimates, term_law
from theory.markov_decision_process import MarkovDecisionProcess, evaluate_policy
from theory.paired import MeanInterval, mean_interval, t_interval
from theory.resampling import FloatArray
from theory.reset_rollouts import credit_reset_law, random_reset_law

OPEN, PARTLY, SOLVED = range(3)


@dataclass(frozen=True, eq=False)
class DecisiveChain:
    """The process, the base policy and the policy that always plays action 1, (H, 3, A), and the decisive steps.

    `improvable`: booleans (H, 3), the base policy's visits to decisive steps; `coverage` k/H.
    """

    process: MarkovDecisionProcess
    base: FloatArray
    right: FloatArray
    improvable: np.ndarray
    coverage: float

    def terms(self, with_oracle: bool, centred: bool = False) -> TermLaw:
        """Exact law of one term of the advantage estimate of `right`; centred terms have V^pi subtracted."""
        baseline = evaluate_policy(self.process, self.base).values if centred else None
        if with_oracle:
            law = credit_reset_law(self.process, self.base, self.improvable)
        else:
            law = random_reset_law(self.process, self.base)
        return term_law(self.process, self.base, self.right, law, baseline)


def decisive_chain(
    horizon: int,
    decisive: int,
    actions: int = 4,
    advantage: float = 0.25,
    nuisance: float = 0.0,
    reward_bound: float = 1.0,
    bernoulli: bool = False,
) -> DecisiveChain:
    """The chain with `decisive` steps spread evenly over `horizon`.

    advantage: tau in (0, R/2]; nuisance: epsilon in [0, tau). bernoulli: the last reward is R or 0 with the same mean,
    as a verifier's verdict, which leaves noise in the return even where nothing can be improved.
    Raises ValueError for values out of range. Source: the bed asked for by claim resets.coverage-law; with random
    resets its terms have the law of Proposition 10 at p = k/H.
    """
    if not 1 <= decisive <= horizon:
        raise ValueError(f"1 to {horizon} steps can be decisive, got {decisive}")
    if actions < 2:
        raise ValueError(f"two actions are needed at least, got {actions}")
    if not 0 <= nuisance < advantage <= reward_bound / 2:
        raise ValueError("0 <= nuisance < advantage <= reward_bound / 2 is needed")
    steps = np.arange(decisive) * horizon // decisive
    following = np.broadcast_to(np.arange(3)[:, None], (horizon, 3, actions)).copy()
    following[:, OPEN, 1] = PARTLY
    following[steps, :, 1] = SOLVED
    reward = np.zeros((horizon, 3, actions))
    reward[-1] = reward_bound / 2 + np.array([0.0, nuisance, advantage])[following[-1]]
    initial = np.eye(3)[OPEN]
    process = MarkovDecisionProcess(initial, np.eye(3)[following], reward, reward_bound, bernoulli)
    base, right = (np.broadcast_to(np.eye(actions)[action], reward.shape) for action in (0, 1))
    improvable = np.zeros((horizon, 3), dtype=bool)
    improvable[steps, OPEN] = True
    return DecisiveChain(process, base, right, improvable, decisive / horizon)


def simulated_samples_for_failure(
    law: TermLaw, trials: int, generator: np.random.Generator, level: float = 0.05
) -> float:
    """One simulated study's answer to "at which n does P(estimate <= 0) fall to `level`", interpolated.

    `trials` estimates are drawn at each n of a grid of ratio sqrt(2), up from 1, until the share of failures stays at
    or below `level` twice in a row; the crossing before these is interpolated in log n. Raises ValueError for terms
    without a positive mean, whose failures never become rare.
    """
    if law.mean <= 0:
        raise ValueError("terms without a positive mean fail however many there are")
    sizes: list[int] = []
    shares: list[float] = []
    exponent = 0
    while len(shares) < 3 or max(shares[-2:]) > level:
        size = round(2 ** (exponent / 2))
        exponent += 1
        if sizes and size == sizes[-1]:
            continue
        sizes.append(size)
        shares.append(float((simulate_estimates(law, size, trials, generator) <= 0).mean()))
    above = max(index for index, share in enumerate(shares) if share > level)
    weight = (shares[above] - level) / (shares[above] - shares[above + 1])
    return float(sizes[above] * (sizes[above + 1] / sizes[above]) ** weight)


def coverage_exponent(coverage: ArrayLike, ratio: ArrayLike, confidence: float = 0.95) -> MeanInterval:
    """Slope of log(ratio) on log(1/p) with its t interval.

    coverage: (levels,), at least three; ratio: positive, (levels,) or (seeds, levels). With several seeds each gives
    one slope and the seed is the unit; a single curve gives the interval of ordinary least squares over its levels,
    whose scatter is curvature if the curve is exact. Raises ValueError for shapes or values that do not fit.
    """
    p, values = np.asarray(coverage, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    if p.ndim != 1 or p.size < 3 or values.shape[-1:] != p.shape or values.ndim > 2:
        raise ValueError("coverage needs shape (levels,), at least three, and ratio (levels,) or (seeds, levels)")
    if not (np.all(p > 0) and np.all(values > 0) and np.all(np.isfinite(values))):
        raise ValueError("coverages and ratios must be positive and finite")
    x, y = -np.log(p), np.log(values)
    if y.ndim == 1:
        line = scipy.stats.linregress(x, y)
        return t_interval(line.slope, line.stderr, p.size - 2.0, confidence, "level", "least squares")
    centred = x - x.mean()
    return mean_interval(y @ centred / (centred @ centred), confidence, unit="seed")
