"""Claims of EchoRL about the training signal: groups whose rewards are equal, gradients, and what the echo costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from reproduce.claims.records import MethodRecords
from reproduce.claims.verdicts import Evidence
from reproduce.papers.echorl.measures import (
    COUNTDOWN,
    REASONING,
    all_success_share,
    control,
    ends,
    has_log,
    logged,
    mean_known,
    over_seeds_evidence,
    shown,
)
from theory.inference import mean_interval

RISE = 5.0
"""Points: a smaller rise of the all-success share is flat."""
CORRELATION = -0.2
"""The norm falls with the share if their correlation is surely below this."""
RATIO = 1.0
"""Thousandths: an echo whose gradient is smaller beside the policy gradient is too small to matter."""
MOSTLY_DEGENERATE = 0.9
SLOWER = 5.0
"""Percent more time than GRPO that would not be negligible."""
LATE = 0.6
"""Starting share of all-success groups from which the gain must show."""
LATE_GAIN = 1.0


def degeneration_grows(records: MethodRecords) -> Evidence:
    """The share of all-success groups rises under GRPO: last tenth of the steps minus first; p from Spearman's rho."""
    shares = 100 * logged(records, REASONING, "grpo", "groups/all_right")
    first, last = ends(shares)
    rises = last - first
    correlations = np.array([_spearman(row) for row in shares])
    slopes = np.array([np.polyfit(np.arange(len(row)), row, 1)[0] if len(row) > 1 else np.nan for row in shares])
    predicted = [100 * all_success_share(records, arm).mean(axis=1) for arm in ("base", "grpo")]
    details = [
        ("Spearman's rho of share and step", shown(correlations, 2)),
        ("slope, points a hundred steps", shown(100 * slopes)),
        ("share in the first tenth of the steps", shown(first, signed=False)),
        ("share in the last tenth", shown(last, signed=False)),
        ("difficulty-matched prediction on test tasks, base", shown(predicted[0], signed=False)),
        ("difficulty-matched prediction on test tasks, GRPO", shown(predicted[1], signed=False)),
    ]
    if records.has(COUNTDOWN, "grpo"):
        start, end = ends(100 * logged(records, COUNTDOWN, "grpo", "groups/all_right"))
        details.append(("rise in countdown", shown(end - start)))
    evidence = over_seeds_evidence(
        rises, lambda low, high: low > 0, lambda low, high: high < RISE, details=tuple(details)
    )
    of_rho = over_seeds_evidence(correlations, lambda low, high: low > 0, lambda low, high: False)
    return replace(evidence, p_value=of_rho.p_value, in_favour=evidence.in_favour and of_rho.in_favour)


def _spearman(row: np.ndarray) -> float:
    """Of a share with the step; 0 where the share never changes."""
    known = np.flatnonzero(np.isfinite(row))
    if len(known) < 2 or np.ptp(row[known]) == 0:
        return 0.0
    return float(stats.spearmanr(known, row[known]).statistic)


