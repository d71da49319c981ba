"""One smoke run from the command line, shared by every test that only reads what a run leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

CHECKOUT = Path(__file__).parents[2]


def start_reproduce(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m reproduce` in `folder`, as the leader of its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "reproduce", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run_reproduce(folder: Path, *arguments: str) -> SimpleNamespace:
    """Exit code and output of `python -m reproduce` in `folder`."""
    process = start_reproduce(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return SimpleNamespace(code=process.returncode, out=out, err=err)


@pytest.fixture(scope="session")
def command_line() -> SimpleNamespace:
    """The command line in a process of its own: `run` to its end, or `start`."""
    return SimpleNamespace(run=run_reproduce, start=start_reproduce)


@pytest.fixture(scope="session")
def smoke_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke profile has run without interruption: `runs` and `reports` lie in it. Read only."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run_reproduce(folder, "run", "pass_kt", "--profile", "smoke", "--workers", "1")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def smoke_copy(smoke_folder: Path, tmp_path: Path) -> Path:
    """A copy of the smoke folder that a test may damage."""
    return Path(shutil.copytree(smoke_folder, tmp_path / "smoke"))


@pytest.fixture
def reproduce_in_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """The command line in this process: quick, since torch is loaded once for all tests."""

    def call(folder: Path, *arguments: str) -> SimpleNamespace:
        from reproduce.cli.command_line import main

        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "120")
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return call
