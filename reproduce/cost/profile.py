"""The profile `paper` of a paper: its configuration with what its file of paper scale says. Loads no model code."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from reproduce.core.config import TrainingConfig
from reproduce.core.validation import with_value
from reproduce.cost.paper_scale import PaperScale, PaperScaleError, Value, load_paper_scale

Configuration = TypeVar("Configuration")
"""The dataclass of a paper's configuration."""
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
    """What `TrainingConfig.arguments` gets: name=value, the value as JSON unless it is text."""
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
