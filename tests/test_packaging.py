"""The data files travel with the code, and the pins agree with the bounds."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = {
    canonicalize_name(requirement.name): requirement
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}


def data_files():
    """What the packages need besides their modules, as it stands in the checkout."""
    for pattern in ("papers/*/*.toml", "papers/*/*.md", "bases/**/*", "**/*.typ", "**/*.yaml"):
        for path in (ROOT / "reproduce").glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


def test_the_published_numbers_and_the_template_are_there():
    wanted = ("papers/pass_kt/published.toml", "papers/resets/deviations.md", "report/document.typ")
    assert {f"reproduce/{name}" for name in wanted} <= set(data_files())


@pytest.mark.parametrize(
    "requirement",
    PROJECT["project"]["dependencies"] + [line for group in PROJECT["dependency-groups"].values() for line in group],
)
def test_every_direct_dependency_is_pinned_within_its_bounds(requirement):
    wanted = Requirement(requirement)
    if {part.operator for part in wanted.specifier} == {"=="} and "*" not in str(wanted.specifier):
        return  # A pin of its own, as for what the benchmarks compare with.
    (pin,) = PINS[canonicalize_name(wanted.name)].specifier
    assert pin.operator == "=="
    assert wanted.specifier.contains(pin.version)


def test_pins_name_no_build_and_no_place():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for sign in ("+cpu", "://", "@", "--"):
        assert sign not in text


def test_the_version_stands_in_one_place():
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for package in ("theory", "methods", "reproduce"):
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(r"__version__\s*=\s*[\"']", path.read_text(encoding="utf-8")), path


def test_wheel_and_source_archive_hold_the_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    stem = f"rl_claims-{PROJECT['project']['version']}"

    with zipfile.ZipFile(tmp_path / f"{stem}-py3-none-any.whl") as archive:
        names = set(archive.namelist())
    assert set(data_files()) <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"theory", "methods", "reproduce"}
    assert not [name for name in names if "__pycache__" in name]

    with tarfile.open(tmp_path / f"{stem}.tar.gz") as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert set(data_files()) <= inside
    assert {"noxfile.py", "constraints.txt", "LICENSE", "pyproject.toml"} <= inside
