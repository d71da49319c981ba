"""Jobs spread over an existing Ray cluster: the same jobs as `schedule.carry_out` gets, and the same files come out.

This package is not sent to the nodes: it is installed on all of them, in the same version, and the folder of the runs
lies on storage that all of them share, with file locks that hold between them (NFS version 4, or version 3 with its
lock service; Lustre mounted with `flock`). Progress is read from the manifests in that folder.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from reproduce.core.files import FolderInUse, UserError, read_json
from reproduce.core.slices import ENDS
from reproduce.runs.progress import ProgressDisplay
from reproduce.runs.schedule import Job, carry_out_job

CONNECT_SECONDS = 30.0
"""A cluster that has not answered by then does not answer."""
VISIBLE_SECONDS = 5.0
"""Network file systems may show a new file a few seconds late."""
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_END = 10.0
"""Time that workers are given to end after they were told to."""
SECONDS_BEFORE_RETRY = 1.0
"""A lost worker's locks go with its process, which may take a moment longer to end than its connection."""
LOCK_SECONDS_OF_RETRY = 120.0
"""Time that a job which was taken up again waits for the lock of a run. Those of a lost machine go when the server of
the files notices: with NFS 4 after a lease of 90 s as a rule."""
CARRIED_OVER = (ENDS, "HF_HOME", "HF_HUB_CACHE")
"""Environment variables that workers take over where this process has them."""
COMPARED = ("rl-claims", "torch", "transformers", "trl", "numpy")
"""Packages whose versions must be the same everywhere, for records to be."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run`, Ray would send the working folder to every node and start workers with uv.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class RayOptions:
    """The cluster, and the resources that each run takes there."""

    address: str = "auto"
    """`auto` (the cluster this machine is part of) or HOST:PORT."""
    cores_per_run: int = 1
    """Cores reserved for a run."""
    gpus_per_run: float = 0.0
    """GPUs reserved for a run; parts of one let several runs share it."""
    retries: int = 3
    """Times that the runs of a seed are taken up again when their worker is lost."""


def check_ray(options: RayOptions) -> None:
    """Raise UserError where Ray is not installed or an option cannot be meant."""
    if options.address != "auto" and not re.fullmatch(r"[\w.-]+:\d{1,5}", options.address):
        raise UserError(f"--address {options.address!r}: expected auto or HOST:PORT")
    if not 0 <= options.gpus_per_run <= 1 and (not 0 < options.gpus_per_run < inf or options.gpus_per_run % 1):
        raise UserError(f"--gpus-per-run {options.gpus_per_run:g}: expected a whole number, or a part of one GPU")
    if find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; pip install 'rl-claims[ray]'")


@contextmanager
def open_ray(
    options: RayOptions, threads: int, folder: Path, environment: Mapping[str, str], console: Console
) -> Iterator[Callable[[Sequence[Job]], None]]:
    """Connect to the cluster; gives a function that carries out jobs there and may be called more than once.

    folder: of the runs, an absolute path; a step's run lies at its name below it. environment: variables that workers
    have, beside those of `CARRIED_OVER`. Raises UserError before anything starts when no cluster answers, or none of
    its nodes has what a run takes.
    """
    _check_answer(options.address)
    os.environ.update(_SETTINGS)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    carried_over = {name: os.environ[name] for name in CARRIED_OVER if name in os.environ}
    variables = {**environment, **carried_over, "OMP_NUM_THREADS": str(threads)}
    ray.init(options.address, log_to_driver=False, configure_logging=False, runtime_env={"env_vars": variables})
    token = folder / f".cluster-{secrets.token_hex(8)}"
    try:
        _check_resources(options)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(token):
            yield lambda jobs: _carry_out(jobs, options, threads, token, console)
    finally:
        token.unlink(missing_ok=True)
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Ask in a process of its own first: where nothing answers, Ray waits for minutes and then ends its process."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=CONNECT_SECONDS, env=os.environ | _SETTINGS)
    except subprocess.TimeoutExpired:
        raise UserError(f"--address {address}: no cluster answers within {CONNECT_SECONDS:.0f} s") from None
    except subprocess.CalledProcessError:
        raise UserError(f"--address {address}: no cluster answers; `ray start --head` starts one") from None


def _check_resources(options: RayOptions) -> None:
    """Raise UserError when no node of the cluster has what a run takes: Ray would wait for one for ever."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needed = {"CPU": options.cores_per_run, "GPU": options.gpus_per_run}
    if any(all(node.get(name, 0.0) >= count for name, count in needed.items()) for node in nodes):
        return
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in needed}
    raise UserError(
        f"--cores-per-run {options.cores_per_run} --gpus-per-run {options.gpus_per_run:g}: no node of the cluster has "
        f"as many; the largest has {most['CPU']:g} cores, {most['GPU']:g} GPUs"
    )


@dataclass(frozen=True)
class _Task:
    """A job as a worker gets it."""

    job: Job
    retries: int
    """Times that it may still be taken up again."""
    threads: int
    working_folder: str
    token: Path
    """A file in the folder of the runs that the process which started them holds locked."""
    versions: Mapping[str, str]
    """Of the packages there."""
    again: bool = False
    """True where an earlier worker of it was lost."""

    @property
    def left(self) -> Job:
        """Its steps whose runs are not complete."""
        return tuple(step for step in self.job if self.manifest(step.name).get("exit_state") != "complete")

    def manifest(self, name: str) -> Mapping[str, Any]:
        """The manifest of a run; empty where there is none yet."""
        try:
            return dict(read_json(self.token.parent / name / "manifest.json"))
        except (UserError, TypeError, ValueError):
            return {}


