"""Credit assignment with resets: the validation curves on LiveCodeBench, their cost, and the power of three seeds.

Sections are those of arXiv 2605.25507v2 (5.3, appendices G and H). The curves give standard errors, population SD over
sqrt(seeds).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reproduce.claims.published import whole_setting
from reproduce.papers.resets.published import CONTRASTS, KEY, MODELS, deviations, sample_factor, scores, seeds, value
from reproduce.report.audit_tables import OURS, PAPER, Analysis, numbers, probabilities, texts
from reproduce.report.text import NOTHING, listed, number, probability
from theory.base_group import base_group_law, independent_group_mixed
from theory.inference import holm
from theory.published import welch_detectable_difference, welch_from_summary, welch_units
from theory.resampling import FloatArray

CURVE_ARMS = ("GRPO", "RRPO", "SRPO")
COSTS = ("train-hours", "generation-hours", "total-hours", "tokens", "mean-response")
RATES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90)
DESIGNS = (3, 5, 10, 20, 30)


def final_step() -> int:
    """Number of training steps of the curves."""
    return whole_setting(KEY, "data.code.steps")


def curve(arm: str) -> FloatArray:
    """Printed curve of an arm, shape (steps + 1,) from step 0, in % of tests passed."""
    return np.array([value(f"curve.{arm}.{step}") for step in range(final_step() + 1)])


def sample_deviation(arm: str, step: int) -> float:
    """Sample SD over seeds of an arm at a step from 1 on, in points."""
    return value(f"curve-se.{arm}.{step}") * float(np.sqrt(seeds())) * sample_factor()


def curve_steps() -> Analysis:
    """Section 5.3: Welch's test of every contrast at every step; Holm over all of them."""
    rows = []
    for arm, against in CONTRASTS:
        for step in range(1, final_step() + 1):
            first, second = (
                (float(curve(name)[step]), sample_deviation(name, step), seeds()) for name in (arm, against)
            )
            test = welch_from_summary(first, second)
            rows.append((f"{arm} − {against}", step, test.mean, test.p_value))
    found = pd.DataFrame(rows, columns=["contrast", "step", "difference", "p"])
    found["adjusted"] = holm(found.p)
    groups = dict(list(found.groupby("contrast", sort=False)))
    cells = {"step": texts(range(1, final_step() + 1))}
    for contrast, tests in groups.items():
        cells |= {contrast: numbers(tests.difference, signed=True), f"{contrast}, p": probabilities(tests.p)}
    smallest = [f"{contrast} {probability(tests.p.min())}" for contrast, tests in groups.items()]
    means = listed([f"{arm} {number(float(curve(arm)[1:].mean()))}" for arm in CURVE_ARMS])
    spread = listed([f"{arm} {number(sample_deviation(arm, final_step()))}" for arm in CURVE_ARMS])
    return Analysis(
        "curve-steps",
        "Welch tests of the validation curves, step by step",
        "Differences of the curves on LiveCodeBench-medium in points with Welch's t-test over three seeds an arm, "
        f"sample SDs from the plotted standard errors; Holm over the {len(found)} tests.",
        found,
        cells,
        f"Smallest p of a step: {'; '.join(smallest)}; smallest after Holm {probability(found.adjusted.min())}. Of the "
        f"{len(found)} tests {(found.p < 0.05).sum()} are below .05 before adjustment. Means over the steps: {means}; "
        f"sample SDs at the last step: {spread} points.",
        ("Steps of one run depend on each other. As released, the curve scores the training half of the tests.",),
        source=PAPER,
    )


