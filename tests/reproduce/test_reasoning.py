"""The reasoning environment: solvable, disjoint, deterministic, with an oracle that is exact."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.core.files import UserError
from reproduce.environments.protocol import Panel, check_disjoint
from reproduce.environments.reasoning import (
    DECISIVE,
    HORIZON,
    NEWLINE,
    OPERATIONS,
    SKILLS,
    Demonstrator,
    MathEnvironment,
    MathTask,
    ReasoningEnvironment,
    ReasoningTask,
    Tier,
    build_panels,
    canonical_forms,
    demonstrate,
    explain,
    first_wrong_step,
    join_steps,
    load_dataset_tasks,
    random_action,
    solve,
    split_steps,
    step_skills,
    words,
)
from reproduce.environments.reasoning.dataset import boxed_answer, is_equivalent
from reproduce.environments.reasoning.grader import Grader, compare
from reproduce.environments.reasoning.steps import calculate
from reproduce.environments.reasoning.tasks import make_task
from reproduce.rollouts.policies import build_tokenizer

CHECKOUT = Path(__file__).parents[2]
PANELS = build_panels(10, 10, 10)
TASKS = [task for panel in PANELS.values() for task in panel.tasks]
CHAINS = [task for task in TASKS if task.template != "decisive"]
TERSE, FULL = ReasoningEnvironment(), ReasoningEnvironment("full")
CHAIN = make_task("x", "medium", "listed", 3, ("plus 4", "times 7", "minus 5"))
LOCK = make_task("x", "decisive-2-of-4", "decisive", 3, ("free 1", "plus 4", "free 2", "times 7"))
MIXED = Demonstrator(
    dict.fromkeys(OPERATIONS, 0.9), in_head=0.2, skips=0.1, head_slip=0.3, repeats=0.1, stops=0.05, misspeaks=0.05
)


@pytest.mark.parametrize("environment", [TERSE, FULL])
def test_expert_solves_every_task_in_one_action(environment) -> None:
    for task in TASKS:
        actions = solve(task)
        assert len(actions) == HORIZON == 1
        observation = environment.step(task, (), actions[0])
        assert observation.done and observation.success and not observation.failure
        assert environment.step(task, (), actions[0].replace(NEWLINE, "\n")) == observation
        assert first_wrong_step(task, split_steps(actions[0])) is None


def test_answers_follow_from_plain_arithmetic() -> None:
    for task in TASKS:
        value = task.start
        for operation in task.operations:
            name, number = operation.split()
            value += {"plus": int(number), "minus": -int(number), "times": value * (int(number) - 1), "free": 0}[name]
        assert task.answer == str(value % 10)


def test_questions_and_right_lines() -> None:
    assert CHAIN.question == "start 3 then plus 4 then times 7 then minus 5 ?"
    assert CHAIN.lines == ("3 plus 4 = 7", "7 times 7 = 9", "9 minus 5 = 4") and CHAIN.answer == "4"
    nested = make_task("x", "medium", "nested", 3, ("plus 4", "times 7"))
    assert nested.question == "times 7 of plus 4 of start 3 ?"
    trailing = make_task("x", "template", "trailing", 3, ("plus 4", "times 7"))
    assert trailing.question == "plus 4 then times 7 start 3 ?"
    assert LOCK.question == "chain start 3 then free 1 then plus 4 then free 2 then times 7 ?"
    assert LOCK.decisive == (1, 3) and LOCK.coverage == 0.5 and CHAIN.coverage == 1
    assert solve(LOCK) == ("free 1 <newline> 3 plus 4 = 7 <newline> free 2 <newline> 7 times 7 = 9",)


def test_full_questions_name_every_operation_and_the_form_of_a_step() -> None:
    for task in TASKS:
        text = FULL.reset(task)
        assert "3 plus 4 = 7" in text and str(task.start) in text
        assert all(task.operations[place] in text for place in task.decisive)
    with pytest.raises(ValueError, match="neither"):
        ReasoningEnvironment("short")  # type: ignore[arg-type]


@given(st.integers(0, 9), st.sampled_from(OPERATIONS))
def test_every_operation_can_be_undone(value: int, operation: str) -> None:
    assert sum(calculate(other, operation) == calculate(value, operation) for other in range(10)) == 1


def slipped(task: ReasoningTask, place: int, shift: int) -> list[str]:
    """The solution with one wrong result, carried on from there without another."""
    value, lines = task.start, []
    for step, operation in enumerate(task.operations):
        result = (calculate(value, operation) + (shift if step == place else 0)) % 10
        lines.append(f"{value} {operation} = {result}")
        value = result
    return [*lines, f"answer {value}"]


@settings(max_examples=100)
@given(st.sampled_from(CHAINS), st.data())
def test_one_slip_makes_the_answer_wrong_and_the_oracle_finds_it(task, data) -> None:
    place = data.draw(st.integers(0, len(task.lines) - 1))
    steps = slipped(task, place, data.draw(st.integers(1, 9)))
    assert first_wrong_step(task, steps) == place
    observation = TERSE.step(task, (), join_steps(steps))
    assert not observation.success and observation.failure == "wrong answer"


@settings(max_examples=100)
@given(st.sampled_from(CHAINS), st.data())
def test_a_wrong_answer_has_a_wrong_step_and_right_steps_to_the_end_have_the_right_answer(task, data) -> None:
    right = [*task.lines, f"answer {task.answer}"]
    others = st.sampled_from([*right, *slipped(task, 0, 1), "answer 3", "free 1", "7", "what"])
    steps = data.draw(st.lists(others, max_size=12)) if data.draw(st.booleans()) else [*right]
    for _ in range(data.draw(st.integers(0, 2))):
        steps.insert(data.draw(st.integers(0, len(steps))), data.draw(others))
    wrong = first_wrong_step(task, steps)
    observation = TERSE.step(task, (), join_steps(steps))
    if observation.failure == "wrong answer":
        assert wrong is not None
    if wrong is None and steps and steps[-1].startswith("answer"):
        assert observation.success
    # The oracle is causal: it says of a prefix what it says of the whole, as far as the prefix goes.
    for end in range(len(steps) + 1):
        expected = wrong if wrong is not None and wrong < end else None
        assert first_wrong_step(task, steps[:end]) == expected


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([], None),
        (["3 plus 4 = 7"], None),
        (["3 plus 4 = 7", "7 times 7 = 9", "9 minus 5 = 4", "answer 4"], None),
        (["3 plus 4 = 7", "3 plus 4 = 7", "7 times 7 = 9", "3 plus 4 = 7", "9 minus 5 = 4", "answer 4"], None),
        (["7 times 7 = 9"], 0),
        (["answer 4"], 0),
        (["3 plus 4 = 7", "7 times 7 = 8", "9 minus 5 = 4", "answer 4"], 1),
        (["3 plus 4 = 7", "answer 4"], 1),
        (["3 plus 4 = 7", "4 plus 3 = 7"], 1),
        (["3 plus 4 = 7", "7 times 7 = 9", "9 minus 5 = 4", "answer 5"], 3),
        (["3 plus 4 = 7", "7 times 7 = 9", "9 minus 5 = 4", "answer 4", "3 plus 4 = 7"], 4),
        (["3 plus 4 = 7", "7 times 7 = 9", "9 minus 5 = 4", "answer 4", "answer 4"], 4),
    ],
)
def test_first_wrong_step_of_a_chain(steps, wrong) -> None:
    assert first_wrong_step(CHAIN, steps) == wrong


@pytest.mark.parametrize(
    ("steps", "wrong", "failure"),
    [
        (["free 1", "3 plus 4 = 7", "free 2", "7 times 7 = 9"], None, ""),
        (["free 9", "3 plus 4 = 7", "what ever", "7 times 7 = 9"], None, ""),
        (["free 1", "3 plus 4 = 8", "free 2", "7 times 7 = 9"], 1, "wrong step"),
        (["free 1", "3 plus 4 = 8", "free 2", "8 times 7 = 6"], 1, "wrong step"),
        (["free 1", "3 plus 4 = 7", "free 2", "8 times 7 = 6"], 3, "wrong step"),
        (["free 1", "3 plus 4 = 7", "free 2"], None, "wrong length"),
        (["free 1", "3 plus 4 = 7", "free 2", "7 times 7 = 9", "answer 9"], 4, "wrong length"),
        (["3 plus 4 = 7", "7 times 7 = 9"], 1, "wrong length"),
    ],
)
def test_first_wrong_step_and_failure_of_a_decisive_chain(steps, wrong, failure) -> None:
    assert first_wrong_step(LOCK, steps) == wrong
    observation = TERSE.step(LOCK, (), join_steps(steps))
    assert observation.failure == failure and observation.success == (not failure)


@settings(max_examples=60)
@given(st.sampled_from([task for task in TASKS if task.template == "decisive"]), st.data())
def test_a_decisive_chain_depends_on_its_decisive_steps_alone(task, data) -> None:
    steps = list(task.lines)
    for place in range(len(steps)):
        if place not in task.decisive:
            steps[place] = data.draw(st.sampled_from(["free 3", "1 plus 1 = 3", "answer 0", "nonsense"]))
    assert TERSE.step(task, (), join_steps(steps)).success
    place = data.draw(st.sampled_from(task.decisive))
    steps[place] = steps[place][:-1] + str((int(steps[place][-1]) + data.draw(st.integers(1, 9))) % 10)
    assert not TERSE.step(task, (), join_steps(steps)).success
    assert first_wrong_step(task, steps) == place


@pytest.mark.parametrize("pair", DECISIVE)
def test_coverage_of_decisive_chains_is_set_by_design(pair) -> None:
    decisive, length = pair
    tasks = PANELS["train"].select(f"decisive-{decisive}-of-{length}")
    assert len(tasks) == 10
    for task in tasks:
        assert len(task.lines) == length and task.coverage == decisive / length
    assert len({task.decisive for task in tasks}) > 1


@pytest.mark.parametrize(
    ("action", "failure", "skill"),
    [
        ("answer 4", "", "answer"),
        ("  ANSWER   4 ", "", "answer"),
        ("answer 5", "wrong answer", "answer"),
        ("nonsense <newline> answer 4", "", "answer"),
        ("answer 4 <newline> 3 plus 4 = 7", "no answer", "add"),
        ("3 plus 4 = 7", "no answer", "add"),
        ("7 times 7 = 9 <newline>", "no answer", "multiply"),
        ("free 3", "no answer", "free"),
        ("answer 44", "no answer", "invalid"),
        ("answer 4 answer 4", "no answer", "invalid"),
        ("", "no answer", "invalid"),
        ("<newline> <newline>", "no answer", "invalid"),
        ("answer ٤", "no answer", "invalid"),
        ("answer 4\x00", "no answer", "invalid"),
        ("answer 4 " * 12_000, "no answer", "invalid"),
        ("\n" * 100_000, "no answer", "invalid"),
        ("__import__('os').system('true')", "no answer", "invalid"),
        ("../../etc/passwd {0} %s", "no answer", "invalid"),
    ],
)
def test_any_action_ends_the_episode_with_a_verdict_on_its_last_line(action, failure, skill) -> None:
    observation = TERSE.step(CHAIN, (), action)
    assert (observation.failure, observation.skill) == (failure, skill)
    assert observation.done and observation.text == "" and observation.success == (not failure)


@given(st.text(max_size=200), st.sampled_from([CHAIN, LOCK]))
def test_any_string_is_an_action(action: str, task) -> None:
    observation = TERSE.step(task, (), action)
    assert observation.done and observation.skill in SKILLS and not (task is LOCK and observation.success)
    assert set(step_skills(action)) <= set(SKILLS)
    assert observation.skill == (step_skills(action) or ("invalid",))[-1]


def test_steps_are_lines() -> None:
    assert split_steps("3 plus  4 = 7 <newline> <newline>\n\n 7 times 7 = 9\r\nanswer 9 <newline>") == (
        "3 plus 4 = 7",
        "7 times 7 = 9",
        "answer 9",
    )
    assert step_skills("3 plus 4 = 7 <newline> free 1 <newline> 7 minus 7 = 3 <newline> so\nanswer 3") == (
        "add",
        "free",
        "subtract",
        "invalid",
        "answer",
    )
    assert len(SKILLS) == 6


@given(st.lists(st.sampled_from(["3 plus 4 = 7", "free 1", "answer 9", "so"]), max_size=6))
def test_joining_and_splitting_are_inverse(steps) -> None:
    assert split_steps(join_steps(steps)) == tuple(steps)


def check_panels(panels) -> None:
    for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
        assert TERSE.step(task, (), solve(task)[0]).success
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])


def test_panels_depend_on_the_seed_alone_and_grow_by_appending() -> None:
    check_panels(PANELS)
    larger, other = build_panels(14, 12, 11), build_panels(10, 10, 10, train_seed=1, test_seed=1)
    for name, panel in PANELS.items():
        assert set(panel.tasks) <= set(larger[name].tasks)
        assert other[name].sha256 != panel.sha256
        assert len(canonical_forms(panel)) == len(panel.tasks)
        for category in {task.category for task in panel.tasks}:
            assert larger[name].select(category)[:10] == panel.select(category)
    assert {task.category for task in PANELS["ood"].tasks} == {"longer", "template"}
    longest = max(len(task.operations) for task in PANELS["train"].tasks if task.template != "decisive")
    assert min(len(task.operations) for task in PANELS["ood"].select("longer")) > longest
    assert {task.template for task in PANELS["ood"].select("template")} == {"trailing"}


def test_canonical_forms_see_through_the_wording() -> None:
    def panel(name: str, *task) -> Panel[ReasoningTask]:
        return Panel(name, (make_task("x", "y", *task),))

    pairs = [
        (panel("train", "listed", 3, ("plus 4",)), panel("test", "nested", 3, ("plus 4",))),
        (panel("train", "decisive", 3, ("free 1", "plus 4")), panel("test", "decisive", 3, ("free 2", "plus 4"))),
    ]
    for pair in pairs:
        with pytest.raises(ValueError, match="panels train and test share 1 items"):
            check_disjoint(pair, [canonical_forms(one) for one in pair])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tiers": [Tier("tiny", 1, 1)]}, "too few chains"),
        ({"decisive": [(5, 4)]}, "can be decisive"),
        ({"decisive": [(0, 4)]}, "can be decisive"),
    ],
)
def test_panels_that_cannot_be_built_are_refused(options, said) -> None:
    with pytest.raises(ValueError, match=said):
        build_panels(400, 1, 1, **options)


@pytest.mark.parametrize("values", [(0, 1), (2, 1), (1, 2, ()), (1, 2, ("decisive",))])
def test_impossible_tiers_are_refused(values) -> None:
    with pytest.raises(ValueError, match="tier odd"):
        Tier("odd", *values)


def test_other_processes_and_hash_seeds_draw_the_same_panels() -> None:
    script = (
        "import sys; from reproduce.environments.reasoning import build_panels\n"
        "assert not any(name.startswith(('math_verify', 'sympy', 'torch')) for name in sys.modules)\n"
        "print(*(panel.sha256 for panel in build_panels(10, 10, 10).values()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == [panel.sha256 for panel in PANELS.values()]


def test_demonstrations_are_covered_by_the_words() -> None:
    tokenizer, generator = build_tokenizer(words()), random.Random(0)
    for task in TASKS:
        question, careful = demonstrate(task, 1, generator)
        assert question.text == TERSE.reset(task) and not question.by_policy
        assert careful.text == solve(task)[0] and careful.by_policy
        turns = demonstrate(task, 1, generator, MIXED)
        ids = tokenizer(" ".join(turn.text for turn in turns)).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(tokenizer(turns[1].text).input_ids) == turns[1].text
    with pytest.raises(ValueError, match="one round"):
        demonstrate(CHAIN, 0, generator)


def test_a_line_break_is_one_token() -> None:
    tokenizer = build_tokenizer(words())
    ids = tokenizer(solve(CHAIN)[0]).input_ids
    assert ids.count(tokenizer.convert_tokens_to_ids(NEWLINE)) == len(CHAIN.lines)
    assert len(ids) == 6 * len(CHAIN.lines) + 2


def failures(demonstrator: Demonstrator, tasks) -> Counter:
    generator = random.Random(1)
    return Counter(
        TERSE.step(task, (), demonstrate(task, 1, generator, demonstrator)[1].text).failure for task in tasks
    )


def test_each_kind_of_mistake_shows() -> None:
    every = dict.fromkeys(OPERATIONS, 0.0)
    generator = random.Random(2)
    for task in TASKS:
        steps = split_steps(demonstrate(task, 1, generator, Demonstrator(every))[1].text)
        assert first_wrong_step(task, steps) == task.decisive[0]
    assert set(failures(Demonstrator(stops=1), TASKS)) == {"no answer", "wrong length"}
    assert set(failures(Demonstrator(repeats=1), CHAINS)) == {""}
    assert not failures(Demonstrator(misspeaks=1), TASKS)["wrong answer"]
    assert set(failures(Demonstrator(in_head=1), TASKS)) == set(failures(Demonstrator(skips=1), TASKS)) == {""}
    careless = demonstrate(CHAIN, 1, generator, Demonstrator(in_head=1))[1].text
    assert careless == "answer 4" and first_wrong_step(CHAIN, split_steps(careless)) == 0
    assert failures(Demonstrator(in_head=1, head_slip=1), CHAINS)["wrong answer"] > len(CHAINS) / 2


def test_tiers_set_how_often_all_samples_are_right() -> None:
    """A step right with chance .95 gives chains right with chance .95^H: groups of eight alike are common or rare."""
    panel, generator = build_panels(40, 1, 1, decisive=())["train"], random.Random(3)
    demonstrator = Demonstrator(dict.fromkeys(OPERATIONS, 0.95))
    share = {}
    for category in ("easy", "medium", "hard"):
        groups = [
            all(TERSE.step(task, (), demonstrate(task, 1, generator, demonstrator)[1].text).success for _ in range(8))
            for task in panel.select(category)
            for _ in range(10)
        ]
        share[category] = sum(groups) / len(groups)
    expected = {"easy": 0.95**16, "medium": 0.95**32, "hard": (0.95**48 + 0.95**56) / 2}
    for category, chance in expected.items():
        assert abs(share[category] - chance) < 4 * (chance * (1 - chance) / 400) ** 0.5 + 0.02
    assert share["easy"] > share["medium"] > share["hard"]


def test_random_policies_score_as_documented() -> None:
    generator = random.Random(4)
    chains = [TERSE.step(task, (), random_action(task, (), generator)) for task in CHAINS * 60]
    assert {one.failure for one in chains} == {"", "wrong answer"}
    assert abs(sum(one.success for one in chains) / len(chains) - 0.1) < 0.03
    locks = PANELS["train"].select("decisive-1-of-16")
    won = [TERSE.step(task, (), random_action(task, (), generator)).success for task in locks * 600]
    assert abs(sum(won) / len(won) - 0.01) < 0.006


def test_explanations_name_what_is_asked_the_trap_and_a_solution() -> None:
    for task in TASKS:
        text = explain(task)
        assert str(task.start) in text and "Trap:" in text and all(line in text for line in task.lines)


@pytest.mark.slow
def test_a_thousand_seeds() -> None:
    generator = random.Random(5)
    for seed in range(1000):
        panels = build_panels(2, 2, 2, train_seed=seed, test_seed=seed)
        check_panels(panels)
        for task in itertools.chain.from_iterable(panel.tasks for panel in panels.values()):
            text = demonstrate(task, 1, generator, MIXED)[1].text
            observation = TERSE.step(task, (), text)
            if first_wrong_step(task, split_steps(text)) is None:
                assert observation.failure in ("", "no answer", "wrong length")


# ---- math sets


def write_jsonl(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_math_sets_are_read_from_jsonl_and_parquet(tmp_path: Path) -> None:
    rows = [
        {"question": "Half of one?", "answer": "\\frac{1}{2}", "level": 3},
        {"question": "Nine eights?", "answer": "Nine times eight is 72.\n#### 72"},
        {"question": "Two and two?", "answer": "So it is \\boxed{4}."},
    ]
    loaded = load_dataset_tasks(write_jsonl(tmp_path / "small.jsonl", rows))
    assert [task.answer for task in loaded] == ["\\frac{1}{2}", "72", "4"]
    assert loaded[0] == MathTask("small-00001", "small", "Half of one?", "\\frac{1}{2}")
    pq.write_table(pa.table({"problem": ["Six sevens?"], "answer": [42]}), tmp_path / "other.parquet")
    assert load_dataset_tasks(tmp_path / "other.parquet") == (MathTask("other-00001", "other", "Six sevens?", "42"),)


def test_answers_of_minerva_and_olympiadbench_are_found_and_rows_without_one_can_be_left_out(tmp_path: Path) -> None:
    rows = [
        {"problem": "Focus?", "solution": "First \\boxed{2}, so it is \\boxed{1.6} cm."},
        {
            "question": "Which n?",
            "final_answer": ["$3$", "$5$"],
            "solution": ["Both.", "Or"],
            "is_multiple_answer": True,
        },
        {"question": "Prove it.", "final_answer": None, "solution": ["Clear."]},
        {"question": "Range?", "final_answer": ["$[0, 1)$"], "unit": "m"},
    ]
    path = write_jsonl(tmp_path / "olympiad.jsonl", rows)
    with pytest.raises(UserError, match=r"olympiad.jsonl: row 3 has no answer"):
        load_dataset_tasks(path)
    with pytest.warns(UserWarning, match=r"olympiad.jsonl: 1 rows left out: row 3 has no answer"):
        tasks = load_dataset_tasks(path, skip_broken=True)
    assert [task.identifier for task in tasks] == ["olympiad-00001", "olympiad-00002", "olympiad-00004"]
    assert [task.answer for task in tasks] == ["1.6", "3, 5", "[0, 1)"]
    pq.write_table(pa.Table.from_pylist([rows[1], rows[3]]), tmp_path / "hub.parquet")
    assert [task.answer for task in load_dataset_tasks(tmp_path / "hub.parquet")] == ["3, 5", "[0, 1)"]
    for gold, right, wrong in (
        ("3, 5", "5, 3", "3"),
        ("[0, 1)", "[0,1)", "(0,1)"),
        ("1.6", "1.6 \\mathrm{~cm}", "1.7"),
        ("B", "\\text{(B)}", "C"),
    ):
        task = MathTask("x", "x", "?", gold)
        assert MathEnvironment().step(task, (), f"So \\boxed{{{right}}}").success
        assert not MathEnvironment().step(task, (), f"So \\boxed{{{wrong}}}").success


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"question": "?"}\n', "row 1 has no answer"),
        ("a.jsonl", '{"question": "?", "answer": "1"}\n{"answer": "1"}\n', "row 2 has no question"),
        ("a.jsonl", '{"question": "?", "answer": true}\n', "row 1 has no answer"),
        ("a.jsonl", '{"question": "?", "answer": "so ####"}\n', "row 1 has no answer"),
        ("a.jsonl", '{"question": "?", "answer": "\\\\boxed{1"}\n', "row 1 has no answer"),
        ("a.jsonl", "no json\n", "row 1"),
        ("a.jsonl", "", "no questions"),
        ("a.parquet", "no parquet", "damaged"),
        ("a.csv", "question,answer\n", "not a .jsonl or .parquet file"),
    ],
)
def test_unusable_math_sets_are_refused_with_file_and_row(tmp_path: Path, name, content, said) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=said) as refused:
        load_dataset_tasks(path)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet"])
def test_a_missing_math_set_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_dataset_tasks(tmp_path / name)


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("72", "72.0", True),
        ("1/2", "\\frac{1}{2}", True),
        ("\\frac{1}{2}", "0.5", True),
        ("1+x^2", "x^2 + 1", True),
        ("72", "73", False),
        ("72", "", False),
        ("1", "__import__('os').system('true')", False),
        ("1", "9^{9^{9^9}} - 9^{9^{9^9}} + 2", False),
        ("1", "{" * 200, False),
        ("1", "1" * 201, False),
        ("1", "\x00\n%s{0}", False),
    ],
)
def test_math_answers_are_compared_by_meaning(gold: str, answer: str, same: bool) -> None:
    assert is_equivalent(gold, answer) is same


def test_an_expression_that_takes_for_ever_is_wrong_on_any_thread() -> None:
    """And the answers after it are graded as ever."""
    answers = ["2003^{2002^{2001}}", "0.5", "3", "2003^{2002^{2001}} + 1"]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda answer: is_equivalent("\\frac{1}{2}", answer), answers))
    assert found == [False, True, False, False]
    grade = Grader()
    assert grade("72", "72.0")
    begun = time.monotonic()
    assert not grade("72", "1.5E+999999")
    assert grade("1.5E+3", "1500")
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    # As a comparison that does not let itself be interrupted.
    assert not grade("72", "72.0", seconds=0)
    assert time.monotonic() - begun < 5
    assert grade("72", "72.0")


def test_no_answer_reaches_an_evaluator_of_python(monkeypatch) -> None:
    import math_verify.parser

    def forbidden(*arguments, **options):
        raise AssertionError(f"evaluated: {arguments}")

    monkeypatch.setattr(math_verify.parser, "parse_expr", forbidden)
    monkeypatch.setattr(math_verify.parser, "parse_expr_cached", forbidden)
    for answer in ("12345", "3*41", "x**2", "print(1)", "1e5"):
        compare("12346", answer)


def test_math_episodes_are_graded_on_the_last_box() -> None:
    environment, task = MathEnvironment(), MathTask("x", "small", "Half of one?", "0.5")
    assert environment.reset(task).startswith("Half of one?\n")
    right = environment.step(task, (), "First \\boxed{2}.\nNo: \\boxed{\\frac{1}{2}}.")
    assert right.done and right.success and right.skill == "answer"
    wrong = environment.step(task, (), "\\boxed{2}")
    assert wrong.done and wrong.failure == "wrong answer"
    for action in ("", "0.5", "\\boxed{0.5", "x" * 100_001 + "\\boxed{0.5}"):
        none = environment.step(task, (), action)
        assert none.done and none.failure == "no answer" and none.skill == "invalid"


@given(st.text(max_size=60))
def test_boxes_hold_any_text(text: str) -> None:
    balanced = text.replace("{", "").replace("}", "").replace("\\", "")
    assert boxed_answer(f"so \\boxed{{{balanced}}} {balanced}") == balanced.strip()


def test_a_missing_engine_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(UserError, match=r"install rl-claims\[reasoning\]"):
        is_equivalent("3", "a text that was not compared before")
