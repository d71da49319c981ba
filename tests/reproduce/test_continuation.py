"""Episodes continued from a prefix: the same as if sampled from the start, with the law of the policy, at its cost."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.environments.reasoning import NEWLINE, ReasoningEnvironment, build_panels, words
from reproduce.environments.retrieval import RetrievalEnvironment
from reproduce.environments.retrieval import build_panels as build_questions
from reproduce.environments.retrieval.vocabulary import words as words_of_questions
from reproduce.rollouts import (
    Beginning,
    EpisodeBatch,
    EpisodeSampler,
    Trajectory,
    UniformStreams,
    rollout_columns,
    stream_length,
)
from reproduce.rollouts.policies import build_model, build_tokenizer


class BiasedModel(torch.nn.Module):
    """A random policy with a constant added to some logits, so that short episodes do all that an episode can do."""

    def __init__(self, vocabulary: tuple[str, ...], bias: dict[str, float], deviation: float = 0.06) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer(vocabulary)
        size = PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, initial_deviation=deviation)
        self.model = build_model(size, self.tokenizer, seed=3).eval()
        self.config, self.bias = self.model.config, torch.zeros(len(self.tokenizer))
        for word, value in bias.items():
            self.bias[self.tokenizer.convert_tokens_to_ids(word)] += value

    def forward(self, **arguments):
        output = self.model(**arguments)
        output.logits = output.logits + self.bias
        return output


SEARCHING = BiasedModel(words_of_questions(), {"search": 3.0, "answer": 2.0, "<end>": 4.0, "ada": 2.0})
QUESTIONS = build_questions(4, 4, 2)["test"].select("bridge")
THINKING = BiasedModel(words(), {NEWLINE: 3.0, "<end>": 1.0})
CHAINS = build_panels(2, 2, 1)["test"].select("medium")
SEARCHER = EpisodeSampler(SEARCHING, SEARCHING.tokenizer, RetrievalEnvironment(), SamplingConfig(longest_action=8))
THINKER = EpisodeSampler(THINKING, THINKING.tokenizer, ReasoningEnvironment(), SamplingConfig(longest_action=40))
CASES = {"several actions": (SEARCHER, QUESTIONS, 3), "one action": (THINKER, CHAINS, 1)}


def from_the_start(sampler: EpisodeSampler, tasks, rounds: int, samples: int = 32, name: str = "s"):
    """`samples` episodes of every task, with the streams that they drew from."""
    streams = UniformStreams((name,), len(tasks) * samples, stream_length(rounds, sampler.config.longest_action))
    task = np.repeat(np.arange(len(tasks)), samples)
    return sampler.sample(tasks, task, [rounds] * len(task), range(len(task)), streams), streams


def episodes_of(batch: EpisodeBatch) -> list[Trajectory]:
    return [batch.trajectories[place] for place in batch.trajectory_of_episode]


@pytest.mark.parametrize("coalesce", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_an_episode_continued_with_its_uniforms_comes_out_as_it_was(case: str, coalesce: bool) -> None:
    sampler, tasks, rounds = CASES[case]
    batch, streams = from_the_start(sampler, tasks, rounds)
    generator, beginnings, stream, wanted = np.random.default_rng(0), [], [], []
    for number, item in enumerate(episodes_of(batch)):
        turns = np.flatnonzero(item.from_policy)
        # The prompt alone, everything but the last token, and places in between; each action's start among them.
        for cut in {turns[0], turns[-1], *generator.choice(turns, 3), *item.actions()[:, 0]}:
            beginnings.append(Beginning(item.task, item, int(cut)))
            stream.append(number)
            wanted.append(item)
    again = sampler.sample_from(
        tasks, beginnings, range(len(wanted)), [rounds] * len(wanted), stream, streams, coalesce
    )
    for beginning, item, found in zip(beginnings, wanted, episodes_of(again), strict=True):
        np.testing.assert_array_equal(found.token_ids, item.token_ids)
        np.testing.assert_array_equal(found.from_policy, item.from_policy)
        assert (found.skills, found.success, found.failure) == (item.skills, item.success, item.failure)
        assert (found.rounds, found.forced, found.prompt_length) == (item.rounds, item.forced, item.prompt_length)
        assert found.prefix_length == beginning.length - item.prompt_length
        given = slice(None, beginning.length)
        for name in ("log_probabilities", "entropies"):
            np.testing.assert_array_equal(getattr(found, name)[given], getattr(item, name)[given])
            np.testing.assert_allclose(getattr(found, name), getattr(item, name), atol=1e-4)


def test_every_kind_of_beginning_was_tried() -> None:
    batch, _ = from_the_start(SEARCHER, QUESTIONS, 3)
    assert {item.forced for item in batch.trajectories} == {True, False}
    assert {len(item.actions()) for item in batch.trajectories} >= {1, 3, 4}
    last = [Beginning(item.task, item, int(item.actions()[-1, 0])) for item in batch.trajectories]
    assert [one.closed for one in last] == [item.forced for item in batch.trajectories]
    assert [one.rounds for one in last] == [item.rounds for item in batch.trajectories]


@dataclass(frozen=True)
class Letters:
    """A task of the little environment."""

    identifier: str = "letters"
    category: str = "letters"


class Echo(NoForcedAnswer):
    """Tells whether the words of all actions are an odd number; over after `turns` actions."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def reset(self, task: Letters) -> str:
        return "a b"

    def step(self, task: Letters, history: tuple[str, ...], action: str) -> Observation:
        done = len(history) + 1 == self.turns
        count = sum(len(text.split()) for text in (*history, action))
        text = "" if done else "b" if count % 2 else "a"
        return Observation(text, done, success=done and action == "a", skill="say")


