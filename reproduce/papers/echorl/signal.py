"""Claims of EchoRL about the training signal: groups whose rewards are equal, gradients, and what the echo costs."""

from __future__ import annotations

import numpy as np
import scipy

from reproduce.claims.evidence import Details, Evidence, not_measured
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import (
    all_hold,
    edge_means,
    mean_of_known,
    non_inferiority,
    shown,
    superiority,
    trend,
)
from reproduce.papers.echorl.measures import (
    COUNTDOWN,
    REASONING,
    all_success_share,
    control,
    has_log,
    logged,
)

RISE = 5.0
"""Points: a smaller rise of the all-success share is flat."""
CORRELATION = 0.2
"""A fall of the norm with the share that would matter: minus their correlation."""
RATIO = 1.0
"""Thousandths: an echo whose gradient is smaller beside the policy gradient is too small to matter."""
MOSTLY_DEGENERATE = 0.9
SLOWER = 5.0
"""Percent more time than GRPO that would not be negligible."""
LATE = 0.6
"""Starting share of all-success groups from which the gain must show."""
LATE_GAIN = 1.0
"""Points, of the gain there and of its rise from a share of 0 to one of 1."""


def degeneration_grows(records: MethodRecords) -> Evidence:
    """The share of all-success groups rises under GRPO: last tenth of the steps minus first."""
    shares = 100 * logged(records, REASONING, "grpo", "groups/all_right")
    first, last = edge_means(shares)

    def details() -> Details:
        slopes = np.array([np.polyfit(np.arange(len(one)), one, 1)[0] if len(one) > 1 else np.nan for one in shares])
        predicted = [100 * all_success_share(records, arm).mean(axis=1) for arm in ("base", "grpo")]
        rows = [
            ("Spearman's rho of share and step", shown(np.array([_spearman(one) for one in shares]), 2)),
            ("slope, points a hundred steps", shown(100 * slopes)),
            ("share in the first tenth of the steps", shown(first, signed=False)),
            ("share in the last tenth", shown(last, signed=False)),
            ("difficulty-matched prediction on test tasks, base", shown(predicted[0], signed=False)),
            ("difficulty-matched prediction on test tasks, GRPO", shown(predicted[1], signed=False)),
        ]
        if records.has(COUNTDOWN, "grpo"):
            start, end = edge_means(100 * logged(records, COUNTDOWN, "grpo", "groups/all_right"))
            rows.append(("rise in countdown", shown(end - start)))
        return tuple(rows)

    return all_hold(superiority(last - first, RISE, "rise of the share"), details=details)


def _spearman(row: np.ndarray) -> float:
    """Of a share with the step; 0 where the share never changes."""
    known = np.flatnonzero(np.isfinite(row))
    if len(known) < 2 or np.ptp(row[known]) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(known, row[known]).statistic)


def vanishing_signal(records: MethodRecords) -> Evidence:
    """GRPO's gradient norm falls as the all-success share rises: minus their correlation over the steps of a seed."""

    def details() -> Details:
        return tuple(
            (f"correlation, {label}", shown(_correlations(records, environment, arm), 2))
            for environment, arm, label in (
                (REASONING, "grpo_bonus", "GRPO with the entropy bonus"),
                (REASONING, "echo_strong", "echo, lambda = 0.1"),
                (COUNTDOWN, "grpo", "GRPO in countdown"),
            )
            if records.has(environment, arm)
        )

    found = -_correlations(records, REASONING, "grpo")
    if np.isfinite(found).sum() < 2:
        return not_measured("norm or share never change")
    return all_hold(superiority(found, CORRELATION, "minus the correlation", "(minus r)"), details=details)


def _correlations(records: MethodRecords, environment: str, arm: str) -> np.ndarray:
    """Pearson's of gradient norm and all-success share, (seeds,); NaN where one of them never changes."""
    norms, shares = (logged(records, environment, arm, name) for name in ("grad_norm", "groups/all_right"))
    found = []
    for norm, share in zip(norms, shares, strict=True):
        known = np.isfinite(norm) & np.isfinite(share)
        constant = known.sum() < 3 or np.ptp(norm[known]) == 0 or np.ptp(share[known]) == 0
        found.append(np.nan if constant else float(np.corrcoef(norm[known], share[known])[0, 1]))
    return np.array(found)


def gradient_ratios(records: MethodRecords, environment: str, arm: str) -> np.ndarray:
    """Norm of the echo's gradient, lambda included, over that of the policy gradient, (seeds, measured steps).

    NaN where nothing was measured, or where no group was mixed, so that there is no policy gradient to compare with.
    """
    echo, policy = (logged(records, environment, arm, f"gradient/{name}") for name in ("echo", "policy"))
    return np.where(policy > 0, echo / np.where(policy > 0, policy, 1.0), np.nan)


