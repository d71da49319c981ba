"""The panels of the cooking environment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from reproduce.core.files import UserError
from reproduce.environments.cooking.generation import Request, make_missing, obtain_game, read_task
from reproduce.environments.cooking.tasks import (
    CATEGORIES,
    DEFAULT_LEVELS,
    CookingTask,
    Level,
    canonical_forms,
    prepared_foods,
)
from reproduce.environments.protocol import Panel, check_disjoint


def build_panels(
    train_tasks: int,
    test_tasks: int,
    ood_tasks: int,
    train_seed: int = 0,
    test_seed: int = 0,
    levels: Sequence[Level] = DEFAULT_LEVELS,
    skip_broken: bool = False,
) -> dict[str, Panel[CookingTask]]:
    """The three panels, checked to be disjoint; games come from the cache, or are made and kept there.

    train and test: foods and preparations of TextWorld's split `train`; ood: those of its split `test`, whose
    preparations no other panel has. Every other task is of kind `cook-off`, and every pair of tasks of the next level,
    so that kinds and levels are balanced. A panel is part of any larger one with the same seed and levels.

    skip_broken: leave out games that cannot be made or do not load, with a warning that names each, instead of
    raising UserError with their name.
    Raises ValueError without levels.
    """
    if not levels:
        raise ValueError("no levels: at least one is needed")
    sizes = {"train": (train_tasks, train_seed), "test": (test_tasks, test_seed), "ood": (ood_tasks, test_seed)}
    requests = {name: _requests(name, count, seed, levels) for name, (count, seed) in sizes.items()}
    make_missing([request for of_panel in requests.values() for request in of_panel])
    panels = {name: Panel(name, _tasks(of_panel, skip_broken)) for name, of_panel in requests.items()}
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])
    for name in ("train", "test"):
        pair = [panels[name], panels["ood"]]
        check_disjoint(pair, [prepared_foods(panel) for panel in pair])
    return panels


def _requests(panel: str, count: int, seed: int, levels: Sequence[Level]) -> list[Request]:
    return [
        Request(panel, seed, place, levels[place // 2 % len(levels)], CATEGORIES[place % 2]) for place in range(count)
    ]


def _tasks(requests: Sequence[Request], skip_broken: bool) -> tuple[CookingTask, ...]:
    tasks = []
    for request in requests:
        try:
            tasks.append(read_task(request, obtain_game(request)))
        except UserError as error:
            if not skip_broken:
                raise
            warnings.warn(f"left out: {error}", stacklevel=3)
    return tuple(tasks)
