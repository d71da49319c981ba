"""The cooking environment: real games, a real trap, one answer whatever was played before, robust to any action."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("textworld")

from reproduce.core.files import UserError, digest
from reproduce.environments.cache import cache_folder
from reproduce.environments.cooking import (
    DEFAULT_LEVELS,
    HORIZON,
    SKILLS,
    CookingEnvironment,
    CookingTask,
    Demonstrator,
    Level,
    build_panels,
    canonical_forms,
    demonstrate,
    explain,
    generation,
    prepared_foods,
    random_action,
    solve,
    words,
)
from reproduce.environments.cooking.commands import commands_of, parse, skill_of
from reproduce.environments.cooking.engine import Engine, Interpreter, clean, shared_engine
from reproduce.environments.cooking.environment import NO_COMMAND
from reproduce.environments.cooking.generation import STORY, Request, make_game, obtain_game, read_task, request_of
from reproduce.environments.cooking.tasks import CATEGORIES, COOK_OFF, COOK_ON, world_from_json
from reproduce.environments.cooking.terse import INVALID, STATES, is_open, is_refused, read_holders
from reproduce.environments.protocol import Observation, Panel, check_disjoint

pytestmark = pytest.mark.filterwarnings("ignore:Game .* is not fully supported")

ENVIRONMENT = CookingEnvironment()
FULL = CookingEnvironment("full")
LARGE = (Level(2, 2, True, 6), Level(3, 2, True, 9), Level(5, 3, True, 12, False), Level(2, 1, False, 12))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for this file, so that no test depends on games made before."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("RL_CLAIMS_CACHE", str(folder))
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def panels() -> dict[str, Panel[CookingTask]]:
    return build_panels(8, 2, 2)


@pytest.fixture(scope="module")
def tasks(panels: dict[str, Panel[CookingTask]]) -> list[CookingTask]:
    return [task for panel in panels.values() for task in panel.tasks]


def play(task: CookingTask, actions: tuple[str, ...], environment: CookingEnvironment = ENVIRONMENT) -> Observation:
    """The observation after the last action, or after the one that ended the game."""
    for place, action in enumerate(actions):
        observation = environment.step(task, actions[:place], action)
        if observation.done:
            break
    return observation


def random_history(task: CookingTask, generator: random.Random, length: int) -> tuple[str, ...]:
    """Random commands, none of which ends the game."""
    history: tuple[str, ...] = ()
    for _ in range(length):
        action = random_action(task, history, generator)
        if not ENVIRONMENT.step(task, history, action).done:
            history = (*history, action)
    return history


def twin_of(task: CookingTask) -> CookingTask:
    """The same game of the other kind."""
    request = replace(request_of(task), category=CATEGORIES[1 - CATEGORIES.index(task.category)])
    return read_task(request, obtain_game(request))


def check_solved_and_trapped(task: CookingTask) -> None:
    """The careful expert wins; the literal cook wins if the food is raw and burns it if not."""
    solution = solve(task)
    observation = play(task, solution)
    assert observation.success and observation.done and observation.failure == ""
    assert len(solution) <= task.horizon <= (HORIZON if task.level in DEFAULT_LEVELS else 200)
    turns = demonstrate(task, task.horizon, random.Random(0), Demonstrator(careless=1))
    literal = tuple(turn.text for turn in turns if turn.by_policy)
    assert "inventory" not in literal
    observation = play(task, literal)
    assert observation.done
    assert observation.failure == ("burned" if task.category == COOK_OFF else "")
    assert observation.success == (task.category == COOK_ON)


def test_the_careful_expert_wins_and_the_literal_one_burns_what_is_cooked_already(tasks: list[CookingTask]) -> None:
    for task in tasks:
        check_solved_and_trapped(task)


def test_a_careless_cook_who_does_not_cut_again_needs_no_more_rounds_than_a_careful_one(
    tasks: list[CookingTask],
) -> None:
    cut_again = 0
    for task in (task for task in tasks if task.category == COOK_ON and not task.level.cut):
        said = {}
        for chance in (0.0, 1.0):
            demonstrator = Demonstrator(careless=1, cuts_again=chance)
            turns = demonstrate(task, task.horizon, random.Random(0), demonstrator)
            said[chance] = [turn.text for turn in turns if turn.by_policy]
        # All but the look at the food.
        assert said[0.0] == [action for action in solve(task) if action != "inventory"]
        cut_again += len(said[1.0]) > len(said[0.0])
    assert cut_again


def test_panels_are_balanced_disjoint_and_the_checks_notice_a_leak(panels: dict[str, Panel[CookingTask]]) -> None:
    for panel in panels.values():
        assert [task.category for task in panel.tasks] == [COOK_ON, COOK_OFF] * (len(panel.tasks) // 2)
    assert {task.level for task in panels["train"].tasks} == set(DEFAULT_LEVELS)
    assert not canonical_forms(panels["train"]) & canonical_forms(panels["test"])
    assert not (prepared_foods(panels["train"]) | prepared_foods(panels["test"])) & prepared_foods(panels["ood"])
    leaked = Panel("test", (twin_of(panels["train"].tasks[0]),))
    with pytest.raises(ValueError, match="panels train and test share"):
        check_disjoint([panels["train"], leaked], [canonical_forms(panels["train"]), canonical_forms(leaked)])


def test_panels_depend_on_the_seed_alone_and_grow_by_appending(panels: dict[str, Panel[CookingTask]]) -> None:
    again, other = build_panels(8, 1, 1), build_panels(1, 1, 0, train_seed=1, test_seed=1)
    assert again["train"].sha256 == panels["train"].sha256
    assert again["test"].tasks == panels["test"].tasks[:1]
    assert again["ood"].tasks == panels["ood"].tasks[:1]
    assert not {task.game_seed for task in other["train"].tasks} & {task.game_seed for task in panels["train"].tasks}
    with pytest.raises(ValueError, match="no levels"):
        build_panels(1, 1, 1, levels=())


def test_twins_differ_in_nothing_but_the_state_of_their_ingredients(panels: dict[str, Panel[CookingTask]]) -> None:
    task = panels["train"].tasks[6]
    twin = twin_of(task)
    assert task.level.take == 1 and task.level.cut
    assert (twin.world, twin.game_seed) == (task.world, task.game_seed)
    assert ENVIRONMENT.reset(twin) == ENVIRONMENT.reset(task)
    told = []
    for place, action in enumerate(solution := solve(task)):
        if action.startswith("cook"):
            break
        answers = [ENVIRONMENT.step(one, solution[:place], action) for one in (task, twin)]
        if answers[0] != answers[1]:
            told.append(action)
    assert told == ["inventory"]
    assert ENVIRONMENT.step(task, solution[:3], "inventory").text.startswith("carrying : ")
    words_of_states = set(STATES[:4])
    assert words_of_states & set(ENVIRONMENT.step(twin, solution[:3], "inventory").text.split())


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("cut", [False, True])
def test_tables_hold_textworlds_preparations_that_need_cooking(split: str, cut: bool) -> None:
    from textworld.challenges.tw_cooking import cooking

    before = cooking.FOOD_PREPARATIONS_SPLITS, cooking.FOODS_SPLITS, cooking.get_food_preparations
    with generation.prepared_alike(split, cut):
        table = cooking.FOOD_PREPARATIONS_SPLITS[split]
        new = cooking.get_food_preparations(cooking.FOODS_SPLITS[split])
        assert set(table) == set(cooking.FOODS_SPLITS["train"]) and set(new) == set(cooking.FOODS_SPLITS[split])
        pairs = {(food, *pair) for some in (table, new) for food in some for pair in some[food]}
    assert before == (cooking.FOOD_PREPARATIONS_SPLITS, cooking.FOODS_SPLITS, cooking.get_food_preparations)
    original = dict(cooking.FOOD_PREPARATIONS_SPLITS[split]) | cooking.get_food_preparations(
        cooking.FOODS_SPLITS[split]
    )
    assert pairs == {
        (food, cooked, shape)
        for food, preparations in original.items()
        for cooked, shape in preparations
        if cooked != "raw" and (shape != "uncut" or not cut)
    }


def test_left_out_work_changes_nothing_but_test_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from textworld.generator.inform7 import generate_inform7_source

    def source() -> str:
        game, _ = make_game(4, "train", DEFAULT_LEVELS[-1], True, tmp_path / STORY)
        return re.sub(r'Test quest\w+ with "[^"]*"', "", generate_inform7_source(game))

    quick = source()
    monkeypatch.setattr(generation, "without_repeated_work", contextlib.nullcontext)
    assert source() == quick


def test_textworld_plays_the_games_with_the_same_texts_and_verdicts(tasks: list[CookingTask]) -> None:
    import textworld

    for task in tasks[5:7]:
        stock = textworld.start(str(obtain_game(request_of(task)) / STORY))
        generator = random.Random(task.identifier)
        for actions in (solve(task), random_history(task, generator, 15)):
            text = clean(stock.reset().raw)
            assert FULL.reset(task) == text
            for place, action in enumerate(actions):
                observation = FULL.step(task, actions[:place], action)
                raw = stock.step(action)[0].raw
                assert observation.done == ("*** The End ***" in raw)
                assert observation.text == ("" if observation.done else clean(raw))
        stock.close()


def holders_printed(task: CookingTask, history: tuple[str, ...], room: str) -> tuple[dict[str, set[str]], set[str]]:
    """What each holder of the room has in it, and which containers are shut, as the game prints its whole state."""
    interpreter = Interpreter(obtain_game(request_of(task)) / STORY)
    position = interpreter.start
    for command in history:
        position = interpreter.play(position, command)
    lines = interpreter.play(position, "print_state").text.lower().split("you are carrying")[0].splitlines()
    holders: dict[str, set[str]] = {"floor": set()}
    shut = set()
    inside = False
    holder = "floor"
    things = {one.name for one in task.world.things} | {"meal"}
    for line in lines:
        if not line.startswith(" "):
            inside = line.rstrip(":") == room and line.endswith(":")
        elif inside:
            name = re.sub(r" \((?:closed|open)[^)]*\)", "", re.sub(r"^ *(an? |some |the )?", "", line)).strip()
            plain = re.sub(rf"^(?:(?:{'|'.join(STATES)}) )*", "", name)
            if name in task.world.room(room).holders:
                holder = name
                holders[holder] = set()
                if "(closed)" in line:
                    shut.add(name)
            elif plain in things:
                holders[holder if line.startswith("    ") else "floor"].add(plain)
    return holders, shut


def check_room_reading(task: CookingTask, history: tuple[str, ...]) -> int:
    """Terse rooms say what the game's own print-out of its state says; counts the things compared."""
    text = FULL.step(task, history, "look").text
    room = re.search(r"-= (.+) =-", text)[1].lower()
    read = read_holders(task.world, text, states=False)
    parsed = (parse(task.world, action) for action in history)
    commands = tuple(command for command in parsed if command)
    printed, shut = holders_printed(task, commands, room)
    for name in task.world.room(room).holders:
        visible = set() if name in shut else printed[name]
        assert set(read[name].things) == visible, (task.identifier, history, name)
        if name in task.world.containers:
            assert is_open(read[name]) == (name not in shut), (task.identifier, history, name, text)
    return sum(len(holder.things) for holder in read.values())


