"""What each claim on RRPO and SRPO examines in the records: statistic, test and rule of refutation.

Success is in points, on the test tiers, unless said otherwise; arms are compared seed by seed on the same tasks.
Margins and smallest effects are those of the paper's own tables, halved, and were fixed before any run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import all_must_hold, equivalence, superiority
from reproduce.claims.verdicts import Evidence
from reproduce.papers.resets.audit.scores import MODELS, mean_scores, published
from reproduce.papers.resets.evidence import as_ratio, different, equal_over_seeds, not_worse, of_seeds, shown
from reproduce.papers.resets.measures import (
    MATCHED,
    SRPO,
    agreement_above_chance,
    arm_of,
    cost_to_level,
    curves,
    final_level,
    final_success,
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
    training_tasks,
    valid_shares,
)
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


# ---- scores


def _over_curve(records: MethodRecords, arm: str, against: str) -> tuple[str, str]:
    area = 100 * (curves(records, arm).success.mean(axis=1) - curves(records, against).success.mean(axis=1))
    return "mean of the learning curve, difference", shown(of_seeds(area, 0.0))


def srpo_vs_rrpo(records: MethodRecords) -> Evidence:
    """SRPO at the paper's quality of localization minus RRPO."""
    details = [_over_curve(records, SRPO, "rrpo")]
    others = ("srpo_oracle", "srpo_entropy", "srpo_learned")
    details += [
        (f"{arm} minus rrpo", shown(superiority(gain(records, arm, "rrpo"), 0.0)))
        for arm in others
        if records.has("reasoning", arm)
    ]
    return superiority(gain(records, SRPO, "rrpo"), half("SRPO", "RRPO"), tuple(details))


def srpo_vs_grpo(records: MethodRecords) -> Evidence:
    """SRPO minus GRPO with the same loss, and minus GRPO as published; both must hold, the first decides against."""
    matched, as_published = (superiority(gain(records, SRPO, arm), half("SRPO", "GRPO")) for arm in (MATCHED, "grpo"))
    loss = superiority(gain(records, MATCHED, "grpo"), 0.0)
    oracle = (
        [(f"srpo_oracle minus {MATCHED}", shown(superiority(gain(records, "srpo_oracle", MATCHED), 0.0)))]
        if records.has("reasoning", "srpo_oracle")
        else []
    )
    details = (
        (f"{arm_of(records, SRPO)} minus {MATCHED}", shown(matched)),
        (f"{arm_of(records, SRPO)} minus grpo", shown(as_published)),
        (f"{MATCHED} minus grpo: the loss alone", shown(loss)),
        *oracle,
        _over_curve(records, SRPO, MATCHED),
    )
    if matched.against:
        return replace(matched, details=details)
    return replace(all_must_hold([matched, replace(as_published, against=False)]), details=details)


def speed_up(records: MethodRecords) -> Evidence:
    """Generated tokens that GRPO needs for its own final level, over those that SRPO needs for it; not supported where
    fewer than half of SRPO's runs reach it."""
    level = final_level(records)
    arms = {"grpo": curves(records, "grpo"), SRPO: curves(records, SRPO)}
    found = {cost: [cost_to_level(own, level, cost) for own in arms.values()] for cost in ("tokens", "steps", "chains")}
    found["seconds"] = [
        replace(own, cost=total * own.cost / own.budget, budget=total)
        for own, total in zip(found["steps"], (seconds_of_training(records, arm) for arm in arms), strict=True)
    ]
    details = [("level: GRPO's mean success at its end, training prompts", f"{100 * level:.1f} %")]
    for cost, label in (("steps", "steps"), ("chains", "chains drawn"), ("seconds", "seconds of training")):
        ratio = as_ratio(of_seeds(log_ratio(*found[cost]), 0.0), "times")
        details.append((f"ratio in {label}", shown(ratio, 2)))
    for arm, own in zip(arms, found["steps"], strict=True):
        details.append((f"seeds of {arm} that reached the level", f"{own.reached.sum()} of {len(own.reached)}"))
    # Of GRPO's runs about half reach their own mean at the end; what the others are charged is a lower bound.
    enough = found["steps"][1].reached.mean() >= 0.5
    ratio = as_ratio(of_seeds(log_ratio(*found["tokens"]), 0.0, tasks=training_tasks(records)), "times")
    return replace(ratio, in_favour=ratio.in_favour and bool(enough), details=tuple(details))


