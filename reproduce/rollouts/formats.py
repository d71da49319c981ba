"""Text formats of episodes: their sampling settings and their opening."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from reproduce.core.config import HorizonEvaluation, RunConfig, SamplingConfig
from reproduce.environments.beds import load_bed
from reproduce.rollouts import EpisodeText, open_text


def evaluation_sampling(config: RunConfig) -> SamplingConfig:
    """How actions are sampled in the evaluation of a run."""
    if isinstance(config.evaluation, HorizonEvaluation) and config.evaluation.temperature >= 0:
        return replace(config.sampling, temperature=config.evaluation.temperature)
    return config.sampling


SEVERAL_LINES = ("reasoning",)
"""Environments whose actions have several lines."""


def open_episodes(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, ends: tuple[int, ...] = ()
) -> tuple[Any, EpisodeText]:
    """The environment of a run, and the format in which the policy with this tokenizer reads its episodes.

    A policy made here reads few words and needs no instructions; any other reads the environment's own texts. ends:
    `end_tokens` of its model. Raises UserError for a format that the tokenizer does not offer.
    """
    bed = load_bed(config.environment)
    several_lines = config.environment in SEVERAL_LINES
    text = open_text(tokenizer, config.model.format, bed.INSTRUCTIONS, ends, several_lines)
    return bed.environment(config.panels, text.full_texts), text
