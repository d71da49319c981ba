"""The household: its engine against the stock one, solvable and disjoint panels, and any text as an action."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reproduce.core.files import UserError
from reproduce.environments.household import (
    HORIZON,
    SKILLS,
    Demonstrator,
    HouseholdEnvironment,
    HouseholdTask,
    SceneSize,
    build_panels,
    canonical_forms,
    demonstrate,
    explain,
    held_out_forms,
    load_official_games,
    random_action,
    solve,
    tables,
    words,
)
from reproduce.environments.household.environment import LONGEST_ACTION, loaded_game, skill_of
from reproduce.environments.household.layouts import layouts
from reproduce.environments.household.problem import contents_of, problem_of
from reproduce.environments.household.tasks import CATEGORIES, LAMP, TWO, draw_task, is_held_out
from reproduce.environments.household.terse import NOTHING, terse
from reproduce.environments.protocol import Panel, check_disjoint

PANELS = build_panels(train_per_category=2, test_per_category=1, ood_per_category=1)
TASKS = [task for panel in PANELS.values() for task in panel.tasks]
ENVIRONMENT = HouseholdEnvironment()
FULL = HouseholdEnvironment("full")
MIXED = Demonstrator(
    knows_places=0.3,
    checks=0.1,
    detour=0.2,
    slip=0.1,
    wrong_object=0.3,
    skips_process=0.3,
    splits_pair=0.5,
    gives_up=0.02,
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Translations of this module's games in a folder of their own."""
    folder = tmp_path_factory.mktemp("household cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RL_CLAIMS_CACHE", str(folder))
        yield folder


def play(environment: HouseholdEnvironment, task: HouseholdTask, actions: tuple[str, ...]) -> list[Any]:
    return [environment.step(task, actions[:place], action) for place, action in enumerate(actions)]


def stock_engine(task: HouseholdTask, folder: Path) -> Any:
    """TextWorld's own environment, with ALFWorld's own names, on the same game."""
    from textworld import EnvInfos
    from textworld.envs.pddl.pddl import PddlEnv

    with pytest.MonkeyPatch.context() as patch:
        # Importing alfworld creates this folder.
        patch.setenv("ALFWORLD_DATA", str(folder / "alfworld"))
        patch.setattr(sys, "argv", list(sys.argv))
        from alfworld.agents.utils.misc import Demangler

        engine = PddlEnv(EnvInfos(won=True, admissible_commands=True, policy_commands=True))
        grammar = tables.grammar().replace(tables.UNKNOWN_GOAL, task.instruction)
        engine.load({"pddl_domain": tables.domain(), "grammar": grammar, "pddl_problem": task.problem})
        names = Demangler(game_infos=engine._entity_infos)
        for entity in engine._entity_infos.values():
            entity.name = names.demangle_alfred_name(entity.id)
    return engine


def play_beside_stock(task: HouseholdTask, folder: Path, random_steps: int, seed: int) -> int:
    """Random actions, then a plan from the start, in both engines; how many steps were compared."""
    stock = stock_engine(task, folder)
    generator = random.Random(seed)
    state = stock.reset()
    plan = tuple(state["policy_commands"])
    stock.request_infos.policy_commands = False
    assert plan == solve(task)
    assert FULL.reset(task) == state.feedback
    compared = 0
    for actions in (None, plan):
        state, history = stock.reset(), ()
        for place in range(random_steps if actions is None else len(actions)):
            position = FULL.position(task, history)
            assert list(position.commands) == state["admissible_commands"]
            refused = generator.random() < 0.1
            drawn = "take it" if refused else generator.choice(position.commands)
            action = drawn if actions is None else actions[place]
            state, score, done = stock.step(action)
            history += (action,)
            observed = FULL.step(task, history[:-1], action)
            reached = FULL.position(task, history)
            assert (observed.success, observed.done) == (bool(score), done)
            assert observed.text == ("" if done else state.feedback)
            assert reached.text == state.feedback or state.feedback == "Nothing happens."
            compared += 1
    assert done
    return compared


