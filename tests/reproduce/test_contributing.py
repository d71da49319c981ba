"""The recipes of CONTRIBUTING.md, carried out on a copy of the package, and the files that one verdict enters."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reproduce.claims.verdicts import decide
from reproduce.core.paper import PACKAGED, load_paper

CHECKOUT = Path(__file__).parents[2]
RECIPES = dict(
    re.findall(
        r"<!-- (.+?) -->\n```\w+\n(.*?)```", (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
)
MOST_FILES, MOST_LINES = 12, 25


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the three packages that a recipe may change."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("theory", "methods", "reproduce"):
        shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(copy: Path, *arguments: str) -> str:
    environment = {"PYTHONPATH": str(copy), "COLUMNS": "200", "PATH": "", "HOME": str(copy)}
    done = subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_claim_is_one_function_and_one_entry(copy: Path) -> None:
    (header,) = (name for name in RECIPES if name.startswith("append to"))
    code, file = RECIPES[header], copy / header.removeprefix("append to ")
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST_LINES
    file.write_text(file.read_text(encoding="utf-8") + "\n\n" + code, encoding="utf-8")
    told = python(
        copy,
        "-c",
        "from pathlib import Path; from reproduce.core.paper import load_paper;"
        "from reproduce.claims.verdicts import decide; paper = load_paper('pass_kt');"
        f"found = decide(paper.claims, paper.read_records(Path('{CHECKOUT}/reports/laptop/pass_kt/records')));"
        "print({one.claim.identifier: one.decision for one in found}['pass_kt.comparison-gains'])",
    )
    assert told.strip() in ("supported", "refuted", "inconclusive")


def test_an_arm_is_one_entry(copy: Path) -> None:
    (header,) = (name for name in RECIPES if name.startswith("into ARMS of"))
    entry, file = RECIPES[header], copy / header.removeprefix("into ARMS of ")
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(\nARMS = \{\n.*?)(\n\}\n)", rf"\1\n{entry.rstrip()}\2", text, count=1, flags=re.DOTALL))
    arms = "base,grpo,length,segcost,segcost_weight_0.2"
    told = python(
        copy,
        *("-m", "reproduce", "plan", "reuserl", "--profile", "smoke", "--workers", "1"),
        *("--set", f"countdown_arms={arms}", "--set", "cooking_arms=", "--set", "household_arms="),
    )
    assert "10 of 10 runs to do" in told and "countdown/segcost_weight_0.2/seed-1" in told


def test_an_environment_is_one_folder(copy: Path) -> None:
    """A copy of countdown under another name is there for whoever asks, without a list to add it to."""
    folder = copy / "reproduce" / "environments"
    shutil.copytree(folder / "countdown", folder / "numbers")
    for file in (folder / "numbers").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("reproduce.environments.countdown", "reproduce.environments.numbers"))
    code = "from reproduce.environments.beds import ENVIRONMENTS, load_bed; print(load_bed('numbers').words()[:1]);"
    assert "numbers" in python(copy, "-c", code + "print(ENVIRONMENTS)")


def test_the_entry_point_is_that_of_the_test() -> None:
    assert 'fifth = "fifth_paper.paper:PAPER"' in RECIPES["entry point"]


@pytest.mark.parametrize("key", PACKAGED)
def test_a_verdict_enters_few_files(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From records to decision, of the paper's first claim."""
    paper = load_paper(key)
    records = paper.read_records(CHECKOUT / "reports" / "laptop" / key / "records")
    entered: set[str] = set()

    def note(frame, event, argument):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(CHECKOUT) and file.relative_to(CHECKOUT).parts[0] in ("theory", "methods", "reproduce"):
            entered.add(file.relative_to(CHECKOUT).as_posix())

    sys.setprofile(note)
    try:
        decide(paper.claims[:1], records)
    finally:
        sys.setprofile(None)
    with capsys.disabled():
        print(f"\n{paper.claims[0].identifier}: {len(entered)} files: {', '.join(sorted(entered))}")
    assert len(entered) <= MOST_FILES