def _work(task: _Task) -> None:
    """Carry out a job on a node, once the node is known to be fit for it."""
    _check_node(task)
    with suppress(OSError):
        os.chdir(task.working_folder)  # Paths in settings mean what they mean where the command was given.
    import torch

    from reproduce.runs.execute import LOCK_SECONDS

    torch.set_num_threads(task.threads)
    os.environ[LOCK_SECONDS] = str(LOCK_SECONDS_OF_RETRY if task.again else 0.0)
    carry_out_job(task.job, lambda message: None)


def _check_node(task: _Task) -> None:
    """Raise UserError unless this node sees the folder of the runs with its locks, and has the same packages."""
    node, folder, deadline = f"node {os.uname().nodename}", task.token.parent, time.monotonic() + VISIBLE_SECONDS
    while not task.token.exists():
        if time.monotonic() > deadline:
            raise UserError(f"{node} does not see {folder}: --runs must lie on storage that all nodes share")
        time.sleep(0.5)
    with suppress(Timeout), FileLock(task.token, timeout=0):
        raise UserError(f"{node} does not see locks of {folder}: mount it with file locks (NFS 4, Lustre `flock`)")
    for package, found in _versions().items():
        if task.versions.get(package) != found:
            raise UserError(f"{node} has {package} {found}, not {task.versions.get(package)}: install the same")


def _versions() -> dict[str, str]:
    found = {}
    for package in COMPARED:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _carry_out(jobs: Sequence[Job], options: RayOptions, threads: int, token: Path, console: Console) -> None:
    """Carry out every job, as many at a time as the cluster has room for; less when the slice is over.

    The first exception of a step stops all workers and is raised again; so does Ctrl-C. A job that was taken up again
    and still finds its run folder locked is taken up once more. Raises UserError when a job has lost its worker more
    often than `options.retries`.
    """
    tasks = [_Task(job, options.retries, threads, os.getcwd(), token, _versions()) for job in jobs if job]
    expected = {step.name: step.expected_seconds for task in tasks for step in task.job}
    with ProgressDisplay(console, expected) as display:
        cluster = _Cluster(options, display)
        try:
            for task in tasks:
                cluster.begin(task)
            while cluster.pending:
                cluster.look()
        finally:
            cluster.stop()


class _Cluster:
    """The tasks that are under way or waiting."""

    def __init__(self, options: RayOptions, display: ProgressDisplay) -> None:
        import ray

        self.display = display
        self.pending: dict[Any, _Task] = {}
        self.attempts: dict[str, int] = {}
        """For each run, how often it had been begun when its task was handed to the cluster."""
        # Retries are ours and not Ray's, so that the user reads of them and locks are waited for.
        self.work = ray.remote(num_cpus=options.cores_per_run, num_gpus=options.gpus_per_run, max_retries=0)(_work)

    def begin(self, task: _Task) -> None:
        """Hand a task to the cluster."""
        self.attempts |= {step.name: task.manifest(step.name).get("attempt", 0) for step in task.job}
        self.pending[self.work.remote(task)] = task

    def look(self) -> None:
        """Show what the manifests say, and take note of tasks that have ended. Raises the first exception of a step."""
        import ray

        ended, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=SECONDS_BETWEEN_LOOKS)
        for task in self.pending.values():
            self._show(task)
        for reference in ended:
            task = self.pending.pop(reference)
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, FolderInUse) and task.again and task.retries:
                    self._take_up_again(task, "still locked by the lost worker")
                    continue
                if isinstance(error.cause, ImportError):
                    raise UserError(f"a node cannot run this package ({error.cause}): install it on each") from None
                raise error.cause from (None if isinstance(error.cause, UserError) else error)
            except ray.exceptions.RuntimeEnvSetupError as error:
                raise UserError(f"a worker could not start: {str(error).strip().splitlines()[-1]}") from None
            except ray.exceptions.OutOfMemoryError:
                self._take_up_again(task, "too little memory")
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
                self._take_up_again(task, "its worker was lost")
            else:
                self._leave(task, "paused")

    def _show(self, task: _Task) -> None:
        """Bring the display up to date with the runs of a task, which are carried out in order."""
        for step in (step for step in task.job if step.name not in self.display.finished):
            manifest = task.manifest(step.name)
            if manifest.get("attempt", 0) <= self.attempts[step.name]:
                return
            if step.name not in self.display.active:
                self.display.begin(step.name)
            shown = self.display.active[step.name].fractions
            trained = (task.token.parent / step.name / "checkpoint").exists()
            *earlier, last = step.expected_seconds
            for stage in earlier:
                if shown.get(stage) != trained:
                    self.display.advance(step.name, stage, int(trained), 1)
            if trained and last not in shown:
                self.display.advance(step.name, last, 0, 1)
            if manifest.get("exit_state") != "complete":
                return
            self.display.finish(step.name)

    def _leave(self, task: _Task, reason: str) -> None:
        for step in task.job:
            if step.name in self.display.active:
                self.display.pause(step.name, reason)

    def _take_up_again(self, task: _Task, reason: str) -> None:
        self._show(task)
        if not (left := task.left):
            return
        if not task.retries:
            raise UserError(
                f"{left[0].name}: {reason}, and --retries are used up (often too little memory: more --cores-per-run "
                "put fewer runs on a node); the same command continues"
            )
        self._leave(task, f"{reason}; taken up again, {task.retries - 1} retries left")
        time.sleep(SECONDS_BEFORE_RETRY)
        self.begin(replace(task, job=left, retries=task.retries - 1, again=True))

    def stop(self) -> None:
        """End what is still under way: after an exception, for otherwise nothing is."""
        import ray

        for reference in self.pending:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        if self.pending:
            with suppress(ray.exceptions.RayError):
                ray.wait(list(self.pending), num_returns=len(self.pending), timeout=SECONDS_TO_END)
