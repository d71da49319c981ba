"""What the planned sizes of PASS@(k,T) could detect, before anything runs.

Assumptions, stated with each row: success rates follow the Betas fitted to the published values of bridge questions
(section 5.5 of the specification: base .251/.440, trained .323/.641), joined by a Gaussian copula with correlation
.95; every seed's rates are drawn anew and the true gain does not differ between seeds. A real spread between seeds
makes the effects larger.
"""

from __future__ import annotations

import numpy as np
import scipy

from reproduce.claims.power import Planned
from reproduce.claims.published import published_number
from reproduce.core.settings import ExperimentConfig
from theory.pass_kt import beta_from_pass_values, pass_at_k

COPULA_CORRELATION = 0.95
SIMULATED_QUESTIONS = 20_000


def question_deviations(config: ExperimentConfig) -> tuple[float, float]:
    """Standard deviations over questions, in points, of the estimated gain at the largest k and of W; one seed."""
    generator = np.random.default_rng(0)
    covariance = [[1.0, COPULA_CORRELATION], [COPULA_CORRELATION, 1.0]]
    uniform = scipy.stats.norm.cdf(generator.multivariate_normal([0.0, 0.0], covariance, SIMULATED_QUESTIONS))
    n, ks = config.evaluation.samples, np.array([1, config.evaluation.largest_k])
    values = []
    for place, arm in enumerate(("base", "RL")):
        low, high = (float(published_number("pass_kt", f"pass.C.{arm}.k{k}.T5").value) for k in (1, 64))
        shape = beta_from_pass_values(low, high, 64)
        rates = scipy.stats.beta.ppf(uniform[:, place], *shape)
        values.append(100 * pass_at_k(n, generator.binomial(n, rates)[:, None], ks))
    gain = values[1] - values[0]
    return float(gain[:, 1].std()), float((gain[:, 1] - gain[:, 0]).std())


def planned_effects(config: ExperimentConfig) -> tuple[Planned, ...]:
    """The assumed spread of the claims about gains on bridge questions."""
    seeds, questions, k = config.seeds, config.panels.test_per_category, config.evaluation.largest_k
    gain, widening = (deviation / questions**0.5 for deviation in question_deviations(config))
    design = f"{seeds} seeds, {questions} questions, n = {config.evaluation.samples}; "
    design += "published Betas, copula .95, no spread of seeds"
    return (
        Planned("pass_kt.gap-widens", widening, design),
        Planned("pass_kt.endpoint-gain", gain, design),
        Planned("pass_kt.task-specific", 2**0.5 * widening, f"{design}; both categories alike"),
        Planned("pass_kt.static-inert", gain, f"{design}; truly equal, at k = {k}", margin=True),
        Planned("pass_kt.depth-saturation", gain, f"{design}; truly equal, forks make it smaller", margin=True),
    )
