"""PASS@(k,T): what the published design could have found, and what would have been enough.

Assumptions of every row (section 3.7 of the specification): success rates on category C follow the Beta laws through
the published points, and the rates of one question under base and RL are joined by a Gaussian copula. Its correlation
is assumed, since nothing published bears on it. McNemar power comes from quadrature, all else from simulation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy

from reproduce.papers.pass_kt.audit.counts import MARGINS, boundary_pairs, evaluation_questions, value
from reproduce.papers.pass_kt.audit.noise import evaluation_episodes, rate_law
from reproduce.report.audit_tables import Analysis, filled, numbers, texts
from reproduce.report.text import listed, number
from theory.inference import mcnemar_questions, power_mcnemar
from theory.pass_kt import pass_at_k
from theory.resampling import FloatArray

SIMULATIONS = 2_000
SIGN_FLIPS = 1_000
ALPHA = 0.05
KS = (1, 32, 64)
ROUND_SIZES = (400, 600, 150)
"""Comfortable panels for RL against base, SFT against base and RL against SFT."""
NODES = np.linspace(-8.5, 8.5, 20_001)
"""Standard normal scores at which the quantiles of a rate law are tabulated; between them they are interpolated."""


PUBLISHED = (evaluation_questions(), evaluation_episodes())
"""Questions and episodes of the published design."""


@dataclass(frozen=True)
class Design:
    """Questions of one category, episodes per question and policy, and the assumed correlation of the copula."""

    questions: int
    episodes: int
    correlation: float = 0.95


def by_design(power: Callable[[Design], dict[str, float]], *sizes: tuple[int, int] | tuple[int, int, float]) -> Any:
    """A table of designs and their power, one row each."""
    return pd.DataFrame([{**asdict(Design(*size)), **power(Design(*size))} for size in sizes])


def discordance_rates(first: str, second: str, design: Design, points: int = 801) -> tuple[float, float]:
    """Probability that a question is solved by `first` alone, and by `second` alone, in n episodes of each.

    Trapezoid rule over the two normal scores of the copula, `points` nodes each.
    """
    score = np.linspace(-8.0, 8.0, points)
    weight = scipy.stats.norm.pdf(score)
    weight /= weight.sum()
    none_second = (1 - _rates(second, score)) ** design.episodes
    mixed = design.correlation * score[:, None] + np.sqrt(1 - design.correlation**2) * score[None, :]
    none_first = ((1 - _rates(first, mixed)) ** design.episodes) @ weight
    joint = float(weight @ (none_first * none_second))
    return float(weight @ none_second) - joint, float(weight @ none_first) - joint


@cache
def end_power(design: Design) -> dict[str, float]:
    """Power to find the published gain at k = 64, two-sided at 5 %, for four tests. Section 3.7, first table."""
    gained, lost = discordance_rates("RL", "base", design)
    gain = _gains("RL", design)[..., KS.index(64)]
    return {
        "paired_t": float((np.abs(_t(gain)) > scipy.stats.t.isf(ALPHA / 2, design.questions - 1)).mean()),
        "sign_flip": _sign_flip_power(gain, np.random.default_rng(1)),
        "mcnemar": power_mcnemar(gained, lost, design.questions, ALPHA),
        "mid_p": power_mcnemar(gained, lost, design.questions, ALPHA, mid_p=True),
    }


@cache
def widening_power(design: Design) -> dict[str, float]:
    """Power to find that the gap grows from k = 1 to 64 or 32, by a paired t-test of the contrast at 5 %.

    `error` is the standard error of the contrast at k = 64, over questions and episodes, in points. Section 3.7,
    second table.
    """
    gains, freedom = _gains("RL", design), design.questions - 1
    contrasts = {k: gains[..., KS.index(k)] - gains[..., KS.index(1)] for k in (64, 32)}
    power = {"error": 100 * float(contrasts[64].std() / np.sqrt(design.questions))}
    for k, contrast in contrasts.items():
        statistic = _t(contrast)
        power[f"two_sided_{k}"] = float((np.abs(statistic) > scipy.stats.t.isf(ALPHA / 2, freedom)).mean())
        power[f"one_sided_{k}"] = float((statistic > scipy.stats.t.isf(ALPHA, freedom)).mean())
    return power


def equality_power(design: Design) -> dict[str, float]:
    """Probability that TOST at k = 64 shows equality within each margin when both arms follow the base's law.

    The one-sided tests at 5 % both reject exactly if the 90 % interval is inside. Section 3.7, third table.
    """
    gain = 100 * _gains("base", design)[..., KS.index(64)]
    error = gain.std(axis=1, ddof=1) / np.sqrt(design.questions)
    reach = np.abs(gain.mean(axis=1)) + scipy.stats.t.isf(ALPHA, design.questions - 1) * error
    return {f"within_{margin}": float((reach < margin).mean()) for margin in MARGINS}


def published_contrast() -> float:
    """RL minus base on category C at k = 64 less the same at k = 1, in points."""
    last, first = (value(f"pass.C.RL.k{k}.T5") - value(f"pass.C.base.k{k}.T5") for k in (64, 1))
    return 100 * (last - first)


def _gains(arm: str, design: Design) -> FloatArray:
    """Unbiased pass@k of `arm` minus that of base for each question, shape (SIMULATIONS, questions, len(KS))."""
    generator = np.random.default_rng([design.questions, design.episodes, round(100 * design.correlation)])
    shape = (SIMULATIONS, design.questions)
    score = generator.standard_normal(shape)
    other = design.correlation * score + np.sqrt(1 - design.correlation**2) * generator.standard_normal(shape)
    table = pass_at_k(design.episodes, np.arange(design.episodes + 1)[:, None], np.array(KS))
    base = table[generator.binomial(design.episodes, _rates("base", score))]
    return np.asarray(table[generator.binomial(design.episodes, _rates(arm, other))] - base)


@cache
def _quantiles(arm: str) -> FloatArray:
    return np.asarray(scipy.stats.beta.ppf(scipy.stats.norm.cdf(NODES), *rate_law(arm)))


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


def _sizes(found: pd.DataFrame) -> dict[str, list[str]]:
    return {
        "questions": texts(found.questions),
        "episodes": texts(found.episodes),
        "correlation": numbers(found.correlation, 2),
    }


def design_power() -> Analysis:
    """Power of the published design for its own headline."""
    found = by_design(end_power, PUBLISHED, (PUBLISHED[0], 128), (300, 64), (300, 128), (1000, 64))
    powers = found[["paired_t", "sign_flip", "mcnemar", "mid_p"]]
    labels = filled("M = {}, n = {}", found.questions, found.episodes)
    enough = [label for label, power in zip(labels, powers.max(axis=1), strict=True) if power >= 0.8]
    least, most = numbers(100 * np.array([powers.iloc[0].min(), powers.iloc[0].max()]), 0)
    return Analysis(
        "design-power",
        "Power of the published design for its headline",
        "If the gain of the fitted laws at k = 64 (+4 points) is real, how often does a two-sided test at 5 % find it? "
        "The first row is the published design.",
        found,
        {
            "questions": texts(found.questions),
            "episodes": texts(found.episodes),
            "paired t": numbers(found.paired_t, 2),
            "sign-flip": numbers(found.sign_flip, 2),
            "McNemar exact": numbers(found.mcnemar, 2),
            "McNemar mid-p": numbers(found.mid_p, 2),
        },
        f"The published design ({labels[0]}) would find its own headline gain, if real, with a power of {least}–{most} "
        f"%; {f'80 % is reached first with {enough[0]}' if enough else 'no design shown reaches 80 %'}.",
        (
            f"Simulated values ({SIMULATIONS:,} panels) have a standard error of at most "
            f"{number(0.5 / SIMULATIONS**0.5, 3)}; those of McNemar are exact under the assumptions.",
            "Assumed, not published: a copula correlation of .95 between the rates under base and RL.",
            "McNemar compares any success of n; the other tests use the unbiased pass@64 of each question.",
        ),
    )


def widening() -> Analysis:
    """Power for the claim that the gap widens with k."""
    found = by_design(widening_power, PUBLISHED, (PUBLISHED[0], 128), (300, 128), (300, 128, 0.8))
    published = next(found.itertuples())
    return Analysis(
        "widening-power",
        "Power for a gap that widens with k",
        "Paired t-test of the contrast RL minus base at large k less the same at k = 1, at 5 %, two-sided and "
        "one-sided.",
        found,
        {
            **_sizes(found),
            "k = 64": numbers(found.two_sided_64, 2),
            "k = 32": numbers(found.two_sided_32, 2),
            "k = 64, one-sided": numbers(found.one_sided_64, 2),
            "k = 32, one-sided": numbers(found.one_sided_32, 2),
        },
        f"Asking whether the gap widens suits the published design better: two-sided power "
        f"{number(published.two_sided_64, 2)} at k = 64 and {number(published.two_sided_32, 2)} at k = 32, against "
        f"{number(end_power(Design(*PUBLISHED))['paired_t'], 2)} for the end-point. The published contrast is "
        f"{number(published_contrast(), 1, signed=True)} points, with a standard error of {number(published.error)} "
        "under the assumed laws.",
        (
            "Neither the per-question values nor the standard error of the contrast are published, so it cannot be "
            "tested.",
        ),
    )


def equality() -> Analysis:
    """Power to show that two equal policies are equal."""
    found = by_design(equality_power, PUBLISHED, (300, 128), (*PUBLISHED, 0.99), (300, 128, 0.99))
    middle, widest = (number(float(found[f"within_{margin}"][0]), 2) for margin in MARGINS[1:])
    return Analysis(
        "equality-power",
        "Power to show equality",
        "If two policies both follow the law of the base, how often does TOST at k = 64 show equality within a margin?",
        found,
        {
            **_sizes(found),
            **{f"± {margin} points": numbers(found[f"within_{margin}"], 2) for margin in MARGINS},
        },
        f"The published design shows equality within {MARGINS[1]} points with a power of {middle}, within "
        f"{MARGINS[2]} points with {widest}.",
        ("The law is that of category C, for want of two published points of category A.",),
    )


def panel_sizes() -> Analysis:
    """Section 3.7, last item: the published rates of gained and lost questions on category C taken as true."""
    pairs = boundary_pairs()
    pairs = pairs[pairs.category == "C"].reset_index(drop=True)
    questions = evaluation_questions()
    rates = [(pair.gained / questions, pair.lost / questions) for pair in pairs.itertuples()]
    found = pairs.assign(
        needed=[mcnemar_questions(*rate) for rate in rates],
        round_size=ROUND_SIZES,
        round_power=[power_mcnemar(*rate, size) for rate, size in zip(rates, ROUND_SIZES, strict=True)],
        power=[power_mcnemar(*rate, questions) for rate in rates],
    )
    return Analysis(
        "panel-sizes",
        "Questions that the exact McNemar test needs",
        "Power at the published 100 questions, the smallest panel with 80 % power, and the power of a round size, if "
        "the published counts are the true rates per 100 questions.",
        found,
        {
            "gained : lost": found.counts,
            "power at 100": numbers(found.power, 2),
            "questions for 80 %": texts(found.needed),
            "round size": texts(found.round_size),
            "its power": numbers(found.round_power, 3),
        },
        f"At the published rates ({', '.join(found.counts)}) the exact McNemar test needs "
        f"{listed(texts(found.needed))} questions.",
        ("Power is a saw-tooth in the panel size, so a slightly larger panel may fall just below 80 % again.",),
    )
