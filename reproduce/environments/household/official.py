"""ALFWorld's own games from a folder, as tasks.

TextWorld's engine evaluates expressions that it finds in a game's grammar. A game is therefore taken only if its domain
and its grammar, the instruction aside, are those of a release that is known (`RELEASES`) or of the installed package;
the instruction must be plain words, and the problem of the form that ALFWorld's generator writes. A game is played by
the rules of its own release.

A game's type, object, receptacle and scene stand in its `traj_data.json` and in the name of its folder,
TYPE-OBJECT-MOVABLE-RECEPTACLE-SCENE; copies of the games often lack the former.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError, check_readable
from reproduce.environments.household import tables
from reproduce.environments.household.problem import goal_of
from reproduce.environments.household.tasks import LAMP, OfficialTask
from reproduce.environments.protocol import Panel

FOLDERS = {"train": "train", "valid_seen": "test", "valid_unseen": "ood"}
"""The official folders and the panels that they are."""
GAME, TRAJECTORY = "game.tw-pddl", "traj_data.json"
LARGEST = 10_000_000
"""Bytes of a game file that is read."""
RELEASES = {
    (
        "34172c333dff7e62eb90e85367fa5519b5f31b3849e56123d96dbc0deda50e27",
        "d955e6db384c68ac5797e881b795fd36d788e87a03547f9a87e48fbd7c5b361b",
    ): "json_2.1.1",
    (
        "0af55e7f92d12b09d28515aa730e4d03fddd17228ef1fd7b18a3ee8ba49b27b9",
        "cce0702cd250cc6af6c3ea047a21f6c4c1c8d29a1739efefb5221ef4c3dcac57",
    ): "json_2.1.2",
}
"""sha256 of domain and grammar of the releases of alfworld/alfworld, `UNKNOWN GOAL` in place of the instruction.

