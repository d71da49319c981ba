"""The countdown environment: solvable, disjoint, deterministic, exact, and robust to any action."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.core.files import UserError
from reproduce.environments.countdown import (
    HORIZON,
    OOD_LEVEL,
    SKILLS,
    TRAIN_LEVEL,
    CountdownEnvironment,
    CountdownTask,
    Demonstrator,
    Level,
    build_panels,
    canonical_forms,
    demonstrate,
    explain,
    multiplicative_share,
    random_action,
    solve,
    without_reset,
    words,
)
from reproduce.environments.countdown.drawing import BLOCK
from reproduce.environments.countdown.environment import numbers_left
from reproduce.environments.countdown.rules import calculate, carry_out, is_solvable, operations, solution_of
from reproduce.environments.protocol import Panel, check_disjoint
from reproduce.rollouts.policies import build_tokenizer

CHECKOUT = Path(__file__).parents[2]
TERSE, FULL = CountdownEnvironment(), CountdownEnvironment("full")
EIGHT = CountdownTask("x", "numbers-3", (3, 5, 8), 24, 150, ("8 - 5", "3 * 8"), "Make 24.")
MIXED = Demonstrator(careless=0.3, sums_only=0.2, slip=0.2, overlooks=0.5, needless_reset=0.05, misspeaks=0.1)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RL_CLAIMS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Path(os.environ["RL_CLAIMS_CACHE"])


@pytest.fixture(scope="module")
def panels(cache) -> dict[str, Panel[CountdownTask]]:
    return build_panels(48, 48, 12)


def play(task, actions, environment=TERSE):
    observations, history = [], ()
    for action in actions:
        observations.append(environment.step(task, history, action))
        history += (action,)
    return observations


def ways(numbers: tuple[Fraction, ...]) -> set[Fraction]:
    """Every value of every expression over all the numbers whose parts are integers from 0 to 150: another search."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for chosen in itertools.product((False, True), repeat=len(numbers) - 1):
        left = [numbers[0], *itertools.compress(numbers[1:], chosen)]
        right = list(itertools.compress(numbers[1:], (not one for one in chosen)))
        if not right:
            continue
        for a, b in itertools.product(ways(tuple(left)), ways(tuple(right))):
            found |= {a + b, a - b, b - a, a * b} | ({a / b} if b else set()) | ({b / a} if a else set())
    return {value for value in found if value.denominator == 1 and 0 <= value <= 150}


def test_expert_solves_every_task_with_one_operation_fewer_than_there_are_numbers(panels) -> None:
    for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
        actions = solve(task)
        assert len(actions) == len(task.numbers) - 1 <= HORIZON
        observations = play(task, actions)
        assert [one.done for one in observations] == [False] * (len(actions) - 1) + [True]
        assert observations[-1].success


def test_solutions_hold_in_plain_arithmetic(panels) -> None:
    for task in panels["ood"].tasks:
        left = Counter(task.numbers)
        for action in solve(task):
            first, operator, second = action.split()
            for number in (int(first), int(second)):
                assert left[number] > 0
                left[number] -= 1
            value = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__}[
                operator
            ](Fraction(first), Fraction(second))
            assert value.denominator == 1 and 0 <= value <= task.largest_result
            left[int(value)] += 1
        assert +left == Counter([task.target])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=4), st.integers(0, 150))
def test_the_solver_agrees_with_another_search(numbers, target) -> None:
    reached = ways(tuple(Fraction(number) for number in numbers))
    left = tuple(sorted(numbers))
    assert is_solvable(left, target, 150) == (target in reached)
    assert {goal for goal in range(151) if is_solvable(left, goal, 150)} == reached
    solution = solution_of(left, target, 150)
    assert (solution is None) == (target not in reached)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=5))
def test_operations_are_all_the_legal_ones(numbers) -> None:
    left = tuple(sorted(numbers))
    reached = set()
    for first, second in itertools.permutations(numbers, 2):
        for operator in "+-*/":
            following, skill = carry_out(left, left, f"{first} {operator} {second}", 150)
            if skill != "invalid":
                reached.add(following)
    listed = dict(operations(left, 150))
    # Only 0 / a is left out: it leaves what 0 * a leaves.
    assert set(listed.values()) == reached
    for action, following in listed.items():
        assert carry_out(left, left, action, 150)[0] == following


