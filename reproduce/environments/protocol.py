"""The protocol every environment follows, and the panel: a frozen, ordered list of its task instances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Generic, Protocol, TypeVar


class Task(Protocol):
    """What every task instance carries, whatever its environment. Instances are frozen dataclasses."""

    @property
    def identifier(self) -> str: ...

    @property
    def category(self) -> str: ...


TaskType = TypeVar("TaskType", bound=Task)
TaskInput = TypeVar("TaskInput", bound=Task, contravariant=True)


@dataclass(frozen=True)
class Observation:
    """What the environment answers to one action."""

    text: str
    """Words shown to the policy; empty when the episode is over."""
    done: bool
    """True when the action ended the episode."""
    success: bool
    """True only when the episode ended with the right answer."""
    skill: str
    """Abstract symbol of the action, from a small documented alphabet."""
    failure: str = ""
    """Kind of failure where an episode that ended can fail in more than one way, such as `burned`."""


class Environment(Protocol[TaskInput]):
    """A text environment as a pure function: what an action does depends on the task and the actions before it alone.

    That is what lets episodes that share a history share their computation.
    """

    def reset(self, task: TaskInput) -> str:
        """The prompt. It never reveals the number of rounds."""
        ...

    def step(self, task: TaskInput, history: tuple[str, ...], action: str) -> Observation:
        """Carry out one action, given as text, after the actions in `history`; any string is accepted."""
        ...

    def close(self, task: TaskInput) -> str | None:
        """The message that announces, once the rounds are used up, that only an answer is accepted now.

        None where no last answer is asked for: the episode then ends as a failure, a timeout.
        """
        ...

    def step_closed(self, task: TaskInput, history: tuple[str, ...], action: str) -> Observation:
        """The forced answer, with every tool off: always ends the episode. Called only where `close` has a message."""
        ...


class NoForcedAnswer:
    """For environments whose episodes just end when the rounds are used up."""

    def close(self, task: Task) -> None:
        """No last answer is asked for."""

    def step_closed(self, task: Task, history: tuple[str, ...], action: str) -> Observation:
        """Raises RuntimeError: there is no forced answer to give."""
        raise RuntimeError("this environment asks for no forced answer")


@dataclass(frozen=True)
class Turn:
    """One piece of an episode's text; a demonstration is a sequence of them."""

    text: str
    by_policy: bool


@dataclass(frozen=True)
class Panel(Generic[TaskType]):
    """A frozen, ordered list of task instances, identified by its sha256."""

    name: str
    """`train`, `test` or `ood`."""
    tasks: tuple[TaskType, ...]

    @property
    def sha256(self) -> str:
        """Digest of every field of every task, in order."""
        content = json.dumps([asdict(task) for task in self.tasks], sort_keys=True, ensure_ascii=True)  # type: ignore[call-overload]
        return hashlib.sha256(content.encode()).hexdigest()

    def select(self, category: str) -> tuple[TaskType, ...]:
        """The tasks of one category, in panel order."""
        return tuple(task for task in self.tasks if task.category == category)


def check_disjoint(panels: Sequence[Panel[TaskType]], canonical_forms: Sequence[set[str]]) -> None:
    """Raise ValueError if two panels share a canonical form.

    canonical_forms: one set a panel, of whatever must not be shared (for retrieval: the entities).
    """
    for first in range(len(panels)):
        for second in range(first + 1, len(panels)):
            shared = canonical_forms[first] & canonical_forms[second]
            if shared:
                names = f"panels {panels[first].name} and {panels[second].name}"
                raise ValueError(f"{names} share {len(shared)} items, for example {min(shared)!r}")
