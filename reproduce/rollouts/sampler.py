"""Multi-turn sampling in which episodes that share a history share its computation.

The next-token distribution depends on the history alone, so episodes of one task that have written the same tokens so
far are one row of the batch; they part when they draw different tokens. Each episode draws from its own stream of
uniform numbers by inverse distribution function, so its tokens do not depend on which episodes it is sampled with,
and any episode can be drawn again alone. The episodes are independent draws from the policy, exactly as if each had
its own row.

Two estimators of PASS@(k,T) differ only in the streams. With a stream for each (question, T, sample) every T has
fresh episodes, as in the paper. With one stream for each (question, sample), shared by all T, episodes run alike
until their caps: this is the prefix-fork estimator, and forks cost only their forced answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reproduce.core.config import SamplingConfig
from reproduce.environments.protocol import Environment, Observation, Task
from reproduce.rollouts.cache import RaggedCache, layer_windows
from reproduce.rollouts.drawing import draw
from reproduce.rollouts.episodes import Beginning, EpisodeBatch, Trajectory
from reproduce.rollouts.lean_cache import LeanCache
from reproduce.rollouts.lean_decoder import LeanDecoder, is_small_decoder
from reproduce.rollouts.lines import LineBreak
from reproduce.rollouts.rows import UNLIMITED, HistoryRows
from reproduce.rollouts.streams import UniformStreams, stream_length
from reproduce.rollouts.text import EpisodeText, open_text

TaskType = TypeVar("TaskType", bound=Task)
PREFILL_TOKENS, LEAN_PREFILL_TOKENS = 1 << 16, 1 << 11
"""Most tokens of one forward pass over prompts: a bound on the memory of long ones. What a `LeanDecoder` computes of so
few stays in the processor's cache, half again as fast as of 8,192."""


