"""What becomes of the settings of training as arguments of TRL's `GRPOConfig`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOConfig

from reproduce.core.config import HardwareConfig, ModelConfig, TrainingConfig
from reproduce.core.files import UserError
from reproduce.training.arguments import (
    OPEN,
    SETTINGS,
    adapters,
    batch_arguments,
    check_tracker,
    named_arguments,
    resolved,
    sampled_positions,
    shared_arguments,
)
from tests.reproduce.small_training import small_run

FIELDS = {item.name for item in fields(GRPOConfig)}


def test_the_default_is_what_the_committed_records_were_trained_with() -> None:
    run = small_run("pass_kt", "grpo")
    assert shared_arguments(run, 256, Path("scratch")) == {
        "output_dir": "scratch",
        "seed": 0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "num_train_epochs": 1,
        "shuffle_dataset": False,
        "per_device_train_batch_size": 32,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 1,
        "num_generations": 8,
        "num_iterations": 1,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "beta": 0.0,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "epsilon": 0.2,
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "max_completion_length": 256,
        "mask_truncated_completions": False,
        "logging_steps": 1,
        "logging_first_step": False,
        "save_strategy": "steps",
        "save_steps": 20,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


@given(
    processes=st.integers(1, 4),
    updates=st.integers(1, 4),
    groups=st.integers(1, 4),
    group_size=st.integers(2, 8),
    data=st.data(),
)
def test_one_generation_is_the_batch_and_each_update_an_equal_share(processes, updates, groups, group_size, data):
    questions = processes * groups * updates
    share = groups * group_size
    rows = data.draw(st.sampled_from([0, *(size for size in range(1, share + 1) if share % size == 0)]))
    training = TrainingConfig(questions_per_step=questions, group_size=group_size)
    found = batch_arguments(training, HardwareConfig(processes=processes, rows_at_once=rows), updates)
    per_device, accumulation = found["per_device_train_batch_size"], found["gradient_accumulation_steps"]
    assert per_device == (rows or share)
    assert per_device * found["steps_per_generation"] * processes == questions * group_size
    assert per_device * accumulation * processes * updates == questions * group_size
    # What TRL itself makes of them.
    config = GRPOConfig(output_dir="x", use_cpu=True, bf16=False, num_generations=group_size, **found)
    assert config.generation_batch_size * processes == questions * group_size


@pytest.mark.parametrize(
    ("hardware", "updates", "message"),
    [
        (HardwareConfig(processes=3), 1, "hardware.processes=3 must divide the 4 questions of a step"),
        (HardwareConfig(), 5, "32 episodes a step do not divide into 5 optimiser steps of 1 processes"),
        (HardwareConfig(rows_at_once=12), 1, "hardware.rows_at_once=12 must divide the 32 episodes"),
        (HardwareConfig(rows_at_once=16, processes=2), 2, "hardware.rows_at_once=16 must divide the 8 episodes"),
    ],
)
def test_batches_that_do_not_divide_are_refused(hardware, updates, message) -> None:
    with pytest.raises(UserError, match=message):
        batch_arguments(TrainingConfig(questions_per_step=4, group_size=8), hardware, updates)


def test_further_arguments_are_read_as_their_types() -> None:
    pairs = (
        "weight_decay=0.01",
        "warmup_steps=5",
        "lr_scheduler_type=cosine",
        "mask_truncated_completions=true",
        "epsilon_high=null",
        'lr_scheduler_kwargs={"num_cycles": 2}',
        "loss_type=dapo",
    )
    found = named_arguments(pairs)
    assert found == {
        "weight_decay": 0.01,
        "warmup_steps": 5,
        "lr_scheduler_type": "cosine",
        "mask_truncated_completions": True,
        "epsilon_high": None,
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "loss_type": "dapo",
    }
    run = small_run("pass_kt", "grpo", arguments=pairs)
    config = resolved(shared_arguments(run, 256, Path("scratch")))
    assert config.weight_decay == 0.01 and config.loss_type == "dapo" and config.lr_scheduler_type == "cosine"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("weight_decay", "expected name=value"),
        ("weight_decai=1", "GRPOConfig has no 'weight_decai'; did you mean 'weight_decay'"),
        ("output_dir=x", "output_dir has a setting of its own: --runs"),
        ("beta=0.1", "beta has a setting of its own: training.kl_coefficient"),
        ("push_to_hub=true", "push_to_hub is not free to set here"),
        ("trust_remote_code=true", "trust_remote_code is not free to set here"),
        ("weight_decay=much", "weight_decay must be a number, got 'much'"),
        ("weight_decay=true", "weight_decay must be a number, got 'true'"),
        ("num_iterations=1.5", "num_iterations must be a whole number, got '1.5'"),
        ("mask_truncated_completions=1", "mask_truncated_completions must be true or false"),
        ("epsilon_high=[1]", "epsilon_high must be a number or null"),
    ],
)
def test_arguments_that_are_refused(pair, message) -> None:
    with pytest.raises(UserError, match=message) as refused:
        named_arguments((pair,))
    assert "\n" not in str(refused.value)


def test_an_argument_twice_and_what_trl_refuses() -> None:
    with pytest.raises(UserError, match="weight_decay is there twice"):
        named_arguments(("weight_decay=1", "weight_decay=2"))
    run = small_run("pass_kt", "grpo", arguments=("lr_scheduler_type=sideways",))
    with pytest.raises(UserError, match="training arguments refused: sideways is not a valid SchedulerType"):
        resolved(shared_arguments(run, 256, Path("scratch")))


def test_the_names_are_those_of_the_installed_trl() -> None:
    assert OPEN <= FIELDS and set(SETTINGS) <= FIELDS
    assert not OPEN & set(SETTINGS)


def test_a_batch_used_several_times_is_one_entry_of_the_log_and_one_place_to_stop() -> None:
    run = small_run("pass_kt", "grpo", arguments=("num_iterations=2",))
    found = shared_arguments(run, 256, Path("scratch"), updates=4)
    assert found["logging_steps"] == 8 and found["save_steps"] == 160 and found["num_iterations"] == 2


def test_positions_are_the_fewer_of_model_and_engine() -> None:
    run = small_run("echorl", "echo", arguments=("vllm_max_model_length=9216",))
    colocate = replace(run, hardware=replace(run.hardware, training_engine="colocate"))
    assert sampled_positions(run, 32768) == 32768
    assert sampled_positions(colocate, 32768) == 9216 and sampled_positions(colocate, 4096) == 4096
    unlimited = replace(colocate, training=replace(run.training, arguments=("vllm_max_model_length=null",)))
    assert sampled_positions(unlimited, 32768) == 32768
    for settings, positions, expected in ((colocate, 32768, 9216), (colocate, 4096, 4096), (unlimited, 4096, None)):
        found = shared_arguments(settings, positions, Path("scratch"))
        assert found["vllm_max_model_length"] == expected


def test_trackers() -> None:
    check_tracker("none")
    with pytest.raises(UserError, match=r"hardware.report_to=wandbb: did you mean 'wandb'\?"):
        check_tracker("wandbb")
    run = small_run("pass_kt", "grpo")
    run = replace(run, hardware=replace(run.hardware, report_to="trackio"))
    found = shared_arguments(run, 256, Path("scratch"))
    assert found["report_to"] == "trackio" and found["run_name"] == "pass_kt full retrieval/grpo/seed-0"


def test_a_tracker_that_is_not_installed_is_said_so(monkeypatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"hardware\.report_to=wandb needs the package wandb: pip install wandb"):
        check_tracker("wandb")
    with pytest.raises(UserError, match=r"model.lora_rank needs the package peft: pip install 'rl-claims\[lora\]'"):
        adapters(ModelConfig(lora_rank=2))
    assert adapters(ModelConfig()) is None
