"""PassSurface: PASS@(k,T) of several policies on one panel of questions; where curves cross over k and end over T."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from theory.bands import Bands, bootstrap_means, question_bands
from theory.boundary import BoundaryDifference, boundary_difference, expected_gained_and_lost
from theory.estimators import FloatArray, IntArray, as_integers, checked_counts, pass_at_k, pass_at_k_variance
from theory.paired import check_confidence


def crossing_k(ks: ArrayLike, delta: ArrayLike) -> FloatArray:
    """The k at which a difference curve first turns from negative to positive, interpolated linearly in log2 k.

    ks: shape (K,), at least two, increasing, at least 1. delta: shape (..., K), for example PASS of a trained policy
    minus PASS of its base. Returns shape (...): NaN where the curve never turns. A stretch of exact zeros between a
    negative and a positive value counts from its first point; a curve that starts at zero does not cross; nothing is
    interpolated over NaN.
    Raises ValueError if the shapes do not match or ks do not increase. Source: pass_kt section on crossing, own
    interpolation.
    """
    grid, values = np.asarray(ks, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 2 or not np.all(np.diff(grid) > 0) or grid[0] < 1:
        raise ValueError("ks must be at least two increasing values, from 1 on")
    if values.ndim < 1 or values.shape[-1] != grid.size:
        raise ValueError(f"delta must have {grid.size} values on its last axis, got shape {values.shape}")
    # The sign of the next value that is not zero: a touch of zero that falls back is no crossing.
    onward = np.sign(values)
    for position in range(grid.size - 2, -1, -1):
        zero = onward[..., position] == 0
        onward[..., position] = np.where(zero, onward[..., position + 1], onward[..., position])
    left, right = values[..., :-1], values[..., 1:]
    turns = (left < 0) & (right >= 0) & (onward[..., 1:] > 0)
    first = np.argmax(turns, axis=-1)[..., None]
    from_value = np.take_along_axis(left, first, -1)[..., 0]
    to_value = np.take_along_axis(right, first, -1)[..., 0]
    log_k = np.log2(grid)
    start, step = log_k[:-1][first[..., 0]], np.diff(log_k)[first[..., 0]]
    found = turns.any(axis=-1)
    share = np.divide(from_value, from_value - to_value, out=np.full(from_value.shape, np.nan), where=found)
    return np.asarray(np.where(found, 2.0 ** (start + share * step), np.nan))


def saturation_depth(depths: ArrayLike, values: ArrayLike, tolerance: float = 0.01) -> FloatArray:
    """The smallest depth whose value is within `tolerance` of the best value over all depths.

    depths: shape (D,), increasing. values: shape (..., D), usually PASS at the largest k. tolerance: at least 0, in
    the units of the values. Returns shape (...), NaN where any value is NaN. Raises ValueError for shapes or a
    tolerance that do not fit.
    Source: T* of the paper; the tolerance is unstated there, .01 is our default.
    """
    grid, curve = np.asarray(depths, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 1 or not np.all(np.diff(grid) > 0):
        raise ValueError("depths must be increasing")
    if curve.ndim < 1 or curve.shape[-1] != grid.size:
        raise ValueError(f"values must have {grid.size} depths on the last axis, got shape {curve.shape}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    known = ~np.isnan(curve).any(axis=-1)
    best = np.where(known, curve.max(axis=-1), 0.0)
    # Differences of proportions miss a tolerance such as .01 by rounding.
    near = curve >= best[..., None] - tolerance - 1e-12
    return np.asarray(np.where(known, grid[np.argmax(near, axis=-1)], np.nan))


@dataclass(frozen=True)
class Crossing:
    """The k at which the mean difference curve turns positive.

    `low` and `high` are percentiles among the resamples that cross; `probability_none` is the share that does not.
    """

    k: float
    low: float
    high: float
    probability_none: float
    confidence: float
    unit: str
    method: str
    questions: int


@dataclass(frozen=True)
class Saturation:
    """`depth` by the point estimate; `certified_depth` is the first depth after which all gains are shown to be small.

    Certified: the simultaneous upper bounds of every later gain over this depth lie within the tolerance. The last
    depth is certified by definition, as nothing later was measured.
    """

    depth: float
    certified_depth: float
    tolerance: float
    confidence: float
    k: int


@dataclass(frozen=True, eq=False)
class PassSurface:
    """Counts and unbiased values over policies x questions x T x k; build it with `from_counts` or `from_episodes`.

    `n`, `c`: shape (policies, questions, depths), episodes and successes. `values`: shape (policies, questions,
    depths, ks), NaN where n < k. Every mean over questions is NaN as soon as one question lacks k episodes, so that
    all cells speak of the same questions; `complete` drops such questions, `available` tells how many there are.
    """

    policies: tuple[Hashable, ...]
    questions: tuple[Hashable, ...]
    depths: tuple[float, ...]
    ks: tuple[int, ...]
    n: IntArray = field(repr=False)
    c: IntArray = field(repr=False)

    @classmethod
    def from_counts(
        cls,
        n: ArrayLike,
        c: ArrayLike,
        ks: Sequence[int] | None = None,
        policies: Sequence[Hashable] | None = None,
        questions: Sequence[Hashable] | None = None,
        depths: Sequence[float] | None = None,
    ) -> PassSurface:
        """Build from counts.

        c: shape (policies, questions, depths); n broadcasts to it. ks: draws, by default the powers of two up to the
        smallest positive n. Labels default to 0, 1, ... Raises ValueError for counts that are impossible, labels of
        the wrong number or repeated, depths or ks that do not increase.
        """
        episodes, successes = checked_counts(n, c)
        if successes.ndim != 3 or successes.size == 0:
            raise ValueError(f"c must have shape (policies, questions, depths) with none empty, got {successes.shape}")
        if np.broadcast_shapes(episodes.shape, successes.shape) != successes.shape:
            raise ValueError(f"n of shape {episodes.shape} does not broadcast to c of shape {successes.shape}")
        episodes = np.broadcast_to(episodes, successes.shape).copy()
        if episodes.max() < 1:
            raise ValueError("there are no episodes")
        if ks is None:
            smallest = int(episodes[episodes > 0].min())
            draws = tuple(2**power for power in range(smallest.bit_length()))
        else:
            draws = tuple(as_integers(list(ks), "ks").tolist())
        if not draws or draws[0] < 1 or any(b <= a for a, b in pairwise(draws)):
            raise ValueError(f"ks must increase, from 1 on, got {draws}")
        surface = cls(
            policies=_labels(policies, successes.shape[0], "policies"),
            questions=_labels(questions, successes.shape[1], "questions"),
            depths=tuple(float(depth) for depth in (range(successes.shape[2]) if depths is None else depths)),
            ks=draws,
            n=episodes,
            c=successes.copy(),
        )
        if len(surface.depths) != successes.shape[2]:
            raise ValueError(f"{successes.shape[2]} depths are in the counts, but {len(surface.depths)} were named")
        if any(not b > a for a, b in pairwise(surface.depths)):
            raise ValueError(f"depths must increase, got {surface.depths}")
        return surface

    @classmethod
    def from_episodes(
        cls,
        policy: Sequence[Hashable] | np.ndarray,
        question: Sequence[Hashable] | np.ndarray,
        depth: ArrayLike | None,
        success: ArrayLike,
        ks: Sequence[int] | None = None,
    ) -> PassSurface:
        """Build from one row an episode.

        Four columns of equal length; success is 0 or 1 (a partial reward is no success: threshold it first), depth may
        be None for a single depth, labelled 0. Policies and questions keep the order in which they appear, depths are
        sorted. Cells without episodes have n = 0. Raises ValueError for no rows, unequal lengths, NaN, or success
        other than 0 and 1.
        """
        outcome = as_integers(success, "success")
        if outcome.ndim != 1 or outcome.size == 0:
            raise ValueError("success must be one column with at least one episode")
        if outcome.min() < 0 or outcome.max() > 1:
            raise ValueError("success must be 0 or 1")
        rows = outcome.size
        rounds = np.zeros(rows) if depth is None else np.asarray(depth, dtype=np.float64)
        for name, column in (("policy", policy), ("question", question), ("depth", rounds)):
            if len(column) != rows:
                raise ValueError(f"{name} has {len(column)} rows, success has {rows}")
        if not np.isfinite(rounds).all():
            raise ValueError("depth holds NaN or infinite values")
        policies, policy_code = _codes(policy)
        questions, question_code = _codes(question)
        depths, depth_code = np.unique(rounds, return_inverse=True)
        shape = (len(policies), len(questions), depths.size)
        cell = np.ravel_multi_index((policy_code, question_code, depth_code), shape)
        size = int(np.prod(shape))
        n = np.bincount(cell, minlength=size).reshape(shape)
        c = np.bincount(cell[outcome == 1], minlength=size).reshape(shape)
        return cls.from_counts(n, c, ks, policies, questions, depths.tolist())

    @cached_property
    def values(self) -> FloatArray:
        return pass_at_k(self.n[..., None], self.c[..., None], np.array(self.ks))

    @property
    def mean(self) -> FloatArray:
        """PASS@(k,T), shape (policies, depths, ks)."""
        return np.asarray(self.values.mean(axis=1))

    @property
    def available(self) -> IntArray:
        """Number of questions with at least k episodes, shape (policies, depths, ks)."""
        return np.asarray((self.n[..., None] >= np.array(self.ks)).sum(axis=1))

    @property
    def standard_error_fixed(self) -> FloatArray:
        """Standard error for these very questions, shape (policies, depths, ks); NaN where n < 2k."""
        variance = pass_at_k_variance(self.n[..., None], self.c[..., None], np.array(self.ks))
        return np.asarray(np.sqrt(variance.sum(axis=1)) / len(self.questions))

    def complete(self, k: int | None = None) -> PassSurface:
        """The same surface on the questions with at least k episodes in every cell (default: the largest k)."""
        enough = (self.n >= (max(self.ks) if k is None else k)).all(axis=(0, 2))
        if not enough.any():
            raise ValueError("no question has enough episodes in every cell")
        kept = tuple(self.questions[position] for position in np.flatnonzero(enough).tolist())
        return PassSurface(self.policies, kept, self.depths, self.ks, self.n[:, enough], self.c[:, enough])

    def difference(self, policy: Hashable, reference: Hashable) -> FloatArray:
        """Paired differences of the unbiased values, shape (questions, depths, ks)."""
        return np.asarray(self.values[self._policy(policy)] - self.values[self._policy(reference)])

    def bands(
        self,
        generator: np.random.Generator,
        resamples: int = 10_000,
        confidence: float = 0.95,
        simultaneous: bool = False,
    ) -> Bands:
        """Question-bootstrap band of every mean; arrays of shape (policies, depths, ks)."""
        by_question = np.moveaxis(self.values, 1, 0)
        return question_bands(by_question, generator, resamples, confidence, simultaneous)

    def difference_bands(
        self,
        policy: Hashable,
        reference: Hashable,
        generator: np.random.Generator,
        resamples: int = 10_000,
        confidence: float = 0.95,
        simultaneous: bool = False,
    ) -> Bands:
        """Question-bootstrap band of the paired mean difference; arrays of shape (depths, ks)."""
        return question_bands(self.difference(policy, reference), generator, resamples, confidence, simultaneous)

    def crossing(
        self,
        policy: Hashable,
        reference: Hashable,
        depth: float,
        generator: np.random.Generator,
        resamples: int = 2_000,
        confidence: float = 0.95,
    ) -> Crossing:
        """The k at which `policy` overtakes `reference` at one depth, with a question-bootstrap percentile interval."""
        check_confidence(confidence)
        paired = self.difference(policy, reference)[:, self._depth(depth)]
        found = crossing_k(self.ks, bootstrap_means(np.ascontiguousarray(paired), generator, resamples))
        crossed = found[~np.isnan(found)]
        low, high = (float("nan"),) * 2
        if crossed.size:
            low, high = (float(x) for x in np.quantile(crossed, [(1 - confidence) / 2, (1 + confidence) / 2]))
        return Crossing(
            k=float(crossing_k(self.ks, paired.mean(axis=0))),
            low=low,
            high=high,
            probability_none=1 - crossed.size / found.size,
            confidence=confidence,
            unit="question",
            method="question bootstrap, percentile among resamples that cross",
            questions=len(self.questions),
        )

    def saturation(
        self,
        policy: Hashable,
        generator: np.random.Generator,
        k: int | None = None,
        tolerance: float = 0.01,
        resamples: int = 2_000,
        confidence: float = 0.95,
    ) -> Saturation:
        """T* of one policy at one k (default: the largest), by estimate and by simultaneous upper bounds."""
        draws = max(self.ks) if k is None else k
        by_depth = self.values[self._policy(policy)][..., self._draws(draws)]
        certified = float("nan") if np.isnan(by_depth).any() else self.depths[-1]
        pairs = [(early, late) for early in range(len(self.depths)) for late in range(early + 1, len(self.depths))]
        if pairs and not np.isnan(by_depth).any():
            gains = np.stack([by_depth[:, late] - by_depth[:, early] for early, late in pairs], axis=1)
            # One-sided bounds at this level are the upper halves of a two-sided band at 2 * level - 1.
            upper = question_bands(gains, generator, resamples, 2 * confidence - 1, simultaneous=True).high
            for position, depth in enumerate(self.depths[:-1]):
                if all(bound <= tolerance for bound, pair in zip(upper, pairs, strict=True) if pair[0] == position):
                    certified = depth
                    break
        return Saturation(
            depth=float(saturation_depth(self.depths, by_depth.mean(axis=0), tolerance)),
            certified_depth=certified,
            tolerance=tolerance,
            confidence=confidence,
            k=draws,
        )

    def boundary(self, policy: Hashable, depth: float) -> np.ndarray:
        """Boolean mask over questions: at least one success in the episodes of this cell."""
        return np.asarray(self.c[self._policy(policy), :, self._depth(depth)] > 0)

    def boundary_difference(self, policy: Hashable, reference: Hashable, depth: float) -> BoundaryDifference:
        """(gained, lost) of `policy` against `reference`. Raises ValueError for unequal n."""
        return boundary_difference(*self._paired_counts(policy, reference, depth))

    def expected_boundary_difference(
        self, policy: Hashable, reference: Hashable, depth: float, sample_size: int
    ) -> tuple[float, float]:
        """Unbiased (gained, lost) as they would be at `sample_size` episodes a question; NaN where n is smaller."""
        at = self._depth(depth)
        new, old = self._policy(policy), self._policy(reference)
        return expected_gained_and_lost(
            self.n[new, :, at], self.c[new, :, at], self.n[old, :, at], self.c[old, :, at], sample_size
        )

    def _paired_counts(self, policy: Hashable, reference: Hashable, depth: float) -> tuple[IntArray, IntArray]:
        new, old, at = self._policy(policy), self._policy(reference), self._depth(depth)
        if np.any(self.n[new, :, at] != self.n[old, :, at]):
            raise ValueError(
                f"{policy!r} and {reference!r} have unequal numbers of episodes on some questions at depth {depth}: "
                "use expected_boundary_difference with a common sample_size"
            )
        return self.c[new, :, at], self.c[old, :, at]

    def _policy(self, policy: Hashable) -> int:
        return _position(self.policies, policy, "policy")

    def _depth(self, depth: float) -> int:
        return _position(self.depths, depth, "depth")

    def _draws(self, k: int) -> int:
        return _position(self.ks, k, "k")


def _position(labels: Sequence[Hashable], label: Hashable, name: str) -> int:
    if label not in labels:
        raise ValueError(f"unknown {name} {label!r}: the surface has {', '.join(map(repr, labels))}")
    return list(labels).index(label)


def _labels(labels: Sequence[Hashable] | None, count: int, name: str) -> tuple[Hashable, ...]:
    chosen = tuple(range(count)) if labels is None else tuple(labels)
    if len(chosen) != count:
        raise ValueError(f"{count} {name} are in the counts, but {len(chosen)} were named")
    if len(set(chosen)) != count:
        raise ValueError(f"{name} must be distinct")
    return chosen


def _codes(column: Sequence[Hashable] | np.ndarray) -> tuple[tuple[Hashable, ...], IntArray]:
    """Distinct labels in order of appearance, and the position of each row's label."""
    seen: dict[Hashable, int] = {}
    rows = column.tolist() if isinstance(column, np.ndarray) else list(column)
    codes = np.array([seen.setdefault(label, len(seen)) for label in rows], dtype=np.int64)
    # NaN is unequal to itself, so every missing label would silently become a policy or question of its own.
    if any(label is None or label != label for label in seen):
        raise ValueError("a policy or question label is missing")
    return tuple(seen), codes
