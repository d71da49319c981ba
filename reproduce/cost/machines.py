"""GPUs as an estimate of cost needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """Peak rates and memory of one GPU, or of one core."""

    name: str
    memory: float
    """Bytes."""
    operations: float
    """Floating-point operations a second: bfloat16, dense, with tensor cores."""
    bandwidth: float
    """Bytes a second from memory."""


# Vendor's data sheets: NVIDIA A100 (2021), H100 and H200 (2023, SXM, without sparsity), RTX 6000 Ada and L40S (2023,
# half of the rates printed with sparsity).
GPUS = {
    machine.name: machine
    for machine in (
        Machine("A100 40GB", 40e9, 312e12, 1.555e12),
        Machine("A100 80GB", 80e9, 312e12, 2.039e12),
        Machine("H100 80GB", 80e9, 989e12, 3.35e12),
        Machine("H200 141GB", 141e9, 989e12, 4.8e12),
        Machine("RTX 6000 Ada 48GB", 48e9, 364e12, 0.96e12),
        Machine("L40S 48GB", 48e9, 362e12, 0.864e12),
    )
}
CORE = Machine("one core", 8e9, 3.3e11, 1e10)
"""Of a CPU, in float32: what makes the estimate right within a factor of two for SmolLM2-135M on one core of an AMD
EPYC with AVX-512, which trained 120 to 154 tokens and sampled 240 to 274 (in batches of 64 and more) a second of
processor time. Ours."""


def machine_of(device: str, memory: float) -> Machine | None:
    """The entry of a GPU by the name that CUDA gives it, such as `NVIDIA H100 80GB HBM3`, and its bytes of memory;
    None for one that is not in the table."""
    words = device.upper().replace("-", " ").split()
    fitting = [machine for machine in GPUS.values() if all(word in words for word in _series(machine))]
    return min(fitting, key=lambda machine: abs(machine.memory - memory), default=None)


def _series(machine: Machine) -> list[str]:
    """A GPU's name without its memory: H100, or RTX 6000 ADA."""
    return machine.name.upper().split()[:-1]


def machine_for(config: Any) -> Machine:
    """The machine that runs are estimated for: a core where the device is the CPU, else the GPU that is here, else an
    H100."""
    if config.hardware.device == "cpu":
        return CORE
    import torch

    if torch.cuda.is_available():
        memory = float(torch.cuda.get_device_properties(0).total_memory)
        if (found := machine_of(torch.cuda.get_device_name(0), memory)) is not None:
            return found
    return GPUS["H100 80GB"]
