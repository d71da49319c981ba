"""Runs of an experiment: the one way in which they are put together, and a configuration for a paper with one bed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reproduce.core.config import BedConfig, HardwareConfig, ModelConfig, RunConfig, TrainingConfig
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.core.paper import Arm


def planned_run(
    key: str,
    config: Any,
    environment: str,
    bed: BedConfig,
    arm: str,
    seed: int,
    training: TrainingConfig | None = None,
    method: Any = None,
) -> RunConfig:
    """One run of a paper: everything that its arms share comes from configuration and bed.

    config: the paper's, with `profile`, `model` and `hardware`. training: None for a policy that is only evaluated.
    """
    return RunConfig(
        paper=key,
        profile=config.profile,
        environment=environment,
        arm=arm,
        seed=seed,
        panels=bed.panels,
        policy=bed.policy,
        warm_start=bed.warm_start,
        training=training,
        sampling=bed.sampling,
        evaluation=bed.evaluation,
        rounds=bed.training.rounds,
        method=method,
        model=config.model,
        hardware=config.hardware,
    )


@dataclass(frozen=True)
class StudyConfig:
    """Sizes of a paper that trains its arms in one environment. A profile is one value of this."""

    profile: str
    """Name of the profile these sizes belong to."""
    bed: BedConfig
    """Tasks, policy, warm start, training, sampling, evaluation."""
    environment: str = "reasoning"
    """Name of the environment, whose bed this is."""
    seeds: int = 8
    """Seeds, each with its own base."""
    arms: tuple[str, ...] = ()
    """Trained arms, in the order of their runs; empty: every one."""
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


def plan_study(key: str, arms: Mapping[str, Arm]) -> Callable[[StudyConfig], tuple[RunConfig, ...]]:
    """The plan of a paper with one bed: for each seed the first arm, which is only evaluated, then those trained from
    it. The plan raises UserError for an arm that does not exist."""
    base, *trained = arms

    def plan(config: StudyConfig) -> tuple[RunConfig, ...]:
        for arm in config.arms:
            if arm not in trained:
                raise UserError(f"--set arms={','.join(config.arms)}: unknown arm {arm!r}; {nearest(arm, trained)}")
        runs = []
        for seed in range(config.seeds):
            runs.append(planned_run(key, config, config.environment, config.bed, base, seed))
            for arm in config.arms or trained:
                method = arms[arm].settings
                runs.append(
                    planned_run(key, config, config.environment, config.bed, arm, seed, config.bed.training, method)
                )
        return tuple(runs)

    return plan
