"""Lines: what the policy writes. One line is one step; lines are separated by the word `<newline>`.

A word-level tokenizer splits at white space, so a line break has to be a word of its own; for the same reason methods
that cut a completion into steps find the boundaries as occurrences of one token. A real line break does as well.
Blank lines are no steps, so consecutive breaks count as one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NEWLINE = "<newline>"
"""The word, and so the token of a word-level tokenizer, that ends a step."""
LONGEST_ACTION = 10_000
"""Characters of an action that are read; a longer one has no steps."""
FREE, ANSWER = "free", "answer"
SKILL_OF_OPERATION = {"plus": "add", "minus": "subtract", "times": "multiply"}
SKILLS = (*SKILL_OF_OPERATION.values(), FREE, ANSWER, "invalid")
"""Abstract symbol of a line: its operation, `free`, `answer`, or `invalid` for every line of another form."""

_CALCULATION = re.compile(r"[0-9] (plus|minus|times) [0-9] = [0-9]")
_FREE_OR_ANSWER = re.compile(rf"({FREE}|{ANSWER}) [0-9]")


def split_steps(action: str) -> tuple[str, ...]:
    """The lines of an action, in lower case and with single spaces, without blank ones."""
    return tuple(line for line in (" ".join(line.split()) for line in _raw_lines(action)) if line)


def last_step(action: str) -> str:
    """The last of the lines that `split_steps` gives, without the work for the others; empty where there is none."""
    for line in reversed(_raw_lines(action)):
        words = line.split()
        if words:
            return " ".join(words)
    return ""


def _raw_lines(action: str) -> list[str]:
    return action.lower().replace(NEWLINE, "\n").split("\n") if len(action) <= LONGEST_ACTION else []


def join_steps(steps: Sequence[str]) -> str:
    """An action of these lines; `<newline>` stands between them."""
    return f" {NEWLINE} ".join(steps)


def calculate(value: int, operation: str) -> int:
    """Carry out an operation such as `plus 4`, modulo ten; a free one leaves the value as it is."""
    if is_free(operation):
        return value
    name, operand = operation.split()
    number = int(operand)
    return {"plus": value + number, "minus": value - number, "times": value * number}[name] % 10


def is_free(operation: str) -> bool:
    """Whether an operation of a decisive chain is none: any line will do there."""
    return operation.startswith(FREE)


def line_of(value: int, operation: str) -> str:
    """The step that carries out an operation: `3 plus 4 = 7`; of a free one, the words of the question."""
    return operation if is_free(operation) else f"{value} {operation} = {calculate(value, operation)}"


def skill_of(line: str) -> str:
    """Abstract symbol of a line, by its form alone."""
    found = _CALCULATION.fullmatch(line)
    if found:
        return SKILL_OF_OPERATION[found[1]]
    found = _FREE_OR_ANSWER.fullmatch(line)
    return found[1] if found else "invalid"


def step_skills(action: str) -> tuple[str, ...]:
    """Abstract symbol of each line of an action."""
    return tuple(skill_of(line) for line in split_steps(action))
