"""Bound on sampling from the machine's arithmetic and memory, and the work that a rollout cannot avoid.

    bound in seconds =   2 * (body * forward tokens + head * decoded tokens) / FLOP/s
                       + key-value bytes / (bytes/s)

- body: entries of all weight matrices but the output head; head: those of the output head (width times vocabulary).
  The embedding look-up is no product. The head is needed only where a token is drawn from its logits.
- forward tokens: tokens that really went through the model; padding and shared histories count nothing. Decoded tokens:
  those among them that went through alone, to draw the next token.
- key-value bytes: for each decoded token and each layer, keys and values of every position that the layer may look at,
  2 * positions * (key-value heads) * (head size) * 4 bytes. Positions are the history at that moment, its own token
  included; in a sliding-window layer at most the window. Without the window (`whole_history`) the figure is what a
  cache costs that every layer reads to the end.
- FLOP/s is the larger of two measurements, the model's own products at the batch's rows and one large square product;
  bytes/s is that of a large copy, counting bytes read and bytes written.

Norms, rotations, soft-max, products inside attention and key-value reads of prefilled tokens are left out, so the true
bound is higher and the share reached is understated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from reproduce.rollouts import EpisodeSampler

BYTES_PER_VALUE = 4
LARGE_SIDE = 2048
LARGE_COPY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model that the bound needs."""

    body_parameters: int
    """Entries of the weight matrices in matrix products, the output head not among them."""
    head_parameters: int
    """Entries of the output head."""
    windows: tuple[int | None, ...]
    """Positions that each layer looks at; None: all."""
    key_value_width: int
    """Key-value heads times head size."""


@dataclass
class Work:
    """Work of one or more rollouts that no implementation with a cache can avoid."""

    forward_tokens: int = 0
    decoded_tokens: int = 0
    attended_positions: int = 0
    """Sum over decoded tokens and layers of the positions in reach, windows respected."""
    history_positions: int = 0
    """The same with every layer reaching the whole history."""
    computed_positions: int = 0
    """Everything that went through the model, padding included; not part of the bound."""


@dataclass(frozen=True)
class Machine:
    """Measured rates of the machine."""

    model_flops: float
    """FLOP/s of the model's own products."""
    square_flops: float
    """FLOP/s of a large square product."""
    copy_bytes: float
    """Bytes/s, read and written, of a large copy."""

    @property
    def flops(self) -> float:
        """The rate that the bound assumes."""
        return max(self.model_flops, self.square_flops)


def lower_bound(
    architecture: Architecture, work: Work, machine: Machine, whole_history: bool = False
) -> tuple[float, float]:
    """Seconds of the products and of reading keys and values at best, as if neither hid behind the other."""
    body = architecture.body_parameters * work.forward_tokens
    head = architecture.head_parameters * work.decoded_tokens
    positions = work.history_positions if whole_history else work.attended_positions
    key_value_bytes = 2 * positions * architecture.key_value_width * BYTES_PER_VALUE
    return 2 * (body + head) / machine.flops, key_value_bytes / machine.copy_bytes


def weight_matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    """Weights of every linear map, the output head included, even where it shares its weights with the embedding."""
    return [module.weight.detach() for module in model.modules() if isinstance(module, nn.Linear)]


def architecture_of(model: PreTrainedModel) -> Architecture:
    """Read the sizes off a decoder."""
    config = model.config
    head = model.get_output_embeddings().weight.numel()
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return Architecture(
        body_parameters=sum(matrix.numel() for matrix in weight_matrices(model)) - head,
        head_parameters=head,
        windows=tuple(config.sliding_window if kind == "sliding_attention" else None for kind in kinds),
        key_value_width=config.num_key_value_heads * config.head_dim,
    )


def best_seconds(action: Callable[[], object], enough: float = 0.3) -> float:
    """The fastest of as many calls as fit in `enough` seconds, at least three; the first call is not counted."""
    action()
    best, calls, begin = float("inf"), 0, time.process_time()
    while calls < 3 or time.process_time() - begin < enough:
        start = time.process_time()
        action()
        best, calls = min(best, time.process_time() - start), calls + 1
    return best


def measure_machine(matrices: Sequence[torch.Tensor], rows: int) -> Machine:
    """Measure with the threads torch is set to. rows: tokens in one product of the model's own."""
    with torch.inference_mode():
        inputs = {matrix.shape[1]: torch.randn(rows, matrix.shape[1]) for matrix in matrices}
        outputs = {matrix.shape[0]: torch.empty(rows, matrix.shape[0]) for matrix in matrices}

        def model_products() -> None:
            for matrix in matrices:
                torch.mm(inputs[matrix.shape[1]], matrix.T, out=outputs[matrix.shape[0]])

        left, right = torch.randn(LARGE_SIDE, LARGE_SIDE), torch.randn(LARGE_SIDE, LARGE_SIDE)
        product = torch.empty(LARGE_SIDE, LARGE_SIDE)
        source = torch.ones(LARGE_COPY_BYTES // BYTES_PER_VALUE)
        target = torch.zeros_like(source)
        entries = sum(matrix.numel() for matrix in matrices)
        return Machine(
            model_flops=2 * rows * entries / best_seconds(model_products),
            square_flops=2 * LARGE_SIDE**3 / best_seconds(lambda: torch.mm(left, right, out=product)),
            copy_bytes=2 * LARGE_COPY_BYTES / best_seconds(lambda: target.copy_(source)),
        )


def fastest(machines: Sequence[Machine]) -> Machine:
    """The best of several measurements: what other programs took away is no property of the machine."""
    return Machine(*(max(rates) for rates in zip(*map(astuple, machines), strict=True)))


class CountWork(AbstractContextManager["CountWork"]):
    """Counts the positions that pass through a model; `forward_tokens` is left to the caller, who alone knows which of
    them are padding."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.work = model, Work()

    def __enter__(self) -> CountWork:
        self.handle = self.model.register_forward_pre_hook(self._count, with_kwargs=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.handle.remove()

    def _count(self, module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.work.computed_positions += named["input_ids"].numel()


class CountSampled(AbstractContextManager["CountSampled"]):
    """Counts the forward passes of a sampler of ours; `forward_tokens` is what its batch says."""

    def __init__(self, sampler: EpisodeSampler[Any]) -> None:
        self.sampler, self.windows, self.work = sampler, architecture_of(sampler.model).windows, Work()

    def __enter__(self) -> CountSampled:
        self.forward, self.sampler._forward = self.sampler._forward, self._counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *exception: object) -> None:
        del self.sampler._forward  # The method of the class is left.

    def _counted(self, ids: np.ndarray, starts: np.ndarray, first: int = 0) -> torch.Tensor:
        self.work.computed_positions += ids.size
        if ids.shape[1] == 1:
            history = starts + 1
            self.work.decoded_tokens += len(ids)
            for window in self.windows:
                self.work.attended_positions += int((history if window is None else history.clip(max=window)).sum())
            self.work.history_positions += len(self.windows) * int(history.sum())
        return self.forward(ids, starts, first)
