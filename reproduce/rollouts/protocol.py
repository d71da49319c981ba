"""What every engine that samples episodes offers; `open_sampler` of `reproduce.rollouts.opening` chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from reproduce.core.config import SamplingConfig
from reproduce.rollouts.episodes import Beginning, EpisodeBatch
from reproduce.rollouts.lines import LineBreak
from reproduce.rollouts.streams import UniformStreams
from reproduce.rollouts.text import EpisodeText


class Sampler(Protocol):
    """Samples episodes of one policy in one environment. `reproduce.rollouts.sampler` says what the arguments mean."""

    tokenizer: PreTrainedTokenizerBase
    environment: Any
    config: SamplingConfig
    text: EpisodeText
    limit: int
    """Positions that an episode may fill."""

    def sample(
        self,
        tasks: Sequence[Any],
        task_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
    ) -> EpisodeBatch:
        """One episode for each entry of the three (episodes,) columns."""
        ...

    def sample_from(
        self,
        tasks: Sequence[Any],
        beginnings: Sequence[Beginning],
        beginning_of_episode: Sequence[int] | np.ndarray,
        rounds_of_episode: Sequence[int] | np.ndarray,
        stream_of_episode: Sequence[int] | np.ndarray,
        streams: UniformStreams,
        *,
        line_break: int | LineBreak = -1,
    ) -> EpisodeBatch:
        """As `sample`, each episode from the beginning that its column names."""
        ...

    def prompt_ids(self, task: Any) -> list[int]:
        """The tokens that an episode of the task begins with, up to the policy's turn."""
        ...
