"""The expert, which is the engine's planner, and demonstrators, who see only what a policy sees.

The planner knows where everything is, so its episodes teach nothing about searching. A demonstrator goes from
receptacle to receptacle, opens what is closed and remembers what it saw; each of its mistakes has a chance of its own.
A demonstration ends when the task is solved or the rounds are used up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NoReturn

from reproduce.environments.household.environment import HouseholdEnvironment, loaded_game
from reproduce.environments.household.tables import tables
from reproduce.environments.household.tasks import LAMP, PROCESSES, TWO, VERBS, HouseholdTask, OfficialTask
from reproduce.environments.household.terse import terse
from reproduce.environments.protocol import Turn


@dataclass(frozen=True)
class Demonstrator:
    """Chances of a demonstrator's habits and mistakes. The default has none, searches with care and succeeds."""

    knows_places: float = 0.0
    """For each search: to know where the thing is and go straight there. Careless as a habit: no policy can know."""
    checks: float = 0.0
    """Before each command: an `inventory`, `look` or `examine` first, which tells nothing new."""
    detour: float = 0.0
    """Before each place to search: to go first to one chosen at random."""
    slip: float = 0.0
    """Before each command: one that the engine does not take."""
    wrong_object: float = 0.0
    """For each search: to pick up something else on the way, and put it back."""
    skips_process: float = 0.0
    """To deliver the object as it is where it should be clean, hot or cool, and then lose the thread."""
    splits_pair: float = 0.0
    """To take the second of two objects to another receptacle of the right type, where there is one, and then lose the
    thread."""
    gives_up: float = 0.0
    """Before each command: to lose the thread, that is to act at random from here on."""


class _Ended(Exception):
    """The task is solved, or the rounds are used up."""


@dataclass
class _Episode:
    """An episode being written, with what the demonstrator remembers of it."""

    task: HouseholdTask
    environment: HouseholdEnvironment
    rounds: int
    generator: random.Random
    demonstrator: Demonstrator
    turns: list[Turn] = field(default_factory=list)
    history: tuple[str, ...] = ()
    at: str = ""
    seen: dict[str, list[str]] = field(default_factory=dict)
    """Receptacles whose contents were seen, with what was in them then."""

    def __post_init__(self) -> None:
        prompt = self.environment.reset(self.task)
        self.turns.append(Turn(prompt, by_policy=False))
        self.receptacles = _names(self.text().partition(" ; ")[2])

    def text(self) -> str:
        """What was read last, in terse form."""
        return terse(self.environment.position(self.task, self.history).text)

    def act(self, command: str) -> str:
        """Carry out a command, perhaps after a check or a slip. Raises _Ended."""
        if self.chance(self.demonstrator.gives_up):
            self.wander()
        if self.chance(self.demonstrator.checks):
            self.write(self.generator.choice(["inventory", "look", *([f"examine {self.at}"] if self.at else [])]))
        if self.chance(self.demonstrator.slip):
            self.write(self.generator.choice(["take", f"open open {self.generator.choice(self.receptacles)}"]))
        return self.write(command)

    def write(self, command: str) -> str:
        """One round. Raises _Ended."""
        self.turns.append(Turn(command, by_policy=True))
        observation = self.environment.step(self.task, self.history, command)
        self.history += (command,)
        if observation.done or len(self.history) >= self.rounds:
            raise _Ended
        self.turns.append(Turn(observation.text, by_policy=False))
        return self.text()

    def wander(self) -> NoReturn:
        """Act at random until the episode ends."""
        while True:
            self.write(random_action(self.task, self.history, self.generator))

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.generator.random() < probability

    def visit(self, receptacle: str) -> list[str]:
        """Go there unless there already, open it if it is closed, and see what is in it."""
        text = self.act(f"go to {receptacle}") if self.at != receptacle else ""
        self.at = receptacle
        if text.endswith("closed"):
            text = self.act(f"open {receptacle}")
        if text:
            self.seen[receptacle] = _names(text.partition(" : ")[2])
        return self.seen[receptacle]

    def find(self, kind: str, places: list[str]) -> tuple[str, str]:
        """An object of a kind and its receptacle, the demonstrator standing before it.

        places: where to look for it, in this order, unless it was seen before.
        """
        for receptacle, things in self.seen.items():
            if receptacle in places and (found := _of_kind(kind, things)):
                self.visit(receptacle)
                return found, receptacle
        if self.chance(self.demonstrator.knows_places):
            places = sorted(places, key=lambda place: not _of_kind(kind, self._hidden(place)))
        distracted = self.chance(self.demonstrator.wrong_object)
        for receptacle in places:
            if receptacle in self.seen:
                continue
            on_the_way = [self.generator.choice(self.receptacles)] if self.chance(self.demonstrator.detour) else []
            for stop in [*on_the_way, receptacle]:
                things = self.visit(stop)
                if stop in places and (found := _of_kind(kind, things)):
                    return found, stop
            if distracted and things and f"take {things[0]} from {receptacle}" in self._commands():
                self.act(f"take {things[0]} from {receptacle}")
                self.act(f"move {things[0]} to {receptacle}")
                distracted = False
        # Possible in official games only, where a thing may lie in a place that the tables do not name.
        return self.wander()

    def take(self, kind: str, places: list[str]) -> str:
        found, receptacle = self.find(kind, places)
        self.act(f"take {found} from {receptacle}")
        self.seen[receptacle].remove(found)
        return found

    def put(self, thing: str, receptacle: str) -> None:
        self.visit(receptacle)
        self.act(f"move {thing} to {receptacle}")
        self.seen[receptacle].append(thing)

    def of_type(self, kind: str) -> list[str]:
        """Receptacles of a type, in the order in which they are listed."""
        return [name for name in self.receptacles if name.rpartition(" ")[0] == kind.lower()]

    def _commands(self) -> tuple[str, ...]:
        return self.environment.commands(self.task, self.history)

    def _hidden(self, receptacle: str) -> list[str]:
        """What is in a receptacle, seen or not."""
        entities = loaded_game(self.task).entities
        facts = self.environment.position(self.task, self.history).facts.named("inreceptacle")
        return [entities[thing].name for thing, place in facts if entities[place].name == receptacle]


