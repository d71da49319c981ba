"""The experiment on RRPO and SRPO: sizes, runs, and the settings that it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reproduce.claims.verdicts import HEADLINES_ONLY
from reproduce.core.config import (
    TRANSFORMERS,
    BedConfig,
    DemonstrationConfig,
    HardwareConfig,
    HorizonEvaluation,
    ModelConfig,
    PanelSizes,
    PolicyConfig,
    RunConfig,
    SamplingConfig,
)
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.cost.profile import ONE_GPU, on_one_gpu, paper_profile
from reproduce.environments.beds import task_counts
from reproduce.environments.reasoning import DECISIVE
from reproduce.environments.reasoning.bed import BED, OOD_TIERS, TIERS
from reproduce.papers.resets.arms import ARMS, LAPTOP, LOCALIZER, PUBLISHED, TRAINED_ARMS, WITH_ORACLE, needs_oracle
from reproduce.papers.resets.measures import CATEGORIES, ENVIRONMENT
from reproduce.plan.study import planned_run

KEY = "resets"
TEST_SEED = 1
"""Of the test panels: the tasks of seed 0 were answered while sizes were chosen (reports/LOG.md)."""
LAPTOP_BED = replace(
    BED,
    panels=PanelSizes(train=48, test=64, ood=8, test_seed=TEST_SEED, categories=CATEGORIES, ood_categories=("longer",)),
    training=replace(BED.training, epochs=6, questions_per_step=16, save_every=1000),
    evaluation=HorizonEvaluation(samples=8, ood_samples=4, tasks_at_once=64),
)


@dataclass(frozen=True)
class ResetsConfig:
    """Every size of the experiment. A profile is one value of this."""

    profile: str = "laptop"
    """Name of the profile these sizes belong to."""
    seeds: int = 8
    """Seeds, each with its own base."""
    arms: tuple[str, ...] = LAPTOP
    """Trained arms, in the order of their runs: `position_control` reads the run of `srpo_oracle`."""
    probe_tasks: int = 16
    """Decisive chains of each coverage on which the base of each seed is probed."""
    labelled_steps: int = 5
    """Training steps whose failed chains `srpo_learned` labels by resampling, before it is fitted."""
    updates: int = 0
    """Optimiser steps on each batch of every arm (paper: 4); 0: what the arm says."""
    localizer: SamplingConfig = field(default_factory=lambda: LOCALIZER)
    """How the policy answers when it is asked for its first error."""
    reasoning: BedConfig = field(default_factory=lambda: LAPTOP_BED)
    """Chains of arithmetic, or the questions of a data set."""
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


FULL_BED = replace(
    BED,
    panels=PanelSizes(train=64, test=128, ood=64, test_seed=TEST_SEED, categories=CATEGORIES),
    training=replace(BED.training, epochs=12, questions_per_step=16, save_every=50),
    evaluation=HorizonEvaluation(samples=16, ood_samples=16),
)
SMOKE_BED = replace(
    BED,
    panels=PanelSizes(train=2, test=2, ood=2, categories=CATEGORIES),
    policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, window=4),
    warm_start=DemonstrationConfig(steps=60, batch_size=16, demonstrations=200),
    training=replace(BED.training, epochs=3, questions_per_step=4, save_every=100),
    sampling=replace(BED.sampling, longest_action=32),
    evaluation=HorizonEvaluation(samples=2, ood_samples=2),
)
PROFILES: dict[str, ResetsConfig] = {
    "laptop": ResetsConfig(),
    "full": ResetsConfig(profile="full", seeds=20, arms=WITH_ORACLE, probe_tasks=64, reasoning=FULL_BED),
    "gpu": ResetsConfig(profile="gpu", reasoning=on_one_gpu(LAPTOP_BED), hardware=ONE_GPU),
    "smoke": ResetsConfig(
        profile="smoke", seeds=2, arms=WITH_ORACLE, probe_tasks=2, labelled_steps=1, reasoning=SMOKE_BED
    ),
}
PROFILES["paper"] = paper_profile(KEY, PROFILES["laptop"])
"""All sizes are here, those of the paper in its file of paper scale."""


def plan(config: ResetsConfig) -> tuple[RunConfig, ...]:
    """Every run of the experiment: for each seed the base, then the arms trained from it.

    Raises UserError for settings that cannot be run or judged.
    """
    check_settings(config)
    bed, runs = config.reasoning, []
    for seed in range(config.seeds):
        base = planned_run(KEY, config, ENVIRONMENT, bed, "base", seed)
        runs.append(base)
        for arm in config.arms:
            method = replace(ARMS[arm].settings, labelled_steps=config.labelled_steps, localizer=config.localizer)
            if config.updates:
                method = replace(method, updates=config.updates)
            # Decisive chains are generated, and have an oracle.
            if arm == "rrpo" and not bed.panels.source:
                method = replace(method, probe_tasks=config.probe_tasks)
            runs.append(replace(base, arm=arm, training=bed.training, method=method))
    return tuple(runs)


# ---- Settings that cannot be run or judged are refused before anything starts.

CHAINS_OF_A_PROMPT = 8
"""Trained chains of a prompt in every split."""
OPTIONAL = ("srpo_early", "srpo_late", "restart", "segment_values")
"""Arms that no claim needs."""
KNOWN = (*(tier.name for tier in TIERS), *(f"decisive-{decisive}-of-{steps}" for decisive, steps in DECISIVE))
KNOWN_OOD = tuple(tier.name for tier in OOD_TIERS)


def check_settings(config: ResetsConfig) -> None:
    """Raises UserError in one line."""
    _check_arms(config)
    if not config.reasoning.panels.source:
        _check_generated(config)
    training = config.reasoning.training
    if training.group_size != CHAINS_OF_A_PROMPT:
        raise UserError(
            f"--set reasoning.training.group_size={training.group_size}: must be {CHAINS_OF_A_PROMPT}, the chains of a "
            "prompt in every split"
        )
    for name in ("probe_tasks", "labelled_steps"):
        if getattr(config, name) < 1:
            raise UserError(f"--set {name}={getattr(config, name)}: must be at least 1")
    rows = training.questions_per_step * training.group_size
    if config.updates < 0 or (config.updates and rows % config.updates):
        raise UserError(
            f"--set updates={config.updates}: must divide a batch of {rows} chains; 0 for what the arm says"
        )
    if "srpo_learned" in config.arms:
        tasks = task_counts(ENVIRONMENT, config.reasoning.panels)["train"]
        steps = training.epochs * tasks // training.questions_per_step
        if config.labelled_steps >= steps:
            raise UserError(
                f"--set labelled_steps={config.labelled_steps}: must be below the {steps} steps of a training, the "
                "localizer is used after them"
            )


def _check_generated(config: ResetsConfig) -> None:
    """Categories of generated tasks; a data set has its own."""
    _check_categories("categories", config.reasoning.panels.categories, KNOWN)
    _check_categories("ood_categories", config.reasoning.panels.ood_categories, KNOWN_OOD)
    missing = [name for name in CATEGORIES if name not in config.reasoning.panels.categories]
    if missing:
        raise UserError(f"--set reasoning.panels.categories: every comparison needs {', '.join(missing)}")


def _check_arms(config: ResetsConfig) -> None:
    # `--set arms=` gives one empty name, for no arm.
    arms = [arm for arm in config.arms if arm]
    setting = f"--set arms={','.join(arms)}"
    for arm in arms:
        if arm not in TRAINED_ARMS:
            raise UserError(f"{setting}: unknown arm {arm!r}; {nearest(arm, TRAINED_ARMS)}")
    if twice := [arm for arm in TRAINED_ARMS if arms.count(arm) > 1]:
        raise UserError(f"{setting}: {', '.join(twice)} is there twice")
    if config.reasoning.panels.source:
        if blind := [arm for arm in arms if needs_oracle(arm)]:
            raise UserError(
                f"{setting}: {', '.join(blind)} cannot run on {config.reasoning.panels.source}, which does not say "
                f"where a solution goes wrong; arms without such an oracle: {', '.join(PUBLISHED)}"
            )
    elif missing := [arm for arm in _needed(config.profile) if arm not in arms]:
        raise UserError(f"{setting}: the comparisons of this profile need {', '.join(missing)}")
    if not config.model.name and (asked := [arm for arm in arms if ARMS[arm].settings.rule == "asked"]):
        raise UserError(
            f"{setting}: {', '.join(asked)} asks the policy in plain language, which policies made here cannot read; "
            "name a checkpoint with --set model.name="
        )
    reading = [arm for arm in arms if ARMS[arm].reads_entropies]
    if reading and config.hardware.training_engine != TRANSFORMERS:
        raise UserError(
            f"{setting}: {', '.join(reading)} reads entropies, which vLLM does not tell; set "
            f"hardware.training_engine={TRANSFORMERS}"
        )
    for arm in arms:
        source = ARMS[arm].settings.source
        if source and arms.index(source) > arms.index(arm):
            raise UserError(f"{setting}: {arm} must come after {source}, whose positions it reads")


def _needed(profile: str) -> tuple[str, ...]:
    """The arms that the claims of a profile compare on generated tasks; those of `paper` are the paper's own."""
    if profile == "paper":
        return PUBLISHED[:3]
    return LAPTOP if profile in HEADLINES_ONLY else tuple(arm for arm in WITH_ORACLE if arm not in OPTIONAL)


def _check_categories(name: str, categories: Sequence[str], known: tuple[str, ...]) -> None:
    for category in categories:
        if category not in known:
            raise UserError(
                f"--set reasoning.panels.{name}={','.join(categories)}: unknown category {category!r}; "
                f"{nearest(category, known)}"
            )
    if twice := [category for category in known if list(categories).count(category) > 1]:
        raise UserError(f"--set reasoning.panels.{name}={','.join(categories)}: {', '.join(twice)} is there twice")
