"""A vLLM engine in a process of its own.

vLLM changes the process that it runs in: threads, memory policy, torch.distributed. Here it does so in a child that
ends with its parent, however that ends, and gives back a GPU's memory whole.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from reproduce.core.config import SamplingConfig
from reproduce.core.files import UserError
from reproduce.rollouts.vllm_sampler import Generated

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # As many threads as OMP_NUM_THREADS says, on any core: several runs share a machine.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


class VllmProcess:
    """Starts an engine and waits until it is ready. It stops when this object is no longer used."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """options: arguments of `vllm.LLM`. Raises UserError where the engine does not start."""
        self._pipe, theirs = multiprocessing.Pipe()
        descriptor, name = tempfile.mkstemp(prefix="vllm-", suffix=".log")
        self._log = Path(name)
        # Not a child of multiprocessing: that would load the main module of this process first, and vLLM 0.31 stumbles
        # over some modules (numba's llvmlite). A session of its own: Ctrl-C is for the parent.
        with os.fdopen(descriptor, "w") as log, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reproduce.rollouts.vllm_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"VLLM_LOGGING_LEVEL": "WARNING"}
                | os.environ
                | _ENVIRONMENT
                | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, _stop, self._process, self._pipe, self._log)
        self.limit = int(self.ask(dict(options)))
        """Positions of the engine."""

    def generator(self, config: SamplingConfig, ends: Sequence[int]) -> ProcessGenerator:
        """A `TokenGenerator` with this sampling and these tokens that close an action."""
        return ProcessGenerator(self, config, tuple(ends))

    def ask(self, question: Any) -> Any:
        """Send a question to the process and wait for the answer."""
        try:
            self._pipe.send(question)
        except OSError:
            raise self._failure("it has ended") from None
        return self._receive()

    def close(self) -> None:
        """Stop the engine."""
        self._finalizer()

    def _receive(self) -> Any:
        try:
            worked, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._failure("it has ended, often for lack of memory") from None
        if not worked:
            raise self._failure(answer)
        return answer

    def _failure(self, reason: str) -> UserError:
        self._finalizer.detach()
        _stop(self._process, self._pipe, None)
        return UserError(f"vLLM: {reason}; its log is {self._log}")


@dataclass(frozen=True)
class ProcessGenerator:
    """A `TokenGenerator` whose engine runs in another process."""

    process: VllmProcess
    config: SamplingConfig
    ends: tuple[int, ...]

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt. Raises UserError where the engine fails."""
        answers: list[Generated] = self.process.ask((self.config, self.ends, prompts, seeds, longest))
        return answers


def _serve(pipe: Connection) -> None:
    """What the process does: start the engine, answer until the other end of the pipe is closed."""
    try:
        options = pipe.recv()
        from vllm import LLM

        llm = LLM(**options)
        pipe.send((True, llm.llm_engine.model_config.max_model_len))
        from reproduce.rollouts.vllm_generator import VllmGenerator

        while True:
            config, ends, *requests = pipe.recv()
            pipe.send((True, VllmGenerator(llm, config, ends).generate(*requests)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        pipe.send((False, f"{type(error).__name__}: {lines[0]}"))


def _stop(process: subprocess.Popen[bytes], pipe: Connection, log: Path | None) -> None:
    pipe.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if log is not None:
        log.unlink(missing_ok=True)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: the engine's threads need not be waited for.
    os._exit(0)
