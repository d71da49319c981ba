"""A paper of another package, found by its entry point, gets plan, run, verdicts and report."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ENTRY_POINTS = """[rl_claims.papers]
fifth = fifth_paper.paper:PAPER
broken = fifth_paper.paper:NOTHING
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the package and its metadata, as an installation leaves them."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(Path(__file__).parent / "fifth_paper", folder / "fifth_paper")
    metadata = folder / "fifth_paper-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fifth-paper\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def reproduce(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{CHECKOUT}:{site}", "COLUMNS": "120", "PATH": "", "HOME": str(folder)}
    command = [sys.executable, "-m", "reproduce", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_paper_from_outside_is_planned_run_judged_and_reported(site: Path, tmp_path: Path) -> None:
    planned = reproduce(site, tmp_path, "plan", "fifth", "--profile", "smoke", "--workers", "1")
    assert planned.returncode == 0 and "6 of 6 runs to do" in planned.stdout, planned.stderr
    done = reproduce(site, tmp_path, "run", "fifth", "--profile", "smoke", "--workers", "1", "--report")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results" / "smoke" / "fifth" / "report.md").read_text(encoding="utf-8")
    for part in (
        "A paper from outside",
        "division-matters",
        "1.5 points",
        "generated chains of arithmetic",
        "withheld",
    ):
        assert part in text.replace("\u00a0", " ")


def test_what_a_paper_from_outside_lacks_is_said_in_one_line(site: Path, tmp_path: Path) -> None:
    for key, says in (("broken", "cannot be loaded"), ("fith", "fifth"), ("pass_k", "pass_kt")):
        done = reproduce(site, tmp_path, "plan", key, "--profile", "smoke")
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    listed = reproduce(site, tmp_path, "list", "fifth")
    assert "dr_grpo" in listed.stdout and "division-matters" in listed.stdout
