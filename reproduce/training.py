"""Training of one arm with GRPO on the retrieval task, through TRL's `rollout_func`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation

from methods.grpo import GRPOWithGroupMetrics
from reproduce.configuration import SamplingConfig, TrainingConfig
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask
from reproduce.policies import load_policy
from reproduce.rollouts import EpisodeSampler, UniformStreams, rollout_columns

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


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end (the trainer writes its state last); None if there is none."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return checkpoint
    return None


def train_grpo(
    base: Path,
    tasks: Sequence[RetrievalTask],
    folder: Path,
    run: str,
    seed: int,
    config: TrainingConfig,
    sampling: SamplingConfig,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[torch.nn.Module, list[dict[str, Any]]]:
    """Train from `base`; returns the trained model and the log, one entry an optimiser step.

    Rollouts are addressed by (run, step, row), so a run continued from a checkpoint in `folder` draws what the
    uninterrupted one draws. Raises ValueError when the batch does not fit the training questions.
    """
    if len(tasks) % config.questions_per_step:
        raise ValueError(f"{config.questions_per_step} questions a step do not divide {len(tasks)} training questions")
    model, tokenizer = load_policy(base)
    task_of_prompt = {task.question: place for place, task in enumerate(tasks)}
    sampler = EpisodeSampler(model, tokenizer, RetrievalEnvironment(), sampling)

    def rollout(prompts: list[str], trainer: GRPOWithGroupMetrics) -> dict[str, list[Any]]:
        streams = UniformStreams((f"{run} training step {trainer.state.global_step}",), len(prompts))
        questions, rows = [task_of_prompt[prompt] for prompt in prompts], range(len(prompts))
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as unwrapped:
            unwrapped.eval()
            batch = sampler.sample(tasks, questions, [config.rounds] * len(prompts), rows, streams)
            unwrapped.train()
        return rollout_columns(batch)

    # Every epoch's order is laid out beforehand: the trainer's own shuffle begins anew when a run is continued.
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(len(tasks)) for _ in range(config.epochs)])
    batch_size = config.questions_per_step * config.group_size
    arguments = GRPOConfig(
        output_dir=str(folder),
        seed=seed,
        use_cpu=True,  # The sampler keeps its rows on the CPU, where policies of this size are quick enough.
        bf16=False,
        gradient_checkpointing=False,
        num_train_epochs=1,
        shuffle_dataset=False,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=1,
        num_generations=config.group_size,
        num_iterations=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=config.kl_coefficient,
        loss_type="grpo",
        scale_rewards="group",
        epsilon=0.2,
        temperature=sampling.temperature,
        top_p=1.0,
        top_k=0,
        max_completion_length=int(model.config.max_position_embeddings),
        mask_truncated_completions=False,
        logging_steps=1,
        logging_first_step=False,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = GRPOWithGroupMetrics(
        model=model,
        reward_funcs=exact_match,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": tasks[place].question} for place in order]),
        processing_class=tokenizer,
        rollout_func=rollout,
        callbacks=[_Progress(report)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = latest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.accelerator.unwrap_model(trainer.model).eval(), [
        entry for entry in trainer.state.log_history if "reward" in entry
    ]
