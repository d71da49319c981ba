"""Panels of ALFWorld's own games: as many of each task type as asked for, and no more read than needed."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reproduce.core.config import PanelSizes
from reproduce.core.files import UserError
from reproduce.environments.beds import load_bed, task_counts
from reproduce.environments.household import SceneSize, build_panels, solve, tables
from reproduce.environments.household.tasks import HouseholdTask

PANELS = build_panels(3, 2, 2, size=SceneSize(receptacles=6, objects=6))
FOLDER_OF_PANEL = {"train": "train", "test": "valid_seen", "ood": "valid_unseen"}
BED = load_bed("household")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Translations of this module's games in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RL_CLAIMS_CACHE", str(tmp_path_factory.mktemp("household cache")))
        yield


def write_game(folder: Path, task: HouseholdTask, **changes: Any) -> Path:
    """A game as ALFWorld keeps it."""
    game = {
        "pddl_domain": tables.domain(),
        "grammar": tables.grammar().replace(tables.UNKNOWN_GOAL, task.instruction),
        "pddl_problem": task.problem,
        "solvable": True,
    }
    lamp = task.category == "look_at_obj_in_light"
    asked = {"object_target": task.item, "parent_target": task.target, "toggle_target": task.target if lamp else ""}
    trajectory = {"task_type": task.category, "pddl_params": asked, "scene": {"floor_plan": "FloorPlan7"}}
    folder.mkdir(parents=True)
    (folder / "game.tw-pddl").write_text(json.dumps(game | changes))
    (folder / "traj_data.json").write_text(json.dumps(trajectory))
    return folder / "game.tw-pddl"


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as `alfworld-download` makes them: the task type begins the name of a folder."""
    folder = tmp_path_factory.mktemp("alfworld") / "json_2.1.1"
    for panel, name in FOLDER_OF_PANEL.items():
        for place, task in enumerate(PANELS[panel].tasks):
            write_game(folder / name / f"{task.category}-{task.item}-None-{task.target}-{place}" / "trial_T1", task)
    return folder.parent


def sizes_of(folder: Path, train: int = 2, test: int = 1, ood: int = 1) -> PanelSizes:
    return PanelSizes(train, test, ood, source=str(folder))


def test_each_task_type_has_as_many_games_as_asked_for_or_all_there_are(games: Path) -> None:
    for sizes, expected in ((sizes_of(games), (2, 1, 1)), (sizes_of(games, 99, 99, 99), (3, 2, 2))):
        BED.check_source(sizes)
        panels = BED.panels(sizes)
        for name, count in zip(FOLDER_OF_PANEL, expected, strict=True):
            types = Counter(task.category for task in panels[name].tasks)
            assert types == dict.fromkeys(tables.CATEGORIES, count)
            assert list(types) == list(tables.CATEGORIES), "categories stand together, in one order"
        assert task_counts("household", sizes) == {name: len(panel.tasks) for name, panel in panels.items()}
    few, all_of_them = BED.panels(sizes_of(games)), BED.panels(sizes_of(games, 99, 99, 99))
    for category in tables.CATEGORIES:
        assert few["train"].select(category) == all_of_them["train"].select(category)[:2]
    known = {task.problem for task in PANELS["train"].tasks}
    assert {task.problem for task in all_of_them["train"].tasks} == known


def test_a_game_of_the_source_is_played_in_the_engines_own_words(games: Path) -> None:
    sizes = sizes_of(games)
    environment, task = BED.environment(sizes, full_texts=True), BED.panels(sizes)["test"].tasks[0]
    assert f"Your task is to: {task.instruction}" in environment.reset(task)
    history: tuple[str, ...] = ()
    for action in (f"> {action.capitalize()}.\nand so on" for action in solve(task)):
        last = environment.step(task, history, action)
        history += (action,)
    assert last.success


def test_games_beyond_the_sizes_are_not_read(tmp_path: Path) -> None:
    tasks = PANELS["train"].select("pick_and_place_simple")
    for place, task in enumerate(tasks):
        write_game(tmp_path / "train" / f"{task.category}-x-{place}" / "trial", task)
    first = BED.panels(sizes_of(tmp_path, 1, 0, 0))["train"].tasks[0].identifier
    for place in range(len(tasks)):
        name = f"train/pick_and_place_simple-x-{place}/trial"
        if name != first:
            (tmp_path / name / "game.tw-pddl").write_text("damaged")
    assert [task.identifier for task in BED.panels(sizes_of(tmp_path, 1, 0, 0))["train"].tasks] == [first]
    with pytest.raises(UserError, match=re.escape("game.tw-pddl: damaged")):
        BED.panels(sizes_of(tmp_path, 2, 0, 0))


def test_what_is_missing_is_said_in_one_line(games: Path, tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, "no games in a folder train")):
        with pytest.raises(UserError, match=f"{said}; alfworld-download") as refused:
            BED.check_source(sizes_of(folder))
        assert "\n" not in str(refused.value)
    task = PANELS["train"].tasks[0]
    write_game(tmp_path / "train" / "a" / "trial", task)
    with pytest.raises(UserError, match="no games in a folder valid_seen"):
        BED.check_source(sizes_of(tmp_path))
    BED.check_source(sizes_of(tmp_path, 1, 0, 0))
    write_game(tmp_path / "valid_seen" / "b" / "trial", PANELS["test"].tasks[0], solvable=False)
    with pytest.raises(UserError, match="no game for test that can be played"):
        BED.panels(sizes_of(tmp_path, 1, 1, 0))


def test_a_game_in_train_and_test_is_named(tmp_path: Path) -> None:
    task = PANELS["train"].tasks[0]
    trained, tested = (write_game(tmp_path / name / "a" / "trial", task) for name in ("train", "valid_seen"))
    with pytest.raises(UserError) as refused:
        BED.panels(sizes_of(tmp_path, 1, 1, 0))
    assert str(refused.value) == f"{tested}: the same task is in the training data ({trained})"
