"""Closed forms of cost against models that transformers builds, against counting, and against published hours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reproduce.core.config import COLOCATE, TRANSFORMERS, HardwareConfig, PolicyConfig
from reproduce.cost.estimate import longest_episode, mean_episode, run_cost, run_memory, total
from reproduce.cost.machines import GPUS, Machine, machine_of
from reproduce.cost.model import (
    BANDWIDTH_UTILISATION,
    TRAINING_UTILISATION,
    Architecture,
    activation_bytes,
    adapter_parameters,
    cache_bytes,
    forward_operations,
    largest_batch,
    matrix_parameters,
    parameters,
    policy_parameters,
    sampling_seconds,
    training_memory,
    training_operations,
)
from reproduce.cost.paper_scale import load_paper_scale
from reproduce.cost.time import rollouts
from reproduce.environments.beds import load_bed
from reproduce.environments.sequences import MARKERS
from reproduce.papers.echorl.paper import PAPER as echorl
from reproduce.papers.pass_kt.paper import PAPER as pass_kt
from reproduce.rollouts.policies import build_model, build_tokenizer

QWEN = load_paper_scale("pass_kt").policy
SMALL = Architecture(
    layers=3, width=48, heads=4, key_value_heads=2, head_width=16, feed_forward=80, vocabulary=120, tied=False
)
A100 = GPUS["A100 40GB"]


def qwen(shape: Architecture, device: str = "meta") -> Any:
    """The model of this shape as transformers builds it; on the meta device without weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.device(device):
        return Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=shape.vocabulary,
                hidden_size=shape.width,
                intermediate_size=shape.feed_forward,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.key_value_heads,
                head_dim=shape.head_width,
                tie_word_embeddings=shape.tied,
                attn_implementation="eager",
            )
        )


@pytest.mark.parametrize("tied", [True, False])
def test_counts_are_those_of_a_model_that_transformers_builds(tied: bool) -> None:
    import torch

    shape = replace(SMALL, tied=tied)
    model = qwen(shape)
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert matrix_parameters(shape) == sum(module.weight.numel() for module in linear.values())
    norms = sum(weight.numel() for name, weight in model.named_parameters() if "norm" in name)
    assert parameters(shape) == sum(weight.numel() for weight in model.parameters()) - norms
    adapted = [module for name, module in linear.items() if name != "lm_head"]
    assert adapter_parameters(shape, 4) == sum(4 * (part.in_features + part.out_features) for part in adapted)


@pytest.mark.parametrize("environment", ["retrieval", "countdown"])
def test_the_policies_made_here_have_as_many_parameters_as_are_told(environment: str) -> None:
    import torch

    words = load_bed(environment).words()
    policy = PolicyConfig(layers=3, width=48, heads=4, feed_forward=80)
    with torch.device("meta"):
        model = build_model(policy, build_tokenizer(words), 0)
    assert policy_parameters(policy, len(MARKERS) + len(words)) == model.num_parameters()


def test_key_value_cache_is_that_of_a_forward_pass() -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=120, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    cache = Qwen3ForCausalLM(config)(torch.zeros(1, 7, dtype=torch.long), use_cache=True).past_key_values
    numbers = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert 7 * cache_bytes(SMALL) == 2 * numbers


