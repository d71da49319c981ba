"""Cells of an evaluation: every task at the horizon, or a grid over tasks and caps T. Loads no model code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reproduce.core.config import INDEPENDENT, PREFIX_FORK, EvaluationConfig, HorizonEvaluation


@dataclass(frozen=True)
class Cell:
    """Episodes of one question at one cap: `samples` of them from the stream `stream`."""

    question: int
    cap: int
    estimator: str
    stream: str
    samples: int


def cells_of(
    tasks: Sequence[Any],
    panel: str,
    arm: str,
    run: str,
    config: EvaluationConfig | HorizonEvaluation,
    rounds: int = 0,
) -> list[Cell]:
    """The episodes of these tasks. Streams are named by run, task and T.

    rounds: the horizon T of a `HorizonEvaluation`; the grid over T has its own caps.
    """
    if isinstance(config, EvaluationConfig):
        return _grid(tasks, panel, arm, run, config)
    samples = config.ood_samples if panel == "ood" else config.samples
    return [
        Cell(place, rounds, INDEPENDENT, f"{run} {task.identifier} T={rounds}", samples)
        for place, task in enumerate(tasks)
    ]


def _grid(tasks: Sequence[Any], panel: str, arm: str, run: str, config: EvaluationConfig) -> list[Cell]:
    """The grid over questions and caps T; forks reuse the largest T's streams."""
    deepest, cells = max(config.caps), []
    for place, task in enumerate(tasks):
        if task.category == "static":
            cells.append(Cell(place, 0, INDEPENDENT, f"{run} {task.identifier} T=0", config.samples))
            continue
        if panel == "ood":
            cells.append(Cell(place, deepest, INDEPENDENT, f"{run} {task.identifier} T={deepest}", config.ood_samples))
            continue
        for cap in config.caps:
            # The base's second sample, of the same size, is the self-null.
            samples = config.samples * (2 if arm == "base" and task.category == "bridge" and cap == deepest else 1)
            cells.append(Cell(place, cap, INDEPENDENT, f"{run} {task.identifier} T={cap}", samples))
        for cap in config.caps:
            cells.append(Cell(place, cap, PREFIX_FORK, f"{run} {task.identifier} T={deepest}", config.samples))
    return cells
