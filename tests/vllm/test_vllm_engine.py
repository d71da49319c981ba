"""vLLM itself, on committed bases: the episodes of the engine in process, their law, their seeds and their numbers.

Run by `nox -s vllm`. Three checkpoints, an engine for each, started once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scipy import stats
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from benchmarks import vllm_sampling
from reproduce.core.config import HardwareConfig, RunConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.environments.bases import committed_folder
from reproduce.environments.beds import load_bed
from reproduce.environments.countdown import bed as countdown
from reproduce.environments.reasoning import NEWLINE
from reproduce.environments.reasoning import bed as reasoning
from reproduce.plan.open import open_experiment
from reproduce.rollouts import Beginning, EpisodeBatch, EpisodeSampler, Trajectory, UniformStreams, stream_length
from reproduce.rollouts.agreement import CheckedGenerator, forward_log_probabilities
from reproduce.rollouts.policies import load_policy, save_policy
from reproduce.rollouts.vllm_engine import engine_options, open_vllm
from reproduce.rollouts.vllm_process import VllmProcess
from reproduce.rollouts.vllm_sampler import VllmSampler, request_seed

pytestmark = pytest.mark.vllm
LEVEL = 1e-3
"""Of every test of a law; streams and seeds are fixed, so what passes once always passes on one machine."""


@dataclass(frozen=True)
class Opened:
    """One checkpoint behind both engines."""

    process: VllmProcess
    model: PreTrainedModel
    shipped: VllmSampler
    config: RunConfig

    @property
    def tasks(self) -> tuple:
        return load_bed(self.config.environment).panels(self.config.panels)["test"].tasks

    def vllm(self, config: SamplingConfig) -> VllmSampler:
        shipped = self.shipped
        generator = self.process.generator(config, shipped.text.ends)
        return VllmSampler(generator, shipped.tokenizer, shipped.text, shipped.environment, config, shipped.limit)

    def in_process(self, config: SamplingConfig) -> EpisodeSampler:
        shipped = self.shipped
        return EpisodeSampler(self.model, shipped.tokenizer, shipped.environment, config, shipped.text)


def run_of(environment: str) -> RunConfig:
    """The base of an environment, evaluated with vLLM."""
    if environment == "retrieval":
        plan = open_experiment("pass_kt", "laptop", (), Path()).plan
        run = next(one for one in plan if one.training is None and one.seed == 0)
    else:
        bed = {"countdown": countdown, "reasoning": reasoning}[environment].BED
        run = RunConfig(
            "echorl", "laptop", environment, "base", 0, bed.panels, bed.policy, bed.warm_start, None, bed.sampling,
            bed.evaluation,
        )  # fmt: skip
    return replace(run, hardware=HardwareConfig(engine="vllm"))


def opened(folder: Path, run: RunConfig) -> Iterator[Opened]:
    shipped = open_vllm(folder, run)
    process = shipped.generator.generator.process
    yield Opened(process, load_policy(folder)[0].eval(), shipped, run)
    process.close()


@pytest.fixture(scope="module")
def retrieval() -> Iterator[Opened]:
    yield from opened(committed_folder(0), run_of("retrieval"))


@pytest.fixture(scope="module")
def thinking() -> Iterator[Opened]:
    """Lines of reasoning; vLLM gets it with wider heads."""
    yield from opened(committed_folder(0, "reasoning"), run_of("reasoning"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A random Qwen3 without windows, on vLLM's own code, with more key-value heads than one and fewer than heads."""
    folder = tmp_path_factory.mktemp("plain")
    tokenizer = load_policy(committed_folder(0, "countdown"))[1]
    architecture = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=256, initializer_range=0.2,
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_policy(Qwen3ForCausalLM(architecture), tokenizer, folder)
    yield from opened(folder, run_of("countdown"))


def episodes_of(batch: EpisodeBatch) -> list[Trajectory]:
    return [batch.trajectories[place] for place in batch.trajectory_of_episode]


def sample(sampler, tasks, rounds: int, samples: int, name: str) -> EpisodeBatch:
    streams = UniformStreams((name,), len(tasks) * samples, stream_length(rounds, sampler.config.longest_action))
    task = np.repeat(np.arange(len(tasks)), samples)
    return sampler.sample(tasks, task, [rounds] * len(task), range(len(task)), streams)


