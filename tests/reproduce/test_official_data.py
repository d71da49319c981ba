"""Panels from official data: the right tasks from files in the official formats, one line for anything damaged."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reproduce.core.config import PanelConfig, PanelSizes
from reproduce.core.files import UserError
from reproduce.environments import rows as rows_module
from reproduce.environments.beds import load_bed, task_counts
from reproduce.environments.reasoning import MathEnvironment, load_dataset_tasks
from reproduce.environments.retrieval import (
    HotpotCorpus,
    HotpotTask,
    TaggedEnvironment,
    build_hotpot_panels,
    demonstrate_hotpot,
    normalise_answer,
    solve_hotpot,
)
from reproduce.environments.retrieval.tagged import CLOSED, INVALID
from reproduce.environments.rows import LONGEST_ROW, files_of, read_rows
from reproduce.environments.selection import order_of
from tests.reproduce.official_files import (
    DEV,
    TRAIN,
    as_columns,
    hotpot_row,
    musique_row,
    sums,
    wiki_row,
    write_hotpot,
    write_hotpot_shards,
    write_lines,
)

ENVIRONMENT = TaggedEnvironment(HotpotCorpus())


@pytest.fixture(scope="module")
def hotpot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hotpot(tmp_path_factory.mktemp("hotpot"))


def one_line(refused: pytest.ExceptionInfo[UserError]) -> str:
    message = str(refused.value)
    assert message and "\n" not in message
    return message


# ---- HotpotQA


def test_questions_of_both_types_are_taken_in_the_order_of_their_identifiers_digests(hotpot: Path) -> None:
    panels = build_hotpot_panels(hotpot, 4, 6)
    assert [task.category for task in panels["train"].tasks] == ["comparison"] * 4 + ["bridge"] * 4
    assert [task.category for task in panels["test"].tasks] == ["comparison"] * 6 + ["bridge"] * 6
    assert panels["ood"].tasks == ()
    for split, count, panel in (("train", 20, "train"), ("dev", 16, "test")):
        for category, parity in (("comparison", 1), ("bridge", 0)):
            known = [hotpot_row(split, number)["_id"] for number in range(count) if number % 2 == parity]
            taken = [task.identifier for task in panels[panel].select(category)]
            assert taken == sorted(known, key=order_of)[: len(taken)]
    fewer = build_hotpot_panels(hotpot, 2, 3)
    assert set(fewer["train"].tasks) < set(panels["train"].tasks) and set(fewer["test"].tasks) < set(
        panels["test"].tasks
    )


def test_the_order_of_the_rows_changes_nothing(hotpot: Path, tmp_path: Path) -> None:
    for name in (TRAIN, DEV):
        rows = json.loads((hotpot / name).read_text())
        random.Random(0).shuffle(rows)
        (tmp_path / name).write_text(json.dumps(rows, indent=1))
    assert build_hotpot_panels(tmp_path, 5, 5) == build_hotpot_panels(hotpot, 5, 5)


@pytest.mark.parametrize("below", ["", "distractor"])
def test_both_layouts_hold_the_same_tasks(hotpot: Path, tmp_path: Path, below: str) -> None:
    write_hotpot_shards(tmp_path / below)
    assert build_hotpot_panels(tmp_path, 10, 8) == build_hotpot_panels(hotpot, 10, 8)


def test_a_task_has_its_paragraphs_and_its_hops_in_order(hotpot: Path) -> None:
    task = next(task for task in build_hotpot_panels(hotpot, 10, 8)["train"].tasks if task.identifier == "train0004")
    first, second = "train person 4 g", "train person 4 c"
    assert (task.hops, task.category, task.answer) == (2, "bridge", "1004")
    assert len(task.titles) == len(task.paragraphs) == 10
    # The supporting facts name the second hop first, and a sentence that is not there.
    assert [task.titles[place] for place in task.gold] == [first, second]
    assert task.paragraphs[task.gold[0]] == f"{first} was born in spring. {first} is married to {second}."
    assert task.evidence == (f"{first} is married to {second}.", f"{second} was born in 1004.")


def test_a_question_that_cannot_be_asked_is_left_out(tmp_path: Path) -> None:
    rows = [hotpot_row("train", number) for number in range(8)]
    rows[0]["supporting_facts"] = [["nobody", 0], ["train person 0 c", 0]]
    rows[2]["supporting_facts"] = [["train person 2 c", 0], ["train person 2 c", 1]]
    rows[4]["answer"] = "The!"
    (tmp_path / TRAIN).write_text(json.dumps(rows))
    (tmp_path / DEV).write_text(json.dumps([hotpot_row("dev", number) for number in range(4)]))
    assert [task.identifier for task in build_hotpot_panels(tmp_path, 1, 1)["train"].select("bridge")] == ["train0006"]
    with pytest.raises(UserError, match="1 questions of type bridge that can be asked, 2 wanted") as refused:
        build_hotpot_panels(tmp_path, 2, 1)
    assert TRAIN in one_line(refused)


def test_the_expert_finds_what_is_needed_and_is_right(hotpot: Path) -> None:
    for task in build_hotpot_panels(hotpot, 10, 8)["train"].tasks:
        actions, history, texts = solve_hotpot(task), (), []
        assert len(actions) == task.hops + 1
        for action in actions:
            observation = ENVIRONMENT.step(task, history, action)
            history, texts = (*history, action), [*texts, observation.text]
        assert observation.success and observation.done
        for place, text, evidence in zip(task.gold, texts, task.evidence, strict=False):
            assert task.paragraphs[place] in text and evidence in text and evidence in actions[-1]
        for rounds in (0, 1, 2, 3):
            turns = demonstrate_hotpot(task, rounds)
            assert sum(turn.by_policy for turn in turns) == min(rounds, 2) + 1
            assert (turns[-2].text == CLOSED) == (rounds <= 2)
            assert ENVIRONMENT.step_closed(task, (), turns[-1].text).success


def test_searches_answers_and_everything_else(hotpot: Path) -> None:
    task = build_hotpot_panels(hotpot, 10, 8)["train"].select("bridge")[0]
    title = task.titles[task.gold[0]]
    found = ENVIRONMENT.step(task, (), f"Let me see.\n<search>\n {title.upper()}?! </search> <answer>no</answer>")
    assert found.text == f"<information>\n({title}) {task.paragraphs[task.gold[0]]}\n</information>"
    assert (found.skill, found.done) == (f"search {task.gold[0]}", False)
    nothing = ENVIRONMENT.step(task, (), "<search>xylophone</search>")
    assert nothing.skill == "search nothing" and "Nothing was found" in nothing.text
    for action in ("", title, "<search></search>", "<answer> </answer>", f"<search>{title}", "<answer>1</search>"):
        refused = ENVIRONMENT.step(task, (), action)
        assert (refused.text, refused.done, refused.success, refused.skill) == (INVALID, False, False, "invalid")
    assert ENVIRONMENT.step(task, (), f"<answer>The {task.answer}.</answer><search>x</search>").success
    assert ENVIRONMENT.step(task, (), "<answer>wrong</answer>").done
    assert not ENVIRONMENT.step(task, (), "<answer>wrong</answer>").success
    assert ENVIRONMENT.close(task) == CLOSED
    closed = ENVIRONMENT.step_closed(task, (), f"<answer>or</answer> <search>x</search> <ANSWER>{task.answer}</ANSWER>")
    assert closed.success and closed.done
    for action in ("<search>x</search>", task.answer, "x" * 100_000, "<answer>" * 1_000):
        closed = ENVIRONMENT.step_closed(task, (), action)
        assert closed.done and not closed.success and closed.skill == "invalid"


def test_a_search_shows_as_many_paragraphs_as_asked_for(hotpot: Path) -> None:
    task = build_hotpot_panels(hotpot, 10, 8)["train"].select("comparison")[0]
    for passages in (1, 2, 3):
        text = TaggedEnvironment(HotpotCorpus(passages)).step(task, (), "<search>stranger</search>").text
        assert text.count("\n(") == passages
    for passages in (0, 4):
        with pytest.raises(ValueError, match="1 to 3"):
            HotpotCorpus(passages)


@pytest.mark.parametrize(
    ("written", "gold", "same"),
    [
        ("The Beatles!", "beatles", True),
        ("  an   Apple a day ", "apple day", True),
        ("U.S.A.", "usa", True),
        ("Chief of Protocol", "chief of protocol", True),
        ("3,677 seated", "3677 SEATED", True),
        ("yes.", "Yes", True),
        ("theatre", "atre", False),
        ("no", "yes", False),
        ("1 2", "12", False),
        ("Animorphs", "Animorph", False),
    ],
)
def test_exact_match_on_hand_cases(written: str, gold: str, same: bool) -> None:
    task = HotpotTask("x", "bridge", "?", gold, 2, (), (), (), ())
    assert ENVIRONMENT.step(task, (), f"<answer>{written}</answer>").success is same


@given(st.text(max_size=30))
def test_exact_match_follows_the_four_steps_of_the_official_script(text: str) -> None:
    kept = "".join(c for c in text.lower() if c not in set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))
    assert normalise_answer(text) == " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def test_questions_without_a_tool_are_graded_as_mathematics(hotpot: Path, tmp_path: Path) -> None:
    folder = write_hotpot(tmp_path / "with static")
    answers = ["-5", "\\frac{1}{2}", "x^2+1", "\\text{Evelyn}"]
    write_lines(folder / "static.jsonl", [{"problem": f"Number {i}?", "answer": a} for i, a in enumerate(answers)])
    test = build_hotpot_panels(folder, 2, 4)["test"]
    assert [task.category for task in test.tasks] == ["static"] * 4 + ["comparison"] * 4 + ["bridge"] * 4
    tasks = {task.answer: task for task in test.select("static")}
    assert set(tasks) == set(answers) and {task.hops for task in tasks.values()} == {0}

    def is_right(gold: str, written: str) -> bool:
        return ENVIRONMENT.step_closed(tasks[gold], (), f"<answer>{written}</answer>").success

    assert is_right("-5", "-5") and is_right("-5", "\\boxed{-5}") and not is_right("-5", "5")
    assert is_right("\\frac{1}{2}", "0.5") and is_right("x^2+1", "1+x^2") and not is_right("x^2+1", "x^2-1")
    assert is_right("\\text{Evelyn}", "\\text{Evelyn}")
    assert ENVIRONMENT.step(tasks["-5"], (), "<search>five</search>").skill == "search nothing"
    with pytest.raises(UserError, match=r"static.jsonl: 4 questions, 5 wanted"):
        build_hotpot_panels(folder, 2, 5)


# ---- MuSiQue and 2WikiMultihopQA


def test_musique_is_read_from_its_authors_files(tmp_path: Path) -> None:
    for name, split in (("train", "train"), ("dev", "dev")):
        rows = [musique_row(split, number, 2 + number % 3) for number in range(9)]
        rows.append(musique_row(split, 9) | {"answerable": False})
        write_lines(tmp_path / f"musique_ans_v1.0_{name}.jsonl", rows)
    load_bed("retrieval").check_source(PanelConfig(9, 9, 0, source=str(tmp_path)))
    panels = build_hotpot_panels(tmp_path, 9, 9)
    assert {task.hops for task in panels["test"].tasks} == {2, 3, 4}
    for task in (*panels["train"].tasks, *panels["test"].tasks):
        assert task.category == "bridge" and len(task.gold) == task.hops == len(task.evidence)
        assert all(one.endswith(".") and "leads to" in one and "words" not in one for one in task.evidence)
        assert task.evidence[-1].endswith(f"leads to {task.answer}.")
        for answer, right in ((task.answer, True), (f"The {task.aliases[0]}!", True), ("nothing", False)):
            assert ENVIRONMENT.step_closed(task, (), f"<answer>{answer}</answer>").success is right
        assert len(solve_hotpot(task)) == task.hops + 1
    with pytest.raises(UserError, match="9 questions of type bridge that can be asked, 10 wanted"):
        build_hotpot_panels(tmp_path, 10, 9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"paragraphs": []}, "no paragraphs in the form of MuSiQue"),
        ({"paragraphs": [{"title": "a"}]}, "a paragraph without title and paragraph_text"),
        ({"paragraphs": [{"title": "a", "paragraph_text": "b"}] * 51}, "more than 50 paragraphs"),
        ({"question_decomposition": None}, "no question_decomposition in the form of MuSiQue"),
        ({"question_decomposition": [{"answer": "a", "paragraph_support_idx": "1"}]}, "a step without"),
        ({"question_decomposition": [{"answer": "a", "paragraph_support_idx": 20}]}, "whose paragraph is not there"),
    ],
)
def test_a_damaged_row_of_musique_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_lines(
        tmp_path / "musique_ans_v1.0_train.jsonl", [musique_row("train", 0), musique_row("train", 1) | change]
    )
    write_lines(tmp_path / "musique_ans_v1.0_dev.jsonl", [musique_row("dev", number) for number in range(2)])
    with pytest.raises(UserError, match=re.escape(f"{path}: row 2 has ")) as refused:
        build_hotpot_panels(tmp_path, 2, 2)
    assert said in one_line(refused)


@pytest.mark.parametrize("form", ["json", "text"])
def test_2wikimultihopqa_is_read_in_both_its_forms(tmp_path: Path, form: str) -> None:
    """The authors' JSON, and a copy on the hub that keeps lists as text."""
    for name, split in (("train", "train"), ("dev", "dev")):
        rows = [wiki_row(split, number) for number in range(8)]
        if form == "json":
            (tmp_path / f"{name}.json").write_text(json.dumps(rows))
        else:
            texts = [
                {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
                for row in rows
            ]
            pq.write_table(pa.Table.from_pylist(texts), tmp_path / f"{name}.parquet")
    panels = build_hotpot_panels(tmp_path, 4, 4)
    assert Counter(task.category for task in panels["test"].tasks) == {"bridge": 4, "comparison": 4}
    assert {task.hops for task in panels["train"].select("comparison")} == {2, 4}
    assert {task.hops for task in panels["train"].select("bridge")} == {2}


def changed(row: dict, **fields: object) -> dict:
    return {name: value for name, value in (row | fields).items() if value is not None}


DAMAGED_ROWS = {
    "no question": changed(hotpot_row("train", 2), question=None),
    "no _id or id": changed(hotpot_row("train", 2), _id=" "),
    "no answer": changed(hotpot_row("train", 2), answer=None),
    "no type": changed(hotpot_row("train", 2), type=None),
    "the type 'other'": changed(hotpot_row("train", 2), type="other"),
    "no context in the form": changed(hotpot_row("train", 2), context=None),
    "context that are no pairs": changed(hotpot_row("train", 2), context=[["a", ["b"], "c"]]),
    "a title that is empty": changed(hotpot_row("train", 2), context=[["", ["b"]]]),
    "no list of sentences": changed(hotpot_row("train", 2), context=[["a", "b"]]),
    "more than 50 paragraphs": changed(hotpot_row("train", 2), context=[["a", ["b"]]] * 51),
    "a paragraph of more than": changed(hotpot_row("train", 2), context=[["a", ["b" * 60_000]]]),
    "no Unicode text": changed(hotpot_row("train", 2), context=[["a", ["\ud800"]]]),
    "a question that is no Unicode text": changed(hotpot_row("train", 2), question="\udfff"),
    "a longer question than": changed(hotpot_row("train", 2), question="?" * 6_000),
    "no supporting_facts in the form": changed(
        hotpot_row("train", 2), supporting_facts={"title": ["a"], "sent_id": []}
    ),
    "without the place of a sentence": changed(hotpot_row("train", 2), supporting_facts=[["a", "b"]]),
    "the identifier of": changed(hotpot_row("train", 2), _id="train0001"),
    "no object": 3,
}


@pytest.mark.parametrize("said", DAMAGED_ROWS)
def test_a_damaged_row_is_named(tmp_path: Path, said: str) -> None:
    rows = [hotpot_row("train", 0), hotpot_row("train", 1), DAMAGED_ROWS[said], hotpot_row("train", 3)]
    (tmp_path / TRAIN).write_text(json.dumps(rows))
    (tmp_path / DEV).write_text(json.dumps([hotpot_row("dev", number) for number in range(4)]))
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        build_hotpot_panels(tmp_path, 2, 2)
    assert one_line(refused).startswith(f"{tmp_path / TRAIN}: row 3 ")


def test_a_question_in_train_and_test_is_named(tmp_path: Path) -> None:
    write_hotpot(tmp_path, 4, 4)
    rows = [hotpot_row("dev", number) for number in range(4)]
    rows[2]["question"] = hotpot_row("train", 0)["question"].upper() + " "
    (tmp_path / DEV).write_text(json.dumps(rows))
    with pytest.raises(UserError) as refused:
        build_hotpot_panels(tmp_path, 2, 2)
    assert one_line(refused) == (
        f"{tmp_path / DEV}: row 3: the same task is in the training data ({tmp_path / TRAIN}: row 1)"
    )


def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    bed = load_bed("retrieval")
    sizes = PanelConfig(2, 2, 0, source=str(tmp_path))
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, f"neither {TRAIN}")):
        with pytest.raises(UserError, match=said) as refused:
            bed.check_source(PanelConfig(2, 2, 0, source=str(folder)))
        assert "hf download" in one_line(refused)
    write_hotpot(tmp_path)
    bed.check_source(sizes)
    (tmp_path / DEV).rename(tmp_path / "old.json")
    with pytest.raises(UserError, match=f"neither {DEV}"):
        bed.check_source(sizes)
    write_hotpot_shards(tmp_path)
    with pytest.raises(UserError, match="leave one of them there"):
        bed.check_source(sizes)
    (tmp_path / TRAIN).unlink()
    bed.check_source(sizes)
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="1 of 2 files"):
        bed.check_source(sizes)


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    write_hotpot(tmp_path, 8, 8)
    before = build_hotpot_panels(tmp_path, 2, 2)
    rows = [changed(hotpot_row("train", number), answer="changed") for number in range(8)]
    (tmp_path / TRAIN).write_text(json.dumps(rows))
    after = build_hotpot_panels(tmp_path, 2, 2)
    assert {task.answer for task in after["train"].tasks} == {"changed"} and after["test"] == before["test"]