@pytest.mark.parametrize("category", [LAMP, "pick_heat_then_place_in_recep"])
def test_texts_and_verdicts_are_those_of_the_stock_engine(category: str, tmp_path: Path) -> None:
    task = PANELS["train"].select(category)[0]
    assert play_beside_stock(task, tmp_path, random_steps=12, seed=1) > 12


@pytest.mark.slow
def test_all_texts_and_verdicts_are_those_of_the_stock_engine(tmp_path: Path) -> None:
    assert sum(play_beside_stock(task, tmp_path, 60, seed) for seed, task in enumerate(TASKS)) > 1000


def test_the_grammar_alone_makes_the_stock_engine_write_the_same(tmp_path: Path) -> None:
    from reproduce.environments.household.grammar import FastGrammar

    task = PANELS["test"].select(LAMP)[0]
    stock, fast = stock_engine(task, tmp_path), stock_engine(task, tmp_path)
    fast._logic.grammar = FastGrammar.of(fast._logic.grammar)
    states = [stock.reset(), fast.reset()]
    for action in (*solve(task), "inventory", "look", "help", "open it"):
        assert states[0].feedback == states[1].feedback
        assert states[0]["admissible_commands"] == states[1]["admissible_commands"]
        states = [engine.step(action)[0] for engine in (stock, fast)]
    assert states[0].feedback == states[1].feedback


@pytest.mark.parametrize(
    "expression", ["__import__('os').getcwd()", "r.name.upper()", "r.__class__", "r.name * 9", "[r for r in 'ab']", "1"]
)
def test_a_grammar_can_read_and_join_fields_and_nothing_else(expression: str) -> None:
    from reproduce.environments.household.grammar import _expression

    with pytest.raises(ValueError, match="a grammar may not ask for"):
        _expression(expression)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)
def test_the_engine_solves_every_task_within_the_horizon(task: HouseholdTask) -> None:
    plan = solve(task)
    observations = play(ENVIRONMENT, task, plan)
    assert len(plan) <= HORIZON
    assert [observation.done for observation in observations] == [False] * (len(plan) - 1) + [True]
    assert observations[-1].success and observations[-1].text == ""
    assert observations[-1].skill == ("process" if plan[-1].startswith("use") else skill_of(plan[-1], True, True))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)
def test_a_demonstrator_without_mistakes_solves_every_task_by_searching(task: HouseholdTask) -> None:
    turns = demonstrate(task, HORIZON, random.Random(0))
    actions = tuple(turn.text for turn in turns if turn.by_policy)
    assert play(ENVIRONMENT, task, actions)[-1].success
    assert len(actions) >= len(solve(task))


@pytest.mark.parametrize("observations", ["terse", "full"])
def test_demonstrations_are_what_the_environment_says(observations: Any) -> None:
    environment = HouseholdEnvironment(observations)
    ended = set()
    for seed, task in enumerate(TASKS):
        turns = demonstrate(task, HORIZON, random.Random(seed), MIXED, observations)
        assert turns[0].text == environment.reset(task)
        assert [turn.by_policy for turn in turns] == [place % 2 == 1 for place in range(len(turns))]
        actions = tuple(turn.text for turn in turns if turn.by_policy)
        replayed = play(environment, task, actions)
        assert [turn.text for turn in turns[2::2]] == [observation.text for observation in replayed[:-1]]
        assert replayed[-1].done or len(actions) == HORIZON
        ended.add(replayed[-1].success)
    assert ended == {True, False}


@pytest.mark.parametrize(
    ("habit", "category"),
    [
        ("skips_process", "pick_heat_then_place_in_recep"),
        ("splits_pair", "pick_two_obj_and_place"),
        ("gives_up", "pick_and_place_simple"),
    ],
)
def test_mistakes_make_a_demonstration_fail(habit: str, category: str) -> None:
    chosen = [
        task
        for task in build_panels(12, 1, 1)["train"].select(category)
        if habit != "splits_pair" or loaded_receptacles(task).count(task.target) > 1
    ][:4]
    assert chosen
    failures = 0
    for task in chosen:
        turns = demonstrate(task, HORIZON, random.Random(3), Demonstrator(**{habit: 1.0}))
        actions = tuple(turn.text for turn in turns if turn.by_policy)
        failures += not play(ENVIRONMENT, task, actions)[-1].success
    # Losing the thread can still end well.
    assert failures >= len(chosen) - 1


