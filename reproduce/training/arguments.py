"""Arguments of `GRPOConfig`: those every arm shares, how a batch is divided, and what a user may add."""

from __future__ import annotations

import importlib.util
import json
import re
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from reproduce.core.config import TRANSFORMERS, HardwareConfig, ModelConfig, RunConfig, TrainingConfig
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.core.paper import load_paper
from reproduce.cost.paper_scale import load_paper_scale
from reproduce.cost.profile import PAPER, training_arguments

OPEN = frozenset(
    # The optimiser and its schedule.
    "lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args weight_decay adam_beta1 adam_beta2 "
    "adam_epsilon max_grad_norm neftune_noise_alpha disable_dropout cast_lm_head_to_fp32 router_aux_loss_coef "
    # The loss.
    "num_iterations epsilon epsilon_high delta loss_type scale_rewards importance_sampling_level "
    "sapo_temperature_neg sapo_temperature_pos vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg "
    "mask_truncated_completions top_entropy_quantile entropy_coef use_adaptive_entropy entropy_coef_min "
    "entropy_coef_max entropy_coef_delta entropy_target off_policy_mask_threshold use_bias_correction_kl "
    "sync_ref_model ref_model_mixup_alpha ref_model_sync_steps max_completion_length "
    # The machine.
    "tf32 torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config "
    "gradient_checkpointing_kwargs ddp_timeout ddp_bucket_cap_mb torch_empty_cache_steps full_determinism "
    "vllm_max_model_length vllm_tensor_parallel_size vllm_enable_sleep_mode vllm_model_impl vllm_server_timeout "
    "vllm_group_port vllm_importance_sampling_correction vllm_importance_sampling_mode "
    "vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min "
    # The trackers.
    "project trackio_space_id".split()
)
"""Fields of `GRPOConfig` that `training.arguments` may set. The others are the package's, or send data elsewhere."""
SETTINGS = {
    "output_dir": "--runs",
    "seed": "seeds",
    "num_generations": "training.group_size",
    "learning_rate": "training.learning_rate",
    "beta": "training.kl_coefficient",
    "num_train_epochs": "training.epochs",
    "save_steps": "training.save_every",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "per_device_train_batch_size": "hardware.rows_at_once",
    "gradient_accumulation_steps": "hardware.rows_at_once",
    "generation_batch_size": "training.questions_per_step",
    "gradient_checkpointing": "hardware.gradient_checkpointing",
    "use_cpu": "hardware.device",
    "bf16": "model.precision",
    "report_to": "hardware.report_to",
    "use_vllm": "hardware.training_engine",
    "vllm_mode": "hardware.training_engine",
    "vllm_server_base_url": "hardware.vllm_server",
    "vllm_gpu_memory_utilization": "hardware.vllm_memory",
    "fsdp": "hardware.accelerate_config",
    "deepspeed": "hardware.accelerate_config",
}
"""Which setting of ours a field of `GRPOConfig` has."""
LONGEST_REASON = 240
"""Characters of a library's own words in an error."""
TRACKERS = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}
"""Where TRL can log, and the module it needs."""


def shared_arguments(config: RunConfig, longest: int, scratch: Path, updates: int = 1) -> dict[str, Any]:
    """Arguments of `GRPOConfig` that every arm has unless it says otherwise, those of `training.arguments` included.

    longest: positions of the model. scratch: for checkpoints. updates: optimiser steps on each
    batch. Raises UserError in one line.
    """
    training, hardware = config.training, config.hardware
    assert training is not None
    named = named_arguments(training.arguments)
    if named.get("vllm_max_model_length"):
        # vLLM refuses more positions than the model has.
        named["vllm_max_model_length"] = min(named["vllm_max_model_length"], longest)
    # A log entry and a checkpoint fall on the end of a batch: what was sampled is not kept in a checkpoint.
    steps_of_batch = updates * named.get("num_iterations", 1)
    tracked = hardware.report_to != "none"
    return {
        "output_dir": str(scratch),
        "seed": config.seed,
        "use_cpu": hardware.device == "cpu",
        "bf16": config.model.precision == "bfloat16",
        "gradient_checkpointing": hardware.gradient_checkpointing,
        "num_train_epochs": 1,
        "shuffle_dataset": False,
        **batch_arguments(training, hardware, updates),
        "num_generations": training.group_size,
        "num_iterations": 1,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "beta": training.kl_coefficient,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "epsilon": 0.2,
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "top_k": 0,
        "max_completion_length": longest,
        "mask_truncated_completions": False,
        "logging_steps": steps_of_batch,
        "logging_first_step": False,
        "save_strategy": "steps",
        "save_steps": training.save_every * steps_of_batch,
        "save_total_limit": 2,
        "report_to": hardware.report_to,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **({"run_name": f"{config.paper} {config.profile} {config.name}"} if tracked else {}),
        **named,
    }


def check_own_arguments(config: RunConfig) -> None:
    """Raise UserError where `training.arguments` give another value to an argument that the arm sets itself: the arm
    would win unsaid. Those of the profile `paper` are for its other arms then."""
    training = config.training
    if training is None or not training.arguments or config.method is None:
        return
    profiles_own = training_arguments(load_paper_scale(config.paper)) if config.profile == PAPER else ()
    given = named_arguments([pair for pair in training.arguments if pair not in profiles_own])
    if not given:
        return
    load_training = load_paper(config.paper).load_training
    own = load_training().own_arguments(config.method) if load_training is not None else {}
    for name, value in own.items():
        if name in given and given[name] != value:
            raise UserError(
                f"training.arguments: {name}={given[name]}, but the arm {config.arm} is made with {name}={value}; "
                "leave it out, or leave out the arm"
            )


