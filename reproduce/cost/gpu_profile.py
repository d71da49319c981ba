"""The profile `gpu`: what the laptop's beds become on one GPU.

The policy is a decoder of 85 M parameters in matrix products, the shape of GPT-2 small, from scratch on the same words,
tasks, demonstrations and claims; `--model` puts a checkpoint in its place. What its size calls for is ours and common
use, not measured: initial deviation .02, a fifth of the tiny policies' learning rates.
"""

from __future__ import annotations

from dataclasses import replace

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    HardwareConfig,
    PolicyConfig,
    TrainingConfig,
    WarmStartConfig,
)

ONE_GPU = HardwareConfig(device="cuda")
SLOWER = 5
"""By what the learning rates are divided: 260 times the parameters of the largest tiny policy."""
TASKS_AT_ONCE = 128
"""Tasks sampled in one batch of the evaluation."""


def larger_policy(policy: PolicyConfig) -> PolicyConfig:
    """The 85 M-parameter decoder; the narrow first layer and the positions stay, since the task needs them."""
    return replace(policy, layers=12, width=768, heads=12, feed_forward=2048, initial_deviation=0.02)


def slower_training(training: TrainingConfig) -> TrainingConfig:
    """The same training at a smaller learning rate."""
    return replace(training, learning_rate=training.learning_rate / SLOWER)


def slower_warm_start(config: WarmStartConfig) -> WarmStartConfig:
    """The same warm start at a smaller learning rate."""
    return replace(config, learning_rate=config.learning_rate / SLOWER)


def on_one_gpu(bed: BedConfig) -> BedConfig:
    """A bed one scale up."""
    start: DemonstrationConfig = bed.warm_start
    return replace(
        bed,
        policy=larger_policy(bed.policy),
        warm_start=replace(start, learning_rate=start.learning_rate / SLOWER),
        training=slower_training(bed.training),
        evaluation=replace(bed.evaluation, tasks_at_once=TASKS_AT_ONCE),
    )
