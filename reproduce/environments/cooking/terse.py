"""The terse mode: the game's answer in a few words of a fixed vocabulary, for tiny models.

The rule, answer by answer (`words` lists every word that can occur):

- A room (at the start, after `go` and `look`): `ROOM ; HOLDER : THING , THING ; CONTAINER closed ; exits : DIRECTION`.
  Containers, stove, oven and BBQ are always named, other holders and the floor only with something on them; a door is
  named after its direction with `open` or `closed`.
- The cookbook: `ingredients : FOOD , FOOD ; directions : fry FOOD , slice FOOD , prepare meal`.
- `inventory`: `carrying : THING , THING`. Another `examine`: what is named in the answer, or `nothing special`.
- A deed: its participle and its object, as `taken red onion`, `fried red onion`, `open fridge : FOOD , FOOD`.
- A refusal: its reason in two or three words (`_REFUSALS`); any other answer: `nothing happens`.

States of food (raw, fried, sliced ...) are shown in answer to `look`, `inventory` and `examine` alone. In the game's
own text they also stand in the opening, in new rooms and in opened containers. Scores and flavour are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from reproduce.environments.cooking.tasks import APPLIANCE, COOKING_VERB, CUTTING_VERB, World

NOTHING_HAPPENS, NOT_HERE, INVALID = "nothing happens", "not here", "invalid"
STATES = ("raw", *COOKING_VERB, "burned", *CUTTING_VERB)
FLOOR = "floor"

_REFUSALS = {
    "can't see any such thing": NOT_HERE,
    "only understood you as far as": NOT_HERE,
    "still miss something": "something missing",
    "needs to be cooked": "needs cooking",
    "should cook": "needs cooking",
    "needs to be cut": "needs cutting",
    "Can only prepare meal": "not in kitchen",
    "requires a knife": "needs knife",
    "Can only cut": "cannot cut",
    "Can only cook": "cannot cook",
    "requires a source of heat": "needs heat",
    "already open": "already open",
    "already closed": "already closed",
    "already have": "already taken",
    "is already here": "not carried",
    "is already": "already cut",
    "already been cut": "already cut",
    "need to take": "not carried",
    "have to open": "door closed",
    "can't go that way": "no exit",
    "Which do you mean": "which one",
    "haven't got that": "not carried",
}
_DEEDS = tuple(
    (re.compile(pattern), participle)
    for pattern, participle in (
        (r"You burned the ([\w -]+)!", "burned"),
        *((rf"You {state} the ([\w -]+)\.", state) for state in APPLIANCE),
        *((rf"You {verb} the ([\w -]+)\.", state) for state, verb in CUTTING_VERB.items()),
        (r"You take the ([\w -]+) from the", "taken"),
        (r"You pick up the ([\w -]+) from the ground", "taken"),
        (r"You drop the ([\w -]+) on the ground", "dropped"),
        (r"You put the ([\w -]+) (?:on|into) the", "put"),
        (r"You close (?:the )?([\w -]+)\.", "closed"),
        (r"You (?:eat|drink) the ([\w -]+)\.", "eaten"),
    )
)
_OPENED = re.compile(r"You open (?:the )?([\w -]+?)(?:, revealing ([^.]+))?\.")
_ROOM = re.compile(r"-= ([\w -]+) =-")
_QUESTION = re.compile(r"(?:\([^)]*\)\s*)*(?:Which|Who|Whom|What) do you (?:mean|want)\b")
"""The interpreter reads the next command as the answer, unless it is put back to where it was."""
_OPENNESS = re.compile(r"\b(open|opened|closed)\b[^.!?]*\Z")
_MESSAGES = ("ingredients", "directions", "carrying", "nothing", "special", "exits", "meal ready", *": ; ,".split())


def terse_opening(world: World, text: str) -> str:
    """The room in which the game starts."""
    return _room(world, text, states=False)


def terse_answer(world: World, command: str, text: str) -> str:
    """What the game answered to a command."""
    if _ROOM.search(text):
        return _room(world, text, states=command == "look")
    if command == "inventory":
        things = _names(world, text)
        return f"carrying : {' , '.join(things)}" if things else "carrying nothing"
    if "Ingredients:" in text and "Directions:" in text:
        return _cookbook(text)
    deed = _deed(world, text)
    if deed is None and command.split()[0] in ("examine", "read") and _refusal(text) == NOTHING_HAPPENS:
        return " , ".join(_names(world, text)) or "nothing special"
    return deed or _refusal(text)


def is_refused(world: World, command: str, text: str) -> bool:
    """Whether the game did not carry the command out and gives no reason that lies in the game, or asks back."""
    return _QUESTION.match(text) is not None or terse_answer(world, command, text) in (NOTHING_HAPPENS, NOT_HERE)


def _deed(world: World, text: str) -> str | None:
    if "Adding the meal" in text:
        return "meal ready"
    if opened := _OPENED.search(text):
        things = _names(world, opened[2] or "", states=False)
        return f"open {opened[1].lower()}" + (f" : {' , '.join(things)}" if things else "")
    for pattern, participle in _DEEDS:
        if found := pattern.search(text):
            return f"{participle} {found[1].lower()}"
    return None


def _refusal(text: str) -> str:
    return next((short for part, short in _REFUSALS.items() if part in text), NOTHING_HAPPENS)


def _cookbook(text: str) -> str:
    ingredients, directions = text.split("Ingredients:")[1].split("Directions:")
    lines = [
        " , ".join(line.replace(" the ", " ").strip().lower() for line in part.strip().splitlines())
        for part in (ingredients, directions)
    ]
    return f"ingredients : {lines[0]} ; directions : {lines[1]}"


@lru_cache(maxsize=1024)
def _name_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    return re.compile(rf"\b((?:(?:{'|'.join(STATES)}) )*)({longest_first})\b")


def _things(world: World) -> tuple[str, ...]:
    return (*(thing.name for thing in world.things), "meal")


def _names(world: World, text: str, states: bool = True) -> list[str]:
    """The things named in a text, in order, each as the text first has it."""
    found: dict[str, str] = {}
    for match in _name_pattern(_things(world)).finditer(text.lower()):
        found.setdefault(match[2], (match[1] if states else "") + match[2])
    return list(found.values())


@dataclass
class _Holder:
    """What the description of a room says about one holder."""

    before: str
    """The text before its name."""
    said: str = ""
    things: Sequence[str] = ()


def read_holders(world: World, text: str, states: bool = True) -> dict[str, _Holder]:
    """The holders of a room, and its floor, with the things in each.

    TextWorld describes the holders of a room one after the other and never names one before its turn, so what is named
    after a holder and before the next one is in it or on it. Only then it tells what lies on the floor.
    """
    header = _ROOM.search(text)
    if header is None:
        raise ValueError("no room is described")
    room = world.room(header[1].lower())
    body = text[header.end() :].lower()
    starts: dict[str, tuple[int, int]] = {}
    for match in _name_pattern((*room.holders, "on the floor")).finditer(body):
        name = FLOOR if match[2] == "on the floor" else match[2]
        place = max(body.rfind(mark, 0, match.start()) for mark in ".!?\n") + 1 if name == FLOOR else match.start(2)
        starts.setdefault(name, (place, match.end()))
    holders = {}
    ends = sorted(start for start, _ in starts.values())
    for name, (start, _) in sorted(starts.items(), key=lambda item: item[1]):
        end = next((later for later in ends if later > start), len(body))
        said = body[start:end]
        holders[name] = _Holder(body[:start], said, _names(world, said, states))
    return holders


def is_open(holder: _Holder) -> bool:
    """Whether a container is open: the game says so, or what is in it, or that it is empty."""
    told = _OPENNESS.search(holder.before)
    return bool(holder.things) or "empty" in holder.said or (told is not None and told[1] != "closed")


def _room(world: World, text: str, states: bool) -> str:
    header = _ROOM.search(text)
    assert header is not None
    room = world.room(header[1].lower())
    parts = [room.name]
    for name, holder in read_holders(world, text, states).items():
        things = f" : {' , '.join(holder.things)}" if holder.things else ""
        if name in world.containers:
            parts.append(name + (things or (" open" if is_open(holder) else " closed")))
        elif things or name in APPLIANCE.values():
            parts.append(name + things)
    if room.exits:
        body = text.lower()
        exits = [
            f"{way.direction} {way.door} {'closed' if f'closed {way.door}' in body else 'open'}"
            if way.door
            else way.direction
            for way in room.exits
        ]
        parts.append(f"exits : {' , '.join(exits)}")
    return " ; ".join(parts)


def message_words() -> tuple[str, ...]:
    """Every word of terse answers that is no name of the game's world."""
    texts = (*_MESSAGES, *_REFUSALS.values(), NOTHING_HAPPENS, INVALID, FLOOR, *STATES)
    participles = tuple(participle for _, participle in _DEEDS)
    return tuple(dict.fromkeys(" ".join((*texts, *participles, *COOKING_VERB.values())).split()))
