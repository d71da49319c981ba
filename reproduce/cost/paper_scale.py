"""The experiments at their papers' own scale: models, data and every value of a setting, each with its source.

One TOML file a paper, read by `load_paper_scale`; `reproduce.cost.profile` makes the profile `paper` of it. What
a claim or an arm fixes is not said again here. A file holds

- `paper`, and `[sources]`: label = what it is. The `source` of every entry begins with one of these labels, or is
  `unstated, ours`, which goes with the provenance `ours` and with no other;
- `[[model]]`: `name` on the Hugging Face Hub, `role` (the first `policy` is the one that is trained, the others are
  alternatives for `--set model.name=`), `parameters`, `licence`, `source`, `provenance`, and its shape, from its
  config.json: `layers`, `width`, `heads`, `key_value_heads`, `head_width`, `feed_forward`, `vocabulary`, `tied`
  (embedding and output share weights);
- `[[data]]`: `name`, `environment`, `what`, `get` (the exact command), `gigabytes`, `source`, `provenance`; where it
  has to be downloaded also `setting`, the field of the configuration that names its folder, `folder`, what that field
  is in the profile, and `files`, patterns of which one must match inside;
- `[[value]]`: `name` in the paper's words, `value`, `source`, `provenance`, and where it goes: `setting`, a field of
  the paper's configuration or a list of them, or `argument`, one of TRL's `GRPOConfig`, or neither, and then `note`
  says why. `applied`: what the field or argument gets, where that is not the value itself, and `note` says why;
- `[[episode]]`: for each `environment` what the estimate of cost assumes of a mean episode: `prompt_tokens`,
  `sampled_tokens`, `observation_tokens`, `turns`, `source`, `provenance`;
- `[hardware]`: what the paper ran on: `gpu` (a name of `reproduce.cost.machines.GPUS`), `count`, `source`,
  `provenance`, `note`; where it says so, `gpu_hours` of one training.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from reproduce.core.config import Count, NotNegative
from reproduce.core.paper import paper_file, paper_keys
from reproduce.core.validation import parse
from reproduce.cost.model import Architecture

PAPER_SCALE = "paper_scale.toml"
Provenance = Literal["read directly", "digest", "code", "sister paper", "inferred", "ours"]
"""Kind of place that a value was read in: the paper itself, a digest of it, released code, a paper of the same
authors, none but deduced, or nowhere."""
UNSTATED = "unstated, ours"
"""The source of what the paper does not say."""

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else tuple(value))]
"""One name or a list of them."""
Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]


class PaperScaleError(ValueError):
    """A paper without a file, or an entry that is not complete or contradicts itself."""


@dataclass(frozen=True)
class ModelEntry(Architecture):
    """A model of the paper."""

    name: str
    role: str
    parameters: Count
    source: str
    provenance: Provenance
    licence: str = "not recorded"
    note: str = ""


@dataclass(frozen=True)
class DataEntry:
    """A data set of the paper."""

    name: str
    environment: str
    what: str
    get: str
    """The command that brings it; what makes it, where it is generated here."""
    gigabytes: NotNegative
    source: str
    provenance: Provenance
    setting: str = ""
    """Field that names its folder; empty for what is generated."""
    folder: str = ""
    """The field in the profile."""
    files: tuple[str, ...] = ()
    """Patterns of files there, of which one must match; none: the folder is enough."""
    licence: str = "not recorded"
    note: str = ""


@dataclass(frozen=True)
class ValueEntry:
    """One value of the paper's experiment."""

    name: str
    value: Value
    source: str
    provenance: Provenance
    setting: Names = ()
    """Fields of the paper's configuration that it sets."""
    argument: str = ""
    """The argument of `GRPOConfig` that it sets."""
    applied: Value | None = None
    """The value that field or argument get; None: `value` itself."""
    note: str = ""

    @property
    def effective(self) -> Value:
        """The value that field or argument get."""
        return self.value if self.applied is None else self.applied


@dataclass(frozen=True)
class EpisodeEntry:
    """The mean episode that the estimate of cost assumes, in tokens of the paper's model."""

    environment: str
    prompt_tokens: Annotated[int, Field(ge=0)]
    """Instructions and task."""
    sampled_tokens: Annotated[int, Field(ge=0)]
    """By the policy, all turns together."""
    observation_tokens: Annotated[int, Field(ge=0)]
    """By the environment, all turns together."""
    turns: Count
    """Actions of the policy."""
    source: str
    provenance: Provenance
    note: str = ""


@dataclass(frozen=True)
class HardwareEntry:
    """GPUs that the paper ran on; where it does not say, those that the estimates are for."""

    gpu: str
    count: Count
    source: str
    provenance: Provenance
    gpu_hours: NotNegative = 0.0
    """Of one training; 0 where unstated."""
    note: str = ""


