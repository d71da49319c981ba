"""PASS@(k,T) of logged policies: surface with bands, differences from a baseline, crossings, boundary and self-null.

The unit of every interval and test is the question: each question's value is the unbiased estimate from its own
episodes, whatever their number, and only questions count as drawn. Where a log has a column of training seeds, a value
is the mean over them, and crossings are judged over seeds and questions. Statistics: sections 3.1 to 3.8 of the
paper's specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.logs.episodes import EpisodeCounts
from reproduce.logs.pairs import Pair, PolicyCounts, paired_counts, policy_counts, seed_notes
from theory.bounded_means import bounded_mean_interval, bounded_mean_p_value, simultaneous_confidence
from theory.crossing import Crossings, crossings_of_questions, crossings_of_seeds
from theory.inference import MaxTResult, holm, mcnemar_exact, westfall_young_maxt
from theory.pass_kt import (
    PassSurface,
    excess_gain,
    g_pass_at_k,
    pass_at_k_variance,
    self_null_from_counts,
)

LARGEST_DENSE_K, FEWEST_DENSE_K, MOST_DENSE_CELLS = 1024, 64, 5_000_000
"""Every k up to the first is judged for crossings, fewer where questions times k would be more than the last."""
SATURATED = 0.02
"""Gain of the next T, or of twice the samples, below which a curve counts as saturated (pass_kt section 2.4)."""


@dataclass(frozen=True)
class Settings:
    """`ks` None: powers of two up to the smallest n. `baseline` None: the first policy. `level` of all intervals.
    `tau`: the success rate of cover@tau and the share of G-Pass@k."""

    ks: tuple[int, ...] | None = None
    baseline: str | None = None
    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    tau: float = 0.5


@dataclass(frozen=True, eq=False)
class BandedGrid:
    """Means over questions at each (T, k), shape (depths, ks), NaN where a question has fewer than k episodes.

    `low`, `high`: each cell alone. `band_low`, `band_high`: all cells at once.
    """

    depths: tuple[float, ...]
    ks: tuple[int, ...]
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band_low: np.ndarray
    band_high: np.ndarray


@dataclass(frozen=True, eq=False)
class PolicySurface:
    """PASS@(k,T) of one policy on its own questions.

    `standard_error_fixed`, shape (depths, ks), is the error from the episodes alone, NaN where n < 2k; `g_pass` the
    same shape; `cover`, `cover_low`, `cover_high` of shape (depths,). `saturated_k`: per T, the first k whose doubling
    gains less than SATURATED; `saturated_depth`: at the largest k, the first T whose next does. NaN where none does.
    `dropped` counts questions that lack some T; `seeds` the training seeds, 1 without a column of them.
    """

    policy: str
    questions: int
    dropped: int
    smallest_n: int
    largest_n: int
    seeds: int
    grid: BandedGrid
    standard_error_fixed: np.ndarray
    available: np.ndarray
    g_pass: np.ndarray
    cover: np.ndarray
    cover_low: np.ndarray
    cover_high: np.ndarray
    saturated_k: np.ndarray
    saturated_depth: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Paired differences policy - baseline on the questions that both have.

    `p_value` and `adjusted_p_value`, shape (depths, ks): sign-flip test of each cell, and the same by maxT over the
    grid. `grid_p_value`, NaN without any cell, is the smallest adjusted one: is there any difference at all?
    `crossings`: per T, from the bands at every k up to the smallest n; None where there is a single question.
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
    crossings: tuple[Crossings | None, ...]


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
    sources: tuple[str, ...]


def analyse(counts: EpisodeCounts, settings: Settings) -> Analysis:
    """Raises UserError for an unknown baseline, and for a policy without a question that has every T."""
    baseline = settings.baseline if settings.baseline is not None else counts.policies[0]
    if baseline not in counts.policies:
        raise UserError(f"--baseline: no policy {baseline!r}; {nearest(baseline, counts.policies)}")
    policies = {name: policy_counts(counts, row) for row, name in enumerate(counts.policies)}
    ks = settings.ks or _powers_of_two(min(policy.smallest_n for policy in policies.values()))
    surfaces = tuple(_surface(policies[name], ks, settings, row) for row, name in enumerate(counts.policies))
    pairs = [paired_counts(policies[name], policies[baseline]) for name in counts.policies if name != baseline]
    known = [pair for pair in pairs if pair.questions]
    comparisons = [_compare(pair, ks, settings, place) for place, pair in enumerate(known)]
    boundaries = [_boundary(pair, place, settings.level) for pair in known for place in range(len(pair.depths))]
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
            *seed_notes(counts),
            *(f"{pair.policy}: no question and T in common with {baseline}" for pair in pairs if not pair.questions),
        ),
        sources=counts.sources,
    )


def _powers_of_two(smallest: int) -> tuple[int, ...]:
    return tuple(2**power for power in range(smallest.bit_length()))


def _surface(policy: PolicyCounts, ks: tuple[int, ...], settings: Settings, row: int) -> PolicySurface:
    values = policy.values(ks).mean(axis=0)
    g_pass = g_pass_at_k(policy.n[..., None], policy.c[..., None], np.array(ks), settings.tau).mean(axis=(0, 1))
    variance = pass_at_k_variance(policy.n[..., None], policy.c[..., None], np.array(ks))
    seeds, questions = policy.n.shape[:2]
    covered = np.moveaxis(policy.c / policy.n >= settings.tau - 1e-12, 1, 0).mean(axis=1)
    cover = bounded_mean_interval(covered, settings.level)
    grid = _banded(values, policy.depths, ks, settings, (0, row), 0.0)
    return PolicySurface(
        policy=policy.name,
        questions=questions,
        dropped=policy.dropped,
        smallest_n=policy.smallest_n,
        largest_n=int(policy.n.max()),
        seeds=seeds,
        grid=grid,
        standard_error_fixed=np.sqrt(variance.sum(axis=(0, 1))) / (seeds * questions),
        available=(policy.n[..., None] >= np.array(ks)).all(axis=0).sum(axis=0),
        g_pass=g_pass,
        cover=cover.estimate,
        cover_low=cover.low,
        cover_high=cover.high,
        saturated_k=_saturated_k(policy),
        saturated_depth=_saturated_depth(policy.depths, grid.estimate),
    )


def _saturated_k(policy: PolicyCounts) -> np.ndarray:
    ks = _powers_of_two(policy.smallest_n)
    gains = np.diff(policy.values(ks).mean(axis=(0, 1)), axis=-1)
    small = gains < SATURATED
    first = np.array(ks)[np.argmax(small, axis=-1)] if len(ks) > 1 else np.ones(len(policy.depths))
    return np.where(small.any(axis=-1), first, np.nan)


def _saturated_depth(depths: tuple[float, ...], estimate: np.ndarray) -> float:
    known = np.flatnonzero(~np.isnan(estimate).any(axis=0))
    if not known.size or len(depths) < 2:
        return float("nan")
    small = np.flatnonzero(np.diff(estimate[:, known[-1]]) < SATURATED)
    return depths[int(small[0])] if small.size else float("nan")


def _banded(
    values: np.ndarray,
    depths: tuple[float, ...],
    ks: tuple[int, ...],
    settings: Settings,
    stream: tuple[int, int],
    smallest: float,
) -> BandedGrid:
    """values: shape (questions, depths, ks), within [smallest, 1]."""
    generator = np.random.default_rng([settings.seed, *stream])
    alone = bounded_mean_interval(values, settings.level, smallest, 1.0)
    level = simultaneous_confidence(values, generator, settings.level, settings.resamples)
    together = bounded_mean_interval(values, level, smallest, 1.0)
    return BandedGrid(depths, ks, alone.estimate, alone.low, alone.high, together.low, together.high)


def _compare(pair: Pair, ks: tuple[int, ...], settings: Settings, place: int) -> Comparison:
    difference = pair.differences(ks).mean(axis=0)
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
        grid=_banded(difference, pair.depths, ks, settings, (2, place), -1.0),
        p_value=p_value,
        adjusted_p_value=adjusted,
        exact=test is not None and test.exact,
        grid_p_value=float("nan") if test is None else float(test.adjusted_p_value.min()),
        holm_p_value=float("nan"),
        crossings=_crossings(pair, settings, place),
    )


def _crossings(pair: Pair, settings: Settings, place: int) -> tuple[Crossings | None, ...]:
    if pair.questions < 2:
        return (None,) * len(pair.depths)
    found = []
    for depth in range(len(pair.depths)):
        largest = int(min(pair.first.n[..., depth].min(), pair.second.n[..., depth].min()))
        largest = min(largest, LARGEST_DENSE_K, max(FEWEST_DENSE_K, MOST_DENSE_CELLS // pair.questions))
        values = pair.differences(range(1, largest + 1))[:, :, depth]
        generator = np.random.default_rng([settings.seed, 3, place, depth])
        if len(values) > 1:
            found.append(crossings_of_seeds(values, generator, settings.level, settings.resamples))
        else:
            found.append(crossings_of_questions(values[0], generator, settings.level, settings.resamples))
    return tuple(found)


def _boundary(pair: Pair, place: int, level: float) -> Boundary:
    names, depth = (pair.policy, pair.baseline), pair.depths[place]
    n, c = pair.pooled()
    surface = PassSurface.from_counts(n, c, [1], names, depths=pair.depths)
    (n_new, n_old), (c_new, c_old) = n[:, :, place], c[:, :, place]
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
            interval = bounded_mean_interval(each, level, -1.0, 1.0)
            low, high = float(interval.low) * pair.questions, float(interval.high) * pair.questions
            excess_p = float(bounded_mean_p_value(each))
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