# ---- rows of any file


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=20) | st.integers() | st.lists(st.text()))),
    indent=st.sampled_from([None, 1]),
    chunk=st.integers(1, 40),
)
def test_lists_are_read_whatever_the_size_of_the_chunks(tmp_path: Path, monkeypatch, rows, indent, chunk) -> None:
    monkeypatch.setattr(rows_module, "_CHUNK", chunk)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "replace").decode(), "utf-8")
    assert list(read_rows(path)) == list(enumerate(json.loads(path.read_text("utf-8")), start=1))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "", "no JSON list"),
        ("a.json", "{}", "no JSON list"),
        ("a.json", '[{"a": 1} {"a": 2}]', "row 2 is damaged"),
        ("a.json", '[{"a": 1},]', "row 2 is damaged"),
        ("a.json", '[{"a": 1}', "row 2 is damaged"),
        ("a.json", '[{"a": 1}, 7]', "row 2 is no object"),
        ("a.json", '[{"a": 1}, {"b": ', "row 2 is damaged"),
        ("a.json", '[{"a": 1}] more', "text after the list"),
        ("a.json", "[" + '{"a":' * 100_000, "row 1 is damaged"),
        ("a.jsonl", "[]\n", "row 1 is no object"),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}', "row 2 is damaged"),
        ("a.jsonl", '{"a": ' + "9" * 5_000 + "}", "row 1 is damaged"),
        ("a.jsonl", "[" * 100_000, "row 1 is damaged"),
        ("a.csv", "a", "not a .jsonl, .json or .parquet file"),
    ],
)
def test_damaged_files_are_named_with_the_row(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as refused:
        list(read_rows(tmp_path / name))
    assert str(tmp_path / name) in one_line(refused)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_a_missing_file_a_folder_and_bytes_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match="no such file"):
        list(read_rows(path))
    path.write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(UserError, match=re.escape(str(path))) as refused:
        list(read_rows(path))
    one_line(refused)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=re.escape(str(path))) as refused:
        list(read_rows(path))
    one_line(refused)


