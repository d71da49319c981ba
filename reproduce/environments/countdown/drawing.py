"""Puzzles drawn by reasoning-gym's Countdown generator, in blocks that are kept in the cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.environments.cache import cache_folder, obtain

BLOCK = 16
"""Draws in one entry of the cache."""
MISSING = "countdown needs reasoning-gym; install rl-claims[countdown]"
_FILE = "puzzles.json"


@dataclass(frozen=True)
class Level:
    """Sizes of puzzles. Numbers, results and targets are integers."""

    fewest_numbers: int
    most_numbers: int
    largest_number: int
    smallest_target: int
    largest_target: int

    def __post_init__(self) -> None:
        if not 2 <= self.fewest_numbers <= self.most_numbers <= 6:
            raise ValueError(f"2 to 6 numbers, got {self.fewest_numbers} to {self.most_numbers}")
        if self.largest_number < 1 or not 1 <= self.smallest_target <= self.largest_target:
            raise ValueError("numbers and targets start at 1, and the largest target is not below the smallest")

    def covers(self, numbers: tuple[int, ...], target: int) -> bool:
        """Whether a puzzle of this level could be this one."""
        return (
            self.fewest_numbers <= len(numbers) <= self.most_numbers
            and max(numbers) <= self.largest_number
            and self.smallest_target <= target <= self.largest_target
        )


@dataclass(frozen=True)
class Puzzle:
    """One draw: the numbers in the engine's order, the target and the engine's question."""

    numbers: tuple[int, ...]
    target: int
    question: str


def engine_version() -> str:
    """Version of reasoning-gym. Raises UserError where it is not installed."""
    try:
        return importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(MISSING) from None


def puzzles(level: Level, stream: str) -> Iterator[Puzzle]:
    """Endless draws; draw number i depends on (level, stream, i) and the version of the engine alone."""
    for block in count():
        yield from _block(level, stream, block)


def _block(level: Level, stream: str, block: int) -> list[Puzzle]:
    recipe = {"engine": engine_version(), "level": asdict(level), "stream": stream, "block": block, "draws": BLOCK}
    entry = obtain(cache_folder("countdown"), recipe, lambda folder: _draw(folder, level, stream, block))
    rows = json.loads((entry / _FILE).read_text(encoding="utf-8"))
    return [Puzzle(tuple(row["numbers"]), row["target"], row["question"]) for row in rows]


def _draw(folder: Path, level: Level, stream: str, block: int) -> None:
    try:
        from reasoning_gym.games.countdown import CountdownConfig, CountdownDataset
    except ImportError:
        raise UserError(MISSING) from None
    seed = int.from_bytes(hashlib.sha256(f"countdown {stream}".encode()).digest()[:7], "big")
    config = CountdownConfig(
        min_numbers=level.fewest_numbers,
        max_numbers=level.most_numbers,
        min_value=1,
        max_value=level.largest_number,
        min_target=level.smallest_target,
        max_target=level.largest_target,
        seed=seed,
        size=(block + 1) * BLOCK,
    )
    engine, rows, failure = CountdownDataset(config), [], None
    for place in range(block * BLOCK, (block + 1) * BLOCK):
        try:
            drawn = engine[place]
        except ValueError as error:  # the engine gives up on a draw after 100 attempts to meet the range of targets
            failure = error
            continue
        numbers, target = drawn["metadata"]["numbers"], drawn["metadata"]["target"]
        # What follows the first blank line asks for an expression as the answer, which is not how it is played here.
        rows.append({"numbers": numbers, "target": target, "question": drawn["question"].split("\n\n")[0]})
    if not rows:
        raise ValueError(f"the engine finds no puzzle of {level}") from failure
    (folder / _FILE).write_text(json.dumps(rows), encoding="utf-8")
