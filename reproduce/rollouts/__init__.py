"""Batched multi-turn sampling, the same for training and evaluation."""

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
