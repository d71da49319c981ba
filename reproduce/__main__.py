"""`python -m reproduce`."""

from __future__ import annotations

import signal
import sys


def _run() -> int:
    try:
        from reproduce.cli.command_line import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # A second one, while the first was answered, or one before anything was begun.
        code = 130
    if code == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A third one has nothing left to stop.
    return code


# A worker process imports this file as well, under another name, and must not start a command line of its own.
if __name__ == "__main__":
    sys.exit(_run())
