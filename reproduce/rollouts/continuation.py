"""Chains for the methods with resets (`methods.resets`): each is an episode, each prefix that of an earlier one.

Token ids are kept from one episode to the next, never read back from text. Keys and values are not: a prefix goes
through the model once a call, however many chains continue it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import numpy as np

from methods.reset_buffer import Chain, Request
from reproduce.rollouts.episodes import Beginning, Trajectory
from reproduce.rollouts.lines import breaks
from reproduce.rollouts.protocol import Sampler
from reproduce.rollouts.sampler import EpisodeSampler, TaskType
from reproduce.rollouts.streams import UniformStreams, stream_length


class EpisodeChains(Generic[TaskType]):
    """A `Sampler` of `methods.reset_buffer`: from requests to chains, with the episodes it gave since `begin`.

    A step of a chain is an action with what the environment wrote after it; with `line_break`, the text that ends a
    line, it is a line of the only action, blank lines belonging to the step before them. `Request.steps` limits the
    actions, the forced one included, or the lines. Reward and `correct` are the success of the episode.
    """

    def __init__(
        self, sampler: EpisodeSampler[TaskType] | Sampler, tasks: Sequence[TaskType], line_break: str | None = None
    ) -> None:
        """Raises ValueError for two tasks of one prompt, an unknown line break, and lines of more than one action."""
        self.sampler, self.tasks = sampler, tasks
        self.forced_answer = any(sampler.environment.close(task) is not None for task in tasks)
        self.by_lines = line_break is not None
        self.line_break = -1 if line_break is None else sampler.text.line_break(line_break)
        if self.by_lines and self.forced_answer:
            raise ValueError("lines are steps of a single action, but the environment may ask for a second, forced one")
        self.task_of_prompt = {tuple(sampler.prompt_ids(task)): place for place, task in enumerate(tasks)}
        if len(self.task_of_prompt) < len(tasks):
            raise ValueError("two tasks have the same prompt, so a prefix does not tell which it belongs to")
        self.begin("")

    def begin(self, name: str) -> None:
        """Forget the episodes so far; the chains of the next calls are drawn from streams of this name."""
        self.name, self.calls = name, 0
        self.held: dict[int, list[Trajectory]] = {}

    def task_of(self, prompt_ids: Sequence[int]) -> TaskType:
        """The task with these prompt tokens; raises ValueError where there is none."""
        return self.tasks[self._place(prompt_ids)]

    def steps_of(self, chain: Chain) -> tuple[str, ...]:
        """Text of each step, without the line break and the end of the action."""
        ids = np.array(chain.token_ids, dtype=np.int64)
        kept = ~(self.sampler.text.closes(ids) | breaks(ids, self.line_break)[1])
        bounds = zip((0, *chain.step_ends), chain.step_ends, strict=False)
        steps = (ids[start:end][kept[start:end]].tolist() for start, end in bounds)
        texts = (self.sampler.tokenizer.decode(step, skip_special_tokens=False) for step in steps)
        return tuple(text.strip() for text in texts)

    def __call__(self, requests: Sequence[Request]) -> list[Chain]:
        """One chain a request. Raises ValueError for a prefix that no episode since `begin` has."""
        if not requests:
            return []
        beginnings: list[Beginning] = []
        place_of: dict[tuple[int, tuple[int, ...], int], int] = {}
        beginning_of_episode = []
        for request in requests:
            key = (self._place(request.prompt_ids), request.prefix_ids, request.steps)
            if key not in place_of:
                place_of[key] = len(beginnings)
                beginnings.append(self._beginning(*key))
            beginning_of_episode.append(place_of[key])
        rounds = [
            self._rounds(beginnings[place], request.steps)
            for place, request in zip(beginning_of_episode, requests, strict=True)
        ]
        streams = self._streams(requests, max(rounds))
        batch = self.sampler.sample_from(
            self.tasks,
            beginnings,
            beginning_of_episode,
            rounds,
            range(len(requests)),
            streams,
            line_break=self.line_break,
        )
        for trajectory in batch.trajectories:
            self.held.setdefault(trajectory.task, []).append(trajectory)
        # A chain of its own for each episode: the buffer tells chains apart by identity.
        return [self._chain(batch.trajectories[place]) for place in batch.trajectory_of_episode]

    def _place(self, prompt_ids: Sequence[int]) -> int:
        place = self.task_of_prompt.get(tuple(prompt_ids))
        if place is None:
            raise ValueError(f"no task has this prompt of {len(prompt_ids)} tokens")
        return place

    def _beginning(self, task: int, prefix: tuple[int, ...], steps: int) -> Beginning:
        lines = steps if self.by_lines else None
        if not prefix:
            return Beginning(task, lines=lines)
        for trajectory in self.held.get(task, ()):
            start, end = trajectory.prompt_length, trajectory.prompt_length + len(prefix)
            if end < len(trajectory.token_ids) and tuple(trajectory.token_ids[start:end].tolist()) == prefix:
                return Beginning(task, trajectory, end, lines)
        raise ValueError(f"no earlier episode of task {task} goes on after these {len(prefix)} tokens")

    def _rounds(self, beginning: Beginning, steps: int) -> int:
        """Cap T that leaves so many actions, the forced one included."""
        if self.by_lines:
            return 1
        return beginning.rounds if beginning.closed else beginning.rounds + steps - self.forced_answer

    def _streams(self, requests: Sequence[Request], rounds: int) -> UniformStreams:
        """A stream for each (call, prompt, draw), in the order of the requests, so that no two chains share one.

        A second call may count prompts and draws anew, as localization by resampling does.
        """
        names = tuple(f"{self.name} call {self.calls} prompt {one.place} draw {one.draw}" for one in requests)
        self.calls += 1
        return UniformStreams(names, 1, stream_length(rounds, self.sampler.config.longest_action))

    def _chain(self, trajectory: Trajectory) -> Chain:
        own = slice(trajectory.prompt_length, None)
        return Chain(
            token_ids=tuple(trajectory.token_ids[own].tolist()),
            step_ends=self._line_ends(trajectory) if self.by_lines else self._action_ends(trajectory),
            reward=float(trajectory.success),
            correct=trajectory.success,
            from_policy=tuple(trajectory.from_policy[own].tolist()),
            log_probabilities=tuple(trajectory.log_probabilities[own].tolist()),
            entropies=tuple(trajectory.entropies[own].tolist()),
            columns={
                "success": trajectory.success,
                "rounds": trajectory.rounds,
                "skills": list(trajectory.skills),
                "failure": trajectory.failure,
            },
        )

    def _action_ends(self, trajectory: Trajectory) -> tuple[int, ...]:
        starts = trajectory.actions()[1:, 0] - trajectory.prompt_length
        return (*starts.tolist(), len(trajectory.token_ids) - trajectory.prompt_length)

    def _line_ends(self, trajectory: Trajectory) -> tuple[int, ...]:
        """A line with a word on it begins a step, which lasts to where the next one begins; none without any word."""
        ids = trajectory.token_ids[trajectory.prompt_length :]
        ends_line, blank = breaks(ids, self.line_break)
        worded = ~blank & ~self.sampler.text.closes(ids)
        # A break belongs to the line that it ends.
        line = np.cumsum(ends_line) - ends_line
        _, first_words = np.unique(line[worded], return_index=True)
        starts = np.flatnonzero(worded)[first_words][1:]
        return (*starts.tolist(), len(ids)) if worded.any() else ()
