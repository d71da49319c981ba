"""What the records say about a claim: samples, rules and parts, each cheap to judge anew on other samples.

A claim has one part or several, and holds where all of them do. A part is a sample judged by a rule. Power and
calibration draw new samples of the same spread and judge them by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import scipy

from theory.bootstrap import crossed_error, mean_squares
from theory.resampling import FloatArray
from theory.step_down import Component, step_down_maxt

Details = tuple[tuple[str, str], ...]
Kind = Literal["superiority", "equivalence", "difference", "other"]
CONFIDENCE, EQUIVALENCE_CONFIDENCE = 0.95, 0.90


@dataclass(frozen=True, eq=False)
class Sample:
    """One quantity measured on every seed, and, where it is a mean over tasks that the seeds share, their spread."""

    seed_means: FloatArray
    """(seeds,); NaN for a seed without a value."""
    tasks: int = 0
    """Tasks that each mean is taken over; 0 or 1 where they are not taken as random."""
    task_square: float = 0.0
    """Mean square of the tasks in a crossed analysis of variance."""
    residual_square: float = 0.0
    """Mean square of what neither seed nor task explains."""
    episode_square: float = float("nan")
    """Of that, what the draw of the episodes alone is expected to give; NaN where it is not known."""

    @property
    def known(self) -> FloatArray:
        """The values of the seeds that have one."""
        return self.seed_means[np.isfinite(self.seed_means)]

    @cached_property
    def estimate(self) -> float:
        """Mean over seeds."""
        return float(self.known.mean())

    @cached_property
    def deviation(self) -> float:
        """Standard deviation over seeds."""
        return float(self.known.std(ddof=1))

    @cached_property
    def error(self) -> tuple[float, float]:
        """Standard error of the mean with seeds and tasks as random, and its degrees of freedom."""
        seeds = len(self.known)
        if self.tasks < 2:
            return self.deviation / seeds**0.5, seeds - 1.0
        found = crossed_error(self.tasks * self.deviation**2, self.task_square, self.residual_square, seeds, self.tasks)
        return float(found[0]), float(found[1])

    @property
    def task_variance(self) -> float:
        """Variance that the tasks, which all seeds share, add to the mean."""
        if self.tasks < 2:
            return 0.0
        return max(0.0, self.error[0] ** 2 - self.deviation**2 / len(self.known))

    def shifted(self, by: float) -> Sample:
        """The same spread around another mean."""
        return replace(self, seed_means=self.seed_means + by)


def sample_of(table: FloatArray, episode_square: float = float("nan")) -> Sample:
    """The sample of a (seeds, tasks) table, or of one number a seed, (seeds,)."""
    values = np.asarray(table, dtype=np.float64)
    if values.ndim == 1 or values.shape[1] < 2:
        return Sample(values.reshape(len(values), -1)[:, 0])
    known = values[np.isfinite(values).all(axis=1)]
    means = np.where(np.isfinite(values).all(axis=1), values.mean(axis=1), np.nan)
    if len(known) < 2:
        return Sample(means, values.shape[1])
    _, tasks, rest = (float(square) for square in mean_squares(known))
    return Sample(means, values.shape[1], tasks, rest, episode_square)


@dataclass(frozen=True)
class Rule:
    """How a sample is judged. The claim holds where the mean lies above `null` (superiority, or non-inferiority with a
    null of minus the margin), inside +-`margin` (equivalence), or on either side of 0 (difference)."""

    kind: Kind = "superiority"
    null: float = 0.0
    smallest_effect: float = 0.0
    """Refuted where the mean is surely smaller: the smallest effect of interest."""
    margin: float = 0.0
    """Of an equivalence, and of the equality that refutes a difference."""
    upper_only: bool = False
    """Whether only a mean above the margin refutes an equivalence."""
    unit: str = "points"
    ratio: bool = False
    """Whether the values are logarithms, shown as ratios."""


@dataclass(frozen=True, eq=False)
class Part:
    """A sample judged by a rule."""

    label: str
    rule: Rule
    sample: Sample
    low: float
    high: float
    confidence: float
    method: str
    support: Component | None
    """The test of the claim; None where it has none (descriptive)."""
    refutation: Component | None
    """The test of the smallest effect of interest."""
    in_favour: bool
    """Whether the interval lies where the claim says; needed, with the corrected p, for support."""
    against: bool
    """Whether the interval excludes the smallest effect of interest and does not lie where the claim says."""

    by_tasks: tuple[float, float] | None = None
    """Where tasks are random too: one-sided p by the crossed t of the interval, of the claim's null and of the smallest
    effect of interest. The sign flips take the tasks as they are."""

    @property
    def effect(self) -> float:
        """The estimate, in `rule.unit`."""
        return self.shown(self.sample.estimate)

    @cached_property
    def p_value(self) -> float | None:
        """One-sided p of the claim's null, before correction (two-sided for a difference)."""
        return p_of(self.support)

    @cached_property
    def p_refuted(self) -> float | None:
        """One-sided p of an effect of at least the smallest of interest, before correction."""
        return p_of(self.refutation)

    def shown(self, value: float) -> float:
        """A value of the sample in the unit that is told."""
        return float(np.exp(value)) if self.rule.ratio else float(value)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval in the unit that is told."""
        return self.shown(self.low), self.shown(self.high)


def p_of(component: Component | None) -> float | None:
    """p of one test alone; above 15 seeds its sign patterns are random."""
    return None if component is None else float(step_down_maxt([(component,)], np.random.default_rng(0))[0])


class NotMeasured(ValueError):
    """A statistic that does not exist in the records."""


def judge(label: str, rule: Rule, sample: Sample) -> Part:
    """The part of this sample under this rule. Raises NotMeasured for fewer than two seeds with a value."""
    if len(sample.known) < 2:
        raise NotMeasured(f"{label or 'a part'}: fewer than 2 seeds have a value")
    confidence = EQUIVALENCE_CONFIDENCE if rule.kind == "equivalence" else CONFIDENCE
    error, freedom = sample.error
    half = float(scipy.special.stdtrit(freedom, 0.5 + confidence / 2)) * error
    low, high = sample.estimate - half, sample.estimate + half
    method = "crossed t, seeds and tasks random" if sample.tasks > 1 else "t over seeds"
    judged = {"superiority": _superiority, "equivalence": _equivalence, "difference": _difference}[rule.kind]
    support, refutation, in_favour, against = judged(rule, sample, low, high)
    by_tasks = None
    if rule.kind == "superiority" and sample.tasks > 1:
        by_tasks = _tail(sample, rule.null), 1.0 - _tail(sample, rule.smallest_effect)
    return Part(label, rule, sample, low, high, confidence, method, support, refutation, in_favour, against, by_tasks)


Judged = tuple[Component, Component, bool, bool]


def _superiority(rule: Rule, sample: Sample, low: float, high: float) -> Judged:
    in_favour = low > rule.null
    # Nothing of the kind ever happened: no evidence either way.
    something = bool(np.any(sample.known))
    return (
        Component(sample.seed_means - rule.null),
        Component(rule.smallest_effect - sample.seed_means),
        in_favour,
        something and not in_favour and high < rule.smallest_effect,
    )


def _equivalence(rule: Rule, sample: Sample, low: float, high: float) -> Judged:
    below, above = _tail(sample, -rule.margin), _tail(sample, rule.margin)
    beyond = above if rule.upper_only else min(above, 1 - below)
    return (
        Component(p_value=max(below, 1 - above)),
        Component(p_value=beyond),
        -rule.margin < low and high < rule.margin,
        low > rule.margin or (high < -rule.margin and not rule.upper_only),
    )


def _difference(rule: Rule, sample: Sample, low: float, high: float) -> Judged:
    sides = [p_of(Component(sign * sample.seed_means)) or 0.0 for sign in (1, -1)]
    equal = judge("", replace(rule, kind="equivalence"), sample)
    assert equal.support is not None
    in_favour = low > 0 or high < 0
    return (
        Component(p_value=min(1.0, 2 * min(sides))),
        equal.support,
        in_favour,
        equal.in_favour and not in_favour,
    )


def _tail(sample: Sample, value: float) -> float:
    """One-sided p of a mean of at most `value`, by the t of the interval; a sample without spread is decided by its
    mean."""
    error, freedom = sample.error
    if error <= 0:
        return 0.0 if sample.estimate > value else 1.0
    return float(scipy.special.stdtr(freedom, (value - sample.estimate) / error))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the records say about one claim."""

    parts: tuple[Part, ...] = ()
    """The first `required` must all hold; further ones only take part in refutation."""
    required: int = 0
    """0: all of them."""
    refuting: tuple[tuple[int, ...], ...] = ()
    """Places of parts; the claim is refuted where all parts of one of these groups are. Empty: any required part."""
    details: Details | Callable[[], Details] = ()
    """Further rows for the report, label and value; a function where they take time."""
    missing: str = ""
    """Why it could not be measured."""

    @property
    def must_hold(self) -> tuple[Part, ...]:
        """The parts that the claim needs."""
        return self.parts[: self.required or len(self.parts)]

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Groups of parts that refute."""
        return self.refuting or tuple((place,) for place in range(len(self.must_hold)))

    @property
    def in_favour(self) -> bool:
        """Whether every part's interval lies where the claim says."""
        return bool(self.parts) and all(part.in_favour for part in self.must_hold)

    @property
    def descriptive(self) -> bool:
        """Whether there is no test."""
        return all(part.support is None for part in self.parts)

    @property
    def deciding(self) -> Part:
        """The part told where there is room for one: that with the largest p."""
        return max(self.must_hold, key=lambda part: (-1.0 if part.p_value is None else part.p_value, -part.effect))

    @property
    def p_value(self) -> float | None:
        """The largest p of the parts, valid for the whole as each must be shown (intersection-union test)."""
        known = [part.p_value for part in self.must_hold if part.p_value is not None]
        return max(known) if known else None

    def rows(self) -> Details:
        """The details."""
        return self.details() if callable(self.details) else self.details

    def judged_anew(self, samples: Sequence[Sample]) -> Evidence:
        """The same claim on other samples, one for each part."""
        parts = tuple(judge(part.label, part.rule, own) for part, own in zip(self.parts, samples, strict=True))
        return replace(self, parts=parts, details=())


def not_measured(reason: str, details: Details = ()) -> Evidence:
    """Evidence of a statistic that does not exist in the records."""
    return Evidence(missing=reason, details=details)
