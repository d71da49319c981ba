"""Speed of training: tokens a second, seconds of sampling and of training, and model FLOP utilisation.

FLOPs are those of the model's matrix products, as usual in reports of utilisation (Chowdhery et al. 2022, PaLM, arXiv
2204.02311, appendix B), what is computed twice by choice not left out: with N parameters in matrix products

    forward                   2 N a token
    training                  6 N a token: forward, and gradients of inputs and of weights; 2 N less for frozen weights
    gradient checkpointing    2 N more: the forward pass is made again
    attention                 4 * layers * (heads * head size) for each token and each token it attends to, itself
                              included, forward; three times that in training, four times with checkpointing

Sampled tokens go through the model forward once, for keys and values are kept. Utilisation is FLOPs a second by the
peak of the GPUs in dense bfloat16 products, in whatever precision the model computes. Equal rows that are trained count
once (`reproduce.training.scoring`).

Three things make the figures approximate. The output layer is counted for every token, though only those of completions
get logits: with long prompts and a large vocabulary that is too much, at most by the layer's share of N. Forward passes
of the reference model of a KL penalty are not counted, but their seconds are: too little. Seconds that are not spent in
the sampler of the rollouts count as training, so those of SRPO's localizer, whose tokens are not counted, and of the
check of an engine: with them utilisation in training is too low.
"""

from __future__ import annotations

import functools
import time
import types
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reproduce.cost.machines import machine_of
from reproduce.rollouts import EpisodeBatch, Sampler
from reproduce.training.scoring import base_model, rows_scored

VARIANTS = {"H100 PCIe": 756e12, "H100 NVL": 835e12}
"""Peak FLOP/s in dense bfloat16 products of GPUs that are slower than their series in `reproduce.cost.machines`,
by part of their name. Data sheet of NVIDIA (H100), whose figures with sparsity are twice these."""


def peak_of(name: str) -> float | None:
    """Peak FLOP/s of a GPU by the name that torch gives it; None for one that is not listed."""
    series = machine_of(name, 0.0)
    return next((peak for part, peak in VARIANTS.items() if part in name), series.operations if series else None)


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a token depends on."""

    parameters: int
    """In matrix products, the output layer included, the embedding left out: N."""
    trained: int
    """Those of them that are trained."""
    layers: int
    attention: int
    """Heads times head size."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass."""

    @classmethod
    def of(cls, model: torch.nn.Module, checkpointing: bool = False) -> ModelShape:
        """The shape of a model, adapters included; weights that are shared count where they are used."""
        linear = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
        config = model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            parameters=sum(weight.numel() for weight in linear),
            trained=sum(weight.numel() for weight in linear if weight.requires_grad),
            layers=int(config.num_hidden_layers),
            attention=int(config.num_attention_heads * size),
            checkpointing=checkpointing,
        )

    def forward(self, tokens: float, pairs: float) -> float:
        """FLOPs of a forward pass over so many tokens that attend to so many, each token to itself among them."""
        return 2.0 * self.parameters * tokens + self._attention(pairs)

    def training(self, tokens: float, pairs: float) -> float:
        """FLOPs of a forward and a backward pass."""
        passes = 2 + self.checkpointing  # Forward, once more with checkpointing, and the gradients of the inputs.
        products = 2.0 * (passes * self.parameters + self.trained) * tokens
        return products + (3 + self.checkpointing) * self._attention(pairs)

    def _attention(self, pairs: float) -> float:
        return 4.0 * self.layers * self.attention * pairs


def causal_pairs(length: float) -> float:
    """Pairs of a token and one that it attends to in a sequence: n (n + 1) / 2."""
    return length * (length + 1) / 2


class MeteredSampler:
    """A sampler that adds up what it has sampled, and the seconds that took."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.seconds = self.sampled_tokens = self.forward_tokens = self.pairs = 0.0
        self.busy = False
        """Whether it samples just now."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sampler, name)

    def sample(self, *arguments: Any, **options: Any) -> EpisodeBatch:
        """As the sampler's."""
        return self._metered(self.sampler.sample, *arguments, **options)

    def sample_from(self, *arguments: Any, **options: Any) -> EpisodeBatch:
        """As the sampler's."""
        return self._metered(self.sampler.sample_from, *arguments, **options)

    def _metered(self, sample: Any, *arguments: Any, **options: Any) -> EpisodeBatch:
        begun, self.busy = time.perf_counter(), True
        try:
            batch: EpisodeBatch = sample(*arguments, **options)
        finally:
            self.busy = False
        self.seconds += time.perf_counter() - begun
        lengths = [len(trajectory.token_ids) for trajectory in batch.trajectories]
        self.sampled_tokens += batch.sampled_tokens
        self.forward_tokens += batch.forward_tokens
        # Tokens that episodes share go through the model once; they attend to as many as the others on average.
        share = batch.forward_tokens / max(sum(lengths), 1)
        self.pairs += share * sum(map(causal_pairs, lengths))
        return batch

    def take(self) -> tuple[float, float, float, float]:
        """Seconds, sampled tokens, forward tokens and pairs since the last call."""
        found = self.seconds, self.sampled_tokens, self.forward_tokens, self.pairs
        self.seconds = self.sampled_tokens = self.forward_tokens = self.pairs = 0.0
        return found