def test_a_row_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    for name, opening in (("a.json", '[{"a": "'), ("a.jsonl", '{"a": "')):
        (tmp_path / name).write_text(opening + "x" * (2 * LONGEST_ROW))
        with pytest.raises(UserError, match=r"row 1 is .*longer than"):
            list(read_rows(tmp_path / name))


def test_line_ends_inside_a_text_and_a_byte_order_mark_end_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "x\xe2\x80\xa8y\xc2\x85z"}\r\n{"a": "b"}')
    assert [row for _, row in read_rows(path)] == [{"a": "x\u2028y\u0085z"}, {"a": "b"}]


def test_versions_of_one_file_are_not_mixed(tmp_path: Path) -> None:
    assert files_of(tmp_path, "train", (".jsonl",)) == []
    write_lines(tmp_path / "train.jsonl", [{}])
    assert files_of(tmp_path, "train", (".jsonl", ".parquet")) == [tmp_path / "train.jsonl"]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"both train.jsonl and train.parquet"):
        files_of(tmp_path, "train", (".jsonl", ".parquet"))


# ---- math sets


def math_source(folder: Path) -> Path:
    write_lines(folder / "train.jsonl", sums(30))
    write_lines(folder / "test" / "AIME24.jsonl", sums(5, "*"))
    pq.write_table(
        pa.table({"problem": [f"{i}?" for i in range(9)], "answer": [str(i) for i in range(9)]}),
        folder / "test" / "AMC.parquet",
    )
    return folder


