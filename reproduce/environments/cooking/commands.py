"""What a policy may say: a small grammar over plain words. Nothing else reaches the interpreter.

The interpreter of a compiled game knows more than a player needs: saving to a named file, undoing, restarting, several
commands in one line, commands that print the whole state. A text is a command only if it has one of the forms below,
in letters, hyphens and spaces alone; everything else is invalid.

The skill of a command is its verb's class (`SKILLS`); it is `invalid` for any other text and where the game did not
carry the command out and gives no reason either (see `terse.nothing_happened`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import lru_cache

from reproduce.environments.cooking.tasks import APPLIANCE, CUTTING_VERB, World

SKILLS = ("go", "open", "take", "look", "cook", "cut", "prepare", "eat", "invalid")
"""open: also close; take: also drop, put and insert; look: look, examine, read and inventory; eat: also drink."""
DIRECTIONS = ("north", "east", "south", "west")
LONGEST_ACTION = 100
"""Characters; a longer text is invalid."""

_SKILL_OF_VERB = {
    "go": "go",
    **dict.fromkeys(DIRECTIONS, "go"),
    "open": "open",
    "close": "open",
    **dict.fromkeys(("take", "get", "pick", "drop", "put", "insert"), "take"),
    **dict.fromkeys(("look", "inventory", "examine", "read"), "look"),
    "cook": "cook",
    **dict.fromkeys(CUTTING_VERB.values(), "cut"),
    "prepare": "prepare",
    "eat": "eat",
    "drink": "eat",
}
_SEVERAL = "then|and|all|both|each|every|everyth[a-z]*|but|except|them"
"""Words with which a command would do several things; the interpreter reads nine letters of a word."""
_WORD = rf"(?!(?:{_SEVERAL})\b)[a-z-]+"
_NOUN = f"{_WORD}(?: {_WORD}){{0,4}}"
_FORMS = re.compile(
    "|".join(
        (
            "look",
            "inventory",
            "prepare meal",
            f"(?:go )?(?:{'|'.join(DIRECTIONS)})",
            f"(?:examine|read|open|close|get|pick up|drop|eat|drink) {_NOUN}",
            f"take {_NOUN}",
            f"put {_NOUN} on {_NOUN}",
            f"insert {_NOUN} into {_NOUN}",
            f"cook {_NOUN} (?:with|on|in|using) {_NOUN}",
            f"(?:{'|'.join(CUTTING_VERB.values())}) {_NOUN} (?:with|using) {_NOUN}",
        )
    )
)


def parse(action: str) -> str | None:
    """The command in its normal form: lower case, single spaces. None if the text is no command."""
    return _parse(action) if len(action) <= LONGEST_ACTION else None


@lru_cache(maxsize=65_536)
def _parse(action: str) -> str | None:
    command = " ".join(action.lower().split())
    return command if _FORMS.fullmatch(command) else None


def skill_of(command: str) -> str:
    """The class of the command's verb. Raises KeyError for a text that `parse` does not return."""
    return _SKILL_OF_VERB[command.split()[0]]


@lru_cache(maxsize=1024)
def commands_of(world: World) -> tuple[str, ...]:
    """Every plausible command of a game, whether possible now or not, in a fixed order."""
    return tuple(_commands(world))


def _commands(world: World) -> Iterator[str]:
    yield from ("look", "inventory", "prepare meal", "eat meal")
    if len(world.rooms) > 1:
        yield from (f"go {direction}" for direction in DIRECTIONS)
    doors = {way.door for room in world.rooms for way in room.exits if way.door}
    for name in (*world.containers, *sorted(doors)):
        yield from (f"open {name}", f"close {name}")
    holders = {holder for room in world.rooms for holder in room.holders}
    for name in sorted(thing.name for thing in world.things):
        yield from (f"examine {name}", f"take {name}", f"drop {name}")
    for food in sorted(world.foods):
        yield f"eat {food}"
        yield from (f"cook {food} with {name}" for name in APPLIANCE.values() if name in holders)
        yield from (f"{verb} {food} with knife" for verb in CUTTING_VERB.values())


def random_command(world: World, generator: random.Random) -> str:
    """One of `commands_of`, each as likely."""
    return generator.choice(commands_of(world))
