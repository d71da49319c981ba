"""TextWorld's compiled games, played by Jericho's interpreter, as a pure function of the commands so far.

The interpreter has hidden state, so every state it was in is kept, keyed by the game and the commands before it, in a
cache of bounded size; one that is not there is reached again by replaying. A state is kept as its difference to the
state at the start of its game, a few hundred bytes instead of 40 kB.

Not safe for threads: an interpreter plays one command at a time.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reproduce.core.files import UserError

WON, LOST = "*** The End ***", "*** You lost! ***"
SEED = 1
"""Of the interpreter's random numbers, which the games do not use. Jericho takes 0 for the time of day."""
POSITIONS, INTERPRETERS = 65_536, 128
"""Bounds of the caches: about 4 kB each, and 2 MB each."""

IsRefused = Callable[[str, str], bool]
"""Of a command and the game's answer."""

_PROMPT = re.compile(r"\n>[^\n]*\Z")
_BANNER = re.compile(r"\A[\s$|/\\_<>]*(?=You are hungry)")
_BLANK_LINES = re.compile(r"\n\s*\n+")


@dataclass(frozen=True)
class Position:
    """A game after some commands."""

    text: str
    """What the game wrote last, without title, prompt and status line."""
    won: bool
    lost: bool
    memory: tuple[Any, ...] | None
    """The interpreter's state; None once the game is over."""

    @property
    def over(self) -> bool:
        return self.won or self.lost


def never(command: str, answer: str) -> bool:
    """No command is refused."""
    return False


def clean(written: str) -> str:
    """The game's text without its title, the prompt, the status line and repeated blank lines."""
    text = _PROMPT.sub("", written.rstrip())
    return _BLANK_LINES.sub("\n\n", _BANNER.sub("", text)).strip()


class Interpreter:
    """One compiled game in an interpreter of its own."""

    def __init__(self, story: Path) -> None:
        """story: a file of version 8. Raises UserError without the engine."""
        try:
            import jericho
        except ImportError:
            raise UserError("cooking needs textworld; install rl-claims[cooking]") from None
        with warnings.catch_warnings():
            # Jericho says that the game is not one of the classics whose score it can read.
            warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)
            self._frotz = jericho.FrotzEnv(str(story), SEED)
        written, _ = self._frotz.reset()
        state = self._frotz.get_state()
        self._ram, self._stack, *_ = state
        self.start = self._position(written, state)
        """The game before the first command."""
        self._here = self.start

    def play(self, position: Position, command: str, is_refused: IsRefused = never) -> Position:
        """The position after one more command: one refused leaves the state as it was, and only its answer is new.

        Raises ValueError if the game is over.
        """
        if position.memory is None:
            raise ValueError("the game is over")
        if position is not self._here:
            ram, stack, *rest = position.memory
            self._frotz.set_state((ram.applied_to(self._ram), stack.applied_to(self._stack), *rest))
        written, *_ = self._frotz.step(command)
        self._here = self._position(written, self._frotz.get_state())
        if not self._here.over and is_refused(command, self._here.text):
            return replace(self._here, memory=position.memory)
        return self._here

    def _position(self, written: str, state: tuple[Any, ...]) -> Position:
        won, lost = WON in written, LOST in written
        if won or lost:
            return Position(clean(written), won, lost, None)
        ram, stack, *rest = state
        memory = (Difference.between(self._ram, ram), Difference.between(self._stack, stack), *rest)
        return Position(clean(written), won, lost, memory)


@dataclass(frozen=True)
class Difference:
    """What turns one array of bytes into another of the same length."""

    places: np.ndarray
    values: np.ndarray

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> Difference:
        places = np.flatnonzero(before != after).astype(np.int32)
        return cls(places, after[places])

    def applied_to(self, before: np.ndarray) -> np.ndarray:
        after = before.copy()
        after[self.places] = self.values
        return after


class Engine:
    """Positions of games by what was done in them."""

    def __init__(self, positions: int = POSITIONS, interpreters: int = INTERPRETERS) -> None:
        """positions, interpreters: the most to keep, at least 1 each."""
        self._positions: OrderedDict[tuple[str, tuple[str, ...]], Position] = OrderedDict()
        self._interpreters: OrderedDict[str, Interpreter] = OrderedDict()
        self._most_positions, self._most_interpreters = positions, interpreters

    def position(
        self, game: str, find_story: Callable[[], Path], commands: tuple[str, ...], is_refused: IsRefused = never
    ) -> Position:
        """The position after `commands`, none of which may come after the end of the game.

        game: identifies the game. find_story: gives its file; called only where the game has no interpreter.
        is_refused: whether a command with its answer leaves the state as it was; always the same for a game.
        """
        known = len(commands)
        while known and (game, commands[:known]) not in self._positions:
            known -= 1
        if (game, commands[:known]) in self._positions:
            self._positions.move_to_end((game, commands[:known]))
            position = self._positions[game, commands[:known]]
        else:
            position = self._interpreter(game, find_story).start
            self._keep((game, ()), position)
        for place in range(known, len(commands)):
            position = self._interpreter(game, find_story).play(position, commands[place], is_refused)
            self._keep((game, commands[: place + 1]), position)
        return position

    def _keep(self, key: tuple[str, tuple[str, ...]], position: Position) -> None:
        self._positions[key] = position
        if len(self._positions) > self._most_positions:
            self._positions.popitem(last=False)

    def _interpreter(self, game: str, find_story: Callable[[], Path]) -> Interpreter:
        if game in self._interpreters:
            self._interpreters.move_to_end(game)
        else:
            self._interpreters[game] = Interpreter(find_story())
            if len(self._interpreters) > self._most_interpreters:
                self._interpreters.popitem(last=False)
        return self._interpreters[game]


@functools.cache
def shared_engine() -> Engine:
    """The engine of this process."""
    return Engine()