@dataclass(frozen=True)
class PaperScale:
    """Everything that a file holds."""

    paper: str
    hardware: HardwareEntry
    sources: Mapping[str, str]
    models: Annotated[tuple[ModelEntry, ...], Field(alias="model")] = ()
    data: tuple[DataEntry, ...] = ()
    values: Annotated[tuple[ValueEntry, ...], Field(alias="value")] = ()
    episodes: Annotated[tuple[EpisodeEntry, ...], Field(alias="episode")] = ()

    @property
    def policy(self) -> ModelEntry:
        """The model that is trained."""
        return next(model for model in self.models if model.role == "policy")

    def episode(self, environment: str) -> EpisodeEntry:
        """The mean episode of an environment. Raises PaperScaleError where none is assumed."""
        for entry in self.episodes:
            if entry.environment == environment:
                return entry
        raise PaperScaleError(f"{self.paper}.toml: no [[episode]] of {environment}")


@cache
def load_paper_scale(paper: str) -> PaperScale:
    """The file of a paper. Raises PaperScaleError, in one line, for a file that is missing, damaged or incomplete."""
    if paper not in paper_keys() or not (resource := paper_file(paper, PAPER_SCALE)).is_file():
        raise PaperScaleError(f"no file of paper scale for {paper!r}")
    return parse_paper_scale(paper, resource.read_text(encoding="utf-8"))


def parse_paper_scale(paper: str, text: str) -> PaperScale:
    """The same of a text."""
    try:
        found = parse(PaperScale, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PaperScaleError(f"{paper}.toml cannot be read: {error}") from error
    except ValueError as error:
        raise PaperScaleError(f"{paper}.toml: {error}") from None
    if found.paper != paper:
        raise PaperScaleError(f"{paper}.toml: paper = {found.paper!r}")
    _check_sources(found)
    _check_uses(found)
    return found


def _check_sources(scale: PaperScale) -> None:
    """Every entry has a source that the file defines and a provenance that fits it; no name is there twice."""
    kinds = {"model": scale.models, "data": scale.data, "value": scale.values, "episode": scale.episodes}
    named: list[tuple[str, str, Any]] = [("hardware", "", scale.hardware)]
    for kind, entries in kinds.items():
        names = [getattr(entry, "environment" if kind == "episode" else "name") for entry in entries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise PaperScaleError(f"{scale.paper}.toml, {kind} {twice[0]!r}: is there twice")
        named += [(kind, name, entry) for name, entry in zip(names, entries, strict=True)]
    for kind, name, entry in named:
        place, source, provenance = f"{scale.paper}.toml, {kind} {name!r}", entry.source, entry.provenance
        if (source == UNSTATED) != (provenance == "ours"):
            raise PaperScaleError(f"{place}: the source {UNSTATED!r} and the provenance 'ours' go together")
        if source == UNSTATED:
            continue
        if not any(source == label or source.startswith((f"{label} ", f"{label};")) for label in scale.sources):
            raise PaperScaleError(f"{place}: source {source!r} is not defined under [sources]")


def _check_uses(scale: PaperScale) -> None:
    """Every value goes to one place or says why it goes to none; no field or argument is set twice."""
    if not any(model.role == "policy" for model in scale.models):
        raise PaperScaleError(f"{scale.paper}.toml: no [[model]] of role 'policy'")
    used: dict[str, str] = {"model.name": "policy model"}
    for entry in scale.data:
        if bool(entry.setting) != bool(entry.folder):
            raise PaperScaleError(f"{scale.paper}.toml, data {entry.name!r}: setting and folder go together")
    for setting, folder in sorted({(entry.setting, entry.folder) for entry in scale.data if entry.setting}):
        if setting in used:
            raise PaperScaleError(f"{scale.paper}.toml, data folder {folder!r}: {setting} has another folder already")
        used[setting] = folder
    for value in scale.values:
        place = f"{scale.paper}.toml, value {value.name!r}"
        if value.setting and value.argument:
            raise PaperScaleError(f"{place}: both setting and argument")
        if not (value.setting or value.argument or value.note):
            raise PaperScaleError(f"{place}: neither setting nor argument, and no note that says why")
        if value.applied is not None and not (value.setting or value.argument):
            raise PaperScaleError(f"{place}: applied to nothing")
        if value.applied is not None and not value.note:
            raise PaperScaleError(f"{place}: applied differs from the value, and no note says why")
        for use in (*value.setting, *([f"argument {value.argument}"] if value.argument else ())):
            if use in used:
                raise PaperScaleError(f"{place}: {use} is set by {used[use]!r} already")
            used[use] = value.name
