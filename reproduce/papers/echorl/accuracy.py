"""Claims of EchoRL about what is learned: accuracy, and which clip makes the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import all_must_hold, interval_text, superiority
from reproduce.claims.verdicts import Evidence
from reproduce.papers.echorl.experiment import ARMS, GROUP_SIZES, RIVALS, ROBUSTNESS, SELECTIONS
from reproduce.papers.echorl.measures import (
    ENVIRONMENTS,
    REASONING,
    control,
    ends,
    gain,
    has_log,
    largest_k,
    logged,
    over_seeds_evidence,
    pass_points,
    shown,
)
from theory.inference import crossed_t_interval, mean_interval

GAIN = 1.0
"""Points: the smallest gain of interest throughout the specification."""
PERMUTATIONS = 2_000


def _line(label: str, table: np.ndarray) -> tuple[str, str]:
    return label, interval_text(crossed_t_interval(table))


def _of_both_weights(records: MethodRecords, part: Evidence, strong: Evidence | None) -> Evidence:
    """The evidence at the published weight; refuted only if it is at lambda = 0.1 too, where the idea has its
    chance."""
    return replace(part, against=part.against and (strong is None or strong.against))


def final_accuracy(records: MethodRecords) -> Evidence:
    """Success with the echo at the published weight minus without it."""
    parts = {
        arm: superiority(gain(records, arm), smallest_effect=GAIN)
        for arm in ("echo", "echo_strong")
        if records.has(REASONING, arm)
    }
    details = [
        _line(
            f"{environment}: {ARMS[arm].label} minus {ARMS[other].label}",
            gain(records, arm, other, "test", environment),
        )
        for environment in ENVIRONMENTS
        for arm, other in (
            ("echo", "grpo"),
            ("echo_moderate", "grpo"),
            ("echo_strong", "grpo"),
            ("dapo_echo", "dapo"),
            ("echo_bonus", "grpo_bonus"),
            ("grpo", "base"),
        )
        if records.has(environment, arm, other)
    ]
    return replace(_of_both_weights(records, parts["echo"], parts.get("echo_strong")), details=tuple(details))


def peak_selection(records: MethodRecords) -> Evidence:
    """Argmax minus random clip, lambda = 0.1: must exceed a point and half of what the echo gains at all."""
    table = gain(records, "echo_strong", "random_prefix_strong")
    whole = float(gain(records, "echo_strong").mean())
    part = superiority(table, smallest_effect=GAIN)
    arms = [f"{name}_strong" for name in SELECTIONS if records.has(REASONING, f"{name}_strong")]
    details = [
        _line("echo minus control, lambda = 0.1", gain(records, "echo_strong")),
        ("half of that mean, points", f"{whole / 2:+.1f}"),
    ]
    pairs = (
        ("lowest-entropy minus random prefix, lambda = 0.1", "lowest_entropy_prefix_strong", "random_prefix_strong"),
        ("random prefix minus control, lambda = 0.1", "random_prefix_strong", control(records)),
        ("last step minus random prefix, lambda = 0.1", "last_step_strong", "random_prefix_strong"),
        ("echo minus length-matched random, lambda = 0.1", "echo_strong", "length_matched_random_strong"),
        ("echo minus random prefix, lambda = 0.001", "echo", "random_prefix"),
        ("lowest-entropy minus random prefix, lambda = 0.001", "lowest_entropy_prefix", "random_prefix"),
    )
    details += [
        _line(label, gain(records, arm, other)) for label, arm, other in pairs if records.has(REASONING, arm, other)
    ]
    details.append(
        (f"any difference among {len(arms)} choices of clip, permutation p", f"{omnibus(records, arms):.4f}")
    )
    curves = [name for name in ("echo_strong", "random_prefix_strong") if has_log(records, REASONING, name, "reward")]
    if len(curves) == 2:
        areas = [100 * logged(records, REASONING, name, "reward").mean(axis=1) for name in curves]
        details.append(("area under the learning curve, echo minus random", shown(areas[0] - areas[1])))
    return replace(part, against=part.against or part.high < whole / 2, details=tuple(details))


def omnibus(records: MethodRecords, arms: Sequence[str]) -> float:
    """p of a difference among arms: their seed means are exchanged within each seed, the statistic is the variance of
    the arms' means. Source: Fisher's randomisation test in blocks."""
    means = np.stack([records.success(REASONING, arm).mean(axis=1) for arm in arms], axis=1)
    observed = float(means.mean(axis=0).var())
    shuffled = np.random.default_rng(0).permuted(np.broadcast_to(means, (PERMUTATIONS, *means.shape)), axis=2)
    reached = shuffled.mean(axis=1).var(axis=1) >= observed * (1 - 1e-12)
    return float((1 + reached.sum()) / (1 + PERMUTATIONS))


def prefix_form(records: MethodRecords) -> Evidence:
    """Prefix over full rollout over isolated step, lambda = 0.1: Page's test of the order over seeds."""
    arms = ("echo_strong", "full_rollout_strong", "isolated_peak_strong")
    table = gain(records, arms[0], arms[1])
    part = superiority(table, smallest_effect=GAIN)
    means = np.stack([records.success(REASONING, arm).mean(axis=1) for arm in arms], axis=1)
    page = stats.page_trend_test(means, predicted_ranks=[3, 2, 1])
    details = [
        _line("full rollout minus isolated peak", gain(records, arms[1], arms[2])),
        _line("prefix minus isolated peak", gain(records, arms[0], arms[2])),
        *(
            (f"tokens an episode, {ARMS[arm].label}", shown(_tokens(records, arm), signed=False))
            for arm in (*arms, control(records))
        ),
    ]
    rest = crossed_t_interval(gain(records, arms[1], arms[2]))
    return replace(
        part,
        p_value=float(page.pvalue),
        in_favour=part.in_favour and bool(rest.low > 0),
        against=part.against and part.effect <= 0,
        minimum_detectable_effect=None,
        seeds_needed=None,
        details=tuple(details),
    )


