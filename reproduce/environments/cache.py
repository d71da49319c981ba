"""Generated games on disk: built once, verified by digest, safe for many processes at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path

from reproduce.core.files import UserError, digest, remove

MANIFEST = "manifest.json"
"""Lists every other file of an entry with its sha256."""
SECONDS_OF_STRAYS = 86_400.0


def cache_folder(environment: str) -> Path:
    """The folder of the generated games of an environment.

    Below RL_CLAIMS_CACHE if that variable is set, else below the user's cache directory.
    """
    chosen = os.environ.get("RL_CLAIMS_CACHE")
    return (Path(chosen) if chosen else user_cache_path("rl-claims", appauthor=False)) / environment


def obtain(folder: Path, recipe: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of the entry that `recipe` determines; `build` fills it where it is missing or damaged.

    folder: of all entries, such as `cache_folder("cooking")`.
    recipe: everything that determines the content, versions of engines included; it becomes the entry's name.
    build: writes files, without sub-folders, into the empty folder it is given.

    A process that finds another one building waits for it. An entry appears whole or not at all.
    """
    entry = folder / digest(dict(recipe))
    if is_intact(entry):
        return entry
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        raise UserError(f"{folder}: no folder can be made there; RL_CLAIMS_CACHE names another") from None
    with FileLock(folder / f".{entry.name}.lock"):
        if is_intact(entry):
            return entry
        remove(entry)
        _sweep(folder, entry)
        beside = Path(tempfile.mkdtemp(prefix=f".{entry.name[:16]}.", dir=folder))
        try:
            build(beside)
            manifest = {file.name: _sha256(file) for file in sorted(beside.iterdir())}
            (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            beside.rename(entry)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return entry


def is_intact(entry: Path) -> bool:
    """True where the entry is there, with the files it was written with and no others, each with its digest."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        files = {file.name for file in entry.iterdir()} - {MANIFEST}
        return (
            bool(manifest) and set(manifest) == files and all(_sha256(entry / name) == manifest[name] for name in files)
        )
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def _sweep(folder: Path, entry: Path) -> None:
    """Remove what calls that were killed while building left: of this entry, whose lock is held, and of any after a
    day, which no build takes."""
    for stray in folder.glob(".*.*"):
        ours = stray.name.startswith(f".{entry.name[:16]}.")
        with contextlib.suppress(OSError):
            if stray.is_dir() and (ours or time.time() - stray.stat().st_mtime > SECONDS_OF_STRAYS):
                shutil.rmtree(stray, ignore_errors=True)


def _sha256(file: Path) -> str:
    if not file.is_file():  # A pipe would be waited for without end.
        raise OSError(f"{file}: not a file")
    return hashlib.sha256(file.read_bytes()).hexdigest()
