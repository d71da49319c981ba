"""Actions of a general model: lenient in form, strict in content.

A general model knows the commands but not how bare they have to be: it writes `> Take apple 1 from fridge 1.` and goes
on with what it expects to see. What is read is its first line that is not blank, in lower case, without a mark that
opens a line, quotation marks around it or a full stop after it. Nothing else is taken away, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from reproduce.environments.protocol import Observation

LONGEST_READ = 10_000
"""Characters of an action that are looked at; the rest is as if it were not there."""
_MARKS = (">", "-", "*")
"""May open a line, if a space follows."""
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"


@lru_cache(maxsize=1 << 14)
def plain_line(action: str) -> str:
    """The first line of an action that is not blank, as a bare command; empty where there is none."""
    return next(filter(None, map(_bare, action[:LONGEST_READ].split("\n"))), "")


@lru_cache(maxsize=1 << 12)
def plain_lines(action: str) -> str:
    """Every line of an action as a bare one, without blank ones: where lines are the steps of one action. Of one that
    is too long to be read whole nothing is left."""
    if len(action) > LONGEST_READ:
        return ""
    return "\n".join(filter(None, map(_bare, action.split("\n"))))


def _bare(line: str) -> str:
    line = line.strip().lower()
    if line.startswith(tuple(f"{mark} " for mark in _MARKS)):
        line = line[2:]
    previous = ""
    while line != previous:
        previous, line = line, line.strip().strip(_QUOTES).removesuffix(".")
    return line


class PlainActions:
    """An environment that reads its actions in a plain form first: the same tasks for a general model."""

    def __init__(self, environment: Any, read: Callable[[str], str] = plain_line) -> None:
        """environment: of the protocol. read: the plain form of an action."""
        self.environment, self.read = environment, read

    def reset(self, task: Any) -> str:
        """The environment's prompt."""
        return str(self.environment.reset(task))

    def step(self, task: Any, history: tuple[str, ...], action: str) -> Observation:
        """The environment's answer to the plain form of the action, after the plain forms of the earlier ones."""
        observation: Observation = self.environment.step(task, tuple(map(self.read, history)), self.read(action))
        return observation

    def close(self, task: Any) -> str | None:
        """The environment's message at the end of the rounds."""
        message: str | None = self.environment.close(task)
        return message

    def step_closed(self, task: Any, history: tuple[str, ...], action: str) -> Observation:
        """The environment's verdict on the forced answer."""
        observation: Observation = self.environment.step_closed(task, tuple(map(self.read, history)), self.read(action))
        return observation