def rrpo_like_grpo(records: MethodRecords) -> Evidence:
    """RRPO minus GRPO with the same loss is within half of what the paper's SRPO gains over GRPO."""
    table = gain(records, "rrpo", MATCHED)
    details = (("rrpo minus grpo as published", shown(superiority(gain(records, "rrpo", "grpo"), 0.0))),)
    return equivalence(table[..., None], half("SRPO", "GRPO"), details=details)


DOSE_ARMS = ("rrpo", "srpo_hit_25", "srpo_hit_50", "srpo_hit_75", "srpo_oracle")
"""By registered rate of exact hits, chance first: the order of Page's trend."""


def dose_levels(records: MethodRecords) -> dict[str, float]:
    """Measured share of exact hits of the arms that differ in it, in registered order."""
    return {arm: hit_rate(records, arm) for arm in DOSE_ARMS if records.has("reasoning", arm)}


def localization_dose(records: MethodRecords) -> Evidence:
    """Slope of success on the measured share of exact hits, in points from none to all, each seed a block."""
    levels = dose_levels(records)
    x = np.array(list(levels.values()))
    scores = seed_scores(records, *levels)
    centred = x - x.mean()
    slopes = scores @ centred / (centred @ centred)
    found = of_seeds(slopes, 0.0, tasks=final_success(records, "base").shape[1])
    oracle = superiority(gain(records, "srpo_oracle", "rrpo"), half("SRPO", "RRPO"))
    details = [
        (f"{arm}: exact hits {100 * level:.0f} %", f"success {score:.1f}")
        for (arm, level), score in zip(levels.items(), scores.mean(axis=0), strict=True)
    ]
    details.append(("srpo_oracle minus rrpo", shown(oracle)))
    details.append(("Page's trend over these levels", probability(float(stats.page_trend_test(scores).pvalue), "p")))
    for arm in ("srpo_early", "srpo_late"):
        if records.has("reasoning", arm):
            missed = miss_offset(records, arm)
            offset = superiority(gain(records, arm, "srpo_hit_50"), 0.0)
            details.append((f"{arm}, misses {missed:+.1f} steps off on average, minus srpo_hit_50", shown(offset)))
    against = found.high <= 0 or oracle.against
    return replace(found, against=against and not found.in_favour, details=tuple(details))


def miss_offset(records: MethodRecords, *arms: str) -> float:
    """Mean of chosen minus true step where the true one was missed; 0 without a miss."""
    rows = resets(records, *arms)
    missed = rows.loc[~rows["exact"], "deviation"]
    return float(missed.mean()) if len(missed) else 0.0


def position_control(records: MethodRecords) -> Evidence:
    """SRPO with the oracle minus random resets at its positions; refuted when these do as well, within the margin."""
    table = gain(records, "srpo_oracle", "position_control")
    margin = half("SRPO", "RRPO")
    found, equal = superiority(table, 0.0), equivalence(table[..., None], margin)
    details = [
        (f"90 % interval, for equivalence within {margin:.1f} points", shown(equal)),
        (
            "position_control minus rrpo: earliness alone",
            shown(superiority(gain(records, "position_control", "rrpo"), 0.0)),
        ),
        ("srpo_oracle minus rrpo", shown(superiority(gain(records, "srpo_oracle", "rrpo"), 0.0))),
    ]
    for arm in ("srpo_oracle", "position_control", "rrpo"):
        details.append((f"mean h*/H of {arm}", f"{resets(records, arm)['position'].mean():.2f}"))
    if records.has("reasoning", "restart"):
        details.append(("restart minus rrpo", shown(superiority(gain(records, "restart", "rrpo"), 0.0))))
    return replace(found, against=not found.in_favour and equal.high < margin, details=tuple(details))


def split_mixture(records: MethodRecords) -> Evidence:
    """1x4 minus 1x8, with the trend over the three splits as test."""
    gaps = [published_split(model, 0) - published_split(model, 2) for model in MODELS]
    found = superiority(gain(records, SPLITS[0], SPLITS[2]), float(np.mean(gaps)) / 2)
    scores = seed_scores(records, *SPLITS)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Seeds that all agree have no spread to compare: p is NaN and shown as a dash.
        spread = stats.levene(*scores.T, center="median")
    details = [
        (f"{arm}: success, standard deviation over seeds", f"{own.mean():.1f}, {own.std(ddof=1):.1f}")
        for arm, own in zip(SPLITS, scores.T, strict=True)
    ]
    details.append(("1x4 minus 2x4", shown(superiority(gain(records, SPLITS[0], SPLITS[1]), 0.0))))
    details.append(("equal spread over seeds (Brown-Forsythe)", probability(float(spread.pvalue), "p")))
    trend = float(stats.page_trend_test(scores[:, ::-1]).pvalue)
    return replace(found, p_value=trend, details=tuple(details))


