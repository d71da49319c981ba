"""Training that samples with an engine beside the model, up to the engine itself, which needs a GPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedConfig, Qwen3Config
from trl import GRPOConfig

from methods.grpo import GRPOWithGroupMetrics
from reproduce.core.config import COLOCATE, SERVER, HardwareConfig
from reproduce.core.files import UserError
from reproduce.rollouts.formats import open_episodes
from reproduce.rollouts.policies import load_policy
from reproduce.rollouts.vllm_sampler import Generated, VllmSampler
from reproduce.training.arguments import resolved, shared_arguments
from reproduce.training.engines import SyncedGenerator, check_engine, engine_arguments, known_entropies
from reproduce.training.throughput import MeteredSampler, ThroughputMeter
from reproduce.training.train import Setting, exact_match, independent_rollouts
from tests.reproduce.small_training import base_of, small_run, tasks_of


class ModelGenerator:
    """A `TokenGenerator` that samples from a model in this process, one prompt after the other. scale: of its logits,
    1 for those of the model."""

    def __init__(self, model: Any, ends: tuple[int, ...], temperature: float, scale: float = 1.0) -> None:
        self.model, self.ends, self.temperature, self.scale = model, ends, temperature, scale

    @torch.no_grad()
    def generate(self, prompts, seeds, longest) -> list[Generated]:
        return [
            self._answer(list(prompt), seed, most) for prompt, seed, most in zip(prompts, seeds, longest, strict=True)
        ]

    def _answer(self, prompt: list[int], seed: int, longest: int) -> Generated:
        draws, ids, chosen = np.random.default_rng(seed), [], []
        while len(ids) < longest and not (ids and ids[-1] in self.ends):
            logits = self.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, -1] * self.scale
            log_probabilities = torch.log_softmax(logits / self.temperature, dim=-1)
            cumulative = log_probabilities.double().exp().cumsum(0).numpy()
            ids.append(int(min(np.searchsorted(cumulative, draws.random()), len(cumulative) - 1)))
            chosen.append(float(log_probabilities[ids[-1]]))
        return Generated(np.array(ids, dtype=np.int32), np.array(chosen, dtype=np.float32))


def trainer_with(
    tmp_path: Any, scale: float, tolerance: float = 0.05, metered: bool = False
) -> tuple[Any, SyncedGenerator]:
    """A trainer of GRPO that samples through an engine whose logits are `scale` times the model's."""
    run = small_run("pass_kt", "grpo", group_size=4)
    run = replace(run, sampling=replace(run.sampling, longest_action=8))
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    model, tokenizer = load_policy(base)
    environment, text = open_episodes(run, tokenizer)
    longest = int(model.config.max_position_embeddings)
    temperature = run.sampling.temperature
    engine = SyncedGenerator(
        lambda trainer: ModelGenerator(trainer.model, text.ends, temperature, scale), run.sampling, tolerance
    )
    sampler: Any = VllmSampler(engine, tokenizer, text, environment, run.sampling, longest)
    sampler = MeteredSampler(sampler) if metered else sampler
    setting = Setting(
        config=run,
        training=run.training,
        tasks=tasks,
        place_of_prompt={task.identifier: place for place, task in enumerate(tasks)},
        sampler=sampler,
        model=model,
        tokenizer=tokenizer,
        base=base,
        siblings=tmp_path,
        engine=engine,
    )
    trainer = GRPOWithGroupMetrics(
        model=model,
        reward_funcs=exact_match,
        args=resolved(shared_arguments(run, longest, tmp_path / "scratch") | {"max_steps": 2}),
        train_dataset=Dataset.from_list([{"prompt": task.identifier} for task in tasks]),
        processing_class=tokenizer,
        rollout_func=independent_rollouts(setting),
    )
    if metered:
        ThroughputMeter(sampler).watch(trainer)
    return trainer, engine


def test_an_engine_with_the_trained_weights_trains(tmp_path) -> None:
    trainer, _ = trainer_with(tmp_path, scale=1.0)
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["sampling/agreement"] < 1e-5 for entry in log] == [True, True]  # One check after each step.
    assert any(entry["grad_norm"] > 0 for entry in log) and all(entry["tokens/sampled"] > 0 for entry in log)
    assert any(bool(one.ne(two).any()) for one, two in zip(before, trainer.model.parameters(), strict=True))


