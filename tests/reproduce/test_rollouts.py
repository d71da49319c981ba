"""Sampling: sharing computation changes no episode, the cache changes no probability, any episode can be redrawn."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.environments.protocol import NoForcedAnswer
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
from reproduce.environments.retrieval.vocabulary import words
from reproduce.rollouts import EpisodeBatch, EpisodeSampler, UniformStreams, rollout_columns, stream_length
from reproduce.rollouts.policies import build_model, build_tokenizer, load_policy, save_policy

TOKENIZER = build_tokenizer(words())
MODEL = build_model(PolicyConfig(layers=2, width=32, heads=2, feed_forward=64), TOKENIZER, seed=3).eval()
# A random policy never writes a command; a bias on a few words makes it search, answer and end.
BIAS = {"search": 3.0, "answer": 2.0, "<end>": 4.0, "ada": 2.0}
PANELS = build_panels(4, 4, 2)
TASKS = PANELS["test"].select("bridge") + PANELS["test"].select("comparison")


class BiasedModel(torch.nn.Module):
    """The model with a constant added to some logits, so that short random episodes do everything an episode can do."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.config = MODEL, MODEL.config
        self.bias = torch.zeros(len(TOKENIZER))
        for word, value in BIAS.items():
            self.bias[TOKENIZER.convert_tokens_to_ids(word)] = value

    def forward(self, **arguments):
        output = self.model(**arguments)
        output.logits = output.logits + self.bias
        return output


POLICY = BiasedModel()


def episodes(
    caps: tuple[int, ...] = (0, 1, 3),
    samples: int = 24,
    coalesce: bool = True,
    tasks=TASKS,
    shared: bool = False,
    prefix: str = "test",
) -> EpisodeBatch:
    """`samples` episodes of every task at every cap; `shared` lets all caps draw from the same streams."""
    task, cap, sample = (axis.ravel() for axis in np.meshgrid(range(len(tasks)), caps, range(samples), indexing="ij"))
    place = np.searchsorted(caps, cap)
    name = task if shared else task * len(caps) + place
    count = len(tasks) * (1 if shared else len(caps))
    streams = UniformStreams(tuple(f"{prefix} {number}" for number in range(count)), samples)
    sampler = EpisodeSampler(POLICY, TOKENIZER, RetrievalEnvironment(), SamplingConfig(longest_action=8))
    return sampler.sample(tasks, task, cap, name * samples + sample, streams, coalesce)


def tokens(batch: EpisodeBatch) -> list[bytes]:
    return [batch.trajectories[place].token_ids.tobytes() for place in batch.trajectory_of_episode]


SHARED, SEPARATE = episodes(), episodes(coalesce=False)


def test_sharing_computation_changes_no_episode() -> None:
    assert tokens(SHARED) == tokens(SEPARATE)
    assert (SHARED.successes == SEPARATE.successes).all()
    assert SHARED.sampled_tokens == SEPARATE.sampled_tokens
    assert SHARED.forward_tokens < SEPARATE.forward_tokens
    assert len(SHARED.trajectories) < len(SEPARATE.trajectories) == len(SEPARATE.trajectory_of_episode)


def test_trajectories_are_distinct() -> None:
    keys = {(item.task, item.token_ids.tobytes()) for item in SHARED.trajectories}
    assert len(keys) == len(SHARED.trajectories)


def test_every_kind_of_episode_occurs() -> None:
    kinds = {skill.split()[0] for item in SHARED.trajectories for skill in item.skills}
    assert kinds == {"search", "answer", "invalid"}
    assert {item.forced for item in SHARED.trajectories} == {True, False}
    assert {item.rounds for item in SHARED.trajectories} == {0, 1, 2, 3}


@pytest.mark.parametrize("place", range(0, len(SHARED.trajectories), 7))
def test_log_probabilities_and_entropies_equal_a_plain_forward_pass(place: int) -> None:
    item = SHARED.trajectories[place]
    ids = torch.from_numpy(item.token_ids.astype(np.int64))[None]
    with torch.no_grad():
        expected = torch.log_softmax(POLICY(input_ids=ids).logits[0, :-1] / 0.7, dim=-1)
    chosen = expected.gather(1, ids[0, 1:, None])[:, 0].numpy()
    entropy = -(expected.exp() * expected).sum(-1).numpy()
    written = item.from_policy[1:]
    assert written.any()
    np.testing.assert_allclose(item.log_probabilities[1:][written], chosen[written], atol=1e-4)
    np.testing.assert_allclose(item.entropies[1:][written], entropy[written], atol=1e-4)
    assert not item.log_probabilities[~item.from_policy].any()
    assert not item.entropies[~item.from_policy].any()


