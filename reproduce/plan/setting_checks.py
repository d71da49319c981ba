"""Settings of model and hardware, alike in every paper: names there are, numbers in their range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from reproduce.core.config import (
    AUTO,
    CHAT,
    COLOCATE,
    SERVER,
    TEXT,
    TRANSFORMERS,
    VLLM,
    WORDS,
    BedConfig,
    SamplingConfig,
    TrainingConfig,
)
from reproduce.core.files import UserError
from reproduce.core.names import nearest

CHOICES = {
    "model.format": (AUTO, WORDS, CHAT, TEXT),
    "model.precision": ("float32", "bfloat16"),
    "hardware.device": ("cpu", "cuda"),
    "hardware.engine": (TRANSFORMERS, VLLM),
    "hardware.training_engine": (TRANSFORMERS, COLOCATE, SERVER),
}
OTHER_NAMES = {"gpu": "cuda", "fp32": "float32", "bf16": "bfloat16"}
FEWEST = {"model.lora_rank": 0, "model.lora_alpha": 1, "hardware.processes": 1, "hardware.rows_at_once": 0}


def check_settings(config: Any) -> None:
    """Refuse fields of `model`, `hardware` and of sampling and training that no run could be made with.

    config: of a paper. Raises UserError in one line.
    """
    for path, choices in CHOICES.items():
        value = _value(config, path)
        if value not in choices:
            raise UserError(f"--set {path}={value}: {nearest(OTHER_NAMES.get(value, value), choices)}")
    for path, fewest in FEWEST.items():
        if _value(config, path) < fewest:
            raise UserError(f"--set {path}={_value(config, path)}: must be at least {fewest}")
    hardware, model = config.hardware, config.model
    if not (math.isfinite(hardware.agreement) and hardware.agreement > 0):
        raise UserError(f"--set hardware.agreement={hardware.agreement}: must be a finite number above 0")
    if not 0 < hardware.vllm_memory < 1:
        raise UserError(f"--set hardware.vllm_memory={hardware.vllm_memory}: a share of a GPU, above 0 and below 1")
    if hardware.training_engine == SERVER and not hardware.vllm_server.startswith(("http://", "https://")):
        raise UserError(f"--set hardware.vllm_server={hardware.vllm_server}: must begin with http:// or https://")
    if not model.name and model.format == TEXT:
        raise UserError("--set model.format=text: policies made here read words; leave it out or name a model")
    for prefix, part in _parts(config):
        if isinstance(part, SamplingConfig) and not 0 < part.top_p <= 1:
            raise UserError(f"--set {prefix}.top_p={part.top_p}: must be above 0 and at most 1")
        if isinstance(part, TrainingConfig) and not 0 <= part.kl_coefficient < math.inf:
            raise UserError(f"--set {prefix}.kl_coefficient={part.kl_coefficient}: must be finite and not negative")


def _value(config: Any, path: str) -> Any:
    part, name = path.split(".")
    return getattr(getattr(config, part), name)


def _parts(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a configuration with their names, those of each environment included."""
    for item in fields(config):
        value, name = getattr(config, item.name), f"{prefix}{item.name}"
        if isinstance(value, BedConfig):
            yield from _parts(value, f"{name}.")
        else:
            yield name, value
