"""vLLM as what samples in training, through TRL's two modes: colocate (the trainer's own GPUs) and server.

TRL pushes the trained weights into vLLM before it asks for rollouts. The first answers after each push are held against
a forward pass of the trained model, and a run whose engine differs by more than `hardware.agreement` stops. That finds
weights of another model, of another precision or arrangement, sampling with other settings, and weights that stay
behind once training has moved the policy by more than the tolerance. It does not find a push or two that went missing:
at the papers' learning rates a step changes log-probabilities by less than the two engines' rounding. What it found is
logged as `sampling/agreement`; where weights no longer arrive, that rises from batch to batch.

TRL merges LoRA adapters into the frozen weights for each push and takes them out again, which in bfloat16 leaves
roundings behind, more with every push. `keep_frozen_weights` puts the frozen weights back bit for bit.

The importance-sampling correction of TRL is off unless `training.arguments` turns it on. Its default mode drops an
episode altogether when the product of its ratios passes 3, which episodes of hundreds of tokens do by rounding alone,
so that long ones would hardly be trained; none of the papers has it; and with it TRL computes all log-probabilities
once more. Turned on, it truncates token by token (`token_truncate`, again at 3), which drops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from reproduce.core.config import COLOCATE, SERVER, TRANSFORMERS, RunConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.core.paper import load_paper
from reproduce.rollouts.agreement import check_agreement, forward_log_probabilities
from reproduce.rollouts.vllm_sampler import Generated, TokenGenerator

ANSWERS_CHECKED = 4
"""Answers after each push of weights that are held against the trained model, in every process equally many: sharded
models meet in each forward pass."""
_WINDOWED = ("qwen2", "qwen3")
"""Architectures whose own code in vLLM refuses a window in some layers only; those run on transformers' modules."""


def engine_arguments(config: RunConfig, architecture: PreTrainedConfig) -> dict[str, Any]:
    """Arguments of `GRPOConfig` for the engine that samples. Raises UserError for an unknown one."""
    hardware = config.hardware
    if hardware.training_engine == TRANSFORMERS:
        return {}
    if hardware.training_engine not in (COLOCATE, SERVER):
        known = (TRANSFORMERS, COLOCATE, SERVER)
        raise UserError(
            f"hardware.training_engine={hardware.training_engine}: {nearest(hardware.training_engine, known)}"
        )
    arguments: dict[str, Any] = {
        "use_vllm": True,
        "vllm_mode": hardware.training_engine,
        "vllm_importance_sampling_correction": False,
        "vllm_importance_sampling_mode": "token_truncate",
    }
    if hardware.training_engine == SERVER:
        return arguments | {"vllm_server_base_url": hardware.vllm_server}
    kinds = set(getattr(architecture, "layer_types", None) or ())
    mixed = len(kinds) > 1 and architecture.model_type in _WINDOWED
    return arguments | {
        "vllm_gpu_memory_utilization": hardware.vllm_memory,
        "vllm_model_impl": "transformers" if mixed else "vllm",
    }


def open_generator(trainer: Any, config: SamplingConfig, ends: Sequence[int]) -> TokenGenerator:
    """The engine that TRL has started for a trainer. ends: tokens that close an action."""
    from reproduce.rollouts.vllm_training import ColocateGenerator, ServerGenerator

    kind = ColocateGenerator if trainer.args.vllm_mode == COLOCATE else ServerGenerator
    generator: TokenGenerator = kind(trainer, config, ends)
    return generator


