"""Problems as Fast Downward wants them: a tenth of a second of work even in a small scene, so kept on disk."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fast_downward

from reproduce.environments.cache import cache_folder, obtain

_FILE = "translation.json.gz"


def translate(problem: str, domain: str) -> dict[str, Any]:
    """The planning task of a problem, with what the engine needs to know of it besides.

    Raises ValueError for a problem that the engine cannot translate.
    """
    return _kept("task", _task, problem, domain)


def planner_task(problem: str, domain: str) -> str:
    """The same planning task without what a planner does not need."""
    return str(
        _kept(
            "planner", lambda problem, domain: {"sas": _translated(problem, domain, optimize=True)[1]}, problem, domain
        )["sas"]
    )


def _kept(what: str, make: Callable[[str, str], dict[str, Any]], problem: str, domain: str) -> dict[str, Any]:
    recipe = {
        "what": what,
        "problem": problem,
        "domain": domain,
        "translator": version("fast_downward_textworld"),
        "format": 3,
    }

    def build(folder: Path) -> None:
        (folder / _FILE).write_bytes(gzip.compress(json.dumps(make(problem, domain)).encode(), 3, mtime=0))

    folder = obtain(cache_folder("household"), recipe, build)
    return dict(json.loads(gzip.decompress((folder / _FILE).read_bytes())))


def _translated(problem: str, domain: str, optimize: bool = False) -> tuple[Any, str]:
    arguments = sys.argv
    try:
        task, sas = fast_downward.pddl2sas(domain, problem, optimize=optimize)
        return task, str(sas)
    except (Exception, SystemExit) as error:
        # The translator asserts, raises what it likes, or leaves the program.
        raise ValueError(f"no problem of the household's domain ({type(error).__name__}: {error})") from None
    finally:
        # The translator sets them to its own.
        sys.argv = arguments


def _task(problem: str, domain: str) -> dict[str, Any]:
    task, sas = _translated(problem, domain)
    # The translator's own root comes before the domain's type of the same name; the engine keeps the first.
    kinds = {kind.name: list(kind.supertype_names) for kind in reversed(task.types)}
    facts = [
        [atom.predicate, list(atom.args)] for atom in task.init if hasattr(atom, "predicate") and atom.predicate != "="
    ]
    return {
        "sas": sas,
        "type_of": {thing.name: thing.type_name for thing in task.objects},
        "types": sorted(kinds.items(), key=lambda kind: len(kind[1])),
        "parameters": {
            action.name: [[asked.name.strip("?"), asked.type_name] for asked in action.parameters]
            for action in task.actions
        },
        "facts": sorted(facts),
        "changing": sorted({effect.literal.predicate for action in task.actions for effect in action.effects}),
    }
