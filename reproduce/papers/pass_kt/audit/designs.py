"""PASS@(k,T): what the published design could have found, and what would have been enough.

Assumptions of every row (section 3.7 of the specification): success rates on category C follow the Beta laws through
the published points, and the rates of one question under base and RL are joined by a Gaussian copula. Its correlation
is assumed, since nothing published bears on it. McNemar power comes from quadrature, all else from simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reproduce.claims.published import published_number
from reproduce.papers.pass_kt.audit.counts import boundary_pairs, evaluation_questions
from reproduce.papers.pass_kt.audit.noise import evaluation_episodes, rate_law
from theory.inference import mcnemar_questions, power_mcnemar
from theory.pass_kt import pass_at_k

SIMULATIONS = 2_000
SIGN_FLIPS = 1_000
ALPHA = 0.05
KS = (1, 32, 64)
MARGINS = (3, 5, 10)
ROUND_SIZES = (400, 600, 150)
"""Comfortable panels for RL against base, SFT against base and RL against SFT."""
NODES = np.linspace(-8.5, 8.5, 20_001)
"""Standard normal scores at which the quantiles of a rate law are tabulated; between them they are interpolated."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Questions of one category, episodes a question and policy, and the assumed correlation of the copula."""

    questions: int
    episodes: int
    correlation: float = 0.95

    @property
    def label(self) -> str:
        return f"M = {self.questions}, n = {self.episodes}"


@dataclass(frozen=True)
class EndPower:
    """Power to find the published gain at k = 64, two-sided at 5 %."""

    design: Design
    paired_t: float
    sign_flip: float
    mcnemar: float
    mid_p: float


@dataclass(frozen=True)
class WideningPower:
    """Power to find that the gap grows from k = 1 to 64 or 32, by a paired t-test of the contrast at 5 %."""

    design: Design
    two_sided: tuple[float, float]
    one_sided: tuple[float, float]
    standard_error: float
    """Of the contrast at k = 64, over questions and episodes, in points."""


@dataclass(frozen=True)
class EqualityPower:
    """Probability that TOST at k = 64 shows equality within each of MARGINS when both arms follow the base's law."""

    design: Design
    power: tuple[float, ...]


@dataclass(frozen=True)
class PanelSize:
    """Questions for 80 % power of the exact McNemar test, and its power at a round number and in the paper's panel."""

    gained_rate: float
    lost_rate: float
    needed: int
    round_size: int
    round_power: float
    published_power: float


def end_designs() -> tuple[Design, ...]:
    """The published design first."""
    questions, episodes = evaluation_questions(), evaluation_episodes()
    sizes = ((questions, episodes), (questions, 128), (300, 64), (300, 128), (1000, 64))
    return tuple(Design(*size) for size in sizes)


def widening_designs() -> tuple[Design, ...]:
    questions, episodes = evaluation_questions(), evaluation_episodes()
    return Design(questions, episodes), Design(questions, 128), Design(300, 128), Design(300, 128, 0.8)


def equality_designs() -> tuple[Design, ...]:
    questions, episodes = evaluation_questions(), evaluation_episodes()
    sizes = ((questions, episodes, 0.95), (300, 128, 0.95), (questions, episodes, 0.99), (300, 128, 0.99))
    return tuple(Design(*size) for size in sizes)


def discordance_rates(first: str, second: str, design: Design, points: int = 801) -> tuple[float, float]:
    """Probability that a question is solved by `first` alone, and by `second` alone, in n episodes of each.

    Trapezoid rule over the two normal scores of the copula, `points` nodes each.
    """
    score = np.linspace(-8.0, 8.0, points)
    weight = stats.norm.pdf(score)
    weight /= weight.sum()
    none_second = (1 - _rates(second, score)) ** design.episodes
    mixed = design.correlation * score[:, None] + np.sqrt(1 - design.correlation**2) * score[None, :]
    none_first = ((1 - _rates(first, mixed)) ** design.episodes) @ weight
    joint = float(weight @ (none_first * none_second))
    return float(weight @ none_second) - joint, float(weight @ none_first) - joint


def end_power(design: Design, simulations: int = SIMULATIONS) -> EndPower:
    """Section 3.7, first table."""
    gained, lost = discordance_rates("RL", "base", design)
    gain = _gains("RL", design, simulations)[..., KS.index(64)]
    generator = np.random.default_rng(1)
    return EndPower(
        design,
        float((np.abs(_t(gain)) > stats.t.isf(ALPHA / 2, design.questions - 1)).mean()),
        _sign_flip_power(gain, generator),
        power_mcnemar(gained, lost, design.questions, ALPHA),
        power_mcnemar(gained, lost, design.questions, ALPHA, mid_p=True),
    )