def published_split(model: str, place: int) -> float:
    """Mean over ten benchmarks of the split at this place, 1x4, 2x4, 1x8."""
    return mean_scores(model, ("SRPO", "2x4", "1x8")[place])[0]


def _deviation(records: MethodRecords, arm: str) -> float:
    return float(seed_scores(records, arm)[:, 0].std(ddof=1))


def prefix_mask(records: MethodRecords) -> Evidence:
    """Masked minus unmasked prefix is not below a quarter of a standard deviation over seeds."""
    margin = MARGIN_IN_DEVIATIONS * _deviation(records, SRPO)
    found = not_worse(gain(records, SRPO, "unmasked_prefix"), margin)
    return replace(found, details=((f"margin, {MARGIN_IN_DEVIATIONS:g} SD over seeds", f"{margin:.1f} points"),))


def clip_role(records: MethodRecords) -> Evidence:
    """SRPO without the clip minus SRPO with it, four updates a batch; and the same for GRPO with the same loss."""
    srpo, grpo = (gain(records, f"{arm}_updates", f"{arm}_clip") for arm in ("srpo", "grpo"))
    details = (
        ("no clip minus clip, srpo", shown(superiority(srpo, 0.0))),
        ("no clip minus clip, grpo with the same loss", shown(superiority(grpo, 0.0))),
        ("interaction", shown(superiority(srpo - grpo, 0.0))),
    )
    return superiority(srpo, 0.0, details)


def g1_bias(records: MethodRecords) -> Evidence:
    """The published base group minus an unbiased one; refuted when they are equal within a quarter of an SD."""
    margin = MARGIN_IN_DEVIATIONS * _deviation(records, SRPO)
    found = different(gain(records, SRPO, "independent_base"), margin)
    return replace(found, details=((f"margin, {MARGIN_IN_DEVIATIONS:g} SD over seeds", f"{margin:.1f} points"),))


def format_transfer(records: MethodRecords) -> Evidence:
    """Out of domain SRPO changes the share of answers in the right form, not the success among them."""
    parts = {}
    for panel in ("test", "ood"):
        own, other = (valid_shares(records, arm, panel) for arm in (SRPO, MATCHED))
        parts[panel] = [mine - theirs for mine, theirs in zip(own, other, strict=True)]
    valid, right = parts["ood"]
    form, given = of_seeds(valid, 0.0), equal_over_seeds(right, FORMAT_MARGIN)
    gained = of_seeds(right, FORMAT_MARGIN)
    details = (
        ("out of domain: answers in the right form", shown(form)),
        ("out of domain: success among these [95 %]", shown(gained)),
        ("in domain: answers in the right form", shown(of_seeds(parts["test"][0], 0.0))),
        ("in domain: success among these", shown(of_seeds(parts["test"][1], 0.0))),
    )
    assert form.p_value is not None and given.p_value is not None
    return replace(
        gained,
        p_value=max(form.p_value, given.p_value),
        in_favour=form.in_favour and given.in_favour,
        against=gained.low > 0,
        minimum_detectable_effect=given.minimum_detectable_effect,
        seeds_needed=None,
        details=details,
    )


# ---- resets


def clean_prefix(records: MethodRecords) -> Evidence:
    """Odds ratio of a solved group of suffixes, clean against erroneous prefixes, over arms that reset at both."""
    arms = [arm for arm in ("rrpo", "position_control", SRPO) if arm in reset_arms(records)]
    rows = resets(records, *arms)
    raw = of_seeds(log_odds_of_clean(rows, by_position=False), 0.0, tasks=rows["question"].nunique())
    adjusted = of_seeds(log_odds_of_clean(rows, by_position=True), 0.0)
    told = as_ratio(adjusted, "odds ratio")
    table = [
        [int((rows["clean"] == clean).mul(rows["solved"] == solved).sum()) for solved in (True, False)]
        for clean in (True, False)
    ]
    earliness = raw.in_favour and told.low <= 1 and told.high < ODDS_MARGIN
    details = (
        ("clean prefixes: groups solved", f"{table[0][0]} of {sum(table[0])}"),
        ("erroneous prefixes: groups solved", f"{table[1][0]} of {sum(table[1])}"),
        ("odds ratio at equal length and equal step (Mantel-Haenszel)", shown(told, 2)),
        ("explained by earliness", "yes" if earliness else "no"),
        (
            "Fisher's exact test of all resets together",
            probability(float(stats.fisher_exact(table, "greater").pvalue), "p"),
        ),
    )
    found = as_ratio(raw, "odds ratio")
    return replace(found, against=found.high < ODDS_MARGIN, details=details)


