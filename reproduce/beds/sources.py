"""Where official data lies: one check for all beds."""

from __future__ import annotations

from pathlib import Path

from reproduce.storage import UserError


def refuse_source(environment: str, source: str) -> None:
    """Raise UserError where a source is named for an environment whose tasks are generated."""
    if source:
        raise UserError(f"{environment} has no official data set, its tasks are generated; leave out source {source!r}")


def source_folder(source: str, holds: str) -> Path:
    """The folder of a source. holds: what should lie there and how to get it. Raises UserError without it."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(f"{source}: no such folder; it should hold {holds}")
    return folder
