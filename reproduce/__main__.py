"""`python -m reproduce`."""

from __future__ import annotations

import sys

from reproduce.cli.command_line import main

# A worker process imports this file as well, under another name, and must not start a command line of its own.
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