def test_rooms_are_read_as_the_game_prints_its_state(tasks: list[CookingTask]) -> None:
    compared = 0
    for task in tasks:
        compared += check_room_reading(task, random_history(task, random.Random(task.identifier), 12))
    assert compared > len(tasks)


def test_what_lies_on_the_floor_is_told(tasks: list[CookingTask]) -> None:
    for task in tasks[:4]:
        solution = solve(task)
        food = task.world.ingredients[0].food
        before = solution[: solution.index("inventory")]
        text = ENVIRONMENT.step(task, (*before, f"drop {food}", "drop cookbook"), "look").text
        floor = next(part for part in text.split(" ; ") if part.startswith("floor : "))
        assert food in floor


@pytest.mark.parametrize("interpreters", [1, 4])
def test_observations_do_not_depend_on_what_the_cache_holds(tasks: list[CookingTask], interpreters: int) -> None:
    forgetful = CookingEnvironment(engine=Engine(positions=1, interpreters=interpreters))
    generator = random.Random(0)
    episodes = [(task, random_history(task, generator, 8)) for task in tasks[:4]]
    steps = [(task, history[:place], history[place]) for task, history in episodes for place in range(len(history))]
    generator.shuffle(steps)
    for task, history, action in steps[:24]:
        assert forgetful.step(task, history, action) == ENVIRONMENT.step(task, history, action)
        assert forgetful.reset(task) == ENVIRONMENT.reset(task)
    assert len(forgetful.engine._positions) == 1
    assert len(forgetful.engine._interpreters) == interpreters


