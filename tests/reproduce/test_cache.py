"""The cache of generated games: built once, verified, rebuilt when damaged, safe for many processes."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest

from reproduce.environments.cache import MANIFEST, cache_folder, is_intact, obtain

RECIPE = {"seed": 1, "engine": "1.0"}


def build_slowly(folder: Path) -> None:
    (folder.parent / "builds").open("a").write("one\n")
    time.sleep(0.3)
    (folder / "game.txt").write_text("a game")
    (folder / "walkthrough.txt").write_text("north")


def builds(folder: Path) -> int:
    return len((folder / "builds").read_text().splitlines())


def test_an_entry_is_built_once_and_found_again(tmp_path: Path) -> None:
    first = obtain(tmp_path, RECIPE, build_slowly)
    assert obtain(tmp_path, dict(reversed(RECIPE.items())), build_slowly) == first
    assert (first / "game.txt").read_text() == "a game" and builds(tmp_path) == 1
    assert obtain(tmp_path, RECIPE | {"seed": 2}, build_slowly) != first
    assert builds(tmp_path) == 2


@pytest.mark.parametrize(
    "damage",
    ["change", "remove", "manifest", "no manifest", "empty manifest", "list", "deep", "partial", "file", "link"],
)
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, damage: str) -> None:
    entry = obtain(tmp_path, RECIPE, build_slowly)
    match damage:
        case "change":
            (entry / "game.txt").write_text("b game")
        case "remove":
            (entry / "walkthrough.txt").unlink()
        case "manifest":
            (entry / MANIFEST).write_text('{"game.txt"')
        case "no manifest":
            (entry / MANIFEST).unlink()
        case "empty manifest":
            (entry / MANIFEST).write_text("{}")
        case "list":
            (entry / MANIFEST).write_text("[1]")
        case "deep":
            (entry / MANIFEST).write_text("[" * 100_000)
        case "partial":
            manifest = json.loads((entry / MANIFEST).read_text())
            (entry / MANIFEST).write_text(json.dumps({"game.txt": manifest["game.txt"]}))
        case "file":
            shutil.rmtree(entry)
            entry.write_text("no folder")
        case "link":
            shutil.rmtree(entry)
            entry.symlink_to(tmp_path / "nowhere")
    assert not is_intact(entry)
    assert obtain(tmp_path, RECIPE, build_slowly) == entry
    assert is_intact(entry) and (entry / "game.txt").read_text() == "a game" and builds(tmp_path) == 2


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("a")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        obtain(tmp_path, RECIPE, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert is_intact(obtain(tmp_path, RECIPE, build_slowly))


def test_processes_that_want_the_same_entry_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=obtain, args=(tmp_path, RECIPE, build_slowly)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert builds(tmp_path) == 1


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RL_CLAIMS_CACHE", str(tmp_path))
    assert cache_folder("cooking") == tmp_path / "cooking"
    monkeypatch.delenv("RL_CLAIMS_CACHE")
    assert cache_folder("cooking").name == "cooking" and cache_folder("cooking").is_absolute()
