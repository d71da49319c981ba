"""The environment: TextWorld's cooking game as a pure function of the actions so far.

An episode ends when the meal is eaten (success) or the game is lost. Kinds of failure: `burned`, where the last command
burned an ingredient, and `lost` for any other way to lose: a wrong way to cook or to cut, an ingredient eaten. An
episode that uses up its rounds ends as a timeout, which the rollouts say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from reproduce.environments.cooking.commands import parse, skill_of
from reproduce.environments.cooking.engine import Engine, Position, shared_engine
from reproduce.environments.cooking.generation import STORY, obtain_game, read_task, request_of
from reproduce.environments.cooking.tasks import CookingTask
from reproduce.environments.cooking.terse import INVALID, is_refused, terse_answer, terse_opening
from reproduce.environments.protocol import NoForcedAnswer, Observation

BURNED, LOST = "burned", "lost"
"""Kinds of failure of an episode that ended before its rounds did."""
NO_COMMAND = "That is no command that the game knows."
"""Ours, in full mode: the interpreter does not get to see what is none."""


@dataclass(frozen=True)
class CookingEnvironment(NoForcedAnswer):
    """The cooking game as a pure function of task, actions so far and action."""

    observations: Literal["terse", "full"] = "terse"
    """`terse`: a few words of a fixed vocabulary (see `terse`); `full`: the game's own text."""
    engine: Engine | None = None
    """Plays the games and remembers positions; the one all environments of this process share if None."""

    def __post_init__(self) -> None:
        if self.observations not in ("terse", "full"):
            raise ValueError(f"observations {self.observations!r} is neither 'terse' nor 'full'")

    def reset(self, task: CookingTask) -> str:
        """The goal and the first room; in terse mode the room alone, for the goal is always the same."""
        text = self._position(task, ()).text
        return terse_opening(task.world, text) if self.observations == "terse" else text

    def step(self, task: CookingTask, history: tuple[str, ...], action: str) -> Observation:
        """Carry out an action; an invalid one changes nothing. Raises ValueError after the game's end.

        An invalid action is one that is no command or that the game does not carry out for no reason of its own, be it
        with a question ("Which do you mean ...?"). It leaves the game as it was.
        """
        parsed = (parse(task.world, earlier) for earlier in history)
        commands = tuple(known for known in parsed if known is not None)
        command = parse(task.world, action)
        if command is None:
            said = INVALID if self.observations == "terse" else NO_COMMAND
            return Observation(said, done=False, success=False, skill="invalid")
        position = self._position(task, (*commands, command))
        answer = terse_answer(task.world, command, position.text)
        skill = "invalid" if is_refused(task.world, command, position.text) else skill_of(command)
        if position.over:
            failure = "" if position.won else BURNED if "You burned" in position.text else LOST
            return Observation("", done=True, success=position.won, skill=skill, failure=failure)
        text = answer if self.observations == "terse" else position.text
        return Observation(text, done=False, success=False, skill=skill)

    def _position(self, task: CookingTask, commands: tuple[str, ...]) -> Position:
        def find_story() -> Path:
            request = request_of(task)
            folder = obtain_game(request)
            read_task(request, folder)
            return folder / STORY

        return (self.engine or shared_engine()).position(
            task.identifier, find_story, commands, partial(is_refused, task.world)
        )
