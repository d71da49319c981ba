"""Credit assignment with resets: the validation curves on LiveCodeBench and their cost.

Sections are those of arXiv 2605.25507v2 (5.3, appendices G and H). The curves give standard errors, population SD over
sqrt(seeds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproduce.papers.resets.audit.scores import (
    CONTRASTS,
    published,
    sample_factor,
    whole_setting,
)
from reproduce.report.audit_tables import PAPER, AuditRow, AuditTable
from reproduce.report.text import listed, number, probability
from theory.inference import holm
from theory.published import welch_from_summary
from theory.resampling import FloatArray

CURVE_ARMS = ("GRPO", "RRPO", "SRPO")
RATIO_ITEMS = ("train-hours", "generation-hours", "total-hours", "tokens", "mean-response")


@dataclass(frozen=True)
class StepTest:
    """Welch's test of two curves at one step; `adjusted` is Holm's over all steps and contrasts."""

    arm: str
    against: str
    step: int
    difference: float
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class SpeedUp:
    """How much earlier SRPO reaches another arm's final value, in three currencies."""

    against: str
    crossing: float
    steps: float
    training_hours: float
    tokens: float
    printed: float


@dataclass(frozen=True)
class CostRatio:
    """A cost relative to GRPO's, recomputed from the printed costs, beside the printed ratio."""

    arm: str
    item: str
    recomputed: float
    printed: float


def final_step() -> int:
    """Number of training steps of the curves."""
    return whole_setting("data.code.steps")


def curve(arm: str) -> FloatArray:
    """Printed curve of an arm, shape (steps + 1,) from step 0, in % of tests passed."""
    return np.array([published()[f"curve.{arm}.{step}"] for step in range(final_step() + 1)])


def sample_deviation(arm: str, step: int) -> float:
    """Sample SD over seeds of an arm at a step from 1 on, in points."""
    error = published()[f"curve-se.{arm}.{step}"]
    return float(error * np.sqrt(whole_setting("evaluation.seeds")) * sample_factor())


def step_tests() -> tuple[StepTest, ...]:
    """Welch's test of every contrast at every step; Holm over all of them."""
    seeds = whole_setting("evaluation.seeds")
    raw = []
    for arm, against in CONTRASTS:
        for step in range(1, final_step() + 1):
            first, second = ((float(curve(name)[step]), sample_deviation(name, step), seeds) for name in (arm, against))
            test = welch_from_summary(first, second)
            raw.append((arm, against, step, test.mean, test.p_value))
    adjusted = holm([p for *_, p in raw])
    return tuple(StepTest(*case, float(holm_p)) for case, holm_p in zip(raw, adjusted, strict=True))


def mean_over_steps(arm: str) -> float:
    """Mean of a curve over the steps after step 0, in %."""
    return float(curve(arm)[1:].mean())


def speed_ups() -> tuple[SpeedUp, ...]:
    """When SRPO's curve, linear between steps, first reaches an arm's last value, and what it had cost by then.

    Hours and tokens are spread evenly over the steps of a run.
    """
    return tuple(_speed_up(against) for against in CURVE_ARMS[:2])


def cost_ratios() -> tuple[CostRatio, ...]:
    """The printed ratios to GRPO, recomputed from the printed costs."""
    cost, ratio = "cost.{}.{}", "cost-ratio.{}.{}"
    return tuple(
        CostRatio(
            arm,
            item,
            published()[cost.format(arm, item)] / published()[cost.format("GRPO", item)],
            published()[ratio.format(arm, item)],
        )
        for arm in CURVE_ARMS[1:]
        for item in RATIO_ITEMS
    )


def total_hours_gap(arm: str) -> float:
    """Printed total hours minus training and validation hours."""
    train, validation, total = (published()[f"cost.{arm}.{item}-hours"] for item in ("train", "validation", "total"))
    return float(total - train - validation)


def _speed_up(against: str) -> SpeedUp:
    target, own, last = curve(against)[-1], curve("SRPO"), final_step()
    after = int(np.argmax(own >= target))
    crossing = float(after - 1 + (target - own[after - 1]) / (own[after] - own[after - 1]))
    costs = [
        published()[f"cost.{against}.{item}"] / published()[f"cost.SRPO.{item}"] for item in ("train-hours", "tokens")
    ]
    steps = last / crossing
    return SpeedUp(against, crossing, steps, steps * costs[0], steps * costs[1], published()[f"speed-up.{against}"])


