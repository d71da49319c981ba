"""Sampling from decoders of several families, with general tokenizers: the same tokens as `generate`, the same
probabilities as a forward pass over the whole episode, on whatever device and in whatever precision the model is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from methods.reset_buffer import Request
from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.rollouts import EpisodeBatch, EpisodeSampler, Trajectory, UniformStreams, open_text, stream_length
from reproduce.rollouts.continuation import EpisodeChains
from reproduce.rollouts.drawing import _invert, draw, log_distribution
from reproduce.rollouts.lines import breaks
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.rollouts.vllm_sampler import Generated, VllmSampler
from tests.reproduce.general_models import ARCHITECTURES, LLAMA, QWEN, THINKING, general_model, general_tokenizer

LONGEST = 12
TOKENIZERS = {
    "chat": general_tokenizer(QWEN),
    "thinking": general_tokenizer(THINKING),
    "trimmed": general_tokenizer(LLAMA, "<|eot_id|>"),
    "lines": general_tokenizer(None, "<|endoftext|>"),
}
WORDS = build_tokenizer(("go", "stop"))
MODELS = {name: general_model(name, TOKENIZERS["chat"]) for name in ARCHITECTURES}


@dataclass(frozen=True)
class Place:
    identifier: str
    category: str = "place"


class Rooms:
    """Says how long the actions were; longer words make longer prompts, so that rows differ in length."""

    def __init__(self, last_answer: bool = True) -> None:
        self.last_answer = last_answer

    def reset(self, task: Place) -> str:
        return f"You are in the {task.identifier}.\nWhat do you do?"

    def step(self, task: Place, history: tuple[str, ...], action: str) -> Observation:
        over = action.count("a") > 2
        return Observation(f"Room {len(history) + 1}: {len(action)} characters.", over, over, "s")

    def close(self, task: Place) -> str | None:
        return "Answer now." if self.last_answer else None

    def step_closed(self, task: Place, history: tuple[str, ...], action: str) -> Observation:
        return Observation("", True, "e" in action, "a")


TASKS = [Place("kitchen"), Place("very long and winding corridor behind the kitchen"), Place("hall")]


def episodes(
    model: PreTrainedModel,
    tokenizer: str = "chat",
    samples: int = 3,
    rounds: int = 3,
    temperature: float = 0.0,
    top_p: float = 1.0,
    name: str = "general",
) -> EpisodeBatch:
    config = SamplingConfig(temperature, LONGEST, top_p)
    text = open_text(TOKENIZERS[tokenizer], instructions="Say what you do.")
    sampler = EpisodeSampler(model, TOKENIZERS[tokenizer], Rooms(), config, text)
    count = len(TASKS) * samples
    streams = UniformStreams((name,), count, stream_length(rounds, LONGEST))
    task, cap = np.repeat(range(len(TASKS)), samples), np.arange(count) % (rounds + 1)
    return sampler.sample(TASKS, task, cap, range(count), streams)


def whole_forward(model: PreTrainedModel, trajectory: Trajectory, temperature: float = 1.0) -> np.ndarray:
    """Log-probability of each token after the ones before it, by one pass without a cache, (length - 1,)."""
    ids = torch.from_numpy(trajectory.token_ids.astype(np.int64))[None].to(model.device)
    with torch.inference_mode():
        logits = model(ids).logits[0, :-1].float()
    return torch.log_softmax(logits / temperature, -1).gather(-1, ids[0, 1:, None])[:, 0].cpu().numpy()


@pytest.mark.parametrize("format", ["chat", "lines"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_episodes_are_those_of_generate(architecture: str, format: str) -> None:
    model = MODELS[architecture]
    batch = episodes(model, format)
    ends = list(open_text(TOKENIZERS[format]).ends)
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=LONGEST, eos_token_id=ends, pad_token_id=TOKENIZERS[format].pad_token_id
    )
    longest = sorted(batch.trajectories, key=lambda one: len(one.token_ids))[-2:]
    assert len(longest[-1].token_ids) > 90 and len(longest[-1].actions()) > 1
    for trajectory in longest:
        for start, end in trajectory.actions().tolist():
            history = torch.from_numpy(trajectory.token_ids[:start].astype(np.int64))[None]
            written = model.generate(history, attention_mask=torch.ones_like(history), generation_config=greedy)
            assert written[0, start:].tolist() == trajectory.token_ids[start:end].tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_are_those_of_a_whole_forward_pass(architecture: str, temperature: float) -> None:
    batch = episodes(MODELS[architecture], "thinking", temperature=temperature)
    for trajectory in batch.trajectories:
        expected = whole_forward(MODELS[architecture], trajectory, temperature or 1.0)
        sampled = trajectory.from_policy[1:]
        assert sampled.any()
        assert np.abs(expected - trajectory.log_probabilities[1:])[sampled].max() < 1e-4
        assert (trajectory.log_probabilities[~trajectory.from_policy] == 0).all()


class Writes:
    """An engine that always writes the same action."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = np.array(ids, dtype=np.int32)

    def generate(self, prompts: Any, seeds: Any, longest: Any) -> list[Generated]:
        return [Generated(self.ids, np.zeros(len(self.ids), dtype=np.float32)) for _ in prompts]