def widening_power(design: Design, simulations: int = SIMULATIONS) -> WideningPower:
    """Section 3.7, second table."""
    gains = _gains("RL", design, simulations)
    contrasts = [gains[..., KS.index(k)] - gains[..., KS.index(1)] for k in (64, 32)]
    statistics = [_t(contrast) for contrast in contrasts]
    error = 100 * float(contrasts[0].std() / np.sqrt(design.questions))
    two_sided = [float((np.abs(t) > stats.t.isf(ALPHA / 2, design.questions - 1)).mean()) for t in statistics]
    one_sided = [float((t > stats.t.isf(ALPHA, design.questions - 1)).mean()) for t in statistics]
    return WideningPower(design, (two_sided[0], two_sided[1]), (one_sided[0], one_sided[1]), error)


def equality_power(design: Design, simulations: int = SIMULATIONS) -> EqualityPower:
    """Section 3.7, third table: the one-sided tests at 5 % both reject exactly if the 90 % interval is inside."""
    gain = 100 * _gains("base", design, simulations)[..., KS.index(64)]
    error = gain.std(axis=1, ddof=1) / np.sqrt(design.questions)
    reach = np.abs(gain.mean(axis=1)) + stats.t.isf(ALPHA, design.questions - 1) * error
    return EqualityPower(design, tuple(float((reach < margin).mean()) for margin in MARGINS))


def published_contrast() -> float:
    """RL minus base on category C at k = 64 less the same at k = 1, in points."""
    gains = [
        published_number("pass_kt", f"pass.C.RL.k{k}.T5").value
        - published_number("pass_kt", f"pass.C.base.k{k}.T5").value
        for k in (64, 1)
    ]
    return 100 * (gains[0] - gains[1])


def panel_sizes() -> tuple[PanelSize, ...]:
    """Section 3.7, last item: panels for the published rates of gained and lost questions on category C."""
    pairs = [pair for pair in boundary_pairs() if pair.category == "C"]
    rates = [(pair.gained / pair.questions, pair.lost / pair.questions) for pair in pairs]
    return tuple(
        PanelSize(
            gained,
            lost,
            mcnemar_questions(gained, lost),
            size,
            power_mcnemar(gained, lost, size),
            power_mcnemar(gained, lost, evaluation_questions()),
        )
        for (gained, lost), size in zip(rates, ROUND_SIZES, strict=True)
    )


def _gains(arm: str, design: Design, simulations: int) -> FloatArray:
    """Unbiased pass@k of `arm` minus that of base for each question, shape (simulations, questions, len(KS))."""
    generator = np.random.default_rng([design.questions, design.episodes, round(100 * design.correlation)])
    shape = (simulations, design.questions)
    score = generator.standard_normal(shape)
    other = design.correlation * score + np.sqrt(1 - design.correlation**2) * generator.standard_normal(shape)
    table = pass_at_k(design.episodes, np.arange(design.episodes + 1)[:, None], np.array(KS))
    base = table[generator.binomial(design.episodes, _rates("base", score))]
    return np.asarray(table[generator.binomial(design.episodes, _rates(arm, other))] - base)


@cache
def _quantiles(arm: str) -> FloatArray:
    law = rate_law(arm)
    return np.asarray(stats.beta.ppf(stats.norm.cdf(NODES), law.alpha, law.beta))


def _rates(arm: str, score: FloatArray) -> FloatArray:
    return np.interp(score, NODES, _quantiles(arm))


def _t(values: FloatArray) -> FloatArray:
    """One-sample t over questions for each simulation; 0 where all questions agree, which never rejects."""
    error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return np.divide(values.mean(axis=1), error, out=np.zeros(len(values)), where=error > 0)


def _sign_flip_power(gain: FloatArray, generator: np.random.Generator) -> float:
    """One set of random signs serves all simulated panels, which leaves each panel's test valid."""
    signs = generator.integers(0, 2, (gain.shape[1], SIGN_FLIPS)) * 2.0 - 1.0
    observed = np.abs(gain.sum(axis=1))
    hits = (np.abs(gain @ signs) >= observed[:, None] - 1e-9).sum(axis=1)
    return float(((1 + hits) / (1 + SIGN_FLIPS) <= ALPHA).mean())
