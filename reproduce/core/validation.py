"""Values from files and from the command line, held by pydantic against the dataclasses that they become."""

from __future__ import annotations

import json
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reproduce.core.names import nearest

Kind = TypeVar("Kind")

_TYPES = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "tuple": "must be a list",
    "dict": "must be a table",
    "mapping": "must be a table",
    "dataclass": "must be a table",
    "finite": "must be a finite number",
}
"""Words for an error, by the first word of its type in pydantic."""
_BOUNDS = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}
_SYNONYMS = {"gpu": "cuda", "fp32": "float32", "bf16": "bfloat16"}


def parse(kind: type[Kind], content: Any, name: str = "", strict: bool = True) -> Kind:
    """A dataclass, or a value of any other type, of what JSON or TOML gave.

    name: of the field that the value is for. strict: take for a number only what is one, not text that looks like one.
    Raises ValueError, in one line, with the name of the field, the value, and its bound or the nearest name.
    """
    try:
        found: Kind = _adapter(kind).validate_json(json.dumps(content), strict=strict, extra="forbid")
    except ValidationError as error:
        raise ValueError(_complaint(kind, name, error)) from None
    return found


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a type; that of a dataclass, which takes milliseconds to build, is kept."""
    return _kept_adapter(kind) if isinstance(kind, type) and is_dataclass(kind) else TypeAdapter(kind)


@cache
def _kept_adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def with_value(config: Kind, path: str, value: Any, strict: bool = True) -> Kind:
    """A configuration with another value of one dotted field. Raises ValueError as `parse` does."""
    return _with_value(config, "", path, value, strict)


def _with_value(config: Kind, above: str, path: str, value: Any, strict: bool) -> Kind:
    name, _, rest = path.partition(".")
    known = [item.name for item in fields(config)]  # type: ignore[arg-type]
    if name not in known:
        raise ValueError(f"unknown field {above + name!r}; {nearest(name, known)}")
    current: Any = getattr(config, name)
    if not rest:
        current = parse(field_type(type(config), name), value, above + name, strict)
    elif is_dataclass(current):
        current = _with_value(current, f"{above}{name}.", rest, value, strict)
    else:
        raise ValueError(f"{above}{name} has no fields")
    return replace(config, **{name: current})  # type: ignore[type-var]


def field_type(kind: type, name: str) -> Any:
    """The type of a dataclass's field, with its bounds."""
    return _types(kind)[name]


@cache
def _types(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by their names in a file."""
    hints = typing.get_type_hints(kind, include_extras=True)
    aliases = {name: getattr(part, "alias", None) for name, hint in hints.items() for part in typing.get_args(hint)[1:]}
    return {aliases.get(name) or name: hint for name, hint in hints.items()}


def _complaint(kind: Any, name: str, error: ValidationError) -> str:
    """The first problem in one line; of several alternatives the one that fits best."""
    problems = [(*_place(kind, name, problem["loc"]), problem) for problem in error.errors(include_url=False)]
    lacks = Counter(alternative for _, _, alternative, _ in problems)
    path, owner, _, problem = min(problems, key=lambda found: lacks[found[2]])
    sort, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if sort == "missing":
        return f"missing field {path}"
    if sort == "unexpected_keyword_argument":
        return f"unknown field {path!r}; {nearest(path.rpartition('.')[2], list(_types(owner)))}"
    shown = f"{path} = {value!r}"
    if sort == "literal_error":
        known = re.findall("'(.*?)'", context["expected"])
        return f"{shown} is unknown; {nearest(_SYNONYMS.get(value, value), known)}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"{shown} must be {words} {context[bound]:,g}"
    return f"{shown} {_TYPES.get(sort.partition('_')[0], problem['msg'])}"


def _place(kind: Any, path: str, location: tuple[int | str, ...]) -> tuple[str, Any, str]:
    """The dotted path of a problem, the type that the last name of it belongs to, and the alternative of a union that
    was tried."""
    owner, alternative = kind, ""
    for part in location:
        while typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        members = typing.get_args(kind)
        if is_dataclass(kind):
            owner, path = kind, f"{path}.{part}".removeprefix(".")
            kind = _types(typing.cast(type, kind)).get(str(part))
        elif typing.get_origin(kind) in (types.UnionType, typing.Union):
            alternative = str(part)
            kind = next((member for member in members if getattr(member, "__name__", "") == part), None)
        elif isinstance(part, int):
            path, kind = f"{path}[{part}]", members[0] if members else None
        elif typing.get_origin(kind) in (dict, Mapping):
            path, kind = f"{path}.{part}", members[1]
    return path, owner, alternative
