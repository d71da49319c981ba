"""The configuration of a run, read back from its `config.json`: every field must be there, known, and of its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, read_json
from reproduce.core.paper import load_paper, paper_keys
from reproduce.core.validation import parse


def read_run(path: Path) -> RunConfig:
    """The run whose `asdict` was written to the file. Raises UserError naming file and field where it is another."""
    content = read_json(path)
    try:
        run = parse(RunConfig, content)
        if run.method is not None:
            run = replace(run, method=parse(_settings_of(run.paper), run.method))
        if lacking := _lacking(json.loads(json.dumps(asdict(run))), content):
            raise ValueError(f"missing field {lacking}")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return run


def _settings_of(paper: str) -> type:
    """The dataclass of the settings of a paper's methods."""
    if paper not in paper_keys():
        raise ValueError(f"paper: unknown, {paper!r}")
    settings = load_paper(paper).settings
    if settings is None:
        raise ValueError(f"method: {paper} has none")
    return settings


def _lacking(whole: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The first dotted field of `whole` that `content` lacks; empty where it has all. No default may stand in for a
    field that was not written."""
    for name, value in whole.items():
        if name not in content:
            return name
        if isinstance(value, Mapping) and (lacking := _lacking(value, content[name])):
            return f"{name}.{lacking}"
    return ""
