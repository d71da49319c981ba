"""Where official data lies: one check for all beds."""

from __future__ import annotations

from reproduce.core.files import UserError


def refuse_source(environment: str, source: str) -> None:
    """Raise UserError where a source is named for an environment whose tasks are generated."""
    if source:
        raise UserError(f"{environment} has no official data set, its tasks are generated; leave out source {source!r}")
