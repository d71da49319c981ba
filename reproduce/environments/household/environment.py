"""The household as a pure function of task, earlier actions and action.

The engine's positions are kept, up to a bound, by the actions that led to them; one that is not there is played
again from the nearest earlier one. An action is one of the engine's commands, such as `take apple 1 from fridge 1`;
any other text changes nothing and is answered `Nothing happens.`, as by the stock engine.

Skills: the five of ReuseRL's household (6.1 of its specification), one more for actions that only inform, and
`invalid`. Going, opening and closing is `search` with empty hands and `transport` while something is carried, which
the actions before determine.

Only running out of rounds ends an episode without success. A policy that draws uniformly from the admissible commands
succeeds in under 1 % of the default tasks within the horizon of 30 rounds (`benchmarks/household.py` measures it).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from reproduce.core.files import UserError
from reproduce.environments.household.tables import package_folder
from reproduce.environments.household.tasks import HouseholdTask, OfficialTask
from reproduce.environments.household.terse import terse
from reproduce.environments.protocol import NoForcedAnswer, Observation

if TYPE_CHECKING:
    from reproduce.environments.household.engine import Game, Position

SKILLS = ("search", "take", "transport", "process", "deliver", "inform", "invalid")
LONGEST_ACTION = 1_000
"""Characters of an action that are read; nothing happens after a longer one."""
POSITIONS = 20_000
"""Positions kept; about 4 kB each in the default scenes."""
_SKILL_OF_VERB = {
    "take": "take",
    "move": "deliver",
    "put": "deliver",
    **dict.fromkeys(("heat", "cool", "clean", "use", "slice"), "process"),
    **dict.fromkeys(("look", "inventory", "examine", "help"), "inform"),
}


def skill_of(command: str, accepted: bool, carrying: bool) -> str:
    """Abstract symbol of a command. accepted: whether the engine carried it out. carrying: before it."""
    if not accepted:
        return "invalid"
    return _SKILL_OF_VERB.get(command.split()[0], "transport" if carrying else "search")


@lru_cache(maxsize=512)
def loaded_game(task: HouseholdTask) -> Game:
    """The task's game in the engine, shared by all environments of a process.

    Raises UserError where the engine is not installed, and one that names the game where that does not load.
    """
    package_folder()
    try:
        from reproduce.environments.household.engine import Game
    except ImportError:
        raise UserError("household needs textworld; install rl-claims[household]") from None
    try:
        own = (task.domain, task.grammar) if isinstance(task, OfficialTask) else ()
        return Game(task.problem, task.instruction, *own)
    except ValueError as error:
        raise UserError(f"{task.identifier}: {error}") from None
    except (LookupError, AttributeError, TypeError, StopIteration) as error:
        # What TextWorld raises where a problem lacks something it takes for granted.
        raise UserError(f"{task.identifier}: the engine cannot load it ({type(error).__name__}: {error})") from error


class HouseholdEnvironment(NoForcedAnswer):
    """The household with the engine's own texts (`full`) or with those of `terse`."""

    def __init__(self, observations: Literal["terse", "full"] = "terse", positions: int = POSITIONS) -> None:
        if observations not in ("terse", "full"):
            raise ValueError(f"observations are terse or full, not {observations!r}")
        self._write = terse if observations == "terse" else str
        self._kept: OrderedDict[tuple[HouseholdTask, tuple[str, ...]], Position] = OrderedDict()
        self._most = positions

    def reset(self, task: HouseholdTask) -> str:
        """What the agent sees in the middle of the room, and the instruction."""
        return self._write(self.position(task, ()).text)

    def step(self, task: HouseholdTask, history: tuple[str, ...], action: str) -> Observation:
        """Carry out a command, or say that nothing happens."""
        before = self.position(task, history)
        command = _command(action)
        after = self._after(task, history, before, command)
        # Not by identity: either may have been dropped and played again.
        accepted = after.path != before.path
        skill = skill_of(command, accepted, carrying=any(before.facts.named("holds")))
        if after.won:
            return Observation("", done=True, success=True, skill=skill)
        text = after.text if accepted else "Nothing happens."
        return Observation(self._write(text), done=False, success=False, skill=skill)

    def commands(self, task: HouseholdTask, history: tuple[str, ...]) -> tuple[str, ...]:
        """The engine's admissible commands, sorted."""
        return self.position(task, history).commands

    def position(self, task: HouseholdTask, history: tuple[str, ...]) -> Position:
        """The engine's position after some actions."""
        done = tuple(map(_command, history))
        known = len(done)
        while known and (task, done[:known]) not in self._kept:
            known -= 1
        position = self._kept.get((task, done[:known])) or self._keep(task, (), loaded_game(task).start())
        for place in range(known, len(done)):
            position = self._after(task, done[:place], position, done[place])
        return position

    def _after(self, task: HouseholdTask, history: tuple[str, ...], before: Position, command: str) -> Position:
        """The position after a command; the same one where nothing happens."""
        key = (task, (*map(_command, history), command))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        return self._keep(task, key[1], loaded_game(task).step(before, command) or before)

    def _keep(self, task: HouseholdTask, history: tuple[str, ...], position: Position) -> Position:
        self._kept[task, history] = position
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return position


def _command(action: str) -> str:
    """An action as it is looked up: the stock engine's strip, and nothing of a text too long to be a command."""
    return action.strip() if len(action) <= LONGEST_ACTION else ""