def loaded_receptacles(task: HouseholdTask) -> list[str]:
    return [kind for kind, _ in contents_of(task.problem)]


@pytest.mark.parametrize("habit", ["checks", "detour", "slip", "wrong_object"])
def test_detours_cost_rounds_and_still_succeed(habit: str) -> None:
    careful, with_habit, solved = 0, 0, 0
    for task in PANELS["train"].tasks:
        careful += len(demonstrate(task, 100, random.Random(1)))
        turns = demonstrate(task, 100, random.Random(1), Demonstrator(**{habit: 0.9}))
        with_habit += len(turns)
        actions = tuple(turn.text for turn in turns if turn.by_policy)
        solved += play(ENVIRONMENT, task, actions)[-1].success
    assert with_habit > careful
    assert solved == len(PANELS["train"].tasks)


def test_who_knows_the_places_is_faster() -> None:
    lengths = [
        sum(len(demonstrate(task, HORIZON, random.Random(1), demonstrator)) for task in TASKS)
        for demonstrator in (Demonstrator(), Demonstrator(knows_places=1.0))
    ]
    assert lengths[1] < 0.9 * lengths[0]


def test_terse_texts_are_short_and_every_word_is_in_the_vocabulary() -> None:
    known, generator = set(words()), random.Random(4)
    assert len(words()) == len(set(words())) < 200
    texts: list[str] = []
    for task in TASKS:
        history: tuple[str, ...] = ()
        texts.append(ENVIRONMENT.reset(task))
        for _ in range(25):
            history += (random_action(task, history, generator),)
            texts += [history[-1], ENVIRONMENT.step(task, history[:-1], history[-1]).text]
    assert max(len(text.split()) for text in texts) <= 40
    for text in set(texts):
        assert set(text.split()) <= known, text
        assert " ".join(text.split()) == text


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("You arrive at cabinet 1. The cabinet 1 is closed.", "cabinet 1 closed"),
        ("You arrive at desk 2. On the desk 2, you see a cd 1, and a pen 2.", "desk 2 : cd 1 pen 2"),
        ("You open the safe 1. The safe 1 is open. In it, you see nothing.", "safe 1 : nothing"),
        ("You pick up the pen 2 from the desk 2.", "holding pen 2"),
        ("You move the pen 2 to the bed 1.", "pen 2 in bed 1"),
        ("You heat the egg 1 using the microwave 1.", "hot egg 1"),
        ("You are carrying: a egg 1.", "holding egg 1"),
        ("This is a hot and clean sliced apple 1.", "hot clean sliced apple 1"),
        ("You turn off the desklamp 1.", "desklamp 1 off"),
        ("Nothing happens.", NOTHING),
    ],
)
def test_the_terse_rule(full: str, short: str) -> None:
    assert terse(full) == short


def test_the_terse_rule_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="not a text of the engine: 'You fly'"):
        terse("You fly")


def test_terse_texts_keep_what_the_full_ones_say() -> None:
    """Receptacles, objects and their numbers, whether something is closed: read from the full text independently."""
    generator = random.Random(5)
    for task in TASKS[::3]:
        history: tuple[str, ...] = ()
        for _ in range(20):
            history += (random_action(task, history, generator),)
            full = FULL.step(task, history[:-1], history[-1]).text
            short = ENVIRONMENT.step(task, history[:-1], history[-1]).text
            if full.startswith(("You arrive", "You open")):
                assert set(re.findall(r"[a-z]+ \d+", full)) == set(re.findall(r"[a-z]+ \d+", short))
                assert ("is closed" in full) == short.endswith("closed")


