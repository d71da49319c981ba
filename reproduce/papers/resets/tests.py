"""What each claim on RRPO and SRPO examines in the records: statistic, test and rule of refutation.

Success is in points, on the test tiers, unless said otherwise; arms are compared seed by seed on the same tasks.
Margins and smallest effects are those of the paper's own tables, halved, and were fixed before any run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy

from reproduce.claims.evidence import Details, Evidence, Part, not_measured
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import (
    all_hold,
    difference,
    edges,
    episode_variance,
    equivalence,
    non_inferiority,
    ratio,
    row,
    shown,
    superiority,
    trend,
)
from reproduce.papers.resets.measures import (
    ENVIRONMENT,
    MATCHED,
    SRPO,
    agreement_above_chance,
    arm_of,
    cost_to_level,
    curves,
    final_level,
    gain,
    hit_rate,
    localized,
    log_odds_of_clean,
    log_ratio,
    reset_arms,
    resets,
    seconds_of_training,
    seed_scores,
    signal_ratios,
    valid_shares,
)
from reproduce.papers.resets.published import MODELS, mean_scores, value
from reproduce.report.text import probability

ODDS_MARGIN = 1.3
"""Odds ratio below which a clean prefix is of no use (section 7)."""
MARGIN_IN_DEVIATIONS = 0.25
"""Margins of `prefix-mask` and `g1-bias`, in standard deviations over seeds (section 7)."""
FORMAT_MARGIN = 2.0
"""Points of success among answers in the right form; ours."""
AGREEMENT_MARGIN = 3.0
"""Points of agreement above chance (section 7)."""
SPLITS = (SRPO, "srpo_2x4", "srpo_1x8")


def published_gain(arm: str, against: str) -> float:
    """Difference of two rows of Table 3, mean over ten benchmarks and both models, in points."""
    return float(np.mean([mean_scores(model, arm)[0] - mean_scores(model, against)[0] for model in MODELS]))


def half(arm: str, against: str) -> float:
    """Half the published gain: the smallest effect of interest."""
    return published_gain(arm, against) / 2


SPEED = 2.7**0.5
"""Ratio of costs, half of the published speed-up on the scale of logarithms."""
SIGNAL = 1.1
"""Ratio of signal per token, half of the published median on the scale of logarithms."""
RISE, FALL = 20.0, 5.0
"""Hundredths of r, and points: the smallest effects of interest of `self-correction-rise`; ours."""


# ---- scores


def success_gain(
    records: MethodRecords, arm: str, against: str, effect: float, label: str = "", margin: bool = False
) -> Part:
    """Superiority of one arm's success over another's; with `margin`, non-inferiority with that effect as margin."""
    table, name = gain(records, arm, against), label or f"{arm_of(records, arm)} minus {against}"
    if margin:
        return non_inferiority(table, effect, name)
    noise = sum(episode_variance(records, ENVIRONMENT, arm_of(records, one)) for one in (arm, against))
    return superiority(table, effect, name, episode_square=noise)


def _over_curve(records: MethodRecords, arm: str, against: str) -> tuple[str, str]:
    area = 100 * (curves(records, arm).success.mean(axis=1) - curves(records, against).success.mean(axis=1))
    return "mean of the learning curve, difference", shown(area)


def _rows_of_gains(records: MethodRecords, *pairs: tuple[str, str]) -> Details:
    return tuple(
        row(f"{arm} minus {against}", gain(records, arm, against))
        for arm, against in pairs
        if records.has(ENVIRONMENT, arm, against)
    )


def srpo_vs_rrpo(records: MethodRecords) -> Evidence:
    """SRPO at the paper's quality of localization minus RRPO."""
    others = ("srpo_oracle", "srpo_entropy", "srpo_learned")
    return all_hold(
        success_gain(records, SRPO, "rrpo", half("SRPO", "RRPO")),
        details=lambda: (
            _over_curve(records, SRPO, "rrpo"),
            *_rows_of_gains(records, *((arm, "rrpo") for arm in others)),
        ),
    )


def srpo_vs_grpo(records: MethodRecords) -> Evidence:
    """SRPO minus GRPO with the same loss, and minus GRPO as published; both must hold, the first decides against."""
    return all_hold(
        *(success_gain(records, SRPO, arm, half("SRPO", "GRPO")) for arm in (MATCHED, "grpo")),
        details=lambda: (
            row(f"{MATCHED} minus grpo: the loss alone", gain(records, MATCHED, "grpo")),
            *_rows_of_gains(records, ("srpo_oracle", MATCHED)),
            _over_curve(records, SRPO, MATCHED),
        ),
        refuting=((0,),),
    )


