"""The machine that a run is estimated for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reproduce.cost.machines import CORE, GPUS, Machine, machine_of

if TYPE_CHECKING:
    pass


def machine_for(config: Any) -> Machine:
    """The GPU here, else the paper's, else the CPU's core where the device is the CPU."""
    if config.hardware.device == "cpu":
        return CORE
    import torch

    if torch.cuda.is_available():
        memory = float(torch.cuda.get_device_properties(0).total_memory)
        if (found := machine_of(torch.cuda.get_device_name(0), memory)) is not None:
            return found
    return GPUS["H100 80GB"]