@pytest.mark.parametrize(("written", "between"), [("go\n", "go\n"), ("go<|endoftext|>", "go<|endoftext|>\n")])
def test_what_the_environment_says_begins_a_line_of_its_own(written: str, between: str) -> None:
    tokenizer, config = TOKENIZERS["lines"], SamplingConfig(longest_action=LONGEST)
    text = open_text(tokenizer)
    sampler = VllmSampler(Writes(tokenizer(written).input_ids), tokenizer, text, Rooms(), config, 256)
    (trajectory,) = sampler.sample(TASKS[:1], [0], [2], [0], UniformStreams(("x",), 1)).trajectories
    assert f">{between}Room 1: 2 characters.\n>{between}Room 2" in tokenizer.decode(trajectory.token_ids)


def test_an_end_of_text_is_followed_by_a_line_break() -> None:
    tokenizer, seen = TOKENIZERS["lines"], 0
    for trajectory in episodes(MODELS["qwen3"], "lines", temperature=1.0, samples=60).trajectories:
        for _, end in trajectory.actions().tolist():
            if end < len(trajectory.token_ids) and trajectory.token_ids[end - 1] == tokenizer.eos_token_id:
                seen += 1
                assert tokenizer.decode(trajectory.token_ids[end:]).startswith("\nRoom")
    assert seen


def test_token_ids_are_kept_from_turn_to_turn() -> None:
    """What the environment wrote stands between the actions as the text format writes it, and nothing else does."""
    text = open_text(TOKENIZERS["trimmed"], instructions="Say what you do.")
    cut = 0
    for trajectory in episodes(MODELS["qwen3"], "trimmed", temperature=1.0, samples=8).trajectories:
        rebuilt = list[int]()
        history: tuple[str, ...] = ()
        ids = trajectory.token_ids.tolist()
        actions = trajectory.actions().tolist()
        for number, (start, end) in enumerate(actions):
            last = trajectory.forced and number == len(actions) - 1
            message = text.encode("Answer now.") if last else []
            if number == 0:
                rebuilt += text.prompt(Rooms().reset(TASKS[trajectory.task]), message)
            else:
                said = Rooms().step(TASKS[trajectory.task], history[:-1], history[-1]).text
                ended = ids[actions[number - 1][1] - 1] in text.ends
                cut += not ended
                rebuilt += text.reply(said, message, ended)
            assert rebuilt == ids[:start]
            rebuilt += ids[start:end]
            history += (text.action(trajectory.token_ids[start:end]),)
        assert rebuilt == ids
    assert cut > 0


def test_a_truncated_draw_is_from_the_renormalised_head() -> None:
    """Frequencies, log-probabilities and entropies of top_p against a distribution that is truncated by hand."""
    probabilities = np.array([0.05, 0.4, 0.3, 0.15, 0.1])
    logits = torch.from_numpy(np.log(probabilities)).float()[None]
    uniform = (np.arange(20_000) + 0.5) / 20_000
    config = SamplingConfig(temperature=1.0, top_p=0.8)
    drawn = draw(logits, np.zeros(len(uniform), dtype=np.int64), uniform, config)
    kept = np.array([0, 0.4, 0.3, 0.15, 0]) / 0.85
    assert np.abs(np.bincount(drawn.pairs, minlength=5) / len(uniform) - kept).max() < 1e-4
    assert np.allclose(drawn.log_probabilities, np.log(kept[drawn.pairs]), atol=1e-6)
    assert np.isclose(drawn.entropies[0], -sum(kept[1:4] * np.log(kept[1:4])), atol=1e-6)
    for top_p, left in ((1e-9, [1]), (0.39, [1]), (0.41, [1, 2]), (0.9999999, [0, 1, 2, 3, 4])):
        found = draw(logits, np.zeros(len(uniform), dtype=np.int64), uniform, SamplingConfig(1.0, top_p=top_p))
        assert np.unique(found.pairs).tolist() == left


def test_the_largest_number_never_leaves_the_row() -> None:
    """Just below 1, the sum of row and number rounds up to the next row."""
    logits = torch.full((2000, 3), -1e9)
    logits[:, 0] = 0.0
    row = np.arange(2000)
    drawn = draw(logits, row, np.full(2000, np.nextafter(1.0, 0.0)), SamplingConfig(temperature=1.0))
    assert (drawn.pairs == 3 * row).all() and (drawn.log_probabilities == 0).all()