def curve_speed() -> Analysis:
    """Section 5.3: when SRPO's curve, linear between steps, first reaches an arm's last value, and what it had cost.

    Hours and tokens are spread evenly over the steps of a run.
    """
    own, rows = curve("SRPO"), []
    for against in CURVE_ARMS[:2]:
        target = curve(against)[-1]
        after = int(np.argmax(own >= target))
        crossing = after - 1 + (target - own[after - 1]) / (own[after] - own[after - 1])
        steps = final_step() / crossing
        hours, tokens = (
            value(f"cost.{against}.{item}") / value(f"cost.SRPO.{item}") for item in ("train-hours", "tokens")
        )
        rows.append((against, crossing, value(f"speed-up.{against}"), steps, steps * hours, steps * tokens))
    found = pd.DataFrame(rows, columns=["against", "crossing", "printed", "steps", "hours", "tokens"])
    said = [
        f"against {row.against}, the printed {row.printed:g}× is {number(row.steps, 2)}× in steps, "
        f"{number(row.hours, 2)}× in training hours and {number(row.tokens, 2)}× in tokens of the batch"
        for row in found.itertuples()
    ]
    return Analysis(
        "curve-speed",
        "How much faster SRPO reaches the others' last value",
        "The step at which SRPO's mean curve crosses the last value of another arm, and the ratio of what that arm "
        "spent in all to what SRPO had spent by then.",
        found,
        {
            "against": found.against,
            "crossed at step": numbers(found.crossing, 2),
            "printed ratio": numbers(found.printed),
            "ratio in steps": numbers(found.steps, 2),
            "in training hours": numbers(found.hours, 2),
            "in tokens": numbers(found.tokens, 2),
        },
        f"SRPO reaches the last value sooner: {'; '.join(said)}.",
        (
            "Hours and tokens are those of seed 42, spread evenly over the steps; tokens count the prefix, but neither "
            "seed chains nor localizations.",
            "A crossing of mean curves has no test here: the runs of single seeds are not public.",
        ),
        source=PAPER,
    )


def cost_ratios() -> Analysis:
    """Appendix H: the printed ratios to GRPO, recomputed from the printed costs."""
    rows = [
        (arm, item, value(f"cost.{arm}.{item}") / value(f"cost.GRPO.{item}"), value(f"cost-ratio.{arm}.{item}"))
        for arm in CURVE_ARMS[1:]
        for item in COSTS
    ]
    found = pd.DataFrame(rows, columns=["arm", "item", "recomputed", "printed"])
    off = [
        f"{row.arm} {row.item} prints {row.printed:g}, costs give {row.recomputed:.3f}"
        for row in found[(found.recomputed - found.printed).abs() > 0.00501].itertuples()
    ]
    hours = pd.DataFrame(
        {arm: [value(f"cost.{arm}.{item}-hours") for item in ("total", "train", "validation")] for arm in CURVE_ARMS}
    )
    gaps = numbers(hours.loc[0] - hours.loc[1] - hours.loc[2], 2, signed=True)
    return Analysis(
        "cost-ratios",
        "The printed cost ratios",
        "Ratios to GRPO, recomputed from the printed hours and tokens of Tables 7 and 8.",
        found,
        {
            "arm": found.arm,
            "item": found["item"],
            "recomputed": numbers(found.recomputed, 3),
            "printed": numbers(found.printed, 2),
        },
        f"{listed(off) or 'All printed ratios follow from the printed costs'}. Total less training and validation "
        f"hours: {listed([f'{arm} {gap}' for arm, gap in zip(CURVE_ARMS, gaps, strict=True)])}.",
        ("One seed (42). A difference in the last digit can come from rounded costs.",),
        source=PAPER,
    )


