"""The same model with wider attention heads, for engines that know only some sizes of heads."""

from __future__ import annotations

import copy
import math

import torch
from transformers import PreTrainedModel

ARCHITECTURES = ("qwen3",)
"""Architectures that `widen_heads` knows."""


def widen_heads(model: PreTrainedModel, size: int) -> PreTrainedModel:
    """A Qwen3 decoder with heads of `size` numbers whose logits are those of the model, up to rounding.

    The new numbers are zero. What depends on their count is undone in the weights: the root mean square that queries
    and keys are divided by, the scale of their product, and the frequencies of the rotary embedding (Su et al. 2021,
    section 3.2.2), which turn number i of the first half together with number i of the second.
    """
    config = copy.deepcopy(model.config)
    old = int(config.head_dim)
    if config.model_type not in ARCHITECTURES or config.attention_bias or size < old or old % 2 or size % 2:
        raise ValueError(f"heads of {old} numbers in {config.model_type} cannot be widened to {size}")
    config.head_dim = size
    config.rope_parameters = config.rope_parameters | {
        "rope_theta": config.rope_parameters["rope_theta"] ** (size / old)
    }
    half = torch.arange(old // 2)
    places, root = torch.cat([half, half + size // 2]), math.sqrt(size / old)

    def spread(weight: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Rows (heads * old, ...) to rows (heads * size, ...)."""
        heads = weight.reshape(-1, old, *weight.shape[1:])
        wide = heads.new_zeros(len(heads), size, *weight.shape[1:])
        wide[:, places] = heads * scale
        return wide.reshape(-1, *weight.shape[1:])

    # Queries and keys grow by `root`, so that their mean square stays what it was; the keys' weights take it back,
    # the queries' would and then grow by `root` again, for the product is divided by the root of the size.
    change = {
        "q_proj.weight": lambda weight: spread(weight, root),
        "k_proj.weight": lambda weight: spread(weight, root),
        "v_proj.weight": spread,
        "o_proj.weight": lambda weight: spread(weight.T).T.contiguous(),
        "q_norm.weight": spread,
        "k_norm.weight": lambda weight: spread(weight, 1 / root),
    }
    weights = {
        name: change.get(".".join(name.split(".")[-2:]), torch.clone)(weight)
        for name, weight in model.state_dict().items()
    }
    with torch.random.fork_rng(devices=[]):
        wide = type(model)(config).to(next(model.parameters()).dtype)
    wide.load_state_dict(weights)
    return wide.eval()