LITTLE = BiasedModel(("a", "b", NEWLINE), {"<end>": 0.5}, deviation=0.3)


@dataclass(frozen=True)
class History:
    """A sequence of tokens that may still go on, with its probability."""

    ids: tuple[int, ...]
    start: int
    """Where the unfinished action begins."""
    actions: tuple[str, ...]
    chance: float
    lines: float
    """How many lines may still end in it."""


def law_of_continuations(
    beginning: Beginning, environment: Echo, longest: int, line_break: int = -1
) -> dict[tuple[int, ...], float]:
    """Probability of each whole token sequence, by going through all of them with plain forward passes."""
    law: dict[tuple[int, ...], float] = {}
    tokenizer, given = LITTLE.tokenizer, beginning.trajectory
    end, turn = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<turn>")

    def text(ids: tuple[int, ...]) -> str:
        return tokenizer.decode([token for token in ids if token != end])

    def follow(one: History, token: int, probability: float) -> list[History]:
        ids, chance, lines = (*one.ids, token), one.chance * probability, one.lines
        ends_line = token == line_break and len(one.ids) > one.start and one.ids[-1] != line_break
        lines -= ends_line
        if token != end and len(ids) - one.start < longest and not (ends_line and lines == 0):
            return [History(ids, one.start, one.actions, chance, lines)]
        action = text(ids[one.start :])
        answer = environment.step(Letters(), one.actions, action)
        if answer.done:
            law[ids] = law.get(ids, 0.0) + chance
            return []
        ids = (*ids, *tokenizer(answer.text, add_special_tokens=False).input_ids, turn)
        return [History(ids, len(ids), (*one.actions, action), chance, np.inf)]

    ids = tuple(given.token_ids[: beginning.length].tolist())
    starts = [place for place, own in enumerate(given.from_policy) if own and not given.from_policy[place - 1]]
    begun = [place for place in starts if place <= beginning.length]
    # The environment has written one word and <turn> after each action.
    actions = tuple(text(ids[first : second - 2]) for first, second in itertools.pairwise(begun))
    frontier = [History(ids, begun[-1], actions, 1.0, beginning.lines or np.inf)]
    while frontier:
        length = min(len(one.ids) for one in frontier)
        now = [one for one in frontier if len(one.ids) == length]
        frontier = [one for one in frontier if len(one.ids) > length]
        with torch.no_grad():
            logits = LITTLE(input_ids=torch.tensor([one.ids for one in now])).logits[:, -1].double()
        for one, row in zip(now, torch.softmax(logits / 0.7, -1).tolist(), strict=True):
            for token, probability in enumerate(row):
                frontier += follow(one, token, probability)
    return law