def test_skills_follow_verb_and_hands() -> None:
    task = PANELS["train"].select("pick_heat_then_place_in_recep")[0]
    plan = solve(task)
    skills = [observation.skill for observation in play(ENVIRONMENT, task, plan)]
    held = False
    for action, skill in zip(plan, skills, strict=True):
        verb = action.split()[0]
        assert skill == {"take": "take", "heat": "process", "move": "deliver"}.get(
            verb, "transport" if held else "search"
        )
        held = held or verb == "take"
    assert {"take", "process", "deliver", "search", "transport"} <= set(skills)
    assert ENVIRONMENT.step(task, (), "look").skill == "inform"
    assert ENVIRONMENT.step(task, (), "heat it").skill == "invalid"
    assert {*skills, "inform", "invalid"} == set(SKILLS)


def test_panels_are_disjoint_and_the_check_notices_a_leak() -> None:
    forms = [canonical_forms(panel) for panel in PANELS.values()]
    check_disjoint(list(PANELS.values()), forms)
    leaked = Panel("test", PANELS["train"].tasks[:1])
    with pytest.raises(ValueError, match="panels train and test share"):
        check_disjoint([PANELS["train"], leaked], [forms[0], canonical_forms(leaked)])
    wrong = Panel("ood", PANELS["test"].tasks)
    with pytest.raises(ValueError, match="panels train and ood share"):
        check_disjoint([PANELS["train"], wrong], [held_out_forms(PANELS["train"]), held_out_forms(wrong)])


def test_canonical_forms_do_not_depend_on_numbering() -> None:
    goal = "(:goal (and)))"
    first = problem_of(["Cabinet", "Cabinet", "Desk"], [("Pen", 0), ("Book", 2)], goal)
    second = problem_of(["Desk", "Cabinet", "Cabinet"], [("Book", 0), ("Pen", 2)], goal)
    other = problem_of(["Desk", "Cabinet", "Cabinet"], [("Book", 1), ("Pen", 2)], goal)
    assert contents_of(first) == contents_of(second) != contents_of(other)


def test_unseen_layouts_and_pairs_are_for_ood_alone_and_every_room_has_some() -> None:
    seen, unseen = layouts(SceneSize().receptacles)
    assert {layout.room for layout in seen} == {layout.room for layout in unseen} == set(tables.tables().floor_plans)
    assert not {layout.receptacles for layout in seen} & {layout.receptacles for layout in unseen}
    names = {layout.name for layout in seen}
    for name, panel in PANELS.items():
        assert {task.category for task in panel.tasks} == set(CATEGORIES)
        for task in panel.tasks:
            assert is_held_out(task.item, task.target) == (name == "ood")
            assert (task.layout in names) == (name != "ood")


def test_panels_depend_on_the_seed_alone_and_grow_by_appending() -> None:
    again, larger = build_panels(2, 1, 1), build_panels(3, 2, 2)
    other = build_panels(2, 1, 1, train_seed=1, test_seed=1)
    for name, panel in PANELS.items():
        assert again[name].sha256 == panel.sha256 != other[name].sha256
        assert set(panel.tasks) <= set(larger[name].tasks)


def test_nothing_asked_for_is_in_its_place_at_the_start() -> None:
    for task in TASKS:
        wanted = 2 if task.category == "pick_two_obj_and_place" else 1
        holding = [kind for kind, things in contents_of(task.problem) for thing in things if thing == task.item]
        assert len(holding) == wanted
        assert task.category == LAMP or task.target not in holding


def test_numbers_do_not_tell_where_things_lie() -> None:
    ordered = []
    for seed in range(300):
        task = draw_task("x", "train", TWO, random.Random(seed))
        kind = re.escape(f"{task.item}Type")
        things = re.findall(rf"\(objectType (\S+) {kind}\)", task.problem)
        places = [
            task.problem.index(f"(receptacleType {place} ")
            for thing in sorted(things)
            for place in re.findall(rf"\(inReceptacle {thing} (\S+)\)", task.problem)
        ]
        assert len(places) == 2
        ordered += [places[0] < places[1]] if places[0] != places[1] else []
    assert len(ordered) > 100 and 0.35 < sum(ordered) / len(ordered) < 0.65