def sampled_positions(config: RunConfig, positions: int) -> int:
    """Positions that an episode of training may fill: those of the model, or of vLLM where `vllm_max_model_length` of
    `training.arguments` gives it fewer; for a server, which is started elsewhere, it says how many that has."""
    if config.training is None or config.hardware.training_engine == TRANSFORMERS:
        return positions
    return min(positions, named_arguments(config.training.arguments).get("vllm_max_model_length") or positions)


def batch_arguments(training: TrainingConfig, hardware: HardwareConfig, updates: int = 1) -> dict[str, int]:
    """How the episodes of one step are divided over processes, optimiser steps and forward passes.

    Each process holds whole groups of the batch. Raises UserError where the numbers do not divide, and for a loss that
    is another one when they do.
    """
    episodes = training.questions_per_step * training.group_size
    if training.questions_per_step % hardware.processes:
        raise UserError(
            f"hardware.processes={hardware.processes} must divide the {training.questions_per_step} questions of a "
            "step: a group stays in one process"
        )
    if episodes % (hardware.processes * updates):
        raise UserError(
            f"{episodes} episodes a step do not divide into {updates} optimiser steps of {hardware.processes} processes"
        )
    share = episodes // (hardware.processes * updates)
    rows = hardware.rows_at_once or share
    if share % rows:
        raise UserError(
            f"hardware.rows_at_once={rows} must divide the {share} episodes that a process trains in one optimiser step"
        )
    if (rows, hardware.processes) != (share, 1) and named_arguments(training.arguments).get("loss_type") == "bnpo":
        raise UserError(
            "training.arguments: loss_type=bnpo is a mean over the tokens of one forward pass, another loss for each "
            "hardware.rows_at_once and hardware.processes; set both as by default (0 and 1), or loss_type=dapo"
        )
    return {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": share // rows,
        "steps_per_generation": share // rows * updates,
    }


def named_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """`training.arguments` as arguments of `GRPOConfig`: values are JSON, and text where they are not.

    Raises UserError for an unknown name, with the nearest one, for a name that has a setting of its own, and for a
    value of another type than the field's.
    """
    if not pairs:
        return {}
    from trl import GRPOConfig

    kinds = typing.get_type_hints(GRPOConfig)
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"training.arguments: expected name=value, got {pair!r}")
        if name not in OPEN:
            if name in SETTINGS:
                raise UserError(f"training.arguments: {name} has a setting of its own: {SETTINGS[name]}")
            if name in kinds:
                raise UserError(f"training.arguments: {name} is not free to set here")
            raise UserError(f"training.arguments: GRPOConfig has no {name!r}; {nearest(name, sorted(OPEN))}")
        if name in found:
            raise UserError(f"training.arguments: {name} is there twice")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if not _fits(value, kinds[name]):
            raise UserError(f"training.arguments: {name} must be {_words(kinds[name])}, got {text!r}")
        found[name] = value
    return found


def _fits(value: Any, kind: Any) -> bool:
    """Whether the value is of the type, whole numbers being numbers and text the name of an enumeration's member."""
    members = typing.get_args(kind) if typing.get_origin(kind) is not dict else ()
    if members:
        return any(_fits(value, member) for member in members)
    kind = typing.get_origin(kind) or kind
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value in [member.value for member in kind]
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _words(kind: Any) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    members = typing.get_args(kind) if typing.get_origin(kind) is not dict else ()
    return " or ".join(words.get(member, "an object") for member in members or (kind,))


def adapters(model: ModelConfig) -> Any:
    """The `LoraConfig` of adapters on every linear layer but the output layer; None where all weights are trained.

    The product of the two matrices is scaled by `lora_alpha / lora_rank`. Raises UserError where peft is missing.
    """
    if not model.lora_rank:
        return None
    if importlib.util.find_spec("peft") is None:
        raise UserError("model.lora_rank needs the package peft: pip install 'rl-claims[lora]'")
    from peft import LoraConfig

    return LoraConfig(
        r=model.lora_rank,
        lora_alpha=model.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def check_tracker(report_to: str) -> None:
    """Raise UserError where TRL could not log there: an unknown name, or a package that is not installed."""
    if report_to == "none":
        return
    if report_to not in TRACKERS:
        raise UserError(f"hardware.report_to={report_to}: {nearest(report_to, ('none', *TRACKERS))}")
    if importlib.util.find_spec(TRACKERS[report_to]) is None:
        raise UserError(f"hardware.report_to={report_to} needs the package {report_to}: pip install {report_to}")


def resolved(arguments: Mapping[str, Any]) -> Any:
    """The `GRPOConfig`. Raises UserError with TRL's own reason where it refuses the arguments."""
    from trl import GRPOConfig

    try:
        return GRPOConfig(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"training arguments refused: {_shortened(str(error))}") from None


def _shortened(reason: str) -> str:
    """One line; of a long list of names the nearest one."""
    line, listed, names = reason.splitlines()[0].partition(", please select one of ")
    if listed:
        known = re.findall(r"'([^']+)'", names)
        line = f"{line}; {nearest(line.partition(' ')[0], known)}"
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."
