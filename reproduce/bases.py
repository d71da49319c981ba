"""Warm-started bases: committed with the package where the configuration is the default one, else trained on the
spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from reproduce.configuration import PolicyConfig, WarmStartConfig
from reproduce.environments.retrieval.vocabulary import words
from reproduce.policies import build_tokenizer, save_policy
from reproduce.storage import digest, read_json
from reproduce.warm_start import warm_start

DESCRIPTION = "base.json"


def committed_folder(seed: int) -> Path:
    """Where the package keeps the base of a seed; the folder may not exist."""
    return Path(str(files("reproduce"))) / "bases" / "retrieval" / f"seed-{seed}"


def base_digest(policy: PolicyConfig, config: WarmStartConfig, seed: int) -> str:
    """sha256 of what determines a base."""
    return digest({"policy": asdict(policy), "warm_start": asdict(config), "seed": seed})


def is_committed(policy: PolicyConfig, config: WarmStartConfig, seed: int) -> bool:
    """Whether the package brings this base along."""
    description = committed_folder(seed) / DESCRIPTION
    return description.is_file() and read_json(description)["digest"] == base_digest(policy, config, seed)


def obtain_base(
    policy: PolicyConfig,
    config: WarmStartConfig,
    seed: int,
    destination: Path,
    report: Callable[[int, int], None],
    rebuild: bool = False,
) -> str:
    """Put the base's checkpoint into `destination`: copied if the package has it, else trained. Says which."""
    if not rebuild and is_committed(policy, config, seed):
        shutil.copytree(committed_folder(seed), destination)
        return "base that comes with the package"
    tokenizer = build_tokenizer(words())
    model = warm_start(config, policy, tokenizer, seed, lambda step, loss: report(step, config.steps))
    save_policy(model, tokenizer, destination)
    return "base warm-started here"


def describe_base(policy: PolicyConfig, config: WarmStartConfig, seed: int, measured: dict[str, Any]) -> dict[str, Any]:
    """The content of `base.json`: what determines the base and what was measured of it."""
    return {
        "digest": base_digest(policy, config, seed),
        "policy": asdict(policy),
        "warm_start": asdict(config),
        "seed": seed,
        "measured": measured,
    }