class ThroughputMeter(TrainerCallback):
    """Logs `throughput/...` once a batch, over all processes:

    `sampling_seconds`, `training_seconds`: of the slowest process; training is all but sampling. `sampled_tokens` and
    `trained_tokens` a second of each: tokens of the policy, and tokens forward and backward through the model. `flops`,
    model FLOPs a second of the whole step; with a known GPU also `utilisation`, of the whole step, and
    `sampling_utilisation` and `training_utilisation`.

    Where an engine beside the model samples, the forward pass that its answers are held against takes part of the
    seconds of sampling; its tokens and FLOPs are not counted.

    steps_of_batch: optimiser steps on each batch.
    """

    def __init__(self, sampler: MeteredSampler, steps_of_batch: int = 1) -> None:
        self.sampler, self.steps_of_batch = sampler, steps_of_batch
        self.trainer: Any = None
        self._tokens = self._pairs = self._scoring = 0.0

    def watch(self, trainer: Any) -> None:
        """Count the tokens of the trainer's forward passes. To be called before training."""
        self.trainer = trainer
        self.shape = ModelShape.of(trainer.model, bool(trainer.args.gradient_checkpointing))
        model = base_model(trainer.model)
        forward = model.forward

        @functools.wraps(type(model).forward)
        def counted(module: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
            self._count(module, options)
            return forward(*arguments, **options)

        # A hook would make a small decoder another model (`reproduce.rollouts.lean_decoder`).
        model.forward = types.MethodType(counted, model)
        trainer.add_callback(self)

    def _count(self, module: torch.nn.Module, options: dict[str, Any]) -> None:
        # The sampler counts for itself: what it writes, not what holds an engine's answers against the model. What
        # else an arm samples runs in inference mode.
        if self.sampler.busy or torch.is_inference_mode_enabled():
            return
        lengths = rows_scored(module, options).sum(dim=1).tolist()
        tokens, pairs = float(sum(lengths)), float(sum(map(causal_pairs, lengths)))
        if torch.is_grad_enabled():
            self._tokens += tokens
            self._pairs += pairs
        else:
            self._scoring += self.shape.forward(tokens, pairs)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._begun = _now()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log what the batch took."""
        if state.global_step % self.steps_of_batch:
            return
        now = _now()
        seconds, sampled, forward, pairs = self.sampler.take()
        sampling_flops = self.shape.forward(forward, pairs)
        training_flops = self.shape.training(self._tokens, self._pairs) + self._scoring
        local = [seconds, now - self._begun - seconds, sampled, self._tokens, sampling_flops, training_flops]
        self._tokens = self._pairs = self._scoring = 0.0
        for name, value in rates(_over_processes(local), device_peak(args.device)).items():
            self.trainer._metrics["train"][f"throughput/{name}"].append(value)
        self._begun = now


def rates(processes: list[list[float]], peak: float | None) -> dict[str, float]:
    """What is logged. processes: of each process, seconds of sampling and training, tokens sampled and trained, FLOPs
    of sampling and training. peak: FLOP/s of one process's GPU."""
    sampling, training = (max(one[place] for one in processes) for place in (0, 1))
    sampled, trained, sampling_flops, training_flops = (sum(one[place] for one in processes) for place in (2, 3, 4, 5))
    flops = (sampling_flops + training_flops) / (sampling + training)
    found = {"sampling_seconds": sampling, "training_seconds": training, "flops": flops}
    found["trained_tokens"] = trained / training
    if sampling:
        found["sampled_tokens"] = sampled / sampling
    if peak is not None:
        peak *= len(processes)
        found |= {"utilisation": flops / peak, "training_utilisation": training_flops / training / peak}
        if sampling:
            found["sampling_utilisation"] = sampling_flops / sampling / peak
    return found


def device_peak(device: torch.device) -> float | None:
    """Peak FLOP/s of a device; None for one that is not listed, a CPU among them."""
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def _over_processes(values: list[float]) -> list[list[float]]:
    state = PartialState()
    if state.num_processes == 1:
        return [values]
    table: list[list[float]] = gather(torch.tensor([values], dtype=torch.float64, device=state.device)).tolist()
    return table


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # What was launched has not run yet.
    return time.perf_counter()
