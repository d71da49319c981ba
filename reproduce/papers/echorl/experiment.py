"""What EchoRL's experiment is made of: arms, the settings of their methods, and sizes.

`echo` is the method at the published weight of 0.001, which may be too small to matter beside the policy gradient
(specification, 2.9). So every choice of clip is tried at a weight of 0.1 as well, the arms `.._strong`: there the idea
itself has its chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from reproduce.core.config import BedConfig, HardwareConfig, ModelConfig
from reproduce.core.paper import Arm
from reproduce.cost.profile import ONE_GPU, on_one_gpu, paper_profile
from reproduce.environments.countdown import bed as countdown
from reproduce.environments.reasoning import bed as reasoning
from reproduce.report.colours import BASE, OTHER, PURPLE, QUIET, SKY, TRAINED, YELLOW

KEY = "echorl"
Trainer = Literal["grpo", "dr_grpo", "dapo", "rl_zvp", "sign_advantage", "echo", "dapo_echo"]
PUBLISHED_WEIGHT, MODERATE_WEIGHT, STRONG_WEIGHT = 1e-3, 1e-2, 1e-1
"""lambda: the paper's, and the rest of the sweep. VAPO's positive-example loss has 0.1 too."""


@dataclass(frozen=True)
class ArmSettings:
    """What an arm does that GRPO does not. Names and meanings are those of `clips.ClipConfig`."""

    trainer: Trainer = "grpo"
    """The trainer; `echo` and `dapo_echo` read the fields below."""
    weight: float = 0.0
    """lambda, weight of the echo; for `rl_zvp` its alpha."""
    selection: str = "highest_entropy"
    """Which step ends the clip."""
    extent: str = "prefix"
    """What is echoed: everything up to the step, the step, or the whole episode."""
    scope: str = "any_success"
    """Groups with a success, or only those where every episode succeeds."""
    unit: str = "group"
    """One clip a group, or one a success."""
    split: str = "newline"
    """Where steps end; `rollout` makes an episode one step."""
    reduction: str = "groups_with_clip"
    """What the echo is a mean over."""
    minimum_step_tokens: int = 1
    """Shorter steps are not chosen."""
    newline_token_ids: tuple[int, ...] = ()
    """Tokens that end a step. Empty: the newline of a policy made here, every token with a line break of another."""
    entropy_bonus: float = 0.0
    """Coefficient of the entropy bonus."""
    updates: int = 1
    """Optimiser steps on each batch; with one the ratio is 1 and its clip cannot act."""
    largest_rounds: int = 4
    """Batches that dynamic sampling draws at most for one optimiser step, the first included."""
    group_size: int | None = None
    """Another G than the bed's; questions a step change so that episodes a step do not."""
    demonstrations: int = 0
    """Episodes of each group whose text is the expert's instead of the policy's."""
    frozen: bool = False
    """Learning rate 0: one policy is looked at, none is trained."""
    analysis_groups: int = 0
    """Groups, drawn from the fixed policy of a frozen arm, for the mean gradients of each choice of clip."""
    analysis_solutions: int = 0
    """Right solutions of the fixed policy from which steps are deleted, and that are set beside the expert's."""
    measure_gradients_every: int = 0
    """Optimiser steps between measurements of the two gradients' norms; 0 for none."""


def _echo(weight: float, **choices: object) -> ArmSettings:
    return replace(ArmSettings("echo", weight, measure_gradients_every=5), **choices)  # type: ignore[arg-type]


