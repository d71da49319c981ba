"""The arms of ReuseRL as settings, and the sizes of its profiles. Importing this loads no model code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    HardwareConfig,
    HorizonEvaluation,
    ModelConfig,
    PanelSizes,
    PolicyConfig,
    RunConfig,
)
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.core.paper import Arm
from reproduce.cost.profile import ONE_GPU, on_one_gpu, paper_profile
from reproduce.environments.cooking import bed as cooking
from reproduce.environments.countdown import bed as countdown
from reproduce.environments.household import bed as household
from reproduce.plan.study import planned_run
from reproduce.report.colours import BASE, INK, OTHER, TRAINED

KEY = "reuserl"
ENVIRONMENTS = ("countdown", "cooking", "household")
TIMEOUT_ENVIRONMENTS = ("countdown", "household")
"""Where running out of rounds is the only way to fail, the paper's `timeout or inefficiency`."""
IRREVERSIBLE_ENVIRONMENT = "cooking"
"""Where a mistake that an information action would have shown ends the episode."""
EASY_ENVIRONMENT = "household"
"""In the place of the paper's ALFWorld, where its two penalties differ by one or two games."""


@dataclass(frozen=True)
class ReuseSettings:
    """What an arm's reward does; `reuserl_arms` turns it into a `methods.reuserl.SkillReuseReward`."""

    weight: float = 0.3
    """lambda: the weight of the cost in the reward of a success."""
    penalty: str = "additive"
    """additive, R - lambda c; or discount, R (1 - lambda)^c."""
    dictionary: str = "learned"
    """learned; shuffled_order; frozen_singletons, a length penalty; or random, which is matched to the dictionary that
    the arm `segcost` of the same seed ended with."""
    buffer_size: int = 1024
    """Skill strings that the first-in first-out buffer of successes keeps; 0 for none."""
    min_corpus: int = 16
    """With fewer successes in batch and buffer the dictionary stays as it is."""
    max_phrase_length: int = 4
    """L: most symbols of a phrase."""
    freeze_after: int | None = None
    """Batches after which the dictionary stays as it is; None for never."""
    standardised: bool = True
    """Whether advantages are divided by the standard deviation of their group."""


def _with(**choices: Any) -> Callable[[ReuseConfig], ReuseSettings]:
    """Settings of a configuration with these choices."""

    def settings(config: ReuseConfig) -> ReuseSettings:
        default = ReuseSettings(config.weight, buffer_size=config.buffer_size, min_corpus=config.min_corpus)
        return replace(default, **choices)

    return settings


def _length(**choices: Any) -> Callable[[ReuseConfig], ReuseSettings]:
    return _with(dictionary="frozen_singletons", **choices)


