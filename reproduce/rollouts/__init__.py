"""Batched multi-turn sampling, the same for training and evaluation.

What is named here is loaded when it is asked for: most of it needs torch, which a plan does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reproduce.core.config import SamplingConfig
    from reproduce.rollouts.columns import rollout_columns
    from reproduce.rollouts.episodes import Beginning, EpisodeBatch, Trajectory
    from reproduce.rollouts.protocol import Sampler
    from reproduce.rollouts.sampler import EpisodeSampler
    from reproduce.rollouts.streams import UniformStreams, stream_length
    from reproduce.rollouts.text import EpisodeText, open_text

__all__ = [
    "Beginning",
    "EpisodeBatch",
    "EpisodeSampler",
    "EpisodeText",
    "Sampler",
    "SamplingConfig",
    "Trajectory",
    "UniformStreams",
    "open_text",
    "rollout_columns",
    "stream_length",
]

_HOME = {
    "SamplingConfig": "reproduce.core.config",
    "rollout_columns": "reproduce.rollouts.columns",
    "Beginning": "reproduce.rollouts.episodes",
    "EpisodeBatch": "reproduce.rollouts.episodes",
    "Trajectory": "reproduce.rollouts.episodes",
    "Sampler": "reproduce.rollouts.protocol",
    "EpisodeSampler": "reproduce.rollouts.sampler",
    "UniformStreams": "reproduce.rollouts.streams",
    "stream_length": "reproduce.rollouts.streams",
    "EpisodeText": "reproduce.rollouts.text",
    "open_text": "reproduce.rollouts.text",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