def speed_up(records: MethodRecords) -> Evidence:
    """Generated tokens that GRPO needs for its own final level, over those that SRPO needs for it."""
    level = final_level(records)
    arms = {"grpo": curves(records, "grpo"), SRPO: curves(records, SRPO)}
    tokens = [cost_to_level(own, level, "tokens") for own in arms.values()]

    def details() -> Details:
        steps, chains = ([cost_to_level(own, level, cost) for own in arms.values()] for cost in ("steps", "chains"))
        seconds = [
            replace(own, cost=total * own.cost / own.budget, budget=total)
            for own, total in zip(steps, (seconds_of_training(records, arm) for arm in arms), strict=True)
        ]
        rows = [("level: GRPO's mean success at its end, training prompts", f"{100 * level:.1f} %")]
        for label, found in (("steps", steps), ("chains drawn", chains), ("seconds of training", seconds)):
            rows.append((f"ratio in {label}", shown(log_ratio(*found), 2, is_ratio=True)))
        return (*rows, *_reached(records))

    return all_hold(ratio(log_ratio(*tokens), SPEED, "ratio in generated tokens"), details=details)


def _reached(records: MethodRecords) -> Details:
    level = final_level(records)
    found = {arm: cost_to_level(curves(records, arm), level, "steps").reached for arm in ("grpo", SRPO)}
    return tuple((f"seeds of {arm} that reached the level", f"{own.sum()} of {len(own)}") for arm, own in found.items())


def rrpo_like_grpo(records: MethodRecords) -> Evidence:
    """RRPO minus GRPO with the same loss is within half of what the paper's SRPO gains over GRPO."""
    return all_hold(
        equivalence(gain(records, "rrpo", MATCHED), half("SRPO", "GRPO"), f"rrpo minus {MATCHED}"),
        details=lambda: (row("rrpo minus grpo as published", gain(records, "rrpo", "grpo")),),
    )


DOSE_ARMS = ("rrpo", "srpo_hit_25", "srpo_hit_50", "srpo_hit_75", "srpo_oracle")
"""By registered rate of exact hits, chance first: the order of Page's trend."""


def dose_levels(records: MethodRecords) -> dict[str, float]:
    """Measured share of exact hits of the arms that differ in it, in registered order."""
    return {arm: hit_rate(records, arm) for arm in DOSE_ARMS if records.has("reasoning", arm)}


def localization_dose(records: MethodRecords) -> Evidence:
    """Slope of success on the measured share of exact hits, in points from none to all, each seed a block; refuted too
    where the oracle surely gains too little over random resets."""
    levels = dose_levels(records)
    scores = seed_scores(records, *levels)

    def details() -> Details:
        rows = [
            (f"{arm}: exact hits {100 * level:.0f} %", f"success {score:.1f}")
            for (arm, level), score in zip(levels.items(), scores.mean(axis=0), strict=True)
        ]
        page = float(scipy.stats.page_trend_test(scores).pvalue)
        rows.append(("Page's trend over these levels", probability(page, "p")))
        for arm in ("srpo_early", "srpo_late"):
            if records.has("reasoning", arm):
                missed = miss_offset(records, arm)
                label = f"{arm}, misses {missed:+.1f} steps off on average, minus srpo_hit_50"
                rows.append(row(label, gain(records, arm, "srpo_hit_50")))
        return tuple(rows)

    effect = half("SRPO", "RRPO")
    return all_hold(
        trend(scores, list(levels.values()), effect, "slope, from no exact hits to all"),
        success_gain(records, "srpo_oracle", "rrpo", effect),
        details=details,
        refuting=((0,), (1,)),
        required=1,
    )


def miss_offset(records: MethodRecords, *arms: str) -> float:
    """Mean of chosen minus true step where the true one was missed; 0 without a miss."""
    rows = resets(records, *arms)
    missed = rows.loc[~rows["exact"], "deviation"]
    return float(missed.mean()) if len(missed) else 0.0


def position_control(records: MethodRecords) -> Evidence:
    """SRPO with the oracle minus random resets at its positions."""

    def details() -> Details:
        rows = [
            row("position_control minus rrpo: earliness alone", gain(records, "position_control", "rrpo")),
            row("srpo_oracle minus rrpo", gain(records, "srpo_oracle", "rrpo")),
        ]
        for arm in ("srpo_oracle", "position_control", "rrpo"):
            rows.append((f"mean h*/H of {arm}", f"{resets(records, arm)['position'].mean():.2f}"))
        return (*rows, *_rows_of_gains(records, ("restart", "rrpo")))

    part = success_gain(records, "srpo_oracle", "position_control", half("SRPO", "RRPO"))
    return all_hold(part, details=details)


