"""PASS@(k,T) of logged policies: surface with bands, differences from a baseline, boundary and self-null.

The unit of every interval and test is the question: each question's value is the unbiased estimate from its own
episodes, whatever their number, and only questions are resampled. Statistics: sections 3.1 to 3.7 of the paper's
specification, through `theory.pass_kt` and `theory.inference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.logs.count_rows import EpisodeCounts
from theory.inference import MaxTResult, holm, mcnemar_exact, mean_interval, westfall_young_maxt
from theory.pass_kt import PassSurface, excess_gain, question_bands, self_null_from_counts


@dataclass(frozen=True)
class Settings:
    """`ks` None: powers of two up to the smallest n. `baseline` None: the first policy. `level` of all intervals."""

    ks: tuple[int, ...] | None = None
    baseline: str | None = None
    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class BandedGrid:
    """Means over questions at each (T, k), shape (depths, ks), NaN where a question has fewer than k episodes.

    `low`, `high`: each cell alone. `half_width`: of the band that covers all cells at once.
    """

    depths: tuple[float, ...]
    ks: tuple[int, ...]
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    half_width: np.ndarray


@dataclass(frozen=True, eq=False)
class PolicySurface:
    """PASS@(k,T) of one policy on its own questions. `standard_error_fixed`, shape (depths, ks), is the error from the
    episodes alone, NaN where n < 2k; `dropped` counts questions that lack some T."""

    policy: str
    questions: int
    dropped: int
    smallest_n: int
    largest_n: int
    grid: BandedGrid
    standard_error_fixed: np.ndarray
    available: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """Paired differences policy - baseline on the questions that both have.

    `p_value` and `adjusted_p_value`, shape (depths, ks): sign-flip test of each cell, and the same by maxT over the
    grid. `grid_p_value`, NaN without any cell, is the smallest adjusted one: is there any difference at all?
    """

    policy: str
    baseline: str
    questions: int
    only_policy: int
    only_baseline: int
    grid: BandedGrid
    p_value: np.ndarray
    adjusted_p_value: np.ndarray
    exact: bool
    grid_p_value: float
    holm_p_value: float


@dataclass(frozen=True)
class Boundary:
    """Questions solved at least once by one policy alone, at one T.

    `gained`, `lost` at `n` episodes each; expected counts at the smallest n where n is unequal, and then no test.
    The `half` fields compare at half the baseline's episodes with what two samples of the baseline itself would give;
    `excess` is the gain beyond that, in questions. NaN where a part cannot be had.
    """

    policy: str
    depth: float
    n: int
    equal_n: bool
    gained: float
    lost: float
    p_value: float
    holm_p_value: float
    half_n: int
    half_gained: float
    half_lost: float
    self_gained: float
    excess: float
    excess_low: float
    excess_high: float
    excess_p_value: float
    """One-sided, for a gain."""
    excess_holm_p_value: float


@dataclass(frozen=True)
class Analysis:
    """Everything that is printed, drawn and written."""

    has_depth: bool
    baseline: str
    settings: Settings
    surfaces: tuple[PolicySurface, ...]
    comparisons: tuple[Comparison, ...]
    boundaries: tuple[Boundary, ...]
    log_notes: tuple[str, ...]


def analyse(counts: EpisodeCounts, settings: Settings) -> Analysis:
    """Raises UserError for an unknown baseline, and for a policy without a question that has every T."""
    baseline = settings.baseline if settings.baseline is not None else counts.policies[0]
    if baseline not in counts.policies:
        raise UserError(f"--baseline: no policy {baseline!r}; {nearest(baseline, counts.policies)}")
    asked = counts.n > 0
    kept = {name: _complete(asked[row], name) for row, name in enumerate(counts.policies)}
    ks = settings.ks or _powers_of_two(counts, kept)
    surfaces = tuple(_surface(counts, row, kept[name], ks, settings) for row, name in enumerate(counts.policies))
    pairs = [_pair(counts, baseline, name, kept) for name in counts.policies if name != baseline]
    comparisons = [_compare(pair, ks, settings, place) for place, pair in enumerate(pairs) if pair.questions]
    boundaries = [each for pair in pairs if pair.questions for each in _boundaries(pair, settings.level)]
    return Analysis(
        has_depth=counts.has_depth,
        baseline=baseline,
        settings=settings,
        surfaces=surfaces,
        comparisons=_with_holm(comparisons, [each.grid_p_value for each in comparisons]),
        boundaries=_with_holm(
            _with_holm(boundaries, [each.p_value for each in boundaries]),
            [each.excess_p_value for each in boundaries],
            "excess_holm_p_value",
        ),
        log_notes=(
            *counts.notes,
            *(f"{pair.policy}: no question and T in common with {baseline}" for pair in pairs if not pair.questions),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    policy: str
    baseline: str
    questions: int
    only_policy: int
    only_baseline: int
    depths: tuple[float, ...]
    n: np.ndarray
    c: np.ndarray

    @property
    def surface(self) -> PassSurface:
        return PassSurface.from_counts(self.n, self.c, [1], (self.policy, self.baseline), depths=self.depths)


def _complete(asked: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the questions and of the depths of one policy: the questions that have every depth it has at all."""
    depths = np.asarray(asked.any(axis=0))
    questions = np.asarray(asked[:, depths].all(axis=1) & asked.any(axis=1))
    if not questions.any():
        raise UserError(f"policy {name!r}: no question has episodes at every T of this policy")
    return questions, depths


