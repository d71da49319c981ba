"""Episodes as the columns that a trainer reads."""

from __future__ import annotations

from typing import Any

from reproduce.rollouts.episodes import EpisodeBatch


def rollout_columns(batch: EpisodeBatch) -> dict[str, list[Any]]:
    """The episodes as TRL's `rollout_func` returns them, one entry an episode in every column.

    prompt_ids, completion_ids: token ids. env_mask: 1 on every token that was sampled, 0 on what
    the environment wrote and on a prefix that was given. logprobs, entropies: nats, one a completion token, 0 on
    the environment's. success, rounds, skills (symbols of the actions)
    and failure (its kind, "" for none): what reward functions and metrics read.
    """
    episodes = [batch.trajectories[place] for place in batch.trajectory_of_episode]
    return {
        "prompt_ids": [episode.token_ids[: episode.prompt_length].tolist() for episode in episodes],
        "completion_ids": [episode.token_ids[episode.prompt_length :].tolist() for episode in episodes],
        "env_mask": [episode.sampled[episode.prompt_length :].astype(int).tolist() for episode in episodes],
        "logprobs": [episode.log_probabilities[episode.prompt_length :].tolist() for episode in episodes],
        "entropies": [episode.entropies[episode.prompt_length :].tolist() for episode in episodes],
        "success": [episode.success for episode in episodes],
        "rounds": [episode.rounds for episode in episodes],
        "skills": [list(episode.skills) for episode in episodes],
        "failure": [episode.failure for episode in episodes],
    }