@pytest.mark.parametrize(
    ("turns", "longest", "cut", "lines"),
    [
        (1, 5, 2, None),
        (1, 5, 1, 1),
        (1, 5, 0, 2),
        (2, 2, "second", None),
        (3, 2, "second", None),
        (2, 3, 1, None),
        (2, 3, 1, 1),
    ],
)
def test_continuations_have_the_law_of_the_policy(turns: int, longest: int, cut: int | str, lines: int | None) -> None:
    environment, count = Echo(turns), 6000
    sampler = EpisodeSampler(LITTLE, LITTLE.tokenizer, environment, SamplingConfig(longest_action=longest))
    batch, _ = from_the_start(sampler, [Letters()], turns, samples=50, name="law")
    earlier = max(batch.trajectories, key=lambda item: int(item.actions()[0, 1]))
    place = int(earlier.actions()[1, 0]) if cut == "second" else earlier.prompt_length + int(cut)
    beginning = Beginning(0, earlier, place, lines)
    line_break = LITTLE.tokenizer.convert_tokens_to_ids(NEWLINE) if lines else -1
    streams = UniformStreams((f"continued {turns} {longest} {cut} {lines}",), count, stream_length(turns, longest))
    found = sampler.sample_from(
        [Letters()], [beginning], [0] * count, [turns] * count, range(count), streams, line_break=line_break
    )
    law = law_of_continuations(beginning, environment, longest, line_break)
    assert sum(law.values()) == pytest.approx(1)
    counts = np.bincount(found.trajectory_of_episode, minlength=len(found.trajectories))
    observed = {tuple(item.token_ids.tolist()): number for item, number in zip(found.trajectories, counts, strict=True)}
    assert observed.keys() <= law.keys()
    likely = [key for key in law if law[key] * count >= 5]
    assert len(likely) > 5
    table = np.array([[observed.get(key, 0), law[key] * count] for key in likely])
    table = np.vstack([table, count - table.sum(axis=0)])
    table = table[table[:, 1] > 1e-6]
    assert stats.chisquare(table[:, 0], table[:, 1], sum_check=False).pvalue > 1e-3


def test_a_prefix_is_paid_for_once_and_generated_tokens_are_counted_without_it() -> None:
    batch, _ = from_the_start(THINKER, CHAINS[:1], 1)
    earlier = max(batch.trajectories, key=lambda item: len(item.token_ids))
    place, count = earlier.prompt_length + 4, 12
    streams = UniformStreams(("cost",), count, stream_length(1, 40))
    arguments = (CHAINS, [Beginning(0, earlier, place), Beginning(0, earlier, place)], [0, 1] * 6, [1] * count)
    shared = THINKER.sample_from(*arguments, range(count), streams)
    separate = THINKER.sample_from(*arguments, range(count), streams, coalesce=False)
    items = episodes_of(shared)
    sampled = [len(item.token_ids) - place for item in items]
    assert shared.sampled_tokens == separate.sampled_tokens == sum(sampled) == sum(item.sampled.sum() for item in items)
    # Every token but the last of the prefix is prefilled; then each token is sampled from one pass over the one before.
    assert separate.forward_tokens == count * (place - 1) + sum(sampled)
    histories = {item.token_ids[:end].tobytes() for item in items for end in range(place, len(item.token_ids))}
    assert shared.forward_tokens == (place - 1) + len(histories)