SELECTIONS: dict[str, tuple[str, str, dict[str, object]]] = {
    "echo": ("echo", "the prefix to the end of the step of highest entropy", {}),
    "random_prefix": ("random prefix", "the prefix to the end of a random step", {"selection": "random"}),
    "lowest_entropy_prefix": (
        "lowest-entropy prefix",
        "the prefix to the end of the step of lowest entropy",
        {"selection": "lowest_entropy"},
    ),
    "full_rollout": (
        "full rollout",
        "the whole success that holds the step of highest entropy",
        {"extent": "rollout"},
    ),
    "isolated_peak": ("isolated peak", "the step of highest entropy alone", {"extent": "step"}),
    "last_step": (
        "last step",
        "the last step of a random success",
        {"selection": "last_step", "extent": "step"},
    ),
    "length_matched_random": (
        "length-matched random",
        "as many tokens as the peak's prefix, of another success",
        {"selection": "length_matched_random"},
    ),
}
"""Choices of clip: label, what is echoed, and the switches."""
ROBUSTNESS: dict[str, tuple[str, str, dict[str, object]]] = {
    "echo_strong_long_steps": ("steps of 5+ tokens", "steps of at least 5 tokens only", {"minimum_step_tokens": 5}),
    "echo_strong_all_success": ("all-success groups", "groups without a failure only", {"scope": "all_success"}),
    "echo_strong_each_success": ("a clip a success", "one clip for each success", {"unit": "rollout"}),
    "echo_strong_all_groups": ("mean over all groups", "the mean taken over all groups", {"reduction": "all_groups"}),
    "echo_strong_unsplit": ("episode as one step", "an episode is one step", {"split": "rollout"}),
}
"""One factor at a time, at the strong weight."""
GROUP_SIZES = (4, 16)


LOOKS = {
    "grpo": {"color": BASE, "linestyle": "-"},
    "echo": {"color": SKY, "linestyle": "--"},
    "echo_strong": {"color": TRAINED, "linestyle": "-"},
    "random_prefix_strong": {"color": QUIET, "linestyle": ":"},
    "lowest_entropy_prefix_strong": {"color": OTHER, "linestyle": "-."},
    "positive_nll": {"color": PURPLE, "linestyle": "--"},
    "rl_zvp": {"color": YELLOW, "linestyle": ":"},
}
"""Of the arms that are drawn as curves."""


def _arms() -> dict[str, Arm]:
    found = {
        "base": Arm("base", "the warm-started policy, evaluated only"),
        "grpo": Arm("GRPO", "GRPO, the base method of every echo arm", ArmSettings()),
        "placebo": Arm("placebo", "the echo's code path with lambda = 0", _echo(0.0)),
    }
    for name, (label, description, choices) in SELECTIONS.items():
        found[name] = Arm(label, f"GRPO and lambda = 0.001: {description}", _echo(PUBLISHED_WEIGHT, **choices))
    for name, (label, description, choices) in SELECTIONS.items():
        found[f"{name}_strong"] = Arm(
            f"{label}, λ = 0.1", f"GRPO and lambda = 0.1: {description}", _echo(STRONG_WEIGHT, **choices)
        )
    found |= {
        "echo_moderate": Arm("echo, λ = 0.01", "the echo with lambda = 0.01", _echo(MODERATE_WEIGHT)),
        "dr_grpo": Arm("Dr. GRPO", "no division by the group's deviation, sum over tokens", ArmSettings("dr_grpo")),
        "dapo": Arm(
            "DAPO",
            "dynamic sampling until every group is mixed, its extra rollouts counted",
            ArmSettings("dapo"),
            resamples=True,
        ),
        "dapo_echo": Arm(
            "DAPO + echo",
            "DAPO, and the echo of clips mined before its filter (lambda = 0.001)",
            ArmSettings("dapo_echo", PUBLISHED_WEIGHT),
            resamples=True,
        ),
        "rl_zvp": Arm("RL-ZVP", "entropies as advantages in groups of equal rewards", ArmSettings("rl_zvp", 0.1)),
        "sign_advantage": Arm("sign advantage", "advantage 2 r - 1, without centring", ArmSettings("sign_advantage")),
        "positive_nll": Arm(
            "NLL of successes",
            "VAPO's positive-example loss, weight 0.1: all tokens of all successes",
            ArmSettings("echo", 0.1, "last_step", "rollout", unit="rollout", reduction="tokens"),
        ),
        "lowest_entropy_success": Arm(
            "lowest-entropy success",
            "ExGRPO's choice: the whole success of lowest mean entropy, lambda = 0.001",
            ArmSettings("echo", PUBLISHED_WEIGHT, "lowest_entropy", "rollout", split="rollout"),
        ),
        "grpo_bonus": Arm(
            "GRPO, entropy bonus", "GRPO with an entropy bonus of 0.001", ArmSettings(entropy_bonus=1e-3)
        ),
        "echo_bonus": Arm(
            "echo, entropy bonus",
            "the echo with an entropy bonus of 0.001",
            _echo(PUBLISHED_WEIGHT, entropy_bonus=1e-3),
        ),
        "grpo_demonstrations": Arm(
            "GRPO + demonstrations", "one episode of each group is the expert's", ArmSettings(demonstrations=1)
        ),
        "echo_demonstrations": Arm(
            "echo + demonstrations",
            "the same with the echo of the policy's own successes (lambda = 0.001)",
            _echo(PUBLISHED_WEIGHT, demonstrations=1),
        ),
    }
    for name, (label, description, choices) in ROBUSTNESS.items():
        found[name] = Arm(label, f"the echo with lambda = 0.1: {description}", _echo(STRONG_WEIGHT, **choices))
    for size in GROUP_SIZES:
        found[f"grpo_group_{size}"] = Arm(
            f"GRPO, G = {size}", f"GRPO with groups of {size}", ArmSettings(group_size=size)
        )
        found[f"echo_strong_group_{size}"] = Arm(
            f"G = {size}", f"the echo with lambda = 0.1 and groups of {size}", _echo(STRONG_WEIGHT, group_size=size)
        )
    found["frozen"] = Arm(
        "frozen base",
        "the base at learning rate 0: which clips one fixed policy gives, and their mean gradients",
        ArmSettings("echo", PUBLISHED_WEIGHT, frozen=True),
    )
    return {name: replace(arm, look=LOOKS.get(name, {})) for name, arm in found.items()}


