"""Keys and values of the package's own small decoders, laid out as one new token a row reads them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

LOWEST = torch.finfo(torch.float32).min
"""Added to the scores of positions that a token does not see."""


class View:
    """Where the new tokens of a forward pass lie: rows `first` to `first + rows - 1` of a cache, `new` tokens each."""

    def __init__(self, starts: np.ndarray, new: int, first: int) -> None:
        """starts: position of the first new token of each row, (rows,)."""
        self.rows, self.new, self.used = len(starts), new, slice(first, first + len(starts))
        self.lowest, self.seen = int(starts.min()), int(starts.max()) + new
        self.level = new == 1 and self.lowest + 1 == self.seen
        """Whether every row has one new token, all at the same position."""
        self.row = torch.arange(first, first + self.rows)[:, None]
        self.positions = torch.from_numpy(starts)[:, None] + torch.arange(new)
        """(rows, new)."""

    @cached_property
    def mask(self) -> torch.Tensor:
        """Hides what lies after a token, (rows, 1, new, seen)."""
        return self.banded(0, None)

    def banded(self, low: int, window: int | None) -> torch.Tensor:
        """Hides of the positions from `low` on what a new token does not see, (rows, 1, new, seen - low)."""
        distance = self.positions[:, :, None] - torch.arange(low, self.seen)
        unseen = distance < 0 if window is None else (distance < 0) | (distance >= window)
        return torch.zeros(unseen.shape).masked_fill_(unseen, LOWEST)[:, None]


class FullLayer:
    """A layer that sees the whole history: keys (capacity, heads, head size, longest), values (capacity, heads,
    longest, head size), so that products with them read them in order."""

    def __init__(self, heads: int, size: int, capacity: int, longest: int) -> None:
        self.heads, self.size = heads, size
        self.keys = torch.zeros(capacity, heads, size, longest)
        self.values = torch.zeros(capacity, heads, longest, size)

    def attend(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, view: View) -> torch.Tensor:
        """Write keys and values of the new tokens; what their queries see. All are (rows * new, heads, head size)."""
        shape = view.rows, view.new, self.heads, self.size
        self.keys[view.row, :, :, view.positions] = keys.view(shape)
        self.values[view.row, :, view.positions] = values.view(shape)
        asked = queries.view(shape).transpose(1, 2).reshape(-1, view.new, self.size)
        scores = torch.bmm(asked, self.keys[view.used].flatten(0, 1)[:, :, : view.seen])
        if not view.level:
            scores.view(view.rows, self.heads, view.new, view.seen).add_(view.mask)
        seen = torch.bmm(scores.softmax(-1), self.values[view.used].flatten(0, 1)[:, : view.seen])
        return seen.view(view.rows, self.heads, view.new, self.size).transpose(1, 2)

    def copy_rows(
        self, origin: torch.Tensor, target: FullLayer, goal: torch.Tensor, shortest: int, longest: int
    ) -> None:
        """Copy rows of `shortest` to `longest` tokens."""
        target.keys[goal, :, :, :longest] = self.keys[origin, :, :, :longest]
        target.values[goal, :, :longest] = self.values[origin, :, :longest]

    def grown(self, capacity: int, longest: int) -> FullLayer:
        """The same with more room."""
        larger = FullLayer(self.heads, self.size, capacity, longest)
        rows, _, _, positions = self.keys.shape
        larger.keys[:rows, ..., :positions], larger.values[:rows, :, :positions] = self.keys, self.values
        return larger


class WindowLayer:
    """A layer that sees the last `window` tokens: both (capacity, longest, 2, heads, head size), keys first."""

    def __init__(self, window: int, heads: int, size: int, capacity: int, longest: int) -> None:
        self.window, self.heads, self.size = window, heads, size
        self.both = torch.zeros(capacity, longest, 2, heads, size)

    def attend(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, view: View) -> torch.Tensor:
        """As that of `FullLayer`."""
        shape = view.rows, view.new, self.heads, self.size
        self.both[view.row, view.positions] = torch.stack([keys.view(shape), values.view(shape)], dim=2)
        if view.new > 1:
            return self._attend_in_band(queries.view(shape), view)
        recent = view.positions + torch.arange(1 - self.window, 1)
        known, found = self.both[view.row, recent.clamp(min=0)].unbind(2)
        scores = (known * queries[:, None]).sum(-1)
        if view.lowest + 1 < self.window:
            scores.masked_fill_((recent < 0)[:, :, None], LOWEST)
        return (scores.softmax(1)[..., None] * found).sum(1)

    def _attend_in_band(self, queries: torch.Tensor, view: View) -> torch.Tensor:
        low = max(0, view.lowest + 1 - self.window)
        known, found = self.both[view.used, low : view.seen].permute(2, 0, 3, 1, 4)
        scores = queries.transpose(1, 2) @ known.transpose(2, 3)
        return (scores.add_(view.banded(low, self.window)).softmax(-1) @ found).transpose(1, 2)

    def copy_rows(
        self, origin: torch.Tensor, target: WindowLayer, goal: torch.Tensor, shortest: int, longest: int
    ) -> None:
        """As that of `FullLayer`; what no later token sees stays behind."""
        kept = slice(max(0, shortest - self.window), longest)
        target.both[goal, kept] = self.both[origin, kept]

    def grown(self, capacity: int, longest: int) -> WindowLayer:
        """The same with more room."""
        larger = WindowLayer(self.window, self.heads, self.size, capacity, longest)
        larger.both[: self.both.shape[0], : self.both.shape[1]] = self.both
        return larger


class LeanCache:
    """The cache of `LeanDecoder`, for rows of unequal length: see `reproduce.rollouts.cache`."""

    def __init__(self, windows: tuple[int | None, ...], heads: int, size: int, capacity: int, longest: int) -> None:
        """windows: for each layer, how many tokens it sees; None for all."""
        self.layers: list[FullLayer | WindowLayer] = [
            FullLayer(heads, size, capacity, longest)
            if window is None
            else WindowLayer(window, heads, size, capacity, longest)
            for window in windows
        ]

    def reserve(self, capacity: int, longest: int) -> None:
        """Grow to this many rows and positions; what is held stays in place."""
        self.layers = [layer.grown(capacity, longest) for layer in self.layers]

    def copy_rows(
        self, sources: np.ndarray, target: LeanCache, places: np.ndarray, shortest: int, longest: int
    ) -> None:
        """Copy source rows of `shortest` to `longest` tokens to `places` of the target cache, which may be this one."""
        origin, goal = torch.from_numpy(sources), torch.from_numpy(places)
        for layer, other in zip(self.layers, target.layers, strict=True):
            layer.copy_rows(origin, other, goal, shortest, longest)  # type: ignore[arg-type]
