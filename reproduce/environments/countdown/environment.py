"""The environment: one operation an action, or `reset`; success when one number is left and it is the target.

Terse texts name the target and the numbers left, in ascending order, which is all that a decision needs:

    target 24 numbers 3 5 8          the prompt, and the answer to every action that is carried out
    invalid target 24 numbers 3 5 8  the answer to an action that is not: it costs a round and changes nothing

A number is one word (see `vocabulary`). Nothing but the rounds ends an episode that does not succeed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reproduce.environments.countdown.rules import RESET, Numbers, carry_out, parse
from reproduce.environments.countdown.tasks import CountdownTask
from reproduce.environments.protocol import NoForcedAnswer, Observation

HORIZON = 12
"""Rounds: three attempts at a puzzle of four numbers, with the resets between them, and one to spare."""

_RULES = (
    'Take two of the numbers and write one operation on them, such as "8 * 3"; its result replaces the two. Results '
    'must be integers from 0 to {limit}, and division must come out even. Write "reset" to start again.'
)


@dataclass(frozen=True)
class CountdownEnvironment(NoForcedAnswer):
    """The puzzle as a pure function of task, actions so far and action."""

    observations: Literal["terse", "full"] = "terse"
    """`terse`: see the module; `full`: the engine's question, with the rules of play in plain English."""

    def __post_init__(self) -> None:
        if self.observations not in ("terse", "full"):
            raise ValueError(f"observations {self.observations!r} is neither 'terse' nor 'full'")

    def reset(self, task: CountdownTask) -> str:
        """Target and numbers."""
        if self.observations == "terse":
            return _terse(task, task.numbers)
        return f"{task.question}\n{_RULES.format(limit=task.largest_result)}"

    def step(self, task: CountdownTask, history: tuple[str, ...], action: str) -> Observation:
        """Carry out an operation or a reset. Any other text is invalid and changes nothing."""
        left, skill = carry_out(task.numbers, numbers_left(task, history), action, task.largest_result)
        if len(left) == 1 and left[0] == task.target:
            return Observation("", done=True, success=True, skill=skill)
        invalid = skill == "invalid"
        if self.observations == "terse":
            text = f"invalid {_terse(task, left)}" if invalid else _terse(task, left)
        else:
            said = "That is not possible, nothing happens. " if invalid else ""
            text = f"{said}Numbers left: {', '.join(map(str, left))}. Target: {task.target}."
        return Observation(text, done=False, success=False, skill=skill)


def numbers_left(task: CountdownTask, history: tuple[str, ...]) -> Numbers:
    """The numbers left after the actions so far: short enough to be played again from the last reset each time."""
    left = task.numbers
    first = next((place for place in range(len(history) - 1, -1, -1) if parse(history[place]) == RESET), -1) + 1
    for action in history[first:]:
        left, _ = carry_out(task.numbers, left, action, task.largest_result)
    return left


def _terse(task: CountdownTask, left: Numbers) -> str:
    return f"target {task.target} numbers {' '.join(map(str, left))}"
