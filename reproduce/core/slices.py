"""A slice: the time one call of `run` may take before it stops at a place it can continue from.

The end of the slice is kept in the environment, so that every process of a run finds it: workers, tasks of a cluster
and the training processes that accelerate starts. Training and warm start save a checkpoint and stop after a step once
`time_is_up()`, and evaluation stops between two parts; both then raise `SliceOver`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reproduce.core.files import UserError

ENDS = "RL_CLAIMS_SLICE_ENDS"
"""Environment variable: when the slice ends, in seconds since 1970; unset or empty where there is no end."""

BEGAN = "RL_CLAIMS_SLICE_BEGAN"
"""Environment variable: when the slice began, for several calls that share one; unset: with the call."""

_SECONDS = {"s": 1, "min": 60, "h": 3600}


class SliceOver(Exception):
    """The slice has ended and what was done so far is saved: the next call continues."""


def parse_duration(text: str) -> float:
    """Seconds of a duration such as 90s, 8min, 1.5h or 1h30min. Raises UserError for anything else and for zero."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|h|s)", text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds < float("inf"):
        raise UserError(f"--slice {text!r}: expected a duration such as 90s, 8min or 1h30min")
    return seconds


@contextmanager
def slice_of(seconds: float | None) -> Iterator[None]:
    """Let the slice of this process, and of every process it starts, end in `seconds`; None: never."""
    began = float(os.environ.get(BEGAN) or time.time())
    os.environ[ENDS] = "" if seconds is None else repr(began + seconds)
    try:
        yield
    finally:
        del os.environ[ENDS]


def time_is_up() -> bool:
    """Tell if the slice has ended. Cheap: call it after every step."""
    ends = os.environ.get(ENDS, "")
    return ends != "" and time.time() >= float(ends)
