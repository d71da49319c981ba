"""The benchmarks measure what they say: the bound's arithmetic, one law for all rollouts, and a script that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from benchmarks import sampling
from benchmarks._rollouts import Measured, ToolLoop, sample_ours, sample_with_prefill
from benchmarks._roofline import Architecture, CountSampled, Machine, Work, architecture_of, lower_bound
from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
from reproduce.environments.retrieval.vocabulary import words
from reproduce.environments.sequences import TURN
from reproduce.rollouts import EpisodeSampler, UniformStreams
from reproduce.rollouts.policies import build_model, build_tokenizer, load_policy, save_policy

TASKS = build_panels(1, 8, 1)["test"].select("bridge")[::7]
ENVIRONMENT = RetrievalEnvironment()
CONFIG = SamplingConfig(temperature=1.3)
"""Hotter than in use: the base then takes many courses, all of which a rollout must hit as often as the others do."""
ROUNDS, SAMPLES = 2, 300
TASK_OF_EPISODE = np.repeat(np.arange(len(TASKS)), SAMPLES)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the workers run. Several threads wait for each other wherever something else keeps the cores busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_policy() -> tuple[Any, Any]:
    tokenizer = build_tokenizer(words())
    return build_model(PolicyConfig(width=32, heads=2, feed_forward=64), tokenizer, seed=0).eval(), tokenizer


def test_the_bound_is_the_hand_computed_one() -> None:
    """Two layers of width 8, one with a window of 3: 2 * (100 * 50 + 10 * 20) operations at 5,200 per second take 2 s;
    2 * 70 positions * 8 values * 4 bytes at 2,240 bytes/s also 2 s."""
    architecture = Architecture(body_parameters=100, head_parameters=10, windows=(3, None), key_value_width=8)
    work = Work(forward_tokens=50, decoded_tokens=20, attended_positions=70, history_positions=140)
    machine = Machine(model_flops=5_200.0, square_flops=5_000.0, copy_bytes=2_240.0)
    assert lower_bound(architecture, work, machine) == pytest.approx((2.0, 2.0))
    assert lower_bound(architecture, work, machine, whole_history=True) == pytest.approx((2.0, 4.0))


def test_the_sizes_of_a_model() -> None:
    model, tokenizer = tiny_policy()
    found = architecture_of(model)
    attention, feed_forward = 4 * 32 * 32, 3 * 32 * 64
    assert found == Architecture(2 * (attention + feed_forward), len(tokenizer) * 32, (3, None), 32)


def test_work_is_counted_at_the_true_lengths_of_histories() -> None:
    model, tokenizer = tiny_policy()
    sampler = EpisodeSampler(model, tokenizer, ENVIRONMENT, CONFIG)
    with CountSampled(sampler) as counted:
        batch = sampler.sample(TASKS, [0, 1, 1], [ROUNDS] * 3, range(3), UniformStreams(("a",), 3), coalesce=False)
    # The token at place p is drawn from a history of p tokens.
    histories = np.concatenate([np.flatnonzero(episode.from_policy) for episode in batch.trajectories])
    assert counted.work.decoded_tokens == len(histories) == batch.sampled_tokens
    assert counted.work.history_positions == 2 * histories.sum()
    assert counted.work.attended_positions == histories.sum() + np.minimum(histories, 3).sum()
    assert counted.work.computed_positions >= batch.forward_tokens


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model, tokenizer = load_policy(committed_folder(0))
    sampler = EpisodeSampler(model.eval(), tokenizer, ENVIRONMENT, CONFIG)
    loop = ToolLoop(*load_policy(committed_folder(0)), CONFIG, TASKS, SAMPLES, ROUNDS, tmp_path_factory.mktemp("loop"))
    generate, kept = loop.trainer._generate, {}

    def keep(prompts: Any) -> Any:
        kept["output"] = generate(prompts)
        return kept["output"]

    loop.trainer._generate = keep
    return {
        "shared histories": sample_ours(sampler, TASKS, TASK_OF_EPISODE, ROUNDS, "law", coalesce=True),
        "own rows": sample_ours(sampler, TASKS, TASK_OF_EPISODE, ROUNDS, "law", coalesce=False),
        "re-prefill": sample_with_prefill(model, tokenizer, CONFIG, TASKS, TASK_OF_EPISODE, ROUNDS, seed=1),
        "hotter": sample_with_prefill(
            model, tokenizer, SamplingConfig(1.15 * CONFIG.temperature), TASKS, TASK_OF_EPISODE, ROUNDS, seed=3
        ),
        "tool loop": loop.sample(seed=2),
        "tool loop output": kept["output"],
        "tokenizer": tokenizer,
    }


def p_values(one: Measured, other: Measured) -> list[float]:
    """For each question, the chi-square test on how often each (success, rounds, tokens sampled) occurs."""
    found = []
    for task in range(len(TASKS)):
        courses = [
            (run.success * 10_000 + run.rounds * 100 + run.sampled)[task == TASK_OF_EPISODE] for run in (one, other)
        ]
        values = np.unique(np.concatenate(courses))
        table = np.array([[(run == value).sum() for value in values] for run in courses])
        rare = table.sum(axis=0) < 10
        table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
        found.append(chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)
    return found


@pytest.mark.parametrize("name", ["re-prefill", "tool loop"])
def test_rollouts_sample_the_same_law(measured: dict[str, Any], name: str) -> None:
    """With fixed seeds, so that it never fails by chance."""
    assert min(p_values(measured["own rows"], measured[name])) > 0.01


def test_another_law_would_be_noticed(measured: dict[str, Any]) -> None:
    """A temperature 15 % higher."""
    assert min(p_values(measured["own rows"], measured["hotter"])) < 1e-3


def test_shared_histories_are_the_same_episodes(measured: dict[str, Any]) -> None:
    shared, own = measured["shared histories"], measured["own rows"]
    assert (shared.rounds == own.rounds).mean() > 0.99  # Products of other sizes round otherwise.
    assert (shared.sampled == own.sampled).mean() > 0.99
    assert shared.work.forward_tokens < own.work.forward_tokens < measured["re-prefill"].work.forward_tokens


def test_the_tool_loop_writes_what_the_environment_would(measured: dict[str, Any]) -> None:
    """Every token of TRL's episodes is replayed: prompt, observations, number of rounds and success are ours."""
    tokenizer, loop = measured["tokenizer"], measured["tool loop"]
    prompts, completions, masks = measured["tool loop output"][:3]

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    kinds = set()
    for episode, (prompt, ids, mask) in enumerate(zip(prompts, completions, masks, strict=True)):
        task = TASKS[TASK_OF_EPISODE[episode]]
        assert prompt == [tokenizer.bos_token_id, *encode(f"{ENVIRONMENT.reset(task)} {TURN}")]
        place, past = 0, ()
        while True:
            end = next((at for at in range(place, len(ids)) if mask[at] == 0), len(ids))
            written = ids[place:end]
            action = tokenizer.decode(written[:-1] if written[-1] == tokenizer.eos_token_id else written)
            closed = len(past) == ROUNDS
            observation = (ENVIRONMENT.step_closed if closed else ENVIRONMENT.step)(task, past, action)
            kinds.add(observation.skill.split()[0])
            if observation.done:
                break
            past += (action,)
            closing = f" {ENVIRONMENT.close(task)}" if len(past) == ROUNDS else ""
            place = end + len(encode(f"{observation.text}{closing} {TURN}"))
            assert ids[end:place] == encode(f"{observation.text}{closing} {TURN}")
            assert not any(mask[end:place])
        assert end == len(ids)
        assert observation.success == loop.success[episode]
        assert len(past) == loop.rounds[episode]
        assert sum(mask) == loop.sampled[episode]
    assert kinds == {"search", "answer", "invalid"}


