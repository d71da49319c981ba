"""Architecture of the model of a run, read from its configuration or known by name."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from reproduce.core.config import PanelConfig, PanelSizes
from reproduce.core.files import UserError, expanded, read_json
from reproduce.cost.model import Architecture, parameters
from reproduce.cost.paper_scale import DataEntry, ModelEntry, PaperScaleError, load_paper_scale
from reproduce.environments.beds import task_counts

if TYPE_CHECKING:
    from reproduce.rollouts.models import ModelDescription


@cache
def planned_counts(environment: str, sizes: PanelConfig | PanelSizes) -> dict[str, int]:
    """Tasks of each panel: those of the source where it can be read, else as many as the sizes allow, so that a plan
    can be made before the data is there."""
    try:
        return task_counts(environment, sizes)
    except UserError:
        if not sizes.source:
            raise
        counts = task_counts(environment, replace(sizes, source=""))
        if environment == "reasoning" and isinstance(sizes, PanelSizes):
            # A math source has one set to train on; `categories` choose among those of test.
            counts["train"] = sizes.train
        return counts


def presence(entry: DataEntry, config: Any) -> str:
    """yes, no or generated."""
    if not entry.setting:
        return "generated"
    source = str(field_of(config, entry.setting))
    folder = expanded(source)
    if not source or not folder.exists():
        return "no"
    if folder.is_dir() and entry.files and not any(any(folder.glob(pattern)) for pattern in entry.files):
        return "no"
    return "yes"


def field_of(config: Any, path: str) -> Any:
    """A field of a configuration by its dotted name."""
    value = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


@cache
def describe(name: str) -> ModelDescription:
    """The description of a model that is here. Raises UserError where it is not."""
    from reproduce.rollouts.models import check_model, describe_model, find_model

    check_model(find_model(name))
    return describe_model(find_model(name))


def architecture_of(config: Any) -> Architecture | None:
    """The shape of the named model: of its files where they are here, else of the paper's file; None where neither
    knows it, or none is named."""
    name = config.model.name
    if not name:
        return None
    try:
        return _shape(name)
    except UserError:
        return known_model(name)


def context_of(config: Any) -> int | None:
    """Positions of the named model; None where it is not here."""
    try:
        return describe(config.model.name).context if config.model.name else None
    except UserError:
        return None


def known_model(name: str) -> ModelEntry | None:
    """The entry of a model in the file of some paper."""
    from reproduce.core.paper import PACKAGED

    for paper in PACKAGED:
        try:
            models = load_paper_scale(paper).models
        except PaperScaleError:
            continue
        for model in models:
            if model.name == name:
                return model
    return None


@cache
def _shape(name: str) -> Architecture:
    from reproduce.rollouts.models import find_model

    found, settings = describe(name), read_json(find_model(name) / "config.json")
    settings = settings.get("text_config", settings)
    shapes = [
        Architecture(
            found.layers,
            found.width,
            found.heads,
            found.key_value_heads,
            found.head_size,
            int(settings.get("intermediate_size") or 4 * found.width),
            found.vocabulary,
            tied,
        )
        for tied in (True, False)
    ]
    # Whether embedding and output share weights is said in several ways; the number of weights tells.
    return min(shapes, key=lambda shape: abs(parameters(shape) - found.parameters))