def test_what_was_given_is_masked() -> None:
    batch, _ = from_the_start(SEARCHER, QUESTIONS, 3)
    earlier = max(batch.trajectories, key=lambda item: len(item.actions()))
    place = int(earlier.actions()[2, 0])
    count, streams = 10, UniformStreams(("mask",), 10, stream_length(3, 8))
    found = SEARCHER.sample_from(
        QUESTIONS, [Beginning(earlier.task, earlier, place)], [0] * count, [3] * count, range(count), streams
    )
    columns = rollout_columns(found)
    given = place - earlier.prompt_length
    for item, mask, ids, logprobs, entropies in zip(
        episodes_of(found),
        *(columns[name] for name in ("env_mask", "completion_ids", "logprobs", "entropies")),
        strict=True,
    ):
        assert not any(mask[:given]) and mask[given] == 1
        np.testing.assert_array_equal(mask[given:], item.from_policy[place:].astype(int))
        np.testing.assert_array_equal(ids[:given], earlier.token_ids[earlier.prompt_length : place])
        np.testing.assert_array_equal(logprobs[:given], earlier.log_probabilities[earlier.prompt_length : place])
        np.testing.assert_array_equal(entropies[:given], earlier.entropies[earlier.prompt_length : place])
        assert item.skills[:2] == earlier.skills[:2]


def test_beginnings_and_fresh_episodes_mix_in_one_call() -> None:
    batch, streams = from_the_start(SEARCHER, QUESTIONS[:2], 3, samples=8)
    items = episodes_of(batch)
    beginnings = [Beginning(0), Beginning(1), Beginning(0, items[0], int(items[0].actions()[-1, 0]))]
    found = SEARCHER.sample_from(QUESTIONS, beginnings, [0, 2, 1], [3, 3, 0], [5, 0, 9], streams)
    mixed = episodes_of(found)
    assert [item.prefix_length > 0 for item in mixed] == [False, len(items[0].actions()) > 1, False]
    np.testing.assert_array_equal(mixed[0].token_ids, items[5].token_ids)
    np.testing.assert_array_equal(mixed[1].token_ids, items[0].token_ids)
    assert mixed[2].forced and mixed[2].rounds == 0


def test_beginnings_that_leave_nothing_to_sample_are_refused() -> None:
    batch, streams = from_the_start(SEARCHER, QUESTIONS, 3)
    item = max(batch.trajectories, key=lambda item: len(item.actions()))
    second, end = int(item.actions()[1, 0]), int(item.actions()[0, 1])
    for length in (0, item.prompt_length - 1, end, second - 1, len(item.token_ids)):
        with pytest.raises(ValueError, match="not the policy's turn"):
            Beginning(item.task, item, length)
    with pytest.raises(ValueError, match="0 lines"):
        Beginning(0, lines=0)
    with pytest.raises(ValueError, match="used up the rounds"):
        SEARCHER.sample_from(QUESTIONS, [Beginning(item.task, item, second)], [0], [1], [0], streams)
    long = max(batch.trajectories, key=lambda item: int(np.diff(item.actions()).max()))
    start, stop = long.actions()[int(np.diff(long.actions()).argmax())].tolist()
    short = EpisodeSampler(
        SEARCHING, SEARCHING.tokenizer, RetrievalEnvironment(), SamplingConfig(longest_action=stop - start - 1)
    )
    with pytest.raises(ValueError, match="holds all"):
        short.sample_from(QUESTIONS, [Beginning(long.task, long, stop - 1)], [0], [3], [0], streams)
    with pytest.raises(ValueError, match="their streams hold 24"):
        SEARCHER.sample_from(
            QUESTIONS, [Beginning(item.task, item, second)], [0], [3], [0], UniformStreams(("x",), 1, 24)
        )