def test_no_two_tasks_of_a_panel_differ_in_numbers_alone() -> None:
    tasks = [task for task in build_panels(12, 6, 6)["train"].tasks if task.category == TWO]
    assert len({(task.layout, task.item, task.target, contents_of(task.problem)) for task in tasks}) == 12


def test_sizes_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="with 5 receptacles"):
        draw_task("x", "train", CATEGORIES[0], random.Random(0), SceneSize(receptacles=5))
    larger = draw_task("x", "train", CATEGORIES[0], random.Random(0), SceneSize(receptacles=14, objects=20))
    assert 8 < len(contents_of(larger.problem)) <= 14 and solve(larger)


def transcript(seed: int) -> str:
    """Digest of panels, plans, demonstrations and a random walk."""
    digest = hashlib.sha256()
    panels = build_panels(1, 1, 1)
    for panel in panels.values():
        digest.update(panel.sha256.encode())
        task = panel.tasks[seed % len(panel.tasks)]
        digest.update(repr((solve(task), explain(task), words())).encode())
        digest.update(repr(demonstrate(task, HORIZON, random.Random(seed), MIXED)).encode())
        history: tuple[str, ...] = ()
        generator = random.Random(seed)
        for _ in range(10):
            history += (random_action(task, history, generator),)
            digest.update(FULL.step(task, history[:-1], history[-1]).text.encode())
    return digest.hexdigest()


def test_another_process_with_other_hashes_gets_the_same(tmp_path: Path) -> None:
    code = f"""
import hashlib, random
from reproduce.environments.household import *
FULL, MIXED = HouseholdEnvironment("full"), {MIXED!r}
{inspect.getsource(transcript)}
print(transcript(2))
"""
    environment = os.environ | {"PYTHONHASHSEED": "77", "RL_CLAIMS_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == transcript(2)
    assert done.stderr == ""


@pytest.mark.parametrize("positions", [1, 2, 3, 7])
def test_results_do_not_depend_on_what_is_kept(positions: int) -> None:
    generator = random.Random(6)
    tasks = TASKS[:3]
    fresh, forgetful = HouseholdEnvironment(), HouseholdEnvironment(positions=positions)
    walks: dict[HouseholdTask, tuple[str, ...]] = dict.fromkeys(tasks, ())
    for _ in range(60):
        task = generator.choice(tasks)
        if generator.random() < 0.2:
            walks[task] = walks[task][: generator.randrange(len(walks[task]) + 1)]
        action = generator.choice([*fresh.commands(task, walks[task])[:4], "nonsense", "nonsense"])
        assert fresh.step(task, walks[task], action) == forgetful.step(task, walks[task], action)
        walks[task] += (action,)
    assert len(forgetful._kept) == positions


def test_nothing_still_happens_when_the_position_before_was_dropped() -> None:
    environment = HouseholdEnvironment(positions=3)
    first = environment.step(TASKS[0], (), "nonsense")
    for action in ("look", "nonsense", "inventory", "nonsense"):
        observation = environment.step(TASKS[0], (), action)
    assert observation == first


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_any_string_is_an_action(action: str) -> None:
    task = TASKS[0]
    observation = ENVIRONMENT.step(task, (action, "look"), action)
    if action.strip() not in ENVIRONMENT.commands(task, ()):
        assert (observation.text, observation.skill, observation.done) == (NOTHING, "invalid", False)


@pytest.mark.parametrize(
    "action",
    [
        "",
        "\x00\x1b[2J",
        "go to",
        "{0.__class__}",
        "%s %n",
        "../../etc/passwd",
        "go to {r}",
        "#intro#",
        "__import__('os').system('true')",
        "GO TO CABINET 1",
        "look\x00",
        "z" * 100_000,
        "look" + " " * 100_000,
        "\ud800",
    ],
)
def test_odd_actions_change_nothing(action: str) -> None:
    task = TASKS[0]
    before = FULL.position(task, ("inventory",))
    observation = FULL.step(task, ("inventory",), action)
    assert (observation.text, observation.skill) == ("Nothing happens.", "invalid")
    assert not observation.done and not observation.success
    assert FULL.position(task, ("inventory", action)) is before
    assert all(len(text) <= LONGEST_ACTION for _, history in FULL._kept for text in history)


def test_explain_says_what_is_asked_where_things_are_the_trap_and_a_solution() -> None:
    for task in PANELS["test"].tasks[::2]:
        text = explain(task)
        assert task.instruction in text and "The trap: " in text
        assert "\n".join(f"  {command}" for command in solve(task)) in text
        assert all(f"  {kind}: " in text for kind in loaded_receptacles(task))


def test_random_policies_score_as_documented() -> None:
    """Two of these 24 tasks at most: with the documented share of 1 % more would be a matter of 0.2 %."""
    generator = random.Random(8)
    won = 0
    for task in TASKS:
        history: tuple[str, ...] = ()
        for _ in range(HORIZON):
            history += (random_action(task, history, generator),)
            if ENVIRONMENT.step(task, history[:-1], history[-1]).success:
                won += 1
                break
    assert won <= 2


def test_a_damaged_translation_is_made_again(cache: Path) -> None:
    task = draw_task("x", "train", CATEGORIES[0], random.Random(99))
    text = FULL.reset(task)
    for file in cache.glob("household/*/translation.json.gz"):
        file.write_bytes(file.read_bytes()[:100])
    loaded_game.cache_clear()
    assert HouseholdEnvironment("full").reset(task) == text


def test_a_problem_that_is_none_is_named() -> None:
    broken = dataclasses.replace(TASKS[0], identifier="broken-0001", problem="(define (problem x) (:domain alfred))")
    arguments = list(sys.argv)
    with pytest.raises(UserError, match="broken-0001: no problem of the household's domain"):
        ENVIRONMENT.reset(broken)
    assert sys.argv == arguments


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    task = draw_task("x", "train", CATEGORIES[0], random.Random(98))
    loaded_game.cache_clear()
    monkeypatch.delitem(sys.modules, "reproduce.environments.household.engine", raising=False)
    monkeypatch.setitem(sys.modules, "textworld", None)
    monkeypatch.setitem(sys.modules, "textworld.envs.pddl", None)
    with pytest.raises(UserError, match=r"household needs textworld; install rl-claims\[household\]"):
        HouseholdEnvironment().reset(task)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"household needs alfworld; install rl-claims\[household\]"):
        tables.package_folder()