def test_a_folder_of_math_sets_becomes_panels(tmp_path: Path) -> None:
    bed, sizes = load_bed("reasoning"), PanelSizes(20, 8, 4, source=str(math_source(tmp_path)))
    bed.check_source(sizes)
    panels = bed.panels(sizes)
    assert Counter(task.category for task in panels["test"].tasks) == {"AIME24": 5, "AMC": 8}
    assert Counter(task.category for task in panels["train"].tasks) == {"train": 20}
    assert {name: len(panel.tasks) for name, panel in panels.items()} == {"train": 20, "test": 13, "ood": 0}
    assert task_counts("reasoning", sizes) == {"train": 20, "test": 13, "ood": 0}
    assert {task.solution for task in panels["train"].tasks} == {"So."}
    assert {task.solution for task in panels["test"].select("AMC")} == {""}
    identifiers = [task.identifier for panel in panels.values() for task in panel.tasks]
    assert len(set(identifiers)) == len(identifiers) and "test-AIME24-00005" in identifiers
    environment = bed.environment(sizes, full_texts=True)
    assert isinstance(environment, MathEnvironment)
    task = panels["train"].tasks[0]
    assert environment.step(task, (), f"So it is \\boxed{{{task.answer}}}").success


def test_columns_of_verl_are_read(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "Half of one?"}]
    row = {
        "data_source": "made up",
        "prompt": messages,
        "target": [{"role": "assistant", "content": "One through two."}],
        "reward_model": {"style": "rule", "ground_truth": "\\frac{1}{2}"},
    }
    pq.write_table(pa.Table.from_pylist([row, row | {"target": None}]), tmp_path / "a.parquet")
    first, second = load_dataset_tasks(tmp_path / "a.parquet")
    assert (first.question, first.answer, first.solution) == ("Half of one?", "\\frac{1}{2}", "One through two.")
    assert (second.question, second.solution) == ("Half of one?", "")
    for lacking, said in (("prompt", "question or problem"), ("reward_model", "answer")):
        for value in (None, 7, [], [{"role": "user"}], {"ground_truth": None}):
            write_lines(tmp_path / "a.jsonl", [row, row | {lacking: value}])
            with pytest.raises(UserError, match=f"a.jsonl: row 2 has no {said}"):
                load_dataset_tasks(tmp_path / "a.jsonl")


