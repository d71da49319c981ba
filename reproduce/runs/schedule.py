"""Jobs spread over worker processes. A job is a list of steps that one worker carries out in order.

Nothing heavy is imported here: a worker sets its threads before the first step brings torch along.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from reproduce.core.files import UserError, refusal
from reproduce.core.slices import SliceOver, time_is_up
from reproduce.runs.progress import ProgressDisplay

StageReport = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

SECONDS_BETWEEN_MESSAGES = 0.1


@dataclass(frozen=True)
class Step:
    """One piece of work, shown as one line while it is under way."""

    name: str
    expected_seconds: Mapping[str, float]
    """For each stage, in order."""
    work: Callable[[StageReport], None]
    """Sent to the worker, so a function of a module or a `functools.partial` of one."""


Job = tuple[Step, ...]

Message = tuple[Any, ...]
"""Name of a method of `ProgressDisplay` and its arguments, from a worker."""


def carry_out(jobs: Sequence[Job], workers: int, threads: int, console: Console, devices: Sequence[str] = ()) -> None:
    """Carry out every job, at most `workers` at a time, each with `threads` threads; less when the slice is over.

    devices: the GPUs that the first, second, ... worker sees, as CUDA_VISIBLE_DEVICES names them, and from the first
    on again for further workers; when empty, all see all.
    The first exception of a step stops all workers and is raised again, with a note that names the step. So does
    Ctrl-C, without the note. Raises UserError when a worker process disappears.
    """
    jobs = [job for job in jobs if job]
    if not jobs:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Workers inherit it; torch reads it when it is loaded.
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    not_ours = set(multiprocessing.active_children())
    workers = min(workers, len(jobs))
    places = context.SimpleQueue()
    for place in range(workers):
        places.put(devices[place % len(devices)] if devices else None)
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(messages, threads, places)
    )
    expected = {step.name: step.expected_seconds for job in jobs for step in job}
    with ProgressDisplay(console, expected) as display:
        try:
            with _interrupt_later():
                futures = [executor.submit(_carry_out_job, job) for job in jobs]
            _follow(futures, messages, display)
        except BaseException as error:
            for process in set(multiprocessing.active_children()) - not_ours:
                process.kill()
            executor.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a worker process was stopped from outside (often too little memory: fewer --workers need less); "
                    "the same command continues"
                ) from None
            raise
    executor.shutdown(wait=True)


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Hold Ctrl-C back while workers start. They inherit the mask: the terminal's signal reaches the parent only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _follow(futures: list[Future[int]], messages: Any, display: ProgressDisplay) -> None:
    """Show messages until every job is done. Raises the first exception."""
    pending, carried_out = set(futures), 0
    while pending:
        _show(messages, display, wait=0.1)
        for future in [future for future in pending if future.done()]:
            carried_out += future.result()
            pending.remove(future)
    # The last messages may still be on their way when the last job has returned.
    patience = time.monotonic() + 2
    while len(display.finished) < carried_out and time.monotonic() < patience:
        _show(messages, display, wait=0.1)


def _show(messages: Any, display: ProgressDisplay, wait: float) -> None:
    try:
        while True:
            kind, *content = messages.get(timeout=wait)
            getattr(display, kind)(*content)
    except queue.Empty:
        pass


_messages: Any = None
"""In a worker: the queue to the parent."""


def _start_worker(messages: Any, threads: int, places: Any) -> None:
    global _messages
    if (seen := places.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = seen  # Read when torch first looks for GPUs.
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on writing: another call may already have continued its run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _carry_out_job(job: Job) -> int:
    return carry_out_job(job, _messages.put)


_has_begun = False
"""In a worker: whether it has begun a step."""


def carry_out_job(job: Job, send: Callable[[Message], None]) -> int:
    """Carry out the steps of a job. Returns how many were: fewer than there are when the slice is over.

    Raises UserError for what the user can put right, and any other exception with a note that names the step.
    """
    global _has_begun
    for place, step in enumerate(job):
        # One step a process at least: where loading the libraries alone outlasts the slice, no call would get anywhere.
        if time_is_up() and _has_begun:
            return place
        _has_begun = True
        send(("begin", step.name))
        try:
            step.work(_Reporter(step.name, send))
        except SliceOver:
            send(("pause", step.name))
            return place
        except UserError:
            raise
        except Exception as error:
            if (known := refusal(error)) is not None:
                raise UserError(f"{step.name}: {known}; the same command continues") from None
            error.add_note(f"in {step.name}")
            raise
        send(("finish", step.name))
    return len(job)


class _Reporter:
    """Sends a step's progress to the parent, but not more often than anyone can read."""

    def __init__(self, step: str, send: Callable[[Message], None]) -> None:
        self.step, self.send, self.stage, self.sent = step, send, "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self.stage or done == total or now - self.sent >= SECONDS_BETWEEN_MESSAGES:
            self.stage, self.sent = stage, now
            self.send(("advance", self.step, stage, done, total))