def vanishing_signal(records: MethodRecords) -> Evidence:
    """GRPO's gradient norm falls as the all-success share rises: correlation over the steps of each seed."""
    correlations = _correlations(records, REASONING, "grpo")
    details = [
        (f"correlation, {records_label}", shown(_correlations(records, environment, arm), 2))
        for environment, arm, records_label in (
            (REASONING, "grpo_bonus", "GRPO with the entropy bonus"),
            (REASONING, "echo_strong", "echo, lambda = 0.1"),
            (COUNTDOWN, "grpo", "GRPO in countdown"),
        )
        if records.has(environment, arm)
    ]
    return over_seeds_evidence(
        correlations,
        lambda low, high: high < 0,
        lambda low, high: low > CORRELATION,
        unit_of_effect="correlation",
        alternative="less",
        details=tuple(details),
    )


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
    """The echo's gradient on all-success groups is not zero, and is not too small beside the policy gradient."""
    arm = "echo"
    ratios = 1000 * gradient_ratios(records, REASONING, arm)
    degenerate = logged(records, REASONING, arm, "groups/all_right")
    before = np.where(degenerate <= MOSTLY_DEGENERATE, ratios, np.nan)
    medians = np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in before])
    alone = logged(records, REASONING, arm, "gradient/echo_all_right")
    measured = alone[np.isfinite(alone)]
    nowhere_zero = bool(measured.size) and bool((measured > 0).all())
    evidence = over_seeds_evidence(
        medians,
        lambda low, high: nowhere_zero and low > RATIO,
        lambda low, high: (measured.size > 0 and not nowhere_zero) or high < RATIO,
        unit_of_effect="thousandths",
        alternative=None,
    )
    details = [
        ("measured steps with a clip of an all-success group", f"{measured.size}"),
        ("of these with a gradient of exactly 0", f"{int((measured == 0).sum())}"),
        ("least norm on all-success groups", f"{measured.min():.2g}" if measured.size else "none"),
    ]
    for other, label in (("echo_moderate", "lambda = 0.01"), ("echo_strong", "lambda = 0.1")):
        if has_log(records, REASONING, other, "gradient/echo"):
            found = 1000 * gradient_ratios(records, REASONING, other)
            details.append((f"median ratio, {label}, thousandths", shown(_row_medians(found))))
    return replace(evidence, details=tuple(details))


def _row_medians(table: np.ndarray) -> np.ndarray:
    return np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in table])


def late_dose(records: MethodRecords) -> Evidence:
    """The gain of the echo (lambda = 0.1) grows with the all-success share that the base starts with, over tiers."""
    levels = dose_levels(records, "echo_strong")
    starts = np.array([share.mean() for share, _ in levels.values()])
    gains = np.stack([values for _, values in levels.values()], axis=1)
    centred = starts - starts.mean()
    spread = float((centred**2).sum())
    slopes = gains @ centred / spread if spread > 0 else np.full(len(gains), np.nan)
    late = starts >= LATE
    late_gains = gains[:, late].mean(axis=1) if late.any() else np.full(len(gains), np.nan)
    no_late_gain = late.any() and len(late_gains) > 1 and mean_interval(late_gains).high < LATE_GAIN
    details = [
        (f"gain in {name}, starting share {100 * share.mean():.0f} %", shown(values))
        for name, (share, values) in sorted(levels.items(), key=lambda item: item[1][0].mean())
    ]
    details.append((f"gain where the starting share is {100 * LATE:.0f} % or more", shown(late_gains)))
    return over_seeds_evidence(
        slopes,
        lambda low, high: low > 0,
        lambda low, high: high <= 0 or bool(no_late_gain),
        unit_of_effect="points from a share of 0 to a share of 1",
        details=tuple(details),
    )


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
    """Time of an optimiser step with the echo beside GRPO's, same seed.

    A run's peak memory is no measure of its arm: a worker takes several runs, and its peak never falls.
    """
    arm = "echo"
    seconds = {}
    for name in (arm, "grpo"):
        table = logged(records, REASONING, name, "step_time")
        if has_log(records, REASONING, name, "gradient/echo"):
            # Steps at which the two gradients were measured did more than the method does.
            table = np.where(np.isfinite(logged(records, REASONING, name, "gradient/echo")), np.nan, table)
        seconds[name] = mean_known(table)
    percent = 100 * (seconds[arm] / seconds["grpo"] - 1)
    details = (
        ("seconds a step, GRPO", shown(seconds["grpo"], 3, signed=False)),
        ("seconds a step, echo", shown(seconds[arm], 3, signed=False)),
    )
    return over_seeds_evidence(
        percent,
        lambda low, high: high < SLOWER,
        lambda low, high: low >= SLOWER,
        unit_of_effect="percent of GRPO's time",
        alternative=None,
        details=details,
    )
