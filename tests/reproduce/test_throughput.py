"""FLOPs against torch's own counter, and rates from what was counted."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from reproduce.training.throughput import ModelShape, causal_pairs, device_peak, peak_of, rates
from reproduce.training.train import train
from tests.reproduce.small_training import base_of, run_folder, small_run, tasks_of

LENGTH, ROWS = 24, 3


def model_of(**changes: object) -> Qwen3ForCausalLM:
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    sizes |= {"intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 40, "tie_word_embeddings": True}
    return Qwen3ForCausalLM(Qwen3Config(**(sizes | changes), attn_implementation="eager"))


def counted(model: Qwen3ForCausalLM, backward: bool) -> int:
    ids = torch.arange(LENGTH * ROWS).view(ROWS, LENGTH) % 40
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=ids).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"num_hidden_layers": 1, "head_dim": 8}])
def test_flops_are_those_that_torch_counts(changes) -> None:
    model = model_of(**changes)
    shape = ModelShape.of(model)
    # Without a causal kernel every token attends to all of its row.
    tokens, pairs = ROWS * LENGTH, ROWS * LENGTH**2
    # Rotary positions are a product too, made once for all rows, without a weight and without a gradient.
    rotary = 2 * model.config.head_dim // 2 * LENGTH
    assert shape.forward(tokens, pairs) == counted(model, backward=False) - rotary
    assert shape.training(tokens, pairs) == counted(model, backward=True) - rotary


def test_closed_forms() -> None:
    shape = ModelShape.of(model_of())
    attention, feed_forward, output = 32 * 64 * 2 + 2 * 32 * 32, 3 * 32 * 48, 32 * 40
    assert shape.parameters == shape.trained == 3 * (attention + feed_forward) + output
    assert shape.layers == 3 and shape.attention == 64
    n = shape.parameters
    assert shape.forward(10, 0) == 2 * n * 10 and shape.training(10, 0) == 6 * n * 10
    assert shape.training(0, 7) == 3 * shape.forward(0, 7) == 3 * 4 * 3 * 64 * 7
    again = ModelShape.of(model_of(), checkpointing=True)
    assert again.training(10, 7) == 8 * n * 10 + 4 * again.forward(0, 7)
    assert sum(range(1, 101)) == causal_pairs(100)


def test_frozen_weights_cost_no_gradients_of_their_own() -> None:
    model = model_of()
    model.requires_grad_(False)
    shape = ModelShape.of(model)
    assert shape.trained == 0 and shape.training(10, 0) == 4 * shape.parameters * 10


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA RTX 6000 Ada Generation", 364e12),
        ("NVIDIA L40S", 362e12),
        ("Quadro RTX 6000", None),
        ("NVIDIA L4", None),
    ],
)
def test_peaks_by_name(name: str, peak: float | None) -> None:
    assert peak_of(name) == peak
    assert device_peak(torch.device("cpu")) is None


def test_rates_over_processes() -> None:
    found = rates([[2.0, 6.0, 100, 600, 4e12, 30e12], [1.0, 8.0, 140, 400, 6e12, 60e12]], peak=10e12)
    assert found == pytest.approx(
        {
            "sampling_seconds": 2.0,
            "training_seconds": 8.0,
            "sampled_tokens": 120.0,
            "trained_tokens": 125.0,
            "flops": 10e12,
            "utilisation": 0.5,
            "sampling_utilisation": 0.25,
            "training_utilisation": 90 / 160,
        }
    )
    assert "utilisation" not in rates([[2.0, 6.0, 100, 600, 4e12, 30e12]], None)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_training_tells_its_tokens_and_changes_nothing(tmp_path, rank: int) -> None:
    from dataclasses import replace

    run = small_run("pass_kt", "grpo", kl_coefficient=0.0 if rank else 0.01)
    run = replace(run, model=replace(run.model, lora_rank=rank), hardware=replace(run.hardware, rows_at_once=8))
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    folder = run_folder(run, tmp_path)
    trained = train(run, base, tasks, tmp_path / "scratch", folder, measure=True)
    other = train(run, base, tasks, tmp_path / "other", folder)
    model, log, same, alone = trained.model, trained.log, other.model, other.log
    assert all(bool(one.eq(two).all()) for one, two in zip(model.parameters(), same.parameters(), strict=True))
    for entry, other in zip(log, alone, strict=True):
        told = {name.removeprefix("throughput/"): entry.pop(name) for name in list(entry) if "throughput/" in name}
        assert set(entry) == set(other)
        assert set(told) == {"sampling_seconds", "training_seconds", "sampled_tokens", "trained_tokens", "flops"}
        assert told["sampled_tokens"] * told["sampling_seconds"] == pytest.approx(entry["tokens/sampled"])
        # With a KL term all rows are trained, with their prompts; without it those with an advantage.
        trained = told["trained_tokens"] * told["training_seconds"]
        assert trained > entry["tokens/trained"]
        assert told["sampling_seconds"] + told["training_seconds"] < entry["step_time"] + 60