def test_the_package_is_imported_without_its_engines() -> None:
    code = (
        "import sys, reproduce.environments.household as h; h.build_panels(1, 1, 1)\n"
        "print([name for name in ('textworld', 'fast_downward', 'alfworld') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# ---- official games


def write_game(folder: Path, task: HouseholdTask, **changes: Any) -> Path:
    """A game as ALFWorld keeps it."""
    game = {
        "pddl_domain": tables.domain(),
        "grammar": tables.grammar().replace(tables.UNKNOWN_GOAL, task.instruction),
        "pddl_problem": task.problem.replace("(:init", "(:init\n(= (distance loc_bar_00 loc_bar_01) 12)"),
        "solvable": True,
    }
    target = "toggle_target" if task.category == LAMP else "parent_target"
    asked = {"object_target": task.item, "parent_target": "", "toggle_target": "", target: task.target}
    trajectory = {"task_type": task.category, "pddl_params": asked, "scene": {"floor_plan": "FloorPlan7"}}
    folder.mkdir(parents=True)
    (folder / "game.tw-pddl").write_text(json.dumps(game | changes))
    (folder / "traj_data.json").write_text(json.dumps(trajectory))
    return folder / "game.tw-pddl"


def test_official_games_are_loaded_and_played(tmp_path: Path) -> None:
    given_tasks = [TASKS[0], PANELS["train"].select(LAMP)[0]]
    for place, task in enumerate(given_tasks):
        write_game(tmp_path / "json_2.1.1" / "valid_seen" / f"game-{place}" / "trial_1", task)
    write_game(tmp_path / "json_2.1.1" / "valid_unseen" / "pick_x-Sliced" / "trial_1", TASKS[0])
    write_game(tmp_path / "json_2.1.1" / "valid_unseen" / "pick_y" / "trial_1", TASKS[0], solvable=False)
    panels = load_official_games(tmp_path)
    assert list(panels) == ["test"]
    for task, original in zip(panels["test"].tasks, given_tasks, strict=True):
        assert (task.category, task.instruction) == (original.category, original.instruction)
        assert (task.item, task.target, task.layout) == (original.item, original.target, "FloorPlan7")
        assert "distance" not in task.problem
        assert ENVIRONMENT.reset(task) == ENVIRONMENT.reset(original)
        assert play(ENVIRONMENT, task, solve(original))[-1].success
    assert (
        load_official_games(tmp_path / "json_2.1.1" / "valid_seen")["test"].tasks[0].problem
        == panels["test"].tasks[0].problem
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"pddl_domain": "(define (domain alfred))"},
            "its domain and grammar are of no known release",
        ),
        ({"grammar": "evaluate"}, "its domain and grammar are of no known release"),
        ({"grammar": "task"}, "its grammar has no instruction in plain words; refused"),
        ({"pddl_problem": f"(define (problem {'x' * 2000}))"}, "its problem has names that the engine cannot take"),
        ({"pddl_problem": "(define (problem x) (:init"}, "its problem is damaged"),
    ],
)
def test_other_games_are_refused_by_name(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    evil = "{__import__('os').system('touch evil')}"
    changes = dict(changes)
    if changes.get("grammar") == "evaluate":
        changes["grammar"] = tables.grammar().replace("You arrive at {r.name}", f"You arrive at {evil}")
    elif changes.get("grammar") == "task":
        changes["grammar"] = tables.grammar().replace(tables.UNKNOWN_GOAL, f"put {evil}")
    assert changes.get("grammar") != tables.grammar()
    write_game(tmp_path / "train" / "a good one", TASKS[0])
    file = write_game(tmp_path / "train" / "bad", TASKS[0], **changes)
    with pytest.raises(UserError, match=re.escape(f"{file}: {reason}")):
        load_official_games(tmp_path)
    with pytest.warns(UserWarning, match=re.escape(f"left out: {file}: {reason}")):
        assert len(load_official_games(tmp_path, skip_broken=True)["train"].tasks) == 1


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"grammar": 1}', "\x00"])
def test_damaged_official_games_are_named(tmp_path: Path, damage: str) -> None:
    file = write_game(tmp_path / "train" / "bad", TASKS[0])
    file.write_text(damage)
    with pytest.raises(UserError, match=re.escape(str(file))):
        load_official_games(tmp_path)
    with (
        pytest.warns(UserWarning, match=re.escape(f"left out: {file}")),
        pytest.raises(UserError, match=re.escape(f"{tmp_path}: no game.tw-pddl that can be played")),
    ):
        load_official_games(tmp_path, skip_broken=True)


