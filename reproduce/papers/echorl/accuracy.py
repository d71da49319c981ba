"""Claims of EchoRL about what is learned: accuracy, and which clip makes the difference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from reproduce.claims.evidence import Details, Evidence, Part
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import (
    all_hold,
    edge_means,
    episode_variance,
    non_inferiority,
    row,
    shown,
    superiority,
)
from reproduce.papers.echorl.experiment import ARMS, GROUP_SIZES, RIVALS, ROBUSTNESS, SELECTIONS
from reproduce.papers.echorl.measures import (
    ENVIRONMENTS,
    REASONING,
    control,
    gain,
    has_log,
    largest_k,
    logged,
    pass_points,
)
from theory.inference import mean_interval

GAIN = 1.0
"""Points: the smallest gain of interest throughout the specification."""
PERMUTATIONS = 2_000


ENTROPY_EFFECT = 2.0
"""Hundredths of a nat: the smallest change of entropy of interest, and the margin within which it is kept."""


def success_gain(records: MethodRecords, arm: str, against: str | None = None, label: str = "") -> Part:
    """Superiority of an arm's success on the test panel over another's (by default the control's)."""
    other = control(records) if against is None else against
    noise = sum(episode_variance(records, REASONING, one) for one in (arm, other))
    name = label or f"{ARMS[arm].label} minus {ARMS[other].label}"
    return superiority(gain(records, arm, other), GAIN, name, episode_square=noise)


def final_accuracy(records: MethodRecords) -> Evidence:
    """Success with the echo at the published weight minus without it; refuted only if it is at lambda = 0.1 too, where
    the idea has its chance."""
    arms = [arm for arm in ("echo", "echo_strong") if records.has(REASONING, arm)]

    def details() -> Details:
        return tuple(
            row(
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
        )

    parts = [success_gain(records, arm) for arm in arms]
    return all_hold(*parts, details=details, refuting=(tuple(range(len(parts))),), required=1)


def peak_selection(records: MethodRecords) -> Evidence:
    """Argmax minus random clip, lambda = 0.1."""

    def details() -> Details:
        arms = [f"{name}_strong" for name in SELECTIONS if records.has(REASONING, f"{name}_strong")]
        rows = [row("echo minus control, lambda = 0.1", gain(records, "echo_strong"))]
        pairs = (
            (
                "lowest-entropy minus random prefix, lambda = 0.1",
                "lowest_entropy_prefix_strong",
                "random_prefix_strong",
            ),
            ("random prefix minus control, lambda = 0.1", "random_prefix_strong", control(records)),
            ("last step minus random prefix, lambda = 0.1", "last_step_strong", "random_prefix_strong"),
            ("echo minus length-matched random, lambda = 0.1", "echo_strong", "length_matched_random_strong"),
            ("echo minus random prefix, lambda = 0.001", "echo", "random_prefix"),
            ("argmin minus random prefix, lambda = 0.001", "lowest_entropy_prefix", "random_prefix"),
        )
        rows += [
            row(label, gain(records, arm, other)) for label, arm, other in pairs if records.has(REASONING, arm, other)
        ]
        rows.append(
            (f"any difference among {len(arms)} choices of clip, permutation p", f"{omnibus(records, arms):.4f}")
        )
        curves = [one for one in ("echo_strong", "random_prefix_strong") if has_log(records, REASONING, one, "reward")]
        if len(curves) == 2:
            areas = [100 * logged(records, REASONING, name, "reward").mean(axis=1) for name in curves]
            rows.append(("area under the learning curve, echo minus random", shown(areas[0] - areas[1])))
        return tuple(rows)

    return all_hold(success_gain(records, "echo_strong", "random_prefix_strong"), details=details)


def omnibus(records: MethodRecords, arms: Sequence[str]) -> float:
    """p of a difference among arms: their seed means are exchanged within each seed, the statistic is the variance of
    the arms' means. Source: Fisher's randomisation test in blocks."""
    means = np.stack([records.success(REASONING, arm).mean(axis=1) for arm in arms], axis=1)
    observed = float(means.mean(axis=0).var())
    shuffled = np.random.default_rng(0).permuted(np.broadcast_to(means, (PERMUTATIONS, *means.shape)), axis=2)
    reached = shuffled.mean(axis=1).var(axis=1) >= observed * (1 - 1e-12)
    return float((1 + reached.sum()) / (1 + PERMUTATIONS))


def prefix_form(records: MethodRecords) -> Evidence:
    """Prefix over full rollout over isolated step, lambda = 0.1: both steps of the order; the first decides against."""
    arms = ("echo_strong", "full_rollout_strong", "isolated_peak_strong")

    def details() -> Details:
        return (
            row("prefix minus isolated peak", gain(records, arms[0], arms[2])),
            *(
                (f"tokens an episode, {ARMS[arm].label}", shown(_tokens(records, arm), signed=False))
                for arm in (*arms, control(records))
            ),
        )

    parts = [success_gain(records, *pair) for pair in itertools.pairwise(arms)]
    return all_hold(*parts, details=details, refuting=((0,),))


def _tokens(records: MethodRecords, arm: str) -> np.ndarray:
    sampled, n = (records.table(REASONING, arm, name) for name in ("sampled_tokens", "n"))
    return sampled.sum(axis=1) / n.sum(axis=1)


def final_entropy(records: MethodRecords, arm: str, environment: str = REASONING) -> np.ndarray:
    """Mean entropy of all sampled tokens in the last tenth of the steps, hundredths of a nat, (seeds,)."""
    return 100 * edge_means(logged(records, environment, arm, "policy/entropy"))[1]


def entropy_at_end(records: MethodRecords) -> float:
    """Mean entropy of the control's sampled tokens in the last tenth of the steps, nats; NaN where none was logged."""
    return float(final_entropy(records, control(records)).mean()) / 100


def entropy_side_effect(records: MethodRecords) -> Evidence:
    """The argmax keeps the policy's entropy at or above the control's, the argmin lowers it; lambda = 0.1."""
    other = control(records)
    most, least = (
        final_entropy(records, arm) - final_entropy(records, other)
        for arm in ("echo_strong", "lowest_entropy_prefix_strong")
    )

    def details() -> Details:
        k = largest_k(records)
        points = {
            arm: pass_points(records, arm, k) - pass_points(records, other, k)
            for arm in ("echo_strong", "lowest_entropy_prefix_strong")
        }
        p = mean_interval(points["echo_strong"].mean(axis=1)).p_value
        rows = [
            ("entropy of the control at the end", shown(final_entropy(records, other), signed=False)),
            row(f"PASS@{k}: argmax minus control, points", points["echo_strong"]),
            row(f"PASS@{k}: argmin minus control, points", points["lowest_entropy_prefix_strong"]),
            ("two-sided p of the argmax's change of PASS, before correction", f"{p:.4f}"),
        ]
        if has_log(records, REASONING, "echo", "policy/entropy"):
            change = final_entropy(records, "echo") - final_entropy(records, other)
            rows.append(("echo, lambda = 0.001, minus control", shown(change)))
        return tuple(rows)

    unit = "hundredths of a nat"
    return all_hold(
        non_inferiority(most, ENTROPY_EFFECT, "argmax minus control", unit),
        superiority(-least, ENTROPY_EFFECT, "control minus argmin", unit),
        details=details,
        refuting=((0,),),
    )


def ood_transfer(records: MethodRecords) -> Evidence:
    """Gain of the echo out of distribution minus its gain in distribution, one number a seed."""

    def of(arm: str, panel: str) -> np.ndarray:
        found: np.ndarray = gain(records, arm, panel=panel).mean(axis=1)
        return found

    def details() -> Details:
        arms = [arm for arm in ("echo", "echo_strong") if records.has(REASONING, arm)]
        rows = [
            (f"{ARMS[arm].label}, gain on {panel}", shown(of(arm, panel))) for arm in arms for panel in ("ood", "test")
        ]
        if "echo_strong" in arms:
            rows.append(("interaction at lambda = 0.1", shown(of("echo_strong", "ood") - of("echo_strong", "test"))))
        return tuple(rows)

    interaction = of("echo", "ood") - of("echo", "test")
    return all_hold(non_inferiority(interaction, GAIN, "gain on ood minus gain on test"), details=details)


def vs_remedies(records: MethodRecords) -> Evidence:
    """The echo against each rival in turn: it must beat all of them. Refuted where it surely falls short of one at both
    weights."""
    rivals = [name for name in RIVALS if records.has(REASONING, name)]
    arms = [arm for arm in ("echo", "echo_strong") if records.has(REASONING, arm)]

    def details() -> Details:
        rows = [
            row(
                f"{environment}: {ARMS[arm].label} minus {ARMS[rival].label}",
                gain(records, arm, rival, "test", environment),
            )
            for environment in ENVIRONMENTS
            for arm in ("echo", "echo_strong")
            for rival in (*RIVALS, "dr_grpo")
            if records.has(environment, arm, rival)
        ]
        rows += [
            (
                f"at equal {unit}, reward in training: echo minus {ARMS[rival].label}",
                shown(equal_cost(records, "echo", rival, column)),
            )
            for unit, column in (("rollouts", "episodes"), ("tokens", "tokens/sampled"))
            for rival in rivals
            if has_log(records, REASONING, rival, "tokens/sampled")
        ]
        return tuple(rows)

    parts = [success_gain(records, arm, rival) for arm in arms for rival in rivals]
    groups = tuple(tuple(range(place, len(parts), len(rivals))) for place in range(len(rivals)))
    return all_hold(*parts, details=details, refuting=groups, required=len(rivals))


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

    def details() -> Details:
        without = gain(records, "echo", "grpo")
        table = gain(records, "echo_demonstrations", "grpo_demonstrations")
        return (
            row("echo without demonstrations", without),
            row("interaction: with demonstrations minus without", table - without),
            row("demonstrations without the echo", gain(records, "grpo_demonstrations", "grpo")),
        )

    return all_hold(success_gain(records, "echo_demonstrations", "grpo_demonstrations"), details=details)


def robustness_settings(records: MethodRecords) -> dict[str, tuple[str, str]]:
    """Setting: the arm and what it is compared with, of those that the plan has."""
    other = control(records)
    pairs = {"λ = 0.001": ("echo", other), "λ = 0.01": ("echo_moderate", other), "λ = 0.1": ("echo_strong", other)}
    pairs |= {design[0]: (name, other) for name, design in ROBUSTNESS.items()}
    pairs |= {f"G = {size}": (f"echo_strong_group_{size}", f"grpo_group_{size}") for size in GROUP_SIZES}
    return {label: pair for label, pair in pairs.items() if records.has(REASONING, *pair)}


def robustness(records: MethodRecords) -> Evidence:
    """In no setting is more than a point lost."""
    return all_hold(
        *(non_inferiority(gain(records, *pair), GAIN, label) for label, pair in robustness_settings(records).items())
    )