def _tokens(records: MethodRecords, arm: str) -> np.ndarray:
    sampled, n = (records.table(REASONING, arm, name) for name in ("sampled_tokens", "n"))
    return sampled.sum(axis=1) / n.sum(axis=1)


def final_entropy(records: MethodRecords, arm: str, environment: str = REASONING) -> np.ndarray:
    """Mean entropy of all sampled tokens in the last tenth of the steps, hundredths of a nat, (seeds,)."""
    return 100 * ends(logged(records, environment, arm, "policy/entropy"))[1]


def entropy_side_effect(records: MethodRecords) -> Evidence:
    """The argmax keeps the policy's entropy at or above the control's, the argmin lowers it; lambda = 0.1."""
    other = control(records)
    changes = {
        arm: final_entropy(records, arm) - final_entropy(records, other)
        for arm in ("echo_strong", "lowest_entropy_prefix_strong")
    }
    keeps = over_seeds_evidence(
        changes["echo_strong"], lambda low, high: low > 0, lambda low, high: high < 0, "hundredths of a nat"
    )
    lowers = over_seeds_evidence(
        -changes["lowest_entropy_prefix_strong"], lambda low, high: low > 0, lambda low, high: False
    )
    k = largest_k(records)
    points = {arm: pass_points(records, arm, k) - pass_points(records, other, k) for arm in changes}
    ps = [mean_interval(points["echo_strong"].mean(axis=1)).p_value, _p(keeps)]
    details = [
        ("argmin minus control", shown(changes["lowest_entropy_prefix_strong"])),
        ("entropy of the control at the end", shown(final_entropy(records, other), signed=False)),
        _line(f"PASS@{k}: argmax minus control, points", points["echo_strong"]),
        _line(f"PASS@{k}: argmin minus control, points", points["lowest_entropy_prefix_strong"]),
        ("two-sided p of the argmax's change of PASS, before correction", f"{ps[0]:.4f}"),
    ]
    if has_log(records, REASONING, "echo", "policy/entropy"):
        details.append(
            (
                "echo, lambda = 0.001, minus control",
                shown(final_entropy(records, "echo") - final_entropy(records, other)),
            )
        )
    return replace(
        keeps,
        p_value=max(_p(keeps), _p(lowers)),
        in_favour=keeps.in_favour and lowers.in_favour,
        details=tuple(details),
    )


def _p(evidence: Evidence) -> float:
    return 1.0 if evidence.p_value is None else evidence.p_value


def ood_transfer(records: MethodRecords) -> Evidence:
    """Gain of the echo out of distribution minus its gain in distribution, one number a seed."""
    gains = {
        (arm, panel): gain(records, arm, panel=panel).mean(axis=1)
        for arm in ("echo", "echo_strong")
        for panel in ("ood", "test")
        if records.has(REASONING, arm)
    }
    details = [(f"{ARMS[arm].label}, gain on {panel}", shown(values)) for (arm, panel), values in gains.items()]
    if records.has(REASONING, "echo_strong"):
        strong = gains["echo_strong", "ood"] - gains["echo_strong", "test"]
        details.append(("interaction at lambda = 0.1", shown(strong)))
    return over_seeds_evidence(
        gains["echo", "ood"] - gains["echo", "test"],
        lambda low, high: low > 0,
        lambda low, high: high < 0,
        details=tuple(details),
        tasks=records.success(REASONING, "echo", "ood").shape[1],
    )