def test_greedy_takes_the_first_of_equals_and_tells_the_models_own_probabilities() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, -1.0]])
    drawn = draw(logits, np.array([1, 0, 1]), np.array([0.9, 0.9, 0.1]), SamplingConfig(temperature=0.0, top_p=0.5))
    assert drawn.pairs.tolist() == [3, 1, 3]
    expected = torch.log_softmax(logits, -1)
    assert np.allclose(drawn.log_probabilities, expected[[1, 0, 1], [0, 1, 0]])
    assert np.allclose(drawn.entropies, -(expected.exp() * expected).sum(-1))


class NothingBesideTheModel(TorchFunctionMode):
    """Refuses tensors that code of this package creates without saying on which device."""

    FACTORIES = frozenset({torch.zeros, torch.ones, torch.full, torch.empty, torch.arange, torch.tensor})
    checked = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in self.FACTORIES and "/reproduce/rollouts/" in sys._getframe(1).f_code.co_filename:
            assert kwargs.get("device") is not None, function
            type(self).checked += 1
        return function(*args, **kwargs)


def test_no_tensor_is_created_beside_the_model() -> None:
    with NothingBesideTheModel():
        episodes(MODELS["olmo3"], temperature=1.0)
    assert NothingBesideTheModel.checked > 100


def test_a_forward_pass_stays_on_the_device_of_the_model() -> None:
    """On the device `meta` nothing is computed, but operands from two devices are an error, as they are on a GPU."""
    model = general_model("olmo3", TOKENIZERS["chat"]).to("meta")
    sampler = EpisodeSampler(model, TOKENIZERS["chat"], Rooms(), SamplingConfig(), open_text(TOKENIZERS["chat"]))
    cache = sampler.rows.cache
    cache.follow(torch.device("meta"), torch.float32)
    logits = sampler._forward(np.ones((2, 40), dtype=np.int32), np.array([0, 3]))
    assert logits.device.type == "meta"
    cache.copy_rows(np.array([0]), cache, np.array([1]), 40, 43)
    cache.reserve(128, 64)
    assert sampler._forward(np.ones((2, 1), dtype=np.int32), np.array([40, 43])).device.type == "meta"
    found = _invert(torch.softmax(logits, -1).double(), np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3]))
    assert found.device.type == "meta" and log_distribution(logits, SamplingConfig(top_p=0.5)).device.type == "meta"
    cache.follow(torch.device("cpu"), torch.float32)
    with pytest.raises(RuntimeError, match="meta"):
        sampler._forward(np.ones((2, 1), dtype=np.int32), np.array([40, 43]))


def test_a_model_that_moves_is_followed() -> None:
    """A trainer moves and converts a model after the sampler was made."""
    model = general_model("olmo3", TOKENIZERS["chat"])
    text = open_text(TOKENIZERS["chat"])
    sampler = EpisodeSampler(model, TOKENIZERS["chat"], Rooms(), SamplingConfig(1.0, LONGEST), text)
    streams = UniformStreams(("moves",), len(TASKS), stream_length(2, LONGEST))
    columns = range(len(TASKS)), [2] * len(TASKS), range(len(TASKS))
    before = sampler.sample(TASKS, *columns, streams)
    model.to(torch.bfloat16)
    half = sampler.sample(TASKS, *columns, streams)
    for trajectory in half.trajectories:
        apart = whole_forward(model, trajectory) - trajectory.log_probabilities[1:]
        assert np.abs(apart[trajectory.from_policy[1:]]).mean() < 0.05
    # The weights are back, but rounded: the same law to the precision of bfloat16, not the same numbers.
    model.to(torch.float32)
    after = sampler.sample(TASKS, *columns, streams)
    assert {layer.keys.dtype for layer in sampler.rows.cache.layers} == {torch.float32}
    assert len(after.trajectories) == len(before.trajectories)
    for trajectory in after.trajectories:
        apart = whole_forward(model, trajectory) - trajectory.log_probabilities[1:]
        assert np.abs(apart[trajectory.from_policy[1:]]).max() < 1e-4