def assert_equal_episodes(found: EpisodeBatch, wanted: EpisodeBatch) -> None:
    for one, other in zip(episodes_of(found), episodes_of(wanted), strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.from_policy, other.from_policy)
        for name in ("prompt_length", "prefix_length", "rounds", "forced", "success", "skills", "failure"):
            assert getattr(one, name) == getattr(other, name), name
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-4)


@pytest.mark.parametrize(("engine", "rounds", "tasks"), [
    ("retrieval", 2, 100), ("retrieval", 5, 100), ("thinking", 1, 40), ("plain", 3, 20),
])  # fmt: skip
def test_greedy_episodes_are_those_of_the_engine_in_process(request, engine: str, rounds: int, tasks: int) -> None:
    """Token for token over whole episodes of several turns."""
    here = request.getfixturevalue(engine)
    greedy = replace(here.config.sampling, temperature=0.0)
    found, wanted = (
        sample(sampler, here.tasks[:tasks], rounds, 1, "greedy")
        for sampler in (here.vllm(greedy), here.in_process(greedy))
    )
    assert_equal_episodes(found, wanted)
    assert len({item.token_ids.tobytes() for item in found.trajectories}) > tasks / 2
    if engine == "retrieval":
        assert max(item.rounds for item in found.trajectories) >= 2 and 0.1 < found.successes.mean() < 1


@pytest.mark.parametrize(("engine", "rounds"), [("retrieval", 3), ("thinking", 1), ("plain", 3)])
def test_greedy_continuations_are_those_of_the_engine_in_process(request, engine: str, rounds: int) -> None:
    """From starts of actions and from within them; lines are limited where actions have several."""
    here = request.getfixturevalue(engine)
    tasks, config = here.tasks[:8], here.config.sampling
    earlier = sample(here.in_process(config), tasks, rounds, 8, "earlier")
    generator = np.random.default_rng(2)
    beginnings = [
        Beginning(item.task, item, int(cut), lines)
        for item in earlier.trajectories
        for lines in ((1, 2, None) if engine == "thinking" else (None,))
        for cut in {*item.actions()[:, 0], generator.choice(np.flatnonzero(item.from_policy))}
    ]
    line_break = here.shipped.text.line_break(NEWLINE) if engine == "thinking" else -1
    greedy, count = replace(config, temperature=0.0), len(beginnings)
    streams = UniformStreams(("continued",), count, stream_length(rounds, config.longest_action))
    found, wanted = (
        sampler.sample_from(
            tasks, beginnings, range(count), [rounds] * count, range(count), streams, line_break=line_break
        )
        for sampler in (here.vllm(greedy), here.in_process(greedy))
    )
    assert count > 30
    assert_equal_episodes(found, wanted)


def trajectory_table(batches: tuple[EpisodeBatch, ...], samples: int) -> tuple[float, int]:
    """Chi-square statistic and degrees of freedom of equal laws, summed over tasks: whole token sequences of an
    episode, those seen fewer than ten times in all taken together."""
    statistic, freedom = 0.0, 0
    sequences = [[item.token_ids.tobytes() for item in episodes_of(batch)] for batch in batches]
    for start in range(0, len(sequences[0]), samples):
        parts = [found[start : start + samples] for found in sequences]
        kinds = sorted(set().union(*parts))
        counts = np.array([[part.count(kind) for kind in kinds] for part in parts])
        common = counts.sum(axis=0) >= 10
        table = np.column_stack([counts[:, common], counts[:, ~common].sum(axis=1)])
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] > 1:
            found = stats.chi2_contingency(table, correction=False)
            statistic, freedom = statistic + found.statistic, freedom + found.dof
    return statistic, freedom


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_episodes_have_the_law_of_the_engine_in_process_and_another_temperature_is_told_apart(
    retrieval: Opened, top_p: float
) -> None:
    """Whole episodes of several turns; success too. At temperature 0.9 against 0.7 the same test must reject."""
    tasks, samples = retrieval.tasks[:12], 150
    config = replace(retrieval.config.sampling, temperature=0.7, top_p=top_p)
    wanted = sample(retrieval.in_process(config), tasks, 2, samples, "in process")
    found = sample(retrieval.vllm(config), tasks, 2, samples, "vllm")
    warmer = sample(retrieval.vllm(replace(config, temperature=0.9)), tasks, 2, samples, "warmer")
    statistic, freedom = trajectory_table((found, wanted), samples)
    assert freedom > 10
    assert stats.chi2.sf(statistic, freedom) > LEVEL
    table = [[batch.successes.sum(), (~batch.successes).sum()] for batch in (found, wanted)]
    assert stats.fisher_exact(table).pvalue > LEVEL
    assert stats.chi2.sf(*trajectory_table((warmer, wanted), samples)) < LEVEL


