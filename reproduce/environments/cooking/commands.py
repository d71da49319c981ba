"""What a policy may say: a small grammar over plain words. Nothing else reaches the interpreter.

The interpreter of a compiled game knows more than a player needs: saving to a named file, undoing, restarting, several
commands in one line, things by number, by pronoun or by state, commands that print the whole state. A text is a command
only if it has one of the forms below and every object in it is a name of the game's own world or one of `EVERYWHERE`,
or the last words of a name (`onion`), with one of `ARTICLES` before it or none; everything else is invalid.

The skill of a command is its verb's class (`SKILLS`); it is `invalid` for any other text and where the game did not
carry the command out and gives no reason either (see `terse.is_refused`). An invalid action changes nothing.
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
ARTICLES = ("the", "a", "an")
"""May stand before a name; the interpreter does not get to see them."""
EVERYWHERE = ("meal", "cookbook", "knife", *APPLIANCE.values())
"""May be named in every game, whether it has them or not."""
_NOUN = "([a-z-]+(?: [a-z-]+){0,5})"
_FORMS = re.compile(
    "|".join(
        (
            "look",
            "inventory",
            "prepare meal",
            f"(?:go )?(?:{'|'.join(DIRECTIONS)})",
            f"(?:examine|read|open|close|get|pick up|drop|eat|drink|take) {_NOUN}",
            f"put {_NOUN} on {_NOUN}",
            f"insert {_NOUN} into {_NOUN}",
            f"cook {_NOUN} (?:with|on|in|using) {_NOUN}",
            f"(?:{'|'.join(CUTTING_VERB.values())}) {_NOUN} (?:with|using) {_NOUN}",
        )
    )
)
_ARTICLE = re.compile(rf"(?<![^ ])(?:{'|'.join(ARTICLES)}) ")


def parse(world: World, action: str) -> str | None:
    """The command in its normal form: lower case, single spaces, no articles. None if the text is no command."""
    if len(action) > LONGEST_ACTION:
        return None
    command, objects = _parse(action)
    return command if not objects or _names(world).issuperset(objects) else None


@lru_cache(maxsize=65_536)
def _parse(action: str) -> tuple[str | None, tuple[str, ...]]:
    """The normal form of a text that has the form of a command, and its objects."""
    command = " ".join(action.lower().split())
    found = _FORMS.fullmatch(command)
    if found is None:
        return None, ()
    objects = [found[place] for place in range(1, _FORMS.groups + 1) if found[place] is not None]
    return _ARTICLE.sub("", command), tuple(_ARTICLE.sub("", one, count=1) for one in objects)


@lru_cache(maxsize=1024)
def _names(world: World) -> frozenset[str]:
    """What a command may call the things, holders and doors of a game."""
    ways = [way.door for room in world.rooms for way in room.exits if way.door]
    holders = [holder for room in world.rooms for holder in room.holders]
    words = [name.split() for name in (*(thing.name for thing in world.things), *holders, *ways, *EVERYWHERE)]
    return frozenset(" ".join(name[place:]) for name in words for place in range(len(name)) if name[place] != "of")


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
