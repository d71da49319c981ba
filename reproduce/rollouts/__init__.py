"""Batched multi-turn sampling, the same for training and evaluation."""

from reproduce.configuration import SamplingConfig
from reproduce.rollouts.episodes import EpisodeBatch, Trajectory
from reproduce.rollouts.sampler import EpisodeSampler, UniformStreams, rollout_columns

__all__ = ["EpisodeBatch", "EpisodeSampler", "SamplingConfig", "Trajectory", "UniformStreams", "rollout_columns"]