THING = str(re.search(rf"\(objectType (\S+) {TASKS[0].item}Type\)", TASKS[0].problem)[1])  # type: ignore[index]


@pytest.mark.parametrize("name", ["1.0=?x", "?o", "__class__", "a" * 101, "a.b", "a-b", "_a", "1a"])
def test_objects_without_plain_names_are_refused(tmp_path: Path, name: str) -> None:
    file = write_game(tmp_path / "train" / "odd", TASKS[0], pddl_problem=TASKS[0].problem.replace(THING, name))
    with pytest.raises(UserError, match=re.escape(f"{file}: its problem has objects without plain names")):
        load_official_games(tmp_path)


def test_official_names_are_taken(tmp_path: Path) -> None:
    name = f"{TASKS[0].item}_bar__minus_00_dot_52_bar__plus_00_dot_94_bar__minus_01_dot_40"
    write_game(tmp_path / "train" / "good", TASKS[0], pddl_problem=TASKS[0].problem.replace(THING, name))
    task = load_official_games(tmp_path)["train"].tasks[0]
    assert play(ENVIRONMENT, task, solve(task))[-1].success


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (rf"\((inReceptacle|objectAtLocation) {THING} \S+\)", "", "its goal is out of reach"),
        (r"\(atLocation agent1 loc_bar_00\)", "", "its problem needs one agent in one location"),
        (r"agent1 - agent", "agent1 - object", "its problem needs one agent in one location"),
        (r"agent1 - agent|\(atLocation agent1 loc_bar_00\)", "", "its problem needs one agent in one location"),
        (r"\(:init", "(:init (openable ghost)", "its problem does not declare 'ghost'"),
        (rf"\b{THING}\b", "thing", "its problem has a thing 'thing'"),
        (rf"\b{THING}\b", "a1_bar_1", "its problem has a thing 'a1_bar_1'"),
        (r"\(:init", "(:init (openable)", "no problem of the household's domain"),
    ],
)
def test_games_that_cannot_be_played_are_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    problem = re.sub(old, new, TASKS[0].problem, flags=re.DOTALL)
    assert problem != TASKS[0].problem
    write_game(tmp_path / "train" / "the game", TASKS[0], pddl_problem=problem)
    task = load_official_games(tmp_path)["train"].tasks[0]
    for start in (solve, ENVIRONMENT.reset, explain):
        with pytest.raises(UserError, match=re.escape(f"train/the game: {reason}")):
            start(task)


