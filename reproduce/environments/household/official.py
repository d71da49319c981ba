"""ALFWorld's own games from a folder, as tasks.

TextWorld's engine evaluates expressions that it finds in a game's grammar. A game is therefore taken only if its domain
and its grammar are those of the installed package, the instruction aside, which must be plain words; and what is played
is the package's grammar, never the file's.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.environments.household import tables
from reproduce.environments.household.tasks import HouseholdTask
from reproduce.environments.protocol import Panel

FOLDERS = {"train": "train", "valid_seen": "test", "valid_unseen": "ood"}
"""The official folders and the panels that they are."""
GAME, TRAJECTORY = "game.tw-pddl", "traj_data.json"
LARGEST = 10_000_000
"""Bytes of a game file that is read."""
_INSTRUCTION = re.compile(r"[A-Za-z0-9 ,.'\-]{1,300}")
_DISTANCE = re.compile(r"\(=\s+\(distance\s[^()]*\)\s*\d+\s*\)\s*")
# The engine keeps names in arrays of fixed length, without checking.
_TOKEN = re.compile(r"[\w?:=.\-]{1,150}", re.ASCII)
_OBJECTS = re.compile(r"\(\s*:objects\b([^()]*)\)", re.IGNORECASE)
_OBJECT = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)


def load_official_games(directory: Path, skip_broken: bool = False) -> dict[str, Panel[HouseholdTask]]:
    """The panels whose official folders (`train`, `valid_seen`, `valid_unseen`) lie in or below a directory.

    skip_broken: leave out games that are refused, with a warning that names them, instead of raising. What only the
    engine's translation shows, such as a goal out of reach, is said when a game is first played. Tasks that the
    official loader leaves out (movable receptacles, slices, games marked as not solvable) are left out in any case.
    Raises UserError naming the file and what is wrong with it, and where there is no folder or no game at all.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: the folder does not exist")
    panels: dict[str, Panel[HouseholdTask]] = {}
    for folder, split in FOLDERS.items():
        tasks = [task for file in find_games(directory, folder) if (task := _read(file, directory, skip_broken))]
        if tasks:
            panels[split] = Panel(split, tuple(tasks))
    if not panels:
        raise UserError(f"{directory}: no {GAME} that can be played below a folder {', '.join(FOLDERS)}")
    return panels


def find_games(directory: Path, folder: str) -> list[Path]:
    """The game files of one official folder in or below a directory, sorted; none of them is read."""
    return sorted(file for root in _named(directory, folder) for file in root.rglob(GAME))


def _named(directory: Path, folder: str) -> list[Path]:
    return [directory] if directory.name == folder else [path for path in directory.rglob(folder) if path.is_dir()]


def _read(file: Path, directory: Path, skip_broken: bool) -> HouseholdTask | None:
    try:
        return read_game(file, directory)
    except UserError as error:
        if not skip_broken:
            raise
        warnings.warn(f"left out: {error}", stacklevel=3)
        return None


def read_game(file: Path, directory: Path) -> HouseholdTask | None:
    """One game below a directory as a task; None for one that is left out. Raises UserError."""
    identifier = str(file.parent.relative_to(directory))
    if "movable" in identifier or "Sliced" in identifier:
        return None
    game, trajectory = _json(file), _json(file.parent / TRAJECTORY)
    try:
        domain, grammar, problem = (
            str(game[key]).replace("\r\n", "\n") for key in ("pddl_domain", "grammar", "pddl_problem")
        )
        category, asked = str(trajectory["task_type"]), trajectory["pddl_params"]
        target = str(asked["toggle_target" if category == "look_at_obj_in_light" else "parent_target"])
        item, layout = str(asked["object_target"]), str(trajectory["scene"]["floor_plan"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: no game of ALFWorld (lacks {error})") from None
    if not game.get("solvable", False) or category not in tables.CATEGORIES:
        return None
    instruction = _checked(file, domain, grammar, problem)
    # Distances are many and the domain's actions do not use them.
    return HouseholdTask(identifier, category, instruction, item, target, layout, _DISTANCE.sub("", problem))


def _checked(file: Path, domain: str, grammar: str, problem: str) -> str:
    """The instruction of a game that is safe to load. Raises UserError."""
    if _digest(domain) != _digest(tables.domain()):
        raise UserError(f"{file}: its domain is not that of the installed alfworld; refused")
    before, _, after = tables.grammar().partition(tables.UNKNOWN_GOAL)
    instruction = grammar[len(before) : len(grammar) - len(after)]
    if _digest(grammar) != _digest(before + instruction + after) or not _INSTRUCTION.fullmatch(instruction):
        raise UserError(f"{file}: its grammar is not that of the installed alfworld; refused")
    # Distances repeat the same few names thousands of times.
    if not all(map(_TOKEN.fullmatch, set(problem.replace("(", " ").replace(")", " ").split()))):
        raise UserError(f"{file}: its problem has names that the engine cannot take; refused")
    if problem.count("(") != problem.count(")") or not all(
        part in problem for part in ("(:objects", "(:init", "(:goal")
    ):
        raise UserError(f"{file}: its problem is damaged")
    declared = _OBJECTS.findall(problem)
    names = [name for name in " ".join(declared).split() if name != "-"]
    if len(declared) != 1 or not all(map(_OBJECT.fullmatch, names)):
        raise UserError(f"{file}: its problem has objects without plain names; refused")
    return instruction


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST:
            raise UserError(f"{file}: larger than {LARGEST} bytes; refused")
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: damaged ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: no game of ALFWorld")
    return content
