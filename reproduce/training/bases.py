"""Warm-started bases: committed with the package where the configuration is the default one, else trained on the
spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reproduce.core.config import PolicyConfig
from reproduce.core.hashes import check_files, describe_files, read_sealed
from reproduce.environments.bases import (
    DESCRIPTION,
    StartConfig,
    base_digest,
    committed_folder,
    determinants,
    is_committed,
)
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
        check_committed(committed_folder(seed, environment))
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
    policy: PolicyConfig,
    config: StartConfig,
    seed: int,
    measured: dict[str, Any],
    folder: Path,
    environment: str = "retrieval",
) -> dict[str, Any]:
    """The content of `base.json`: configuration and measurements of the base, and sha256 of each file in its folder."""
    digest_of_base = base_digest(policy, config, seed, environment)
    determined = determinants(environment, policy, config, seed)
    files = describe_files(folder, [DESCRIPTION])
    return {"digest": digest_of_base, **determined, "measured": measured, "files": files}


def check_committed(folder: Path) -> int:
    """Hold the files of a base that comes with the package against its `base.json`; returns how many there are.

    Raises UserError where one has changed.
    """
    described = read_sealed(folder / DESCRIPTION)["files"]
    return check_files(folder, described, remedy="install the package again")
