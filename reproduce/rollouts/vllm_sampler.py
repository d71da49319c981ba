"""Multi-turn sampling with an engine that completes prompts and keeps their keys and values itself: vLLM.

Each turn is one call of the engine with every episode that is acting. A prompt is the whole history so far, so it
extends the prompt of the turn before, and an engine that caches prefixes computes only what is new. Token ids are kept
from one turn to the next, never read back from text.

The episodes mean what those of `reproduce.rollouts.sampler` mean; randomness differs. Each request has a seed of its
own, made from the name and sample of the episode's stream, the action's number and the tokens of it that were given:
distinct for every (step, task, sample), and the same whenever it is made again. Requests equal in prompt and seed, or
in prompt alone where nothing is random, are one request, so episodes that share a stream run alike until their caps,
and forks cost only their forced answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from reproduce.core.config import SamplingConfig
from reproduce.environments.protocol import Environment, Observation, Task
from reproduce.rollouts.episodes import Beginning, EpisodeBatch, Trajectory
from reproduce.rollouts.lines import LineBreak, line_ends
from reproduce.rollouts.streams import UniformStreams
from reproduce.rollouts.text import EpisodeText

TaskType = TypeVar("TaskType", bound=Task)


@dataclass(frozen=True)
class Generated:
    """What an engine wrote after one prompt."""

    token_ids: np.ndarray
    """At least one token, with the end of the action if it was written, (tokens,) int32."""
    log_probabilities: np.ndarray
    """Of each token, under the distribution it was drawn from; at temperature 0, that of temperature 1. Nats,
    (tokens,) float32."""
    entropies: np.ndarray | None = None
    """Of the distribution of each token, likewise; None where the engine does not tell."""
    cached_tokens: int = 0
    """Tokens of the prompt that the engine had in its cache."""


class TokenGenerator(Protocol):
    """An engine that completes token ids, at a temperature and up to the ends of an action that it was made with."""

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt, in order.

        seeds: 63 bits each; equal prompts with different seeds are independent draws. longest: most tokens of each.
        """
        ...


def request_seed(name: str, sample: int, turn: int, given: int = 0) -> int:
    """Seed of one request, 63 bits of sha256.

    name, sample: those of the episode's stream. turn: actions before this one. given: tokens of it that the prompt
    holds already, so that a chain continued within an action does not draw again what its beginning drew.
    """
    content = f"{name}\n{sample}\n{turn}\n{given}"
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "little") >> 1


@dataclass
class _Episode:
    """An episode that is being sampled."""

    task: int
    cap: int
    stream: int
    tokens: list[int]
    from_policy: list[bool]
    log_probabilities: list[float]
    entropies: list[float]
    prompt_length: int
    prefix_length: int = 0
    action_start: int = 0
    rounds: int = 0
    closed: bool = False
    lines_left: int | None = None
    history: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    trajectory: int = field(default=-1)

    def write_environment(self, ids: Sequence[int]) -> None:
        """Append tokens of the environment; the next action starts after them."""
        self.tokens += ids
        self.from_policy += [False] * len(ids)
        self.log_probabilities += [0.0] * len(ids)
        self.entropies += [0.0] * len(ids)
        self.action_start = len(self.tokens)

    def write_policy(self, written: Generated, count: int) -> None:
        """Append the first `count` sampled tokens."""
        self.tokens += written.token_ids[:count].tolist()
        self.from_policy += [True] * count
        self.log_probabilities += written.log_probabilities[:count].tolist()
        entropies = np.full(count, np.nan) if written.entropies is None else written.entropies[:count]
        self.entropies += entropies.tolist()


