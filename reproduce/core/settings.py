"""The configuration of a whole experiment, and how a user changes fields of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args

import docstring_parser

from reproduce.core.config import (
    EvaluationConfig,
    HardwareConfig,
    ModelConfig,
    PanelConfig,
    PolicyConfig,
    SamplingConfig,
    Seeds,
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
    seeds: Seeds = 8
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
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r}: expected field=value")
        if name not in known:
            raise UserError(f"--set {setting!r}: unknown field {name!r}; {nearest(name, known)}")
        config = _with_text(config, name, text)
    return config


def _with_text(config: Configuration, path: str, text: str) -> Configuration:
    """The configuration with one field as a user wrote it."""
    from reproduce.core.validation import field_type, with_value

    *above, name = path.split(".")
    part: Any = config
    for step in above:
        part = getattr(part, step)
    kind: Any = field_type(type(part), name)
    value: Any = text
    if isinstance(getattr(part, name), tuple):
        # Nothing after the equals sign is no entry of a list.
        value = text.split(",") if text else []
    elif text == "None" and type(None) in get_args(kind):
        value = None
    try:
        return with_value(config, path, value, strict=False)
    except ValueError as error:
        raise UserError(f"--set {path}={text}: {str(error).replace(f'{path} = {value!r} ', f'{path} ')}") from None


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