def self_correction_rise(records: MethodRecords) -> Evidence:
    """Correlation of the suffixes' success with the step, and fall of the share of suffix groups without signal."""
    arm = arm_of(records, SRPO)
    success, silent = (records.log("reasoning", arm, f"suffix/{name}") for name in ("success", "zero_std"))
    tasks = training_tasks(records)
    rise = of_seeds(100 * _over_steps(success, correlation=True), 0.0, "hundredths of r", tasks)
    fall = of_seeds(-100 * _over_steps(silent, correlation=False), 0.0, tasks=tasks)
    base = records.log("reasoning", arm, "base/success")
    parallel = of_seeds(100 * (_over_steps(success, False) - _over_steps(base, False)), 0.0)
    edge = max(1, success.shape[1] // 10)
    details = (
        ("r of suffix success with the step, hundredths", shown(rise)),
        ("fall of the share of suffix groups without signal, points over the training", shown(fall)),
        (
            "r of the base group's success with the step, hundredths",
            shown(of_seeds(100 * _over_steps(base, True), 0.0, "hundredths of r")),
        ),
        (
            "rise of suffixes minus rise of the base group, points",
            shown(parallel),
        ),
        (
            "suffix success, first and last tenth",
            f"{100 * np.nanmean(success[:, :edge]):.1f} %, {100 * np.nanmean(success[:, -edge:]):.1f} %",
        ),
    )
    against = rise.high <= 0 or fall.high <= 0
    parts = [replace(part, against=against and part.high <= 0) for part in (rise, fall)]
    return replace(all_must_hold(parts), details=details)


def _over_steps(values: np.ndarray, correlation: bool) -> np.ndarray:
    """Correlation with the step, or the fitted rise over the whole training, for each seed; steps without a reset are
    left out."""
    found = []
    for row in values:
        known = np.isfinite(row)
        place = np.linspace(0, 1, len(row))[known]
        own = row[known]
        if known.sum() < 3 or np.ptp(own) == 0:
            found.append(0.0)
            continue
        found.append(float(np.corrcoef(place, own)[0, 1] if correlation else np.polyfit(place, own, 1)[0]))
    return np.array(found)


def token_signal(records: MethodRecords) -> Evidence:
    """Ratio of signal per token, suffix over base group, where both have signal."""
    ratios = np.log(signal_ratios(records, SRPO))
    found = as_ratio(of_seeds(_seed_means(ratios), 0.0, tasks=training_tasks(records)), "times")
    steps = np.exp(np.nanmedian(ratios, axis=0)) if np.isfinite(ratios).any() else np.array([np.nan])
    known = steps[np.isfinite(steps)]
    sign = stats.binomtest(int((known > 1).sum()), len(known), alternative="greater").pvalue if len(known) else 1.0
    details = [
        (
            "steps with a median ratio above 1",
            f"{(known > 1).sum()} of {len(known)}, sign test {probability(float(sign), 'p')}",
        )
    ]
    for part, label in (("advantage", "|A|"), ("inverse_length", "1/T")):
        own = _seed_means(np.log(signal_ratios(records, SRPO, part)))
        details.append((f"ratio of {label} alone", shown(as_ratio(of_seeds(own, 0.0), "times"), 2)))
    return replace(found, details=tuple(details))


def _seed_means(values: np.ndarray) -> np.ndarray:
    """Mean over the steps that have a value, for each seed; 0 where none has."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def localization_profile(records: MethodRecords) -> Evidence:
    """Agreement of the learned localizer with the true first error above that of a guess by position."""
    learned = localized(records, "srpo_learned")
    tasks = learned["question"].nunique()
    found = of_seeds(agreement_above_chance(learned), AGREEMENT_MARGIN, tasks=tasks)
    details = []
    for arm in ("srpo_learned", "srpo_entropy", SRPO, "rrpo"):
        rows = localized(records, arm)
        above = of_seeds(agreement_above_chance(rows), AGREEMENT_MARGIN)
        shares = f"exact {100 * rows['exact'].mean():.1f} %, clean {100 * rows['clean'].mean():.1f} %"
        details.append((f"{arm}: {shares}; above chance", shown(above)))
    return replace(found, against=found.high < AGREEMENT_MARGIN, details=tuple(details))


def median_signal_ratio() -> float:
    """Median over the eleven printed steps."""
    return float(np.median([published()[f"signal-ratio.shared-prefix.{step}"] for step in range(1, 12)]))
