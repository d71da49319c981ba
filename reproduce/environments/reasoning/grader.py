"""Compare answers of a math set by meaning, in a process of its own that is ended where a comparison takes too long.

Some expressions take for ever (2003^{2002^{2001}}), and math-verify's own limit works on the main thread of a process
alone. This file is both sides: it is imported by the one and run by the other, which imports nothing of this package.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

SECONDS = 2
"""After which math-verify gives up reading an answer, or comparing two."""
LIMIT_SECONDS = 3 * SECONDS + 4
"""After which the process is ended: one such answer is no reason to wait for the next one in vain."""
START_SECONDS = 120
"""For the process to begin."""


ABSURD = re.compile(r"\d\s*[eE]\s*[+-]?\s*\d{4,}")
"""A decimal exponent that is written out in digits before any limit of time is looked at."""


def compare(gold: str, answer: str) -> bool:
    """Compare two answers mathematically. False where one cannot be read or compared in time.

    They are read as LaTeX only: math-verify's other readers hand plain expressions to an evaluator of Python, and text
    of a policy must never get there. To be called on the main thread.
    """
    if ABSURD.search(gold) or ABSURD.search(answer):
        return False
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    readers = [LatexExtractionConfig()]
    found = [
        parse(f"${text}$", extraction_config=readers, parsing_timeout=SECONDS)  # type: ignore[arg-type]
        for text in (gold, answer)
    ]
    return all(found) and bool(verify(*found, timeout_seconds=SECONDS))


class Grader:
    """Asks `compare` in another process; safe to call from any thread, and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = -1
        atexit.register(self._end)

    def __call__(self, gold: str, answer: str, seconds: float = LIMIT_SECONDS) -> bool:
        """Compare two answers; False where that takes more than `seconds` once the process has begun."""
        with self._lock:
            process = self._begun()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([gold, answer]) + "\n")
                process.stdin.flush()
                return json.loads(_line(process, seconds)) is True
            except (NotInTime, OSError, ValueError):
                self._end()
                return False

    def _begun(self) -> subprocess.Popen[str]:
        process = self._process
        if process is None or self._owner != os.getpid() or process.poll() is not None:
            # -P: the folder of this file holds modules that are not meant to be found by name.
            process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._process, self._owner = process, os.getpid()
            _line(process, START_SECONDS)
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line that the process writes; raises NotInTime, with the process ended, where it does not come."""
    assert process.stdout is not None
    with ThreadPoolExecutor(1) as reader:
        found = reader.submit(process.stdout.readline)
        try:
            return found.result(seconds)
        except NotInTime:
            process.kill()  # Else the reader would wait on.
            raise


def main() -> None:
    """Answer each line of the standard input, a pair of answers, by a line that is `true` or `false`."""
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            same = compare(*json.loads(line))
        except Exception:  # Whatever an expression breaks in third parties, the answer is wrong.
            same = False
        print(json.dumps(same), flush=True)


if __name__ == "__main__":
    main()
