"""The retrieval environment: solvable, disjoint, deterministic, and robust to any action."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.environments.protocol import Panel, check_disjoint
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels, canonical_forms, normalise_answer
from reproduce.environments.retrieval.environment import INVALID, parse_action
from reproduce.environments.retrieval.expert import Demonstrator, demonstrate
from reproduce.environments.retrieval.search import SearchIndex
from reproduce.environments.retrieval.tasks import apply_operation, bridge, comparison, facts_of, phrasing_of, static
from reproduce.environments.retrieval.vocabulary import PHRASING_OF_WORD, words

PANELS = build_panels(train_per_category=12, test_per_category=12, ood_per_depth=6)
TASKS = [task for panel in PANELS.values() for task in panel.tasks]
ENVIRONMENT = RetrievalEnvironment()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)
def test_expert_solves_every_task_in_as_many_rounds_as_it_has_hops(task) -> None:
    turns = demonstrate(task, task.hops, random.Random(0))
    searches = [turn for turn in turns if turn.by_policy and " search " in f" {turn.text}"]
    assert len(searches) == task.hops
    assert ENVIRONMENT.step_closed(task, (), turns[-1].text).success


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)
def test_ten_paragraphs_share_entities_and_gold_ones_hold_the_answer(task) -> None:
    if task.category == "static":
        assert task.paragraphs == ()
        return
    assert len(task.paragraphs) == 10
    assert len(task.gold) == task.hops
    gold_entities = {facts_of(task.paragraphs[place])[0] for place in task.gold}
    distractors = [task.paragraphs[place] for place in range(10) if place not in task.gold]
    names = {word for entity in gold_entities for word in entity.split()}
    assert sum(bool(names & set(paragraph.split())) for paragraph in distractors) > len(distractors) / 2
    if task.category == "bridge":
        assert task.answer in facts_of(task.paragraphs[task.gold[-1]])[1].values()


def test_every_word_is_in_the_vocabulary() -> None:
    known = set(words())
    for task in TASKS:
        text = " ".join([task.question, task.answer, *task.paragraphs])
        assert set(text.split()) <= known
    assert 150 < len(known) < 400


def test_panels_are_disjoint_and_the_check_notices_a_leak() -> None:
    forms = [canonical_forms(panel) for panel in PANELS.values()]
    check_disjoint(list(PANELS.values()), forms)
    leaked = Panel("test", PANELS["train"].tasks[:1])
    with pytest.raises(ValueError, match="panels train and test share"):
        check_disjoint([PANELS["train"], leaked], [forms[0], canonical_forms(leaked)])


def test_panels_depend_on_the_seed_alone_and_grow_by_appending() -> None:
    again = build_panels(12, 12, 6)
    larger = build_panels(15, 15, 8)
    other = build_panels(12, 12, 6, train_seed=1, test_seed=1)
    for name, panel in PANELS.items():
        assert again[name].sha256 == panel.sha256
        assert other[name].sha256 != panel.sha256
        assert set(panel.tasks) <= set(larger[name].tasks)


def test_sha256_sees_every_field() -> None:
    task = PANELS["test"].tasks[-1]
    changed = type(task)(**{**vars(task), "answer": "nobody here"})
    assert Panel("test", (task,)).sha256 != Panel("test", (changed,)).sha256


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(("train", "test", "ood")), st.sampled_from((0, 1, 2, 3, 4)))
def test_any_seed_gives_a_solvable_task(seed: int, split, kind: int) -> None:
    generator = random.Random(seed)
    if kind == 0:
        task = static("x", split, generator)
    elif kind == 1 and seed % 2:
        task = comparison("x", split, generator)
    else:
        task = bridge("x", split, kind, generator)
    turns = demonstrate(task, task.hops, generator)
    assert ENVIRONMENT.step_closed(task, (), turns[-1].text).success


@given(st.text(max_size=300))
def test_any_string_is_an_action(action: str) -> None:
    task = PANELS["test"].select("bridge")[0]
    observation = ENVIRONMENT.step(task, (), action)
    assert observation.done or observation.text.split()[0] in ("result", "invalid")
    assert ENVIRONMENT.step_closed(task, (), action).done


@pytest.mark.parametrize(
    "action",
    [
        "",
        "search",
        "answer",
        "spouse ada",
        "search a search b",
        "answer a answer b",
        "search a answer b",
        "z" * 100_000,
    ],
)
def test_malformed_actions_are_invalid_and_never_succeed(action: str) -> None:
    task = PANELS["test"].select("bridge")[0]
    assert ENVIRONMENT.step(task, (), action) == INVALID
    assert not ENVIRONMENT.step_closed(task, (), action).success


def test_a_forced_search_is_no_answer() -> None:
    task = PANELS["test"].select("bridge")[0]
    observation = ENVIRONMENT.step_closed(task, (), f"search {task.entities[0]}")
    assert observation.done and not observation.success and observation.skill == "invalid"


def test_parse_action_splits_reasoning_from_command() -> None:
    assert parse_action("spouse ada abbot search ada abbot owner") == ("spouse ada abbot", "search", "ada abbot owner")
    assert parse_action("answer ada abbot") == ("", "answer", "ada abbot")


@pytest.mark.parametrize(
    ("written", "gold"), [("The  Ada, Abbot!", "ada abbot"), ("a ADA an abbot", "ada abbot"), ("7.", "7")]
)
def test_normalised_exact_match_ignores_case_articles_punctuation_and_space(written: str, gold: str) -> None:
    assert normalise_answer(written) == normalise_answer(gold)
    assert normalise_answer("abbot ada") != normalise_answer("ada abbot")


def test_search_returns_the_paragraph_with_entity_and_relation() -> None:
    index = SearchIndex(("ada abbot spouse bo clay", "ada abbot owner carl cross", "ada baker spouse dora dahl"))
    assert index.best("ada abbot owner") == 1
    assert index.best("ADA Baker spouse") == 2
    assert index.best("nobody knows") is None


def test_search_scores_equal_those_of_the_library() -> None:
    import bm25s

    task = PANELS["test"].select("bridge")[1]
    retriever = bm25s.BM25()
    retriever.index([paragraph.split() for paragraph in task.paragraphs], show_progress=False)
    index = SearchIndex(task.paragraphs)
    for query in (f"{task.entities[0]} mentor", task.answer, "age rival"):
        known = [word for word in query.split() if word in index.vocabulary]
        ours = index.score_of_word[[index.vocabulary[word] for word in known]].sum(axis=0)
        assert ours == pytest.approx(retriever.get_scores(known), abs=1e-5)


def test_unreliable_demonstrators_err_in_the_fixed_way() -> None:
    task = next(task for task in PANELS["train"].select("bridge"))
    wrong = Demonstrator(reliability=dict.fromkeys(PHRASING_OF_WORD, 0.0))
    turns = demonstrate(task, 5, random.Random(0), wrong)
    first = next(turn.text for turn in turns if turn.by_policy)
    assert first.split()[-1] == phrasing_of(task.phrasings[0]).misread_as
    assert not ENVIRONMENT.step_closed(task, (), turns[-1].text).success


def test_static_demonstrations_follow_the_arithmetic() -> None:
    task = PANELS["test"].select("static")[0]
    value = int(task.entities[0])
    for step in task.phrasings:
        operation, operand = step.split()
        value = apply_operation(value, operation, int(operand))
    assert str(value) == task.answer
