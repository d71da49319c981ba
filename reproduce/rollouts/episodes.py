"""Where episodes begin and what sampling returns: distinct trajectories, and which of them each episode followed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trajectory:
    """One distinct history from prompt to end. Many episodes may have followed it."""

    task: int
    """Place of the task in the list that was sampled."""
    token_ids: np.ndarray
    """All tokens, prompt included, (length,) int32, exactly as sampled or written by the environment."""
    from_policy: np.ndarray
    """True where the policy sampled the token, (length,) bool; its negation is what the loss must ignore."""
    log_probabilities: np.ndarray
    """Log-probability of each sampled token at the sampling temperature, nats, (length,) float32; 0 elsewhere."""
    entropies: np.ndarray
    """Entropy of the distribution each token was sampled from, nats, (length,) float32; 0 elsewhere."""
    prompt_length: int
    """Tokens before the first action."""
    rounds: int
    """Tool rounds used."""
    forced: bool
    """Whether the answer was forced because the rounds were used up."""
    success: bool
    skills: tuple[str, ...]
    """Abstract symbol of each action."""
    failure: str = ""
    """Kind of failure, as the environment names it; `timeout` where the rounds ran out and no answer is forced."""
    prefix_length: int = 0
    """Tokens after the prompt that were given rather than sampled; 0 for an episode from the prompt. Their
    log-probabilities and entropies are those of the trajectory that they were taken from."""

    @property
    def sampled(self) -> np.ndarray:
        """True where this episode sampled the token, (length,) bool: written by the policy and not given."""
        return self.from_policy & (np.arange(len(self.token_ids)) >= self.prompt_length + self.prefix_length)

    def actions(self, length: int | None = None) -> np.ndarray:
        """First place and end of each action among the first `length` tokens, (actions, 2); the last may be unfinished.

        The environment writes at least one token between two actions.
        """
        written = np.concatenate([[False], self.from_policy[:length], [False]])
        return np.flatnonzero(written[1:] != written[:-1]).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where episodes begin: at the prompt of a task, or after the first tokens of an earlier trajectory of it.

    Raises ValueError where the given tokens do not end at a place where the policy wrote the next one, and for a limit
    below one line.
    """

    task: int
    """Place of the task in the list that is sampled."""
    trajectory: Trajectory | None = None
    length: int = 0
    """Tokens of the trajectory that are given, prompt included."""
    lines: int | None = None
    """Most lines that may follow in the action that is written first; None for no limit."""

    def __post_init__(self) -> None:
        if self.lines is not None and self.lines < 1:
            raise ValueError(f"a limit of {self.lines} lines leaves nothing to write")
        if self.trajectory is not None:
            written = self.trajectory.from_policy
            if not (0 <= self.length < len(written) and written[self.length]):
                raise ValueError(f"after {self.length} of {len(written)} tokens it was not the policy's turn")

    @property
    def rounds(self) -> int:
        """Actions finished before the beginning."""
        if self.trajectory is None:
            return 0
        return int((self.trajectory.actions()[:, 1] <= self.length).sum())

    @property
    def closed(self) -> bool:
        """Whether what comes next is a forced answer."""
        given = self.trajectory
        return given is not None and given.forced and self.rounds == len(given.skills) - 1

    @property
    def content(self) -> tuple[int, int | None, bytes, bool]:
        """Equal for beginnings whose episodes may share a row."""
        given = b"" if self.trajectory is None else self.trajectory.token_ids[: self.length].tobytes()
        return self.task, self.lines, given, self.closed


@dataclass(frozen=True)
class EpisodeBatch:
    """Episodes in the order asked for, coalesced into their distinct trajectories."""

    trajectories: tuple[Trajectory, ...]
    trajectory_of_episode: np.ndarray
    """(episodes,) int64."""
    forward_tokens: int
    """Tokens that went through the model, prompt and observations included: the work done."""
    sampled_tokens: int
    """Tokens sampled over all episodes, shared ones counted for every episode."""

    @property
    def successes(self) -> np.ndarray:
        """(episodes,) bool."""
        return np.array([trajectory.success for trajectory in self.trajectories], dtype=bool)[
            self.trajectory_of_episode
        ]