def test_first_tokens_have_the_probabilities_of_the_policy(plain: Opened) -> None:
    """20,000 first tokens of a policy that is undecided, against its own distribution."""
    config, count = SamplingConfig(temperature=1.0), 20_000
    prompt = plain.shipped.prompt_ids(plain.tasks[0])
    generator = plain.process.generator(config, plain.shipped.text.ends)
    answers = generator.generate(
        [prompt] * count, [request_seed("first", number, 0) for number in range(count)], [1] * count
    )
    with torch.no_grad():
        law = torch.softmax(plain.model(torch.tensor([prompt])).logits[0, -1].double(), -1).numpy()
    counts = np.bincount([int(answer.token_ids[0]) for answer in answers], minlength=len(law))
    likely = law * count > 5
    observed = np.append(counts[likely], counts[~likely].sum())
    wanted = np.append(law[likely], law[~likely].sum()) * count
    assert likely.sum() > 20
    assert stats.chisquare(observed, wanted, sum_check=False).pvalue > LEVEL


def test_equal_prompts_differ_by_seed_and_the_same_seeds_give_the_same_tokens(plain: Opened) -> None:
    generator = plain.process.generator(SamplingConfig(temperature=1.0), plain.shipped.text.ends)
    prompt, seeds = plain.shipped.prompt_ids(plain.tasks[0]), [2**62 + place for place in range(64)]
    first = generator.generate([prompt] * 64, seeds, [12] * 64)
    again = generator.generate([prompt] * 64, seeds[::-1], [12] * 64)[::-1]
    written = [answer.token_ids.tolist() for answer in first]
    assert len({tuple(ids) for ids in written}) == 64
    # In another order in the batch, and with the prompt in the cache this time.
    assert written == [answer.token_ids.tolist() for answer in again]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-4)


def test_the_same_streams_give_the_same_episodes(retrieval: Opened) -> None:
    sampler = retrieval.vllm(retrieval.config.sampling)
    first, again = (sample(sampler, retrieval.tasks[:20], 5, 8, "again") for _ in range(2))
    assert_equal_episodes(first, again)
    other = sample(sampler, retrieval.tasks[:20], 5, 8, "other")
    assert [item.token_ids.tobytes() for item in episodes_of(first)] != [
        item.token_ids.tobytes() for item in episodes_of(other)
    ]


@pytest.mark.parametrize("config", [
    SamplingConfig(temperature=0.7), SamplingConfig(temperature=0.0), SamplingConfig(temperature=1.2, top_p=0.9),
])  # fmt: skip
def test_log_probabilities_are_those_of_a_forward_pass(retrieval: Opened, config: SamplingConfig) -> None:
    prompts = [retrieval.shipped.prompt_ids(task) for task in retrieval.tasks[:64]]
    generator = retrieval.process.generator(config, retrieval.shipped.text.ends)
    answers = generator.generate(prompts, range(64), [16] * 64)
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = forward_log_probabilities(retrieval.model, prompt, answer.token_ids, config)
        kept = np.isfinite(expected)
        assert kept.mean() > 0.9
        np.testing.assert_allclose(answer.log_probabilities[kept], expected[kept], atol=1e-4)