def test_the_meter_does_not_take_the_check_of_an_engine_for_training(tmp_path, monkeypatch) -> None:
    """On a GPU the meter watches every forward pass of the model, that of the check among them."""

    def counted(folder: Any) -> list[tuple[float, float]]:
        trainer, _ = trainer_with(folder, scale=1.0, metered=True)
        trainer.train()
        found = []
        for entry in trainer.state.log_history:
            if "reward" in entry:
                told = {name.removeprefix("throughput/"): value for name, value in entry.items()}
                seconds = told["sampling_seconds"] + told["training_seconds"]
                found.append((told["trained_tokens"] * told["training_seconds"], told["flops"] * seconds))
        return found

    checked = counted(tmp_path)
    assert len(checked) == 2 and all(tokens > 0 and flops > 0 for tokens, flops in checked)
    monkeypatch.setattr(SyncedGenerator, "_difference", lambda self, prompts, answers: 0.0)
    unchecked = counted(tmp_path)
    assert np.allclose(checked, unchecked, rtol=1e-6)


def test_an_engine_with_other_weights_stops_the_run(tmp_path) -> None:
    trainer, _ = trainer_with(tmp_path, scale=0.7, tolerance=0.01)
    with pytest.raises(UserError, match=r"differ by .* they do not run the same weights") as stopped:
        trainer.train()
    assert "\n" not in str(stopped.value) and trainer.state.global_step == 0


def test_weights_that_stop_arriving_are_noticed_after_the_next_step(tmp_path) -> None:
    trainer, engine = trainer_with(tmp_path, scale=1.0, tolerance=1e-4)
    stale, tokenizer = load_policy(tmp_path / "base")
    ends = (int(tokenizer.eos_token_id),)
    engine.open_generator = lambda served: ModelGenerator(stale, ends, engine.config.temperature)
    trainer.args.learning_rate = 0.01
    with pytest.raises(UserError, match="differ by"):
        trainer.train()
    assert trainer.state.global_step == 1


def test_columns_without_entropies_leave_them_to_the_trainer() -> None:
    assert known_entropies({"entropies": [[0.1], [0.2]], "x": [1, 2]}) == {"entropies": [[0.1], [0.2]], "x": [1, 2]}
    assert known_entropies({"entropies": [[0.1], [float("nan")]], "x": [1, 2]}) == {"x": [1, 2]}


def config_of(**hardware: Any) -> Any:
    run = small_run("pass_kt", "grpo")
    return replace(run, hardware=replace(HardwareConfig(device="cuda"), **hardware))


def test_arguments_of_trl(tmp_path) -> None:
    assert engine_arguments(small_run("pass_kt", "grpo"), Qwen3Config()) == {}
    colocate = engine_arguments(config_of(training_engine=COLOCATE, vllm_memory=0.4), Qwen3Config())
    made = GRPOConfig(output_dir="x", use_cpu=True, bf16=False, **colocate)
    assert made.use_vllm and made.vllm_mode == "colocate" and made.vllm_gpu_memory_utilization == 0.4
    assert not made.vllm_importance_sampling_correction and made.vllm_model_impl == "vllm"
    assert made.vllm_importance_sampling_mode == "token_truncate" and made.vllm_tensor_parallel_size == 1
    server = engine_arguments(config_of(training_engine=SERVER, vllm_server="http://gpu7:8000"), Qwen3Config())
    assert GRPOConfig(output_dir="x", use_cpu=True, bf16=False, **server).vllm_server_base_url == "http://gpu7:8000"
    model, _ = load_policy(base_of(config_of(), tmp_path / "base"))
    assert engine_arguments(config_of(training_engine=COLOCATE), model.config)["vllm_model_impl"] == "transformers"


def test_engines_that_cannot_be_had_are_said_so(monkeypatch) -> None:
    with pytest.raises(UserError, match=r"hardware.training_engine=colocated: did you mean 'colocate'\?"):
        engine_arguments(config_of(training_engine="colocated"), PreTrainedConfig())
    with pytest.raises(UserError, match="srpo_learned: resets by entropies, which vLLM does not tell"):
        check_engine(replace(small_run("resets", "srpo_learned"), hardware=HardwareConfig(training_engine=SERVER)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"hardware\.training_engine=colocate needs a GPU"):
        check_engine(config_of(training_engine=COLOCATE))
    with pytest.raises(UserError, match=r"hardware\.accelerate_config=fsdp shards the weights"):
        check_engine(config_of(accelerate_config="fsdp", processes=2))
    check_engine(config_of(accelerate_config="", processes=2))


def test_an_engine_samples_only_for_a_trainer(tmp_path) -> None:
    engine = SyncedGenerator(lambda trainer: SimpleNamespace(), small_run("pass_kt", "grpo").sampling, 0.05)
    with pytest.raises(RuntimeError, match="only while it serves a trainer"):
        engine.generate([[1]], [0], [4])
