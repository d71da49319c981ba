"""Tasks and panels. Every puzzle is checked to have a solution under the rules played here (`rules`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from reproduce.environments.countdown.drawing import Level, Puzzle, puzzles
from reproduce.environments.countdown.rules import Numbers, solution_of
from reproduce.environments.protocol import Panel, check_disjoint

TRAIN_LEVEL = Level(fewest_numbers=3, most_numbers=4, largest_number=12, smallest_target=1, largest_target=40)
OOD_LEVEL = Level(fewest_numbers=5, most_numbers=5, largest_number=12, smallest_target=41, largest_target=99)
"""More numbers and larger targets."""
LARGEST_RESULT = 150
"""The largest intermediate result by default."""
_MOST_DRAWS_A_TASK = 200


@dataclass(frozen=True)
class CountdownTask:
    """One puzzle."""

    identifier: str
    category: str
    """`numbers-N`, N the count of numbers."""
    numbers: Numbers
    """Ascending."""
    target: int
    largest_result: int
    """No operation may give more."""
    solution: tuple[str, ...]
    """One way to solve it, as actions."""
    question: str
    """The engine's own words."""


def canonical_form(numbers: Numbers, target: int) -> str:
    """The same for puzzles that differ in the order of their numbers or in wording only."""
    return f"{' '.join(map(str, sorted(numbers)))} -> {target}"


def canonical_forms(panel: Panel[CountdownTask]) -> set[str]:
    """What two panels must not share: the puzzles."""
    return {canonical_form(task.numbers, task.target) for task in panel.tasks}


def build_panels(
    train_tasks: int,
    test_tasks: int,
    ood_tasks: int,
    train_seed: int = 0,
    test_seed: int = 0,
    level: Level = TRAIN_LEVEL,
    ood_level: Level = OOD_LEVEL,
    largest_result: int = LARGEST_RESULT,
) -> dict[str, Panel[CountdownTask]]:
    """The three panels, checked to be disjoint; puzzles come from the cache, or are drawn and kept there.

    A digest of the canonical form says whether a puzzle of `level` belongs to train or to test; ood has puzzles of
    `ood_level` that `level` does not cover. Numbers, targets and intermediate results are at most `largest_result`. A
    panel is part of any larger one with the same seed, levels and limit. Raises ValueError where a level has too few
    different puzzles for the panel.
    """
    if largest_result < max(
        level.largest_number, level.largest_target, ood_level.largest_number, ood_level.largest_target
    ):
        raise ValueError(f"numbers and targets must not be larger than the largest result, {largest_result}")
    panels = {
        "train": _draw("train", train_tasks, train_seed, level, largest_result, _is_for("train")),
        "test": _draw("test", test_tasks, test_seed, level, largest_result, _is_for("test")),
        "ood": _draw(
            "ood",
            ood_tasks,
            test_seed,
            ood_level,
            largest_result,
            lambda puzzle: not level.covers(puzzle.numbers, puzzle.target),
        ),
    }
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])
    return panels


def _is_for(split: str) -> Callable[[Puzzle], bool]:
    def accept(puzzle: Puzzle) -> bool:
        form = canonical_form(puzzle.numbers, puzzle.target)
        return ("train" if hashlib.sha256(form.encode()).digest()[0] % 4 else "test") == split

    return accept


def _draw(
    split: str, count: int, seed: int, level: Level, limit: int, accept: Callable[[Puzzle], bool]
) -> Panel[CountdownTask]:
    """The first `count` different puzzles that are accepted and can be solved."""
    tasks: list[CountdownTask] = []
    seen: set[str] = set()
    for drawn, puzzle in enumerate(puzzles(level, f"{split} {seed}") if count else ()):
        if drawn >= _MOST_DRAWS_A_TASK * (len(tasks) + 1):
            raise ValueError(f"panel {split}: {level} has too few puzzles for {count} tasks")
        form, numbers = canonical_form(puzzle.numbers, puzzle.target), tuple(sorted(puzzle.numbers))
        if form in seen or not accept(puzzle):
            continue
        seen.add(form)
        solution = solution_of(numbers, puzzle.target, limit)
        if solution is None:
            continue
        category = f"numbers-{len(numbers)}"
        identifier = f"{split}-{category}-{len(tasks):04d}"
        tasks.append(CountdownTask(identifier, category, numbers, puzzle.target, limit, solution, puzzle.question))
        if len(tasks) == count:
            break
    return Panel(split, tuple(tasks))
