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
    model = base_model(trainer.model)
    original, temperature = model.forward, float(trainer.temperature)

    @functools.wraps(type(model).forward)
    def forward(self: nn.Module, *positional: Any, **named: Any) -> Any:
        if positional or not _reads_tokens_alone(self, named):
            return original(*positional, **named)
        if is_small_decoder(self) and named["attention_mask"].shape == named["input_ids"].shape:
            assert isinstance(self, Qwen3ForCausalLM)
            return _from_tree(self, named["input_ids"], named["attention_mask"], named["labels"], temperature)
        first, place = _distinct_rows(named)
        if len(first) == len(place):
            return original(**named)
        output = original(**{name: value[first] if name in _SHARED else value for name, value in named.items()})
        per_row = {name: value for name, value in output.items() if torch.is_tensor(value) and value.ndim > 1}
        return FusedCausalLMOutput(**(dict(output) | {name: value[place] for name, value in per_row.items()}))

    model.forward = types.MethodType(forward, model)


def base_model(model: Any) -> Any:
    """The model itself, where adapters are around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def rows_scored(model: nn.Module, named: dict[str, Any]) -> torch.Tensor:
    """The attention mask of the rows that a call is answered from, after `score_once`."""
    mask: torch.Tensor = named["attention_mask"]
    return mask[_distinct_rows(named)[0]] if _reads_tokens_alone(model, named) else mask


def _reads_tokens_alone(model: nn.Module, named: dict[str, Any]) -> bool:
    """Whether equal rows of a call get equal answers, each for itself."""
    if not named.get("fused_lm_head") or set(named) - {"fused_lm_head"} != _SHARED:
        return False
    if not model.training:
        return True
    config: Any = model.config
    return not getattr(config, "attention_dropout", 0.0) and not any(
        isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules()
    )


def _distinct_rows(named: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The first of the equal rows of a call, for each kind; and the kind of each row."""
    columns = torch.cat([named[name] for name in sorted(_SHARED)], dim=1)
    _, place = torch.unique(columns, dim=0, return_inverse=True)
    rows = torch.arange(len(place), device=place.device)
    first = torch.full_like(rows, len(rows)).scatter_reduce_(0, place, rows, "amin")
    return first[first < len(rows)], place


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