def test_operations_are_those_that_torch_counts() -> None:
    """A prompt of n tokens in one pass: attention, without a mask that spares work, is n by n."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tokens = 10
    with FlopCounterMode(display=False) as counter:
        qwen(SMALL, "cpu")(torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    # The table of rotations is a product of 8 frequencies with each position.
    assert counter.get_total_flops() - 2 * 8 * tokens == tokens * forward_operations(SMALL, tokens)


@given(st.floats(1, 1e4), st.booleans(), st.booleans(), st.booleans())
def test_training_is_six_operations_a_weight(length: float, lora: bool, checkpointing: bool, reference: bool) -> None:
    """6 N a token, 8 N with checkpointing, 4 N where the weights are frozen; attention comes on top."""
    weights = {(False, False): 6, (False, True): 8, (True, False): 4, (True, True): 6}[
        lora, checkpointing
    ] + 2 * reference
    found = training_operations(SMALL, length, lora, checkpointing, reference)
    assert found > weights * matrix_parameters(SMALL)
    attention = found / weights - matrix_parameters(SMALL)
    assert attention == pytest.approx(2 * SMALL.layers * SMALL.heads * SMALL.head_width * length / 2, rel=1e-6)


def test_memory_of_full_training_and_of_adapters() -> None:
    full = training_memory(QWEN, "float32", "float32", 0, True, True, rows=1, longest=1000, colocated=False)
    assert full.weights + full.gradients + full.optimiser == pytest.approx(16 * parameters(QWEN))
    assert full.reference == full.weights and full.sampling == 0
    lora = training_memory(QWEN, "bfloat16", "bfloat16", 16, True, True, rows=1, longest=1000, colocated=True)
    adapters = adapter_parameters(QWEN, 16)
    assert lora.weights == pytest.approx(2 * parameters(QWEN) + 4 * adapters)
    assert (lora.gradients, lora.optimiser, lora.reference) == (4 * adapters, 8 * adapters, 0)
    assert lora.sampling == 2 * parameters(QWEN) + 1000 * cache_bytes(QWEN)
    assert lora.total == lora.training + lora.sampling < full.total
    divided = training_memory(
        QWEN, "float32", "float32", 0, False, True, rows=1, longest=1000, colocated=False, shards=8
    )
    assert divided.weights + divided.gradients + divided.optimiser == pytest.approx(2 * parameters(QWEN))


def test_all_weights_are_trained_in_float32_and_computed_with_in_bfloat16() -> None:
    """EchoRL on 8 GPUs: 16 bytes a weight are divided, activations of 4 x 8,400 tokens and vLLM's copy are not."""
    run = next(run for run in echorl.plan(echorl.profiles["paper"]) if run.training is not None)
    assert (run.model.precision, run.model.lora_rank, run.hardware.processes) == ("bfloat16", 0, 8)
    model = load_paper_scale("echorl").policy
    needs = run_memory(run, model)
    assert needs.weights == needs.gradients == needs.optimiser / 2 == 4 * parameters(model) / 8
    assert needs.activations == activation_bytes(model, 4 * longest_episode(run), True, 2)
    assert 45e9 < needs.total < 50e9
    # Checkpoints of the trainer hold weights and both moments in float32; what is kept is cast.
    cost = run_cost(run, model, A100, rollouts(run), 0)
    assert cost.scratch == 2 * 3 * 4 * parameters(model)
    assert cost.kept == 2 * parameters(model)
    adapted = replace(run, model=replace(run.model, lora_rank=16))
    assert run_memory(adapted, model).weights * 8 == 2 * parameters(model) + 4 * adapter_parameters(model, 16)


def test_checkpointing_keeps_one_vector_a_layer_and_all_of_one_layer() -> None:
    plain, checkpointed = (activation_bytes(SMALL, 5, kept, 2) for kept in (False, True))
    assert checkpointed == pytest.approx(plain / SMALL.layers + 5 * 2 * SMALL.layers * SMALL.width)
    assert activation_bytes(QWEN, 10, True, 2) == pytest.approx(10 * activation_bytes(QWEN, 1, True, 2))


def test_sampling_is_bound_by_memory_for_one_sequence_and_by_operations_for_many() -> None:
    few = sampling_seconds(QWEN, A100, read=0, sampled=1000, context=1, at_once=1)
    reading = 2 * matrix_parameters(QWEN) + cache_bytes(QWEN)
    assert few == pytest.approx(1000 * reading / (A100.bandwidth * BANDWIDTH_UTILISATION))
    many = sampling_seconds(QWEN, A100, read=0, sampled=1000, context=1, at_once=5000)
    assert many == pytest.approx(1000 * forward_operations(QWEN, 1) / (A100.operations * TRAINING_UTILISATION))
    prompts = sampling_seconds(QWEN, A100, read=1000, sampled=0, context=1, at_once=1)
    assert prompts == pytest.approx(many)