def test_actions_end_at_their_end_or_at_their_longest(plain: Opened) -> None:
    end = plain.shipped.text.ends[0]
    generator = plain.process.generator(SamplingConfig(temperature=1.0), plain.shipped.text.ends)
    prompt, longest = plain.shipped.prompt_ids(plain.tasks[1]), [1 + place % 9 for place in range(300)]
    answers = generator.generate([prompt] * 300, range(300), longest)
    for answer, most in zip(answers, longest, strict=True):
        assert end not in answer.token_ids[:-1]
        assert len(answer.token_ids) == most or answer.token_ids[-1] == end
        assert len(answer.log_probabilities) == len(answer.token_ids)


def test_later_turns_find_their_history_in_the_cache(retrieval: Opened) -> None:
    sampler = retrieval.vllm(replace(retrieval.config.sampling, temperature=0.0))
    batch = sample(sampler, retrieval.tasks[100:140], 5, 1, "cached")
    whole = 0
    for item in batch.trajectories:
        for _, end in item.actions().tolist():
            whole += end - 1  # the history anew in every turn, and all sampled tokens but the last
    assert batch.forward_tokens < whole


def test_weights_that_differ_stop_the_evaluation(retrieval: Opened) -> None:
    config = retrieval.config.sampling
    arguments = ([retrieval.shipped.prompt_ids(task) for task in retrieval.tasks[:32]], range(32), [16] * 32)
    generator = retrieval.process.generator(config, retrieval.shipped.text.ends)
    same = CheckedGenerator(generator, retrieval.model, config, tolerance=1e-4)
    same.generate(*arguments)
    assert same.difference < 1e-5
    other = load_policy(committed_folder(0))[0]
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=noise)
    with pytest.raises(UserError, match="do not run the same weights"):
        CheckedGenerator(generator, other, config, retrieval.config.hardware.agreement).generate(*arguments)


def test_what_the_evaluation_opens_has_been_held_against_the_policy(retrieval: Opened) -> None:
    """`open_vllm` as it ships: its first batch is checked at the tolerance of the run."""
    sample(retrieval.shipped, retrieval.tasks[:4], 2, 2, "shipped")
    assert retrieval.shipped.generator.difference < 1e-5
    assert retrieval.shipped.limit == 256


def test_a_checkpoint_that_does_not_load_is_one_line_that_names_the_log(tmp_path: Path) -> None:
    model, tokenizer = load_policy(committed_folder(0))
    save_policy(model, tokenizer, tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"vLLM: .*its log is .*\.log") as caught:
        VllmProcess(engine_options(tmp_path, model.config, run_of("retrieval")))
    assert "\n" not in str(caught.value)
    log = Path(str(caught.value).rpartition("its log is ")[2])
    assert "Traceback" in log.read_text()
    log.unlink()


STARTS_AN_ENGINE = """
import sys, time
from pathlib import Path
from benchmarks import vllm_sampling
from reproduce.training.bases import committed_folder
from reproduce.rollouts.vllm_engine import open_vllm
from tests.vllm.test_vllm_engine import run_of
if __name__ == "__main__":
    sampler = open_vllm(committed_folder(0), run_of("retrieval"))
    print("ready", flush=True)
    time.sleep(600)
"""


def test_the_engine_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(STARTS_AN_ENGINE)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    engines = psutil.Process(parent.pid).children(recursive=True)
    assert engines
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(engines, timeout=20)
    for process in alive:
        process.kill()
    assert not alive and len(gone) == len(engines)


def test_an_engine_that_is_closed_is_not_asked(tmp_path: Path) -> None:
    start = time.monotonic()
    process = VllmProcess(
        engine_options(committed_folder(0), load_policy(committed_folder(0))[0].config, run_of("retrieval"))
    )
    generator = process.generator(SamplingConfig(), [3])
    process.close()
    with pytest.raises(UserError, match="vLLM: it has ended"):
        generator.generate([[1, 2]], [1], [1])
    assert time.monotonic() - start < 300


def test_the_benchmark_measures_both_engines_on_the_same_questions(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert vllm_sampling.main(["--batches", "1", "4", "--episodes", "4", "--repeats", "1", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["engines"]) == {"vllm", "in process"}
    for engine in result["engines"].values():
        assert set(engine) == {"1", "4"}
        assert all(one["median"]["tokens_per_second"] > 0 and len(one["seconds"]) == 1 for one in engine.values())
