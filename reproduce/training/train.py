"""Training of one arm: GRPO, or what the arm's paper makes of it, through TRL's `rollout_func`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from methods.grpo import GRPOWithGroupMetrics
from reproduce.core.config import TRANSFORMERS, RunConfig, TrainingConfig, weight_precision
from reproduce.core.files import UserError, read_json, write_json
from reproduce.core.hashes import check_files, describe_files
from reproduce.core.paper import load_paper
from reproduce.core.slices import SliceOver, time_is_up
from reproduce.rollouts import EpisodeSampler, Sampler, UniformStreams, rollout_columns
from reproduce.rollouts.formats import open_episodes
from reproduce.rollouts.models import end_tokens, follow_reference
from reproduce.rollouts.policies import load_policy
from reproduce.rollouts.room import check_room
from reproduce.rollouts.streams import stream_length
from reproduce.rollouts.vllm_sampler import VllmSampler
from reproduce.training.arguments import adapters, resolved, sampled_positions, shared_arguments
from reproduce.training.engines import (
    SyncedGenerator,
    check_engine,
    engine_arguments,
    keep_frozen_weights,
    known_entropies,
    open_generator,
)
from reproduce.training.row_dropping import without_idle_rows
from reproduce.training.scoring import score_once
from reproduce.training.throughput import MeteredSampler, ThroughputMeter

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def exact_match(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    """The reward: 1 for a right answer, else 0 (paper: binary exact match)."""
    return [float(value) for value in success]


class _Progress(TrainerCallback):
    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report = report

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps)


class _Slices(TrainerCallback):
    """Saves and stops after a batch once the slice is over. The main process decides: clocks differ."""

    def __init__(self, steps_of_batch: int) -> None:
        self.steps_of_batch = steps_of_batch

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # Between batches: what was sampled is not kept in a checkpoint. The last step ends the training anyway.
        if state.global_step % self.steps_of_batch or state.global_step >= state.max_steps:
            return
        over = torch.tensor(float(time_is_up()), device=args.device)
        if bool(broadcast(over)):
            control.should_save = control.should_training_stop = True


class _Hashes(TrainerCallback):
    """Keeps size and sha256 of the files of each checkpoint, beside it, once it is whole."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(str(args.output_dir))
        if state.is_world_process_zero and (checkpoint := folder / f"checkpoint-{state.global_step}").is_dir():
            described = describe_files(checkpoint)
            if args.world_size > 1:  # The others may still be writing theirs.
                described = {name: found for name, found in described.items() if name == "trainer_state.json"}
            write_json(folder / f"{checkpoint.name}.json", described)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end and is as it was written; None if there is none."""
    found = sorted(folder.glob("checkpoint-*/"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        try:
            check_files(checkpoint, read_json(folder / f"{checkpoint.name}.json"))
        except UserError:
            continue
        return checkpoint
    return None


def is_main_process() -> bool:
    """Whether this is the training process that writes files; so is the only one."""
    return bool(PartialState().is_main_process)


@dataclass(frozen=True)
class Setting:
    """What an arm is built from."""

    config: RunConfig
    training: TrainingConfig
    tasks: Sequence[Any]
    """The training panel. The prompt of a row is its task's identifier, for two tasks may have the same text."""
    place_of_prompt: Mapping[str, int]
    sampler: Sampler
    """Samples from the policy that is being trained, in the environment."""
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    base: Path
    """Checkpoint that training starts from."""
    siblings: Path
    """Folder of the environment, which holds the run folders of all arms: ARM/seed-N."""
    engine: SyncedGenerator | None = None
    """What the sampler asks where an engine beside the model samples, which then tells no entropies."""

    @property
    def name(self) -> str:
        """Names the run's streams of uniform numbers."""
        return self.config.streams


@dataclass(frozen=True)
class Recipe:
    """What one arm adds to GRPO. The default is GRPO with the outcome as its reward."""

    trainer: type[GRPOTrainer] = GRPOWithGroupMetrics
    reward: Callable[..., list[float]] = exact_match
    callbacks: tuple[TrainerCallback, ...] = ()
    updates: int = 1
    """Optimiser steps on each batch."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `GRPOConfig` that differ from the shared ones."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the trainer."""
    rollout: Callable[[list[str], GRPOTrainer], dict[str, list[Any]]] | None = None
    """The arm's own `rollout_func`; None: independent episodes, `group_size` a task."""
    finish: Callable[[Path], None] = lambda folder: None
    """Called with the run folder after training, before the checkpoint is kept: writes what the arm wants to keep."""


def build_recipe(setting: Setting) -> Recipe:
    """The recipe of a run: GRPO where it has no settings of a method, else what its paper makes of them."""
    load_training = load_paper(setting.config.paper).load_training
    if setting.config.method is None or load_training is None:
        return Recipe()
    recipe = load_training().build(setting)
    assert isinstance(recipe, Recipe)
    return recipe


