"""The configuration of a run, read back from its `config.json`: every field must be there, known, and of its type."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, cast

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, digest, read_json
from reproduce.core.paper import load_paper, paper_keys


def read_run(path: Path) -> RunConfig:
    """The run whose `asdict` was written to the file. Raises UserError naming file and field where it is another."""
    content = read_json(path)
    try:
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        method = content.get("method")
        run = cast(RunConfig, _dataclass(RunConfig, {**content, "method": None}, ""))
        if method is not None:
            object.__setattr__(run, "method", _dataclass(_settings_of(run.paper), method, "method."))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if digest(asdict(run)) != digest(content):
        raise UserError(f"{path}: is not what this version writes for the same run")
    return run


def _settings_of(paper: str) -> type:
    """The dataclass of the settings of a paper's methods."""
    if paper not in paper_keys():
        raise ValueError(f"paper: unknown, {paper!r}")
    settings = load_paper(paper).settings
    if settings is None:
        raise ValueError(f"method: {paper} has none")
    return settings


def _dataclass(kind: type, content: Any, path: str) -> Any:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.rstrip('.') or 'file'}: expected an object")
    names = {item.name for item in fields(kind)}
    for word, odd in (("unknown", set(content) - names), ("missing", names - set(content))):
        if odd:
            raise ValueError(f"{path}{min(odd)}: {word}")
    kinds = typing.get_type_hints(kind)
    return kind(**{name: _value(kinds[name], content[name], f"{path}{name}") for name in names})


def _value(kind: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any and value is None:
        return None
    if is_dataclass(kind):
        return _dataclass(cast(type, kind), value, f"{path}.")
    if origin in (types.UnionType, typing.Union):
        return _of_union(typing.get_args(kind), value, path)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(kind)[0], one, f"{path}[{place}]") for place, one in enumerate(value))
    if origin is Literal and value in typing.get_args(kind):
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if kind in (int, str, bool, types.NoneType) and type(value) is kind:
        return value
    raise ValueError(f"{path}: {value!r} is of another type")


def _of_union(members: tuple[Any, ...], value: Any, path: str) -> Any:
    """Of dataclasses the one with these fields, else the first member that the value is of."""
    if isinstance(value, Mapping):
        for member in members:
            if is_dataclass(member) and {item.name for item in fields(member)} == set(value):
                return _dataclass(cast(type, member), value, f"{path}.")
        raise ValueError(f"{path}: its fields are those of nothing known")
    for member in members:
        try:
            return _value(member, value, path)
        except ValueError:
            continue
    raise ValueError(f"{path}: {value!r} is of another type")
