"""Files of public data sets as they are: every row is read, games are won, and one line for what is not as it was."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from methods.reset_buffer import ResetChoice
from reproduce.cli.command_line import main
from reproduce.cli.localize import measure, seed_of
from reproduce.core.files import UserError, read_json
from reproduce.environments.household import HouseholdEnvironment, load_official_games, solve
from reproduce.environments.household.environment import loaded_game
from reproduce.environments.household.official import read_game, release_of
from reproduce.environments.household.tables import CATEGORIES
from reproduce.environments.household.tasks import OfficialTask
from reproduce.environments.household.walkthrough import walkthrough
from reproduce.environments.reasoning import load_dataset_tasks
from reproduce.environments.reasoning.dataset import is_equivalent
from reproduce.environments.reasoning.labelled_chains import read_labelled_chains
from reproduce.environments.retrieval import HotpotCorpus, TaggedEnvironment, build_hotpot_panels, solve_hotpot
from tests.reproduce.real_data import real

FULL = HouseholdEnvironment("full")
PANELS = {"train": 80, "test": 95, "ood": 94}


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The released games, unpacked; translations in a folder of this module's own."""
    folder = tmp_path_factory.mktemp("alfworld")
    with tarfile.open(real("alfworld/games.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RL_CLAIMS_CACHE", str(tmp_path_factory.mktemp("games cache")))
        # Importing alfworld creates this folder.
        patch.setenv("ALFWORLD_DATA", str(tmp_path_factory.mktemp("alfworld data")))
        yield folder


@pytest.fixture(scope="module")
def tasks(games: Path) -> list[OfficialTask]:
    panels = load_official_games(games)
    assert {name: len(panel.tasks) for name, panel in panels.items()} == PANELS
    return [task for panel in panels.values() for task in panel.tasks]


def some_of_each(tasks: list[OfficialTask], count: int, seed: int) -> list[OfficialTask]:
    chosen = random.Random(seed).sample(tasks, len(tasks))
    return [task for kind in CATEGORIES for task in [one for one in chosen if one.category == kind][:count]]


def test_released_games_load_without_trajectories_and_are_won(tasks: list[OfficialTask]) -> None:
    assert Counter(task.category for task in tasks).keys() == set(CATEGORIES)
    for task in some_of_each(tasks, 1, seed=1):
        check_won(task)


@pytest.mark.slow
def test_every_released_game_is_won_within_the_horizon(tasks: list[OfficialTask]) -> None:
    for task in tasks:
        check_won(task)


def check_won(task: OfficialTask) -> None:
    plan = solve(task)
    assert 0 < len(plan) <= task.horizon == 50
    observations = [FULL.step(task, plan[:place], action) for place, action in enumerate(plan)]
    assert [one.success for one in observations] == [False] * (len(plan) - 1) + [True]
    terse = HouseholdEnvironment()
    assert terse.reset(task) and all(terse.step(task, plan[:place], action) for place, action in enumerate(plan))


def beside_stock(task: OfficialTask, random_steps: int, seed: int) -> tuple[int, float, float]:
    """Steps that were compared, and seconds of processor time of the stock engine and of ours."""
    from benchmarks.household import stock_engine

    stock, environment, generator = (
        stock_engine(task, fast_grammar=False),
        HouseholdEnvironment("full"),
        random.Random(seed),
    )
    state, history, seconds = stock.reset(), tuple[str, ...](), [0.0, 0.0]
    assert environment.reset(task) == state.feedback
    plan: list[str] = []
    while True:
        position = environment.position(task, history)
        assert list(position.commands) == state["admissible_commands"]
        if len(history) < random_steps:
            action = generator.choice(position.commands) if generator.random() < 0.95 else "take it"
        else:
            plan = plan or list(walkthrough(loaded_game(task), task, position))
            action = plan.pop(0)
        times = [time.process_time()]
        state, score, done = stock.step(action)
        times.append(time.process_time())
        observed = environment.step(task, history, action)
        times.append(time.process_time())
        seconds = [seconds[0] + times[1] - times[0], seconds[1] + times[2] - times[1]]
        history += (action,)
        assert (observed.done, observed.success) == (done, bool(score))
        assert observed.text == ("" if done else state.feedback)
        assert environment.position(task, history).text == state.feedback or state.feedback == "Nothing happens."
        if done:
            return len(history), *seconds


def test_texts_of_a_released_game_are_those_of_the_stock_engine(tasks: list[OfficialTask]) -> None:
    task = random.Random(3).choice([one for one in tasks if one.category == "pick_heat_then_place_in_recep"])
    assert beside_stock(task, 12, seed=1)[0] > 12


@pytest.mark.slow
def test_two_thousand_steps_are_those_of_the_stock_engine_and_ten_times_as_fast(tasks: list[OfficialTask]) -> None:
    steps, stock, ours = 0, 0.0, 0.0
    for seed, task in enumerate(random.Random(7).sample(tasks, len(tasks))):
        played = beside_stock(task, 30, seed)
        steps, stock, ours = steps + played[0], stock + played[1], ours + played[2]
        if steps >= 2000:
            break
    assert steps >= 2000 and stock >= 10 * ours


def damaged(games: Path, folder: Path, **changes: Any) -> Path:
    """A released game with other content, in a folder of the same name."""
    file = sorted((games / "json_2.1.1" / "train").glob("pick_and_place_simple-*/*/game.tw-pddl"))[0]
    copy = folder / file.relative_to(games)
    copy.parent.mkdir(parents=True)
    game = json.loads(file.read_text())
    copy.write_text(json.dumps(game | {name: change(game[name]) for name, change in changes.items()}))
    return copy


def test_the_first_release_is_known_too_and_has_its_own_words(games: Path, tmp_path: Path) -> None:
    """json_2.1.2 was made of json_2.1.1 by replacing these texts (scripts/patch_tw-pddl.py of alfworld); here back."""

    def unpatched(grammar: str) -> str:
        for new, old in (
            ("You arrive at {r.name}.", "You arrive at {lend.name}."),
            ("move {o} to {r}", "put {o} in/on {r}"),
            ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
        ):
            grammar = grammar.replace(new, old)
        return grammar[: grammar.index("\naction help {")]

    file = damaged(
        games,
        tmp_path,
        grammar=unpatched,
        pddl_domain=lambda text: text[: text.index("(:action help")] + text[text.rindex(")") :],
    )
    task = read_game(file, tmp_path)
    assert task is not None and release_of(task.domain, task.grammar) == "json_2.1.1"
    check_won(task)
    plan = solve(task)
    assert plan[-1].startswith("put ") and " in/on " in plan[-1]
    assert FULL.step(task, (), plan[0]).text.startswith("You arrive at loc ")
    assert beside_stock(task, 5, seed=0)[0] > 5


QUANTIFIERS = "".join(f"(exists (?o{place} - object) (and " for place in range(30))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pddl_domain": lambda text: text.replace("SinkType", "BathType")}, "of no known release"),
        ({"grammar": lambda text: text.replace("You arrive at", "{print(1)}")}, "of no known release"),
        ({"grammar": lambda text: text.replace("Your task is to: ", "Your task is to: {x}")}, "in plain words"),
        ({"pddl_problem": lambda text: text.replace("(exists (?r", f"{QUANTIFIERS} (exists (?r") + "))" * 30}, "goal"),
        ({"pddl_problem": lambda text: text.replace("(:init", "(:init (forall (?o - object) (holds ?o))")}, "form"),
        ({"pddl_problem": lambda text: text.replace("(:init", "(:init" + "(openable a_bar_1)" * 5000)}, "4000 facts"),
        ({"pddl_problem": lambda text: text[:2000]}, "damaged"),
    ],
)
def test_a_released_game_that_was_changed_is_refused_at_once(games: Path, tmp_path: Path, changes, reason) -> None:
    file = damaged(games, tmp_path, **changes)
    began = time.monotonic()
    with pytest.raises(UserError, match=reason) as refused:
        read_game(file, tmp_path)
    assert str(refused.value).startswith(f"{file}: ") and "\n" not in str(refused.value)
    assert time.monotonic() - began < 10