def test_sets_can_be_chosen_and_added_out_of_distribution(tmp_path: Path) -> None:
    bed = load_bed("reasoning")
    write_lines(math_source(tmp_path) / "ood" / "AIME24.jsonl", [{"question": "One?", "answer": "1"}])
    sizes = PanelSizes(20, 8, 4, categories=("AMC",), ood_categories=("AIME24",), source=str(tmp_path))
    assert task_counts("reasoning", sizes) == {"train": 20, "test": 8, "ood": 1}
    wrong = PanelSizes(20, 8, 4, categories=("AIME25",), source=str(tmp_path))
    with pytest.raises(UserError, match=r"no set 'AIME25' for test; did you mean 'AIME24'\?"):
        bed.panels(wrong)


def test_one_file_is_split_by_its_questions(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "all.jsonl", sums(100))
    panels = load_bed("reasoning").panels(PanelSizes(1000, 1000, 10, source=str(path)))
    train, test = ({task.question for task in panels[name].tasks} for name in ("train", "test"))
    assert not train & test and len(train) + len(test) == 100 and 10 <= len(test) <= 32
    write_lines(path, sums(100)[::-1])
    again = load_bed("reasoning").panels(PanelSizes(1000, 1000, 10, source=str(path)))
    assert {task.question for task in again["test"].tasks} == test
    smaller = load_bed("reasoning").panels(PanelSizes(10, 5, 0, source=str(path)))
    assert [task.question for task in smaller["test"].tasks] == [task.question for task in again["test"].tasks][:5]


