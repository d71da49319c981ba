"""SRPO's own localizer: the policy under training is asked for its first error, in an episode of one turn.

The question is `methods.localizers.localization_prompt`, in the model's chat template where there is one, whatever the
format of the rollouts (released code); the reply is sampled at the localizer's own temperature, and never trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from reproduce.core.config import SamplingConfig
from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.rollouts import EpisodeSampler, UniformStreams, open_text, stream_length
from reproduce.rollouts.vllm_sampler import Generated, TokenGenerator, VllmSampler
from reproduce.training.engines import SyncedGenerator, open_generator
from reproduce.training.train import Setting


@dataclass(frozen=True)
class Question:
    """A text that asks for the first wrong step."""

    identifier: str
    text: str
    category: str = ""


class Questions(NoForcedAnswer):
    """An environment that shows a question and ends with the reply, whatever it is."""

    def reset(self, task: Question) -> str:
        """The question."""
        return task.text

    def step(self, task: Question, history: tuple[str, ...], action: str) -> Observation:
        """Nothing is graded: what the reply names is the caller's to read."""
        return Observation("", done=True, success=False, skill="", failure="")


class EngineOfAnotherKind:
    """A `TokenGenerator` over the engine that serves the rollouts, with the localizer's temperature and limit.

    Its weights are those that the rollouts of the same step were checked with.
    """

    def __init__(self, engine: SyncedGenerator, config: SamplingConfig, ends: Sequence[int]) -> None:
        self.engine, self.config, self.ends = engine, config, ends
        self.trainer: Any = None
        self.generator: TokenGenerator | None = None

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt, while the engine serves a trainer."""
        if self.generator is None or self.trainer is not self.engine.trainer:
            self.trainer = self.engine.trainer
            self.generator = open_generator(self.trainer, self.config, self.ends)
        return self.generator.generate(prompts, seeds, longest)


def asking_sampler(setting: Setting, config: SamplingConfig) -> EpisodeSampler[Question] | VllmSampler[Question]:
    """A sampler of replies by what samples the rollouts. config: temperature, top_p and most tokens of a reply."""
    text = open_text(setting.tokenizer, ends=setting.sampler.text.ends, several_lines=True)
    if setting.engine is None:
        return EpisodeSampler(setting.model, setting.tokenizer, Questions(), config, text)
    engine = EngineOfAnotherKind(setting.engine, config, text.ends)
    return VllmSampler(engine, setting.tokenizer, text, Questions(), config, setting.sampler.limit)


class PolicyReplies:
    """Replies of the current policy to texts, each with the number of tokens that were sampled for it.

    Several processes divide the questions; every one gets all replies. The reply to a question depends on the name
    given to `begin`, on the number of the call since, and on its place: a continued run gets what it got before.
    """

    def __init__(self, sampler: EpisodeSampler[Question] | VllmSampler[Question]) -> None:
        self.sampler, self.config = sampler, sampler.config
        self.begin("")

    def begin(self, name: str) -> None:
        """The replies of the next calls are drawn from streams of this name."""
        self.name, self.calls = name, 0

    def __call__(self, texts: Sequence[str]) -> list[tuple[str, int]]:
        """One reply a text, in order; empty where the text leaves the model no position to write to."""
        state = PartialState()
        self.calls += 1
        own = range(state.process_index, len(texts), state.num_processes)
        replies = list(zip(own, self._replies(texts, own), strict=True))
        if state.num_processes > 1:
            replies = gather_object(replies)
        found = dict(replies)
        return [found[place] for place in range(len(texts))]

    def _replies(self, texts: Sequence[str], places: Sequence[int]) -> list[tuple[str, int]]:
        questions = [Question(str(place), texts[place]) for place in places]
        lengths = [len(self.sampler.prompt_ids(question)) for question in questions]
        asked = [row for row, length in enumerate(lengths) if length < self.sampler.limit]
        replies = [("", 0)] * len(questions)
        # Each question has the room that it leaves, whatever others this process asks.
        rooms = {row: min(self.config.longest_action, self.sampler.limit - lengths[row]) for row in asked}
        for room in sorted(set(rooms.values())):
            alike = [row for row in asked if rooms[row] == room]
            self.sampler.config = replace(self.config, longest_action=room)
            names = tuple(f"{self.name} localization {self.calls} seed {places[row]}" for row in alike)
            streams = UniformStreams(names, 1, stream_length(1, room))
            batch = self.sampler.sample(questions, alike, [1] * len(alike), range(len(alike)), streams)
            for row, place in zip(alike, batch.trajectory_of_episode, strict=True):
                episode = batch.trajectories[place]
                written = episode.token_ids[episode.prompt_length :]
                replies[row] = (self.sampler.text.action(written), len(written))
        return replies
