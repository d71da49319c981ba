"""The direction of imports: theory <- methods <- reproduce, and what each package may stand on."""

import ast
import re
import sys
import tomllib
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
