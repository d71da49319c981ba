"""The one count of parameters and operations, and the memory and seconds they take, in closed form. No model is loaded.

Operations of a forward pass are twice the weights in matrix products a token, and attention on top; a backward pass
is twice a forward pass, half of it for the gradients of the weights, which a frozen weight does not need (Kaplan et al.
2020, section 2.1). Sampling a token reads every weight and the key-value cache once (Pope et al. 2023, section 2):
with few sequences at once it is bound by memory, not by operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from reproduce.core.config import Count, PolicyConfig
from reproduce.cost.machines import Machine

TRAINING_UTILISATION = 0.3
"""Share of the peak operations in training and in reading prompts. Published values for long uniform batches are .3 to
.5 (PaLM, 2022, section 4.1: .46); batches of short episodes of unequal length get less. Ours."""
BANDWIDTH_UTILISATION = 0.5
"""Share of the peak bandwidth in sampling. Pope et al. (2023) reach about .7 with one large model; engines lose some to
scheduling, sampling and waiting for environments. Ours."""
ADAM_MOMENTS = 2
"""Numbers that AdamW keeps beside each trained weight."""
ADAPTER_BYTES = 4
"""peft trains adapters in float32, whatever the precision of the model."""
SAMPLED_BYTES = 2
"""vLLM holds weights and key-value cache in bfloat16."""
OVERHEAD_BYTES = 3e9
"""CUDA context, libraries, workspaces and fragmentation of one process. Ours."""
BYTES_OF = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Architecture:
    """Shape of a decoder with grouped attention and a gated feed-forward block."""

    layers: Count
    width: Count
    heads: Count
    key_value_heads: Count
    head_width: Count
    feed_forward: Count
    vocabulary: Annotated[int, Field(ge=0)]
    tied: bool
    """Embedding and output share weights."""


def policy_architecture(policy: PolicyConfig, vocabulary: int = 0) -> Architecture:
    """Shape of a policy made here. vocabulary: 0 leaves the embedding out of every count."""
    heads, width = policy.heads, policy.width
    return Architecture(policy.layers, width, heads, heads, width // heads, policy.feed_forward, vocabulary, True)


def policy_parameters(policy: PolicyConfig, vocabulary: int) -> int:
    """All weights of a policy made here: two norms per layer, one per head's width of queries and of keys, and the last
    one included."""
    norms = policy.layers * (2 * policy.width + 2 * (policy.width // policy.heads)) + policy.width
    return parameters(policy_architecture(policy, vocabulary)) + norms


def _attention(model: Architecture) -> int:
    """Weights of a layer's queries, keys, values and output."""
    return model.width * model.head_width * (2 * model.heads + 2 * model.key_value_heads)


def matrix_parameters(model: Architecture) -> int:
    """Weights in matrix products: the layers and the output, not the look-up of the embedding."""
    layer = _attention(model) + 3 * model.width * model.feed_forward
    return model.layers * layer + model.vocabulary * model.width


def parameters(model: Architecture) -> int:
    """All weights but biases and norms, which are less than a thousandth."""
    return matrix_parameters(model) + (0 if model.tied else model.vocabulary * model.width)


def adapter_parameters(model: Architecture, rank: int) -> int:
    """Weights of LoRA adapters on every linear layer: rank times inputs plus outputs of each (Hu et al. 2021)."""
    queries, keys = model.heads * model.head_width, model.key_value_heads * model.head_width
    sides = [model.width + queries, model.width + keys, model.width + keys, queries + model.width]
    sides += 3 * [model.width + model.feed_forward]
    return rank * model.layers * sum(sides)


def cache_bytes(model: Architecture) -> int:
    """Key-value cache of one token."""
    return 2 * model.layers * model.key_value_heads * model.head_width * SAMPLED_BYTES


def forward_operations(model: Architecture, context: float) -> float:
    """Operations of one token's forward pass with `context` tokens before it."""
    return 2.0 * matrix_parameters(model) + 4.0 * model.layers * model.heads * model.head_width * context