def independent_rollouts(setting: Setting) -> Callable[[list[str], GRPOTrainer], dict[str, list[Any]]]:
    """The `rollout_func` of GRPO. Rollouts are addressed by (run, call, row of the whole batch), so a run that is
    continued from a checkpoint draws what the uninterrupted one draws, and several processes what one draws."""

    def rollout(prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        return sample_columns(setting, prompts, trainer, f"{setting.name} training step {trainer.state.global_step}")

    return rollout


def sample_columns(setting: Setting, prompts: Sequence[str], trainer: GRPOTrainer, name: str) -> dict[str, list[Any]]:
    """One episode for each of this process's prompts as the columns of a `rollout_func`, from the streams of that name:
    a stream for each row of the batch over all processes. `entropies` is absent where the engine does not tell them."""
    longest = stream_length(setting.training.rounds, setting.config.sampling.longest_action)
    accelerator = trainer.accelerator
    first = accelerator.process_index * len(prompts)
    streams = UniformStreams((name,), accelerator.num_processes * len(prompts), longest)
    tasks = [setting.place_of_prompt[prompt] for prompt in prompts]
    rows = range(first, first + len(prompts))
    with whole_model(setting, trainer), engine_ready(setting, trainer):
        batch = setting.sampler.sample(setting.tasks, tasks, [setting.training.rounds] * len(prompts), rows, streams)
    return known_entropies(rollout_columns(batch))


@contextmanager
def whole_model(setting: Setting, trainer: GRPOTrainer) -> Iterator[None]:
    """While the model itself samples: whole in this process, and without dropout."""
    if setting.engine is not None:
        yield
        return
    with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as unwrapped:
        unwrapped.eval()
        yield
        unwrapped.train()


@contextmanager
def engine_ready(setting: Setting, trainer: GRPOTrainer) -> Iterator[None]:
    """While whatever engine there is samples for the trainer."""
    with trainer.accelerator.autocast() if setting.engine is None else setting.engine.serving(trainer):
        yield


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    model: PreTrainedModel
    log: list[dict[str, Any]]
    """One entry an optimiser step."""
    weights: dict[str, torch.Tensor] | None
    """All weights, on the main process, where they are spread over the processes; None where the model has them."""


def train(
    config: RunConfig,
    base: Path,
    tasks: Sequence[Any],
    scratch: Path,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
    measure: bool = False,
) -> Trained:
    """Train a run's arm from `base`.

    scratch: for checkpoints from which an interrupted call continues. folder: the run's own, beside which the other
    arms of its environment lie. measure: log `throughput/...` without a GPU too. Raises ValueError when the batch does
    not fit the training tasks, UserError for settings that do not go together and for a task whose prompt leaves no
    room for an action, and SliceOver, with a checkpoint written, where the slice ends first.
    """
    training = config.training
    if training is None:
        raise ValueError(f"{config.name} is only evaluated")
    if training.epochs * len(tasks) % training.questions_per_step:
        raise ValueError(
            f"{training.questions_per_step} tasks a step do not divide {training.epochs} passes over {len(tasks)} tasks"
        )
    check_engine(config)
    PartialState(cpu=config.hardware.device == "cpu")  # Processes meet before the first of them asks who it is.
    device, precision = config.hardware.device, weight_precision(config)
    model, tokenizer = load_policy(base, device, precision)
    environment, text = open_episodes(config, tokenizer, end_tokens(follow_reference(base)))
    longest = int(model.config.get_text_config().max_position_embeddings)
    engine, sampler = None, cast(Sampler, EpisodeSampler(model, tokenizer, environment, config.sampling, text))
    if config.hardware.training_engine != TRANSFORMERS:
        opened = partial(open_generator, config=config.sampling, ends=text.ends)
        engine = SyncedGenerator(opened, config.sampling, config.hardware.agreement)
        sampler = VllmSampler(engine, tokenizer, text, environment, config.sampling, sampled_positions(config, longest))
    check_room(sampler, tasks)
    meter = None
    if measure or device.startswith("cuda"):
        sampler = metered = MeteredSampler(sampler)
        meter = ThroughputMeter(metered)
    setting = Setting(
        config=config,
        training=training,
        tasks=tasks,
        place_of_prompt={task.identifier: place for place, task in enumerate(tasks)},
        sampler=sampler,
        model=model,
        tokenizer=tokenizer,
        base=base,
        siblings=folder.parent.parent,
        engine=engine,
    )
    arm = build_recipe(setting)
    engine_settings = engine_arguments(config, model.config)
    arguments = resolved(
        engine_settings | shared_arguments(config, longest, scratch, arm.updates) | dict(arm.arguments)
    )
    steps_of_batch = arm.updates * arguments.num_iterations
    # Every epoch's order is laid out beforehand: the trainer's own shuffle begins anew when a run is continued.
    generator = np.random.default_rng(config.seed)
    order = np.concatenate([generator.permutation(len(tasks)) for _ in range(training.epochs)])
    kind = without_idle_rows(arm.trainer) if issubclass(arm.trainer, GRPOWithGroupMetrics) else arm.trainer
    trainer = kind(
        model=model,
        reward_funcs=arm.reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": tasks[place].identifier} for place in order]),
        processing_class=tokenizer,
        rollout_func=arm.rollout or independent_rollouts(setting),
        callbacks=[*arm.callbacks, _Progress(report), _Slices(steps_of_batch), _Hashes()],
        peft_config=adapters(config.model),
        **arm.options,
    )
    score_once(trainer)
    trainer.remove_callback(PrinterCallback)
    if engine is not None:
        keep_frozen_weights(trainer)
    if meter is not None:
        meter.steps_of_batch = steps_of_batch
        meter.watch(trainer)
    checkpoint = latest_checkpoint(scratch)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise SliceOver
    if is_main_process():
        arm.finish(folder)
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    return Trained(trainer.accelerator.unwrap_model(trainer.model).eval(), log, gathered_weights(trainer))


def gathered_weights(trainer: GRPOTrainer) -> dict[str, torch.Tensor] | None:
    """All weights where FSDP or DeepSpeed divide them, collected by all processes together; None elsewhere."""
    if str(trainer.accelerator.distributed_type).rpartition(".")[2] not in ("FSDP", "DEEPSPEED"):
        return None
    whole: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return whole
