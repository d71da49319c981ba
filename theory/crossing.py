"""Confidence sets for the k at which one PASS@k curve first gains on another, and first loses.

From a band that covers the mean difference at every whole k from 1 to K at once: a k whose lower bound is above 0 is a
certified gain, one whose upper bound is below 0 a certified loss. The first loss lies after the unbroken run of gains
that begins at k = 1, and not after the first certified loss; the first gain likewise. Source: passk-inference 0.3.1 and
pass_kt section 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.bounded_means import bounded_mean_interval, simultaneous_confidence
from theory.resampling import FloatArray


@dataclass(frozen=True, eq=False)
class Crossings:
    """Bands of the mean difference at k = 1, ..., K, and the sets [from, to] of the first gain and the first loss.

    The upper end of a set is None where no k is certified. `gain_then_loss`: some gain is certified at a smaller k
    than some loss; `loss_then_gain` the reverse.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    first_gain: tuple[int, int | None]
    first_loss: tuple[int, int | None]
    gain_then_loss: bool
    loss_then_gain: bool
    confidence: float
    unit: str


def crossings_of_questions(
    differences: ArrayLike, generator: np.random.Generator, confidence: float = 0.95, draws: int = 10_000
) -> Crossings:
    """The sets for one pair of policies. differences: shape (questions, K), unbiased PASS@k of the policy less that of
    its baseline at k = 1, ..., K, without NaN. Training runs are taken as they are. Raises ValueError otherwise."""
    values = _checked(differences, 2)
    level = simultaneous_confidence(values, generator, confidence, draws)
    band = bounded_mean_interval(values, level, -1.0, 1.0)
    return _sets(band.estimate, band.low, band.high, confidence, "question")


def crossings_of_seeds(
    differences: ArrayLike, generator: np.random.Generator, confidence: float = 0.95, draws: int = 10_000
) -> Crossings:
    """The same over training seeds. differences: shape (seeds, questions, K), at least two of each.

    Both factors count as drawn. The part of the questions is that of `crossings_of_questions`, of means over seeds;
    that of the seeds is Student's t over their means, widened alike for all k at once. The squares of the half-widths
    add up. Raises ValueError for other shapes or NaN.
    """
    values = _checked(differences, 3)
    seeds = values.shape[0]
    if min(values.shape[:2]) < 2:
        raise ValueError(f"needs at least 2 seeds and 2 questions, got {seeds} and {values.shape[1]}")
    by_question, by_seed = values.mean(axis=0), values.mean(axis=1)
    level = simultaneous_confidence(by_question, generator, confidence, draws)
    band = bounded_mean_interval(by_question, level, -1.0, 1.0)
    wider = scipy.stats.norm.isf((1 - level) / 2) / scipy.stats.norm.isf((1 - confidence) / 2)
    part = wider * scipy.stats.t.isf((1 - confidence) / 2, seeds - 1) * by_seed.std(axis=0, ddof=1) / np.sqrt(seeds)
    low = np.maximum(band.estimate - np.hypot(band.estimate - band.low, part), -1.0)
    high = np.minimum(band.estimate + np.hypot(band.high - band.estimate, part), 1.0)
    return _sets(band.estimate, low, high, confidence, "seed and question")


def first_set(certified: ArrayLike, opposite: ArrayLike) -> tuple[int, int | None]:
    """[1 + length of the unbroken run of `opposite` from k = 1, first k that is `certified`], None without any."""
    yes, no = np.asarray(certified, dtype=bool), np.asarray(opposite, dtype=bool)
    run = int(np.argmin(no)) if not no.all() else no.size
    return 1 + run, int(np.argmax(yes)) + 1 if yes.any() else None


def _sets(mean: FloatArray, low: FloatArray, high: FloatArray, confidence: float, unit: str) -> Crossings:
    gains, losses = low > 0, high < 0
    gained, lost = np.flatnonzero(gains), np.flatnonzero(losses)
    both = bool(gained.size and lost.size)
    return Crossings(
        estimate=np.asarray(mean),
        low=low,
        high=high,
        first_gain=first_set(gains, losses),
        first_loss=first_set(losses, gains),
        gain_then_loss=both and bool(gained[0] < lost[-1]),
        loss_then_gain=both and bool(lost[0] < gained[-1]),
        confidence=confidence,
        unit=unit,
    )


def _checked(differences: ArrayLike, axes: int) -> FloatArray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != axes or values.size == 0:
        raise ValueError(f"differences must have {axes} axes, the last k = 1 to K, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("differences hold NaN or infinite values")
    return values