def test_problems_of_a_math_source_are_said_in_one_line(tmp_path: Path) -> None:
    bed, sizes = load_bed("reasoning"), PanelSizes(8, 8, 8, source=str(tmp_path / "here"))
    with pytest.raises(UserError, match="no such file or folder; the source of reasoning holds"):
        bed.check_source(sizes)
    write_lines(tmp_path / "here" / "train.jsonl", sums(9))
    with pytest.raises(UserError, match=r"no test.jsonl or test.parquet") as refused:
        bed.check_source(sizes)
    one_line(refused)
    write_lines(tmp_path / "here" / "test.jsonl", [{"question": "WHAT is  2 + 4?", "answer": "6"}])
    bed.check_source(sizes)
    with pytest.raises(UserError, match=r"test.jsonl: row 1: the same task is in the training data \(.*: row 3\)"):
        bed.panels(sizes)
    write_lines(tmp_path / "here" / "test.jsonl", [{"question": "?", "answer": "6"}, {"question": "!", "right": "6"}])
    with pytest.raises(UserError, match=r"test.jsonl: row 2 has no answer"):
        bed.panels(sizes)
    write_lines(tmp_path / "here" / "test.jsonl", [])
    with pytest.raises(UserError, match=r"test.jsonl: no questions in it"):
        bed.panels(sizes)
    write_lines(tmp_path / "here" / "test" / "A.jsonl", sums(1, "*"))
    with pytest.raises(UserError, match=r"both test.jsonl and files in the folder test"):
        bed.check_source(sizes)
    with pytest.raises(UserError, match=r"not a .jsonl or .parquet file"):
        bed.check_source(PanelSizes(source=str(Path(__file__))))


