"""Panels of ALFWorld's own games: as many of each of the six task types as asked for, and no more read than needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.environments.household import tables
from reproduce.environments.household.official import FOLDERS, find_games, read_game
from reproduce.environments.household.tasks import OfficialTask
from reproduce.environments.protocol import Panel
from reproduce.environments.rows import State, states_of
from reproduce.environments.selection import check_apart, order_of

HOW_TO_GET = "alfworld-download fetches ALFWorld's games"


def find_folders(directory: Path, sizes: Mapping[str, int]) -> dict[str, list[Path]]:
    """The game files of each panel that is not to be empty, unread. sizes: of the panels.

    Raises UserError for an official folder that is not there or has no games.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; {HOW_TO_GET}")
    found = {}
    for folder, panel in FOLDERS.items():
        found[panel] = find_games(directory, folder) if sizes[panel] else []
        if sizes[panel] and not found[panel]:
            raise UserError(f"{directory}: no games in a folder {folder}; {HOW_TO_GET}")
    return found


def build_official_panels(
    directory: Path, train_per_category: int, test_per_category: int, ood_per_category: int
) -> dict[str, Panel[OfficialTask]]:
    """The games of train, valid_seen (test) and valid_unseen (ood).

    The sizes are the most games of each task type: all where there are fewer, else those whose names have the first
    sha256; no seed plays a part. Games that the official loader leaves out are left out here. Raises UserError, naming
    the file, for a game that is refused, for a panel without games where there should be some, and for a game of train
    that is in test or ood as well.
    """
    sizes = (train_per_category, test_per_category, ood_per_category)
    files = find_folders(directory, dict(zip(FOLDERS.values(), sizes, strict=True)))
    kept = _panels(directory, sizes, states_of([file for of_panel in files.values() for file in of_panel]))
    return {panel.name: panel for panel in kept}


@lru_cache(maxsize=4)
def _panels(directory: Path, sizes: tuple[int, int, int], states: tuple[State, ...]) -> tuple[Panel[OfficialTask], ...]:
    """states: of the files, so that what was kept is not used once they have changed."""
    most = dict(zip(FOLDERS.values(), sizes, strict=True))
    trained: dict[str, str] = {}
    panels = []
    for name, files in find_folders(directory, most).items():
        chosen = sorted(_chosen(directory, files, most[name]), key=lambda one: tables.CATEGORIES.index(one[0].category))
        if most[name] and not chosen:
            raise UserError(f"{directory}: no game for {name} that can be played; {HOW_TO_GET}")
        forms = [(f"{task.instruction}\n{task.problem}", str(file)) for task, file in chosen]
        if name == "train":
            trained = dict(forms)
        else:
            check_apart(trained, forms)
        panels.append(Panel(name, tuple(task for task, _ in chosen)))
    return tuple(panels)


def _chosen(directory: Path, files: list[Path], most: int) -> Iterator[tuple[OfficialTask, Path]]:
    """Games in the order of their names' digests, until every task type has enough."""
    left = dict.fromkeys(tables.CATEGORIES, most)
    for file in sorted(files, key=lambda file: order_of(str(file.parent.relative_to(directory)))):
        # An official folder is called by its task type; a game need not be read to know that there are enough.
        named = file.parent.parent.name.partition("-")[0]
        if not any(left.values()):
            return
        if left.get(named) == 0:
            continue
        task = read_game(file, directory)
        if task is not None and left[task.category]:
            left[task.category] -= 1
            yield task, file