class EpisodeSampler(Generic[TaskType]):
    """Samples episodes of one policy in one environment, on the device of the model. On a CPU it keeps its memory
    between calls.

    Within a call `rows` are the histories still acting, `next_rows` those waiting for their next turn.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        environment: Environment[TaskType],
        config: SamplingConfig,
        text: EpisodeText | None = None,
    ) -> None:
        """text: the format of the episodes; None for what the tokenizer offers, without instructions."""
        self.model, self.tokenizer, self.environment, self.config = model, tokenizer, environment, config
        self.text = text or open_text(tokenizer)
        self.limit = int(model.config.get_text_config().max_position_embeddings)
        self.windows, self.mask_kind = layer_windows(model.config)
        self.rows, self.next_rows = HistoryRows(self.windows), HistoryRows(self.windows)
        self.decoder: LeanDecoder | None = None

    def sample(
        self,
        tasks: Sequence[TaskType],
        task_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
        coalesce: bool = True,
    ) -> EpisodeBatch:
        """Sample one episode for each entry of the three (episodes,) columns: its task, its cap T, its uniform stream.

        coalesce: share computation between episodes with the same history; False gives each its own row (same
        episodes, slower). Raises ValueError when an episode outgrows the model's positions or its stream.
        """
        beginnings = [Beginning(task) for task in range(len(tasks))]
        return self.sample_from(
            tasks, beginnings, task_of_episode, rounds_of_episode, stream_of_episode, streams, coalesce
        )

    def sample_from(
        self,
        tasks: Sequence[TaskType],
        beginnings: Sequence[Beginning],
        beginning_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
        coalesce: bool = True,
        *,
        line_break: int | LineBreak = -1,
    ) -> EpisodeBatch:
        """As `sample`, each episode from the beginning that its column names.

        The given tokens are taken over as they are. They use up as many numbers of the stream as the policy wrote of
        them, so an episode continued with the stream that its beginning was sampled with comes out as it was. Equal
        beginnings share one row, so their tokens go through the model once. T counts the rounds of the beginning.
        line_break: what ends a line (`EpisodeText.line_break`), for beginnings with a limit of lines; blank lines do
        not count.

        Raises ValueError also where a beginning leaves no round or no token of an action.
        """
        self.tasks, self.finished, self.line_break = tasks, list[Trajectory](), line_break
        self.forward_tokens = self.sampled_tokens = 0
        with torch.inference_mode():
            self._follow_model()
            self._start(
                beginnings,
                np.asarray(beginning_of_episode),
                np.asarray(rounds_of_episode),
                np.asarray(stream_of_episode),
                streams,
                coalesce,
            )
            while self.rows.count:
                self._prefill()
                while self.rows.count:
                    self._sample_token()
                self.rows, self.next_rows = self.next_rows, self.rows
        for rows in (self.rows, self.next_rows):
            if isinstance(rows.cache, RaggedCache) and rows.cache.device.type != "cpu":
                # A GPU's memory is needed for training, and quick to get back.
                rows.cache.release()
        return EpisodeBatch(tuple(self.finished), self.trajectory_of_episode, self.forward_tokens, self.sampled_tokens)

    def prompt_ids(self, task: TaskType) -> list[int]:
        """The tokens that an episode of the task begins with, up to the policy's turn."""
        return self.text.prompt(self.environment.reset(task))

    # ---- the first turn

    def _start(
        self,
        beginnings: Sequence[Beginning],
        beginning_of_episode: np.ndarray,
        rounds_of_episode: np.ndarray,
        stream_of_episode: np.ndarray,
        streams: UniformStreams,
        coalesce: bool,
    ) -> None:
        """Lay out one row for each distinct beginning; one at the prompt is closed at once where T = 0."""
        self.rounds_of_episode, self.stream_of_episode = rounds_of_episode, stream_of_episode
        first_of_content: dict[Hashable, int] = {}
        shared = [first_of_content.setdefault(one.content, place) for place, one in enumerate(beginnings)]
        at_prompt = np.array([one.trajectory is None for one in beginnings], dtype=bool)
        closed_at_once = (rounds_of_episode == 0) & at_prompt[beginning_of_episode]
        kinds = np.stack([np.array(shared, dtype=np.int64)[beginning_of_episode], closed_at_once])
        if not coalesce:
            kinds = np.vstack([kinds, np.arange(len(beginning_of_episode))])
        distinct, row_of_episode = np.unique(kinds, axis=1, return_inverse=True)
        self.row_of_episode = row_of_episode.reshape(-1)
        self.acting = np.arange(len(beginning_of_episode))
        self.waiting: list[np.ndarray] = []
        self.trajectory_of_episode = np.full(len(beginning_of_episode), -1, dtype=np.int64)
        self.next_rows.count = 0
        self.rows.reserve(distinct.shape[1], 1)
        self.rows.count = distinct.shape[1]
        for row, (place, closed) in enumerate(distinct[:2].T.tolist()):
            self._begin_row(row, beginnings[place], bool(closed))
        self._check_room(streams)
        self.uniforms = streams.draw()

    def _begin_row(self, row: int, beginning: Beginning, closed_at_once: bool) -> None:
        rows, given = self.rows, beginning.trajectory
        rows.begin(row, beginning.task, beginning.lines)
        if given is None:
            message = self._closing_message(beginning.task) if closed_at_once else []
            if message is None:
                raise ValueError("an environment without a forced answer needs at least one round")
            text = self.environment.reset(self.tasks[beginning.task])
            rows.write_environment(row, self.text.prompt(text, message))
            rows.prompt_length[row] = rows.length[row]
            rows.closed[row] = closed_at_once
        else:
            rows.write_given(row, given, beginning.length)
            rows.closed[row] = beginning.closed
            finished = given.actions(beginning.length)[: int(rows.rounds[row])].tolist()
            rows.history[row] = tuple(self.text.action(given.token_ids[start:end]) for start, end in finished)
            rows.skills[row] = given.skills[: len(finished)]

    def _check_room(self, streams: UniformStreams) -> None:
        """Refuse episodes whose beginning leaves nothing to sample, or whose stream is too short."""
        rows, row, longest = self.rows, self.row_of_episode, self.config.longest_action
        rounds_left = self.rounds_of_episode - rows.rounds[row]
        if (rounds_left < ~rows.closed[row]).any():
            raise ValueError("a beginning has used up the rounds of an episode that continues it")
        written = rows.length[: rows.count] - rows.action_start[: rows.count]
        if (written >= longest).any():
            raise ValueError(f"a beginning holds all {longest} tokens of an action")
        needed = int((rows.drawn[row] - written[row] + stream_length(rounds_left, longest)).max(initial=0))
        if needed > streams.length:
            raise ValueError(f"episodes may sample {needed} tokens, their streams hold {streams.length}")

    # ---- the model

    def _follow_model(self) -> None:
        """Decode with the weights that the model has now, where it is."""
        # A trainer moves, converts and adapts a model after the sampler was made.
        self.decoder = LeanDecoder(self.model) if is_small_decoder(self.model) else None
        weights = next(self.model.parameters())
        place, precision = weights.device, weights.dtype
        if torch.is_autocast_enabled(place.type):
            precision = torch.get_autocast_dtype(place.type)
        for rows in (self.rows, self.next_rows):
            room = rows.tokens.shape
            if self.decoder is not None and not isinstance(rows.cache, LeanCache):
                rows.cache = self.decoder.cache(*room)
            if self.decoder is None:
                if isinstance(rows.cache, LeanCache):
                    rows.cache = RaggedCache(self.windows, *room)
                rows.cache.follow(place, precision)

    def _prefill(self) -> None:
        """Run the model over everything not yet in the cache but each row's last token."""
        rows, count = self.rows, self.rows.count
        missing = rows.length[:count] - 1 - rows.cached[:count]
        new = int(missing.max())
        longest = int(rows.action_start[:count].max())
        if longest + self.config.longest_action > self.limit:
            raise ValueError(f"an action after {longest} tokens outgrows the model's {self.limit} positions")
        if new == 0:
            return
        rows.reserve(count, int((rows.cached[:count] + new).max()) + 1)
        columns = rows.cached[:count, None] + np.arange(new)
        ids = np.where(np.arange(new) < missing[:, None], np.take_along_axis(rows.tokens[:count], columns, 1), 0)
        at_once = max(1, (PREFILL_TOKENS if self.decoder is None else LEAN_PREFILL_TOKENS) // new)
        for start in range(0, count, at_once):
            part = slice(start, min(start + at_once, count))
            self._forward(ids[part], rows.cached[part], start)
        self.forward_tokens += int(missing.sum())
        rows.cached[:count] += missing

    def _forward(self, ids: np.ndarray, starts: np.ndarray, first: int = 0) -> torch.Tensor:
        """Logits after the last of the given columns of the rows from `first` on, (rows, vocabulary)."""
        cache = self.rows.cache
        if isinstance(cache, LeanCache):
            assert self.decoder is not None
            return self.decoder.logits(ids, starts, cache, first)
        positions, masks = cache.place(starts, ids.shape[1], first)
        output = self.model(
            input_ids=torch.from_numpy(ids.astype(np.int64)).to(cache.device),
            attention_mask=masks if self.mask_kind is None else masks[self.mask_kind],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def _sample_token(self) -> None:
        """Draw one token for every episode that is acting; rows whose episodes disagree split."""
        rows, count = self.rows, self.rows.count
        last = rows.length[:count] - 1
        logits = self._forward(rows.tokens[np.arange(count), last][:, None], last)
        self.forward_tokens += count
        self.sampled_tokens += len(self.acting)
        rows.cached[:count] = last + 1
        row = self.row_of_episode[self.acting]
        uniform = self.uniforms[self.stream_of_episode[self.acting], rows.drawn[row]]
        drawn = draw(logits, row, uniform, self.config)
        pairs, first, pair_of_episode = np.unique(drawn.pairs, return_index=True, return_inverse=True)
        parents, tokens = pairs // logits.shape[1], pairs % logits.shape[1]
        place = self._split(parents)
        self.row_of_episode[self.acting] = place[pair_of_episode]
        order = np.argsort(place)
        chosen = drawn.log_probabilities[first]
        rows.write_policy(tokens[order], chosen[order], drawn.entropies[parents][order])
        ended = self.text.closes(tokens[order]) | (
            rows.length[: rows.count] - rows.action_start[: rows.count] >= self.config.longest_action
        )
        if isinstance(self.line_break, LineBreak) or self.line_break >= 0:
            ended |= rows.count_lines(self.line_break)
        if ended.any():
            self._end_actions(np.flatnonzero(ended))

    def _split(self, parents: np.ndarray) -> np.ndarray:
        """Places of the children, given their parents in ascending order: a row's first child takes its place."""
        further = np.concatenate([[False], parents[1:] == parents[:-1]])
        place = np.where(further, self.rows.count + np.cumsum(further) - 1, parents)
        self.rows.copy(parents[further], self.rows, place[further])
        self.rows.count += int(further.sum())
        return place

    # ---- the environment

    def _end_actions(self, ended: np.ndarray) -> None:
        """Hand finished actions to the environment; finish, fork or continue their rows; close the gaps they leave."""
        rows, waiting = self.rows, self.next_rows
        row = self.row_of_episode[self.acting]
        leaving = np.zeros(rows.count, dtype=bool)
        leaving[ended] = True
        left = leaving[row]
        used_up = self.rounds_of_episode[self.acting] <= rows.rounds[row] + 1
        some_used_up = np.bincount(row[left & used_up], minlength=rows.count) > 0
        some_go_on = np.bincount(row[left & ~used_up], minlength=rows.count) > 0
        trajectory = np.full((2, rows.count), -1, dtype=np.int64)  # of episodes with rounds left, of those without
        sources: list[int] = []
        followers: list[tuple[str, bool]] = []
        place_if_closed = np.full(rows.count, -1, dtype=np.int64)
        place_if_open = np.full(rows.count, -1, dtype=np.int64)
        for source in ended.tolist():
            observation = self._step(source)
            if observation.done:
                trajectory[:, source] = self._finish(source, observation.success, observation.failure)
                continue
            if some_used_up[source] and self.environment.close(self.tasks[int(rows.task[source])]) is None:
                trajectory[1, source] = self._finish(source, False, "timeout", rounds_after=1)
                some_used_up[source] = False
            for wanted, places, closed in ((some_used_up, place_if_closed, True), (some_go_on, place_if_open, False)):
                if wanted[source]:
                    places[source] = waiting.count + len(sources)
                    sources.append(source)
                    followers.append((observation.text, closed))
        self._continue_in(waiting, sources, followers)
        episodes = self.acting[left]
        self.trajectory_of_episode[episodes] = trajectory[used_up[left].astype(np.int64), row[left]]
        goes_on = self.trajectory_of_episode[episodes] < 0
        places = np.where(used_up[left], place_if_closed[row[left]], place_if_open[row[left]])
        self.row_of_episode[episodes[goes_on]] = places[goes_on]
        self.waiting.append(episodes[goes_on])
        self.acting = self.acting[~left]
        self._close_gaps(leaving)
        if rows.count == 0:
            self.acting, self.waiting = np.sort(np.concatenate(self.waiting)), []

    def _step(self, row: int) -> Observation:
        rows = self.rows
        start, end = int(rows.action_start[row]), int(rows.length[row])
        action = self.text.action(rows.tokens[row, start:end])
        task = self.tasks[int(rows.task[row])]
        step = self.environment.step_closed if rows.closed[row] else self.environment.step
        observation = step(task, rows.history[row], action)
        rows.history[row] += (action,)
        rows.skills[row] += (observation.skill,)
        return observation

    def _continue_in(self, waiting: HistoryRows, sources: list[int], followers: list[tuple[str, bool]]) -> None:
        """Copy the rows of unfinished episodes to the next turn and write what the environment said."""
        first = waiting.count
        self.rows.copy(np.array(sources, dtype=np.int64), waiting, first + np.arange(len(sources)))
        waiting.count += len(sources)
        last = np.arange(first, waiting.count), waiting.length[first : waiting.count] - 1
        ended = self.text.ends_turn(waiting.tokens[last]).tolist()
        for place, (text, closed) in enumerate(followers, start=first):
            message = (self._closing_message(int(waiting.task[place])) or []) if closed else []
            waiting.write_environment(place, self.text.reply(text, message, ended[place - first]))
            waiting.closed[place], waiting.lines_left[place] = closed, UNLIMITED
            waiting.rounds[place] += 1

    def _closing_message(self, task: int) -> list[int] | None:
        text = self.environment.close(self.tasks[task])
        return None if text is None else self.text.encode(text)

    def _finish(self, row: int, success: bool, failure: str, rounds_after: int = 0) -> int:
        """Keep the trajectory of the row; its place among the finished ones."""
        rows, length = self.rows, int(self.rows.length[row])
        self.finished.append(
            Trajectory(
                task=int(rows.task[row]),
                token_ids=rows.tokens[row, :length].copy(),
                from_policy=rows.from_policy[row, :length].copy(),
                log_probabilities=rows.log_probabilities[row, :length].copy(),
                entropies=rows.entropies[row, :length].copy(),
                prompt_length=int(rows.prompt_length[row]),
                rounds=int(rows.rounds[row]) + rounds_after,
                forced=bool(rows.closed[row]),
                success=success,
                skills=rows.skills[row],
                failure=failure,
                prefix_length=int(rows.prefix_length[row]),
            )
        )
        return len(self.finished) - 1

    def _close_gaps(self, leaving: np.ndarray) -> None:
        """Move the last rows into the places of those that left, so that the rows in use stay together."""
        rows = self.rows
        kept = int((~leaving).sum())
        gaps = np.flatnonzero(leaving[:kept])
        movers = kept + np.flatnonzero(~leaving[kept:])
        rows.copy(movers, rows, gaps)
        moved_to = np.arange(len(leaving))
        moved_to[movers] = gaps
        self.row_of_episode[self.acting] = moved_to[self.row_of_episode[self.acting]]
        rows.count = kept
