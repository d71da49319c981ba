"""A paper: its arms, profiles, claims, and how it is trained and reported. `load_paper` is the only way to one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.core.names import nearest

PACKAGED = ("pass_kt", "reuserl", "echorl", "resets")
"""Keys of the papers that this package brings."""
GROUP = "rl_claims.papers"
"""Entry points of papers that other packages bring: key = "package.module:PAPER"."""


@dataclass(frozen=True)
class Arm:
    """A named training recipe, or a policy that is only evaluated (`base`)."""

    label: str
    """Its name in figures and tables."""
    description: str
    settings: Any = None
    """Settings of the method: the value of `RunConfig.method`, or a function that makes it of the paper's
    configuration. None: no method but GRPO, or the base."""
    look: Mapping[str, Any] = field(default_factory=dict)
    """Colour, line and marker in figures, as matplotlib's `plot` takes them."""
    reads_entropies: bool = False
    """Needs the entropies of sampled tokens while it samples."""
    resamples: bool = False
    """Draws further batches within one optimiser step."""


@dataclass(frozen=True)
class Training:
    """Training of the arms of a paper."""

    build: Callable[[Any], Any]
    """From a `reproduce.training.train.Setting` to the `Recipe` of its run."""
    own_arguments: Callable[[Any], dict[str, Any]] = lambda settings: {}
    """From settings of a method to the arguments of `GRPOConfig` that the arm sets itself."""


@dataclass(frozen=True)
class Reporting:
    """The parts of a report that are a paper's own. Each function takes the records."""

    scope: Callable[[Any], str]
    """Sizes of the experiment, for the first page."""
    positive_controls: Callable[[Any], tuple[tuple[str, Any], ...]] = lambda records: ()
    """Label and `Part` of what must hold if training worked at all."""
    draw_figures: Callable[[Any, Path], Mapping[str, Any]] = lambda records, folder: {}
    """Draws into a folder; each `reproduce.report.figures.Figure` by its name."""
    further_sections: Callable[[Any], tuple[Any, ...]] = lambda records: ()
    """Sections after the claims."""


@dataclass(frozen=True)
class Paper:
    """A paper as the package knows it. What needs torch or matplotlib is loaded when it is called for."""

    key: str
    title: str
    arxiv: str
    summary: str
    arms: Mapping[str, Arm]
    """By name, in the order of the plan; the first is the policy that is only evaluated."""
    profiles: Mapping[str, Any]
    """Configuration of each profile: a frozen dataclass with the fields `profile`, `seeds` and `hardware`."""
    plan: Callable[[Any], tuple[Any, ...]]
    """From a configuration to its runs (`reproduce.core.config.RunConfig`), a base before the arms trained from it.
    Raises UserError for a configuration that cannot be run or judged."""
    claims: tuple[Any, ...]
    """Each a `reproduce.claims.verdicts.Claim`."""
    read_records: Callable[[Path], Any]
    """The records in a folder, checked. Raises UserError naming file and lack."""
    collect: Callable[[Paper, Any, Mapping[str, Any], Path, Path], None]
    """Writes the records of complete runs: paper, plan, resolved configuration, folder of the runs, destination."""
    load_reporting: Callable[[], Reporting]
    identities: tuple[Any, ...] = ()
    """Exact claims, each a `reproduce.claims.verdicts.Identity`."""
    settings: type | None = None
    """Dataclass of `RunConfig.method`; None where no arm has a method of its own."""
    load_training: Callable[[], Training] | None = None
    load_audit: Callable[[], Any] | None = None
    """The re-analysis of its published numbers, a `reproduce.report.audit_tables.PaperAudit`."""
    training_columns: tuple[str, ...] = ()
    """Columns of the training log that records keep."""
    measure_tasks: Callable[[Any, Any], Any] = lambda config, episodes: None
    """Further sums over the episodes of each task (a DataFrame), from a run's configuration and episodes; None: none.
    """
    further_records: Callable[[Any, Path, Any], dict[str, Any]] = lambda config, folder, episodes: {}
    """Further tables of a run, by name, from its configuration, folder and episodes."""
    planned_effects: Callable[[Any], tuple[Any, ...]] = lambda config: ()
    """The assumed spread of claims, each a `reproduce.claims.power.Planned`, of a configuration before anything runs.
    """

    @property
    def deviations(self) -> tuple[str, ...]:
        """Differences from the paper's experiment: the bullets of `deviations.md` beside its code."""
        text = paper_file(self.key, "deviations.md").read_text(encoding="utf-8")
        return tuple(line.removeprefix("- ") for line in text.splitlines() if line.startswith("- "))


@cache
def _from_outside() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in PACKAGED}


def paper_keys() -> tuple[str, ...]:
    """Keys of all papers: those of this package, then those that others bring."""
    return (*PACKAGED, *sorted(_from_outside()))


@cache
def load_paper(key: str) -> Paper:
    """The paper of a key. Raises UserError for an unknown key, with the nearest one, and for a foreign package that
    does not hold what its entry point promises."""
    if key in PACKAGED:
        paper = importlib.import_module(f"{paper_package(key)}.paper").PAPER
    else:
        paper_package(key)
        point = _from_outside()[key]
        try:
            paper = point.load()
        except Exception as error:  # Whatever a foreign package raises while it is loaded.
            raise UserError(f"paper {key!r}: {point.value} cannot be loaded ({error})") from error
        if not isinstance(paper, Paper) or paper.key != key:
            raise UserError(f"paper {key!r}: {point.value} is not a Paper of that key")
    return paper


def paper_package(key: str) -> str:
    """The package that holds a paper's code and files. Raises UserError for an unknown key, with the nearest one."""
    if key in PACKAGED:
        return f"reproduce.papers.{key}"
    if key not in _from_outside():
        raise UserError(f"unknown paper {key!r}; {nearest(key, paper_keys())}")
    module = _from_outside()[key].module
    return module.rpartition(".")[0] or module


def paper_file(key: str, name: str) -> Traversable:
    """A file that lies beside a paper's code. Raises UserError for an unknown key."""
    return files(paper_package(key)).joinpath(name)
