"""The words of the countdown environment. A word-level tokenizer with them covers all terse texts and actions."""

from __future__ import annotations

from reproduce.environments.countdown.rules import RESET, SKILL_OF_OPERATOR
from reproduce.environments.countdown.tasks import LARGEST_RESULT


def words(largest_result: int = LARGEST_RESULT) -> tuple[str, ...]:
    """Every word once, in a fixed order; each integer up to the largest result is a word of its own.

    So a number costs one token, whatever its size, and nothing has to be spelled; what the operations do to the words
    is learned from the observations.
    """
    return ("target", "numbers", "invalid", RESET, *SKILL_OF_OPERATOR, *map(str, range(largest_result + 1)))