class VllmSampler(Generic[TaskType]):
    """Samples episodes of one policy in one environment through a `TokenGenerator`.

    Entropies are NaN where the generator does not tell them. A limit of lines costs tokens: the engine writes the
    whole action, and what follows the last line is dropped.
    """

    def __init__(
        self,
        generator: TokenGenerator,
        tokenizer: PreTrainedTokenizerBase,
        text: EpisodeText,
        environment: Environment[TaskType],
        config: SamplingConfig,
        limit: int,
    ) -> None:
        """limit: positions that an episode may fill, the fewer of the model's and the engine's."""
        self.generator, self.tokenizer, self.text = generator, tokenizer, text
        self.environment, self.config, self.limit = environment, config, limit

    def sample(
        self,
        tasks: Sequence[TaskType],
        task_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
    ) -> EpisodeBatch:
        """Sample one episode for each entry of the three (episodes,) columns: its task, its cap T, its stream.

        streams: only names and numbers of samples are read. Raises ValueError when an episode outgrows the model.
        """
        beginnings = [Beginning(task) for task in range(len(tasks))]
        return self.sample_from(tasks, beginnings, task_of_episode, rounds_of_episode, stream_of_episode, streams)

    def sample_from(
        self,
        tasks: Sequence[TaskType],
        beginnings: Sequence[Beginning],
        beginning_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
        *,
        line_break: int | LineBreak = -1,
    ) -> EpisodeBatch:
        """As `sample`, each episode from the beginning that its column names; T counts the rounds of the beginning.

        The given tokens are taken over as they are. An episode continued after whole actions with the stream that its
        beginning was sampled with comes out as it was; one continued within an action draws the rest of it anew.
        line_break: what ends a line (`EpisodeText.line_break`), for beginnings with a limit of lines; blank lines do
        not count.

        Raises ValueError also where a beginning leaves no round or no token of an action.
        """
        self.tasks, self.streams, self.line_break = tasks, streams, line_break
        self.finished: list[Trajectory] = []
        self.place_of_content: dict[tuple[Any, ...], int] = {}
        self.observed: dict[tuple[Any, ...], Observation] = {}
        self.forward_tokens = self.sampled_tokens = 0
        columns = (np.asarray(one).tolist() for one in (beginning_of_episode, rounds_of_episode, stream_of_episode))
        episodes = [self._begin(beginnings[place], cap, stream) for place, cap, stream in zip(*columns, strict=True)]
        acting = episodes
        while acting:
            self._act(acting)
            acting = [episode for episode in acting if not self._end_action(episode)]
        which = np.array([episode.trajectory for episode in episodes], dtype=np.int64)
        return EpisodeBatch(tuple(self.finished), which, self.forward_tokens, self.sampled_tokens)

    def prompt_ids(self, task: TaskType) -> list[int]:
        """The tokens that an episode of the task begins with, up to the policy's turn."""
        return self.text.prompt(self.environment.reset(task))

    # ---- the beginning

    def _begin(self, beginning: Beginning, cap: int, stream: int) -> _Episode:
        if beginning.trajectory is None:
            episode = self._begin_at_prompt(beginning.task, cap, stream)
        else:
            episode = self._begin_after(beginning, beginning.trajectory, cap, stream)
        episode.lines_left = beginning.lines
        if cap - episode.rounds < (not episode.closed):
            raise ValueError("a beginning has used up the rounds of an episode that continues it")
        if len(episode.tokens) - episode.action_start >= self.config.longest_action:
            raise ValueError(f"a beginning holds all {self.config.longest_action} tokens of an action")
        return episode

    def _begin_at_prompt(self, task: int, cap: int, stream: int) -> _Episode:
        message = self._closing_message(task) if cap == 0 else []
        if message is None:
            raise ValueError("an environment without a forced answer needs at least one round")
        prompt = self.text.prompt(self.environment.reset(self.tasks[task]), message)
        episode = _Episode(task, cap, stream, [], [], [], [], len(prompt), closed=cap == 0)
        episode.write_environment(prompt)
        return episode

    def _begin_after(self, beginning: Beginning, given: Trajectory, cap: int, stream: int) -> _Episode:
        length, actions = beginning.length, given.actions(beginning.length)
        unfinished = len(actions) > 0 and actions[-1, 1] == length
        rounds = len(actions) - int(unfinished)
        return _Episode(
            beginning.task,
            cap,
            stream,
            given.token_ids[:length].tolist(),
            given.from_policy[:length].tolist(),
            given.log_probabilities[:length].tolist(),
            given.entropies[:length].tolist(),
            given.prompt_length,
            prefix_length=length - given.prompt_length,
            action_start=int(actions[-1, 0]) if unfinished else length,
            rounds=rounds,
            closed=beginning.closed,
            history=tuple(self.text.action(given.token_ids[start:end]) for start, end in actions[:rounds].tolist()),
            skills=given.skills[:rounds],
        )

    # ---- the engine

    def _act(self, acting: Sequence[_Episode]) -> None:
        """Let every episode write its action."""
        longest_action, greedy = self.config.longest_action, self.config.temperature == 0
        longest = max(episode.action_start for episode in acting)
        if longest + longest_action > self.limit:
            raise ValueError(f"an action after {longest} tokens outgrows the model's {self.limit} positions")
        requests: dict[tuple[tuple[int, ...], int, int], int] = {}
        place = []
        for episode in acting:
            given = len(episode.tokens) - episode.action_start
            seed = 0 if greedy else self._seed(episode, given)
            place.append(requests.setdefault((tuple(episode.tokens), seed, longest_action - given), len(requests)))
        prompts, seeds, limits = zip(*requests, strict=True)
        answers = self.generator.generate(prompts, seeds, limits)
        for prompt, answer in zip(prompts, answers, strict=True):
            # The last token sampled is never read.
            self.forward_tokens += len(prompt) - answer.cached_tokens + len(answer.token_ids) - 1
        for episode, number in zip(acting, place, strict=True):
            written = answers[number]
            kept = self._within_lines(episode, written.token_ids)
            episode.write_policy(written, kept)
            self.sampled_tokens += kept

    def _seed(self, episode: _Episode, given: int) -> int:
        name, sample = divmod(episode.stream, self.streams.samples)
        return request_seed(self.streams.names[name], sample, episode.rounds, given)

    def _within_lines(self, episode: _Episode, token_ids: np.ndarray) -> int:
        """How many of the tokens come before the episode's limit of lines, the break that ends the last included."""
        if episode.lines_left is None:
            return len(token_ids)
        given = episode.tokens[episode.action_start :]
        action = np.concatenate([np.array(given, dtype=token_ids.dtype), token_ids])
        ends = np.flatnonzero(line_ends(action, self.line_break)[len(given) :])
        return len(token_ids) if len(ends) < episode.lines_left else int(ends[episode.lines_left - 1]) + 1

    # ---- the environment

    def _end_action(self, episode: _Episode) -> bool:
        """Hand the action to the environment and write what it answers; whether the episode is over."""
        observation = self._step(episode)
        episode.skills += (observation.skill,)
        if observation.done:
            self._finish(episode, observation.success, observation.failure)
            return True
        ended = bool(self.text.ends_turn(np.array(episode.tokens[-1:]))[0])
        episode.rounds += 1
        closed = episode.rounds >= episode.cap
        message = self._closing_message(episode.task) if closed else []
        if message is None:
            self._finish(episode, False, "timeout")
            return True
        episode.write_environment(self.text.reply(observation.text, message, ended))
        episode.closed, episode.lines_left = closed, None
        return False

    def _step(self, episode: _Episode) -> Observation:
        """What the environment answers; equal histories ask once, for it is a function of them."""
        action = self.text.action(np.array(episode.tokens[episode.action_start :], dtype=np.int32))
        key = (episode.task, episode.closed, episode.history, action)
        if key not in self.observed:
            step = self.environment.step_closed if episode.closed else self.environment.step
            self.observed[key] = step(self.tasks[episode.task], episode.history, action)
        episode.history += (action,)
        return self.observed[key]

    def _closing_message(self, task: int) -> list[int] | None:
        text = self.environment.close(self.tasks[task])
        return None if text is None else self.text.encode(text)

    def _finish(self, episode: _Episode, success: bool, failure: str) -> None:
        """Keep the trajectory of the episode, or name the one that it followed."""
        tokens, from_policy = np.array(episode.tokens, dtype=np.int32), np.array(episode.from_policy, dtype=bool)
        key = (episode.task, tokens.tobytes(), from_policy.tobytes(), episode.prefix_length, episode.closed, failure)
        episode.trajectory = self.place_of_content.setdefault(key, len(self.finished))
        if episode.trajectory < len(self.finished):
            return
        self.finished.append(
            Trajectory(
                task=episode.task,
                token_ids=tokens,
                from_policy=from_policy,
                log_probabilities=np.array(episode.log_probabilities, dtype=np.float32),
                entropies=np.array(episode.entropies, dtype=np.float32),
                prompt_length=episode.prompt_length,
                rounds=episode.rounds,
                forced=episode.closed,
                success=success,
                skills=episode.skills,
                failure=failure,
                prefix_length=episode.prefix_length,
            )
        )
