"""The words of the reasoning environment. A word-level tokenizer with them covers all terse texts and actions."""

from __future__ import annotations

from reproduce.environments.reasoning.steps import ANSWER, FREE, NEWLINE, SKILL_OF_OPERATION


def words() -> tuple[str, ...]:
    """Every word once, in a fixed order. Numbers are digits, for all arithmetic is modulo ten."""
    return (
        NEWLINE,
        *("start", "then", "of", "?", "chain", "="),
        *SKILL_OF_OPERATION,
        FREE,
        ANSWER,
        *map(str, range(10)),
    )
