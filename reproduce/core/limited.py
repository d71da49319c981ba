"""Limits of time and memory for work on foreign files that cannot be interrupted from inside."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import psutil

GIB = 1 << 30
SLOWEST = 30
"""Wall-clock seconds for each second of processor time: a machine may be busy."""


class Failed(Exception):
    """A function called by `limited` raised an exception or went over a limit. The message is one line."""


def limited(function: Callable[..., Any], *arguments: Any, seconds: int = 4, memory: int = GIB) -> Any:
    """Call a function in a forked process that is stopped at its limits; the result comes back as JSON.

    A regular expression or a power of whole numbers holds the interpreter, so that no alarm reaches it: only a process
    can be stopped. seconds: of processor time. memory: bytes beyond what this process has. Raises Failed.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments, seconds, memory), daemon=True)
    with warnings.catch_warnings():
        # The child uses no thread of ours: it computes, answers and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    sender.close()
    try:
        kind, content = json.loads(receiver.recv_bytes()) if receiver.poll(SLOWEST * seconds) else ("time", "")
    except (EOFError, OSError):
        process.join(1)
        kind, content = ("time" if process.exitcode == -signal.SIGXCPU else "memory"), ""
    finally:
        process.kill()
        process.join()
        receiver.close()
    if kind == "result":
        return content
    if kind == "error":
        raise Failed(content)
    raise Failed(f"it takes more than {seconds} s" if kind == "time" else f"it takes more than {memory / GIB:.0f} GiB")


def _answer(sender: Connection, function: Callable[..., Any], arguments: Any, seconds: int, memory: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Libraries in Rust write a backtrace there before they raise.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + memory,) * 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer = ("result", function(*arguments))
    except MemoryError:
        answer = ("memory", "")
    except Exception as error:  # Of foreign libraries, down to bare Exception; the caller says what it was about.
        lines = str(error).splitlines()
        answer = ("error", lines[0][:200] if lines else type(error).__name__)
    sender.send_bytes(json.dumps(answer).encode())