@settings(max_examples=150, deadline=None)
@given(action=st.text(max_size=200))
def test_any_string_is_an_action(tasks: list[CookingTask], action: str) -> None:
    observation = ENVIRONMENT.step(tasks[0], (), action)
    assert observation.text or observation.done
    assert observation.skill in SKILLS
    if parse(tasks[0].world, action) is None:
        assert observation == Observation(INVALID, done=False, success=False, skill="invalid")


@pytest.mark.parametrize(
    "action",
    [
        "",
        "save",
        "restore",
        "quit",
        "undo",
        "restart",
        "script",
        "again",
        "print_state",
        "tw-trace-actions",
        "look. eat meal",
        "look, eat meal",
        "take knife then look",
        "take all",
        "drop everything",
        "take knife and cookbook",
        "examine ../../etc/passwd",
        "examine {task.__class__}",
        "examine %s%n",
        "take\x00knife",
        "examine \x1b[2J",
        "go up",
        "prepare",
        "take ",
        "cook with stove",
        "take " + "a-" * 47,
        "take " + "knife " * 20,
        "z" * 100_000,
    ],
)
def test_what_is_no_command_changes_nothing_and_never_reaches_the_game(tasks: list[CookingTask], action: str) -> None:
    task = tasks[1]
    observation = ENVIRONMENT.step(task, ("open fridge",), action)
    assert observation == Observation(INVALID, done=False, success=False, skill="invalid")
    after = ENVIRONMENT.step(task, ("open fridge", action, action), "look")
    assert after == ENVIRONMENT.step(task, ("open fridge",), "look")


NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve twenty 1 2 99 half both either several".split()
)
MANY = (*NUMBERS, *"some any each every all everything other another it them him that these those me".split())


@pytest.mark.parametrize("word", MANY)
def test_no_word_stands_for_several_things_or_for_no_name(tasks: list[CookingTask], word: str) -> None:
    task = max(tasks, key=lambda task: [thing.place for thing in task.world.things].count("inventory"))
    carried = [thing.name for thing in task.world.things if thing.place == "inventory"]
    assert len(carried) > 1
    history = ("open fridge",)
    before = ENVIRONMENT.step(task, history, "inventory")
    for thing in (word, f"the {word}", f"{word} {carried[0]}", f"{word} of {carried[0]}", f"{carried[0]} {word}"):
        forms = ("take {}", "get {}", "pick up {}", "drop {}", "put {} on table", "insert {} into fridge", "eat {}")
        for form in (*forms, "cook {} with oven", "chop {} with knife"):
            action = form.format(thing)
            assert ENVIRONMENT.step(task, history, action) == Observation(INVALID, False, False, "invalid"), action
            history = (*history, action)
    assert ENVIRONMENT.step(task, history, "inventory") == before


INCOMPLETE = [
    *(f"{verb} {word}" for verb in ("take", "examine", "eat", "open", "pick up") for word in ("the", "a", "an")),
    *("take", "put", "eat", "pick up", "go", "cook", "take the the knife", "take a-the knife", "examine raw"),
    *("put the on the", "put knife", "cook the with the", "slice knife", "eat raw", "examine meal", "take oven"),
    *("open door", "examine potato", "take onion", "drop onion", "examine onion", "take pepper", "take table"),
]


