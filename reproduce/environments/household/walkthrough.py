"""The expert of ALFWorld's own games: it knows where everything is, goes there and does what the task type asks.

Fast Downward's planner, the expert of generated games, finds no plan in minutes in one in six of ALFWorld's scenes of
fifty receptacles. Here the commands are tried in the engine, so a walkthrough that is returned wins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from reproduce.environments.household.engine import Game, Position
from reproduce.environments.household.tasks import LAMP, PROCESSES, TWO, VERBS, HouseholdTask

MOST_TRIES = 500
"""Choices of objects and places that are tried."""
Place = tuple[str, str]
"""A thing and the receptacle that it is in."""


def walkthrough(game: Game, task: HouseholdTask, position: Position | None = None) -> tuple[str, ...]:
    """Commands from a position, the start when left out, to the goal. Empty where no choice of objects wins."""
    start = _Walk(game, position or game.start())
    start.free_hands()
    for choice in itertools.islice(_choices(game, task, start.position), MOST_TRIES):
        walk = _Walk(game, start.position)
        if walk.carry_out(task, *choice):
            return (*start.commands, *walk.commands)
    return ()


def _choices(game: Game, task: HouseholdTask, position: Position) -> Iterator[tuple[Sequence[Place], str, str]]:
    """Objects to fetch, where they end (the lamp itself for its task), and the place on the way (sink, fridge, ...)."""
    names = {identifier: entity.name for identifier, entity in game.entities.items()}
    facts = [fact for predicate in ("objecttype", "receptacletype") for fact in position.facts.named(predicate)]

    def of_kind(wanted: str) -> list[str]:
        return sorted(names[thing] for thing, kind in facts if kind.lower() == f"{wanted}Type".lower())

    lying = sorted((names[thing], names[place]) for thing, place in position.facts.named("inreceptacle"))
    wanted = set(of_kind(task.item))
    items = [place for place in lying if place[0] in wanted]
    if task.category == LAMP:
        lamps = set(of_kind(task.target))
        yield from (([item], lamp, place) for item in items for lamp, place in lying if lamp in lamps)
        return
    stops = of_kind(PROCESSES[task.category][1]) if task.category in PROCESSES else [""]
    for target, stop in itertools.product(of_kind(task.target), stops):
        away = [place for place in items if stop or place[1] != target]
        there = len({thing for thing, place in items if place == target})
        for fetched in itertools.combinations(away, max(0, 2 - there) if task.category == TWO else 1):
            yield fetched, target, stop


class _Walk:
    """Commands that were carried out, and where they led."""

    def __init__(self, game: Game, position: Position) -> None:
        self.game, self.position = game, position
        self.commands: list[str] = []

    def do(self, command: str) -> bool:
        """Carry out a command; False where nothing happens."""
        after = self.game.step(self.position, command)
        if after is None:
            return False
        self.position = after
        self.commands.append(command)
        return True

    def visit(self, place: str) -> None:
        """Go to a receptacle, unless there already, and open it if it is closed."""
        self.do(f"go to {place}")
        self.do(f"open {place}")

    def free_hands(self) -> None:
        """Put down what is carried, in the first place that takes it."""
        carried = [self.game.entities[thing].name for _, thing in self.position.facts.named("holds")]
        places = [self.game.entities[place].name for place, _ in self.position.facts.named("receptacleatlocation")]
        for thing in carried:
            for place in sorted(places):
                reached = len(self.commands), self.position
                self.visit(place)
                if self.put(thing, place):
                    break
                del self.commands[reached[0] :]
                self.position = reached[1]

    def put(self, thing: str, place: str) -> bool:
        """Put a thing down, in the words of either release."""
        return self.do(f"move {thing} to {place}") or self.do(f"put {thing} in/on {place}")

    def carry_out(self, task: HouseholdTask, fetched: Sequence[Place], target: str, stop: str) -> bool:
        """Whether the goal is reached by bringing these things to the target."""
        for thing, place in fetched:
            self.visit(place)
            if not self.do(f"take {thing} from {place}"):
                return False
            if stop:
                # Neither a fridge nor a microwave has to be open.
                self.do(f"go to {stop}")
            if task.category == LAMP:
                return self.do(f"use {target}") and self.position.won
            if stop and not self.do(f"{VERBS[PROCESSES[task.category][0]]} {thing} with {stop}"):
                return False
            self.visit(target)
            if not self.put(thing, target):
                return False
        return self.position.won