def test_mask_marks_exactly_what_the_environment_wrote() -> None:
    """Replaying the actions that the mask picks out gives the environment's text back, token for token."""
    environment = RetrievalEnvironment()
    for item in SHARED.trajectories[::3]:
        task, closed, rebuilt = TASKS[item.task], item.forced and item.rounds == 0, ["<begin>"]
        rebuilt += TASKS[item.task].question.split() + (["closed"] if closed else []) + ["<turn>"]
        all_words = TOKENIZER.convert_ids_to_tokens(item.token_ids.tolist())
        assert not item.from_policy[: item.prompt_length].any()
        position, rounds = item.prompt_length, 0
        while position < len(all_words):
            end = position
            while end < len(all_words) and item.from_policy[end]:
                end += 1
            action = all_words[position:end]
            rebuilt += action
            text = " ".join(action[:-1] if action[-1] == "<end>" else action)
            if end < len(all_words):
                rounds += 1
                rebuilt += environment.step(task, (), text).text.split()
                rebuilt += ["closed"] if item.forced and rounds == item.rounds else []
                rebuilt += ["<turn>"]
            position = end
            while position < len(all_words) and not item.from_policy[position]:
                position += 1
        assert rebuilt == all_words


def test_caps_are_kept_and_forced_answers_come_exactly_at_the_cap() -> None:
    caps = np.tile(np.repeat([0, 1, 3], 24), len(TASKS))
    for cap, place in zip(caps, SHARED.trajectory_of_episode, strict=True):
        item = SHARED.trajectories[place]
        assert item.rounds <= cap
        assert item.forced == (item.rounds == cap)
        assert len(item.skills) == item.rounds + 1


def test_one_episode_can_be_drawn_again_alone() -> None:
    streams = UniformStreams(tuple(f"test {number}" for number in range(len(TASKS) * 3)), 24)
    sampler = EpisodeSampler(POLICY, TOKENIZER, RetrievalEnvironment(), SamplingConfig(longest_action=8))
    everything = tokens(SHARED)
    for task, place, sample in ((0, 2, 5), (3, 1, 23), (7, 0, 0)):
        alone = sampler.sample(TASKS, [task], [(0, 1, 3)[place]], [(task * 3 + place) * 24 + sample], streams)
        assert tokens(alone) == [everything[(task * 3 + place) * 24 + sample]]


