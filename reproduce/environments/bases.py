"""Committed bases: what determines a warm-started policy, its digest and its folder."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from reproduce.core.config import DemonstrationConfig, PolicyConfig, WarmStartConfig
from reproduce.core.files import digest, read_json
from reproduce.environments.beds import load_bed

DESCRIPTION = "base.json"


StartConfig = WarmStartConfig | DemonstrationConfig


def committed_folder(seed: int, environment: str = "retrieval") -> Path:
    """Where the package keeps the base of a seed; the folder may not exist."""
    return Path(str(files("reproduce"))) / "bases" / environment / f"seed-{seed}"


def determinants(environment: str, policy: PolicyConfig, config: StartConfig, seed: int) -> dict[str, Any]:
    """Everything that determines a base."""
    bed = load_bed(environment).description(config)
    return {"policy": asdict(policy), "warm_start": asdict(config), "seed": seed, **bed}


def base_digest(policy: PolicyConfig, config: StartConfig, seed: int, environment: str = "retrieval") -> str:
    """sha256 of what determines a base."""
    return digest(determinants(environment, policy, config, seed))


def is_committed(policy: PolicyConfig, config: StartConfig, seed: int, environment: str = "retrieval") -> bool:
    """Whether the package brings this base along."""
    description = committed_folder(seed, environment) / DESCRIPTION
    wanted = base_digest(policy, config, seed, environment)
    return description.is_file() and read_json(description)["digest"] == wanted
