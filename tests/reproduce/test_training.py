"""Training on the small bases: parts of batches, adapters, slices."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from reproduce.core.config import HardwareConfig, ModelConfig, weight_precision
from reproduce.core.files import UserError, read_jsonl
from reproduce.core.slices import ENDS, SliceOver
from reproduce.rollouts.models import save_reference
from reproduce.rollouts.policies import load_policy
from reproduce.training.process import make_policy
from reproduce.training.train import train
from tests.reproduce.small_training import base_of, run_folder, small_run, tasks_of


def trained(run, root, base=None):
    """Trained policy and log."""
    base = base or base_of(run, root / "base")
    folder = run_folder(run, root / "runs")
    make_policy(run, base, tasks_of(run), folder, folder / "partial")
    return folder / "partial", read_jsonl(folder / "metrics.jsonl")


def weights(folder) -> dict[str, torch.Tensor]:
    return load_policy(folder)[0].state_dict()


def farthest(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def test_a_batch_in_parts_and_with_checkpoints_is_the_same_update(tmp_path) -> None:
    run = small_run("pass_kt", "grpo")
    whole, log = trained(run, tmp_path / "whole")
    parts = replace(run, hardware=HardwareConfig(rows_at_once=8, gradient_checkpointing=True))
    folder, log_of_parts = trained(parts, tmp_path / "parts")
    assert farthest(weights(whole), weights(tmp_path / "whole/base")) > 1e-4
    # Another batch is another tree, whose gradients round otherwise, and Adam makes steps of gradients near zero.
    assert farthest(weights(whole), weights(folder)) < 3e-5
    assert [entry["reward"] for entry in log] == [entry["reward"] for entry in log_of_parts]
    assert [entry["grad_norm"] for entry in log] == pytest.approx(
        [entry["grad_norm"] for entry in log_of_parts], rel=1e-3
    )


def test_adapters_alone_are_trained_and_a_base_made_here_takes_them_in(tmp_path) -> None:
    run = replace(small_run("pass_kt", "grpo"), model=ModelConfig(lora_rank=2, lora_alpha=8))
    base, folder = base_of(run, tmp_path / "base"), run_folder(run, tmp_path / "runs")
    done = train(run, base, tasks_of(run), tmp_path / "scratch", folder)
    model, log = done.model, done.log
    assert len(log) == 3 and any(entry["grad_norm"] > 0 for entry in log)
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainable and all(".lora_" in name for name in trainable)
    assert not any("lm_head" in name for name in trainable)
    start, state = weights(base), model.state_dict()
    for name, weight in start.items():
        if name != "lm_head.weight":
            held = state.get(f"base_model.model.{name}")
            held = state[f"base_model.model.{name.removesuffix('.weight')}.base_layer.weight"] if held is None else held
            assert bool(held.eq(weight).all()), name
    ids = torch.tensor([[1, 7, 8, 9, 12]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    partial, _ = trained(run, tmp_path / "again", base)
    merged: PreTrainedModel = load_policy(partial)[0]
    with torch.no_grad():
        assert torch.allclose(merged(input_ids=ids).logits, logits, atol=1e-5)
        assert not torch.allclose(load_policy(base)[0](input_ids=ids).logits, logits, atol=1e-5)


def test_adapters_of_a_model_by_name_are_kept_beside_the_reference(tmp_path) -> None:
    run = replace(small_run("pass_kt", "grpo"), model=ModelConfig(lora_rank=2))
    base = base_of(run, tmp_path / "base")
    reference = tmp_path / "reference"
    reference.mkdir()
    save_reference(str(base), reference)
    by_name, _ = trained(run, tmp_path / "one", reference)
    here, _ = trained(run, tmp_path / "two", base)
    assert (by_name / "adapter_config.json").is_file() and (by_name / "reference.json").is_file()
    assert not (by_name / "model.safetensors").exists()
    assert farthest(weights(by_name), weights(here)) < 1e-6 < 1e-5 < farthest(weights(by_name), weights(base))


@pytest.mark.slow
def test_adapters_that_were_gathered_are_not_rounded_either(tmp_path, monkeypatch) -> None:
    run = replace(small_run("pass_kt", "grpo"), model=ModelConfig(precision="bfloat16", lora_rank=2))
    base, reference = base_of(run, tmp_path / "base"), tmp_path / "reference"
    reference.mkdir()
    save_reference(str(base), reference)
    alone, _ = trained(run, tmp_path / "alone", reference)
    monkeypatch.setattr(
        "reproduce.training.train.gathered_weights",
        lambda trainer: trainer.accelerator.unwrap_model(trainer.model).state_dict(),
    )
    gathered, _ = trained(run, tmp_path / "gathered", reference)
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (alone, gathered))
    assert {values.dtype for values in one.values()} == {torch.float32}
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert any(bool(values.ne(values.to(torch.bfloat16)).any()) for values in two.values())


@pytest.mark.slow
def test_training_in_bfloat16_keeps_its_weights_in_float32_while_it_lasts(tmp_path) -> None:
    run = replace(small_run("pass_kt", "grpo"), model=ModelConfig(precision="bfloat16"))
    assert weight_precision(run) == "float32"
    assert weight_precision(replace(run, model=ModelConfig(precision="bfloat16", lora_rank=1))) == "bfloat16"
    base, folder = base_of(run, tmp_path / "base"), run_folder(run, tmp_path / "runs")
    done = train(run, base, tasks_of(run), tmp_path / "scratch", folder)
    model, log = done.model, done.log
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert any(entry["grad_norm"] > 0 for entry in log)
    partial, _ = trained(run, tmp_path / "saved", base)
    stored, _ = load_policy(partial, "cpu", "bfloat16")
    for name, weight in stored.state_dict().items():
        assert bool(weight.eq(model.state_dict()[name].to(torch.bfloat16)).all()), name


def test_a_slice_stops_after_a_batch_and_the_next_call_continues(tmp_path, monkeypatch) -> None:
    run = small_run("resets", "grpo_clip")
    assert run.method.updates == 4
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    whole, sliced = run_folder(run, tmp_path / "whole"), run_folder(run, tmp_path / "sliced")
    make_policy(run, base, tasks, whole, whole / "partial")
    monkeypatch.setenv(ENDS, "1.0")
    for step in (4, 8):
        with pytest.raises(SliceOver):
            make_policy(run, base, tasks, sliced, sliced / "partial")
        assert (sliced / f"training/checkpoint-{step}").is_dir() and not (sliced / "partial").exists()
    make_policy(run, base, tasks, sliced, sliced / "partial")
    assert farthest(weights(whole / "partial"), weights(sliced / "partial")) == 0
    assert len(read_jsonl(sliced / "metrics.jsonl")) == 3


@pytest.mark.slow
def test_a_batch_used_twice_is_logged_once(tmp_path) -> None:
    run = small_run("pass_kt", "grpo", arguments=("num_iterations=2", "weight_decay=0.1"))
    folder, log = trained(run, tmp_path / "twice")
    once, _ = trained(small_run("pass_kt", "grpo"), tmp_path / "once")
    assert len(log) == 3 and farthest(weights(folder), weights(once)) > 1e-5


def test_dynamic_sampling_over_several_processes_is_refused(tmp_path) -> None:
    run = small_run("echorl", "dapo", "countdown")
    run = replace(run, hardware=HardwareConfig(processes=2))
    base, folder = base_of(run, tmp_path / "base"), run_folder(run, tmp_path / "runs")
    with pytest.raises(UserError, match="dapo: dynamic sampling fills the batch of each process from its own groups"):
        train(run, base, tasks_of(run), tmp_path / "scratch", folder)
