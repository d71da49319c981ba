"""Committed bases: what determines a warm-started policy, its digest and its folder."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from reproduce.core.config import DemonstrationConfig, PolicyConfig, WarmStartConfig
from reproduce.core.files import UserError, digest, read_json
from reproduce.environments.beds import load_bed

DESCRIPTION = "base.json"


StartConfig = WarmStartConfig | DemonstrationConfig


def committed_folder(seed: int, environment: str = "retrieval") -> Path:
    """Folder of the package for the base of a seed; it may not exist."""
    return Path(str(files("reproduce"))) / "bases" / environment / f"seed-{seed}"


def determinants(environment: str, policy: PolicyConfig, config: StartConfig, seed: int) -> dict[str, Any]:
    """Everything that determines a base."""
    bed = load_bed(environment).description(config)
    return {"policy": asdict(policy), "warm_start": asdict(config), "seed": seed, **bed}


def base_digest(policy: PolicyConfig, config: StartConfig, seed: int, environment: str = "retrieval") -> str:
    """sha256 of what determines a base."""
    return digest(determinants(environment, policy, config, seed))


def is_committed(policy: PolicyConfig, config: StartConfig, seed: int, environment: str = "retrieval") -> bool:
    """True where the package brings this base along. Raises UserError for a damaged description."""
    description = committed_folder(seed, environment) / DESCRIPTION
    wanted = base_digest(policy, config, seed, environment)
    if not description.is_file():
        return False
    try:
        found = read_json(description)
        return bool(found["digest"] == wanted and found["files"])
    except (KeyError, TypeError):
        raise UserError(f"{description}: damaged (no digest and files); install the package again") from None
