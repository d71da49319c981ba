"""The batch of distinct histories: their tokens and statistics in arrays, their keys and values in a cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproduce.rollouts.cache import RaggedCache
from reproduce.rollouts.episodes import Trajectory
from reproduce.rollouts.lean_cache import LeanCache
from reproduce.rollouts.lines import LineBreak, breaks

_PER_ROW = (
    "task",
    "length",
    "cached",
    "prompt_length",
    "prefix_length",
    "action_start",
    "drawn",
    "rounds",
    "closed",
    "lines_left",
)
UNLIMITED = np.iinfo(np.int64).max
"""Lines of an action without a limit."""
_PER_TOKEN = ("tokens", "from_policy", "log_probabilities", "entropies")


class HistoryRows:
    """Rows 0 to count - 1 are in use; every array has one entry a row, the lower four one a token as well."""

    def __init__(self, windows: tuple[int | None, ...], capacity: int = 64, longest: int = 64) -> None:
        """windows: for each layer of the model, how many tokens it sees; None for all."""
        self.count = 0
        self.cache: RaggedCache | LeanCache = RaggedCache(windows, capacity, longest)
        self.task = np.zeros(capacity, dtype=np.int64)
        self.length = np.zeros(capacity, dtype=np.int64)
        self.cached = np.zeros(capacity, dtype=np.int64)
        self.prompt_length = np.zeros(capacity, dtype=np.int64)
        self.prefix_length = np.zeros(capacity, dtype=np.int64)
        self.action_start = np.zeros(capacity, dtype=np.int64)
        self.drawn = np.zeros(capacity, dtype=np.int64)
        self.rounds = np.zeros(capacity, dtype=np.int64)
        self.closed = np.zeros(capacity, dtype=bool)
        self.lines_left = np.full(capacity, UNLIMITED)
        self.tokens = np.zeros((capacity, longest), dtype=np.int32)
        self.from_policy = np.zeros((capacity, longest), dtype=bool)
        self.log_probabilities = np.zeros((capacity, longest), dtype=np.float32)
        self.entropies = np.zeros((capacity, longest), dtype=np.float32)
        self.history: list[tuple[str, ...]] = [()] * capacity
        self.skills: list[tuple[str, ...]] = [()] * capacity

    def reserve(self, rows: int, longest: int) -> None:
        """Make room for this many rows and tokens, with space to spare so that it happens seldom."""
        old_rows, old_longest = self.tokens.shape
        if rows > old_rows or longest > old_longest:
            new_rows = max(rows, 2 * old_rows) if rows > old_rows else old_rows
            # A quarter more at least, so that long episodes are not copied again and again while they grow.
            wanted = max(longest, old_longest + old_longest // 4)
            new_longest = -(-wanted // 32) * 32 if longest > old_longest else old_longest
            for name in _PER_ROW:
                setattr(self, name, np.resize(getattr(self, name), new_rows))
            for name in _PER_TOKEN:
                grown = np.zeros((new_rows, new_longest), dtype=getattr(self, name).dtype)
                grown[:old_rows, :old_longest] = getattr(self, name)
                setattr(self, name, grown)
            self.history += [()] * (new_rows - old_rows)
            self.skills += [()] * (new_rows - old_rows)
            self.cache.reserve(new_rows, new_longest)

    def copy(self, sources: np.ndarray, target: HistoryRows, places: np.ndarray) -> None:
        """Copy whole rows to `places` of the target, which may be this object."""
        if not len(sources):
            return
        longest = int(self.length[sources].max())
        target.reserve(int(places.max()) + 1, longest + 1)
        for name in _PER_ROW:
            getattr(target, name)[places] = getattr(self, name)[sources]
        for name in _PER_TOKEN:
            getattr(target, name)[places, :longest] = getattr(self, name)[sources, :longest]
        for source, place in zip(sources.tolist(), places.tolist(), strict=True):
            target.history[place], target.skills[place] = self.history[source], self.skills[source]
        cached = self.cached[sources]
        # Both caches are of one kind.
        copy_rows: Any = self.cache.copy_rows
        copy_rows(sources, target.cache, places, int(cached.min()), int(cached.max()))

    def begin(self, row: int, task: int, lines: int | None) -> None:
        """An empty history."""
        for values in (self.length, self.cached, self.prefix_length, self.action_start, self.drawn, self.rounds):
            values[row] = 0
        self.task[row], self.closed[row] = task, False
        self.lines_left[row] = UNLIMITED if lines is None else lines
        self.history[row] = self.skills[row] = ()

    def write_given(self, row: int, given: Trajectory, length: int) -> None:
        """Begin one row with the first tokens of an earlier trajectory, statistics included; nothing is cached yet."""
        self.reserve(self.count, length + 1)
        self.tokens[row, :length] = given.token_ids[:length]
        for name in _PER_TOKEN[1:]:
            getattr(self, name)[row, :length] = getattr(given, name)[:length]
        actions = given.actions(length)
        unfinished = len(actions) > 0 and actions[-1, 1] == length
        self.length[row], self.prompt_length[row] = length, given.prompt_length
        self.prefix_length[row] = length - given.prompt_length
        self.action_start[row] = actions[-1, 0] if unfinished else length
        self.rounds[row] = len(actions) - unfinished
        self.drawn[row] = given.from_policy[:length].sum()

    def write_environment(self, row: int, ids: list[int]) -> None:
        """Append tokens of the environment to one row; the next action starts after them."""
        start, end = int(self.length[row]), int(self.length[row]) + len(ids)
        self.reserve(self.count, end + 1)
        self.tokens[row, start:end] = ids
        self.from_policy[row, start:end] = False
        self.log_probabilities[row, start:end] = 0.0
        self.entropies[row, start:end] = 0.0
        self.length[row] = self.action_start[row] = end

    def write_policy(self, tokens: np.ndarray, log_probabilities: np.ndarray, entropies: np.ndarray) -> None:
        """Append one sampled token to each row in use."""
        rows = np.arange(self.count)
        positions = self.length[: self.count]
        self.reserve(self.count, int(positions.max()) + 2)
        self.tokens[rows, positions] = tokens
        self.from_policy[rows, positions] = True
        self.log_probabilities[rows, positions] = log_probabilities
        self.entropies[rows, positions] = entropies
        self.length[: self.count] += 1
        self.drawn[: self.count] += 1

    def count_lines(self, line_break: int | LineBreak) -> np.ndarray:
        """Count the lines that the last tokens end, blank ones not; True for each row that has ended its last line."""
        last, row = self.length[: self.count] - 1, np.arange(self.count)
        breaks_line, blank = breaks(self.tokens[row, last], line_break)
        after_break = (last == self.action_start[: self.count]) | breaks(self.tokens[row, last - 1], line_break)[0]
        ended = breaks_line & ~(blank & after_break)
        self.lines_left[: self.count] -= ended
        return ended & (self.lines_left[: self.count] == 0)