def test_standard_errors_count_the_variance_within_questions_alone() -> None:
    one, other = [np.array([1, 0, 1, 1])], [np.array([0, 0, 1, 1])]
    # Question 1: 1/2 against 0, variances 1/4 and 0, two episodes each; question 2 is certain.
    assert sampling.standard_errors_apart(one, other, 2) == pytest.approx(0.5 / np.sqrt(0.25 / 2))
    assert sampling.standard_errors_apart(one, one, 2) == 0.0


def test_the_script_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks._roofline.LARGE_SIDE", 64)
    monkeypatch.setattr("benchmarks._roofline.LARGE_COPY_BYTES", 2**16)
    monkeypatch.setattr("benchmarks._roofline.best_seconds.__defaults__", (0.0,))
    save_policy(*tiny_policy(), tmp_path / "base")
    sizes = ["--episodes", "4", "--questions", "2", "--rounds", "1", "--repeats", "1"]
    out = tmp_path / "out.json"
    assert sampling.main(["--model", str(tmp_path / "base"), "--out", str(out), *sizes]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found["variants"]) == {"shared histories", "own rows", "re-prefill", "TRL tool loop", "evaluation batch"}
    assert found["sizes"]["threads"] == 1
    assert all(share["share"] > 0 for share in found["roofline"]["shares"].values())
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert "Share of the roofline" in capsys.readouterr().out
    written = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| own rows / TRL tool loop |" in written and "| evaluation batch |" in written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nowhere"], "no checkpoint in nowhere"),
        (["--episodes", "9", "--questions", "2"], "--episodes 9 is not a multiple of --questions 2"),
        (["--repeats", "0"], "must be at least 1"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    save_policy(*tiny_policy(), tmp_path)
    given = options if "--model" in options else ["--model", str(tmp_path), *options]
    assert sampling.main(given) == 2
    assert message in capsys.readouterr().err
