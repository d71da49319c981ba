"""Terse texts for tiny models: the engine's texts with every word left out that decides nothing.

The rule, sentence by sentence (A is an object, R a receptacle, both with their number; a list becomes its items):

    You are in the middle of a room. ... you see LIST. Your task is to: DO.   DO ; LIST
    You arrive at R. / You open the R. / (examine R)  In it / On it, you see LIST.   R : LIST
    The R is closed. / You close the R.               R closed
    You pick up the A from the R.                     holding A
    You move the A to the R. / put the A in/on the R. A in R
    You heat / cool / clean the A using the R.        hot A / cool A / clean A
    You turn on / off the A.                          A on / A off
    You sliced the A with the B.                      sliced A
    You are carrying: a A. / not carrying anything.   holding A / holding nothing
    You are facing the R. ...                         at R
    This is a hot and clean A. (and the like)         hot clean A
    There's nothing special about A.                  plain A
    Nothing happens.                                  nothing happens
    (the list of commands that `help` gives)          help

The instruction loses its articles and pronouns: `clean some fork and put it in drawer` is `clean fork put in drawer`.
Names are two words, such as `cabinet 2`. Actions are the engine's commands in both modes.
"""

from __future__ import annotations

import re

from reproduce.environments.household.layouts import LAMPS
from reproduce.environments.household.tables import tables

_NAME = r"([a-z]+ \d+)"
_STATES = {"heat": "hot", "cool": "cool", "clean": "clean"}
_LEFT_OUT = frozenset("a an the some it them and".split())
NOTHING = "nothing happens"
_NUMBERS = tuple(str(number) for number in range(1, 41))
_COMMAND_WORDS = "go to open close take from move examine use heat clean cool slice with inventory look help".split()
_TEXT_WORDS = (
    "nothing happens : ; closed holding in on off at hot cold cool clean sliced plain normal help room "
    "put two find under examine look".split()
)


def terse(text: str) -> str:
    """The terse form of an engine's text. Raises ValueError for a text the engine does not write."""
    if "Your task is to: " in text:
        return _prompt(text)
    flat = " ".join(text.split())
    for pattern, write in _RULES:
        found = pattern.fullmatch(flat)
        if found:
            return write(found)
    raise ValueError(f"not a text of the engine: {text[:80]!r}")


def _prompt(text: str) -> str:
    seen, _, task = text.partition("Your task is to: ")
    scene = re.search(r"you see (.*?)\.\s*$", seen.strip(), re.DOTALL)
    instruction = " ".join(word for word in task.lower().rstrip(". \n").split() if word not in _LEFT_OUT)
    return f"{instruction} ; {_listed(scene[1] if scene else '')}"


def _listed(text: str) -> str:
    """The names in `a apple 1, and a mug 2`."""
    return " ".join(re.findall(_NAME, text)) or "nothing"


def _state(found: re.Match[str]) -> str:
    words = [word for word in found[1].split() if word not in _LEFT_OUT]
    return " ".join([*words, found[2]])


_RULES = [
    (re.compile(pattern), write)
    for pattern, write in (
        (rf"(?:You arrive at {_NAME}\. )?The {_NAME} is closed\.", lambda found: f"{found[2]} closed"),
        (
            rf"(?:You arrive at {_NAME}\. )?On the {_NAME}, you see (.*)\.",
            lambda found: f"{found[2]} : {_listed(found[3])}",
        ),
        (
            rf"(?:You (?:arrive at|open the) {_NAME}\. )?The {_NAME} is open\. In it, you see (.*)\.",
            lambda found: f"{found[2]} : {_listed(found[3])}",
        ),
        (rf"You close the {_NAME}\.", lambda found: f"{found[1]} closed"),
        (rf"You pick up the {_NAME} from the {_NAME}\.", lambda found: f"holding {found[1]}"),
        (rf"You (?:move|put) the {_NAME} (?:to|in/on) the {_NAME}\.", lambda found: f"{found[1]} in {found[2]}"),
        (rf"You (heat|cool|clean) the {_NAME} using the .*\.", lambda found: f"{_STATES[found[1]]} {found[2]}"),
        (rf"You turn (on|off) the {_NAME}\.", lambda found: f"{found[2]} {found[1]}"),
        (rf"You sliced the {_NAME} with the .*\.", lambda found: f"sliced {found[1]}"),
        (rf"You are carrying: \[?a {_NAME}\]?\.", lambda found: f"holding {found[1]}"),
        (r"You are not carrying anything\.", lambda found: "holding nothing"),
        (rf"You are facing the {_NAME}.*", lambda found: f"at {found[1]}"),
        (r"You are in the middle of a room\. .* you see (.*)\.", lambda found: f"room : {_listed(found[1])}"),
        (
            rf"This is a normal {_NAME}\. In it, you see (.*)\.",
            lambda found: f"normal {found[1]} : {_listed(found[2])}",
        ),
        (rf"This is a ((?:(?:hot|cool|cold|clean|sliced|and) )+){_NAME}\.", _state),
        (rf"This {_NAME} is (on|off)\.", lambda found: f"{found[1]} {found[2]}"),
        (rf"There's nothing special about {_NAME}\.", lambda found: f"plain {found[1]}"),
        (r"Nothing happens\.", lambda found: NOTHING),
        (r"Available commands:.*", lambda found: "help"),
    )
]


def words() -> tuple[str, ...]:
    """Every word of terse texts and of commands in generated games, once, in a fixed order."""
    kinds = {*tables().holds, *LAMPS}.union(*tables().holds.values())
    return tuple(dict.fromkeys([*_TEXT_WORDS, *_COMMAND_WORDS, *_NUMBERS, *sorted(kind.lower() for kind in kinds)]))
