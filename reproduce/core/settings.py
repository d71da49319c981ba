"""The configuration of a whole experiment, and how a user changes fields of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import docstring_parser
import tyro

from reproduce.core.config import (
    EvaluationConfig,
    HardwareConfig,
    ModelConfig,
    PanelConfig,
    PolicyConfig,
    SamplingConfig,
    TrainingConfig,
    WarmStartConfig,
)
from reproduce.core.files import UserError
from reproduce.core.names import nearest


@dataclass(frozen=True)
class ExperimentConfig:
    """Every size and setting of an experiment. A profile is one value of this."""

    profile: str = "laptop"
    """Name of the profile these sizes belong to."""
    seeds: int = 8
    """Seeds, each with its own base. Eight is the fewest with which an exact one-sided sign-flip over seeds, whose
    smallest p is 1/256, can survive Holm's correction over eight claims."""
    panels: PanelConfig = field(default_factory=PanelConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


Configuration = TypeVar("Configuration")
"""The dataclass of a paper's configuration, with fields `profile` and `seeds`."""


def field_paths(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all settable fields."""
    paths = []
    for item in fields(config):
        value = getattr(config, item.name)
        paths += field_paths(value, f"{prefix}{item.name}.") if is_dataclass(value) else [prefix + item.name]
    return [path for path in paths if path != "profile"]


def with_settings(config: Configuration, settings: Sequence[str]) -> Configuration:
    """Apply `field=value` settings. Raises UserError for an unknown field (with the nearest one) or a bad value."""
    known = field_paths(config)
    changed = config
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r}: expected field=value")
        if name not in known:
            raise UserError(f"--set {setting!r}: unknown field {name!r}; {nearest(name, known)}")
        # Nothing after the equals sign is no entry of a list, and of text the empty one.
        entries = value.split(",") if value or not isinstance(_value_at(config, name), tuple) else []
        arguments = [f"--{name.replace('_', '-')}", *entries]
        try:
            # tyro prints several lines for a bad value; the one-line message below replaces them.
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                changed = tyro.cli(type(config), args=arguments, default=changed, config=(tyro.conf.FlagConversionOff,))
        except SystemExit:
            raise UserError(f"--set {setting}: {name} must be {_wanted(config, name)}") from None
    return replace(changed, profile=config.profile)  # type: ignore[type-var, attr-defined]


def _value_at(config: Any, path: str) -> Any:
    """The value of a dotted field."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _wanted(config: Any, path: str) -> str:
    """What a field takes, in words."""
    value = _value_at(config, path)
    words = {bool: "True or False", int: "a whole number", float: "a number"}
    if isinstance(value, tuple):
        if value and isinstance(value[0], int):
            return "whole numbers with commas between them"
        return "numbers with commas between" if value and isinstance(value[0], float) else "names with commas between"
    return words.get(type(value), "of another type")


def field_table(config: Any, prefix: str = "") -> list[tuple[str, str, str]]:
    """Name, default and description of every settable field, from the docstrings under the fields."""
    rows = []
    parameters = docstring_parser.parse_from_object(type(config)).params
    descriptions = {parameter.arg_name: " ".join((parameter.description or "").split()) for parameter in parameters}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            rows += field_table(value, f"{prefix}{item.name}.")
        elif item.name != "profile":
            rows.append((prefix + item.name, _shown(value), descriptions.get(item.name, "")))
    return rows


def _shown(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
