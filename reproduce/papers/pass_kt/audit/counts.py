"""PASS@(k,T): what the published boundary counts support.

A boundary holds the questions with at least one success in 64 episodes. Every comparison is of the same 100 questions,
so its gained and lost questions are the discordant pairs of a McNemar test.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from scipy.stats import fisher_exact, norm

from reproduce.claims.published import load_published, load_settings, published_number
from theory.inference import holm, mcnemar_exact, mcnemar_mid_p, paired_tost

KEY = "pass_kt"
MARGINS = (3, 5, 10)
DEPTHS = (1, 2, 5)
SIZES_ONLY = (("B", "SFT", "base"), ("B", "RL", "SFT"), ("C", "RL+bonus", "base"), ("C", "RL+bonus", "RL"))


@dataclass(frozen=True)
class BoundaryPair:
    """One published comparison of two boundaries on the same questions."""

    category: str
    arm: str
    against: str
    questions: int
    before: int
    """Boundary size of `against`."""
    gained: int
    lost: int
    after: int
    """Boundary size of `arm`."""

    @property
    def name(self) -> str:
        return f"{self.category}, {self.arm} against {self.against}"

    @property
    def counts(self) -> str:
        return f"{self.gained} : {self.lost}"

    @property
    def net(self) -> int:
        return self.gained - self.lost

    @property
    def adds_up(self) -> bool:
        return self.before + self.net == self.after


@dataclass(frozen=True)
class PairTest:
    """Tests of one pair; differences and half-widths are in points (hundredths of the questions)."""

    pair: BoundaryPair
    exact: float
    mid_p: float
    one_sided: float
    """P(at least so many gained) if every discordant question is as likely gained as lost."""
    half_width: float
    adjusted: float
    """Exact p after Holm over all published pairs."""
    adjusted_in_category: float | None
    """Exact p after Holm over the pairs of its category; None where the category has one pair only."""


@dataclass(frozen=True)
class SolvedPatterns:
    """Questions of category C by who solves them, one of the joint counts that the three published pairs leave open."""

    trained_only: int
    trained_and_tuned: int
    """Solved by RL and SFT, not by base."""
    base_only: int
    base_and_tuned: int
    tuned_only: int
    base_and_trained: int


@dataclass(frozen=True)
class CategoryContrast:
    """Do two categories split their discordant questions differently? Difference of net gains in points."""

    first: BoundaryPair
    second: BoundaryPair
    difference: float
    half_width: float
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class Equality:
    """Two one-sided tests of equal boundaries at one margin, in points."""

    margin: int
    p_value: float
    adjusted: float
    low: float
    high: float


@dataclass(frozen=True)
class SizeChange:
    """Two boundary sizes whose gained and lost questions are not published.

    `smallest_p` is the least exact McNemar p that any split of the change into gained and lost allows.
    """

    name: str
    before: int
    after: int
    smallest_p: float
    adjusted: float


def evaluation_questions() -> int:
    """Questions a category."""
    return next(int(str(setting.value)) for setting in load_settings(KEY) if setting.id == "evaluation.questions")


def boundary_pairs() -> tuple[BoundaryPair, ...]:
    """Every published pair of gained and lost questions, in the order of the file."""
    pairs = []
    for gained in load_published(KEY):
        if gained.quantity == "boundary-gained":
            category, arm, against = (str(gained.cell[name]) for name in ("category", "arm", "against"))
            lost = published_count(f"boundary-lost.{category}.{arm}-{against}")
            before, after = (published_count(f"boundary-size.{category}.{name}") for name in (against, arm))
            counts = (before, int(gained.value), lost, after)
            pairs.append(BoundaryPair(category, arm, against, evaluation_questions(), *counts))
    return tuple(pairs)


def pair_tests(pairs: tuple[BoundaryPair, ...]) -> tuple[PairTest, ...]:
    """Exact McNemar with mid-p, Wald interval and Holm, section 5.4 of the specification."""
    gained, lost = np.array([pair.gained for pair in pairs]), np.array([pair.lost for pair in pairs])
    exact, mid, one_sided = (
        mcnemar_exact(gained, lost),
        mcnemar_mid_p(gained, lost),
        mcnemar_exact(gained, lost, "greater"),
    )
    adjusted = holm(exact)
    within: list[float | None] = [None] * len(pairs)
    for category in {pair.category for pair in pairs}:
        places = [place for place, pair in enumerate(pairs) if pair.category == category]
        if len(places) > 1:
            for place, value in zip(places, holm(exact[places]), strict=True):
                within[place] = float(value)
    return tuple(
        PairTest(
            pair,
            float(exact[place]),
            float(mid[place]),
            float(one_sided[place]),
            100 * wald_half_width(pair),
            float(adjusted[place]),
            within[place],
        )
        for place, pair in enumerate(pairs)
    )


def wald_half_width(pair: BoundaryPair, confidence: float = 0.95) -> float:
    """Half-width of the interval of a difference of paired proportions. Source: Agresti 2013, section 11.1."""
    spread = pair.gained + pair.lost - pair.net**2 / pair.questions
    return float(norm.isf((1 - confidence) / 2)) * sqrt(spread) / pair.questions


def solved_patterns(pairs: tuple[BoundaryPair, ...]) -> tuple[SolvedPatterns, ...]:
    """Every way to sort the questions of category C by who solves them that yields all three published pairs."""
    rl, sft, difference = (
        published_pair(pairs, "C", *names) for names in (("RL", "base"), ("SFT", "base"), ("RL", "SFT"))
    )
    found = []
    for trained_only in range(rl.gained + 1):
        both_gained = rl.gained - trained_only
        tuned_only = sft.gained - both_gained
        base_and_tuned = difference.lost - tuned_only
        base_only = rl.lost - base_and_tuned
        base_and_trained = sft.lost - base_only
        cells = (trained_only, both_gained, base_only, base_and_tuned, tuned_only, base_and_trained)
        if min(cells) >= 0 and trained_only + base_and_trained == difference.gained:
            found.append(SolvedPatterns(*cells))
    return tuple(found)


def category_contrasts(pairs: tuple[BoundaryPair, ...]) -> tuple[CategoryContrast, ...]:
    """Fisher's exact test of (gained, lost) between categories, RL against base, Holm over the three."""
    chosen = [pair for pair in pairs if (pair.arm, pair.against) == ("RL", "base")]
    couples = list(combinations(chosen, 2))
    tests = [float(fisher_exact([[a.gained, a.lost], [b.gained, b.lost]])[1]) for a, b in couples]
    p_values = np.minimum(tests, 1.0)
    adjusted = holm(p_values)
    return tuple(
        CategoryContrast(
            a,
            b,
            100 * (b.net / b.questions - a.net / a.questions),
            100 * sqrt(wald_half_width(a) ** 2 + wald_half_width(b) ** 2),
            float(p_values[place]),
            float(adjusted[place]),
        )
        for place, (a, b) in enumerate(couples)
    )


