"""Which engine samples the episodes of an evaluation."""

from __future__ import annotations

from pathlib import Path

from reproduce.core.config import VLLM, RunConfig
from reproduce.rollouts import EpisodeSampler, Sampler
from reproduce.rollouts.formats import evaluation_sampling, open_episodes
from reproduce.rollouts.models import end_tokens, follow_reference
from reproduce.rollouts.policies import load_policy


def open_sampler(checkpoint: Path, config: RunConfig) -> Sampler:
    """The engine of a run's evaluation, with the policy of a checkpoint.

    Raises UserError for a device, an engine or a format that is not there.
    """
    if config.hardware.engine == VLLM:
        from reproduce.rollouts.vllm_engine import open_vllm

        return open_vllm(checkpoint, config)
    model, tokenizer = load_policy(checkpoint, config.hardware.device, config.model.precision, merged=False)
    environment, text = open_episodes(config, tokenizer, end_tokens(follow_reference(checkpoint)))
    return EpisodeSampler(model.eval(), tokenizer, environment, evaluation_sampling(config), text)
