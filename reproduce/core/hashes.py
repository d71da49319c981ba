"""sha256 of files and manifests: evidence that was changed after it was written does not count."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError, digest, read_json, write_text

SEAL = "sha256"
"""Key of a JSON object whose value is the digest of all its other keys."""
LARGE = 1 << 28
"""Bytes from which on a file is read only where it is about to be used; elsewhere its size has to do."""


def sha256(path: Path) -> str:
    """sha256 of a file; read once in a process unless it changes. Raises OSError."""
    found = path.stat()
    return _sha256(str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ino)


@cache
def _sha256(path: str, size: int, changed: int, inode: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path, but: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Size in bytes and sha256 of every file below a folder, by its path there; hidden ones and `but` left out."""
    left_out, found = set(but), {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in left_out and not any(part.startswith(".") for part in Path(name).parts):
            found[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    return found


def check_files(
    folder: Path, described: Any, below: str = "", thorough: bool = True, remedy: str = "run again with --redo"
) -> int:
    """Hold files against what `describe_files` said of them; returns how many there are.

    below: only files whose path there begins so. thorough: also read those of `LARGE` or more. remedy: what the user
    can do. Raises UserError naming the first file that is missing or has changed.
    """
    if not isinstance(described, Mapping):
        raise UserError(f"{folder}: damaged (no list of files); {remedy}")
    names = [name for name in described if name.startswith(below)]
    for name in names:
        path, wanted = folder / name, described[name]
        try:
            size, digest_wanted = wanted["bytes"], wanted["sha256"]
        except (KeyError, TypeError):
            raise UserError(f"{path}: no size and digest known; {remedy}") from None
        if not path.is_file():
            raise UserError(f"{path}: no such file, though it was written; {remedy}")
        if path.stat().st_size != size or ((thorough or size < LARGE) and sha256(path) != digest_wanted):
            raise UserError(f"{path}: damaged (changed since it was written, sha256 differs); {remedy}")
    return len(names)


def mark(path: Path) -> None:
    """Write the sha256 of a file beside it, for `is_marked`."""
    write_text(path.with_name(f"{path.name}.sha256"), sha256(path) + "\n")


def is_marked(path: Path) -> bool:
    """True for a file that is as it was when it was marked; False also for one that is not there."""
    try:
        return path.is_file() and path.with_name(f"{path.name}.sha256").read_text() == sha256(path) + "\n"
    except (OSError, UnicodeDecodeError):
        return False


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a digest of itself."""
    bare = {key: value for key, value in content.items() if key != SEAL}
    return {**bare, SEAL: digest(bare)}


def check_seal(content: Mapping[str, Any], where: str) -> bool:
    """Returns whether the content has a digest of itself. Raises UserError, naming `where`, if it is a wrong one."""
    if SEAL not in content:
        return False
    if sealed(content)[SEAL] != content[SEAL]:
        raise UserError(f"{where}: damaged (changed since it was written, sha256 differs); run again with --redo")
    return True


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object; one without a digest of itself, of an earlier version, passes. Raises UserError."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged (no JSON object); run again with --redo")
    check_seal(content, str(path))
    return content


def flush_folder(folder: Path) -> None:
    """Write every file below a folder, and the folder's own list of names, through to the disk."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        if path.is_file() or path.is_dir():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