def split_mixture(records: MethodRecords) -> Evidence:
    """The trend over the three splits, 1x8 to 1x4, in points from one end to the other."""
    scores = seed_scores(records, *SPLITS)

    def details() -> Details:
        with np.errstate(divide="ignore", invalid="ignore"):
            # Seeds that all agree have no spread to compare: p is NaN and shown as a dash.
            spread = scipy.stats.levene(*scores.T, center="median")
        rows = [
            (f"{arm}: success, standard deviation over seeds", f"{own.mean():.1f}, {own.std(ddof=1):.1f}")
            for arm, own in zip(SPLITS, scores.T, strict=True)
        ]
        rows.append(row("1x4 minus 2x4", gain(records, SPLITS[0], SPLITS[1])))
        page = float(scipy.stats.page_trend_test(scores[:, ::-1]).pvalue)
        rows.append(("Page's trend over the splits", probability(page, "p")))
        rows.append(("equal spread over seeds (Brown-Forsythe)", probability(float(spread.pvalue), "p")))
        return tuple(rows)

    return all_hold(trend(scores, (1.0, 0.5, 0.0), half_of_splits(), "1x4 over 2x4 over 1x8"), details=details)


def half_of_splits() -> float:
    """Half of the published gap between 1x4 and 1x8, mean over both models, in points."""
    return float(np.mean([published_split(model, 0) - published_split(model, 2) for model in MODELS])) / 2


def published_split(model: str, place: int) -> float:
    """Mean over ten benchmarks of the split at this place, 1x4, 2x4, 1x8."""
    return mean_scores(model, ("SRPO", "2x4", "1x8")[place])[0]


def _deviation(records: MethodRecords, arm: str) -> float:
    return float(seed_scores(records, arm)[:, 0].std(ddof=1))


def _margin_row(margin: float) -> Details:
    return ((f"margin, {MARGIN_IN_DEVIATIONS:g} SD over seeds", f"{margin:.1f} points"),)


def prefix_mask(records: MethodRecords) -> Evidence:
    """Masked minus unmasked prefix is not below a quarter of a standard deviation over seeds."""
    margin = MARGIN_IN_DEVIATIONS * _deviation(records, SRPO)
    part = success_gain(records, SRPO, "unmasked_prefix", margin, margin=True)
    return all_hold(part, details=_margin_row(margin))


def clip_role(records: MethodRecords) -> Evidence:
    """SRPO without the clip minus SRPO with it, four updates a batch; and the same for GRPO with the same loss."""

    def details() -> Details:
        srpo, grpo = (gain(records, f"{arm}_updates", f"{arm}_clip") for arm in ("srpo", "grpo"))
        return (row("no clip minus clip, grpo with the same loss", grpo), row("interaction", srpo - grpo))

    part = success_gain(records, "srpo_updates", "srpo_clip", half("SRPO", "RRPO"), "no clip minus clip", margin=True)
    return all_hold(part, details=details)


def g1_bias(records: MethodRecords) -> Evidence:
    """The published base group minus an unbiased one; refuted when they are equal within a quarter of an SD."""
    margin = MARGIN_IN_DEVIATIONS * _deviation(records, SRPO)
    part = difference(gain(records, SRPO, "independent_base"), margin, f"{SRPO} minus independent_base")
    return all_hold(part, details=_margin_row(margin))


def format_transfer(records: MethodRecords) -> Evidence:
    """Out of domain SRPO changes the share of answers in the right form, not the success among them."""
    parts = {}
    for panel in ("test", "ood"):
        own, other = (valid_shares(records, arm, panel) for arm in (SRPO, MATCHED))
        parts[panel] = [mine - theirs for mine, theirs in zip(own, other, strict=True)]
    valid, right = parts["ood"]
    return all_hold(
        superiority(valid, FORMAT_MARGIN, "answers in the right form, out of domain"),
        equivalence(right, FORMAT_MARGIN, "success among these, out of domain", upper_only=True),
        details=(
            ("in domain: answers in the right form", shown(parts["test"][0])),
            ("in domain: success among these", shown(parts["test"][1])),
        ),
        refuting=((1,),),
    )


# ---- resets