class SyncedGenerator:
    """A `TokenGenerator` over the weights that are being trained, checked after each push of them.

    open_generator: the engine of a trainer, which does not exist yet when samplers are made. tolerance: see
    `check_agreement`.
    """

    def __init__(
        self, open_generator: Callable[[Any], TokenGenerator], config: SamplingConfig, tolerance: float
    ) -> None:
        self.open_generator, self.config, self.tolerance = open_generator, config, tolerance
        self.generator: TokenGenerator | None = None
        self.trainer: Any = None
        self._served_step = self._checked_step = -1

    @contextmanager
    def serving(self, trainer: Any) -> Iterator[None]:
        """While episodes are sampled for a trainer."""
        if self.trainer is not trainer:
            self.trainer, self.generator = trainer, self.open_generator(trainer)
            self._served_step = self._checked_step = -1
        if trainer.state.global_step != self._served_step:
            # The main process alone pushes to a server; the others must not ask it before all weights are there.
            self._served_step = trainer.state.global_step
            trainer.accelerator.wait_for_everyone()
        awake = getattr(self.generator, "awake", nullcontext)
        with awake():
            yield

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """The engine's answers. Raises UserError where the first ones after a push do not agree with the model."""
        if self.generator is None:
            raise RuntimeError("an engine of training samples only while it serves a trainer")
        answers = self.generator.generate(prompts, seeds, longest)
        # TRL pushes weights when the step has changed.
        if self.trainer.state.global_step != self._checked_step:
            self._checked_step = self.trainer.state.global_step
            difference = self._difference(prompts, answers)
            self.trainer._metrics["train"]["sampling/agreement"].append(difference)
        return answers

    def _difference(self, prompts: Sequence[Sequence[int]], answers: Sequence[Generated]) -> float:
        model, pairs = self.trainer.model, []
        training = model.training
        model.eval()
        try:
            for number in range(ANSWERS_CHECKED):
                place = number % len(answers)
                with self.trainer.accelerator.autocast():
                    expected = forward_log_probabilities(model, prompts[place], answers[place].token_ids, self.config)
                pairs.append(np.stack([answers[place].log_probabilities, expected]))
        finally:
            model.train(training)
        sampled, recomputed = np.concatenate(pairs, axis=1)
        return check_agreement(sampled, recomputed, self.tolerance)


def keep_frozen_weights(trainer: Any) -> None:
    """Have every push of a trainer with LoRA adapters leave the frozen weights as they were, bit for bit.

    While a push lasts, the frozen weights of the adapted layers are there twice on the trainer's device (with ZeRO-3,
    where what a push does to them is dropped anyway, nothing is held).
    """
    generation, push = trainer.vllm_generation, trainer.vllm_generation.sync_weights

    def push_and_restore() -> None:
        # Looked up at each push: FSDP replaces parameters when training begins.
        frozen = [
            weight
            for layer in generation.model.modules()
            if hasattr(layer, "base_layer") and hasattr(layer, "merge")
            for weight in layer.base_layer.parameters()
            if not weight.requires_grad
        ]
        kept = [weight.detach().clone() for weight in frozen]
        try:
            push()
        finally:
            with torch.no_grad():
                for weight, values in zip(frozen, kept, strict=True):
                    weight.copy_(values)

    generation.sync_weights = push_and_restore


def known_entropies(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns of rollouts without `entropies` where the engine did not tell them: a pass of the trainer over the
    batch takes their place."""
    if any(np.isnan(row).any() for row in columns["entropies"]):
        return {name: values for name, values in columns.items() if name != "entropies"}
    return columns


def check_engine(config: RunConfig) -> None:
    """Raise UserError for an engine of training that these settings cannot have."""
    hardware = config.hardware
    if hardware.training_engine == TRANSFORMERS:
        from reproduce.training.launch import shards_weights

        if hardware.accelerate_config and shards_weights(hardware.accelerate_config):
            raise UserError(
                f"hardware.accelerate_config={hardware.accelerate_config} shards the weights, which sampling needs "
                "whole; set hardware.training_engine=colocate or server"
            )
        return
    engine_arguments(config, PreTrainedConfig())
    if config.training is not None and load_paper(config.paper).arms[config.arm].reads_entropies:
        raise UserError(
            f"{config.arm}: resets by entropies, which vLLM does not tell; set hardware.training_engine=transformers"
        )
    if not hardware.device.startswith("cuda") or not torch.cuda.is_available():
        raise UserError(
            f"hardware.training_engine={hardware.training_engine} needs a GPU: vLLM for CPUs cannot take new weights; "
            "set hardware.training_engine=transformers"
        )
    from reproduce.rollouts.vllm_engine import check_vllm

    check_vllm("cuda")
