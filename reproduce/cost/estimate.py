"""GPU memory, GPU-hours and disk of the runs of an experiment with a named model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.core.config import COLOCATE, TRANSFORMERS, EvaluationConfig, RunConfig, weight_precision
from reproduce.cost.episodes import measured_episode
from reproduce.cost.machines import Machine
from reproduce.cost.model import (
    ADAM_MOMENTS,
    ADAPTER_BYTES,
    BYTES_OF,
    SAMPLED_BYTES,
    TRAINING_UTILISATION,
    Architecture,
    TrainingMemory,
    adapter_parameters,
    cache_bytes,
    largest_batch,
    parameters,
    sampling_seconds,
    training_memory,
    training_operations,
)
from reproduce.cost.paper_scale import EpisodeEntry, PaperScaleError, load_paper_scale

EVALUATION_SHARE = 0.9
"""Of a GPU's memory that vLLM takes where it is alone."""
BYTES_OF_TOKEN = 2.0
"""On disk, of an episode: about four characters, compressed to half. Ours."""
KEPT_WHILE_TRAINING = 2
"""Checkpoints with optimiser state that a training has on disk until it ends."""
TYPICAL = EpisodeEntry("", 300, 300, 300, 5, "unstated, ours", "ours")
"""The mean episode of an environment for which no file says one."""


@dataclass(frozen=True)
class RunCost:
    """One run. Seconds are of one GPU (or core) as the estimate has it, all processes added up."""

    sampling: float
    """Seconds of rollouts in training."""
    training: float
    """Seconds of forward and backward passes."""
    evaluation: float
    """Seconds of evaluation."""
    kept: float
    """Bytes of the finished run."""
    scratch: float
    """Further bytes while it trains."""

    @property
    def seconds(self) -> float:
        """All stages."""
        return self.sampling + self.training + self.evaluation


def mean_episode(run: RunConfig) -> EpisodeEntry:
    """The episode as the model reads it where tasks are generated, else the mean one that a paper's file assumes of an
    environment, or a typical one."""
    if (measured := measured_episode(run)) is not None:
        return measured
    try:
        return load_paper_scale(run.paper).episode(run.environment)
    except PaperScaleError:
        return TYPICAL


def longest_episode(run: RunConfig, context: int | None = None) -> int:
    """Tokens of an episode that uses every round and fills every action, within the model's context."""
    mean = mean_episode(run)
    # The horizon counts rounds; a grid over caps asks for a final answer after them.
    turns = run.rounds + isinstance(run.evaluation, EvaluationConfig) if mean.turns > 1 else 1
    longest = mean.prompt_tokens + turns * (run.sampling.longest_action + mean.observation_tokens // mean.turns)
    return longest if context is None else min(longest, context)


def run_cost(run: RunConfig, model: Architecture, machine: Machine, rollouts: int, episodes: int) -> RunCost:
    """The cost of a run. rollouts: episodes of its training. episodes: of its evaluation."""
    mean, hardware, training = mean_episode(run), run.hardware, run.training
    read, sampled = mean.prompt_tokens + mean.observation_tokens, mean.sampled_tokens
    length = read + sampled
    share = hardware.vllm_memory if hardware.training_engine == COLOCATE else EVALUATION_SHARE

    def sample(count: int, wanted: int, memory: float) -> float:
        at_once = min(max(wanted, 1), largest_batch(model, pooled(model, memory), length), max(count, 1))
        return sampling_seconds(model, machine, count * read, count * sampled, length / 2, at_once)

    rollout_seconds = training_seconds = 0.0
    lora = run.model.lora_rank > 0
    if training is not None:
        wanted = training.questions_per_step * training.group_size
        rollout_seconds = sample(rollouts, wanted, share * machine.memory)
        each = training_operations(
            model, length, lora, hardware.gradient_checkpointing, reference=training.kl_coefficient > 0
        )
        training_seconds = rollouts * length * each / (machine.operations * TRAINING_UTILISATION)
    checkpoint = checkpoint_bytes(run, model)
    return RunCost(
        sampling=rollout_seconds,
        training=training_seconds,
        evaluation=sample(episodes, evaluated_at_once(run), EVALUATION_SHARE * machine.memory),
        kept=checkpoint + BYTES_OF_TOKEN * length * episodes,
        scratch=KEPT_WHILE_TRAINING * (1 + ADAM_MOMENTS) * trained_bytes(run, model),
    )


def pooled(model: Architecture, memory: float) -> float:
    """Memory of the fewest GPUs that hold the weights twice, `memory` bytes on each: a model that is too large for one
    is divided (tensor parallel), which leaves the GPU-seconds of a step as they are."""
    return memory * math.ceil(2 * SAMPLED_BYTES * parameters(model) / memory)


def checkpoint_bytes(run: RunConfig, model: Architecture) -> float:
    """Of a trained run: its adapters or all of its weights; nothing for the model itself, which is referred to."""
    if run.training is None or run.model.lora_rank:
        return trained_bytes(run, model)
    # Saved in the model's precision, whatever it was trained in.
    return float(parameters(model) * BYTES_OF[run.model.precision])


def trained_bytes(run: RunConfig, model: Architecture) -> float:
    """Of what is trained, as it is held and checkpointed while it is; nothing for a run that is only evaluated."""
    if run.training is None:
        return 0.0
    if run.model.lora_rank:
        return float(adapter_parameters(model, run.model.lora_rank) * ADAPTER_BYTES)
    return float(parameters(model) * BYTES_OF[weight_precision(run)])


def rows_at_once(run: RunConfig) -> int:
    """Episodes in one forward and backward pass of a training process; 0 for a run that is only evaluated."""
    training, hardware = run.training, run.hardware
    if training is None:
        return 0
    return hardware.rows_at_once or training.questions_per_step * training.group_size // hardware.processes


def run_memory(run: RunConfig, model: Architecture, context: int | None = None) -> TrainingMemory:
    """Memory that a training process of a run needs on its GPU. Raises ValueError for one that is only evaluated."""
    training, hardware = run.training, run.hardware
    if training is None:
        raise ValueError(f"{run.name} is only evaluated")
    return training_memory(
        model,
        weight_precision(run),
        run.model.precision,
        run.model.lora_rank,
        reference=training.kl_coefficient > 0,
        checkpointing=hardware.gradient_checkpointing,
        rows=rows_at_once(run),
        longest=longest_episode(run, context),
        colocated=hardware.training_engine == COLOCATE,
        # FSDP and ZeRO-3 divide weights, gradients and optimiser; without them each process has all of it.
        shards=hardware.processes if hardware.accelerate_config else 1,
    )


def evaluation_bytes(run: RunConfig, model: Architecture, context: int | None = None) -> float:
    """Memory that an evaluation needs on its GPU at the least: the weights and one episode's cache."""
    width = BYTES_OF[run.model.precision] if run.hardware.engine == TRANSFORMERS else SAMPLED_BYTES
    return float(parameters(model) * width + longest_episode(run, context) * cache_bytes(model))


def evaluated_at_once(run: RunConfig) -> int:
    """Episodes that an evaluation samples together."""
    return run.evaluation.at_once * run.evaluation.samples * len(run.evaluation.caps_within(run.rounds))


def total(costs: Sequence[RunCost]) -> RunCost:
    """The cost of all runs, one after another."""
    return RunCost(
        sampling=sum(cost.sampling for cost in costs),
        training=sum(cost.training for cost in costs),
        evaluation=sum(cost.evaluation for cost in costs),
        kept=sum(cost.kept for cost in costs),
        scratch=max((cost.scratch for cost in costs), default=0.0),
    )
