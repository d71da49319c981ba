"""A preallocated key-value cache for rows of unequal length, kept across turns.

`generate` with a growing cache copies the whole cache at every token. Here keys and values are written in place, rows
of unequal length lie side by side, and a row is copied only when episodes that shared it part ways or when it must be
moved.
"""

from __future__ import annotations

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class RaggedLayer(CacheLayerMixin):
    """Keys and values of one layer: (capacity, heads, longest, head size)."""

    def __init__(self, cache: RaggedCache, window: int | None) -> None:
        super().__init__()
        self.cache, self.window = cache, window

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        for name, states in (("keys", key_states), ("values", value_states)):
            shape = (self.cache.capacity, states.shape[1], self.cache.longest, states.shape[3])
            setattr(self, name, torch.zeros(shape, dtype=states.dtype, device=states.device))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (rows, heads, new, head size) at the cache's current positions; return what the new tokens may see.

        That is the rows' whole history; for one new token in a layer with a window, the window alone.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows, positions = self.cache.rows, self.cache.positions
        self.keys[rows, :, positions] = key_states.transpose(1, 2)
        self.values[rows, :, positions] = value_states.transpose(1, 2)
        if self.window is not None and positions.shape[1] == 1:
            recent = self.cache.recent(self.window).clamp(min=0)
            return self.keys[rows, :, recent].transpose(1, 2), self.values[rows, :, recent].transpose(1, 2)
        count, length = len(rows), self.cache.visible
        return self.keys[:count, :, :length], self.values[:count, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cache.visible, 0

    def get_seq_length(self) -> int:
        return self.cache.visible

    def get_max_length(self) -> int:
        return self.cache.longest


class RaggedCache(Cache):
    """The cache that a model's forward is given; `place` says where the next tokens go."""

    def __init__(self, windows: tuple[int | None, ...], capacity: int, longest: int) -> None:
        """windows: for each layer, how many tokens it sees; None for all."""
        self.windows, self.capacity, self.longest, self.visible = windows, capacity, longest, 0
        self.rows = self.positions = torch.empty(0, dtype=torch.long)
        super().__init__(layers=[RaggedLayer(self, window) for window in windows])

    def recent(self, window: int) -> torch.Tensor:
        """Positions that the one new token of each row sees through a window, (rows, window); negative: none."""
        return self.positions + torch.arange(1 - window, 1)

    def place(self, starts: torch.Tensor, new: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Announce `new` tokens for the first len(starts) rows, row i from position starts[i].

        Returns the position ids (rows, new) and an additive attention mask (rows, 1, new, seen) for each kind of layer.
        """
        self.rows = torch.arange(len(starts))[:, None]
        self.positions = starts[:, None] + torch.arange(new)
        self.visible = int(self.positions.max()) + 1
        distance = self.positions[:, :, None] - torch.arange(self.visible)
        hidden = {"full_attention": distance < 0}
        for window in {window for window in self.windows if window is not None}:
            hidden["sliding_attention"] = (
                self.recent(window)[:, None] < 0 if new == 1 else hidden["full_attention"] | (distance >= window)
            )
        lowest = torch.finfo(torch.float32).min
        masks = {kind: torch.zeros(where.shape).masked_fill_(where, lowest)[:, None] for kind, where in hidden.items()}
        return self.positions, masks

    def reserve(self, capacity: int, longest: int) -> None:
        """Grow to this many rows and positions; what is held stays in place."""
        self.capacity, self.longest = capacity, longest
        for layer in self.layers:
            if layer.is_initialized:
                keys, values = layer.keys, layer.values
                rows, _, positions, _ = keys.shape
                layer.lazy_initialization(keys, values)
                layer.keys[:rows, :, :positions], layer.values[:rows, :, :positions] = keys, values

    def copy_rows(
        self, sources: torch.Tensor, target: RaggedCache, places: torch.Tensor, shortest: int, longest: int
    ) -> None:
        """Copy source rows of `shortest` to `longest` tokens to `places` of the target cache, which may be this one."""
        for source_layer, target_layer in zip(self.layers, target.layers, strict=True):
            if not target_layer.is_initialized:
                target_layer.lazy_initialization(source_layer.keys, source_layer.values)
            start = 0 if source_layer.window is None else max(0, shortest - source_layer.window)
            for name in ("keys", "values"):
                held = getattr(source_layer, name)[sources, :, start:longest]
                getattr(target_layer, name)[places, :, start:longest] = held
