"""Durations and sizes for people, and the check of free disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from reproduce.core.files import UserError

SPARE_BYTES = 64 * 2**20
"""Disk that must stay free."""


def check_disk(folder: Path, needed: int) -> None:
    """Raise UserError when the disk of `folder` cannot take `needed` bytes more."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE_BYTES:
        raise UserError(
            f"{folder}: {format_bytes(needed + SPARE_BYTES)} of disk are needed, {format_bytes(free)} are free; "
            "free some or choose another --runs folder"
        )


def format_bytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def format_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
