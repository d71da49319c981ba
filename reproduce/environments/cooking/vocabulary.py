"""The words of the cooking environment. A word-level tokenizer with them covers all terse texts and actions."""

from __future__ import annotations

from functools import cache

from reproduce.environments.cooking.commands import DIRECTIONS
from reproduce.environments.cooking.generation import textworld_version
from reproduce.environments.cooking.tasks import CUTTING_VERB
from reproduce.environments.cooking.terse import message_words

_COMMAND_WORDS = (
    "go open close take get pick up drop put on insert into in from examine read look inventory cook with using eat"
    " drink prepare meal"
)


@cache
def words() -> tuple[str, ...]:
    """Every word once, in a fixed order: of commands, of answers, of the names in TextWorld's tables."""
    textworld_version()
    from textworld.challenges.tw_cooking import cooking

    doors = [name for door in cooking.DOORS for name in door["names"]]
    names = [*cooking.FOODS, *cooking.ENTITIES, *doors, *cooking.NEIGHBORS]
    text = " ".join((_COMMAND_WORDS, *DIRECTIONS, *CUTTING_VERB.values(), *message_words(), *names))
    return tuple(dict.fromkeys(text.lower().split()))