@given(st.integers(1, 4000), st.floats(1e9, 2e11))
def test_the_largest_batch_fits_and_one_more_does_not(tokens: int, memory: float) -> None:
    batch, weights = largest_batch(QWEN, memory, tokens), 2 * parameters(QWEN)
    if batch > 1:
        assert weights + batch * tokens * cache_bytes(QWEN) <= memory
    assert weights + (batch + 1) * tokens * cache_bytes(QWEN) > memory


@pytest.mark.parametrize(
    ("device", "memory", "name"),
    [
        ("NVIDIA A100-SXM4-40GB", 42.3e9, "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", 85e9, "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", 85e9, "H100 80GB"),
        ("NVIDIA H200", 150e9, "H200 141GB"),
        ("NVIDIA RTX 6000 Ada Generation", 51e9, "RTX 6000 Ada 48GB"),
        ("NVIDIA L40S", 48e9, "L40S 48GB"),
        ("NVIDIA GeForce RTX 3090", 24e9, None),
        ("NVIDIA L4", 24e9, None),
    ],
)
def test_gpus_are_known_by_their_names(device: str, memory: float, name: str | None) -> None:
    found = machine_of(device, memory)
    assert (found.name if found is not None else None) == name


def test_cost_of_a_run_adds_up() -> None:
    base, trained = pass_kt.plan(pass_kt.profiles["paper"])[:2]
    cost = run_cost(trained, QWEN, A100, rollouts(trained), 1000)
    twice = run_cost(trained, QWEN, A100, 2 * rollouts(trained), 1000)
    assert rollouts(trained) == 16_000
    assert twice.sampling == pytest.approx(2 * cost.sampling) and twice.training == pytest.approx(2 * cost.training)
    assert twice.evaluation == cost.evaluation
    assert cost.seconds == cost.sampling + cost.training + cost.evaluation
    fast = run_cost(trained, QWEN, Machine("ten", A100.memory, 10 * A100.operations, 10 * A100.bandwidth), 16_000, 1000)
    assert fast.seconds == pytest.approx(cost.seconds / 10)
    only = run_cost(base, QWEN, A100, 0, 1000)
    assert only.sampling == only.training == only.scratch == 0 and only.evaluation == cost.evaluation
    assert cost.kept - only.kept == 4 * adapter_parameters(QWEN, 16)
    sums = total([cost, only])
    assert sums.seconds == pytest.approx(cost.seconds + only.seconds) and sums.scratch == cost.scratch


def test_the_longest_episode_fills_every_action() -> None:
    base, trained = pass_kt.plan(pass_kt.profiles["paper"])[:2]
    mean = mean_episode(trained)
    # Five searches with what they find, and an answer.
    assert longest_episode(trained) == mean.prompt_tokens + 6 * (512 + mean.observation_tokens // 3)
    assert longest_episode(trained, context=2048) == 2048
    apart = replace(trained, hardware=HardwareConfig(training_engine=TRANSFORMERS, rows_at_once=4))
    assert run_memory(apart, QWEN).sampling == 0
    assert run_memory(trained, QWEN).sampling > 0 and trained.hardware.training_engine == COLOCATE
    with pytest.raises(ValueError, match="only evaluated"):
        run_memory(base, QWEN)


def test_estimates_are_within_a_factor_of_two_of_published_hours() -> None:
    """Resets, LiveCodeBench with OLMo (tables 7 and 8): GRPO on two A100 40GB, 11 steps of 32 prompts with 8 rollouts
    of 2,281 tokens, 8.10 M tokens in all: 2.70 h of sampling and 0.74 h of training."""
    olmo = next(model for model in load_paper_scale("resets").models if "lmo" in model.name)
    sampled = 11 * 32 * 8 * 2281
    read = 8.10e6 - sampled
    context = read / (11 * 32 * 8) + 2281 / 2
    memory = 0.6 * 2 * A100.memory
    at_once = largest_batch(olmo, memory, context)
    sampling = sampling_seconds(olmo, A100, read, sampled, context, at_once) / 3600
    training = 8.10e6 * training_operations(olmo, 8.10e6 / 2816, lora=True, checkpointing=True, reference=False)
    training /= A100.operations * TRAINING_UTILISATION * 3600
    assert 0.5 < sampling / (2 * 2.70) < 2
    assert 0.5 < training / (2 * 0.74) < 2