def curves_table() -> AuditTable:
    """Section 5.3: the curves, step by step."""
    tests = {(test.arm, test.against, test.step): test for test in step_tests()}
    steps = range(1, final_step() + 1)
    rows = []
    for step in steps:
        cells = [str(step)]
        for pair in CONTRASTS:
            test = tests[(*pair, step)]
            cells += [number(test.difference, signed=True), probability(test.p_value)]
        rows.append(AuditRow(tuple(cells), PAPER))
    smallest = [
        f"{arm} − {against} {probability(min(tests[(arm, against, step)].p_value for step in steps))}"
        for arm, against in CONTRASTS
    ]
    spread = listed([f"{arm} {number(sample_deviation(arm, final_step()))}" for arm in CURVE_ARMS])
    return AuditTable(
        "curve-steps",
        "Welch tests of the validation curves, step by step",
        "Differences of the curves on LiveCodeBench-medium in points with Welch's t-test over three seeds an arm, "
        f"sample SDs from the plotted standard errors; Holm over the {len(tests)} tests.",
        ("step", *[f"{arm} − {against}{what}" for arm, against in CONTRASTS for what in ("", ", p")]),
        tuple(rows),
        f"Smallest p of a step: {'; '.join(smallest)}; smallest after Holm "
        f"{probability(min(test.adjusted for test in tests.values()))}. Of the {len(tests)} tests "
        f"{sum(test.p_value < 0.05 for test in tests.values())} are below .05 before adjustment. Means over the steps: "
        + listed([f"{arm} {number(mean_over_steps(arm))}" for arm in CURVE_ARMS])
        + f"; sample SDs at the last step: {spread} points.",
        ("Steps of one run depend on each other. As released, the curve scores the training half of the tests.",),
    )


def speed_table() -> AuditTable:
    """Section 5.3: the printed speed-ups in other currencies."""
    found = speed_ups()
    rows = tuple(
        AuditRow(
            (
                item.against,
                number(item.crossing, 2),
                number(item.printed),
                number(item.steps, 2),
                number(item.training_hours, 2),
                number(item.tokens, 2),
            ),
            PAPER,
        )
        for item in found
    )
    return AuditTable(
        "curve-speed",
        "How much faster SRPO reaches the others' last value",
        "The step at which SRPO's mean curve crosses the last value of another arm, and the ratio of what that arm "
        "spent in all to what SRPO had spent by then.",
        ("against", "crossed at step", "printed ratio", "ratio in steps", "in training hours", "in tokens"),
        rows,
        "SRPO reaches the last value sooner: "
        + "; ".join(
            f"against {item.against}, the printed {item.printed:g}× is {number(item.steps, 2)}× in steps, "
            f"{number(item.training_hours, 2)}× in training hours and {number(item.tokens, 2)}× in tokens of the batch"
            for item in found
        )
        + ".",
        (
            "Hours and tokens are those of seed 42, spread evenly over the steps; tokens count the prefix, but neither "
            "seed chains nor localizations.",
            "A crossing of mean curves has no test here: the runs of single seeds are not public.",
        ),
    )


def cost_table() -> AuditTable:
    """Appendix H: the printed cost ratios."""
    found = cost_ratios()
    rows = tuple(
        AuditRow((item.arm, item.item, number(item.recomputed, 3), number(item.printed, 2)), PAPER) for item in found
    )
    off = [item for item in found if abs(item.recomputed - item.printed) > 0.00501]
    gaps = [f"{arm} {number(total_hours_gap(arm), 2, signed=True)}" for arm in CURVE_ARMS]
    said = (
        "All printed ratios follow from the printed costs"
        if not off
        else listed(
            [f"{item.arm} {item.item} prints {item.printed:g}, costs give {item.recomputed:.3f}" for item in off]
        )
    )
    return AuditTable(
        "cost-ratios",
        "The printed cost ratios",
        "Ratios to GRPO, recomputed from the printed hours and tokens of Tables 7 and 8.",
        ("arm", "item", "recomputed", "printed"),
        rows,
        f"{said}. Total less training and validation hours: {listed(gaps)}.",
        ("One seed (42). A difference in the last digit can come from rounded costs.",),
    )
