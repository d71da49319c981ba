"""The scripted expert, and demonstrators who share its plan but make mistakes.

The careful one writes every step; the careless one works in its head, in part or altogether, and errs there more often.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from reproduce.environments.protocol import Turn
from reproduce.environments.reasoning.environment import ReasoningEnvironment
from reproduce.environments.reasoning.steps import ANSWER, FREE, calculate, is_free, join_steps
from reproduce.environments.reasoning.tasks import ReasoningTask, solution_lines

_NAMES = ("plus", "minus", "times")


@dataclass(frozen=True)
class Demonstrator:
    """How a demonstrator works. The default writes every step and makes no mistake; every field is a chance."""

    reliability: Mapping[str, float] = field(default_factory=dict)
    """Chance to work out an operation such as `plus 4` correctly on paper; 1 where not named."""
    in_head: float = 0.0
    """To write nothing but the answer."""
    skips: float = 0.0
    """At each step, to do it in the head and leave its line out."""
    head_slip: float = 0.0
    """At each step done in the head, to get it wrong, whatever the reliability on paper."""
    repeats: float = 0.0
    """After each line, to write it once more."""
    stops: float = 0.0
    """After each line, to stop there."""
    misspeaks: float = 0.0
    """At each line, to write something of another form in its place."""


def solve(task: ReasoningTask) -> tuple[str, ...]:
    """The expert's one action."""
    return (join_steps(solution_lines(task)),)


def demonstrate(
    task: ReasoningTask, rounds: int, generator: random.Random, demonstrator: Demonstrator | None = None
) -> tuple[Turn, ...]:
    """One demonstration: the question and a solution. Raises ValueError without a round to write it in."""
    if rounds < 1:
        raise ValueError("a solution needs one round")
    steps = _Solver(generator, demonstrator or Demonstrator()).write(task)
    return (
        Turn(ReasoningEnvironment().reset(task), by_policy=False),
        Turn(join_steps(steps), by_policy=True),
    )


class _Solver:
    """Writes one solution."""

    def __init__(self, generator: random.Random, demonstrator: Demonstrator) -> None:
        self.generator, self.demonstrator = generator, demonstrator

    def _happens(self, chance: float) -> bool:
        return self.generator.random() < chance

    def write(self, task: ReasoningTask) -> list[str]:
        demonstrator, lines, value = self.demonstrator, list[str](), task.start
        # A decisive chain counts lines, so that none can be left out or written twice.
        ordinary = task.template != "decisive"
        in_head = ordinary and self._happens(demonstrator.in_head)
        for operation in task.operations:
            if is_free(operation):
                lines.append(self._spoken(operation))
            elif in_head or (ordinary and self._happens(demonstrator.skips)):
                value = self._result(value, operation, 1 - demonstrator.head_slip)
                continue
            else:
                result = self._result(value, operation, demonstrator.reliability.get(operation, 1.0))
                lines.append(self._spoken(f"{value} {operation} = {result}"))
                value = result
            if ordinary and self._happens(demonstrator.repeats):
                lines.append(lines[-1])
            if self._happens(demonstrator.stops):
                return lines
        return [*lines, f"{ANSWER} {value}"] if ordinary else lines

    def _result(self, value: int, operation: str, reliability: float) -> int:
        """A mistake takes the operation for the next one of plus, minus, times, or counts one too far where that gives
        the same: so an error is systematic, and always is one."""
        right = calculate(value, operation)
        if self._happens(reliability):
            return right
        name, operand = operation.split()
        wrong = calculate(value, f"{_NAMES[(_NAMES.index(name) + 1) % len(_NAMES)]} {operand}")
        return wrong if wrong != right else (right + 1) % 10

    def _spoken(self, line: str) -> str:
        """The line, or now and then only its last word."""
        return line.split()[-1] if self._happens(self.demonstrator.misspeaks) else line


def random_action(task: ReasoningTask, history: tuple[str, ...], generator: random.Random) -> str:
    """As many lines as the solution has, each of the right form: the operation asked for between random digits, and a
    random answer."""
    lines = []
    for operation in task.operations:
        digit = generator.randrange(10)
        lines.append(f"{FREE} {digit}" if is_free(operation) else f"{digit} {operation} = {generator.randrange(10)}")
    return join_steps(lines if task.template == "decisive" else [*lines, f"{ANSWER} {generator.randrange(10)}"])


def explain(task: ReasoningTask) -> str:
    """What is asked, the trap and a solution, for a person."""
    solution = " / ".join(solution_lines(task))
    if task.template == "decisive":
        places = ", ".join(f"line {place + 1} ({task.lines[place]})" for place in task.decisive)
        return (
            f"Write {len(task.operations)} lines, starting from {task.start}. What counts, {len(task.decisive)} of "
            f"{len(task.operations)}: {places}. Trap: one wrong digit there cannot "
            f"be made good later, while the other lines may hold anything. A solution: {solution}."
        )
    steps = ", then ".join(task.operations)
    notes = {"nested": " The question names the last one first.", "trailing": " The question names the start last."}
    return (
        f"Start with {task.start}, then {steps}; keep the last digit only.{notes.get(task.template, '')} Trap: a "
        f"single wrong digit makes the answer wrong, for no operation forgets what it was given. A solution: "
        f"{solution}."
    )
