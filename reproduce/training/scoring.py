"""Scores what the rows of a training batch share once: equal rows by any model, shared beginnings by those made here.

TRL scores a batch through one call of the model, `model(input_ids, attention_mask, labels, fused_lm_head=True)`, which
returns a log-probability and an entropy for each labelled token. Those of two rows that are equal up to a token are
equal at that token. So the call is answered from distinct rows, or from the nodes of the tree that the rows form, and
the answers are spread over the rows again. Every loss, ratio, penalty and metric of TRL reads the same numbers as
before, up to rounding, and the gradients of equal rows add up by themselves: at ratio 1 the sum of the rows' advantages
times the gradient of one.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Qwen3ForCausalLM
from trl.trainer.utils import FusedCausalLMOutput

from reproduce.rollouts.lean_decoder import is_small_decoder
from reproduce.training.prefix_tree import prefix_tree
from reproduce.training.tree_forward import TreeForward

_SHARED = {"input_ids", "attention_mask", "labels"}
"""Arguments of a call whose answers are those of its tokens alone; pictures, for one, are further arguments."""


def score_once(trainer: Any) -> None:
    """Have the trainer's model answer TRL's calls from what its rows do not share.

    To be called once, on a trainer that has its model. Calls with other arguments than tokens, masks and labels, models
    with dropout and batches of distinct rows go to the model as they are.
    """
    model = trainer.model
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    original, temperature = model.forward, float(trainer.temperature)

    @functools.wraps(type(model).forward)
    def forward(self: nn.Module, *positional: Any, **named: Any) -> Any:
        tokens_only = not positional and set(named) - {"fused_lm_head"} == _SHARED
        if not (tokens_only and named.get("fused_lm_head")) or _draws_at_random(self):
            return original(*positional, **named)
        ids, mask, labels = named["input_ids"], named["attention_mask"], named["labels"]
        if is_small_decoder(self) and mask.shape == ids.shape:
            assert isinstance(self, Qwen3ForCausalLM)
            return _from_tree(self, ids, mask, labels, temperature)
        return _from_distinct_rows(original, named)

    model.forward = types.MethodType(forward, model)


def _draws_at_random(model: nn.Module) -> bool:
    """Whether two equal rows may get different answers."""
    if not model.training:
        return False
    return getattr(model.config, "attention_dropout", 0.0) > 0 or any(
        isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules()
    )


def _from_distinct_rows(original: Callable[..., Any], named: dict[str, Any]) -> Any:
    """The answer for the distinct rows of a call, spread over all."""
    columns = torch.cat([named[name] for name in sorted(_SHARED)], dim=1)
    distinct, place = torch.unique(columns, dim=0, return_inverse=True)
    if len(distinct) == len(columns):
        return original(**named)
    first = torch.zeros(len(distinct), dtype=torch.long, device=place.device)
    first.scatter_(0, place, torch.arange(len(place), device=place.device))
    output = original(**{name: value[first] if name in _SHARED else value for name, value in named.items()})
    spread = {
        name: value[place] if torch.is_tensor(value) and value.shape[:1] == first.shape else value
        for name, value in output.items()
    }
    return FusedCausalLMOutput(**spread)


def _from_tree(
    model: Qwen3ForCausalLM, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, temperature: float
) -> FusedCausalLMOutput:
    """The answer of a small decoder, from the tree of the rows of the call."""
    seen = mask.numpy() > 0
    tree = prefix_tree([row[kept] for row, kept in zip(ids.numpy(), seen, strict=True)])
    # The node of each column of the call; a label says whether its own token is wanted.
    column = np.zeros(ids.shape, dtype=np.int64)
    column[seen] = tree.node_of[np.arange(tree.node_of.shape[1]) < seen.sum(axis=1, keepdims=True)]
    wanted = labels.numpy()[:, 1:] != -100
    nodes, place = np.unique(column[:, 1:][wanted], return_inverse=True)
    log_probabilities, entropies = TreeForward(model, tree).scores(torch.from_numpy(nodes), temperature)
    label_mask = torch.from_numpy(wanted)
    where = torch.zeros(label_mask.shape, dtype=torch.long)
    where[label_mask] = torch.from_numpy(place) + 1

    def spread(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values.new_zeros(1), values])[where]

    return FusedCausalLMOutput(log_probs=spread(log_probabilities), entropy=spread(entropies), label_mask=label_mask)