def equality_of_static(pairs: tuple[BoundaryPair, ...]) -> tuple[Equality, ...]:
    """Paired TOST of category A from its counts; a question counts +1 if gained, -1 if lost, else 0."""
    pair = published_pair(pairs, "A", "RL", "base")
    differences = np.repeat([100, -100, 0], [pair.gained, pair.lost, pair.questions - pair.gained - pair.lost])
    results = [paired_tost(differences, float(margin)) for margin in MARGINS]
    adjusted = holm([result.p_value for result in results])
    return tuple(
        Equality(margin, result.p_value, float(corrected), result.low, result.high)
        for margin, result, corrected in zip(MARGINS, results, adjusted, strict=True)
    )


def size_changes() -> tuple[SizeChange, ...]:
    """Depths of one policy (drawn anew at each T) and arms of which only sizes are published; Holm over all of them."""
    questions = evaluation_questions()

    def size(cell: str) -> int:
        return round(questions * published_number(KEY, f"pass.{cell}").value)

    drafts = [
        (f"B, base, T = {first} to T = {second}", size(f"B.base.k64.T{first}"), size(f"B.base.k64.T{second}"))
        for first, second in combinations(DEPTHS, 2)
    ]
    for category, arm, against in SIZES_ONLY:
        before, after = (size(f"{category}.{name}.k64.T5") for name in (against, arm))
        drafts.append((f"{category}, {arm} against {against}", before, after))
    smallest = [_smallest_p(before, after, questions) for _, before, after in drafts]
    adjusted = holm(smallest)
    return tuple(SizeChange(*draft, smallest[place], float(adjusted[place])) for place, draft in enumerate(drafts))


def _smallest_p(before: int, after: int, questions: int) -> float:
    net = after - before
    most = min(before, questions - after)
    lost = np.arange(max(0, -net), most + 1)
    return float(mcnemar_exact(lost + net, lost).min())


def published_pair(pairs: tuple[BoundaryPair, ...], category: str, arm: str, against: str) -> BoundaryPair:
    """The pair of that comparison."""
    return next(pair for pair in pairs if (pair.category, pair.arm, pair.against) == (category, arm, against))


def published_count(identifier: str) -> int:
    """A published number that is a count of questions."""
    return int(published_number(KEY, identifier).value)
