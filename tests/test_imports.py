"""The direction of imports: theory <- methods <- reproduce, the order of the rooms of reproduce, and no circle."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"theory", "methods", "reproduce"}
THEORY = {"numpy", "scipy", "statsmodels"}
TRAINING = {"torch", "transformers", "trl", "accelerate", "datasets"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {
    re.match(r"[\w-]+", requirement).group().replace("-", "_")
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in group
}
ALLOWED = {
    "theory": {"theory"} | THEORY,
    "methods": {"methods", "theory"} | THEORY | TRAINING,
    # What reproduce imports must be declared, even where trl happens to bring it along.
    "reproduce": OURS | DECLARED | {"pypandoc", "fast_downward", "jericho"},
}


def imported(source):
    """Line and top-level name of every absolute import, wherever it stands in the file."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name.split(".")[0]
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.split(".")[0]


def strangers(package, source):
    allowed = ALLOWED[package] | sys.stdlib_module_names
    return [(line, name) for line, name in imported(source) if name not in allowed]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package):
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in strangers(package, path.read_text(encoding="utf-8"))
    ]
    assert not found


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_package_is_there(package):
    assert (ROOT / package / "__init__.py").is_file()


@pytest.mark.parametrize("package", sorted(OURS))
def test_no_package_imports_the_tests_or_the_benchmarks(package):
    for path in (ROOT / package).rglob("*.py"):
        names = {name for _, name in imported(path.read_text(encoding="utf-8"))}
        assert not names & {"tests", "benchmarks"}, path


@pytest.mark.parametrize(
    ("package", "source", "expected"),
    [
        ("theory", "import torch", ["torch"]),
        ("theory", "from methods.grpo import x", ["methods"]),
        ("theory", "def f():\n    import pandas", ["pandas"]),
        ("theory", "import math\nimport numpy as np\nfrom . import passes\nfrom scipy.stats import betabinom", []),
        ("methods", "import reproduce.runs.execute", ["reproduce"]),
        ("methods", "from theory.pass_kt import pass_at_k\nimport torch.nn\nfrom trl import GRPOTrainer", []),
        ("methods", "import peft", ["peft"]),
    ],
)
def test_the_test_itself_sees_what_it_should(package, source, expected):
    assert [name for _, name in strangers(package, source)] == expected


ROOMS = (
    {"core"},
    {"environments"},
    {"rollouts"},
    {"cost"},
    {"training", "claims"},
    {"report", "plan"},
    {"runs", "logs"},
    {"papers"},
    {"cli"},
)
"""From the ground up: a room imports from lower ones only."""
FLOOR = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}


def modules(root):
    """Dotted name and file of every module of reproduce."""
    found = {}
    for path in sorted((root / "reproduce").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source, known):
    """The modules of reproduce that a source names, lazily or not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in known)
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "reproduce":
                yield from (name if (name := f"{module}.{alias.name}") in known else module for alias in names)


def import_graph(root):
    known = modules(root)
    return {name: set(imports_of(path.read_text(encoding="utf-8"), known)) - {name} for name, path in known.items()}


def against_the_order(graph):
    rooms = {name: name.split(".")[1] for name in graph if name.count(".")}
    return [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in sorted(targets)
        if rooms.get(name, "__main__") in FLOOR
        and rooms.get(target) != rooms[name]
        and FLOOR.get(rooms.get(target), len(ROOMS)) >= FLOOR[rooms[name]]
    ]


def test_the_rooms_of_reproduce_import_downwards_only_and_in_no_circle():
    graph = import_graph(ROOT)
    assert {name.split(".")[1] for name in graph if name.count(".")} == set(FLOOR) | {"__main__"}
    assert not against_the_order(graph)
    list(TopologicalSorter(graph).static_order())  # Raises CycleError, which names the circle.


def test_the_top_of_reproduce_holds_no_module():
    assert {path.name for path in (ROOT / "reproduce").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_the_order_of_rooms_is_seen_in_lazy_imports_too(tmp_path):
    for name, source in {
        "reproduce/core/a.py": "def f():\n    from reproduce.cli import b\n",
        "reproduce/cli/b.py": "import reproduce.core.a",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
    graph = import_graph(tmp_path)
    assert against_the_order(graph) == ["reproduce.core.a imports reproduce.cli.b"]
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph).static_order())


HEAVY = {"torch", "transformers", "trl", "matplotlib", "statsmodels"}


@pytest.mark.parametrize(
    ("arguments", "further"),
    [
        ("--help", {"numpy", "pandas", "scipy", "pydantic"}),
        ("list", {"pandas", "scipy.stats"}),
        ("plan reuserl", set()),
    ],
)
def test_commands_that_only_tell_load_nothing_heavy(arguments, further, tmp_path):
    source = (
        "import sys; from reproduce.cli.command_line import main; code = main(sys.argv[2:]);"
        "print(code, sorted(set(sys.argv[1].split()) & set(sys.modules)), file=sys.stderr)"
    )
    told = subprocess.run(
        [sys.executable, "-c", source, " ".join(HEAVY | further), *arguments.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr.strip() == "0 []"
