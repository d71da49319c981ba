"""What the installed `alfworld` package says: its PDDL domain, grammar, goals, floor plans and tables of objects.

The files are read where the package lies. The package itself is not imported: that would create a folder in the user's
home and pull in what the household does not need.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from reproduce.core.files import UserError

UNKNOWN_GOAL = "UNKNOWN GOAL"
"""Stands in the package's grammar where a game has its instruction."""
CATEGORIES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""The six task types, under the package's names."""
BASINS = {"Sink": "SinkBasin", "Bathtub": "BathtubBasin"}
"""What the floor plans call a thing whose basin is the receptacle."""


@dataclass(frozen=True)
class Tables:
    """The package's tables; object and receptacle types are written as there, such as `CounterTop`."""

    holds: Mapping[str, frozenset[str]]
    """Object types that a receptacle type can hold; receptacles that cannot be carried only."""
    properties: Mapping[str, frozenset[str]]
    """Object types that are `Heatable`, `Coolable`, `Cleanable`, `Toggleable`, `Sliceable`."""
    openable: frozenset[str]
    movable: frozenset[str]
    """Receptacles that can be carried, such as a bowl: objects here."""
    rooms: Mapping[str, frozenset[str]]
    """Rooms in which a category is played."""
    goals: Mapping[str, str]
    """PDDL of a category's goal, with {obj}, {recep} and {toggle} to fill in; closes the problem."""
    templates: Mapping[str, tuple[str, ...]]
    """Wordings of a category's instruction, with the same places to fill in."""
    floor_plans: Mapping[str, tuple[int, ...]]
    """Numbers of a room's floor plans."""
    seen: frozenset[int]
    """Floor plans of the package's training scenes; the others are its unseen ones."""


def package_folder() -> Path:
    """Where `alfworld` is installed. Raises UserError where it is not."""
    found = importlib.util.find_spec("alfworld")
    if found is None or not found.submodule_search_locations:
        raise UserError("household needs alfworld; install rl-claims[household]")
    return Path(found.submodule_search_locations[0])


@lru_cache(maxsize=1)
def domain() -> str:
    """The PDDL domain."""
    return (package_folder() / "data" / "alfred.pddl").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def grammar() -> str:
    """The grammar of all texts, with `UNKNOWN GOAL` for the instruction."""
    return (package_folder() / "data" / "alfred.twl2").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Read once."""
    constants, library = _module("constants"), _module("goal_library")
    movable = frozenset(constants.MOVABLE_RECEPTACLES)
    holds = {
        receptacle: frozenset(item for item in items if not item.endswith("Sliced"))
        for receptacle, items in sorted(constants.VAL_RECEPTACLE_OBJECTS.items())
        if receptacle in constants.STATIC_RECEPTACLES
    }
    return Tables(
        holds={receptacle: items for receptacle, items in holds.items() if items},
        properties={name: frozenset(items) for name, items in constants.VAL_ACTION_OBJECTS.items()},
        openable=frozenset(constants.OPENABLE_CLASS_LIST) - movable,
        movable=movable,
        rooms={category: frozenset(constants.GOALS_VALID[category]) for category in CATEGORIES},
        # The library writes `#` where PDDL has `-`, since its own names contain hyphens.
        goals={category: library.gdict[category]["pddl"].replace("#", "-") for category in CATEGORIES},
        templates={category: tuple(library.gdict[category]["templates"]) for category in CATEGORIES},
        floor_plans={room: tuple(numbers) for room, numbers in constants.SCENE_TYPE.items()},
        seen=frozenset(constants.TRAIN_SCENE_NUMBERS),
    )


def floor_plan(number: int) -> tuple[Counter[str], tuple[str, ...]]:
    """Receptacle types of a floor plan with how many there are, and its other object types, sorted."""
    folder = package_folder() / "gen" / "layouts"
    objects: list[str] = _json(folder / f"FloorPlan{number}-objects.json")
    places: dict[str, Any] = _json(folder / f"FloorPlan{number}-openable.json")
    kinds = (place.split("|")[0] for place in sorted(places))
    counted = Counter(BASINS.get(kind, kind) for kind in kinds)
    receptacles = Counter({kind: max(1, counted[kind]) for kind in sorted({*counted, *objects} & set(tables().holds))})
    return receptacles, tuple(sorted(set(objects) - set(receptacles)))


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _module(name: str) -> ModuleType:
    """One module of the package's `gen` folder, without what the package imports around it."""
    file = package_folder() / "gen" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"_alfworld_{name}", file)
    if specification is None or specification.loader is None:
        raise UserError(f"alfworld has no {name}; install rl-claims[household] again")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
