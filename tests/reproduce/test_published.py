"""The published numbers are complete, traceable and agree with each other."""

import pytest

from reproduce.claims import published
from reproduce.claims.published import (
    PublishedError,
    load_published,
    load_settings,
    published_number,
    published_papers,
)

PASS_KT_COUNTS = [
    # category, arm, against: size of `against`, gained, lost, size of `arm`
    ("A", "RL", "base", 84, 3, 3, 84),
    ("B", "RL", "base", 82, 5, 1, 86),
    ("C", "RL", "base", 77, 5, 1, 81),
    ("C", "SFT", "base", 77, 3, 7, 73),
    ("C", "RL", "SFT", 73, 9, 1, 81),
]


def value(identifier):
    return published_number("pass_kt", identifier).value


@pytest.mark.parametrize("paper", published_papers())
def test_every_entry_is_complete_and_unique(paper):
    numbers = load_published(paper)
    settings = load_settings(paper)
    assert numbers
    assert settings
    assert len({number.id for number in numbers}) == len(numbers)
    assert len({setting.id for setting in settings}) == len(settings)
    for number in numbers:
        assert isinstance(number.value, int | float)
        assert number.unit
        assert number.sources


def test_pass_kt_was_not_read_directly():
    assert not any(number.read_directly for number in load_published("pass_kt"))


@pytest.mark.parametrize(("category", "arm", "against", "before", "gained", "lost", "after"), PASS_KT_COUNTS)
def test_boundary_counts_add_up(category, arm, against, before, gained, lost, after):
    assert value(f"boundary-size.{category}.{against}") == before
    assert value(f"boundary-gained.{category}.{arm}-{against}") == gained
    assert value(f"boundary-lost.{category}.{arm}-{against}") == lost
    assert value(f"boundary-size.{category}.{arm}") == after
    assert before + gained - lost == after


def test_net_expansion_is_gained_minus_lost():
    for number in load_published("pass_kt"):
        if number.quantity == "net-expansion" and number.cell["arm"] != "RL+bonus":
            pair = f"{number.cell['category']}.{number.cell['arm']}-{number.cell['against']}"
            assert number.value == value(f"boundary-gained.{pair}") - value(f"boundary-lost.{pair}")


def test_pass_at_64_is_the_boundary_size_of_100_questions():
    for number in load_published("pass_kt"):
        category, arm = number.cell.get("category"), number.cell.get("arm")
        whole_boundary = (64, 0 if category == "A" else 5)
        in_boundary_cell = (number.cell.get("k"), number.cell.get("T")) == whole_boundary
        if number.quantity == "pass" and in_boundary_cell and arm != "RL+bonus":
            assert round(100 * number.value) == value(f"boundary-size.{category}.{arm}")


def test_the_bonus_arm_gains_one_question():
    assert round(100 * (value("pass.C.RL+bonus.k64.T5") - value("pass.C.base.k64.T5"))) == 1


def test_mechanism_numbers_agree_with_each_other():
    assert value("perplexity.reasoning") / value("perplexity.query") == pytest.approx(1.49, abs=0.005)
    ratio = value("unique-query-sequences.base") / value("unique-query-sequences.SFT")
    assert ratio == pytest.approx(value("diversity-collapse.SFT"), abs=0.05)


def test_the_ambiguous_number_says_so():
    note = published_number("pass_kt", "query-sequence-novelty-or-overlap.RL").note
    assert "two readings" in note


def test_grids_are_those_of_the_paper():
    settings = {setting.id: setting.value for setting in load_settings("pass_kt")}
    assert settings["evaluation.k"] == (1, 2, 4, 8, 16, 32, 64)
    assert settings["evaluation.T"] == (0, 1, 2, 3, 5)
    assert settings["corpus.gold"] + settings["corpus.distractors"] == settings["corpus.paragraphs"]


def test_unknown_paper_names_the_nearest():
    with pytest.raises(PublishedError, match=r"'pass_tk'; did you mean 'pass_kt'\?"):
        load_published("pass_tk")


def test_unknown_number_names_the_nearest():
    with pytest.raises(PublishedError, match=r"did you mean 'boundary-size.C.RL'\?"):
        published_number("pass_kt", "boundary-size.C.RLL")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": None}, "broken.toml, number 'n': missing field unit"),
        ({"uint": "x"}, "unknown field 'uint'; did you mean 'unit'?"),
        ({"sources": []}, "no source"),
        ({"sources": ["hearsay"]}, "source 'hearsay' is not defined"),
        ({"inferred": ["k"]}, "inferred names k"),
    ],
)
def test_a_broken_entry_is_one_clear_error(monkeypatch, change, message):
    entry = {
        "id": "n",
        "quantity": "pass",
        "value": 0.5,
        "unit": "probability",
        "cell": {"arm": "RL"},
        "sources": ["digest A C1"],
        "read_directly": False,
    }
    entry = {name: content for name, content in (entry | change).items() if content is not None}
    document = {"sources": {"digest A": "a digest"}, "number": [entry]}
    monkeypatch.setattr(published, "_document", lambda paper: document)
    with pytest.raises(PublishedError) as caught:
        load_published.__wrapped__("broken")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


TABLE = {
    "id": "pass.qwen",
    "quantity": "pass@1",
    "unit": "%",
    "cell": {"model": "Qwen"},
    "row": "arm",
    "column": "step",
    "columns": [1, 2],
    "rows": {"GRPO": [1.5, 2], "SRPO": [3, 4.5]},
    "sources": ["paper Table 3"],
    "read_directly": True,
    "note": "n",
}


def test_a_table_is_one_number_for_each_of_its_cells(monkeypatch):
    document = {"sources": {"paper": "the paper"}, "table": [TABLE]}
    monkeypatch.setattr(published, "_document", lambda paper: document)
    numbers = load_published.__wrapped__("one")
    assert [(number.id, number.value) for number in numbers] == [
        ("pass.qwen.GRPO.1", 1.5),
        ("pass.qwen.GRPO.2", 2),
        ("pass.qwen.SRPO.1", 3),
        ("pass.qwen.SRPO.2", 4.5),
    ]
    assert dict(numbers[-1].cell) == {"model": "Qwen", "arm": "SRPO", "step": 2}
    assert {(number.unit, number.sources, number.note) for number in numbers} == {("%", ("paper Table 3",), "n")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"GRPO": [1.5]}}, "broken.toml, table 'pass.qwen', row 'GRPO': 1 values under 2 columns"),
        ({"sources": ["hearsay"]}, "table 'pass.qwen': source 'hearsay' is not defined"),
        ({"colunm": "x"}, "unknown field 'colunm'; did you mean 'column'?"),
    ],
)
def test_a_broken_table_is_one_clear_error(monkeypatch, change, message):
    document = {"sources": {"paper": "the paper"}, "table": [TABLE | change]}
    monkeypatch.setattr(published, "_document", lambda paper: document)
    with pytest.raises(PublishedError) as caught:
        load_published.__wrapped__("broken")
    assert message in str(caught.value)
