"""Batched multi-turn sampling, the same for training and evaluation."""

from reproduce.configuration import SamplingConfig
from reproduce.rollouts.columns import rollout_columns
from reproduce.rollouts.episodes import Beginning, EpisodeBatch, Trajectory
from reproduce.rollouts.protocol import Sampler
from reproduce.rollouts.sampler import EpisodeSampler
from reproduce.rollouts.streams import UniformStreams, stream_length

__all__ = [
    "Beginning",
    "EpisodeBatch",
    "EpisodeSampler",
    "Sampler",
    "SamplingConfig",
    "Trajectory",
    "UniformStreams",
    "rollout_columns",
    "stream_length",
]