def restored_gradient(records: MethodRecords) -> Evidence:
    """The echo's gradient on all-success groups is not zero, and is not too small beside the policy gradient. A step
    at which it is exactly 0 on those groups counts as a ratio of 0."""
    ratios = 1000 * gradient_ratios(records, REASONING, "echo")
    degenerate = logged(records, REASONING, "echo", "groups/all_right")
    alone = logged(records, REASONING, "echo", "gradient/echo_all_right")
    measured = alone[np.isfinite(alone)]
    medians = _row_medians(np.where(degenerate <= MOSTLY_DEGENERATE, np.where(alone == 0, 0.0, ratios), np.nan))
    if np.isfinite(medians).sum() < 2:
        return not_measured("no step with both gradients")

    def details() -> Details:
        rows = [
            ("measured steps with a clip of an all-success group", f"{measured.size}"),
            ("of these with a gradient of exactly 0", f"{int((measured == 0).sum())}"),
            ("least norm on all-success groups", f"{measured.min():.2g}" if measured.size else "none"),
        ]
        for other, label in (("echo_moderate", "lambda = 0.01"), ("echo_strong", "lambda = 0.1")):
            if has_log(records, REASONING, other, "gradient/echo"):
                found = 1000 * gradient_ratios(records, REASONING, other)
                rows.append((f"median ratio, {label}, thousandths", shown(_row_medians(found))))
        return tuple(rows)

    return all_hold(superiority(medians, RATIO, "median ratio", "thousandths", null=RATIO), details=details)


def _row_medians(table: np.ndarray) -> np.ndarray:
    return np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in table])


def late_dose(records: MethodRecords) -> Evidence:
    """The gain of the echo (lambda = 0.1) grows with the all-success share that the base starts with, over tiers, and
    shows where that share is high."""
    levels = dose_levels(records, "echo_strong")
    starts = np.array([share.mean() for share, _ in levels.values()])
    gains = np.stack([values for _, values in levels.values()], axis=1)
    late = starts >= LATE
    if np.ptp(starts) == 0:
        return not_measured("the categories start with equal shares")
    details = tuple(
        (f"gain in {name}, starting share {100 * share.mean():.0f} %", shown(values))
        for name, (share, values) in sorted(levels.items(), key=lambda item: item[1][0].mean())
    )
    parts = [trend(gains, starts.tolist(), LATE_GAIN, "slope, from a share of 0 to one of 1")]
    if late.any():
        label = f"gain where the share is {100 * LATE:.0f} % or more"
        parts.append(superiority(gains[:, late].mean(axis=1), LATE_GAIN, label))
    groups = tuple((place,) for place in range(len(parts)))
    return all_hold(*parts, details=details, refuting=groups, required=1)


def largest_start(records: MethodRecords) -> float:
    """Largest starting share of all-success groups over the categories of test tasks, in percent."""
    rows = records.counts[(records.counts["environment"] == REASONING) & (records.counts["panel"] == "test")]
    categories = [str(name) for name in rows["category"].unique()]
    return max(100 * float(all_success_share(records, "base", category=name).mean()) for name in categories)


def dose_levels(records: MethodRecords, arm: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each category of test tasks: starting all-success share (seeds,) of the base, and gain of the arm over the
    control in points (seeds,)."""
    found = records.counts
    rows = found[(found["environment"] == REASONING) & (found["panel"] == "test") & (found["arm"] == arm)]
    levels = {}
    for category in rows["category"].unique():
        share = all_success_share(records, "base", category=category).mean(axis=1)
        tables = [records.success(REASONING, name, category=category) for name in (arm, control(records))]
        levels[str(category)] = (share, (tables[0] - tables[1]).mean(axis=1))
    return levels


def overhead(records: MethodRecords) -> Evidence:
    """Time of an optimiser step with the echo beside GRPO's, same seed: no more than a margin is lost.

    A run's peak memory is no measure of its arm: a worker takes several runs, and its peak never falls.
    """
    arm = "echo"
    seconds = {}
    for name in (arm, "grpo"):
        table = logged(records, REASONING, name, "step_time")
        if has_log(records, REASONING, name, "gradient/echo"):
            # Steps at which the two gradients were measured did more than the method does.
            table = np.where(np.isfinite(logged(records, REASONING, name, "gradient/echo")), np.nan, table)
        seconds[name] = mean_of_known(table)
    saved = 100 * (1 - seconds[arm] / seconds["grpo"])
    details = (
        ("seconds a step, GRPO", shown(seconds["grpo"], 3, signed=False)),
        ("seconds a step, echo", shown(seconds[arm], 3, signed=False)),
    )
    return all_hold(non_inferiority(saved, SLOWER, "time saved", "% of GRPO's time"), details=details)
