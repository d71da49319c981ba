"""Papers by their keys: where each lies, and what it brings."""

from __future__ import annotations

import importlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import ModuleType

from reproduce.core.files import UserError
from reproduce.core.names import nearest

PAPERS = ("pass_kt", "reuserl", "echorl", "resets")
"""Keys of the papers. A paper is loaded when it is asked for."""


def load_paper(key: str) -> ModuleType:
    """The paper of a key. Raises UserError for an unknown key, with the nearest one."""
    return importlib.import_module(f"{paper_package(key)}.paper")


def paper_package(key: str) -> str:
    """The package that holds a paper's code and files. Raises UserError for an unknown key, with the nearest one."""
    if key not in PAPERS:
        raise UserError(f"unknown paper {key!r}; {nearest(key, PAPERS)}")
    return f"reproduce.papers.{key}"


def paper_file(key: str, name: str) -> Traversable:
    """A file that lies beside a paper's code. Raises UserError for an unknown key."""
    return files(paper_package(key)).joinpath(name)