@pytest.mark.parametrize("environment", [ENVIRONMENT, FULL], ids=["terse", "full"])
def test_an_invalid_action_changes_nothing_that_a_later_one_does(
    tasks: list[CookingTask], environment: CookingEnvironment
) -> None:
    questions = 0
    for task in tasks[:4]:
        later = ("north", "examine knife", *solve(task))
        words_of_foods = sorted({food.split()[-1] for food in task.world.foods})
        for action in (*INCOMPLETE, *(f"{verb} {word}" for verb in ("examine", "drop") for word in words_of_foods)):
            for place in (0, 2, len(later) - 1):
                said = environment.step(task, later[:place], action)
                if said.skill != "invalid":
                    continue
                questions += "which one" in said.text or "do you mean" in said.text
                for end in range(place, len(later)):
                    answer = environment.step(task, (*later[:place], action, *later[place:end]), later[end])
                    assert answer == environment.step(task, later[:end], later[end]), (action, later[: end + 1])
    assert questions > 0


def test_random_play_between_invalid_actions_is_the_same(tasks: list[CookingTask]) -> None:
    left_out = 0
    for task in tasks:
        history = random_history(task, random.Random(task.identifier), 20)
        valid = tuple(
            action
            for place, action in enumerate(history)
            if ENVIRONMENT.step(task, history[:place], action).skill != "invalid"
        )
        left_out += len(history) - len(valid)
        for action in ("look", "inventory", "examine cookbook", "prepare meal"):
            assert ENVIRONMENT.step(task, history, action) == ENVIRONMENT.step(task, valid, action)
    assert left_out > len(tasks)


def test_names_may_have_an_article_or_lose_their_first_words(tasks: list[CookingTask]) -> None:
    task = next(task for task in tasks if any(" " in food and " of " not in food for food in task.world.foods))
    food = next(food for food in task.world.foods if " " in food and " of " not in food)
    for said in (food, f"the {food}", f"a {food}", f"an  {food.upper()}"):
        assert parse(task.world, f"cook {said} with the stove") == f"cook {food} with stove"
    assert parse(task.world, f"eat {food.split()[-1]}") == f"eat {food.split()[-1]}"
    for said in (food.split()[0], f"the the {food}", f"raw {food}", f"{food} the", f"x-the {food}", "unicorn"):
        assert parse(task.world, f"take {said}") is None


def test_what_is_refused_without_a_reason_changes_nothing_in_the_game(tasks: list[CookingTask]) -> None:
    for task in tasks[:4]:
        interpreter = Interpreter(obtain_game(request_of(task)) / STORY)
        position = interpreter.play(interpreter.start, "open fridge")
        state = interpreter.play(position, "print_state").text
        for command in commands_of(task.world):
            after = interpreter.play(position, command)
            if not after.over and is_refused(task.world, command, after.text):
                assert interpreter.play(after, "print_state").text == state, command