ARMS = _arms()
RIVALS = ("grpo", "dapo", "rl_zvp", "sign_advantage", "positive_nll", "lowest_entropy_success")
"""The remedies that the claim `vs-remedies` names; Dr. GRPO is shown beside them."""
LAPTOP_ARMS = (
    "grpo",
    "echo",
    "echo_strong",
    "random_prefix_strong",
    "lowest_entropy_prefix_strong",
    "full_rollout_strong",
    "isolated_peak_strong",
    "positive_nll",
    "rl_zvp",
    "frozen",
)
COUNTDOWN_ARMS = (
    "grpo",
    "echo",
    "echo_strong",
    "random_prefix_strong",
    "lowest_entropy_prefix_strong",
    "full_rollout_strong",
    "isolated_peak_strong",
    "dapo",
    "dapo_echo",
    "rl_zvp",
    "sign_advantage",
    "positive_nll",
    "lowest_entropy_success",
)
EVERY_ARM = tuple(name for name in ARMS if name != "base")
LAPTOP_NEEDS = (
    "grpo",
    "echo",
    "echo_strong",
    "random_prefix_strong",
    "lowest_entropy_prefix_strong",
    "full_rollout_strong",
    "isolated_peak_strong",
    "frozen",
)
"""Arms that claims of every profile compare. The other profiles' claims need the rivals and the demonstrations too."""
COUNTDOWN_NEEDS = ("grpo",)
"""What every arm of countdown is measured against."""
REASONING_ONLY = ("grpo_demonstrations", "echo_demonstrations", "frozen")
"""Arms that read the expert's solutions or lines, which countdown does not have."""
PUBLISHED = ("grpo", "echo", "dapo", "dapo_echo")
"""The paper's own trained arms that can run here; LUFFY and UFT, its other bases, are not implemented."""
FEWEST_ANALYSIS_GROUPS = 4
"""Half of them give a direction, and two in the other half a standard error."""


