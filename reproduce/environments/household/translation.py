"""Problems as Fast Downward wants them: a tenth of a second of work even in a small scene, so kept on disk."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fast_downward

from reproduce.core.files import read_json, write_json
from reproduce.environments.cache import cache_folder, obtain

_FILE = "translation.json"


def translate(problem: str, domain: str) -> dict[str, Any]:
    """The planning task of a problem, with what the engine needs to know of it besides.

    Raises ValueError for a problem that the engine cannot translate.
    """
    recipe = {
        "problem": problem,
        "domain": domain,
        "translator": version("fast_downward_textworld"),
        "format": 2,
    }
    folder = obtain(cache_folder("household"), recipe, lambda folder: _translate(problem, domain, folder / _FILE))
    return dict(read_json(folder / _FILE))


def _translate(problem: str, domain: str, file: Path) -> None:
    arguments = sys.argv
    try:
        task, sas = fast_downward.pddl2sas(domain, problem)
        _, plan_sas = fast_downward.pddl2sas(domain, problem, optimize=True)
    except (Exception, SystemExit) as error:
        # The translator asserts, raises what it likes, or leaves the program.
        raise ValueError(f"no problem of the household's domain ({type(error).__name__}: {error})") from None
    finally:
        # The translator sets them to its own.
        sys.argv = arguments
    # The translator's own root comes before the domain's type of the same name; the engine keeps the first.
    kinds = {kind.name: list(kind.supertype_names) for kind in reversed(task.types)}
    facts = [
        [atom.predicate, list(atom.args)] for atom in task.init if hasattr(atom, "predicate") and atom.predicate != "="
    ]
    write_json(
        file,
        {
            "sas": sas,
            "plan_sas": plan_sas,
            "type_of": {thing.name: thing.type_name for thing in task.objects},
            "types": sorted(kinds.items(), key=lambda kind: len(kind[1])),
            "parameters": {
                action.name: [[asked.name.strip("?"), asked.type_name] for asked in action.parameters]
                for action in task.actions
            },
            "facts": sorted(facts),
            "changing": sorted({effect.literal.predicate for action in task.actions for effect in action.effects}),
        },
    )