def test_streams_do_not_depend_on_their_neighbours() -> None:
    few, many = UniformStreams(("b",), 3).draw(), UniformStreams(("a", "b"), 5).draw()
    np.testing.assert_array_equal(few, many[5:8])
    assert not np.array_equal(many[:5], many[5:])
    assert stats.kstest(UniformStreams(("c",), 200).draw().ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("length", [1, 127, 128, 129, 300])
def test_a_short_stream_is_the_beginning_of_a_longer_one(length: int) -> None:
    longer = UniformStreams(("a", "b"), 4, 400).draw()
    assert len(np.unique(longer)) == longer.size
    np.testing.assert_array_equal(UniformStreams(("a", "b"), 4, length).draw(), longer[:, :length])
    np.testing.assert_array_equal(UniformStreams(("b",), 2, length).draw(), longer[4:6, :length])


def test_streams_are_those_of_the_recorded_runs() -> None:
    key = int.from_bytes(hashlib.sha256(b"a").digest()[:16], "little")
    expected = np.random.Generator(np.random.Philox(key=key)).random((3, 128))
    np.testing.assert_array_equal(UniformStreams(("a",), 3).draw(), expected)


def test_the_length_of_the_streams_changes_no_episode_and_allows_long_actions() -> None:
    sampler = EpisodeSampler(POLICY, TOKENIZER, RetrievalEnvironment(), SamplingConfig(longest_action=8))
    long = UniformStreams(tuple(f"test {number}" for number in range(len(TASKS) * 3)), 24, 500)
    assert tokens(sampler.sample(TASKS, [0] * 24, [0] * 24, range(24), long)) == tokens(SHARED)[:24]
    patient = EpisodeSampler(MODEL, TOKENIZER, SearchOnly(), SamplingConfig(longest_action=160))
    streams = UniformStreams(("long",), 30, stream_length(1, 160))
    batch = patient.sample(TASKS, [0] * 30, [1] * 30, range(30), streams)
    assert 128 < max(int(item.from_policy.sum()) for item in batch.trajectories) <= 160


def test_forks_share_their_path_up_to_the_smaller_cap() -> None:
    batch = episodes(caps=(1, 3), shared=True)
    followed = batch.trajectory_of_episode.reshape(len(TASKS), 2, 24)
    for task in range(len(TASKS)):
        for early, late in zip(followed[task, 0], followed[task, 1], strict=True):
            short, long = batch.trajectories[early], batch.trajectories[late]
            if not short.forced:
                assert early == late
            first_action = int(short.from_policy[short.prompt_length :].argmin())
            assert (short.token_ids[:first_action] == long.token_ids[:first_action]).all()


def test_forked_and_fresh_episodes_have_one_law() -> None:
    """At T = 1: the share of forced answers, and the first word of the forced answer, from forks and fresh episodes."""
    one, count = TASKS[:1], 1500
    fork = episodes(caps=(1, 3), samples=count, tasks=one, shared=True)
    fresh = episodes(caps=(1,), samples=count, tasks=one, prefix="fresh")
    assert tokens(fork)[:count] != tokens(fresh)
    followed = [[batch.trajectories[place] for place in batch.trajectory_of_episode[:count]] for batch in (fork, fresh)]
    forced = [[item for item in items if item.forced] for items in followed]
    table = [[len(items), count - len(items)] for items in forced]
    assert stats.fisher_exact(table).pvalue > 1e-3

    def first_words(items: list) -> np.ndarray:
        starts = [len(item.token_ids) - int(np.argmin(item.from_policy[::-1])) for item in items]
        words = [item.token_ids[start] for item, start in zip(items, starts, strict=True)]
        return np.bincount(words, minlength=len(TOKENIZER))

    words_of = np.array([first_words(items) for items in forced])
    common = words_of.sum(axis=0) >= 10
    grouped = np.column_stack([words_of[:, common], words_of[:, ~common].sum(axis=1)])
    assert stats.chi2_contingency(grouped[:, grouped.sum(axis=0) > 0]).pvalue > 1e-3


def test_sampling_follows_the_policy_distribution() -> None:
    """First tokens of 4,000 episodes against the policy's probabilities (chi-square on the likelier tokens)."""
    batch = episodes(caps=(1,), samples=4000, tasks=TASKS[:1])
    item = batch.trajectories[0]
    prompt = torch.from_numpy(item.token_ids[: item.prompt_length].astype(np.int64))[None]
    with torch.no_grad():
        expected = torch.softmax(POLICY(input_ids=prompt).logits[0, -1].double() / 0.7, -1).numpy()
    first = np.array([trajectory.token_ids[trajectory.prompt_length] for trajectory in batch.trajectories])
    counts = np.bincount(first[batch.trajectory_of_episode], minlength=len(expected))
    likely = expected * 4000 > 5
    observed = np.append(counts[likely], counts[~likely].sum())
    wanted = np.append(expected[likely], expected[~likely].sum()) * 4000
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_memory_kept_between_calls_changes_nothing() -> None:
    sampler = EpisodeSampler(POLICY, TOKENIZER, RetrievalEnvironment(), SamplingConfig(longest_action=8))
    streams = UniformStreams(("again",), 40)
    arguments = (TASKS, [0] * 40, [3] * 40, range(40), streams)
    first, second = sampler.sample(*arguments), sampler.sample(*arguments)
    assert tokens(first) == tokens(second)


def test_columns_for_the_trainer_are_aligned() -> None:
    columns = rollout_columns(SHARED)
    assert len({len(values) for values in columns.values()}) == 1
    per_token = ("completion_ids", "env_mask", "logprobs", "entropies")
    for ids, mask, logprobs, entropies in zip(*(columns[name] for name in per_token), strict=True):
        assert len(ids) == len(mask) == len(logprobs) == len(entropies) > 0
        assert mask[0] == 1
        assert all(own or value == other == 0 for own, value, other in zip(mask, logprobs, entropies, strict=True))
        assert all(value > 0 for own, value in zip(mask, entropies, strict=True) if own)
    for place, (skills, failure) in enumerate(zip(columns["skills"], columns["failure"], strict=True)):
        item = SHARED.trajectories[SHARED.trajectory_of_episode[place]]
        assert isinstance(skills, list) and tuple(skills) == item.skills and failure == item.failure


def test_columns_name_the_kind_of_failure() -> None:
    columns = rollout_columns(without_forced_answer((1,), True))
    timeouts = [failure == "timeout" for failure in columns["failure"]]
    assert any(timeouts) and not any(
        success and failure for success, failure in zip(columns["success"], columns["failure"], strict=True)
    )


def test_an_episode_that_outgrows_the_model_is_refused() -> None:
    small = build_model(PolicyConfig(layers=1, width=16, heads=1, feed_forward=16, longest=16), TOKENIZER, 0)
    sampler = EpisodeSampler(small, TOKENIZER, RetrievalEnvironment(), SamplingConfig())
    with pytest.raises(ValueError, match="outgrows the model's 16 positions"):
        sampler.sample(TASKS, [0], [1], [0], UniformStreams(("x",), 1))
    with pytest.raises(ValueError, match="their streams hold 128"):
        sampler.sample(TASKS, [0], [9], [0], UniformStreams(("x",), 1))


def test_policy_is_an_ordinary_checkpoint(tmp_path) -> None:
    save_policy(MODEL, TOKENIZER, tmp_path)
    model, tokenizer = load_policy(tmp_path)
    ids = torch.tensor([TOKENIZER("who is the owner of ada abbot ?", add_special_tokens=False).input_ids])
    assert torch.equal(model.eval()(ids).logits, MODEL(ids).logits)
    assert tokenizer.decode(ids[0]) == "who is the owner of ada abbot ?"
    assert not list(tmp_path.glob("*.bin"))
    with pytest.raises(FileNotFoundError):
        load_policy(tmp_path / "nothing")


class SearchOnly(NoForcedAnswer):
    """Retrieval in which the episode just ends when the rounds are used up."""

    reset, step = RetrievalEnvironment.reset, RetrievalEnvironment.step
    _grade = RetrievalEnvironment._grade


def without_forced_answer(caps: tuple[int, ...], coalesce: bool) -> EpisodeBatch:
    cap = np.tile(np.repeat(caps, 24), len(TASKS))
    task = np.repeat(np.arange(len(TASKS)), 24 * len(caps))
    stream = np.tile(np.arange(24), len(caps) * len(TASKS)) + 24 * task
    streams = UniformStreams(tuple(f"timeout {number}" for number in range(len(TASKS))), 24)
    sampler = EpisodeSampler(POLICY, TOKENIZER, SearchOnly(), SamplingConfig(longest_action=8))
    return sampler.sample(TASKS, task, cap, stream, streams, coalesce)


def test_without_a_forced_answer_an_episode_ends_as_a_timeout() -> None:
    shared, separate = without_forced_answer((1, 3), True), without_forced_answer((1, 3), False)
    assert tokens(shared) == tokens(separate)
    episodes = [separate.trajectories[place] for place in separate.trajectory_of_episode]
    cap = np.tile(np.repeat((1, 3), 24), len(TASKS))
    timeouts = [item.failure == "timeout" for item in episodes]
    assert any(timeouts) and not all(timeouts)
    for item, limit in zip(episodes, cap, strict=True):
        assert not item.forced
        assert len(item.skills) <= limit
        if item.failure == "timeout":
            assert not item.success and item.rounds == len(item.skills) == limit
            assert item.from_policy[-1], "nothing is written after the last action"
        else:
            assert item.skills[-1] == "answer"


def test_an_environment_without_a_forced_answer_needs_a_round() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        without_forced_answer((0, 1), True)
