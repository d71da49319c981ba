"""The forward pass of the package's own small decoders over the tree of a batch's rows, with gradients.

All that is done for each token alone is done once a node. Attention runs over the paths of the tree, where it is plain
causal attention. At this size a pass over memory costs as much as a product, so norms are folded into the weights
behind them and have a gradient of their own.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from reproduce.rollouts.cache import layer_windows
from reproduce.training.prefix_tree import PrefixTree

ROUNDED_TO = 24
"""Tokens that lengths of paths are rounded up to where they are put together."""


class _Normal(torch.autograd.Function):
    """x / sqrt(mean(x^2) + epsilon) over the last dimension."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, epsilon: float) -> torch.Tensor:
        scale = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_()
        scale = scale.div_(values.shape[-1]).add_(epsilon).rsqrt_()
        normal = values * scale
        ctx.save_for_backward(normal, scale)
        return normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        normal, scale = ctx.saved_tensors
        along = (gradient * normal).mean(-1, keepdim=True)
        return torch.addcmul(gradient, normal, along, value=-1).mul_(scale), None


def _normal(values: torch.Tensor, epsilon: float) -> torch.Tensor:
    return cast(torch.Tensor, _Normal.apply(values, epsilon))


class TreeForward:
    """One forward pass of a model that `is_small_decoder` knows."""

    def __init__(self, model: Qwen3ForCausalLM, tree: PrefixTree) -> None:
        self.model, config = model, model.config
        self.tokens, self.parent = torch.from_numpy(tree.tokens), torch.from_numpy(tree.parent)
        depth = torch.from_numpy(tree.depth)
        self.bundles, self.home = _bundles(tree)
        self.windows, self.epsilon = layer_windows(config)[0], config.rms_norm_eps
        self.heads, self.size = config.num_attention_heads, config.head_dim
        with torch.no_grad():
            cosines, sines = model.model.rotary_emb(torch.zeros(1), torch.arange(tree.path.shape[1])[None])
            sines[..., : self.size // 2] *= -1
            self.cosines, self.sines = cosines[0, depth, None, None], sines[0, depth, None, None]

    def scores(self, nodes: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of the last token of each node, and entropy of the distribution it is from, (nodes,), nats.

        nodes: which, each with a parent. temperature: divides the logits.
        """
        hidden = self.model.model.embed_tokens(self.tokens)
        for layer, window in zip(self.model.model.layers, self.windows, strict=True):
            hidden = hidden + self._attention(hidden, layer, window)
            hidden = hidden + self._feed_forward(hidden, layer)
        head = self.model.lm_head.weight * (self.model.model.norm.weight / temperature)
        logits = _normal(hidden[self.parent[nodes]], self.epsilon) @ head.T
        log_probabilities = torch.log_softmax(logits, dim=-1)
        entropies = -(log_probabilities.exp() * log_probabilities).sum(-1)
        return log_probabilities.gather(1, self.tokens[nodes, None])[:, 0], entropies

    def _attention(self, hidden: torch.Tensor, layer: nn.Module, window: int | None) -> torch.Tensor:
        attention = layer.self_attn
        weights = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        mixed = _normal(hidden, self.epsilon) @ (weights * layer.input_layernorm.weight).T
        pair, values = mixed.view(-1, 3, self.heads, self.size).split((2, 1), dim=1)
        norms = torch.stack([attention.q_norm.weight, attention.k_norm.weight])[:, None]
        pair = _normal(pair, self.epsilon) * norms
        pair = torch.addcmul(pair * self.cosines, pair.roll(self.size // 2, -1), self.sines)
        seen = torch.cat([self._seen(pair, values, path, window) for path in self.bundles])[self.home]
        return seen @ attention.o_proj.weight.T

    def _seen(self, pair: torch.Tensor, values: torch.Tensor, path: torch.Tensor, window: int | None) -> torch.Tensor:
        """What each place of some paths (paths, longest) sees, (paths * longest, width)."""
        paths, longest = path.shape
        on_paths = [
            part.reshape(len(part), -1)
            .index_select(0, path.reshape(-1))
            .view(paths, longest, -1, self.heads, self.size)
            .permute(2, 0, 3, 1, 4)
            for part in (pair, values)
        ]
        band = None if window is None or window >= longest else _band(longest, window)
        seen = functional.scaled_dot_product_attention(
            *on_paths[0].unbind(0), on_paths[1][0], attn_mask=band, is_causal=band is None, scale=self.size**-0.5
        )
        return seen.transpose(1, 2).reshape(paths * longest, -1)

    def _feed_forward(self, hidden: torch.Tensor, layer: nn.Module) -> torch.Tensor:
        weights = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
        weights = weights * layer.post_attention_layernorm.weight
        gate, up = (_normal(hidden, self.epsilon) @ weights.T).chunk(2, -1)
        return (functional.silu(gate) * up) @ layer.mlp.down_proj.weight.T


def _band(longest: int, window: int) -> torch.Tensor:
    """What hides all but the last `window` positions, (longest, longest)."""
    distance = torch.arange(longest)[:, None] - torch.arange(longest)
    return torch.zeros(distance.shape).masked_fill_((distance < 0) | (distance >= window), -math.inf)


def _bundles(tree: PrefixTree) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Paths of about equal length together, each (paths, longest); and the place of each node in all of them, (nodes,).

    Attention costs the square of the length, padding included.
    """
    lengths = np.zeros(len(tree.path), dtype=np.int64)
    np.maximum.at(lengths, tree.owner, tree.depth + 1)
    rounded = -(-lengths // ROUNDED_TO) * ROUNDED_TO
    begin, bundles, start = np.empty_like(lengths), [], 0
    for size in np.unique(rounded):
        members = np.flatnonzero(rounded == size)
        longest = int(lengths[members].max())
        begin[members] = start + longest * np.arange(len(members))
        bundles.append(torch.from_numpy(tree.path[members, :longest]))
        start += longest * len(members)
    return bundles, torch.from_numpy(begin[tree.owner] + tree.depth)
