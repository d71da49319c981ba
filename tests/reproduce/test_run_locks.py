"""A run folder belongs to one process at a time; another one is refused, or waits where it was told to."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from reproduce.core.files import FolderInUse, UserError, write_json
from reproduce.papers.pass_kt.experiment import PROFILES, plan
from reproduce.runs.execute import LOCK_SECONDS, execute

RUN = plan(PROFILES["smoke"])[0]


@pytest.fixture
def lock(tmp_path: Path) -> FileLock:
    """The lock of a complete run."""
    folder = tmp_path / RUN.name
    folder.mkdir(parents=True)
    write_json(folder / "manifest.json", {"exit_state": "complete"})
    return FileLock(folder / ".lock", thread_local=False)


def test_a_folder_in_use_is_refused_at_once(lock: FileLock, tmp_path: Path) -> None:
    assert issubclass(FolderInUse, UserError)
    with lock:
        begun = time.monotonic()
        with pytest.raises(FolderInUse, match="in use by another process"):
            execute(RUN, tmp_path)
        assert time.monotonic() - begun < 1
    execute(RUN, tmp_path)


def test_a_run_taken_up_again_waits_for_the_lock_of_a_lost_worker(lock: FileLock, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(LOCK_SECONDS, "30")
    lock.acquire()
    held_until = threading.Timer(0.4, lock.release)
    held_until.start()
    begun = time.monotonic()
    execute(RUN, tmp_path)
    assert 0.3 < time.monotonic() - begun < 10
    monkeypatch.setenv(LOCK_SECONDS, "0.2")
    with lock, pytest.raises(FolderInUse):
        execute(RUN, tmp_path)
