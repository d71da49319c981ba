"""An experiment before anything is computed: its configuration, its runs and their episodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce.core.paper import Paper
from reproduce.cost.time import evaluated_episodes

if TYPE_CHECKING:
    from reproduce.core.config import RunConfig


@dataclass(frozen=True)
class Experiment:
    """A paper's plan at one configuration, and the folder its runs live in."""

    paper: Paper
    config: Any
    """The paper's configuration at a profile."""
    folder: Path
    """DIR/PROFILE/PAPER; run folders lie below it."""

    @cached_property
    def plan(self) -> tuple[RunConfig, ...]:
        """Every run, a base before the arms trained from it."""
        return tuple(self.paper.plan(self.config))

    @cached_property
    def episodes(self) -> dict[str, int]:
        """Evaluated episodes of each run, by its name."""
        known: dict[str, int] = {}
        found = {}
        for run in self.plan:
            key = f"{run.environment} {run.arm}"
            if key not in known:
                known[key] = evaluated_episodes(run)
            found[run.name] = known[key]
        return found

    @property
    def records_folder(self) -> Path:
        """Folder of the records of this profile."""
        return default_records(self.paper.key, self.config.profile)


RESULTS, REFERENCE = Path("results"), Path("reports")
"""Folders that runs write to, and of the reports that are kept, below the current folder."""


def default_report(key: str, profile: str) -> Path:
    """Folder that a run writes the report of a paper at a profile to, below the current folder."""
    return RESULTS / profile / key


def default_records(key: str, profile: str) -> Path:
    """Folder that a run writes the records of a paper at a profile to, below the current folder."""
    return default_report(key, profile) / "records"


def records_at_hand(key: str, profile: str) -> Path:
    """The records of a run made here; those of the reference where there are none."""
    own, reference = default_records(key, profile), REFERENCE / profile / key / "records"
    return reference if not own.is_dir() and reference.is_dir() else own
