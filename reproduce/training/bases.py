"""Warm-started bases: committed with the package where the configuration is the default one, else trained on the
spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reproduce.core.config import PolicyConfig
from reproduce.environments.bases import StartConfig, base_digest, committed_folder, determinants, is_committed
from reproduce.environments.beds import load_bed
from reproduce.rollouts.policies import build_tokenizer, check_device, save_policy
from reproduce.training.warm_start import warm_start


def obtain_base(
    environment: str,
    policy: PolicyConfig,
    config: StartConfig,
    seed: int,
    destination: Path,
    report: Callable[[int, int], None],
    rebuild: bool = False,
    device: str = "cpu",
    state: Path | None = None,
) -> str:
    """Put the base's checkpoint into `destination`: copied if the package has it, else trained. Says which.

    device: where it is trained. A base trained on a GPU differs from one trained on a CPU in its last bits. state: the
    file that `warm_start` continues from. Raises UserError where the device is not there.
    """
    if not rebuild and is_committed(policy, config, seed, environment):
        shutil.copytree(committed_folder(seed, environment), destination)
        return "base that comes with the package"
    check_device(device)
    bed = load_bed(environment)
    tokenizer = build_tokenizer(bed.words())
    model = warm_start(
        bed.batches(config, seed),
        config.steps,
        config.learning_rate,
        policy,
        tokenizer,
        seed,
        lambda step, loss: report(step, config.steps),
        device,
        state,
    )
    save_policy(model.to(getattr(torch, bed.STORED_AS)), tokenizer, destination)
    return "base warm-started here"


def describe_base(
    policy: PolicyConfig, config: StartConfig, seed: int, measured: dict[str, Any], environment: str = "retrieval"
) -> dict[str, Any]:
    """The content of `base.json`: what determines the base and what was measured of it."""
    digest_of_base = base_digest(policy, config, seed, environment)
    return {"digest": digest_of_base, **determinants(environment, policy, config, seed), "measured": measured}
