"""Any of our environments as TRL's `environment_factory` wants it: one tool, `act`, and a reward.

    tasks = build_panels(...)["train"].tasks
    trainer = GRPOTrainer(
        ...,
        train_dataset=Dataset.from_list(dataset_rows(environment, tasks)),
        environment_factory=lambda: EpisodeTools(environment, tasks, rounds=5),
    )

The model's tool calls are the actions, TRL's `max_tool_calling_iterations` must be at least `rounds` (one more where a
forced answer follows), and the reward is 1 for an episode that succeeded. The prompt never shows `rounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from reproduce.environments.protocol import Environment, Observation, Task

TaskType = TypeVar("TaskType", bound=Task)
OVER = "the episode is over"


def dataset_rows(environment: Environment[TaskType], tasks: Sequence[TaskType]) -> list[dict[str, Any]]:
    """One row a task, for `datasets.Dataset.from_list`: a conversational prompt, and the place of the task."""
    return [
        {"prompt": [{"role": "user", "content": environment.reset(task)}], "place": place}
        for place, task in enumerate(tasks)
    ]


class EpisodeTools(Generic[TaskType]):
    """One episode at a time. TRL pools and reuses instances; `reset` begins anew."""

    def __init__(self, environment: Environment[TaskType], tasks: Sequence[TaskType], rounds: int) -> None:
        """rounds: cap T on actions, at least 1; a forced answer, where the environment asks for one, comes on top."""
        if rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {rounds}")
        self._environment, self._tasks, self._rounds = environment, tasks, rounds

    def reset(self, place: int, **row: Any) -> None:
        """Begin the task at this place of the list; the prompt of the row already shows it."""
        self._task, self._history, self._ending = self._tasks[place], tuple[str, ...](), None

    def act(self, action: str) -> str:
        """
        Carry out one action.

        Args:
            action: The action, in the words of the environment.

        Returns:
            What happened.
        """
        if self._ending is not None:
            return OVER
        used_up = len(self._history) == self._rounds
        step = self._environment.step_closed if used_up else self._environment.step
        observation = step(self._task, self._history, action)
        self._history += (action,)
        if observation.done:
            self._ending = observation
            return observation.text or OVER
        if len(self._history) < self._rounds:
            return observation.text
        closing = self._environment.close(self._task)
        if closing is None:
            self._ending = Observation(observation.text, True, False, observation.skill, "timeout")
            return observation.text
        return f"{observation.text} {closing}"

    def get_reward(self) -> float:
        """1 if the episode succeeded, else 0; an episode that was not brought to an end counts as failed."""
        return float(self._ending is not None and self._ending.success)

    _task: TaskType
    _history: tuple[str, ...]
    _ending: Observation | None