def vs_remedies(records: MethodRecords) -> Evidence:
    """The echo against each rival in turn: it must beat all of them."""
    rivals = [name for name in RIVALS if records.has(REASONING, name)]
    of_weight = {}
    for arm in ("echo", "echo_strong"):
        if not records.has(REASONING, arm):
            continue
        parts = [superiority(gain(records, arm, rival), smallest_effect=0.0) for rival in rivals]
        # "Not above the best of the others": the interval against some rival ends at or below 0.
        of_weight[arm] = all_must_hold([replace(part, against=part.high <= 0) for part in parts])
    details = [
        _line(
            f"{environment}: {ARMS[arm].label} minus {ARMS[rival].label}",
            gain(records, arm, rival, "test", environment),
        )
        for environment in ENVIRONMENTS
        for arm in ("echo", "echo_strong")
        for rival in (*RIVALS, "dr_grpo")
        if records.has(environment, arm, rival)
    ]
    details += [
        (
            f"at equal {unit}, reward in training: echo minus {ARMS[rival].label}",
            shown(equal_cost(records, "echo", rival, column)),
        )
        for unit, column in (("rollouts", "episodes"), ("tokens", "tokens/sampled"))
        for rival in rivals
        if has_log(records, REASONING, rival, "tokens/sampled")
    ]
    return replace(_of_both_weights(records, of_weight["echo"], of_weight.get("echo_strong")), details=tuple(details))


def cumulative_cost(records: MethodRecords, environment: str, arm: str, column: str) -> np.ndarray:
    """Episodes or tokens sampled up to and with each step, (seeds, steps). column: `episodes` or `tokens/sampled`."""
    if column != "episodes":
        return logged(records, environment, arm, column).cumsum(axis=1)
    training = records.experiment[environment]["training"]
    usual = training["questions_per_step"] * training["group_size"]
    steps = logged(records, environment, arm, "tokens/sampled")
    if has_log(records, environment, arm, "episodes/sampled"):
        return logged(records, environment, arm, "episodes/sampled").cumsum(axis=1)
    return np.broadcast_to(usual * np.arange(1, steps.shape[1] + 1.0), steps.shape)


def equal_cost(records: MethodRecords, arm: str, rival: str, column: str, environment: str = REASONING) -> np.ndarray:
    """Difference of the rewards in training, points, where both have sampled what the thriftier one has at its end.

    (seeds,): each arm's mean over the tenth of its steps that ends there.
    """
    costs = {name: cumulative_cost(records, environment, name, column) for name in (arm, rival)}
    found = []
    for seed in range(records.seeds):
        budget = min(float(costs[name][seed, -1]) for name in (arm, rival))
        values = []
        for name in (arm, rival):
            reward = 100 * logged(records, environment, name, "reward")[seed]
            last = max(1, int(np.searchsorted(costs[name][seed], budget, side="right")))
            width = max(1, len(reward) // 10)
            values.append(float(reward[max(0, last - width) : last].mean()))
        found.append(values[0] - values[1])
    return np.array(found)


def demo_complement(records: MethodRecords) -> Evidence:
    """The echo on top of demonstrations, and whether they help each other."""
    table = gain(records, "echo_demonstrations", "grpo_demonstrations")
    part = superiority(table, smallest_effect=GAIN)
    without = gain(records, "echo", "grpo")
    details = (
        _line("echo without demonstrations", without),
        _line("interaction: with demonstrations minus without", table - without),
        _line("demonstrations without the echo", gain(records, "grpo_demonstrations", "grpo")),
    )
    return replace(part, details=details)


def robustness_settings(records: MethodRecords) -> dict[str, tuple[str, str]]:
    """Setting: the arm and what it is compared with, of those that the plan has."""
    other = control(records)
    pairs = {"λ = 0.001": ("echo", other), "λ = 0.01": ("echo_moderate", other), "λ = 0.1": ("echo_strong", other)}
    pairs |= {design[0]: (name, other) for name, design in ROBUSTNESS.items()}
    pairs |= {f"G = {size}": (f"echo_strong_group_{size}", f"grpo_group_{size}") for size in GROUP_SIZES}
    return {label: pair for label, pair in pairs.items() if records.has(REASONING, *pair)}


def robustness(records: MethodRecords) -> Evidence:
    """Share of settings with a positive gain; refuted where a setting's sign is surely another than the echo's."""
    intervals = {
        label: crossed_t_interval(gain(records, *pair)) for label, pair in robustness_settings(records).items()
    }
    estimates = np.array([float(interval.estimate) for interval in intervals.values()])
    surely_up = any(interval.low > 0 for interval in intervals.values())
    surely_down = any(interval.high < 0 for interval in intervals.values())
    main = float(intervals["λ = 0.1"].estimate)
    flips = (surely_down and main > 0) or (surely_up and main < 0) or (surely_up and surely_down)
    share = 100 * float((estimates > 0).mean())
    return Evidence(
        effect=share,
        low=share,
        high=share,
        confidence=0.95,
        interval_method="none: a count of settings; each setting's own interval is below",
        p_value=None,
        minimum_detectable_effect=None,
        in_favour=bool((estimates > 0).all()),
        against=flips,
        seeds=records.seeds,
        questions=records.success(REASONING, "echo").shape[1],
        unit_of_effect="percent of settings with a gain",
        details=tuple((label, interval_text(interval)) for label, interval in intervals.items()),
    )
