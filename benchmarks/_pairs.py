"""Trainings that take turns step by step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import TrainerCallback


class Turn(TrainerCallback):
    """Lets a training take one step whenever it is asked to, and keeps the processor's seconds of each.

    Steps of one number draw the same random numbers in every training.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.ready = threading.Event()
        """Set once the training waits for its first turn: until then it may draw random numbers."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ready.set()
        self._go.acquire()
        torch.manual_seed(state.global_step)
        self._begun = time.thread_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds.append(time.thread_time() - self._begun)
        self._done.release()

    def take_step(self) -> None:
        """Wait while one step is taken. Raises RuntimeError where the training has ended before."""
        taken = len(self.seconds)
        self._go.release()
        self._done.acquire()
        if len(self.seconds) == taken:
            raise RuntimeError("a training ended before its last step")

    def run(self, train: Callable[[], object]) -> None:
        """Train, and never leave who waits for a step waiting."""
        try:
            train()
        finally:
            self.ready.set()
            self._done.release()


def in_turns(trainers: Mapping[str, Any], steps: int) -> dict[str, list[float]]:
    """The processor's seconds of each step of each trainer but the first step; they take turns, in changing order."""
    turns = {name: Turn() for name in trainers}
    threads = []
    for name, trainer in trainers.items():
        trainer.add_callback(turns[name])
        threads.append(threading.Thread(target=turns[name].run, args=(trainer.train,), daemon=True))
        threads[-1].start()
        turns[name].ready.wait()
    for number in range(steps):
        for name in sorted(trainers, reverse=bool(number % 2)):
            turns[name].take_step()
    for thread in threads:
        thread.join()
    return {name: turn.seconds[1:] for name, turn in turns.items()}