json_2.1.1 (json_2.1.1_tw-pddl.zip of its release 0.2.2): 579 games in LeapLabTHU/ExpeL before f05f530; the grammar is
alfworld/data/alfred.twl2 at 9b73cd5. An object is `put A in/on R`. json_2.1.2 (release 0.4.0): 4,027 games in
jiangmin8/lz-tool-skillopt at 76b659f; what scripts/patch_tw-pddl.py at 1fa7e68 makes of the former: `move A to R` and
`help`. Problems and instructions are the same in both, in all 189 games that were compared.
"""
INSTALLED = "installed package"
"""In place of a release: games that `alfworld-generate` made with the package's own domain and grammar."""
MOST_NAMES, MOST_FACTS = 800, 4_000
"""Things declared in a problem, and facts without distances: more than twice the most of any released game, and few
enough to be translated in seconds."""
_INSTRUCTION = re.compile(r"[A-Za-z0-9 ,.'\-]{1,300}")
_TASK = re.compile(r'Your task is to: ([^"]*)\."')
_DISTANCE = re.compile(r"\(=\s+\(distance\s[^()]*\)\s*\d+\s*\)\s*")
# The engine keeps names in arrays of fixed length, without checking.
_TOKEN = re.compile(r"[\w?:=.\-]{1,150}", re.ASCII)
_OBJECT = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)
_PROBLEM = re.compile(
    r"\s*+\(\s*+define\s*+\(\s*+problem\s++[\w.\-]++\s*+\)\s*+\(\s*+:domain\s++alfred\s*+\)"
    r"\s*+\(\s*+:objects\b(?P<objects>[^()]*+)\)"
    r"\s*+\(\s*+:init\b(?P<facts>(?:\s*+\((?:=\s*+\(\s*+total-cost\s*+\)\s*+0|[^()]*+)\))*+)\s*+\)"
    r"\s*+(?P<goal>\(\s*+:goal\b.*+)",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_FOLDER = re.compile(r"([a-z_]+)-([A-Za-z]+)-([A-Za-z]+)-([A-Za-z]+)-(\d+)")


def load_official_games(
    directory: Path, skip_broken: bool = False, panels: Collection[str] = tuple(FOLDERS.values())
) -> dict[str, Panel[OfficialTask]]:
    """The panels whose official folders (`train`, `valid_seen`, `valid_unseen`) lie in or below a directory.

    skip_broken: leave out games that are refused, with a warning that names them, instead of raising. What only the
    engine's translation shows, such as a goal out of reach, is said when a game is first played. Tasks that the
    official loader leaves out (movable receptacles, slices, games marked as not solvable) are left out in any case.
    panels: those that are read. Raises UserError naming the file and what is wrong with it, and where there is no
    folder or no game at all.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: the folder does not exist")
    wanted = {folder: panel for folder, panel in FOLDERS.items() if panel in panels}
    found: dict[str, Panel[OfficialTask]] = {}
    for folder, panel in wanted.items():
        tasks = [task for file in find_games(directory, folder) if (task := _read(file, directory, skip_broken))]
        if tasks:
            found[panel] = Panel(panel, tuple(tasks))
    if not found:
        raise UserError(f"{directory}: no {GAME} that can be played below a folder {', '.join(wanted)}")
    return found


def find_games(directory: Path, folder: str) -> list[Path]:
    """The game files of one official folder in or below a directory, sorted; none of them is read."""
    return sorted(file for root in _named(directory, folder) for file in root.rglob(GAME))


def _named(directory: Path, folder: str) -> list[Path]:
    return [directory] if directory.name == folder else [path for path in directory.rglob(folder) if path.is_dir()]


def _read(file: Path, directory: Path, skip_broken: bool) -> OfficialTask | None:
    try:
        return read_game(file, directory)
    except UserError as error:
        if not skip_broken:
            raise
        warnings.warn(f"left out: {error}", stacklevel=3)
        return None


def read_game(file: Path, directory: Path) -> OfficialTask | None:
    """One game below a directory as a task; None for one that is left out. Raises UserError."""
    identifier = str(file.parent.relative_to(directory))
    if "movable" in identifier or "Sliced" in identifier:
        return None
    game = _json(file)
    try:
        domain, grammar, problem = (
            str(game[key]).replace("\r\n", "\n") for key in ("pddl_domain", "grammar", "pddl_problem")
        )
    except KeyError as error:
        raise UserError(f"{file}: no game of ALFWorld (lacks {error})") from None
    category, item, target, layout = _asked(file)
    if not game.get("solvable", False) or category not in tables.CATEGORIES:
        return None
    instruction, grammar = _apart(file, grammar)
    if release_of(domain, grammar) is None:
        raise UserError(f"{file}: its domain and grammar are of no known release of alfworld; refused")
    # Distances are many and the domain's actions do not use them.
    problem = _DISTANCE.sub("", problem)
    _check_problem(file, problem, goal_of(category, item, target))
    return OfficialTask(
        identifier, category, instruction, item, target, layout, problem, sys.intern(domain), sys.intern(grammar)
    )


def release_of(domain: str, grammar: str) -> str | None:
    """The release with this domain and grammar, which has `UNKNOWN GOAL` for the instruction; None where unknown."""
    if (domain, grammar) == (tables.domain(), tables.grammar()):
        return INSTALLED
    return RELEASES.get((_digest(domain), _digest(grammar)))


def _asked(file: Path) -> tuple[str, str, str, str]:
    """Type, object, receptacle (or lamp) and scene of a game. Raises UserError where neither source tells."""
    if (file.parent / TRAJECTORY).is_file():
        trajectory = _json(file.parent / TRAJECTORY)
        try:
            category, asked = str(trajectory["task_type"]), trajectory["pddl_params"]
            target = str(asked["toggle_target" if category == LAMP else "parent_target"])
            return category, str(asked["object_target"]), target, str(trajectory["scene"]["floor_plan"])
        except (KeyError, TypeError) as error:
            raise UserError(f"{file.parent / TRAJECTORY}: not of ALFWorld (lacks {error})") from None
    named = _FOLDER.fullmatch(file.parent.parent.name)
    if named is None:
        raise UserError(
            f"{file}: no {TRAJECTORY} beside it, and no folder TYPE-OBJECT-MOVABLE-RECEPTACLE-SCENE above it"
        )
    category, item, _, target, scene = named.groups()
    return category, item, target, f"FloorPlan{scene}"


def _apart(file: Path, grammar: str) -> tuple[str, str]:
    """The instruction, and the grammar without it. Raises UserError for an instruction that is no plain words."""
    found = _TASK.search(grammar)
    if found is None or not _INSTRUCTION.fullmatch(found[1]):
        raise UserError(f"{file}: its grammar has no instruction in plain words; refused")
    return found[1], grammar[: found.start(1)] + tables.UNKNOWN_GOAL + grammar[found.end(1) :]


def _check_problem(file: Path, problem: str, goal: str) -> None:
    """Raise UserError for a problem that ALFWorld's generator does not write: the translator takes nested quantifiers,
    which can keep it busy for ever, and names that overflow the engine's arrays. goal: that it must have."""
    if not all(map(_TOKEN.fullmatch, set(problem.replace("(", " ").replace(")", " ").split()))):
        raise UserError(f"{file}: its problem has names that the engine cannot take; refused")
    if problem.count("(") != problem.count(")"):
        raise UserError(f"{file}: its problem is damaged")
    parts = _PROBLEM.fullmatch(problem)
    if parts is None:
        raise UserError(f"{file}: its problem is damaged, or not of the form that ALFWorld writes; refused")
    names = re.sub(r"-\s+[\w-]+", "", parts["objects"]).split()
    if not all(map(_OBJECT.fullmatch, names)):
        raise UserError(f"{file}: its problem has objects without plain names; refused")
    if len(names) > MOST_NAMES or parts["facts"].count("(") > MOST_FACTS:
        raise UserError(f"{file}: its problem has more than {MOST_NAMES} things or {MOST_FACTS} facts; refused")
    if "".join(parts["goal"].split()) != "".join(goal.split()):
        raise UserError(f"{file}: its goal is not that of its task type, object and receptacle; refused")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json(file: Path) -> dict[str, Any]:
    check_readable(file)
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