ARMS = {
    "base": Arm(
        "base", "the warm-started policy, evaluated only", look={"color": BASE, "marker": "o", "linestyle": "-"}
    ),
    "grpo": Arm(
        "GRPO",
        "GRPO on the outcome alone (lambda = 0); a dictionary is learned beside it, for the log only",
        _with(weight=0.0),
        look={"color": INK, "marker": "D", "linestyle": ":"},
    ),
    "length": Arm(
        "length",
        "round-length penalty: the segmentation cost under a dictionary frozen to single symbols",
        _length(),
        look={"color": OTHER, "marker": "^", "linestyle": "--"},
    ),
    "discounted_length": Arm(
        "discounted length", "the outcome discounted by length, R (1 - lambda)^(|s|/T)", _length(penalty="discount")
    ),
    "segcost": Arm(
        "SegCost",
        "segmentation cost with the success buffer",
        _with(),
        look={"color": TRAINED, "marker": "s", "linestyle": "-"},
    ),
    "segcost_no_buffer": Arm(
        "SegCost no buffer", "segmentation cost, dictionary from the batch's successes alone", _with(buffer_size=0)
    ),
    "random_dictionary": Arm(
        "random dictionary",
        "8a: random phrases, as many and as long as those `segcost` of the same seed ended with",
        _with(dictionary="random"),
    ),
    "shuffled_order": Arm(
        "shuffled order",
        "8f: dictionary from successes whose symbols are in random order",
        _with(dictionary="shuffled_order"),
    ),
    "frozen_after_warm_up": Arm(
        "frozen after warm up",
        "8c: dictionary from the first batches, which the base wrote, frozen from then on",
        lambda config: replace(_with()(config), freeze_after=config.freeze_after),
    ),
    "length_weight_0.1": Arm("length weight 0.1", "the length penalty with lambda = 0.1", _length(weight=0.1)),
    "length_weight_0.5": Arm("length weight 0.5", "the length penalty with lambda = 0.5", _length(weight=0.5)),
    "length_weight_0.9": Arm("length weight 0.9", "the length penalty with lambda = 0.9", _length(weight=0.9)),
    "segcost_weight_0.1": Arm("SegCost weight 0.1", "segmentation cost with lambda = 0.1", _with(weight=0.1)),
    "segcost_weight_0.5": Arm("SegCost weight 0.5", "segmentation cost with lambda = 0.5", _with(weight=0.5)),
    "segcost_weight_0.9": Arm("SegCost weight 0.9", "segmentation cost with lambda = 0.9", _with(weight=0.9)),
    "cap_1": Arm(
        "cap 1", "8e: phrases of one symbol only, which must be the length penalty", _with(max_phrase_length=1)
    ),
    "cap_2": Arm("cap 2", "8e: phrases of at most 2 symbols", _with(max_phrase_length=2)),
    "cap_3": Arm("cap 3", "8e: phrases of at most 3 symbols", _with(max_phrase_length=3)),
    "cap_6": Arm("cap 6", "8e: phrases of at most 6 symbols", _with(max_phrase_length=6)),
    "grpo_no_std": Arm("grpo no std", "GRPO, advantages centred only", _with(weight=0.0, standardised=False)),
    "length_no_std": Arm("length no std", "the length penalty, advantages centred only", _length(standardised=False)),
    "segcost_no_std": Arm("SegCost no std", "segmentation cost, advantages centred only", _with(standardised=False)),
}
"""Every arm in the order of the plan: `random_dictionary` reads what `segcost` of its seed has written."""
ALL_ARMS = tuple(ARMS)
HEADLINE_ARMS = ("base", "grpo", "length", "segcost")
STRUCTURE_ARMS = ("random_dictionary", "shuffled_order")
SWEPT_WEIGHTS = (0.1, 0.5, 0.9)
CAPS = (1, 2, 3, 6)


@dataclass(frozen=True)
class ReuseConfig:
    """Every size and setting of the experiment. A profile is one value of this."""

    profile: str = "laptop"
    """Name of the profile these sizes belong to."""
    seeds: int = 8
    """Seeds, each with its own base in each environment."""
    weight: float = 0.3
    """lambda of every arm that does not say another one."""
    buffer_size: int = 1024
    """Skill strings the success buffer keeps."""
    min_corpus: int = 16
    """Successes needed before a dictionary is extracted."""
    freeze_after: int = 2
    """Batches from which `frozen_after_warm_up` takes its dictionary."""
    countdown_arms: tuple[str, ...] = HEADLINE_ARMS
    """Arms that run in countdown; none leaves it out."""
    cooking_arms: tuple[str, ...] = (*HEADLINE_ARMS, *STRUCTURE_ARMS)
    """Arms that run in cooking; none leaves it out."""
    household_arms: tuple[str, ...] = ()
    """Arms that run in the household; none leaves it out."""
    countdown: BedConfig = field(default_factory=BedConfig)
    cooking: BedConfig = field(default_factory=BedConfig)
    household: BedConfig = field(default_factory=BedConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

    def arms(self, environment: str) -> tuple[str, ...]:
        """The arms that run in an environment, in the order of the plan."""
        wanted = getattr(self, f"{environment}_arms")
        return tuple(arm for arm in ALL_ARMS if arm in wanted)

    def bed(self, environment: str) -> BedConfig:
        """The bed of an environment."""
        bed: BedConfig = getattr(self, environment)
        return bed


def settings_of(arm: str, config: ReuseConfig) -> ReuseSettings | None:
    """The settings of an arm; None for the base. Raises KeyError for an unknown arm."""
    make = ARMS[arm].settings
    return None if make is None else make(config)


def plan(config: ReuseConfig) -> tuple[RunConfig, ...]:
    """Every run of the experiment: for each seed and environment the base, then the arms trained from it.

    Raises UserError for an arm that does not exist, for arms without those that they are compared with, and for
    settings with which no claim could be examined.
    """
    _check_sizes(config)
    _check_arms(config)
    runs = []
    for seed in range(config.seeds):
        for environment in ENVIRONMENTS:
            bed = config.bed(environment)
            for arm in config.arms(environment):
                training = None if arm == "base" else bed.training
                runs.append(planned_run(KEY, config, environment, bed, arm, seed, training, settings_of(arm, config)))
    return tuple(runs)


def _check_sizes(config: ReuseConfig) -> None:
    if not 0 < config.weight < 1:
        raise UserError(f"--set weight={config.weight:g}: lambda must lie between 0 and 1, both left out")
    for name, least in (("min_corpus", 1), ("buffer_size", 0), ("freeze_after", 1)):
        value = getattr(config, name)
        if value < least:
            raise UserError(f"--set {name}={value}: must be at least {least}")


def _check_arms(config: ReuseConfig) -> None:
    for environment in ENVIRONMENTS:
        # `--set cooking_arms=` gives one empty name, for no arm.
        wanted = [arm for arm in getattr(config, f"{environment}_arms") if arm]
        setting = f"--set {environment}_arms={','.join(wanted)}"
        for arm in wanted:
            if arm not in ALL_ARMS:
                raise UserError(f"{setting}: unknown arm {arm!r}; {nearest(arm, ALL_ARMS)}")
        missing = [arm for arm in HEADLINE_ARMS if wanted and arm not in wanted]
        if missing:
            raise UserError(f"{setting}: every comparison needs {', '.join(missing)}")


BEDS: dict[str, BedConfig] = {"countdown": countdown.BED, "cooking": cooking.BED, "household": household.BED}
"""The beds as they were measured from the base alone; profiles change sizes only."""


def _tiny(bed: BedConfig, tasks: int, tasks_per_step: int) -> BedConfig:
    """A bed on which every part runs in a second or two and hardly anything succeeds; two steps of training."""
    return replace(
        bed,
        panels=PanelSizes(train=tasks, test=tasks, ood=tasks),
        policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, longest=bed.policy.longest),
        warm_start=DemonstrationConfig(steps=40, batch_size=16, demonstrations=100),
        training=replace(bed.training, epochs=2, group_size=4, questions_per_step=tasks_per_step, rounds=4),
        evaluation=HorizonEvaluation(samples=2, ood_samples=2),
    )