def test_what_is_asked_is_told_by_the_folder_or_not_at_all(games: Path, tmp_path: Path) -> None:
    file = damaged(games, tmp_path)
    assert read_game(file, tmp_path) is not None
    other = tmp_path / file.parent.parent.name.replace("-None-", "-None-Safe") / "trial"
    other.parent.mkdir()
    file.parent.rename(other)
    with pytest.raises(UserError, match="its goal is not that of its task type, object and receptacle"):
        read_game(other / file.name, tmp_path)
    shutil.move(other, tmp_path / "anything")
    with pytest.raises(UserError, match=r"no traj_data.json beside it, and no folder TYPE-OBJECT"):
        read_game(tmp_path / "anything" / file.name, tmp_path)


def test_a_folder_is_held_against_the_official_panels(games: Path, tmp_path: Path, capsys) -> None:
    assert main(["panels", "alfworld", "--alfworld-data", str(games)]) == 2
    said = capsys.readouterr()
    assert "valid_seen: 95 of 140 games as listed (json_2.1.2)" in said.out
    assert "valid_unseen: 94 of 134 games as listed (json_2.1.2)" in said.out
    assert said.err.count("\n") == 1 and "45 missing" in said.err and "40 missing" in said.err
    file = damaged(games, tmp_path, pddl_problem=lambda text: text.replace("(openable ", "(pickupable ", 1))
    seen = tmp_path / "valid_seen" / file.parent.parent.name / file.parent.name
    shutil.copytree(file.parent, seen)
    assert main(["panels", "alfworld", "--alfworld-data", str(tmp_path)]) == 2
    assert "1 not listed" in capsys.readouterr().err


