"""The two panels that ALFWorld's results are about, valid_seen (140 games) and valid_unseen (134), by digest.

`official_panels.tsv` lists each game with the sha256 of its instruction and its problem without distances, which are
the same in the releases json_2.1.1 and json_2.1.2. Source: jiangmin8/lz-tool-skillopt at 76b659f; of the 189 games
that LeapLabTHU/ExpeL (before f05f530) has as well, from the other release, each digest is the same.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.environments.household.official import find_games, read_game, release_of
from reproduce.environments.household.tasks import OfficialTask

LIST = "official_panels.tsv"


@dataclass(frozen=True)
class PanelCheck:
    """One official folder beside the list."""

    folder: str
    known: int
    """Games that the list has."""
    same: int
    """Games that are there and as listed."""
    missing: tuple[str, ...]
    different: tuple[str, ...]
    """Games whose instruction or problem is another one."""
    unlisted: tuple[str, ...]
    refused: tuple[str, ...]
    """One line for each game that cannot be played."""
    releases: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the list's lines of this folder: the name of the whole panel."""
        lines = "".join(f"{game}\t{digest}\n" for game, digest in known_games()[self.folder].items())
        return hashlib.sha256(lines.encode()).hexdigest()


@lru_cache(maxsize=1)
def known_games() -> Mapping[str, Mapping[str, str]]:
    """sha256 of each game, by official folder and by the names of the game's two folders."""
    found: dict[str, dict[str, str]] = {}
    with (Path(__file__).parent / LIST).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found.setdefault(row["folder"], {})[row["game"]] = row["sha256"]
    return found


def game_digest(task: OfficialTask) -> str:
    """sha256 of what is asked and of the scene."""
    return hashlib.sha256(f"{task.instruction}\n{task.problem}".encode()).hexdigest()


def check_official_panels(directory: Path) -> list[PanelCheck]:
    """Hold the games in or below a directory against the list. Raises UserError where there is no such folder."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; alfworld-download fetches ALFWorld's games")
    return [_check(directory, folder, known) for folder, known in known_games().items()]


def _check(directory: Path, folder: str, known: Mapping[str, str]) -> PanelCheck:
    found: dict[str, str] = {}
    refused: dict[str, str] = {}
    releases = set()
    for file in find_games(directory, folder):
        game = "/".join(file.parent.parts[-2:])
        try:
            task = read_game(file, directory)
        except UserError as error:
            refused[game] = str(error)
            continue
        if task is not None:
            found[game] = game_digest(task)
            releases.add(release_of(task.domain, task.grammar) or "")
    return PanelCheck(
        folder=folder,
        known=len(known),
        same=sum(known.get(game) == digest for game, digest in found.items()),
        missing=tuple(game for game in known if game not in found and game not in refused),
        different=tuple(game for game, digest in found.items() if game in known and known[game] != digest),
        unlisted=tuple(game for game in found if game not in known),
        refused=tuple(refused.values()),
        releases=tuple(sorted(releases)),
    )