def _small(bed: BedConfig, panels: PanelSizes, epochs: int, tasks: int) -> BedConfig:
    """A bed that fits the laptop. panels: of a test seed that no earlier run was seen on (reports/LOG.md)."""
    return replace(bed, panels=panels, training=replace(bed.training, epochs=epochs, questions_per_step=tasks))


def _large(bed: BedConfig) -> BedConfig:
    """Twice the training, four times the tasks, the same policy."""
    sizes = bed.panels
    panels = replace(sizes, train=2 * sizes.train, test=4 * sizes.test, ood=4 * sizes.ood, test_seed=1)
    return replace(bed, panels=panels)


LAPTOP_COUNTDOWN = _small(BEDS["countdown"], PanelSizes(train=96, test=128, ood=64, test_seed=1), epochs=3, tasks=16)
# The engine takes most of the laptop's eight minutes: fewer games and smaller batches.
LAPTOP_COOKING = _small(BEDS["cooking"], PanelSizes(train=36, test=40, ood=20, test_seed=1), epochs=5, tasks=12)

# Every size of a profile that is not the bed's own stands here and nowhere else.
PROFILES = {
    "smoke": ReuseConfig(
        profile="smoke",
        seeds=2,
        min_corpus=1,
        freeze_after=1,
        countdown_arms=ALL_ARMS,
        cooking_arms=(*HEADLINE_ARMS, *STRUCTURE_ARMS),
        household_arms=HEADLINE_ARMS,
        countdown=_tiny(BEDS["countdown"], 2, 2),
        cooking=_tiny(BEDS["cooking"], 2, 2),
        # Tasks of the household count for each of its six categories.
        household=_tiny(BEDS["household"], 1, 6),
    ),
    "laptop": ReuseConfig(
        countdown=LAPTOP_COUNTDOWN,
        cooking=LAPTOP_COOKING,
        household=BEDS["household"],
    ),
    "gpu": ReuseConfig(
        profile="gpu",
        countdown=on_one_gpu(LAPTOP_COUNTDOWN),
        cooking=on_one_gpu(LAPTOP_COOKING),
        household=on_one_gpu(BEDS["household"]),
        hardware=ONE_GPU,
    ),
    "full": ReuseConfig(
        profile="full",
        seeds=10,
        countdown_arms=ALL_ARMS,
        cooking_arms=ALL_ARMS,
        household_arms=ALL_ARMS,
        countdown=_large(BEDS["countdown"]),
        cooking=_large(BEDS["cooking"]),
        household=_large(BEDS["household"]),
    ),
    "paper": paper_profile(KEY, ReuseConfig(**BEDS)),  # type: ignore[arg-type]
}
