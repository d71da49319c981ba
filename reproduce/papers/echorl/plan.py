"""The plan of EchoRL's experiment: which runs, in which order, and the settings that it refuses."""

from __future__ import annotations

from dataclasses import replace

from reproduce.claims.verdicts import HEADLINES_ONLY
from reproduce.core.config import BedConfig, RunConfig, TrainingConfig
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.papers.echorl.experiment import (
    ARMS,
    COUNTDOWN_NEEDS,
    EVERY_ARM,
    FEWEST_ANALYSIS_GROUPS,
    KEY,
    LAPTOP_NEEDS,
    REASONING_ONLY,
    RIVALS,
    EchoRLConfig,
)
from reproduce.plan.study import planned_run


def plan(config: EchoRLConfig) -> tuple[RunConfig, ...]:
    """Every run: for each seed and environment the base, then the arms trained from it.

    Raises UserError for sizes and arms with which the claims of the profile could not be examined.
    """
    source = config.reasoning.panels.source
    _check_sizes(config)
    _check_batches(config)
    runs = []
    for seed in range(config.seeds):
        for environment, bed, arms in (
            ("reasoning", config.reasoning, config.reasoning_arms),
            ("countdown", config.countdown, config.countdown_arms),
        ):
            # `--set countdown_arms=` is one empty name: no arm.
            arms = tuple(arm for arm in arms if arm)
            _check_arms(config.profile, environment, arms, source if environment == "reasoning" else "")
            if config.hardware.processes > 1 and (alone := [arm for arm in arms if ARMS[arm].resamples]):
                raise UserError(
                    f"--set hardware.processes={config.hardware.processes}: {', '.join(alone)} draws more until a "
                    "batch is full, which several processes would do each by itself; leave it out or set 1"
                )
            runs += [_run(config, environment, bed, arm, seed) for arm in ("base", *arms) if arms]
    return tuple(runs)


def _check_sizes(config: EchoRLConfig) -> None:
    if config.frozen_epochs < 1:
        raise UserError(f"--set frozen_epochs={config.frozen_epochs}: must be at least 1")
    if (config.model.name or config.reasoning.panels.source) and (config.analysis_groups or config.analysis_solutions):
        raise UserError(
            "--set analysis_groups=0 analysis_solutions=0: these analyses read generated solutions in the words of "
            "policies made here"
        )
    fewest = {"analysis_groups": FEWEST_ANALYSIS_GROUPS, "analysis_solutions": 1}
    for name, least in fewest.items():
        value = getattr(config, name)
        if value >= least or (value == 0 and (config.profile in HEADLINES_ONLY or config.model.name)):
            continue
        none = (
            ", or 0 for no such analysis" if config.profile in HEADLINES_ONLY else f" in the profile {config.profile}"
        )
        raise UserError(f"--set {name}={value}: must be at least {least}{none}")


def _check_batches(config: EchoRLConfig) -> None:
    rows = config.reasoning.training.questions_per_step * config.reasoning.training.group_size
    if config.updates < 1 or rows % config.updates:
        raise UserError(f"--set updates={config.updates}: must divide a batch of {rows} episodes")
    if any(token < 0 for token in config.newline_token_ids):
        raise UserError(f"--set newline_token_ids={','.join(map(str, config.newline_token_ids))}: must not be negative")


def _check_arms(profile: str, environment: str, arms: tuple[str, ...], source: str = "") -> None:
    """Refuse what cannot run, and a plan without an arm that a claim of the profile compares."""
    setting = f"--set {environment}_arms={','.join(arms)}"
    for place, arm in enumerate(arms):
        if arm not in EVERY_ARM:
            raise UserError(f"{setting}: unknown arm {arm!r}; {nearest(arm, EVERY_ARM)}")
        if arm in arms[:place]:
            raise UserError(f"{setting}: {arm} is there twice")
        if environment == "countdown" and arm in REASONING_ONLY:
            raise UserError(f"{setting}: {arm} runs in reasoning only")
    if source:
        needed: tuple[str, ...] = COUNTDOWN_NEEDS
    elif environment == "countdown":
        needed = COUNTDOWN_NEEDS if arms else ()
    elif profile == "paper":
        needed = COUNTDOWN_NEEDS
    elif profile in HEADLINES_ONLY:
        needed = LAPTOP_NEEDS
    else:
        needed = (*LAPTOP_NEEDS, *RIVALS[1:], "grpo_demonstrations", "echo_demonstrations")
    missing = [arm for arm in needed if arm not in arms]
    if missing:
        raise UserError(f"{setting}: the claims of the profile {profile} need {', '.join(missing)}")


def _run(config: EchoRLConfig, environment: str, bed: BedConfig, arm: str, seed: int) -> RunConfig:
    settings = ARMS[arm].settings
    training: TrainingConfig | None = None
    if settings is not None:
        training = _regrouped(bed.training, settings.group_size)
        settings = replace(settings, updates=config.updates, newline_token_ids=config.newline_token_ids)
        if settings.frozen:
            training = replace(training, epochs=config.frozen_epochs)
            settings = replace(
                settings, analysis_groups=config.analysis_groups, analysis_solutions=config.analysis_solutions
            )
    return planned_run(KEY, config, environment, bed, arm, seed, training, settings)


def _regrouped(training: TrainingConfig, size: int | None) -> TrainingConfig:
    """The same episodes a step and the same number of steps in groups of another size, as nearly as numbers allow."""
    if size is None or size == training.group_size:
        return training
    if size < training.group_size:
        times = training.group_size // size
        return replace(
            training,
            group_size=size,
            questions_per_step=training.questions_per_step * times,
            epochs=training.epochs * times,
        )
    times = size // training.group_size
    return replace(
        training,
        group_size=size,
        questions_per_step=max(1, training.questions_per_step // times),
        epochs=max(1, training.epochs // times),
    )
