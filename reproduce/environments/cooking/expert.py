"""The scripted expert, and demonstrators who share its plan but make mistakes.

Both know the kitchen and read the same cookbook. The careful one inspects the food it carries and cooks what is still
uncooked; the careless one does what the cookbook says, to the letter, which burns food that is cooked already.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.environments.cooking.environment import CookingEnvironment
from reproduce.environments.cooking.tasks import APPLIANCE, COOK_ON, CUTTING_VERB, INVENTORY, CookingTask, Exit, World
from reproduce.environments.protocol import Turn

INSPECT = "inventory"
COOKBOOK, KNIFE = "cookbook", "knife"


@dataclass(frozen=True)
class Demonstrator:
    """How a demonstrator plays. The default is careful and makes no mistake; every field is a chance."""

    careless: float = 0.0
    """To follow the cookbook to the letter, without a look at the food, in the whole episode."""
    cuts_again: float = 1.0
    """Of a careless one, to cut what is cut already, in the whole episode: refused without loss, but each such cut
    costs a round, so whoever looks at the food first can be the quicker one."""
    examines_each: float = 0.0
    """Of a careful one, to examine the ingredients one by one instead of the inventory."""
    wrong_appliance: float = 0.0
    """At each food to cook, to use another appliance of the room: the game is lost."""
    wrong_cut: float = 0.0
    """At each food to cut, to cut it another way: the game is lost."""
    forgets: float = 0.0
    """At each food to cook or cut, to do it only after the meal could not be prepared."""
    tastes: float = 0.0
    """Before the first ingredient is prepared, to eat one: the game is lost, unless it is raw."""
    detour: float = 0.0
    """Before each action, to do something harmless that helps nobody and shows no food."""
    misspeaks: float = 0.0
    """Before each action, to say something that is no command."""


class _Route:
    """Commands under way: knows the room the player is in and what has been opened."""

    def __init__(self, world: World) -> None:
        self.world, self.room = world, world.start
        self.closed, self.carried = set(world.closed), {one.name for one in world.things if one.place == INVENTORY}
        self.commands: list[str] = []

    def to_room(self, room: str) -> None:
        """Take the shortest way and open the doors on it."""
        for way in _shortest_way(self.world, self.room, room):
            self.open(way.door)
            self.commands.append(f"go {way.direction}")
            self.room = way.destination

    def open(self, name: str) -> None:
        """Open a door or a container unless it is open."""
        if name in self.closed:
            self.closed.remove(name)
            self.commands.append(f"open {name}")

    def to_thing(self, name: str) -> None:
        """Go where a thing can be reached."""
        place = self.world.place_of(name)
        if place != INVENTORY:
            rooms = {room.name for room in self.world.rooms}
            self.to_room(place if place in rooms else self.world.room_of(place))
            self.open(place)

    def take(self, name: str) -> None:
        """Go to a thing and take it unless it is carried."""
        if name not in self.carried:
            self.to_thing(name)
            self.commands.append(f"take {name}")
            self.carried.add(name)


def _shortest_way(world: World, start: str, goal: str) -> list[Exit]:
    ways: dict[str, list[Exit]] = {start: []}
    waiting = deque([start])
    while goal not in ways:
        here = waiting.popleft()
        for way in world.room(here).exits:
            if way.destination not in ways:
                ways[way.destination] = [*ways[here], way]
                waiting.append(way.destination)
    return ways[goal]


def solve(task: CookingTask) -> tuple[str, ...]:
    """The expert's actions: read the cookbook, fetch the ingredients, inspect them, do what is left to do, eat."""
    return tuple(_script(task, random.Random(0), Demonstrator()))


def _script(task: CookingTask, generator: random.Random, demonstrator: Demonstrator) -> list[str]:
    world = task.world
    careless = generator.random() < demonstrator.careless
    route = _Route(world)
    route.to_thing(COOKBOOK)
    route.commands.append(f"examine {COOKBOOK}")
    foods = [ingredient.food for ingredient in world.ingredients]
    for food in foods:
        route.take(food)
    if not careless:
        each = generator.random() < demonstrator.examines_each
        route.commands += [f"examine {food}" for food in foods] if each else [INSPECT]
    if generator.random() < demonstrator.tastes:
        route.commands.append(f"eat {generator.choice(foods)}")
    cuts_again = careless and generator.random() < demonstrator.cuts_again
    now, later = _split(_steps(task, careless, cuts_again), generator, demonstrator)
    for steps in (now, later) if later else (now,):
        for step in steps:
            step.perform(route, generator, demonstrator)
        route.to_room(world.kitchen)
        route.commands.append("prepare meal")
    route.commands.append("eat meal")
    return route.commands


