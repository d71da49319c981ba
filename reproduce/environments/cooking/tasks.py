"""What a game of the cooking environment is: its level, its kitchen, its recipe. Plain data, no engine needed.

The games are those of TextWorld's cooking challenge (Cote et al. 2018, `textworld/challenges/tw_cooking`). A game comes
in two kinds that look the same until food is inspected:

- `cook-on`: the ingredients are raw, and the cookbook says how to cook them;
- `cook-off`: the ingredients are cooked already, the cookbook reads the same, and cooking them again burns them, which
  loses the game.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reproduce.environments.protocol import Panel

COOK_ON, COOK_OFF = "cook-on", "cook-off"
CATEGORIES = (COOK_ON, COOK_OFF)

INVENTORY = "inventory"
"""The place of what the player carries."""

APPLIANCE = {"fried": "stove", "roasted": "oven", "grilled": "bbq"}
"""What gives food a state; any other appliance gives it a wrong one and loses the game."""
COOKING_VERB = {"fried": "fry", "roasted": "roast", "grilled": "grill"}
CUTTING_VERB = {"chopped": "chop", "sliced": "slice", "diced": "dice"}


@dataclass(frozen=True)
class Level:
    """Difficulty, as the settings of TextWorld's generator."""

    recipe: int = 1
    """Ingredients, 1 to 5."""
    take: int = 0
    """Ingredients to find, at most `recipe`; the player carries the others from the start."""
    cut: bool = False
    """Whether ingredients are uncut at the start; if not they are cut as the cookbook wants them."""
    rooms: int = 1
    """1, 6, 9 or 12."""
    closed: bool = True
    """Whether doors and containers are closed at the start."""

    def __post_init__(self) -> None:
        if not 1 <= self.recipe <= 5 or not 0 <= self.take <= self.recipe or self.rooms not in (1, 6, 9, 12):
            raise ValueError(f"{self}: recipe is 1 to 5, take 0 to recipe, rooms 1, 6, 9 or 12")

    @property
    def label(self) -> str:
        """The settings in TextWorld's words."""
        return "+".join(
            (
                f"recipe{self.recipe}",
                *([f"take{self.take}"] if self.take else ()),
                *(["cut"] if self.cut else ()),
                *(["open"] if self.closed else ()),
                f"go{self.rooms}",
            )
        )

    @property
    def horizon(self) -> int:
        """About twice the rounds that a careful player needs: 12 to 24 for the default levels."""
        per_ingredient = 2 + 2 * self.cut + 2 * (self.take > 0)
        return 10 + 2 * self.cut + per_ingredient * self.recipe + 2 * (self.rooms if self.rooms > 1 else 0)


DEFAULT_LEVELS = (
    Level(recipe=1),
    Level(recipe=1, take=1, cut=True),
    Level(recipe=2, take=1),
    Level(recipe=2, take=1, cut=True),
)
"""One kitchen, one or two ingredients."""
HORIZON = max(level.horizon for level in DEFAULT_LEVELS)
"""Enough rounds for every task of the default levels."""


@dataclass(frozen=True)
class Exit:
    direction: str
    destination: str
    door: str
    """Name of the door in the way; empty without one."""


@dataclass(frozen=True)
class Room:
    name: str
    exits: tuple[Exit, ...]
    holders: tuple[str, ...]
    """Containers and supporters, which never move."""


@dataclass(frozen=True)
class Thing:
    """Something that can be carried, and where it is at the start: a holder, a room (its floor) or INVENTORY."""

    name: str
    place: str


@dataclass(frozen=True)
class Ingredient:
    food: str
    cooking: str
    """`fried`, `roasted` or `grilled`: what the cookbook asks for."""
    cutting: str
    """`chopped`, `sliced`, `diced` or `uncut`."""


@dataclass(frozen=True)
class World:
    """The start of a game, all names in lower case and unique. States of food are left out: the kind says them."""

    start: str
    kitchen: str
    rooms: tuple[Room, ...]
    things: tuple[Thing, ...]
    foods: tuple[str, ...]
    containers: tuple[str, ...]
    """Holders that open and close."""
    closed: tuple[str, ...]
    """Containers and doors that are closed at the start."""
    ingredients: tuple[Ingredient, ...]
    """In the order of the cookbook."""

    def room(self, name: str) -> Room:
        """The room of that name."""
        return next(room for room in self.rooms if room.name == name)

    def room_of(self, holder: str) -> str:
        """The room in which a holder stands."""
        return next(room.name for room in self.rooms if holder in room.holders)

    def place_of(self, thing: str) -> str:
        """Where a thing is at the start."""
        return next(one.place for one in self.things if one.name == thing)

    @property
    def canonical_form(self) -> str:
        """The recipe and the place of every thing, whatever the kind, the seed and the flavour of the texts."""
        content = asdict(self)
        for unordered in ("rooms", "things", "foods", "containers", "closed", "ingredients"):
            content[unordered] = sorted(content[unordered], key=lambda item: json.dumps(item, sort_keys=True))
        return json.dumps(content, sort_keys=True)


@dataclass(frozen=True)
class CookingTask:
    """One game. The first fields are the request that determines it, the last two are what the engine made of it."""

    identifier: str
    category: str
    """`cook-on` or `cook-off`. The panel that asks for one could as well ask for the other: its twin, the same game but
    for the state of the ingredients."""
    panel: str
    """`train`, `test` or `ood`."""
    panel_seed: int
    place: int
    """In the panel."""
    level: Level
    game_seed: int
    """The seed TextWorld got."""
    world: World

    @property
    def horizon(self) -> int:
        """Rounds within which the task is meant to be solved."""
        return self.level.horizon


def canonical_forms(panel: Panel[CookingTask]) -> set[str]:
    """What two panels must not share: recipe and place of everything. Twins have the same form."""
    return {task.world.canonical_form for task in panel.tasks}


def prepared_foods(panel: Panel[CookingTask]) -> set[str]:
    """Every food with its way of cooking and cutting that a recipe of the panel asks for.

    Panels `train` and `ood` share none (TextWorld's own splits); `test` has the distribution of `train`.
    """
    return {" ".join(asdict(one).values()) for task in panel.tasks for one in task.world.ingredients}


def world_from_json(content: Mapping[str, Any]) -> World:
    """The inverse of `asdict`. Raises KeyError or TypeError where the content is not that of a World."""
    return World(
        start=content["start"],
        kitchen=content["kitchen"],
        rooms=tuple(
            Room(room["name"], tuple(Exit(**way) for way in room["exits"]), tuple(room["holders"]))
            for room in content["rooms"]
        ),
        things=tuple(Thing(**thing) for thing in content["things"]),
        foods=tuple(content["foods"]),
        containers=tuple(content["containers"]),
        closed=tuple(content["closed"]),
        ingredients=tuple(Ingredient(**ingredient) for ingredient in content["ingredients"]),
    )