def _powers_of_two(counts: EpisodeCounts, kept: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[int, ...]:
    smallest = min(int(counts.n[row][np.ix_(*kept[name])].min()) for row, name in enumerate(counts.policies))
    return tuple(2**power for power in range(smallest.bit_length()))


def _surface(
    counts: EpisodeCounts, row: int, kept: tuple[np.ndarray, np.ndarray], ks: tuple[int, ...], settings: Settings
) -> PolicySurface:
    questions, depths = kept
    n, c = (array[row][np.ix_(questions, depths)] for array in (counts.n, counts.c))
    labels = tuple(np.array(counts.depths)[depths].tolist())
    surface = PassSurface.from_counts(n[None], c[None], ks, depths=labels)
    return PolicySurface(
        policy=counts.policies[row],
        questions=len(surface.questions),
        dropped=int((counts.n[row] > 0).any(axis=1).sum()) - len(surface.questions),
        smallest_n=int(n.min()),
        largest_n=int(n.max()),
        grid=_banded(surface.values[0], labels, ks, settings, (0, row)),
        standard_error_fixed=surface.standard_error_fixed[0],
        available=surface.available[0],
    )


def _banded(
    values: np.ndarray, depths: tuple[float, ...], ks: tuple[int, ...], settings: Settings, stream: tuple[int, int]
) -> BandedGrid:
    """values: shape (questions, depths, ks). A single question has no interval."""
    estimate = values.mean(axis=0)
    unknown = np.full(estimate.shape, np.nan)
    if values.shape[0] < 2:
        return BandedGrid(depths, ks, estimate, unknown, unknown, unknown)
    alone, together = (
        question_bands(
            values,
            np.random.default_rng([settings.seed, *stream]),
            settings.resamples,
            settings.level,
            simultaneous=simultaneous,
        )
        for simultaneous in (False, True)
    )
    return BandedGrid(depths, ks, estimate, alone.low, alone.high, (together.high - together.low) / 2)


def _pair(counts: EpisodeCounts, baseline: str, policy: str, kept: dict[str, tuple[np.ndarray, np.ndarray]]) -> _Pair:
    (new_questions, new_depths), (old_questions, old_depths) = kept[policy], kept[baseline]
    depths = new_depths & old_depths
    questions = new_questions & old_questions if depths.any() else np.zeros_like(new_questions)
    rows = np.array([counts.policies.index(policy), counts.policies.index(baseline)])
    return _Pair(
        policy=policy,
        baseline=baseline,
        questions=int(questions.sum()),
        only_policy=int((new_questions & ~old_questions).sum()),
        only_baseline=int((old_questions & ~new_questions).sum()),
        depths=tuple(np.array(counts.depths)[depths].tolist()),
        n=counts.n[np.ix_(rows, questions, depths)],
        c=counts.c[np.ix_(rows, questions, depths)],
    )


def _compare(pair: _Pair, ks: tuple[int, ...], settings: Settings, place: int) -> Comparison:
    names = (pair.policy, pair.baseline)
    difference = PassSurface.from_counts(pair.n, pair.c, ks, names, depths=pair.depths).difference(*names)
    known = ~np.isnan(difference).any(axis=0)
    p_value, adjusted = np.full(known.shape, np.nan), np.full(known.shape, np.nan)
    test: MaxTResult | None = None
    if known.any():
        generator = np.random.default_rng([settings.seed, 1, place])
        test = westfall_young_maxt(difference[:, known], generator, resamples=settings.resamples)
        p_value[known], adjusted[known] = test.p_value, test.adjusted_p_value
    return Comparison(
        policy=pair.policy,
        baseline=pair.baseline,
        questions=pair.questions,
        only_policy=pair.only_policy,
        only_baseline=pair.only_baseline,
        grid=_banded(difference, pair.depths, ks, settings, (2, place)),
        p_value=p_value,
        adjusted_p_value=adjusted,
        exact=test is not None and test.exact,
        grid_p_value=float("nan") if test is None else float(test.adjusted_p_value.min()),
        holm_p_value=float("nan"),
    )


def _boundaries(pair: _Pair, level: float) -> list[Boundary]:
    surface = pair.surface
    return [_boundary(pair, surface, place, level) for place in range(len(pair.depths))]


def _boundary(pair: _Pair, surface: PassSurface, place: int, level: float) -> Boundary:
    names, depth = (pair.policy, pair.baseline), pair.depths[place]
    (n_new, n_old), (c_new, c_old) = pair.n[:, :, place], pair.c[:, :, place]
    smallest = int(min(n_new.min(), n_old.min()))
    equal_n = bool((n_new == n_old).all() and n_new.min() == n_new.max())
    p_value = float("nan")
    if equal_n:
        counted = surface.boundary_difference(*names, depth)
        gained, lost = float(counted.gained), float(counted.lost)
        p_value = float(mcnemar_exact(int(gained), int(lost)))
    else:
        gained, lost = surface.expected_boundary_difference(*names, depth, smallest)
    half = min(int(n_old.min()) // 2, int(n_new.min()))
    half_gained, half_lost, self_gained, excess = (float("nan"),) * 4
    low, high, excess_p = (float("nan"),) * 3
    if half >= 1:
        half_gained, half_lost = surface.expected_boundary_difference(*names, depth, half)
        self_gained = self_null_from_counts(n_old, c_old, half).gain_rate * pair.questions
        each = excess_gain(n_new, c_new, n_old, c_old, half)
        excess = float(each.sum())
        if pair.questions >= 2:
            interval = mean_interval(each, level, unit="question")
            low, high = interval.low * pair.questions, interval.high * pair.questions
            excess_p = interval.p_value / 2 if excess > 0 else 1 - interval.p_value / 2
    return Boundary(
        policy=pair.policy,
        depth=depth,
        n=smallest,
        equal_n=equal_n,
        gained=gained,
        lost=lost,
        p_value=p_value,
        holm_p_value=float("nan"),
        half_n=half,
        half_gained=half_gained,
        half_lost=half_lost,
        self_gained=self_gained,
        excess=excess,
        excess_low=low,
        excess_high=high,
        excess_p_value=excess_p,
        excess_holm_p_value=float("nan"),
    )


def _with_holm(results: Sequence, p_values: Sequence[float], field: str = "holm_p_value") -> tuple:
    """The same results with Holm's adjustment over those that have a p-value, in that field."""
    values = np.array(p_values, dtype=np.float64)
    tested = ~np.isnan(values)
    values[tested] = holm(values[tested])
    return tuple(replace(result, **{field: float(p)}) for result, p in zip(results, values, strict=True))