@pytest.mark.parametrize(
    ("first", "operator", "second", "result"),
    [
        (7, "/", 2, None),
        (7, "/", 0, None),
        (0, "/", 7, 0),
        (12, "/", 4, 3),
        (2, "-", 3, None),
        (3, "-", 3, 0),
        (50, "*", 3, 150),
        (50, "*", 4, None),
        (150, "+", 0, 150),
        (150, "+", 1, None),
    ],
)
def test_results_are_integers_from_zero_to_the_limit(first, operator, second, result) -> None:
    assert calculate(first, operator, second, 150) == result


def test_terse_texts_of_an_episode() -> None:
    assert TERSE.reset(EIGHT) == "target 24 numbers 3 5 8"
    observations = play(EIGHT, ["3 + 5", "8 - 3", "reset", "8 - 5", "3*3", "reset", "8-5", "3 * 8", "reset", "3 * 8"])
    assert [one.text for one in observations[:6]] == [
        "target 24 numbers 8 8",
        "invalid target 24 numbers 8 8",
        "target 24 numbers 3 5 8",
        "target 24 numbers 3 3",
        "target 24 numbers 9",
        "target 24 numbers 3 5 8",
    ]
    assert [one.skill for one in observations[:6]] == ["add", "invalid", "reset", "sub", "mul", "reset"]
    assert not any(one.success for one in observations)


def test_success_needs_the_target_with_all_numbers_used() -> None:
    task = CountdownTask("x", "numbers-3", (1, 4, 6), 24, 150, ("6 * 4", "24 * 1"), "Make 24.")
    early, late = play(task, ["6 * 4", "24 / 1"])
    assert not early.done and early.text == "target 24 numbers 1 24"
    assert late.done and late.success and late.skill == "div" and late.text == ""


def test_full_texts_are_the_engines_question_and_plain_sentences(panels) -> None:
    task = panels["test"].tasks[0]
    prompt = FULL.reset(task)
    assert str(task.target) in prompt and "inal answer format" not in prompt and "reset" in prompt
    (valid,) = play(task, solve(task)[:1], FULL)
    assert valid.text.startswith("Numbers left: ") and valid.text.endswith(f"Target: {task.target}.")
    (invalid,) = play(task, ["what now?"], FULL)
    assert invalid.text.startswith("That is not possible")
    with pytest.raises(ValueError, match="neither"):
        CountdownEnvironment("short")  # type: ignore[arg-type]


ODD_ACTIONS = [
    "",
    " ",
    "+",
    "3 +",
    "3 ** 5",
    "3 + 5 ;",
    "__import__('os')",
    "../../etc/passwd",
    "{0}",
    "%s",
    "\x00",
    "03 + 5",
]
ODD_ACTIONS += [
    "3 + 5\x00",
    "٣ + 5",
    "3 + 3",
    "9 + 3",
    "-3 + 5",
    "3 5 +",
    "1e3 + 5",
    "z" * 100_000,
    "3 + " + "5" * 90_000,
]


@pytest.mark.parametrize("action", ODD_ACTIONS, ids=lambda action: ascii(action)[:20])
@pytest.mark.parametrize("environment", [TERSE, FULL])
def test_odd_actions_change_nothing(environment, action: str) -> None:
    observation = environment.step(EIGHT, (), action)
    assert observation.skill == "invalid" and not observation.done
    assert len(observation.text) < 200
    assert environment.step(EIGHT, (action,), "8 - 5") == environment.step(EIGHT, (), "8 - 5")


@given(st.text(max_size=80))
def test_any_string_is_an_action(action: str) -> None:
    observation = TERSE.step(EIGHT, (), action)
    assert observation.skill in SKILLS
    if observation.skill == "invalid":
        assert observation.text == f"invalid {TERSE.reset(EIGHT)}"


def check_panels(panels) -> None:
    for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
        assert play(task, solve(task))[-1].success
    covered = [TRAIN_LEVEL.covers(task.numbers, task.target) for task in panels["ood"].tasks]
    assert not any(covered)
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])


