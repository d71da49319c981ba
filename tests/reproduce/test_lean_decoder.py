"""The forward pass of small decoders samples the episodes of the model's own, on the base of every bed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import reproduce.rollouts.sampler as sampler_module
from reproduce.core.config import RunConfig
from reproduce.environments.bases import committed_folder
from reproduce.environments.beds import load_bed
from reproduce.plan.open import open_experiment
from reproduce.rollouts import Beginning, EpisodeBatch, EpisodeSampler, UniformStreams, stream_length
from reproduce.rollouts.formats import open_episodes
from reproduce.rollouts.lean_decoder import LeanDecoder, is_small_decoder
from reproduce.rollouts.policies import load_policy

BEDS = {"retrieval": "pass_kt", "countdown": "reuserl", "cooking": "reuserl", "reasoning": "echorl"}
TASKS, SAMPLES = 5, 8


def laptop_run(environment: str) -> RunConfig:
    plan = open_experiment(BEDS[environment], "laptop", (), committed_folder(0)).plan
    return next(run for run in plan if run.environment == environment and run.training)


def sampler_of(run: RunConfig) -> EpisodeSampler[Any]:
    model, tokenizer = load_policy(committed_folder(0, run.environment))
    environment, text = open_episodes(run, tokenizer)
    return EpisodeSampler(model.eval(), tokenizer, environment, run.sampling, text)


def episodes(run: RunConfig, sampler: EpisodeSampler[Any], tasks: Any, coalesce: bool) -> list[EpisodeBatch]:
    """Episodes from the prompts, and others continued from the middle of the longest of them."""
    rounds, count = run.training.rounds, len(tasks) * SAMPLES
    streams = UniformStreams(("lean",), count, 2 * stream_length(rounds, run.sampling.longest_action))
    task = np.repeat(np.arange(len(tasks)), SAMPLES)
    batch = sampler.sample(tasks, task, np.full(count, rounds), range(count), streams, coalesce)
    longest = max(batch.trajectories, key=lambda one: (int(one.from_policy.sum()), one.token_ids.tobytes()))
    own = np.flatnonzero(longest.from_policy)
    beginning = Beginning(longest.task, longest, int(own[len(own) // 2]))
    again = sampler.sample_from(tasks, [beginning], [0] * 12, [rounds + 1] * 12, range(12), streams, coalesce)
    return [batch, again]


@pytest.mark.parametrize("environment", BEDS)
def test_every_bed_is_sampled_token_for_token(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if environment == "cooking":
        pytest.importorskip("jericho")
    run = laptop_run(environment)
    tasks, sampler = load_bed(environment).panels(run.panels)["train"].tasks[:TASKS], sampler_of(run)
    assert is_small_decoder(sampler.model)
    found = [episodes(run, sampler, tasks, coalesce) for coalesce in (True, False)]
    monkeypatch.setattr(sampler_module, "is_small_decoder", lambda model: False)
    expected = episodes(run, sampler, tasks, True)
    for batches in found:
        for batch, wanted in zip(batches, expected, strict=True):
            pairs = zip(batch.trajectory_of_episode, wanted.trajectory_of_episode, strict=True)
            for one, other in ((batch.trajectories[a], wanted.trajectories[b]) for a, b in pairs):
                assert one.token_ids.tobytes() == other.token_ids.tobytes()
                assert one.skills == other.skills and one.success == other.success
                np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-4)
                np.testing.assert_allclose(one.entropies, other.entropies, atol=1e-4)
    assert len(expected[0].trajectories) > TASKS


def adapted(model: Any) -> None:
    layer = model.model.layers[0].mlp
    layer.up_proj = nn.Sequential(layer.up_proj)


CHANGES: dict[str, Callable[[Any], object]] = {
    "precision": lambda model: model.to(torch.bfloat16),
    "hook": lambda model: model.model.norm.register_forward_hook(lambda *_: None),
    "adapter": adapted,
    "another forward pass": lambda model: setattr(model, "forward", lambda **_: None),
    "rotation": lambda model: model.config.rope_parameters.update(rope_type="linear"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_it_another_model_keeps_its_own_forward_pass(change: str) -> None:
    model = load_policy(committed_folder(0))[0]
    LeanDecoder(model)
    CHANGES[change](model)
    assert not is_small_decoder(model)
    with pytest.raises(ValueError, match="forward pass of its own"):
        LeanDecoder(model)