# ---- any damage


def outcome(build: Callable[[], Any]) -> tuple[Any, str]:
    """What it gives, or None and why it is refused; any other exception is a failure of the test."""
    try:
        return build(), ""
    except UserError as error:
        return None, str(error)


def cut_or_changed(content: bytes, place: int, byte: int, cut: bool) -> bytes:
    place %= len(content)
    return content[:place] if cut else content[:place] + bytes([byte]) + content[place + 1 :]


DAMAGES = given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", [TRAIN, "train-00000-of-00002.parquet"])
@QUICK
@DAMAGES
def test_damage_in_hotpot_is_harmless_or_refused(tmp_path: Path, name: str, place, byte, cut) -> None:
    (write_hotpot if name == TRAIN else write_hotpot_shards)(tmp_path, 4, 4)
    (tmp_path / name).write_bytes(cut_or_changed((tmp_path / name).read_bytes(), place, byte, cut))
    panels, refusal = outcome(lambda: build_hotpot_panels(tmp_path, 2, 2))
    if panels is None:
        assert "\n" not in refusal and str(tmp_path) in refusal
    else:
        assert len(panels["train"].tasks) == 4
        for task in panels["train"].tasks:
            assert ENVIRONMENT.step(task, (), f"<search>{task.titles[0]}</search>").text.startswith("<information>")
            assert panels["train"].sha256


