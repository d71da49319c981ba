"""Decide whether a training runs in processes of its own, and with which settings of accelerate."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from reproduce.core.config import TRANSFORMERS, VLLM, RunConfig
from reproduce.core.files import UserError

PACKAGED = Path(__file__).parent / "accelerate"
"""Folder of the package's own files of settings for accelerate."""


def in_processes(config: RunConfig) -> bool:
    """Whether training has processes of its own: several, or one beside vLLM, which needs the GPU's memory after it."""
    hardware = config.hardware
    beside_vllm = hardware.training_engine != TRANSFORMERS or hardware.engine == VLLM
    return by_accelerate(config) or (hardware.device.startswith("cuda") and beside_vllm)


def by_accelerate(config: RunConfig) -> bool:
    """Whether accelerate starts the training."""
    return config.hardware.processes > 1 or bool(config.hardware.accelerate_config)


def accelerate_settings(name: str) -> Path:
    """The file of settings: one of the package's own by its name, or a path; empty: plain data parallelism.

    Raises UserError where there is none, where it is not one of accelerate's, and where it needs what is missing.
    """
    path = PACKAGED / f"{name or 'processes'}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        own = ", ".join(sorted(one.stem for one in PACKAGED.glob("*.yaml")))
        raise UserError(f"hardware.accelerate_config={name}: no such file, nor one of the package's own: {own}")
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        settings = load_config_from_file(str(path))
    except Exception as error:  # Its YAML reader has errors of its own, and wrong types fail anywhere.
        # Of a file without names it says which attribute its own code misses.
        told = (str(error).splitlines() or [""])[0]
        reason = "it holds no names with values" if isinstance(error, AttributeError) or not told else told[:200]
        raise UserError(f"{path}: no settings for accelerate launch ({reason})") from None
    if str(settings.distributed_type).endswith("DEEPSPEED") and importlib.util.find_spec("deepspeed") is None:
        raise UserError(f"hardware.accelerate_config={name} needs deepspeed: pip install 'rl-claims[deepspeed]'")
    return path.resolve()


def shards_weights(name: str) -> bool:
    """Whether the settings spread the weights so that no process holds all of them while it samples."""
    from accelerate.commands.config.config_args import load_config_from_file

    return bool(name) and str(load_config_from_file(str(accelerate_settings(name))).distributed_type).endswith("FSDP")
