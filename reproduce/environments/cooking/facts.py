"""The start of a TextWorld game as plain data, from the facts and names of its own world."""

from __future__ import annotations

from typing import Any

from reproduce.environments.cooking.tasks import INVENTORY, Exit, Ingredient, Room, Thing, World

_DIRECTIONS = {"north_of": "north", "south_of": "south", "east_of": "east", "west_of": "west"}
_HOLDERS = ("c", "s", "oven", "stove", "toaster")
"""TextWorld's types of things that hold others and stay where they are."""
_CONTAINERS = ("c", "oven")


def world_of(game: Any) -> World:
    """game: a textworld.Game of the cooking challenge."""
    kinds = {identifier: info.type for identifier, info in game.infos.items()}
    names = {identifier: (info.name or "").lower() for identifier, info in game.infos.items()}
    facts = sorted((fact.name, *(argument.name for argument in fact.arguments)) for fact in game.world.facts)
    start = next(fact[2] for fact in facts if fact[:2] == ("at", "P"))
    placed = [(fact[1], fact[2]) for fact in facts if fact[0] in ("at", "on", "in") and fact[1] != "P"]
    carried = ("f", "o")
    return World(
        start=names[start],
        kitchen=next(names[fact[1]] for fact in facts if fact[0] == "cooking_location"),
        rooms=tuple(_room(identifier, names, kinds, facts, placed) for identifier in kinds if kinds[identifier] == "r"),
        things=tuple(
            Thing(names[thing], INVENTORY if place == "I" else names[place])
            for thing, place in placed
            if kinds[thing] in carried
        ),
        foods=tuple(names[thing] for thing, _ in placed if kinds[thing] == "f"),
        containers=tuple(names[thing] for thing, _ in placed if kinds[thing] in _CONTAINERS),
        closed=tuple(names[fact[1]] for fact in facts if fact[0] == "closed"),
        ingredients=tuple(
            Ingredient(food.lower(), cooking, cutting) for food, cooking, cutting in game.metadata["ingredients"]
        ),
    )


def _room(
    identifier: str,
    names: dict[str, str],
    kinds: dict[str, str],
    facts: list[tuple[str, ...]],
    placed: list[tuple[str, str]],
) -> Room:
    doors = {(fact[1], fact[3]): fact[2] for fact in facts if fact[0] == "link"}
    exits = [
        Exit(_DIRECTIONS[fact[0]], names[fact[1]], names.get(doors.get((identifier, fact[1]), ""), ""))
        for fact in facts
        if fact[0] in _DIRECTIONS and fact[2] == identifier
    ]
    holders = [names[thing] for thing, place in placed if place == identifier and kinds[thing] in _HOLDERS]
    return Room(names[identifier], tuple(exits), tuple(holders))