def test_mixed_precision_may_come_and_go() -> None:
    """Weights in float32, computed with in bfloat16 while a trainer samples."""
    model, text = MODELS["qwen3"], open_text(TOKENIZERS["chat"])
    sampler = EpisodeSampler(model, TOKENIZERS["chat"], Rooms(), SamplingConfig(1.0, LONGEST), text)
    streams = UniformStreams(("mixed",), len(TASKS), stream_length(2, LONGEST))
    columns = range(len(TASKS)), [2] * len(TASKS), range(len(TASKS))
    before = sampler.sample(TASKS, *columns, streams)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = sampler.sample(TASKS, *columns, streams)
        for trajectory in mixed.trajectories:
            apart = whole_forward(model, trajectory) - trajectory.log_probabilities[1:]
            assert np.abs(apart[trajectory.from_policy[1:]]).mean() < 0.05
    chosen = [np.concatenate([one.log_probabilities for one in batch.trajectories]) for batch in (before, mixed)]
    assert len(chosen[0]) != len(chosen[1]) or (chosen[0] != chosen[1]).any()
    after = sampler.sample(TASKS, *columns, streams)
    for one, other in zip(before.trajectories, after.trajectories, strict=True):
        assert (one.token_ids == other.token_ids).all() and (one.log_probabilities == other.log_probabilities).all()


def test_long_prompts_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = episodes(MODELS["olmo3"], temperature=1.0)
    monkeypatch.setattr("reproduce.rollouts.sampler.PREFILL_TOKENS", 64)
    parts = episodes(MODELS["olmo3"], temperature=1.0)
    for one, other in zip(whole.trajectories, parts.trajectories, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert np.abs(one.log_probabilities - other.log_probabilities).max() < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_gpu_samples_what_the_cpu_samples(architecture: str) -> None:
    cpu = episodes(MODELS[architecture])
    model = general_model(architecture, TOKENIZERS["chat"]).to("cuda")
    gpu = episodes(model)
    for one, other in zip(cpu.trajectories, gpu.trajectories, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert np.abs(one.log_probabilities - other.log_probabilities).max() < 1e-3
        assert np.abs(one.entropies - other.entropies).max() < 1e-3
    for trajectory in episodes(model, temperature=1.0).trajectories:
        apart = whole_forward(model, trajectory) - trajectory.log_probabilities[1:]
        assert np.abs(apart[trajectory.from_policy[1:]]).max() < 1e-3


def test_layers_that_keep_no_keys_are_refused() -> None:
    model = build_model(PolicyConfig(layers=2, width=32, heads=2, feed_forward=64), WORDS, seed=0)
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(UserError, match="linear_attention"):
        EpisodeSampler(model, WORDS, Rooms(), SamplingConfig())


class Sums(NoForcedAnswer):
    """A single action of several lines."""

    def reset(self, task: Place) -> str:
        return f"Count to {task.identifier}."

    def step(self, task: Place, history: tuple[str, ...], action: str) -> Observation:
        return Observation("", True, action.count("1") > 1, "s")


class WithBreaks(torch.nn.Module):
    """A model that likes to break lines: with a token of its own, after a full stop, and twice."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.bias = torch.zeros(model.config.vocab_size)
        for token in range(len(tokenizer)):
            self.bias[token] = 5.0 * ("\n" in tokenizer.decode([token])) + 4.0 * (token == tokenizer.eos_token_id)

    def forward(self, **arguments: Any) -> Any:
        output = self.model(**arguments)
        output.logits = output.logits + self.bias
        return output


def test_lines_are_steps_whatever_tokens_end_them() -> None:
    tokenizer = TOKENIZERS["lines"]
    model = WithBreaks(general_model("qwen3", tokenizer), tokenizer)
    text = open_text(tokenizer, several_lines=True)
    sampler = EpisodeSampler(model, tokenizer, Sums(), SamplingConfig(temperature=1.0, longest_action=60), text)
    chains = EpisodeChains(sampler, TASKS, line_break="\n")
    chains.begin("lines")
    prompts = [tuple(sampler.prompt_ids(task)) for task in TASKS]
    requests = [Request(place, draw, ids, (), 3) for place, ids in enumerate(prompts) for draw in range(16)]
    found = chains(requests)
    line_break, kinds = text.line_break("\n"), set()
    for chain in found:
        ids = np.array([token for token in chain.token_ids if token != tokenizer.eos_token_id], dtype=np.int64)
        lines = [line for line in tokenizer.decode(ids.tolist()).split("\n") if line]
        assert chains.steps_of(chain) == tuple(line.strip() for line in lines)
        assert chain.steps <= 3
        kinds |= set(ids[breaks(ids, line_break)[0]].tolist())
    assert {chain.steps for chain in found} == {0, 1, 2, 3} and len(kinds) > 2
    long = next(place for place, chain in enumerate(found) if chain.steps == 3)
    prefix = found[long].prefix(2)
    reset = [Request(requests[long].place, draw, requests[long].prompt_ids, prefix, 1) for draw in range(8)]
    for chain in chains(reset):
        assert chain.token_ids[: len(prefix)] == prefix and chain.steps <= 2