@pytest.mark.parametrize("goal", ["(:goal (and)))", "(:goal (exists (?o - object) (holds agent1 ?o))))"])
def test_a_goal_that_no_task_type_has_is_refused(tmp_path: Path, goal: str) -> None:
    problem = re.sub(r"\(:goal.*", goal, TASKS[0].problem, flags=re.DOTALL)
    write_game(tmp_path / "train" / "the game", TASKS[0], pddl_problem=problem)
    with pytest.raises(UserError, match="its goal is not that of its task type, object and receptacle; refused"):
        load_official_games(tmp_path)


def test_line_ends_of_another_system_change_nothing(tmp_path: Path) -> None:
    grammar = tables.grammar().replace(tables.UNKNOWN_GOAL, TASKS[0].instruction)
    written = {"pddl_domain": tables.domain(), "grammar": grammar, "pddl_problem": TASKS[0].problem}
    write_game(tmp_path / "a" / "train" / "x", TASKS[0], **written)
    write_game(
        tmp_path / "b" / "train" / "x", TASKS[0], **{key: text.replace("\n", "\r\n") for key, text in written.items()}
    )
    first, second = (load_official_games(tmp_path / name)["train"].tasks for name in "ab")
    assert first == second


def test_only_names_below_the_given_folder_leave_a_game_out(tmp_path: Path) -> None:
    folder = tmp_path / "movable disk" / "Sliced"
    write_game(folder / "train" / "good", TASKS[0])
    write_game(folder / "train" / "pick-movable", TASKS[0])
    assert len(load_official_games(folder)["train"].tasks) == 1


def test_a_missing_folder_of_games_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'none'}: the folder does not exist")):
        load_official_games(tmp_path / "none")


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from(("train", "test", "ood")), st.sampled_from(CATEGORIES))
def test_any_seed_gives_a_task_that_both_experts_solve(seed: int, split: Any, category: str) -> None:
    check_seed(seed, split, category)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9), st.sampled_from(("train", "test", "ood")), st.sampled_from(CATEGORIES))
def test_some_seeds_give_a_task_that_both_experts_solve(seed: int, split: Any, category: str) -> None:
    check_seed(seed, split, category)


def check_seed(seed: int, split: Any, category: str) -> None:
    task = draw_task("x", split, category, random.Random(seed))
    assert task == draw_task("x", split, category, random.Random(seed))
    plan = solve(task)
    assert plan and len(plan) <= 11
    assert play(ENVIRONMENT, task, plan)[-1].success
    turns = demonstrate(task, HORIZON, random.Random(seed))
    actions = tuple(turn.text for turn in turns if turn.by_policy)
    replayed = play(ENVIRONMENT, task, actions)
    assert replayed[-1].success and len(actions) <= 25
    assert [turn.text for turn in turns[2::2]] == [observation.text for observation in replayed[:-1]]
