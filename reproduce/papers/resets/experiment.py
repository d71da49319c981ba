"""Sizes of the experiment on resets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reproduce.core.config import (
    BedConfig,
    HardwareConfig,
    HorizonEvaluation,
    ModelConfig,
    PanelSizes,
    SamplingConfig,
)
from reproduce.environments.reasoning.bed import BED
from reproduce.papers.resets.measures import CATEGORIES
from reproduce.papers.resets.settings import LAPTOP, LOCALIZER

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
