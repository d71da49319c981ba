"""The forward pass of the package's own small decoders, without the modules of a general library around it.

At a hundred rows of a model of a hundred thousand weights most of the time of `transformers`' forward pass is not
arithmetic. Here the projections of a layer that read the same numbers are one product, norms are folded into the
weights behind them, and keys lie in the cache as the product with the queries reads them. The logits are those of the
model up to rounding; every other model keeps its own forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel, Qwen3ForCausalLM
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from reproduce.rollouts.cache import layer_windows
from reproduce.rollouts.lean_cache import LeanCache, View

MOST_PARAMETERS = 4_000_000
"""Weights of the largest model that is decoded here: above it arithmetic takes most of the time anyway."""
_MODULES = (
    nn.Embedding,
    nn.Linear,
    nn.ModuleList,
    qwen3.Qwen3Attention,
    qwen3.Qwen3DecoderLayer,
    qwen3.Qwen3ForCausalLM,
    qwen3.Qwen3MLP,
    qwen3.Qwen3Model,
    qwen3.Qwen3RMSNorm,
    qwen3.Qwen3RotaryEmbedding,
)
"""Kinds of modules that such a decoder is made of, besides its activation."""


def is_small_decoder(model: nn.Module) -> bool:
    """Whether `LeanDecoder` computes what the model does: a small Qwen3 decoder as `build_model` makes it, on the CPU.

    Adapters, hooks, another forward pass, autocast, or numbers other than float32 make it another model.
    """
    if type(model) is not Qwen3ForCausalLM or torch.is_autocast_enabled("cpu"):
        return False
    config = model.config
    plain = (
        not config.attention_bias
        and config.hidden_act == "silu"
        and config.rope_parameters["rope_type"] == "default"
        and config.num_key_value_heads == config.num_attention_heads
    )
    weights = list(model.parameters())
    if not plain or sum(weight.numel() for weight in weights) > MOST_PARAMETERS:
        return False
    if any(weight.device.type != "cpu" or weight.dtype != torch.float32 for weight in weights):
        return False
    activations = {type(layer.mlp.act_fn) for layer in model.model.layers}
    return all(_is_untouched(module) for module in model.modules() if type(module) not in activations)


def _is_untouched(module: nn.Module) -> bool:
    """Whether a module computes what its class says."""
    forward = module.__dict__.get("forward")
    # TRL wraps the forward pass of a model that it trains, for its own calls alone.
    own = forward is None or getattr(forward, "__wrapped__", None) is type(module).forward
    return own and type(module) in _MODULES and not (module._forward_hooks or module._forward_pre_hooks)


@dataclass(frozen=True)
class _Layer:
    """Weights of one layer, laid out for products with rows from the left."""

    into_attention: torch.Tensor
    """(width, 3 width): queries, keys and values."""
    out_of_attention: torch.Tensor
    into_feed_forward: torch.Tensor
    """(width, 2 * inner): gate and up."""
    out_of_feed_forward: torch.Tensor
    rotation: torch.Tensor
    """(2, positions, 2, 1, head size): cosines, and signed sines for the other half of a head, of queries and keys,
    times the weights of their norms; queries are scaled."""


class LeanDecoder:
    """Decodes with the weights that the model has when this is made."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Raises ValueError for a model that `is_small_decoder` does not know."""
        if not is_small_decoder(model):
            raise ValueError("this model has a forward pass of its own")
        config = model.config
        self.heads, self.size = config.num_attention_heads, config.head_dim
        self.width, self.windows = config.hidden_size, layer_windows(config)[0]
        self.floors = {count: torch.tensor(math.sqrt(count * config.rms_norm_eps)) for count in (self.width, self.size)}
        with torch.no_grad():
            positions = torch.arange(config.max_position_embeddings)[None]
            cosines, sines = model.model.rotary_emb(torch.zeros(1), positions)
            self.embedding = model.model.embed_tokens.weight.detach()
            self.head = (model.lm_head.weight * model.model.norm.weight).T * math.sqrt(self.width)
            self.layers = [self._layer(layer, cosines[0], sines[0]) for layer in model.model.layers]

    def _layer(self, layer: nn.Module, cosines: torch.Tensor, sines: torch.Tensor) -> _Layer:
        attention, feed_forward = layer.self_attn, layer.mlp
        # Norms are taken by `_normal`, which leaves out the root of the count.
        norms = torch.stack([attention.q_norm.weight, attention.k_norm.weight * math.sqrt(self.size)])
        half = self.size // 2
        # The first half of a rotated head takes the second half with the other sign (Su et al. 2021, section 3.4.2).
        turned = norms.roll(half, -1) * torch.cat([-torch.ones(half), torch.ones(half)])
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        root = math.sqrt(self.width)
        before, between = layer.input_layernorm.weight * root, layer.post_attention_layernorm.weight * root
        return _Layer(
            into_attention=(torch.cat([part.weight for part in projections]) * before).T.contiguous(),
            out_of_attention=attention.o_proj.weight.detach().T,
            into_feed_forward=(
                torch.cat([feed_forward.gate_proj.weight, feed_forward.up_proj.weight]) * between
            ).T.contiguous(),
            out_of_feed_forward=feed_forward.down_proj.weight.detach().T,
            rotation=torch.stack([cosines[:, None, None] * norms[:, None], sines[:, None, None] * turned[:, None]]),
        )

    def cache(self, capacity: int, longest: int) -> LeanCache:
        """An empty cache for this many rows and positions."""
        return LeanCache(self.windows, self.heads, self.size, capacity, longest)

    def logits(self, ids: np.ndarray, starts: np.ndarray, cache: LeanCache, first: int = 0) -> torch.Tensor:
        """Logits after the last of the new tokens of each row, (rows, vocabulary); keys and values go to the cache.

        ids: (rows, new). starts: position of the first new token of each row, (rows,). first: row of the cache that
        the first row is.
        """
        rows, new = ids.shape
        view = View(starts, new, first)
        positions = view.positions.view(-1)
        hidden = self.embedding[torch.from_numpy(ids.reshape(-1))]
        for layer, held in zip(self.layers, cache.layers, strict=True):
            mixed = (self._normal(hidden) @ layer.into_attention).view(rows * new, 3, self.heads, self.size)
            pair, (cosines, sines) = self._normal(mixed[:, :2]), layer.rotation[:, positions]
            pair = torch.addcmul(pair * cosines, pair.roll(self.size // 2, -1), sines)
            seen = held.attend(pair[:, 0], pair[:, 1], mixed[:, 2], view).reshape(rows * new, -1)
            hidden = torch.addmm(hidden, seen, layer.out_of_attention)
            gate, up = (self._normal(hidden) @ layer.into_feed_forward).chunk(2, -1)
            hidden = torch.addmm(hidden, functional.silu(gate) * up, layer.out_of_feed_forward)
        return self._normal(hidden.view(rows, new, -1)[:, -1]) @ self.head

    def _normal(self, values: torch.Tensor) -> torch.Tensor:
        """values / sqrt(sum(values^2) + n epsilon) over the last dimension, of n numbers."""
        floor = self.floors[values.shape[-1]]
        return values / torch.linalg.vector_norm(values, dim=-1, keepdim=True).hypot_(floor)
