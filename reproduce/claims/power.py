"""What a claim could find: minimum detectable effects of the whole rule, the seeds that would settle it, and what the
spread is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from reproduce.claims.evidence import Evidence, Part
from reproduce.claims.tests import POWER
from reproduce.claims.verdicts import ALPHA, Claim, Family, Verdict, levels
from theory.detectable import (
    Correction,
    Design,
    detectable_effect,
    detectable_margin,
    formula_effect,
    level_by_p,
    units_needed,
)


@dataclass(frozen=True)
class Outlook:
    """What a claim could find at the observed spread, all in the unit of its effect."""

    before: float | None
    """Smallest true effect that the claim, tested alone at 5 %, finds with 80 % power; None where it has none, such as
    a descriptive claim, infinite where no effect is found. Of an equivalence the margin that is met at a true
    difference of 0."""
    after: float | None
    """The same in its family, at the family's level, with every other claim truly null."""
    needed: str
    """How many seeds would settle the claim, in words."""
    shares: tuple[tuple[str, float], ...] = ()
    """Percent of the variance of the estimate that seeds, tasks, episodes and the rest give."""


@dataclass(frozen=True)
class Planned:
    """An assumed spread of one claim, before anything runs."""

    claim: str
    deviation: float
    """Standard deviation of a seed's value."""
    assumption: str
    task_variance: float = 0.0
    """Variance that the tasks add to the mean."""
    tasks: int = 0
    """Tasks; 0 where they are not taken as random."""
    margin: bool = False
    """Whether the claim is an equivalence."""
    unit: str = "points"


def outlooks(verdicts: Sequence[Verdict]) -> dict[str, Outlook]:
    """The outlook of every claim that was measured, by identifier."""
    families: dict[Family, list[Verdict]] = {}
    found = {}
    for verdict in verdicts:
        evidence = verdict.evidence
        if not evidence.parts:
            continue
        if verdict.corrected.adjusted_p is None:
            found[verdict.claim.identifier] = Outlook(None, None, "", variance_shares(evidence.deciding))
        else:
            families.setdefault(verdict.claim.family, []).append(verdict)
    for members in families.values():
        design = _design([verdict.evidence for verdict in members])
        for place, verdict in enumerate(members):
            found[verdict.claim.identifier] = _outlook(verdict, place, members, design)
    return found


@dataclass(frozen=True, eq=False)
class _Members:
    """The design of a family, and the places in it of each claim's required parts: those that flip, or all of an
    equivalence."""

    design: Design
    places: tuple[tuple[int, ...], ...]
    flipped: tuple[bool, ...]


def _design(members: Sequence[Evidence]) -> _Members:
    parts: list[Part] = []
    places, flipped = [], []
    for evidence in members:
        flips = [part for part in evidence.must_hold if part.support is not None and part.support.values is not None]
        own = flips or [part for part in evidence.must_hold if part.rule.kind != "other"]
        places.append(tuple(range(len(parts), len(parts) + len(own))))
        flipped.append(bool(flips))
        parts += own
    if not parts:
        return _Members(Design.of_units(2, np.zeros((2, 0))), tuple(places), tuple(flipped))
    residuals = [
        np.nan_to_num(part.sample.seed_means - part.sample.estimate) / (len(part.sample.known) - 1) ** 0.5
        for part in parts
    ]
    design = Design(
        len(residuals[0]),
        np.stack(residuals, axis=1),
        np.array([part.sample.task_variance for part in parts]),
        np.array([float(part.sample.tasks) for part in parts]),
        np.array([part.sample.task_square for part in parts]),
        np.array([part.sample.residual_square for part in parts]),
    )
    return _Members(design, tuple(places), tuple(flipped))


def _outlook(verdict: Verdict, place: int, members: Sequence[Verdict], family: _Members) -> Outlook:
    evidence, level, own = verdict.evidence, verdict.corrected.level, family.places[place]
    shares = variance_shares(evidence.deciding)
    if not own:
        return Outlook(None, None, "", shares)
    others = [at for at in range(len(members)) if at != place]
    crossed = sum(any(part.by_tasks for part in one.evidence.must_hold) for one in members)
    correction = Correction(
        level,
        [family.places[at] for at in others if family.flipped[at]],
        sum(not family.flipped[at] for at in others),
        max(1, crossed),
    )
    if not family.flipped[place]:
        by_p = level_by_p(family.design, correction)
        margins = [detectable_margin(family.design, own, alpha, POWER) for alpha in (ALPHA, by_p)]
        return Outlook(margins[0], margins[1], _settled_equivalence(evidence), shares)
    before = detectable_effect(family.design, own, power=POWER)
    after = detectable_effect(family.design, own, correction, POWER)
    flipped = [part for part in evidence.must_hold if part.support is not None and part.support.values is not None]
    shown = [flipped[0].shown(flipped[0].rule.null + effect) for effect in (before, after)]
    return Outlook(shown[0], shown[1], _settled(evidence, flipped, after, level / len(members)), shares)


