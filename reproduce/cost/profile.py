"""The profile `paper` of a paper: its configuration with what its file of paper scale says. Loads no model code."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from reproduce.core.config import TrainingConfig
from reproduce.core.names import nearest
from reproduce.cost.paper_scale import PaperScale, PaperScaleError, Value, load_paper_scale

Configuration = TypeVar("Configuration")
"""The dataclass of a paper's configuration."""
PAPER = "paper"
"""Name of the profile."""


def paper_profile(paper: str, base: Configuration) -> Configuration:
    """`base` with the model, the folders of data, the values and the arguments of the paper's file.

    Raises PaperScaleError for a field that does not exist or takes a value of another type.
    """
    scale = load_paper_scale(paper)
    config: Any = replace(base, profile=PAPER)  # type: ignore[type-var]
    chosen: dict[str, Value] = {"model.name": scale.policy.name}
    chosen |= {entry.setting: entry.folder for entry in scale.data if entry.setting}
    chosen |= {path: value.effective for value in scale.values for path in value.setting}
    for path, value in chosen.items():
        config = with_field(config, path, value, f"{paper}.toml, {path}")
    found: Configuration = _with_arguments(config, training_arguments(scale))
    return found


def training_arguments(scale: PaperScale) -> tuple[str, ...]:
    """What `TrainingConfig.arguments` gets: name=value, the value as JSON unless it is text."""
    return tuple(
        f"{entry.argument}={entry.effective if isinstance(entry.effective, str) else json.dumps(entry.effective)}"
        for entry in scale.values
        if entry.argument
    )


def with_field(config: Any, path: str, value: Value, place: str) -> Any:
    """`config` with one dotted field changed. place: for errors. Raises PaperScaleError."""
    name, _, rest = path.partition(".")
    known = [item.name for item in fields(config)]
    if name not in known:
        raise PaperScaleError(f"{place}: no field {name!r}; {nearest(name, known)}")
    current = getattr(config, name)
    if rest:
        if not is_dataclass(current):
            raise PaperScaleError(f"{place}: {name} has no fields")
        return replace(config, **{name: with_field(current, rest, value, place)})
    if isinstance(current, float) and type(value) is int:
        value = float(value)
    if is_dataclass(current) or type(value) is not type(current):
        raise PaperScaleError(f"{place}: {value!r} is no {type(current).__name__}")
    return replace(config, **{name: value})


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
