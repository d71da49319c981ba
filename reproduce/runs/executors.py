"""Executors of the runs of a plan: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reproduce.core.config import COLOCATE, VLLM
from reproduce.core.files import UserError
from reproduce.core.machine import available_cores
from reproduce.runs.schedule import Job, carry_out

if TYPE_CHECKING:
    from reproduce.core.config import HardwareConfig
    from reproduce.runs.ray_executor import RayOptions

LOCAL, RAY = "local", "ray"

CarryOut = Callable[[Sequence[Job]], None]
"""Carries out jobs to their end, or to that of the slice."""


@dataclass(frozen=True)
class Executor:
    """Opens to a function that carries out jobs; raises UserError there, before anything has been touched."""

    open: Callable[[], AbstractContextManager[CarryOut]]
    here: bool = True
    """True where the runs have the devices of this machine."""
    at_once: int = 0
    """Most runs that go at one time; 0: not known here."""


def local_executor(workers: int | None, hardware: HardwareConfig, threads: int, console: Console) -> Executor:
    """Processes of this machine, `workers` at a time; None: one a core, or one for the GPUs of a run where it uses
    GPUs. Then each worker has its own; more workers share them."""

    devices = shares_of_gpus(visible_gpus(), hardware.processes) if hardware.device == "cuda" else []
    count = workers or len(devices) or available_cores()

    @contextmanager
    def opened() -> Iterator[CarryOut]:
        if devices and count > len(devices) and shares_no_gpu(hardware):
            raise UserError(
                f"--workers {count}: vLLM takes a fixed share of a GPU's memory, so runs cannot share GPUs, and there "
                f"are enough for {len(devices)} at a time; leave out --workers"
            )
        yield lambda jobs: carry_out(jobs, count, threads, console, devices)

    return Executor(opened, at_once=count)


def shares_no_gpu(hardware: HardwareConfig) -> bool:
    """True where a run needs its GPUs for itself, because vLLM is on them."""
    return hardware.device == "cuda" and (hardware.engine == VLLM or hardware.training_engine == COLOCATE)


def visible_gpus() -> list[str]:
    """The GPUs of this machine that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(place) for place in range(torch.cuda.device_count())]


def shares_of_gpus(gpus: Sequence[str], processes: int) -> list[str]:
    """These GPUs in parts of `processes` each, what is over left out; all in one part where there are fewer."""
    parts = [gpus[start : start + processes] for start in range(0, len(gpus) - processes + 1, processes)]
    return [",".join(part) for part in parts or [gpus] if part]


def ray_executor(
    options: RayOptions,
    hardware: HardwareConfig,
    threads: int,
    folder: Path,
    environment: Mapping[str, str],
    console: Console,
) -> Executor:
    """The nodes of a Ray cluster.

    folder: of the runs, an absolute path that all nodes share. environment: variables that workers get. Raises
    UserError where Ray is missing or the resources cannot be meant for runs with this hardware.
    """
    from reproduce.runs.ray_executor import check_ray, open_ray

    check_ray(options)
    if threads > options.cores_per_run:
        raise UserError(f"--threads {threads}: more than the {options.cores_per_run} of --cores-per-run")
    needed = hardware.processes if hardware.device == "cuda" else 0
    if needed and (options.gpus_per_run == 0 or hardware.processes > max(1.0, options.gpus_per_run)):
        raise UserError(
            f"--gpus-per-run {options.gpus_per_run:g}: a run with hardware.device=cuda and hardware.processes="
            f"{hardware.processes} needs {needed}"
        )
    if shares_no_gpu(hardware) and options.gpus_per_run < 1:
        raise UserError(
            f"--gpus-per-run {options.gpus_per_run:g}: vLLM takes a fixed share of a GPU's memory, so runs cannot "
            "share one; set --gpus-per-run 1 or more"
        )

    def opened() -> AbstractContextManager[CarryOut]:
        return open_ray(options, threads, folder, environment, console)

    return Executor(opened, here=False)