def test_panels_depend_on_the_seed_alone_and_grow_by_appending(panels) -> None:
    check_panels(panels)
    larger, other = build_panels(56, 50, 15), build_panels(48, 48, 12, train_seed=1, test_seed=1)
    for name, panel in panels.items():
        assert larger[name].tasks[: len(panel.tasks)] == panel.tasks
        assert other[name].sha256 != panel.sha256
        assert len(canonical_forms(panel)) == len(panel.tasks)
    assert {task.category for task in panels["train"].tasks} == {"numbers-3", "numbers-4"}
    assert {task.category for task in panels["ood"].tasks} == {"numbers-5"}
    assert min(task.target for task in panels["ood"].tasks) > max(task.target for task in panels["train"].tasks)


def test_canonical_forms_see_through_the_order_of_the_numbers(panels) -> None:
    task = panels["train"].tasks[0]
    turned = CountdownTask("y", "z", task.numbers[::-1], task.target, 99, (), "")
    with pytest.raises(ValueError, match="panels train and test share 1 items"):
        check_disjoint(
            [panels["train"], Panel("test", (turned,))],
            [canonical_forms(panels["train"]), canonical_forms(Panel("test", (turned,)))],
        )


def test_the_same_train_and_test_seed_give_different_panels(panels) -> None:
    assert not canonical_forms(build_panels(48, 48, 0, 5, 5)["train"]) & canonical_forms(panels["test"])


@pytest.mark.parametrize(
    "sizes", [(1, 4, 9, 1, 9), (4, 3, 9, 1, 9), (3, 4, 0, 1, 9), (3, 4, 9, 0, 9), (3, 4, 9, 9, 1), (3, 7, 9, 1, 9)]
)
def test_impossible_levels_are_refused(sizes) -> None:
    with pytest.raises(ValueError, match="numbers"):
        Level(*sizes)


def test_panels_that_cannot_be_filled_are_refused() -> None:
    with pytest.raises(ValueError, match="too few puzzles"):
        build_panels(2, 0, 0, level=Level(2, 2, 1, 2, 2))
    with pytest.raises(ValueError, match="largest result"):
        build_panels(1, 1, 1, largest_result=98)


def test_puzzles_come_from_the_cache_and_a_damaged_entry_is_rebuilt(panels, cache: Path, monkeypatch) -> None:
    import reasoning_gym.games.countdown as engine

    build, drawn = engine.CountdownDataset._generate_expression, []
    monkeypatch.setattr(
        engine.CountdownDataset, "_generate_expression", lambda self, rng: drawn.append(1) or build(self, rng)
    )
    assert build_panels(48, 48, 12)["train"].sha256 == panels["train"].sha256
    assert not drawn
    for file in (cache / "countdown").glob("[!.]*/puzzles.json"):
        file.write_text(file.read_text().replace("1", "2"))
    assert {name: panel.sha256 for name, panel in build_panels(48, 48, 12).items()} == {
        name: panel.sha256 for name, panel in panels.items()
    }
    assert drawn and len(drawn) % BLOCK == 0


def test_a_missing_engine_names_the_extra(monkeypatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"countdown needs reasoning-gym; install rl-claims\[countdown\]"):
        build_panels(1, 1, 1)