def _settled_equivalence(evidence: Evidence) -> str:
    """The margin that the interval as it is would meet: it need not lie around 0."""
    margin = max(abs(end) for part in evidence.must_hold for end in part.interval)
    unit = evidence.deciding.rule.unit
    return f"With this interval equivalence is shown for a margin above {margin:.1f} {unit}, before correction."


def _settled(evidence: Evidence, flipped: Sequence[Part], after: float, level: float) -> str:
    """How many seeds would settle a claim in the direction in which its weakest part points."""
    part = min(flipped, key=lambda one: (one.sample.estimate - one.rule.null) / (one.sample.deviation or 1.0))
    sample, rule, seeds = part.sample, part.rule, len(part.sample.known)
    formula = formula_effect(sample.deviation, seeds, sample.task_variance, level, POWER)
    ratio = after / formula if np.isfinite(after) and formula > 0 else 1.0
    truth = "If true effect and spread were the observed ones, "
    for distance, verb in (
        (sample.estimate - rule.null, "support it"),
        (rule.smallest_effect - sample.estimate, "refute it"),
    ):
        if distance <= 0:
            continue
        needed = units_needed(distance, sample.deviation, sample.task_variance, level, POWER, ratio)
        if needed is not None:
            return f"{truth}{needed} seeds would {verb} with {100 * POWER:.0f} % power, corrected; here are {seeds}."
        if units_needed(distance, sample.deviation, 0.0, level, POWER, ratio) is not None:
            return f"{truth}no number of seeds would {verb} on {sample.tasks} tasks: their spread alone hides it."
    if rule.null < sample.estimate:
        return f"{truth}more than a thousand seeds would be needed."
    return f"{truth}neither support nor refutation would come of more seeds."


def variance_shares(part: Part) -> tuple[tuple[str, float], ...]:
    """Percent of the variance of the estimate: seeds, tasks, episodes where their number is known, and the rest.

    Source: components of variance of the crossed analysis of variance; the draw of episodes is binomial.
    """
    sample = part.sample
    seeds, tasks = len(sample.known), sample.tasks
    if tasks < 2 or sample.deviation == 0:
        return ()
    of_seeds = max(0.0, tasks * sample.deviation**2 - sample.residual_square) / tasks / seeds
    of_tasks = max(0.0, sample.task_square - sample.residual_square) / seeds / tasks
    rest = sample.residual_square / (seeds * tasks)
    episodes = min(sample.episode_square, sample.residual_square) / (seeds * tasks)
    parts = {"seeds": of_seeds, "tasks": of_tasks}
    parts |= {"episodes": episodes, "rest": rest - episodes} if np.isfinite(episodes) else {"episodes and rest": rest}
    total = sum(parts.values())
    return tuple((name, 100 * value / total) for name, value in parts.items()) if total > 0 else ()


def planned_rows(
    planned: Sequence[Planned], tested: Sequence[Claim], seeds: int
) -> tuple[tuple[str, str, str, str], ...]:
    """Claim, minimum detectable effect before and after correction, and assumption, for the claims that are tested.

    Other claims of a family are taken as independent and null.
    """
    families = {claim.identifier: claim.family for claim in tested}
    each = levels(families.values())
    rows = []
    for own in (one for one in planned if one.claim in families):
        family = families[own.claim]
        size = sum(other == family for other in families.values())
        corrections = (Correction(ALPHA), Correction(each[family], [(other,) for other in range(1, size)], 0, size))
        found = []
        for correction in corrections:
            if own.margin:
                error = (own.deviation**2 / seeds + own.task_variance) ** 0.5
                alpha = correction.level / (1 + len(correction.others))
                effect = (
                    float(
                        scipy.special.stdtrit(seeds - 1, 1 - alpha) + scipy.special.stdtrit(seeds - 1, (1 + POWER) / 2)
                    )
                    * error
                )
                found.append(f"margin of {effect:.1f} {own.unit}")
                continue
            design = _assumed(own, size, seeds)
            effect = detectable_effect(design, [0], correction, POWER)
            found.append(f"{effect:.1f} {own.unit}" if np.isfinite(effect) else f"none with {seeds} seeds")
        rows.append((own.claim, found[0], found[1], own.assumption))
    return tuple(rows)


def _assumed(own: Planned, size: int, seeds: int) -> Design:
    """Independent claims of one spread. Seeds differ by nothing but what the assumption says."""
    tasks = np.zeros(size)
    tasks[0] = own.tasks
    rest = np.full(size, own.deviation**2 * max(1, own.tasks))
    squares = rest + own.task_variance * seeds * max(1, own.tasks)
    variances = np.zeros(size)
    variances[0] = own.task_variance
    return Design(seeds, np.diag(np.full(size, own.deviation)), variances, tasks, squares, rest)
