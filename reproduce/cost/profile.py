"""The profiles `paper` and `gpu`: a paper's laptop profile at the paper's own scale, and on one GPU.

The policy of `gpu` is a decoder of 85 M parameters in matrix products, the shape of GPT-2 small, from scratch on the
same words, tasks, demonstrations and claims. What its size calls for is ours and common use, not measured: an initial
standard deviation of .02, a fifth of the tiny policies' learning rates. Loads no model code.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from reproduce.core.config import (
    BedConfig,
    DemonstrationConfig,
    HardwareConfig,
    PolicyConfig,
    TrainingConfig,
    WarmStartConfig,
)
from reproduce.core.validation import with_value
from reproduce.cost.paper_scale import PaperScale, PaperScaleError, Value, load_paper_scale

Configuration = TypeVar("Configuration")
"""The dataclass of a paper's configuration."""
Part = TypeVar("Part", TrainingConfig, WarmStartConfig, DemonstrationConfig)
PAPER = "paper"
"""Name of the profile."""


def paper_profile(paper: str, base: Configuration) -> Configuration:
    """`base` with the model, the folders of data, the values and the arguments of the paper's file.

    Raises PaperScaleError for a field that does not exist or does not take the value.
    """
    scale = load_paper_scale(paper)
    config: Any = replace(base, profile=PAPER)  # type: ignore[type-var]
    chosen: dict[str, Value] = {"model.name": scale.policy.name}
    chosen |= {entry.setting: entry.folder for entry in scale.data if entry.setting}
    chosen |= {path: value.effective for value in scale.values for path in value.setting}
    for path, value in chosen.items():
        try:
            config = with_value(config, path, value)
        except ValueError as error:
            raise PaperScaleError(f"{paper}.toml: {error}") from None
    found: Configuration = _with_arguments(config, training_arguments(scale))
    return found


def training_arguments(scale: PaperScale) -> tuple[str, ...]:
    """Entries of `TrainingConfig.arguments`: name=value, the value as JSON unless it is text."""
    return tuple(
        f"{entry.argument}={entry.effective if isinstance(entry.effective, str) else json.dumps(entry.effective)}"
        for entry in scale.values
        if entry.argument
    )


def _with_arguments(config: Any, arguments: tuple[str, ...]) -> Any:
    """Every training of the configuration with these arguments of TRL."""
    changed = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, TrainingConfig):
            changed[item.name] = replace(value, arguments=arguments)
        elif is_dataclass(value):
            changed[item.name] = _with_arguments(value, arguments)
    return replace(config, **changed) if changed else config


# ---- One GPU

ONE_GPU = HardwareConfig(device="cuda")
SLOWER = 5
"""Divisor of the learning rates: 260 times the parameters of the largest tiny policy."""
TASKS_AT_ONCE = 128
"""Tasks sampled in one batch of the evaluation."""


def larger_policy(policy: PolicyConfig) -> PolicyConfig:
    """The 85 M-parameter decoder; the narrow first layer and the context length stay, since the task needs them."""
    return replace(policy, layers=12, width=768, heads=12, feed_forward=2048, initial_deviation=0.02)


def slower(part: Part) -> Part:
    """The same training or warm start at a smaller learning rate."""
    return replace(part, learning_rate=part.learning_rate / SLOWER)


def on_one_gpu(bed: BedConfig) -> BedConfig:
    """A testbed one scale up."""
    return replace(
        bed,
        policy=larger_policy(bed.policy),
        warm_start=slower(bed.warm_start),
        training=slower(bed.training),
        evaluation=replace(bed.evaluation, tasks_at_once=TASKS_AT_ONCE),
    )
