"""Which engine samples the episodes of an evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reproduce.beds import load_bed
from reproduce.configuration import HorizonEvaluation, RunConfig, SamplingConfig
from reproduce.policies import load_policy
from reproduce.rollouts import EpisodeSampler, Sampler


def evaluation_sampling(config: RunConfig) -> SamplingConfig:
    """How actions are sampled in the evaluation of a run."""
    if isinstance(config.evaluation, HorizonEvaluation) and config.evaluation.temperature >= 0:
        return replace(config.sampling, temperature=config.evaluation.temperature)
    return config.sampling


def open_sampler(checkpoint: Path, config: RunConfig) -> Sampler:
    """The engine of a run's evaluation, with the policy of a checkpoint."""
    model, tokenizer = load_policy(checkpoint)
    environment = load_bed(config.environment).environment()
    return EpisodeSampler(model.eval(), tokenizer, environment, evaluation_sampling(config))