@dataclass(frozen=True)
class _Cook:
    food: str
    appliance: str

    def perform(self, route: _Route, generator: random.Random, demonstrator: Demonstrator) -> None:
        room = route.world.room_of(self.appliance)
        others = [name for name in APPLIANCE.values() if name in route.world.room(room).holders]
        others.remove(self.appliance)
        wrong = generator.random() < demonstrator.wrong_appliance
        appliance = generator.choice(others) if wrong and others else self.appliance
        route.to_room(room)
        route.commands.append(f"cook {self.food} with {appliance}")


@dataclass(frozen=True)
class _Cut:
    food: str
    verb: str

    def perform(self, route: _Route, generator: random.Random, demonstrator: Demonstrator) -> None:
        wrong = generator.random() < demonstrator.wrong_cut
        others = [verb for verb in CUTTING_VERB.values() if verb != self.verb]
        route.take(KNIFE)
        route.commands.append(f"{generator.choice(others) if wrong else self.verb} {self.food} with {KNIFE}")


def _steps(task: CookingTask, careless: bool, cuts_again: bool) -> list[_Cook | _Cut]:
    """The cookbook's directions but for the last; of a careful cook only those that are still to be done.

    cuts_again: also to cut what is cut already, if there is a knife: the game refuses, and nothing is lost.
    """
    knife = any(thing.name == KNIFE for thing in task.world.things)
    steps: list[_Cook | _Cut] = []
    for ingredient in task.world.ingredients:
        if ingredient.cutting in CUTTING_VERB and (task.level.cut or (cuts_again and knife)):
            steps.append(_Cut(ingredient.food, CUTTING_VERB[ingredient.cutting]))
        if task.category == COOK_ON or careless:
            steps.append(_Cook(ingredient.food, APPLIANCE[ingredient.cooking]))
    return steps


def _split(
    steps: Sequence[_Cook | _Cut], generator: random.Random, demonstrator: Demonstrator
) -> tuple[list[_Cook | _Cut], list[_Cook | _Cut]]:
    """What is done at once and what is forgotten at first."""
    forgotten = [generator.random() < demonstrator.forgets for _ in steps]
    pairs = list(zip(steps, forgotten, strict=True))
    return [step for step, late in pairs if not late], [step for step, late in pairs if late]


def demonstrate(
    task: CookingTask, rounds: int, generator: random.Random, demonstrator: Demonstrator | None = None
) -> tuple[Turn, ...]:
    """One demonstration of at most `rounds` actions, with terse observations. The default demonstrator wins.

    It starts with the prompt and ends with an action: the one that ended the game, or the last one before the timeout.
    """
    demonstrator = demonstrator or Demonstrator()
    environment = CookingEnvironment()
    text, history = environment.reset(task), tuple[str, ...]()
    turns = []
    for action in _with_slips(_script(task, generator, demonstrator), generator, demonstrator)[:rounds]:
        turns += [Turn(text, by_policy=False), Turn(action, by_policy=True)]
        observation = environment.step(task, history, action)
        if observation.done:
            break
        text, history = observation.text, (*history, action)
    return tuple(turns)


def _with_slips(script: Sequence[str], generator: random.Random, demonstrator: Demonstrator) -> list[str]:
    actions = []
    for action in script:
        if generator.random() < demonstrator.detour:
            actions.append(generator.choice(_HARMLESS))
        if generator.random() < demonstrator.misspeaks:
            said = action.split()
            actions.append(" ".join(reversed(said) if len(said) > 1 else said * 2))
        actions.append(action)
    return actions


_HARMLESS = (f"examine {COOKBOOK}", f"examine {KNIFE}", "open oven", "close oven")


def explain(task: CookingTask) -> str:
    """The task in words for a person: what is asked, the trap, a solution."""
    foods = " and ".join(
        f"{one.food} ({one.cooking}{'' if one.cutting == 'uncut' else f', {one.cutting}'})"
        for one in task.world.ingredients
    )
    if task.category == COOK_ON:
        trap = (
            "The ingredients are not cooked yet, so each has to be cooked once, and only once: cooking burns food that"
            " is cooked already. `inventory` shows what is cooked."
        )
    else:
        trap = (
            "The ingredients are cooked already, though the cookbook says to cook them: whoever follows it to the"
            " letter burns them and loses. `inventory` shows what is cooked."
        )
    return "\n".join(
        (
            f"Cook the meal of the cookbook, with {foods}, and eat it.",
            f"The trap: {trap}",
            "A wrong way of cooking or cutting an ingredient, or eating one, loses the game too.",
            f"A solution: {', '.join(solve(task))}.",
        )
    )