@dataclass(frozen=True)
class EchoRLConfig:
    """Sizes of the experiment."""

    profile: str
    seeds: int = 8
    """Seeds, each with its own base."""
    reasoning: BedConfig = field(default_factory=lambda: reasoning.BED)
    """Chains of arithmetic: tiers from nearly always right to hard. A step is a line."""
    countdown: BedConfig = field(default_factory=lambda: countdown.BED)
    """Number puzzles of several rounds. A step is an action."""
    reasoning_arms: tuple[str, ...] = LAPTOP_ARMS
    """Arms trained in `reasoning`, after the base."""
    countdown_arms: tuple[str, ...] = ()
    """Arms trained in `countdown`; without one, the environment is left out."""
    frozen_epochs: int = 1
    """Passes over the training tasks of the frozen arm."""
    analysis_groups: int = 0
    """Groups of the frozen base for the mean gradient of each choice of clip; 0 for no such analysis."""
    analysis_solutions: int = 0
    """Solutions of the frozen base from which steps are deleted; 0 for no such analysis."""
    updates: int = 1
    """Optimiser steps on each batch (paper: 2)."""
    newline_token_ids: tuple[int, ...] = ()
    """Tokens that end a step, of tokenizers made elsewhere (paper: 198,271); empty: every token with a line break."""
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


def _sized(
    bed: BedConfig,
    panels: tuple[int, int, int],
    episodes: tuple[int, int],
    categories: tuple[str, ...] = (),
    **training: int | float,
) -> BedConfig:
    train, test, ood = panels
    return replace(
        bed,
        panels=replace(bed.panels, train=train, test=test, ood=ood, categories=categories),
        training=replace(bed.training, **training),  # type: ignore[arg-type]
        evaluation=replace(bed.evaluation, samples=episodes[0], ood_samples=episodes[1]),
    )


TIERS = ("easy", "medium", "hard")
"""Of the reasoning tasks: from nearly every group right to few. Chains that are decisive in few places are left out:
they are for another paper."""


def _tiny(
    bed: BedConfig, panels: tuple[int, int, int], questions_per_step: int, categories: tuple[str, ...] = ()
) -> BedConfig:
    """Sizes at which every part runs and nothing is learned."""
    small = _sized(
        bed, panels, (4, 4), categories, epochs=1, questions_per_step=questions_per_step, group_size=4, save_every=2
    )
    return replace(
        small,
        policy=replace(bed.policy, layers=2, width=32, heads=2, feed_forward=64),
        warm_start=replace(bed.warm_start, steps=60, batch_size=16, demonstrations=200),
        sampling=replace(bed.sampling, longest_action=min(bed.sampling.longest_action, 24)),
    )


LAPTOP_BED = _sized(reasoning.BED, (32, 36, 32), (8, 8), TIERS, epochs=4, questions_per_step=12)
PROFILES = {
    "laptop": EchoRLConfig("laptop", reasoning=LAPTOP_BED),
    "gpu": EchoRLConfig("gpu", reasoning=on_one_gpu(LAPTOP_BED), hardware=ONE_GPU),
    "full": EchoRLConfig(
        "full",
        seeds=10,
        reasoning=_sized(reasoning.BED, (96, 100, 100), (64, 32), TIERS, epochs=8, questions_per_step=16),
        countdown=_sized(countdown.BED, (192, 200, 100), (32, 16), epochs=6, questions_per_step=16),
        reasoning_arms=EVERY_ARM,
        countdown_arms=COUNTDOWN_ARMS,
        frozen_epochs=2,
        analysis_groups=2000,
        analysis_solutions=500,
    ),
    "smoke": EchoRLConfig(
        "smoke",
        seeds=2,
        reasoning=_tiny(reasoning.BED, (4, 4, 4), 4, TIERS[:2]),
        countdown=_tiny(countdown.BED, (4, 4, 4), 4),
        reasoning_arms=EVERY_ARM,
        countdown_arms=("grpo", "echo", "echo_strong", "dapo"),
        analysis_groups=4,
        analysis_solutions=4,
    ),
}
PROFILES["paper"] = paper_profile(KEY, PROFILES["laptop"])
"""All sizes, in one place; those of the paper in its file of paper scale."""