def solve(task: HouseholdTask) -> tuple[str, ...]:
    """The commands of the engine's plan from the start; of a walkthrough in ALFWorld's own games. Empty where none is
    found."""
    game = loaded_game(task)
    if isinstance(task, OfficialTask):
        from reproduce.environments.household.walkthrough import walkthrough

        return walkthrough(game, task)
    return game.plan(game.start())


def demonstrate(
    task: HouseholdTask,
    rounds: int,
    generator: random.Random,
    demonstrator: Demonstrator | None = None,
    observations: Literal["terse", "full"] = "terse",
) -> tuple[Turn, ...]:
    """One demonstration of at most `rounds` commands. The default demonstrator solves every task of the default size
    within HORIZON."""
    if rounds < 1:
        raise ValueError("a demonstration needs at least one round")
    environment = HouseholdEnvironment(observations)
    episode = _Episode(task, environment, rounds, generator, demonstrator or Demonstrator())
    try:
        _solve(episode)
        episode.wander()
    except _Ended:
        pass
    return tuple(episode.turns)


def _solve(episode: _Episode) -> None:
    task = episode.task
    item, target = task.item.lower(), task.target.lower()
    places = [place for place in episode.receptacles if _can_hold(place, task.item)]
    if task.category != LAMP:
        # What is asked for never lies where it should go.
        places = [place for place in places if place not in episode.of_type(target)]
    thing = episode.take(item, places)
    if task.category == LAMP:
        lamp, _ = episode.find(target, episode.receptacles)
        episode.act(f"use {lamp}")
        return
    if task.category in PROCESSES and not episode.chance(episode.demonstrator.skips_process):
        needed, appliance = PROCESSES[task.category]
        place = episode.of_type(appliance)[0]
        # Neither the fridge nor the microwave has to be open.
        if episode.at != place:
            episode.act(f"go to {place}")
            episode.at = place
        episode.act(f"{VERBS[needed]} {thing} with {place}")
    first, *others = episode.of_type(target)
    episode.put(thing, first)
    if task.category == TWO:
        second = episode.take(item, places)
        apart = bool(others) and episode.chance(episode.demonstrator.splits_pair)
        episode.put(second, others[0] if apart else first)


def random_action(task: HouseholdTask, history: tuple[str, ...], generator: random.Random) -> str:
    """One of the admissible commands, all equally likely."""
    return generator.choice(_shared().commands(task, history))


@lru_cache(maxsize=1)
def _shared() -> HouseholdEnvironment:
    """One environment for all random actions of a process, since what it keeps saves playing again."""
    return HouseholdEnvironment()


def _can_hold(receptacle: str, item: str) -> bool:
    kind = receptacle.rpartition(" ")[0]
    return any(item in items for name, items in tables().holds.items() if name.lower() == kind)


def _of_kind(kind: str, things: list[str]) -> str:
    """The first thing of a kind, or an empty text."""
    return next((thing for thing in things if thing.rpartition(" ")[0] == kind), "")


def _names(text: str) -> list[str]:
    """The two-word names in a terse list."""
    words: Iterator[str] = iter(text.split())
    return [] if text == "nothing" else [f"{word} {number}" for word, number in zip(words, words, strict=True)]