def clean_prefix(records: MethodRecords) -> Evidence:
    """Odds ratio of a solved group of suffixes, clean against erroneous prefixes, over arms that reset at both."""
    arms = [arm for arm in ("rrpo", "position_control", SRPO) if arm in reset_arms(records)]
    rows = resets(records, *arms)
    part = ratio(log_odds_of_clean(rows, by_position=False), ODDS_MARGIN, "odds ratio, all resets", "odds ratio")

    def details() -> Details:
        adjusted = log_odds_of_clean(rows, by_position=True)
        told = ratio(adjusted, ODDS_MARGIN)
        table = [
            [int((rows["clean"] == clean).mul(rows["solved"] == solved).sum()) for solved in (True, False)]
            for clean in (True, False)
        ]
        earliness = part.in_favour and told.interval[0] <= 1 and told.interval[1] < ODDS_MARGIN
        fisher: Any = scipy.stats.fisher_exact(table, "greater")
        return (
            ("clean prefixes: groups solved", f"{table[0][0]} of {sum(table[0])}"),
            ("erroneous prefixes: groups solved", f"{table[1][0]} of {sum(table[1])}"),
            ("odds ratio at equal length and equal step (Mantel-Haenszel)", shown(adjusted, 2, is_ratio=True)),
            ("explained by earliness", "yes" if earliness else "no"),
            ("Fisher's exact test of all resets together", probability(float(fisher.pvalue), "p")),
        )

    return all_hold(part, details=details)


def self_correction_rise(records: MethodRecords) -> Evidence:
    """Correlation of the suffixes' success with the step, and fall of the share of suffix groups without signal."""
    arm = arm_of(records, SRPO)
    success, silent = (records.log("reasoning", arm, f"suffix/{name}") for name in ("success", "zero_std"))
    base = records.log("reasoning", arm, "base/success")
    first, last = edges(success)
    details = (
        ("r of the base group's success with the step, hundredths", shown(100 * _over_steps(base, True))),
        (
            "rise of suffixes minus rise of the base group, points",
            shown(100 * (_over_steps(success, False) - _over_steps(base, False))),
        ),
        (
            "suffix success, first and last tenth",
            f"{100 * np.nanmean(first):.1f} %, {100 * np.nanmean(last):.1f} %",
        ),
    )
    label = "fall of the share of suffix groups without signal over the training"
    return all_hold(
        superiority(
            100 * _over_steps(success, correlation=True), RISE, "r of suffix success with the step", "hundredths of r"
        ),
        superiority(-100 * _over_steps(silent, correlation=False), FALL, label),
        details=details,
    )


def _over_steps(values: np.ndarray, correlation: bool) -> np.ndarray:
    """Correlation with the step, or the fitted rise over the whole training, for each seed; steps without a reset are
    left out."""
    found = []
    for one in values:
        known = np.isfinite(one)
        place = np.linspace(0, 1, len(one))[known]
        own = one[known]
        if known.sum() < 3 or np.ptp(own) == 0:
            found.append(0.0)
            continue
        found.append(float(np.corrcoef(place, own)[0, 1] if correlation else np.polyfit(place, own, 1)[0]))
    return np.array(found)


def token_signal(records: MethodRecords) -> Evidence:
    """Ratio of signal per token, suffix over base group, where both have signal."""
    ratios = np.log(signal_ratios(records, SRPO))
    if np.isfinite(ratios).any(axis=1).sum() < 2:
        return not_measured("no step in which both groups have signal")

    def details() -> Details:
        steps = np.exp(np.nanmedian(ratios, axis=0))
        known = steps[np.isfinite(steps)]
        sign = float(scipy.stats.binomtest(int((known > 1).sum()), len(known), alternative="greater").pvalue)
        above = f"{(known > 1).sum()} of {len(known)}, sign test {probability(sign, 'p')}"
        rows = [("steps with a median ratio above 1", above)]
        for part, label in (("advantage", "|A|"), ("inverse_length", "1/T")):
            own = _seed_means(np.log(signal_ratios(records, SRPO, part)))
            rows.append((f"ratio of {label} alone", shown(own, 2, is_ratio=True)))
        return tuple(rows)

    return all_hold(ratio(_seed_means(ratios), SIGNAL, "ratio of signal per token"), details=details)


def _seed_means(values: np.ndarray) -> np.ndarray:
    """Mean over the steps that have a value, for each seed; 0 where none has."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def localization_profile(records: MethodRecords) -> Evidence:
    """Agreement of the learned localizer with the true first error above that of a guess by position."""

    def details() -> Details:
        found = []
        for arm in ("srpo_learned", "srpo_entropy", SRPO, "rrpo"):
            rows = localized(records, arm)
            shares = f"exact {100 * rows['exact'].mean():.1f} %, clean {100 * rows['clean'].mean():.1f} %"
            found.append((f"{arm}: {shares}; above chance", shown(agreement_above_chance(rows))))
        return tuple(found)

    above = agreement_above_chance(localized(records, "srpo_learned"))
    return all_hold(superiority(above, AGREEMENT_MARGIN, "agreement above chance"), details=details)


def median_signal_ratio() -> float:
    """Median over the eleven printed steps."""
    return float(np.median([value(f"signal-ratio.shared-prefix.{step}") for step in range(1, 12)]))