def test_a_released_game_is_played_from_the_command_line(games: Path, capsys) -> None:
    arguments = ["play", "household", "--alfworld-data", str(games), "--panel", "ood", "--expert"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "-= Welcome to TextWorld, ALFRED! =-" in said and "success after" in said


# ---- mathematics


@pytest.mark.parametrize(
    ("name", "count", "answer"),
    [
        ("gsm8k_test", 1319, "18"),
        ("gsm8k_train_1500", 1500, "72"),
        ("math500", 500, "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("aime24", 30, "204"),
        ("minerva_math", 272, "1.6"),
    ],
)
def test_every_row_of_a_math_set_is_read_and_its_own_answer_is_right(name: str, count: int, answer: str) -> None:
    tasks = load_dataset_tasks(real(f"math/{name}.jsonl"))
    assert len(tasks) == count and tasks[0].answer == answer
    assert all(task.solution for task in tasks)
    for task in random.Random(name).sample(tasks, 25):
        assert is_equivalent(task.answer, task.answer) and not is_equivalent(task.answer, "\\text{none of these}")


# ---- questions and chains


def test_questions_of_hotpotqa_are_asked_and_answered() -> None:
    panels = build_hotpot_panels(real("hotpotqa"), 10, 10)
    environment = TaggedEnvironment(HotpotCorpus())
    for task in (*panels["train"].tasks, *panels["test"].tasks):
        actions = solve_hotpot(task)
        assert len(actions) == 3 and environment.step(task, actions[:-1], actions[-1]).success


@pytest.mark.parametrize(
    ("name", "chains", "wrong"),
    [
        ("dyck_languages", 986, 650),
        ("logical_deduction", 300, 294),
        ("multistep_arithmetic", 300, 238),
        ("tracking_shuffled_objects", 300, 260),
        ("word_sorting", 300, 266),
    ],
)
def test_localizers_are_measured_on_chains_of_other_models(name: str, chains: int, wrong: int, tmp_path: Path) -> None:
    file, out = real(f"bigbench_mistake/{name}.jsonl"), tmp_path / "numbers.json"
    found = read_labelled_chains(file)
    labelled = [one for one in found if one.first_error]
    assert (len(found), len(labelled)) == (chains, wrong)
    assert main(["localize", str(file), "--localizer", "first,last,uniform", "--json", str(out)]) == 0
    first, last, uniform = read_json(out)["localizers"]
    assert first["clean"] == 1 and first["exact"] == sum(one.first_error == 1 for one in labelled) / wrong
    assert (
        last["exact"]
        == pytest.approx(last["clean"])
        == sum(one.first_error == len(one.steps) for one in labelled) / wrong
    )
    expected = sum(1 / len(one.steps) for one in labelled) / wrong
    assert uniform["exact"] == pytest.approx(expected, abs=0.01)
    truth = [ResetChoice(one.first_error or 0) for one in labelled]
    perfect = measure("truth", lambda seeds, generator: truth, [seed_of(one) for one in labelled], labelled, 0)
    assert (perfect.exact, perfect.clean, perfect.deviation) == (1, 1, 0)
