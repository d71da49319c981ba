"""Sampling over an engine that completes prompts: the episodes of the in-process engine, their law, and their seeds.

The engine here is plain forward passes, so nothing needs vLLM; `test_vllm_engine.py` runs the engine itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from reproduce.core.config import SamplingConfig
from reproduce.environments.reasoning import NEWLINE, ReasoningEnvironment
from reproduce.environments.retrieval import RetrievalEnvironment
from reproduce.environments.retrieval.vocabulary import words
from reproduce.rollouts import Beginning, EpisodeBatch, EpisodeSampler, Trajectory, UniformStreams, rollout_columns
from reproduce.rollouts.vllm_sampler import Generated, VllmSampler, request_seed
from tests.reproduce.test_continuation import (
    CHAINS,
    LITTLE,
    QUESTIONS,
    THINKING,
    BiasedModel,
    Echo,
    Letters,
    law_of_continuations,
)
from tests.reproduce.test_rollouts import SearchOnly
from tests.vllm.forward_generator import ForwardGenerator

# A random policy never writes a command; a bias on a few words makes it search, answer and end.
ASKING = BiasedModel(words(), {"search": 3.0, "answer": 3.5, "<end>": 4.0, "ada": 2.0})
SEARCH, THINK = SamplingConfig(longest_action=8), SamplingConfig(longest_action=40)


def in_process(model: BiasedModel, environment, config: SamplingConfig) -> EpisodeSampler:
    return EpisodeSampler(model, model.tokenizer, environment, config)


def over_generator(
    model: BiasedModel, environment, config: SamplingConfig, tells_entropies: bool = True
) -> VllmSampler:
    text = in_process(model, environment, config).text
    generator = ForwardGenerator(model, config, text.ends, tells_entropies)
    return VllmSampler(generator, model.tokenizer, text, environment, config, model.config.max_position_embeddings)


def episodes_of(batch: EpisodeBatch) -> list[Trajectory]:
    return [batch.trajectories[place] for place in batch.trajectory_of_episode]


def assert_same(found: Trajectory, wanted: Trajectory) -> None:
    np.testing.assert_array_equal(found.token_ids, wanted.token_ids)
    np.testing.assert_array_equal(found.from_policy, wanted.from_policy)
    for name in ("task", "prompt_length", "prefix_length", "rounds", "forced", "success", "skills", "failure"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("log_probabilities", "entropies"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-4)


def sample(sampler, tasks, caps: tuple[int, ...], samples: int, name: str = "test") -> EpisodeBatch:
    """`samples` episodes of each task at each cap, with streams that the caps share."""
    task, cap, number = (axis.ravel() for axis in np.meshgrid(range(len(tasks)), caps, range(samples), indexing="ij"))
    streams = UniformStreams(tuple(f"{name} {place}" for place in range(len(tasks))), samples)
    return sampler.sample(tasks, task, cap, task * samples + number, streams)


SAMPLER = over_generator(ASKING, RetrievalEnvironment(), SEARCH)
SAMPLES = 24
BATCH = sample(SAMPLER, QUESTIONS, (0, 1, 3), SAMPLES)


@pytest.mark.parametrize(
    ("model", "environment", "tasks", "caps", "longest"),
    [
        (ASKING, RetrievalEnvironment(), QUESTIONS, (0, 1, 3), 8),
        # A cut action is handed on as it is.
        (ASKING, RetrievalEnvironment(), QUESTIONS, (0, 2), 2),
        (ASKING, SearchOnly(), QUESTIONS, (1, 2), 8),
        (THINKING, ReasoningEnvironment(), CHAINS, (1,), 40),
    ],
)
def test_greedy_episodes_are_those_of_the_engine_in_process(model, environment, tasks, caps, longest) -> None:
    config = SamplingConfig(temperature=0.0, longest_action=longest)
    found, wanted = (
        sample(build(model, environment, config), tasks, caps, 2) for build in (over_generator, in_process)
    )
    for one, other in zip(episodes_of(found), episodes_of(wanted), strict=True):
        assert_same(one, other)
    assert found.sampled_tokens == wanted.sampled_tokens
    assert len(found.trajectories) == len(wanted.trajectories)


@pytest.mark.parametrize(("model", "environment", "tasks", "rounds", "config"), [
    (ASKING, RetrievalEnvironment(), QUESTIONS, 3, SEARCH),
    (THINKING, ReasoningEnvironment(), CHAINS, 1, THINK),
])  # fmt: skip
def test_greedy_continuations_are_those_of_the_engine_in_process(model, environment, tasks, rounds, config) -> None:
    """From every action and from within actions of sampled episodes, with a limit of lines where there are lines."""
    sampled = sample(in_process(model, environment, config), tasks, (rounds,), 6)
    generator = np.random.default_rng(1)
    beginnings = [
        Beginning(item.task, item, int(cut), lines)
        for item in sampled.trajectories
        for lines in ((1, 2, None) if model is THINKING else (None,))
        for cut in {*item.actions()[:, 0], *generator.choice(np.flatnonzero(item.from_policy), 2)}
    ]
    streams = UniformStreams(("continued",), len(beginnings))
    greedy = replace(config, temperature=0.0)
    line_break = model.tokenizer.convert_tokens_to_ids(NEWLINE) if model is THINKING else -1
    found, wanted = (
        build(model, environment, greedy).sample_from(
            tasks, beginnings, range(len(beginnings)), [rounds] * len(beginnings), range(len(beginnings)), streams,
            line_break=line_break,
        )
        for build in (over_generator, in_process)
    )  # fmt: skip
    for one, other in zip(episodes_of(found), episodes_of(wanted), strict=True):
        assert_same(one, other)
    assert found.sampled_tokens == wanted.sampled_tokens


def test_every_kind_of_episode_occurs() -> None:
    kinds = {skill.split()[0] for item in BATCH.trajectories for skill in item.skills}
    assert kinds == {"search", "answer", "invalid"}
    assert {item.forced for item in BATCH.trajectories} == {True, False}
    assert {item.rounds for item in BATCH.trajectories} >= {0, 1, 3}
    cut = [item for item in BATCH.trajectories if any(end - start == 8 for start, end in item.actions())]
    assert cut


def test_trajectories_are_distinct_and_statistics_are_those_of_a_forward_pass() -> None:
    keys = {(item.task, item.token_ids.tobytes()) for item in BATCH.trajectories}
    assert len(keys) == len(BATCH.trajectories)
    for item in BATCH.trajectories[::5]:
        ids = torch.from_numpy(item.token_ids.astype(np.int64))[None]
        with torch.no_grad():
            law = torch.log_softmax(ASKING(input_ids=ids).logits[0, :-1] / 0.7, dim=-1)
        written = item.from_policy[1:]
        chosen = law.gather(1, ids[0, 1:, None])[:, 0].numpy()
        np.testing.assert_allclose(item.log_probabilities[1:][written], chosen[written], atol=1e-4)
        np.testing.assert_allclose(item.entropies[1:][written], -(law.exp() * law).sum(-1).numpy()[written], atol=1e-4)
        assert not item.log_probabilities[~item.from_policy].any() and not item.entropies[~item.from_policy].any()


def test_caps_are_kept_and_forks_share_their_path() -> None:
    """Caps share streams here: up to its cap, an episode is that of the larger cap."""
    followed = BATCH.trajectory_of_episode.reshape(len(QUESTIONS), 3, SAMPLES)
    caps = np.broadcast_to(np.array([0, 1, 3])[None, :, None], followed.shape)
    for cap, place in zip(caps.ravel(), followed.ravel(), strict=True):
        item = BATCH.trajectories[place]
        assert item.rounds <= cap and item.forced == (item.rounds == cap) and len(item.skills) == item.rounds + 1
    forked = 0
    for early, late in zip(followed[:, 1].ravel(), followed[:, 2].ravel(), strict=True):
        short, long = BATCH.trajectories[early], BATCH.trajectories[late]
        if not short.forced:
            assert early == late
            continue
        first = int(short.actions()[0, 1])
        np.testing.assert_array_equal(short.token_ids[:first], long.token_ids[:first])
        forked += 1
    assert forked


def test_each_turn_is_one_call_without_equal_requests() -> None:
    sampler = over_generator(ASKING, RetrievalEnvironment(), SEARCH)
    batch = sample(sampler, QUESTIONS, (0, 1, 3), SAMPLES)
    calls = sampler.generator.calls
    assert len(calls) == max(len(item.skills) for item in batch.trajectories)
    assert all(len(set(call)) == len(call) for call in calls)
    assert len(calls[0]) == 2 * len(QUESTIONS) * SAMPLES, (
        "caps 1 and 3 share their first action, a forced answer does not"
    )
    greedy = over_generator(ASKING, RetrievalEnvironment(), replace(SEARCH, temperature=0.0))
    sample(greedy, QUESTIONS, (0, 1, 3), SAMPLES)
    assert len(greedy.generator.calls[0]) == 2 * len(QUESTIONS)


def test_work_is_what_was_asked_for_less_what_was_cached() -> None:
    class Cached(ForwardGenerator):
        def generate(self, prompts, seeds, longest):
            self.written = super().generate(prompts, seeds, longest)
            return [replace(one, cached_tokens=7) for one in self.written]

    text = SAMPLER.text
    generator = Cached(ASKING, SEARCH, text.ends)
    sampler = VllmSampler(generator, ASKING.tokenizer, text, RetrievalEnvironment(), SEARCH, 256)
    batch = sample(sampler, QUESTIONS, (0,), 3)
    (call,) = generator.calls
    asked = sum(len(prompt) - 7 for prompt, _, _ in call)
    written = sum(len(one.token_ids) for one in generator.written)
    assert batch.forward_tokens == asked + written - len(call)
    assert batch.sampled_tokens == written


def test_the_same_streams_give_the_same_episodes_and_others_do_not() -> None:
    again = sample(over_generator(ASKING, RetrievalEnvironment(), SEARCH), QUESTIONS, (0, 1, 3), SAMPLES)
    for one, other in zip(episodes_of(BATCH), episodes_of(again), strict=True):
        assert_same(one, other)
    other = sample(SAMPLER, QUESTIONS, (3,), 12, name="other")
    assert {item.token_ids.tobytes() for item in other.trajectories} != {
        item.token_ids.tobytes() for item in BATCH.trajectories
    }
    alone = SAMPLER.sample(
        QUESTIONS, [1], [3], [SAMPLES + 5], UniformStreams(tuple(f"test {n}" for n in range(4)), SAMPLES)
    )
    assert_same(episodes_of(alone)[0], episodes_of(BATCH)[(1 * 3 + 2) * SAMPLES + 5])


def test_an_episode_continued_after_whole_actions_with_its_stream_comes_out_as_it_was() -> None:
    streams = UniformStreams(tuple(f"test {place}" for place in range(len(QUESTIONS))), SAMPLES)
    items = episodes_of(BATCH)[2 * SAMPLES : 3 * SAMPLES]  # the first question at cap 3
    beginnings = [Beginning(item.task, item, int(start)) for item in items for start in item.actions()[:, 0]]
    numbers = [number for number, item in enumerate(items) for _ in item.actions()]
    again = SAMPLER.sample_from(QUESTIONS, beginnings, range(len(numbers)), [3] * len(numbers), numbers, streams)
    for beginning, number, found in zip(beginnings, numbers, episodes_of(again), strict=True):
        assert_same(found, replace(items[number], prefix_length=beginning.length - items[number].prompt_length))


@pytest.mark.parametrize(
    ("turns", "longest", "cut", "lines"),
    [(1, 5, 1, 1), (1, 4, 0, 2), (2, 2, "second", None), (2, 3, 1, None)],
)
def test_continuations_have_the_law_of_the_policy(turns: int, longest: int, cut: int | str, lines: int | None) -> None:
    """Against the probability of every token sequence; the same stream sampled the beginning and goes on from it."""
    environment, count = Echo(turns), 1500
    sampler = over_generator(LITTLE, environment, SamplingConfig(longest_action=longest))
    streams = UniformStreams((f"continued {turns} {longest} {cut} {lines}",), count)
    batch = sampler.sample([Letters()], [0] * 50, [turns] * 50, range(50), streams)
    earlier = max(batch.trajectories, key=lambda item: int(item.actions()[0, 1]))
    place = int(earlier.actions()[1, 0]) if cut == "second" else earlier.prompt_length + int(cut)
    beginning = Beginning(0, earlier, place, lines)
    line_break = LITTLE.tokenizer.convert_tokens_to_ids(NEWLINE) if lines else -1
    found = sampler.sample_from(
        [Letters()], [beginning], [0] * count, [turns] * count, range(count), streams, line_break=line_break
    )
    law = law_of_continuations(beginning, environment, longest, line_break)
    counts = np.bincount(found.trajectory_of_episode, minlength=len(found.trajectories))
    observed = {tuple(item.token_ids.tolist()): number for item, number in zip(found.trajectories, counts, strict=True)}
    assert observed.keys() <= law.keys()
    likely = [key for key in law if law[key] * count >= 5]
    assert len(likely) > 5
    table = np.array([[observed.get(key, 0), law[key] * count] for key in likely])
    table = np.vstack([table, count - table.sum(axis=0)])
    table = table[table[:, 1] > 1e-6]
    assert stats.chisquare(table[:, 0], table[:, 1], sum_check=False).pvalue > 1e-3


def test_seeds_are_distinct_and_the_same_whenever_they_are_made() -> None:
    names = [f"pass_kt retrieval/grpo/seed-{seed} training step {step}" for seed in range(5) for step in range(10)]
    seeds = [request_seed(name, number, turn) for name in names for number in range(400) for turn in range(5)]
    assert len(set(seeds)) == len(seeds) == 100_000
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63
    addresses = (("a", 1, 1), ("a", 11, 0), ("a 1", 1, 0), ("a", 1, 1, 1))
    assert len({request_seed(*address) for address in addresses}) == len(addresses)
    assert request_seed("a", 0, 0) == 3368543912401681272


def test_an_engine_that_tells_no_entropies_is_not_read_as_one_that_does() -> None:
    silent = sample(over_generator(ASKING, RetrievalEnvironment(), SEARCH, tells_entropies=False), QUESTIONS, (1,), 4)
    for item in silent.trajectories:
        assert np.isnan(item.entropies[item.from_policy]).all() and not item.entropies[~item.from_policy].any()
    assert np.isfinite(np.concatenate(rollout_columns(silent)["logprobs"])).all()


def test_what_leaves_nothing_to_sample_is_refused() -> None:
    item = max(BATCH.trajectories, key=lambda item: len(item.actions()))
    second, streams = int(item.actions()[1, 0]), UniformStreams(("x",), 1)
    with pytest.raises(ValueError, match="used up the rounds"):
        SAMPLER.sample_from(QUESTIONS, [Beginning(item.task, item, second)], [0], [1], [0], streams)
    short = over_generator(ASKING, RetrievalEnvironment(), replace(SEARCH, longest_action=1))
    start, stop = item.actions()[int(np.diff(item.actions()).argmax())].tolist()
    with pytest.raises(ValueError, match="holds all 1 tokens"):
        short.sample_from(QUESTIONS, [Beginning(item.task, item, stop - 1)], [0], [3], [0], streams)
    assert stop - 1 > start
    with pytest.raises(ValueError, match="at least one round"):
        sample(over_generator(ASKING, SearchOnly(), SEARCH), QUESTIONS, (0,), 1)
    SAMPLER.limit, limit = 16, SAMPLER.limit
    with pytest.raises(ValueError, match="outgrows the model's 16 positions"):
        SAMPLER.sample(QUESTIONS, [0], [3], [0], streams)
    SAMPLER.limit = limit


def test_prompts_are_those_of_the_engine_in_process() -> None:
    sampler = in_process(ASKING, RetrievalEnvironment(), SEARCH)
    assert [SAMPLER.prompt_ids(task) for task in QUESTIONS] == [sampler.prompt_ids(task) for task in QUESTIONS]


def test_generated_holds_what_an_engine_tells() -> None:
    (one,) = ForwardGenerator(ASKING, SEARCH, SAMPLER.text.ends).generate([[1, 2]], [5], [3])
    assert isinstance(one, Generated) and one.token_ids.dtype == np.int32 and 1 <= len(one.token_ids) <= 3
