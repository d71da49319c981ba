"""Scoring shared rows once changes no loss, metric or gradient, whatever the loss, and leaves other calls alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from reproduce.core.config import PolicyConfig
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.training.prefix_tree import prefix_tree
from reproduce.training.scoring import score_once

TOKENIZER = build_tokenizer(tuple("abcdefgh"))
SIZE = PolicyConfig(layers=3, width=32, heads=4, feed_forward=48, window=3, longest=64)
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo")
PROMPTS = ((1, 5, 6, 7, 2), (1, 8, 2))
ENDINGS = ((9, 3), (9, 3), (9, 10, 11, 2, 12, 3), (9, 10, 11, 2, 12, 3), (9, 10, 8, 2, 5, 3), (7,), (9, 10), (9, 3))
"""Of each prompt: equal rows, shared beginnings, one that is the beginning of another. Token 2 is the environment's."""


def reward(completions: list[Any], **columns: Any) -> list[float]:
    return [0.0] * len(completions)


def model_of(kind: str) -> Qwen3ForCausalLM:
    model = build_model(SIZE, TOKENIZER, seed=1)
    if kind == "tree":
        return model
    # Shared heads of keys make it a model that is not decoded here.
    config = model.config
    config.num_key_value_heads = 2
    torch.manual_seed(1)
    return Qwen3ForCausalLM(config)


def trainer_of(kind: str, folder: Path, **settings: Any) -> Any:
    return GRPOTrainer(
        model=model_of(kind),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=16,
            num_generations=8,
            temperature=0.7,
            report_to="none",
            **settings,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 2),
        processing_class=TOKENIZER,
    )


def batch(per_token: bool = False) -> dict[str, Any]:
    """16 rows as TRL hands them to its loss, in an order that mixes the groups."""
    rows = [(prompt, ending) for ending in ENDINGS for prompt in PROMPTS]
    prompt, longest = max(map(len, PROMPTS)), max(map(len, ENDINGS))
    columns = {
        "prompt_ids": [[0] * (prompt - len(one)) + list(one) for one, _ in rows],
        "prompt_mask": [[0] * (prompt - len(one)) + [1] * len(one) for one, _ in rows],
        "completion_ids": [list(one) + [0] * (longest - len(one)) for _, one in rows],
        "completion_mask": [[1] * len(one) + [0] * (longest - len(one)) for _, one in rows],
    }
    inputs: dict[str, Any] = {name: torch.tensor(values) for name, values in columns.items()}
    inputs["tool_mask"] = (inputs["completion_ids"] != 2).long()
    generator = torch.Generator().manual_seed(0)
    shape = (len(rows), longest) if per_token else (len(rows),)
    inputs["advantages"] = torch.randn(shape, generator=generator)
    inputs["num_items_in_batch"] = (inputs["completion_mask"] * inputs["tool_mask"]).sum()
    return inputs


def outcome(trainer: Any, inputs: dict[str, Any]) -> tuple[float, dict[str, list[float]], list[torch.Tensor]]:
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train().zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return (
        float(loss.detach()),
        dict(trainer._metrics["train"]),
        [weight.grad.clone() for weight in trainer.model.parameters()],
    )


CASES: dict[str, dict[str, Any]] = {
    **{loss: {"loss_type": loss} for loss in LOSSES},
    "sequence ratio": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "entropy bonus": {"loss_type": "dapo", "entropy_coef": 0.1},
    "entropy quantile": {"loss_type": "dapo", "top_entropy_quantile": 0.5},
    "small delta": {"loss_type": "grpo", "delta": 0.9},
}


@pytest.mark.parametrize("kind", ["tree", "rows"])
@pytest.mark.parametrize(
    ("case", "given"),
    [(case, "ratio 1") for case in CASES]
    + list(itertools.product(("grpo", "dapo", "vespo", "entropy bonus"), ("old policy", "reference", "per token"))),
)
def test_losses_metrics_and_gradients_stay(kind: str, case: str, given: str, tmp_path: Path) -> None:
    trainer, inputs = trainer_of(kind, tmp_path, **CASES[case]), batch(per_token=given == "per token")
    noise = torch.randn(inputs["completion_ids"].shape, generator=torch.Generator().manual_seed(1))
    if given == "old policy":
        inputs["old_per_token_logps"] = -2 + 0.3 * noise
    if given == "reference":
        trainer.beta, inputs["ref_per_token_logps"] = 0.1, -2 + 0.3 * noise
    plain = outcome(trainer, inputs)
    score_once(trainer)
    once = outcome(trainer, inputs)
    assert once[0] == pytest.approx(plain[0], abs=1e-6)
    assert set(once[1]) == set(plain[1])
    for name, values in plain[1].items():
        assert once[1][name] == pytest.approx(values, abs=1e-5), name
    assert max(float(one.abs().max()) for one in plain[2]) > 1e-3
    for one, other in zip(plain[2], once[2], strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-5)


def shapes_of_calls(model: Qwen3ForCausalLM) -> list[tuple[int, ...]]:
    """Rows and tokens of each later call of the model, as its layers see them."""
    shapes: list[tuple[int, ...]] = []
    embed, look_up = model.model.embed_tokens, model.model.embed_tokens.forward

    def recorded(ids: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(ids.shape))
        return look_up(ids)

    embed.forward = recorded
    return shapes


def test_equal_rows_go_through_the_model_once_and_rows_with_pictures_or_dropout_all_do(tmp_path: Path) -> None:
    trainer, inputs = trainer_of("rows", tmp_path, loss_type="grpo"), batch()
    shapes = shapes_of_calls(trainer.model)
    score_once(trainer)
    outcome(trainer, inputs)
    distinct = len(set(ENDINGS)) * len(PROMPTS)
    assert [shape[0] for shape in shapes] == [distinct]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    named = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    for further in ({"fused_lm_head": True, "position_ids": torch.arange(ids.shape[1])[None]}, {}):
        trainer.model(**named, **further)
        assert shapes[-1][0] == len(ids) > distinct
    trainer.model.config.attention_dropout = 0.1
    outcome(trainer, inputs)
    assert shapes[-1][0] == len(ids)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12))
def test_a_tree_has_a_node_for_each_beginning_and_finds_it_again(lists: list[list[int]]) -> None:
    rows = [np.array(one, dtype=np.int64) for one in lists]
    tree = prefix_tree(rows)
    beginnings = {tuple(one[:length]) for one in lists for length in range(1, len(one) + 1)}
    assert len(tree.tokens) == len(beginnings)
    for row, nodes in zip(rows, tree.node_of, strict=True):
        assert tree.tokens[nodes[: len(row)]].tolist() == row.tolist()
        assert tree.depth[nodes[: len(row)]].tolist() == list(range(len(row)))
        assert tree.parent[nodes[1 : len(row)]].tolist() == nodes[: len(row) - 1].tolist()
    for node, (owner, depth) in enumerate(zip(tree.owner, tree.depth, strict=True)):
        assert tree.path[owner, depth] == node
