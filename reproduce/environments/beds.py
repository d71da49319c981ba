"""A bed is what the arms of one environment share: its tasks, its demonstrators and so its bases, the cost of its
episodes. One module an environment; `load_bed` imports it when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from reproduce.core.config import PanelConfig, PanelSizes
from reproduce.environments.protocol import Panel
from reproduce.environments.sequences import Batch

ENVIRONMENTS = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/bed.py")))
"""Every folder beside this file that holds a bed."""


class Bed(Protocol):
    """What a module of this package offers."""

    TRAINING_EPISODES_PER_SECOND: float
    EVALUATION_EPISODES_PER_SECOND: float
    """Of one worker with one thread and the reference policy (`reproduce.cost.time`)."""
    CATEGORIES: Mapping[str, tuple[str, ...]]
    """Categories of each panel where `PanelSizes` names none, each of the size given there; empty where sizes are those
    of whole panels."""
    STORED_AS: str
    """Precision of the weights in a stored base; float16 halves what the package brings along."""

    INSTRUCTIONS: str
    """What a general model is told before its first task: the actions and their form. Unstated in the papers, ours."""

    def environment(self, sizes: Any = None, full_texts: bool = False) -> Any:
        """The environment that the episodes run in.

        sizes: of the panels, whose `source` may ask for another environment. full_texts: the engine's own words and
        actions read leniently in their form, for a general model, instead of the few words of a tiny one.
        """
        ...

    def check_source(self, sizes: Any) -> None:
        """Find what is missing of the official data that `sizes.source` names, before anything is loaded. Raises
        UserError, in one line that says how to get it."""
        ...

    def words(self) -> tuple[str, ...]:
        """The vocabulary of the policy."""
        ...

    def panels(self, sizes: Any) -> dict[str, Panel[Any]]:
        """The panels train, test and ood."""
        ...

    def description(self, config: Any) -> dict[str, Any]:
        """Plain data that determines the demonstrations, besides configuration and seed."""
        ...

    def batches(self, config: Any, seed: int) -> Iterator[list[Batch]]:
        """The demonstrations of each optimiser step of the warm start."""
        ...


def load_bed(environment: str) -> Bed:
    """The bed of an environment. Raises KeyError for an unknown one, UserError where its engine is not installed."""
    if environment not in ENVIRONMENTS:
        raise KeyError(environment)
    return cast(Bed, importlib.import_module(f"reproduce.environments.{environment}.bed"))


def task_counts(environment: str, sizes: PanelConfig | PanelSizes) -> dict[str, int]:
    """Tasks of each panel, without drawing them.

    With a source the sizes are only the most tasks there may be: its panels are read, once in a process, and counted.
    Raises UserError for a source that cannot be used.
    """
    bed = load_bed(environment)
    if sizes.source:
        return {name: len(panel.tasks) for name, panel in bed.panels(sizes).items()}
    if isinstance(sizes, PanelConfig):
        return {
            "train": 2 * sizes.train_per_category,
            "test": 3 * sizes.test_per_category,
            "ood": 2 * sizes.ood_per_depth,
        }
    categories = bed.CATEGORIES
    named = {"train": sizes.categories, "test": sizes.categories, "ood": sizes.ood_categories}
    counts = {"train": sizes.train, "test": sizes.test, "ood": sizes.ood}
    return {
        panel: count * (len(named[panel] or categories[panel]) if categories else 1) for panel, count in counts.items()
    }
