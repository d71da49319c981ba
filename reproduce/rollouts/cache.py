"""A preallocated key-value cache for rows of unequal length, kept across turns.

`generate` with a growing cache copies the whole cache at every token. Here keys and values are written in place, rows
of unequal length lie side by side, and a row is copied only when episodes that shared it part ways or when it must be
moved.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import Cache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin

from reproduce.core.files import UserError

FULL, SLIDING = "full_attention", "sliding_attention"
"""Kinds of layers, as configurations name them."""


def layer_windows(config: PreTrainedConfig) -> tuple[tuple[int | None, ...], str | None]:
    """For each layer of a model how many tokens it sees, None for all; and which mask the model's forward is given.

    That is one of the two kinds, or None for both by name. Raises UserError for a layer of another kind, such as
    linear attention, whose state is no list of keys and values.
    """
    config = config.get_text_config()
    layers, window = int(config.num_hidden_layers), getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        # Architectures without kinds of layers, such as Mistral's, have one mask, with the window in it.
        return (window,) * layers, FULL if window is None else SLIDING
    unknown = set(kinds) - {FULL, SLIDING}
    if unknown:
        raise UserError(
            f"{config.model_type}: its layers of kind {min(unknown)} are not supported in process; "
            "set hardware.engine=vllm, which samples them in evaluation"
        )
    windows = tuple(window if kind == SLIDING else None for kind in kinds)
    return windows, None if SLIDING in kinds else FULL


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
        if self.window is not None and self.cache.sees_window(self.window):
            recent = self.cache.recent(self.window).clamp(min=0)
            return self.keys[rows, :, recent].transpose(1, 2), self.values[rows, :, recent].transpose(1, 2)
        used, length = self.cache.used, self.cache.visible
        return self.keys[used, :, :length], self.values[used, :, :length]

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
        # Not called dtype: what has one is a tensor to accelerate, which converts what a model returns.
        self.device, self.precision = torch.device("cpu"), torch.float32
        self.used = slice(0, 0)
        self.rows = self.positions = torch.empty(0, dtype=torch.long, device=self.device)
        super().__init__(layers=[RaggedLayer(self, window) for window in windows])

    def follow(self, device: torch.device, dtype: torch.dtype) -> None:
        """Go to where the model is. What is held is dropped where that is another place than before."""
        if (device, dtype) != (self.device, self.precision):
            self.device, self.precision = device, dtype
            self.release()

    def release(self) -> None:
        """Give the memory back."""
        for layer in self.layers:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def sees_window(self, window: int) -> bool:
        """Whether the window alone is read: for one new token a row, where the window is shorter than the history."""
        return self.positions.shape[1] == 1 and window < self.visible

    def recent(self, window: int) -> torch.Tensor:
        """Positions that the one new token of each row sees through a window, (rows, window); negative: none."""
        return self.positions + torch.arange(1 - window, 1, device=self.device)

    def place(self, starts: np.ndarray, new: int, first: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Announce `new` tokens for len(starts) rows from row `first` on, row first + i from position starts[i].

        Returns the position ids (rows, new) and an additive attention mask (rows, 1, new, seen) for each kind of layer.
        """
        self.used = slice(first, first + len(starts))
        self.visible = int(starts.max()) + new
        self.rows = torch.arange(first, first + len(starts), device=self.device)[:, None]
        begin = torch.from_numpy(starts).to(self.device)
        self.positions = begin[:, None] + torch.arange(new, device=self.device)
        distance = self.positions[:, :, None] - torch.arange(self.visible, device=self.device)
        hidden = {FULL: distance < 0}
        for window in {window for window in self.windows if window is not None}:
            hidden[SLIDING] = (
                self.recent(window)[:, None] < 0 if self.sees_window(window) else hidden[FULL] | (distance >= window)
            )
        lowest = torch.finfo(self.precision).min
        masks = {
            kind: torch.zeros(where.shape, dtype=self.precision, device=self.device).masked_fill_(where, lowest)[
                :, None
            ]
            for kind, where in hidden.items()
        }
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
        self, sources: np.ndarray, target: RaggedCache, places: np.ndarray, shortest: int, longest: int
    ) -> None:
        """Copy source rows of `shortest` to `longest` tokens to `places` of the target cache, which may be this one."""
        origin, goal = torch.from_numpy(sources).to(self.device), torch.from_numpy(places).to(self.device)
        for source_layer, target_layer in zip(self.layers, target.layers, strict=True):
            if not source_layer.is_initialized:
                continue
            if not target_layer.is_initialized:
                target_layer.lazy_initialization(source_layer.keys, source_layer.values)
            start = 0 if source_layer.window is None else max(0, shortest - source_layer.window)
            for name in ("keys", "values"):
                held = getattr(source_layer, name)[origin, :, start:longest]
                getattr(target_layer, name)[goal, :, start:longest] = held