def training_operations(model: Architecture, length: float, lora: bool, checkpointing: bool, reference: bool) -> float:
    """Operations of one trained token in an episode of `length` tokens: forward and backward pass, the forward pass
    again where activations are checkpointed, and one of the reference model where there is a KL penalty."""
    passes = (2 if lora else 3) + checkpointing + reference
    return passes * forward_operations(model, length / 2)


def activation_bytes(model: Architecture, tokens: float, checkpointing: bool, width: int) -> float:
    """Activations that a backward pass over `tokens` needs. width: bytes of a number.

    Kept of a layer and token: inputs of both norms and of both blocks, queries, keys, values, attention's output, and
    four vectors of the gated block; with checkpointing each layer's input, and all of one layer.
    """
    attention = 2 * model.heads * model.head_width + 2 * model.key_value_heads * model.head_width
    layer = 4 * model.width + attention + 4 * model.feed_forward
    kept = model.layers * model.width + layer if checkpointing else model.layers * layer
    return float(tokens * kept * width)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that one training process needs on its GPU."""

    weights: float
    gradients: float
    optimiser: float
    reference: float
    activations: float
    sampling: float
    """Of vLLM on the same GPU: its copy of the weights and one episode of key-value cache, at the least."""

    @property
    def training(self) -> float:
        """Without vLLM."""
        parts = self.weights + self.gradients + self.optimiser + self.reference + self.activations
        return parts + OVERHEAD_BYTES

    @property
    def total(self) -> float:
        """Both together."""
        return self.training + self.sampling


def training_memory(
    model: Architecture,
    held: str,
    computed: str,
    rank: int,
    reference: bool,
    checkpointing: bool,
    rows: int,
    longest: int,
    colocated: bool,
    shards: int = 1,
) -> TrainingMemory:
    """Memory of a training whose longest episode has `longest` tokens, `rows` of them at once.

    held: precision of the model's weights; gradients and optimiser have that of what is trained. computed: precision of
    the activations. rank: of the adapters, 0 for all weights. shards: processes that share weights, gradients and
    optimiser.
    """
    width, count = BYTES_OF[held], parameters(model)
    trained, trained_width = (adapter_parameters(model, rank), ADAPTER_BYTES) if rank else (count, width)
    weights = count * width + (trained * trained_width if rank else 0)
    return TrainingMemory(
        weights=weights / shards,
        gradients=trained * trained_width / shards,
        optimiser=ADAM_MOMENTS * trained * trained_width / shards,
        # With adapters the reference is the model without them.
        reference=count * width / shards if reference and not rank else 0.0,
        activations=activation_bytes(model, rows * longest, checkpointing, BYTES_OF[computed]),
        sampling=float(SAMPLED_BYTES * count + longest * cache_bytes(model)) if colocated else 0.0,
    )


def sampling_seconds(
    model: Architecture, machine: Machine, read: float, sampled: float, context: float, at_once: float
) -> float:
    """Seconds to read `read` tokens of prompts and observations and to sample `sampled` tokens.

    context: mean tokens before a sampled one. at_once: sequences that are sampled together. Prefixes that episodes
    share are read once for each episode here, so this is an upper bound for engines that cache them.
    """
    operations = forward_operations(model, context)
    reading = read * operations / (machine.operations * TRAINING_UTILISATION)
    moved = SAMPLED_BYTES * matrix_parameters(model) + at_once * context * cache_bytes(model)
    step = max(
        moved / (machine.bandwidth * BANDWIDTH_UTILISATION),
        at_once * operations / (machine.operations * TRAINING_UTILISATION),
    )
    return reading + sampled / at_once * step


def largest_batch(model: Architecture, memory: float, tokens: float) -> int:
    """Episodes of `tokens` tokens whose key-value cache fits beside the weights in `memory` bytes; at least one."""
    free = memory - SAMPLED_BYTES * parameters(model)
    return max(1, int(free / (tokens * cache_bytes(model))))
