"""Jobs spread over a Ray cluster: the same jobs as `schedule.carry_out` gets, and the same files come out.

A job whose worker is lost is taken up again elsewhere: its run folder continues where it stopped. Retries are ours and
not Ray's, so that the user reads of them, and finished steps are not begun again.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from reproduce.core.files import FolderInUse, UserError
from reproduce.core.slices import ENDS
from reproduce.runs.progress import ProgressDisplay
from reproduce.runs.ray_cluster import RayOptions, check_nodes, connected
from reproduce.runs.schedule import Job, Message, carry_out_job

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_END = 10.0
"""Time that workers are given to end after they were told to."""
SECONDS_BEFORE_RETRY = 1.0
"""A lost worker's locks go with its process, which may take a moment longer to end than its connection."""
LOCK_SECONDS_OF_RETRY = 120.0
"""How long a job that was taken up again waits for the lock of a run. Those of a lost machine go when the server of the
files notices: with NFS 4 after a lease of 90 s as a rule."""
CARRIED_OVER = (ENDS, "HF_HOME", "HF_HUB_CACHE")
"""Environment variables that workers take over where this process has them."""


@contextmanager
def open_ray(
    options: RayOptions, threads: int, folder: Path, environment: Mapping[str, str], console: Console
) -> Iterator[Callable[[Sequence[Job]], None]]:
    """A function that carries out jobs on the cluster; it may be called more than once.

    folder: of the runs, an absolute path. environment: variables that workers have, beside those of `CARRIED_OVER`.
    Raises UserError before anything starts when the cluster does not answer, has no node for a run, or has one that
    does not see the folder.
    """
    carried_over = {name: os.environ[name] for name in CARRIED_OVER if name in os.environ}
    with connected(options, {**environment, **carried_over, "OMP_NUM_THREADS": str(threads)}):
        check_nodes(options, folder)
        yield lambda jobs: carry_out_on_ray(jobs, options, threads, console)


def carry_out_on_ray(jobs: Sequence[Job], options: RayOptions, threads: int, console: Console) -> None:
    """Carry out every job, as many at a time as the cluster has room for; less when the slice is over.

    Ray must be connected. The first exception of a step stops all workers and is raised again; so does Ctrl-C. A job
    that was taken up again and still finds its run folder locked is taken up once more. Raises UserError when a job has
    lost its worker more often than `options.retries`.
    """
    jobs = [job for job in jobs if job]
    expected = {step.name: step.expected_seconds for job in jobs for step in job}
    with ProgressDisplay(console, expected) as display:
        attempts = _Attempts(options, threads, console, display)
        try:
            for job in jobs:
                attempts.begin(job, options.retries)
            while attempts.pending:
                attempts.look()
        finally:
            attempts.stop()


class Mailbox:
    """Keeps the workers' messages until they are shown. An actor on this machine: if it is lost, so is everything."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, Message]] = []

    def put(self, attempt: int, message: Message) -> None:
        """Keep a message of an attempt."""
        self.messages.append((attempt, message))

    def flush(self) -> None:
        """Returns once every earlier message of the same worker has been kept."""

    def take(self) -> list[tuple[int, Message]]:
        """All messages since the last call."""
        messages, self.messages = self.messages, []
        return messages


def _work(job: Job, attempt: int, threads: int, folder: str, mailbox: Any, lock_seconds: float) -> None:
    """What a worker does with a job. lock_seconds: how long its runs wait for their locks."""
    with suppress(OSError):
        os.chdir(folder)  # Paths in settings mean what they mean where the command was given.
    import ray
    import torch

    from reproduce.runs.execute import LOCK_SECONDS

    torch.set_num_threads(threads)
    os.environ[LOCK_SECONDS] = str(lock_seconds)  # A worker may have had another job before.
    try:
        carry_out_job(job, lambda message: mailbox.put.remote(attempt, message))
    finally:
        ray.get(mailbox.flush.remote())


@dataclass(frozen=True)
class _Attempt:
    number: int
    job: Job
    retries: int
    """How often its job may be taken up again."""
    again: bool = False
    """Whether its job was taken up again."""


class _Attempts:
    """The jobs that are under way or waiting."""

    def __init__(self, options: RayOptions, threads: int, console: Console, display: ProgressDisplay) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.threads, self.console, self.display, self.numbers = threads, console, display, itertools.count()
        self.pending: dict[Any, _Attempt] = {}
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = ray.remote(num_cpus=0)(Mailbox).options(scheduling_strategy=here).remote()
        self.work = ray.remote(num_cpus=options.cores_per_run, num_gpus=options.gpus_per_run, max_retries=0)(_work)

    def begin(self, job: Job, retries: int, again: bool = False) -> None:
        """Hand a job to the cluster."""
        attempt = _Attempt(next(self.numbers), job, retries, again)
        wait = LOCK_SECONDS_OF_RETRY if again else 0.0
        reference = self.work.remote(job, attempt.number, self.threads, os.getcwd(), self.mailbox, wait)
        self.pending[reference] = attempt

    def look(self) -> None:
        """Show what has happened, and take note of jobs that have ended. Raises the first exception of a step."""
        import ray

        ended, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=SECONDS_BETWEEN_LOOKS)
        current = {attempt.number for attempt in self.pending.values()}
        for number, (kind, *content) in ray.get(self.mailbox.take.remote()):
            if number in current:  # A lost worker's last message may come after its job was taken up again.
                getattr(self.display, kind)(*content)
        for reference in ended:
            attempt = self.pending.pop(reference)
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, FolderInUse) and attempt.again and attempt.retries:
                    self._take_up_again(attempt, "still locked by the lost worker")
                    continue
                raise error.cause from (None if isinstance(error.cause, UserError) else error)
            except ray.exceptions.RuntimeEnvSetupError as error:
                raise UserError(f"a worker could not start: {str(error).strip().splitlines()[-1]}") from None
            except (
                ray.exceptions.WorkerCrashedError,
                ray.exceptions.NodeDiedError,
                ray.exceptions.OutOfMemoryError,
            ) as error:
                memory = "OutOfMemory" in type(error).__name__
                self._take_up_again(attempt, "too little memory" if memory else "its worker was lost")

    def _take_up_again(self, attempt: _Attempt, reason: str) -> None:
        left = tuple(step for step in attempt.job if step.name not in self.display.finished)
        if not left:
            return
        if not attempt.retries:
            raise UserError(
                f"{left[0].name}: {reason}, and --retries are used up (often too little memory: more --cores-per-run "
                "put fewer runs on a node); the same command continues"
            )
        for step in left:
            if step.name in self.display.active:
                self.display.pause(step.name, f"{reason}; taken up again, {attempt.retries - 1} retries left")
        time.sleep(SECONDS_BEFORE_RETRY)
        self.begin(left, attempt.retries - 1, again=True)

    def stop(self) -> None:
        """End what is still under way: after an exception, for otherwise nothing is."""
        import ray

        if not self.pending:
            return
        for reference in self.pending:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        with suppress(ray.exceptions.RayError):
            ray.wait(list(self.pending), num_returns=len(self.pending), timeout=SECONDS_TO_END)