@QUICK
@DAMAGES
def test_damage_in_a_math_set_is_harmless_or_refused(tmp_path: Path, place, byte, cut) -> None:
    math_source(tmp_path)
    for name in ("train.jsonl", "test/AMC.parquet"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(cut_or_changed(content, place, byte, cut))
        panels, refusal = outcome(lambda: load_bed("reasoning").panels(PanelSizes(8, 8, 0, source=str(tmp_path))))
        if panels is None:
            assert "\n" not in refusal and str(tmp_path) in refusal
        else:
            assert panels["train"].tasks and panels["test"].sha256
        (tmp_path / name).write_bytes(content)


@QUICK
@given(
    row=st.fixed_dictionaries(
        {},
        optional={
            name: st.recursive(
                st.none() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("title", "sentences")), inner)
                ),
            )
            for name in hotpot_row("train", 0)
        },
    )
)
def test_a_row_of_any_content_is_a_task_or_refused(tmp_path: Path, row) -> None:
    (tmp_path / TRAIN).write_text(
        json.dumps([hotpot_row("train", 1) | row, *(hotpot_row("train", i) for i in (2, 3, 4))])
    )
    (tmp_path / DEV).write_text(json.dumps([hotpot_row("dev", number) for number in range(2)]))
    panels, refusal = outcome(lambda: build_hotpot_panels(tmp_path, 1, 1))
    assert panels or (refusal.startswith(str(tmp_path / TRAIN)) and "\n" not in refusal)


def test_columns_and_pairs_say_the_same() -> None:
    row = hotpot_row("train", 0)
    columns = as_columns(row)
    pairs = list(zip(columns["context"]["title"], columns["context"]["sentences"], strict=True))
    assert [list(pair) for pair in pairs] == row["context"]


# ---- environments without official data


@pytest.mark.parametrize("environment", ["cooking", "countdown"])
def test_a_source_is_refused_where_tasks_are_generated(environment: str) -> None:
    bed, sizes = load_bed(environment), PanelSizes(1, 1, 1, source="somewhere")
    bed.check_source(PanelSizes(1, 1, 1))
    for use in (bed.check_source, bed.panels, lambda sizes: task_counts(environment, sizes)):
        with pytest.raises(UserError, match=f"{environment} has no official data set") as refused:
            use(sizes)
        one_line(refused)


def test_counts_of_retrieval_are_those_of_its_panels(hotpot: Path) -> None:
    for sizes in (PanelConfig(3, 4, 2), PanelConfig(3, 4, 2, source=str(hotpot))):
        counted = {name: len(panel.tasks) for name, panel in load_bed("retrieval").panels(sizes).items()}
        assert counted == task_counts("retrieval", sizes)
