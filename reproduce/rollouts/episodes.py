"""What sampling returns: distinct trajectories, and which of them each episode followed."""

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