def test_long_repetitive_commands_are_refused_quickly(tasks: list[CookingTask]) -> None:
    world = tasks[0].world
    start = time.perf_counter()
    for length in range(80, 100):
        assert parse(world, "cook " + "a" * (length - 6) + "1") is None
        assert parse(world, "cook " + "a " * ((length - 6) // 2) + "1") is None
    assert time.perf_counter() - start < 0.5


def test_white_space_and_case_do_not_matter(tasks: list[CookingTask]) -> None:
    task = tasks[0]
    assert parse(task.world, "  Examine \n CookBook ") == "examine cookbook"
    assert ENVIRONMENT.step(task, (" OPEN  fridge\n",), "Look") == ENVIRONMENT.step(task, ("open fridge",), "look")


def test_every_plausible_command_is_one_and_has_a_skill(tasks: list[CookingTask]) -> None:
    seen = set()
    for task in tasks:
        for command in commands_of(task.world):
            assert parse(task.world, command) == command
            seen.add(skill_of(command))
    assert seen == set(SKILLS) - {"invalid", "go"}
    assert skill_of("go west") == skill_of("west") == "go"
    assert 5 <= len(SKILLS) <= 26


def test_skills_follow_the_verb_and_the_answer(tasks: list[CookingTask]) -> None:
    task = next(task for task in tasks if task.level.take and task.category == COOK_ON)
    skills = [ENVIRONMENT.step(task, solve(task)[:place], action).skill for place, action in enumerate(solve(task))]
    assert skills[0] == "look" and skills[-2:] == ["prepare", "eat"] and "cook" in skills and "cut" in skills
    assert ENVIRONMENT.step(task, (), "drop cookbook") == Observation("not carried", False, False, "take")
    assert ENVIRONMENT.step(task, (), "examine meal") == Observation("not here", False, False, "invalid")
    assert ENVIRONMENT.step(task, (), "prepare meal").skill == "prepare"


def test_wrong_ways_are_lost_and_few_rounds_are_a_timeout(tasks: list[CookingTask]) -> None:
    task = next(task for task in tasks if task.level.cut and task.category == COOK_ON)
    for mistake in (Demonstrator(wrong_appliance=1), Demonstrator(wrong_cut=1)):
        turns = demonstrate(task, 99, random.Random(0), mistake)
        assert play(task, tuple(turn.text for turn in turns if turn.by_policy)).failure == "lost"
    turns = demonstrate(task, 3, random.Random(0))
    assert sum(turn.by_policy for turn in turns) == 3
    with pytest.raises(RuntimeError, match="no forced answer"):
        ENVIRONMENT.step_closed(task, (), "eat meal")
    assert ENVIRONMENT.close(task) is None
    with pytest.raises(ValueError, match="over"):
        ENVIRONMENT.step(task, solve(task), "look")


def test_tasting_a_cooked_ingredient_loses(tasks: list[CookingTask]) -> None:
    task = next(task for task in tasks if task.category == COOK_OFF)
    turns = demonstrate(task, 99, random.Random(0), Demonstrator(tastes=1))
    assert turns[-1].text.startswith("eat ")
    assert play(task, tuple(turn.text for turn in turns if turn.by_policy)).failure == "lost"


def test_what_was_forgotten_is_done_after_the_meal_could_not_be_prepared(tasks: list[CookingTask]) -> None:
    task = next(task for task in tasks if task.category == COOK_ON)
    turns = demonstrate(task, 99, random.Random(0), Demonstrator(forgets=1))
    actions = tuple(turn.text for turn in turns if turn.by_policy)
    assert actions.count("prepare meal") == 2 and play(task, actions).success


MIXED = Demonstrator(
    careless=0.4,
    examines_each=0.3,
    wrong_appliance=0.1,
    wrong_cut=0.1,
    forgets=0.2,
    tastes=0.05,
    detour=0.2,
    misspeaks=0.1,
)


def test_replayed_demonstrations_give_the_same_texts_in_known_words(tasks: list[CookingTask]) -> None:
    known = set(words())
    results = set()
    for number in range(60):
        task = tasks[number % len(tasks)]
        turns = demonstrate(task, task.horizon, random.Random(number), MIXED)
        assert turns == demonstrate(task, task.horizon, random.Random(number), MIXED)
        assert [turn.by_policy for turn in turns] == [False, True] * (len(turns) // 2)
        assert {word for turn in turns for word in turn.text.split()} <= known
        actions = tuple(turn.text for turn in turns if turn.by_policy)
        assert turns[0].text == ENVIRONMENT.reset(task)
        for place, action in enumerate(actions):
            observation = ENVIRONMENT.step(task, actions[:place], action)
            assert observation.done or place == len(actions) - 1 or turns[2 * place + 2].text == observation.text
            assert len(observation.text.split()) <= 60
        results.add("won" if observation.success else observation.failure)
    assert results == {"won", "burned", "lost", ""} or results == {"won", "burned", "lost"}


def texts_of_random_play(tasks: list[CookingTask]) -> Iterator[str]:
    for task in tasks:
        history = random_history(task, random.Random(task.identifier), 20)
        yield from history
        for place, action in enumerate(history):
            yield ENVIRONMENT.step(task, history[:place], action).text


def test_the_words_cover_random_play(tasks: list[CookingTask]) -> None:
    assert {word for text in texts_of_random_play(tasks) for word in text.split()} <= set(words())
    assert len(words()) == len(set(words())) < 200


def test_every_answer_in_the_vocabulary_hides_states_until_asked(tasks: list[CookingTask]) -> None:
    for task in tasks:
        assert not set(STATES) & set(ENVIRONMENT.reset(task).split())
        opened = ENVIRONMENT.step(task, (), "open fridge").text
        assert not set(STATES) & set(opened.split())
    assert any(set(STATES) & set(ENVIRONMENT.step(task, (), "inventory").text.split()) for task in tasks)


def test_explain_names_the_food_the_trap_and_a_solution(tasks: list[CookingTask]) -> None:
    for task in tasks:
        text = explain(task)
        assert all(ingredient.food in text for ingredient in task.world.ingredients)
        assert ("cooked already, though the cookbook" in text) == (task.category == COOK_OFF)
        assert ", ".join(solve(task)) in text


def test_full_mode_shows_the_games_own_text_without_title_and_prompt(tasks: list[CookingTask]) -> None:
    text = FULL.reset(tasks[0])
    assert text.startswith("You are hungry!") and "-= Kitchen =-" in text
    assert "$$" not in text and "\n>" not in text
    assert "Recipe #1" in FULL.step(tasks[0], (), "examine cookbook").text
    refused = FULL.step(tasks[0], (), "dance")
    assert refused == Observation(NO_COMMAND, done=False, success=False, skill="invalid")
    with pytest.raises(ValueError, match="neither"):
        CookingEnvironment("short")


def test_a_damaged_game_is_made_again(tasks: list[CookingTask]) -> None:
    request = request_of(tasks[0])
    story = obtain_game(request) / STORY
    written = story.read_bytes()
    story.write_bytes(written[:1000] + b"damage" + written[1006:])
    assert read_task(request, obtain_game(request)) == tasks[0]
    assert story.read_bytes()[1000:1006] == written[1000:1006]


def test_a_game_that_does_not_load_is_named_and_skipped_only_on_request(panels: dict[str, Panel[CookingTask]]) -> None:
    request = request_of(panels["test"].tasks[1])
    entry = cache_folder("cooking") / digest(generation.recipe_of(request))
    kept = {file.name: file.read_bytes() for file in entry.iterdir()}
    (entry / STORY).write_bytes(b"no story")
    manifest = json.loads((entry / "manifest.json").read_text())
    (entry / "manifest.json").write_text(json.dumps(manifest | {STORY: hashlib.sha256(b"no story").hexdigest()}))
    try:
        with pytest.raises(UserError, match=rf"cooking game {re.escape(request.identifier)} in .* does not load"):
            build_panels(1, 2, 1)
        with pytest.warns(UserWarning, match=f"left out: cooking game {re.escape(request.identifier)} in"):
            assert build_panels(1, 2, 1, skip_broken=True)["test"].tasks == panels["test"].tasks[:1]
    finally:
        for name, content in kept.items():
            (entry / name).write_bytes(content)


def test_a_game_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(generation, "make_game", fail)
    with pytest.raises(UserError, match=r"cooking game train-cook-on-\S*-9-0000 cannot be made.*compiler"):
        build_panels(1, 0, 0, train_seed=9)


def test_without_the_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_is_installed", lambda: False)
    with pytest.raises(UserError, match=re.escape("cooking needs textworld; install rl-claims[cooking]")):
        build_panels(1, 1, 1)


@pytest.mark.parametrize("settings", [{"recipe": 0}, {"recipe": 6}, {"take": 2}, {"take": -1}, {"rooms": 2}])
def test_levels_that_textworld_cannot_make_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="recipe is 1 to 5"):
        Level(**settings)


def test_tasks_survive_json_and_their_digest_sees_every_field(tasks: list[CookingTask]) -> None:
    task = tasks[-1]
    assert world_from_json(json.loads(json.dumps(asdict(task.world)))) == task.world
    for changed in (replace(task, game_seed=1), replace(task, world=replace(task.world, start="shed"))):
        assert Panel("ood", (changed,)).sha256 != Panel("ood", (task,)).sha256


REPLAY = """
import json, sys
from reproduce.environments.cooking import CookingEnvironment, build_panels, solve
assert not {"textworld", "jericho"} & set(sys.modules), "the engine is imported before it is needed"
panels = build_panels(0, 0, 1)
task = panels["ood"].tasks[0]
environment, actions = CookingEnvironment("full"), solve(task)
texts = [environment.reset(task)] + [environment.step(task, actions[:i], a).text for i, a in enumerate(actions)]
print(json.dumps([panels["ood"].sha256, texts]))
"""


def test_another_process_with_another_hash_seed_makes_and_plays_the_same_game(tmp_path: Path) -> None:
    settings = {"PYTHONHASHSEED": "77", "RL_CLAIMS_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    printed = subprocess.run(
        [sys.executable, "-c", REPLAY], env=os.environ | settings, capture_output=True, text=True, check=True
    ).stdout
    sha256, texts = json.loads(printed)
    panel = build_panels(0, 0, 1)["ood"]
    task, actions = panel.tasks[0], solve(panel.tasks[0])
    assert sha256 == panel.sha256
    assert texts[0] == FULL.reset(task)
    assert texts[1:] == [FULL.step(task, actions[:place], action).text for place, action in enumerate(actions)]


@pytest.mark.slow
def test_the_words_make_a_tokenizer_that_loses_nothing(tasks: list[CookingTask]) -> None:
    from reproduce.rollouts.policies import build_tokenizer

    tokenizer = build_tokenizer(words())
    for text in texts_of_random_play(tasks):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).split() == text.split()


@pytest.mark.parametrize("sizes", [(2, 0, 2), pytest.param((16, 8, 16), marks=pytest.mark.slow)])
def test_large_kitchens_are_solved_and_read_correctly(sizes: tuple[int, int, int]) -> None:
    larger = build_panels(*sizes, levels=LARGE)
    for task in (task for panel in larger.values() for task in panel.tasks):
        check_solved_and_trapped(task)
        route = solve(task)
        for place in range(0, len(route), 5):
            check_room_reading(task, route[:place])


@pytest.mark.slow
def test_a_random_policy_seldom_wins() -> None:
    generator = random.Random(0)
    panel = build_panels(64, 0, 0)["train"]
    wins = 0
    for episode in range(2000):
        task = panel.tasks[episode % len(panel.tasks)]
        history: tuple[str, ...] = ()
        while len(history) < task.horizon:
            action = random_action(task, history, generator)
            observation = ENVIRONMENT.step(task, history, action)
            if observation.done:
                wins += observation.success
                break
            history = (*history, action)
    assert 2 <= wins <= 40


@pytest.mark.slow
def test_a_thousand_seeds_give_solvable_trapped_and_disjoint_games() -> None:
    larger = build_panels(400, 200, 400, train_seed=5, test_seed=6)
    for number, task in enumerate(task for panel in larger.values() for task in panel.tasks):
        check_solved_and_trapped(task)
        check_room_reading(task, random_history(task, random.Random(number), 6))
    assert len(shared_engine()._interpreters) <= 128
    assert Request("train", 5, 0, DEFAULT_LEVELS[0], COOK_ON) == request_of(larger["train"].tasks[0])