def test_other_processes_and_hash_seeds_draw_the_same_panels(panels, tmp_path: Path) -> None:
    script = (
        "import sys; from reproduce.environments.countdown import build_panels\n"
        "assert not any(name.startswith(('reasoning_gym', 'sympy', 'torch')) for name in sys.modules)\n"
        "print(*(panel.sha256 for panel in build_panels(48, 48, 12).values()))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "RL_CLAIMS_CACHE": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == [panel.sha256 for panel in panels.values()]
    assert printed.stderr == ""


def check_demonstration(task, turns, rounds: int) -> bool:
    """Played through the environment again, the turns are the same; whether it succeeded."""
    assert turns[0].text == TERSE.reset(task) and not turns[0].by_policy
    actions = [turn.text for turn in turns if turn.by_policy]
    assert [turn.by_policy for turn in turns] == [False, True] * len(actions)
    observations = play(task, actions)
    assert [one.text for one in observations[:-1]] == [turn.text for turn in turns[2::2]]
    assert observations[-1].done or len(actions) == rounds
    assert not any(one.done for one in observations[:-1])
    return observations[-1].success


def test_demonstrations_are_what_the_environment_says(panels) -> None:
    generator, known = random.Random(0), set(words())
    for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
        careful = demonstrate(task, HORIZON, generator)
        assert check_demonstration(task, careful, HORIZON) and len(careful) == 2 * len(task.numbers) - 2
        turns = demonstrate(task, 5, generator, MIXED)
        check_demonstration(task, turns, 5)
        assert set(" ".join(turn.text for turn in turns).split()) <= known


@pytest.mark.parametrize("chance", ["slip", "overlooks", "needless_reset", "misspeaks", "careless", "sums_only"])
def test_each_kind_of_mistake_shows(panels, chance: str) -> None:
    generator = random.Random(1)
    demonstrator = Demonstrator(**{chance: 1.0} | ({"slip": 0.5} if chance == "overlooks" else {}))
    skills, success = Counter(), 0
    for task in panels["train"].tasks:
        turns = demonstrate(task, HORIZON, generator, demonstrator)
        success += check_demonstration(task, turns, HORIZON)
        skills.update(one.skill for one in play(task, [turn.text for turn in turns if turn.by_policy]))
    assert success < len(panels["train"].tasks)
    if chance == "misspeaks":
        assert set(skills) == {"invalid"} and success == 0
    else:
        assert not skills["invalid"]
    if chance == "sums_only":
        assert skills["add"] and not skills["mul"] and not skills["div"]
    if chance == "needless_reset":
        assert skills["reset"] > sum(skills.values()) / 2
    if chance == "careless":
        assert success > 0.4 * len(panels["train"].tasks) and skills["reset"]


def test_the_default_level_has_room_for_strategies(panels) -> None:
    """Careless play and play without multiplication win part of the tasks, and lengths of successes differ."""
    generator, tasks = random.Random(2), panels["train"].tasks
    for demonstrator in (Demonstrator(careless=1), Demonstrator(sums_only=1), Demonstrator(slip=0.4, overlooks=0.5)):
        episodes = [demonstrate(task, HORIZON, generator, demonstrator) for task in tasks]
        won = [turns for task, turns in zip(tasks, episodes, strict=True) if check_demonstration(task, turns, HORIZON)]
        assert 0.2 < len(won) / len(tasks) < 0.95
        assert max(map(len, won)) >= 2 * min(map(len, won))


def test_random_policies_score_as_documented(panels) -> None:
    for panel, low, high in ((panels["train"], 0.14, 0.27), (panels["ood"], 0.0, 0.04)):
        generator, won, episodes = random.Random(3), 0, 0
        for task in panel.tasks * 12:
            history: tuple[str, ...] = ()
            for _ in range(HORIZON):
                action = random_action(task, history, generator)
                observation = TERSE.step(task, history, action)
                assert observation.skill != "invalid"
                history += (action,)
                if observation.done:
                    break
            won, episodes = won + observation.success, episodes + 1
        assert low <= won / episodes <= high


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["3 + 5", "8 - 5", "reset", "8 * 3", "3 * 3", "x", "8 + 8", "9 - 8"]), max_size=14))
def test_the_numbers_left_follow_from_every_action_in_turn(history) -> None:
    left = EIGHT.numbers
    for action in history:
        left, _ = carry_out(EIGHT.numbers, left, action, 150)
    assert numbers_left(EIGHT, tuple(history)) == left


def test_words_cover_what_can_be_written() -> None:
    known = words()
    assert len(set(known)) == len(known) == 159
    tokenizer = build_tokenizer(known)
    ids = tokenizer("invalid target 150 numbers 0 7 reset 3 / 3").input_ids
    assert tokenizer.unk_token_id not in ids and len(ids) == 10
    assert max(OOD_LEVEL.largest_target, TRAIN_LEVEL.largest_target) <= 150


def test_measures() -> None:
    assert without_reset(["add", "mul"]) and not without_reset(["add", "reset", "mul"])
    assert multiplicative_share([["add", "mul"], ["reset", "invalid", "div", "sub"]]) == 0.5
    assert multiplicative_share([["reset"]]) != multiplicative_share([["reset"]])  # NaN


def test_explanations_name_goal_trap_and_solution(panels) -> None:
    for task in panels["train"].tasks:
        text = explain(task)
        assert f"Make {task.target} of" in text and "Trap:" in text and "leave" in text
        assert all(action in text for action in task.solution)


@pytest.mark.slow
def test_a_thousand_seeds() -> None:
    generator = random.Random(5)
    for seed in range(1000):
        panels = build_panels(2, 2, 1, train_seed=seed, test_seed=seed)
        check_panels(panels)
        for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
            check_demonstration(task, demonstrate(task, 8, generator, MIXED), 8)