def base_group() -> Analysis:
    """Section 4.2 and Algorithm 2: the base group at the released sizes; no score enters."""
    size, limit = whole_setting(KEY, "buffer.base-group"), whole_setting(KEY, "buffer.fresh-chains")
    rollouts = whole_setting(KEY, "batch.rollouts")
    law = base_group_law(RATES, size, limit, rollouts - size)
    found = pd.DataFrame({"rate": RATES, **vars(law)})
    found["independent"], found["baseline"] = (independent_group_mixed(RATES, group) for group in (size, rollouts))
    most = found.loc[(found.success_rate - found.rate).idxmax()]
    loses = numbers(found.rate[found.mixed < found.independent], 2)
    return Analysis(
        "base-group",
        "The base group of Algorithm 2",
        "Exact success rate of the base group of four, which loses the first failure but keeps the successes before "
        "it, and the probability that it holds both outcomes, beside independent groups of four and of GRPO's eight.",
        found,
        {
            "true rate": numbers(found.rate, 2),
            "base group's rate": numbers(found.success_rate, 3),
            "given a reset": numbers(found.success_rate_given_reset, 3),
            "mixed": numbers(found.mixed, 3),
            "mixed, given a reset": numbers(found.mixed_given_reset, 3),
            "mixed, 4 independent": numbers(found.independent, 3),
            "mixed, 8 independent": numbers(found.baseline, 3),
            "chains generated": numbers(found.rollouts),
        },
        f"The base group overstates success by up to {number(100 * (most.success_rate - most.rate))} points (true rate "
        f"{number(most.rate, 2)}). It gains signal on hard prompts and loses it at rates of {listed(loses)}; at every "
        f"rate it carries less than GRPO's group of eight, for {number(found.rollouts.min())} to "
        f"{number(found.rollouts.max())} generated chains instead of {rollouts}.",
        (
            "An unbiased base group would draw four chains first and take the seed from their failures or from extra "
            "chains.",
        ),
        source=OURS,
    )


def power() -> Analysis:
    """Effects that the designs find: the last step of the curves, and the median cell of each contrast of Table 3.

    `detectable` is the difference that the design finds with 80 % power, `seeds` what the printed difference needs
    per arm, NaN where nothing was gained. The last rows are designs in units of a common SD.
    """
    last, rows = final_step(), []
    for arm, against in CONTRASTS:
        gap = float(curve(arm)[last] - curve(against)[last])
        spread = (sample_deviation(arm, last), sample_deviation(against, last))
        rows.append((f"{arm} − {against}, LiveCodeBench, step {last}", gap, *spread))
    for arm, against in CONTRASTS:
        for model in MODELS:
            gap = float(np.median(scores(model, arm) - scores(model, against)))
            first, second = (float(np.median(sample_factor() * deviations(model, name))) for name in (arm, against))
            rows.append((f"{arm} − {against}, {model}, median benchmark", gap, first, second))
    found = pd.DataFrame(rows, columns=["comparison", "difference", "first", "second"])
    spreads = list(zip(found["first"], found.second, strict=True))
    found["detectable"] = [welch_detectable_difference(spread, (seeds(), seeds())) for spread in spreads]
    found["seeds"] = [
        welch_units(gap, spread) if gap > 0 else np.nan for gap, spread in zip(found.difference, spreads, strict=True)
    ]
    said = [
        f"{row.comparison}: {number(row.difference, signed=True)} points were seen, {number(row.detectable)} would be "
        f"found, and {row.seeds:g} seeds an arm would find what was seen"
        for row in found[: len(CONTRASTS)].itertuples()
    ]
    needs = [number(value, 0).replace(",", "") for value in found.seeds]
    any_effect = [number(welch_detectable_difference((1.0, 1.0), (units, units)), 2) for units in DESIGNS]
    more, designs = len(DESIGNS), [NOTHING] * len(DESIGNS)
    return Analysis(
        "power",
        "What three seeds an arm can find",
        f"Smallest difference that Welch's test finds with 80 % power (two-sided 5 %) from {seeds()} seeds an arm at "
        "the printed SDs, and the seeds an arm that the printed difference would need. The last rows are hypothetical "
        "designs: the seeds are given.",
        found,
        {
            "comparison": [*found.comparison, *["any, in SDs"] * more],
            "printed difference": [*numbers(found.difference, signed=True), *designs],
            "sample SDs": [*(" and ".join(numbers(spread)) for spread in spreads), *["1 and 1"] * more],
            "found with 80 % power": [*numbers(found.detectable), *any_effect],
            "seeds an arm": [*needs, *texts(DESIGNS)],
        },
        f"{'; '.join(said)}.",
        ("The median benchmark pairs the median difference with the median SD of each arm.",),
        source=[PAPER] * len(found) + [OURS] * more,
    )
