"""Where the runs of a plan are carried out: by processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reproduce.schedule import Job, carry_out
from reproduce.storage import UserError

if TYPE_CHECKING:
    from reproduce.configuration import HardwareConfig
    from reproduce.ray_cluster import RayOptions

LOCAL, RAY = "local", "ray"

CarryOut = Callable[[Sequence[Job]], None]
"""Carries out jobs to their end, or to that of the slice."""


@dataclass(frozen=True)
class Executor:
    """Opens to a function that carries out jobs; raises UserError there, before anything has been touched."""

    open: Callable[[], AbstractContextManager[CarryOut]]
    here: bool = True
    """Whether the runs have the devices of this machine."""


def local_executor(workers: int, threads: int, console: Console) -> Executor:
    """Processes of this machine, `workers` at a time."""

    @contextmanager
    def opened() -> Iterator[CarryOut]:
        yield lambda jobs: carry_out(jobs, workers, threads, console)

    return Executor(opened)


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
    from reproduce.ray_cluster import check_ray

    check_ray(options)
    if threads > options.cores_per_run:
        raise UserError(f"--threads {threads}: more than the {options.cores_per_run} of --cores-per-run")
    needed = hardware.processes if hardware.device == "cuda" else 0
    if needed and (options.gpus_per_run == 0 or hardware.processes > max(1.0, options.gpus_per_run)):
        raise UserError(
            f"--gpus-per-run {options.gpus_per_run:g}: a run with hardware.device=cuda and hardware.processes="
            f"{hardware.processes} needs {needed}"
        )

    def opened() -> AbstractContextManager[CarryOut]:
        from reproduce.ray_executor import open_ray

        return open_ray(options, threads, folder, environment, console)

    return Executor(opened, here=False)
