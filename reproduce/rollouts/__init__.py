"""Batched multi-turn sampling, the same for training and evaluation."""

from reproduce.rollouts.episodes import EpisodeBatch, Trajectory
from reproduce.rollouts.sampler import SamplingConfig, UniformStreams, sample_episodes

__all__ = ["EpisodeBatch", "SamplingConfig", "Trajectory", "UniformStreams", "sample_episodes"]
