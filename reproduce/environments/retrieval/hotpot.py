"""Questions of HotpotQA (distractor setting) and 2WikiMultihopQA as tasks, from the files that their authors or
Hugging Face offer. MuSiQue's rows, which are recognised by their `paragraphs`, are read in `musique`.

A row has `_id` (or `id`), `question`, `answer`, `type`, `context` and `supporting_facts`. The last two are lists of
pairs in the authors' JSON, [[title, sentences], ...] and [[title, place], ...], and objects of columns in the Parquet
files. A question's corpus is its own paragraphs, ten as a rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.environments.retrieval.environment import normalise_answer
from reproduce.environments.rows import Row, is_unicode, read_rows, text_of

TYPES = ("comparison", "bridge")
"""The two categories of question."""
CATEGORY_OF_TYPE = {
    "comparison": "comparison",
    "bridge": "bridge",
    # 2WikiMultihopQA's further types.
    "compositional": "bridge",
    "inference": "bridge",
    "bridge_comparison": "comparison",
}
FEWEST_HOPS, MOST_HOPS = 2, 4
"""Paragraphs that a question needs: two in HotpotQA, two or four in 2WikiMultihopQA, two to four in MuSiQue."""
LONGEST_QUESTION, LONGEST_ANSWER = 5_000, 1_000
"""Characters; a longer one is refused."""
LONGEST_TITLE, LONGEST_PARAGRAPH = 1_000, 50_000
MOST_PARAGRAPHS = 50
COLUMNS = (
    *("id", "_id", "question", "answer", "type", "context", "supporting_facts"),
    *("paragraphs", "question_decomposition", "answer_aliases", "answerable"),
)


@dataclass(frozen=True)
class HotpotTask:
    """One question."""

    identifier: str
    category: str
    """`bridge` or `comparison`; `static` for a question without a tool, of another data set."""
    question: str
    answer: str
    hops: int
    """Searches that the shortest solution needs: two to four, or none for static."""
    titles: tuple[str, ...]
    """Of the paragraphs."""
    paragraphs: tuple[str, ...]
    gold: tuple[int, ...]
    """Places of the paragraphs that the answer needs, in the order in which they lead to it."""
    evidence: tuple[str, ...]
    """The supporting sentences of each of these paragraphs."""
    aliases: tuple[str, ...] = ()
    """Answers that count as well; MuSiQue has them."""


@dataclass(frozen=True)
class Candidate:
    """A row whose identifier, type, question and answer are in order."""

    identifier: str
    category: str
    question: str
    answer: str
    path: Path
    number: int
    row: Row

    @property
    def place(self) -> str:
        """File and row."""
        return f"{self.path}: row {self.number}"


def read_candidates(path: Path) -> Iterator[Candidate]:
    """The rows of one file, in its order, each with its short fields checked. Raises UserError naming file and row."""
    for number, row in read_rows(path, COLUMNS):
        kind = "bridge" if is_musique(row) else text_of(path, number, row, ("type",), LONGEST_TITLE)
        if kind not in CATEGORY_OF_TYPE:
            known = ", ".join(CATEGORY_OF_TYPE)
            raise UserError(f"{path}: row {number} has the type {kind[:40]!r}, which is none of {known}")
        category = CATEGORY_OF_TYPE[kind]
        yield Candidate(
            text_of(path, number, row, ("_id", "id"), LONGEST_TITLE),
            category,
            text_of(path, number, row, ("question",), LONGEST_QUESTION),
            text_of(path, number, row, ("answer",), LONGEST_ANSWER),
            path,
            number,
            row,
        )


def is_musique(row: Row) -> bool:
    """Whether a row is in the form of MuSiQue."""
    return row.get("paragraphs") is not None


def task_of(candidate: Candidate) -> HotpotTask | None:
    """The task; None for a question that cannot be asked: without its needed paragraphs (`FEWEST_HOPS` to `MOST_HOPS`)
    among those that can be found, or with an answer of which exact match leaves nothing, so that any empty answer would
    be right.

    Raises UserError, naming file and row, for paragraphs or supporting facts of another form.
    """
    paragraphs = _paragraphs(candidate)
    supporting = _supporting(candidate)
    titles = tuple(title for title, _ in paragraphs)
    needed = [titles.index(title) for title in dict.fromkeys(title for title, _ in supporting) if title in titles]
    if not FEWEST_HOPS <= len(needed) <= MOST_HOPS or not normalise_answer(candidate.answer):
        return None
    texts = tuple(" ".join(" ".join(sentences).split()) for _, sentences in paragraphs)
    gold = _in_order(candidate, needed, titles, texts)
    evidence = tuple(_evidence(paragraphs[place], supporting) for place in gold)
    return HotpotTask(
        candidate.identifier,
        candidate.category,
        candidate.question,
        candidate.answer,
        len(gold),
        titles,
        texts,
        gold,
        evidence,
    )


def _in_order(
    candidate: Candidate, needed: list[int], titles: tuple[str, ...], texts: tuple[str, ...]
) -> tuple[int, ...]:
    """The needed paragraphs in the order of the hops, which the data set does not say.

    Of a bridge question the first paragraph is the one that names the other's title; where both do, or neither, the
    one that the question names; and then the one that does not hold the answer. As given where nothing tells, and
    where there are more than two.
    """
    if candidate.category != "bridge" or len(needed) > 2:
        return tuple(needed)
    first, second = needed
    signs = (
        (titles[second] in texts[first], titles[first] in texts[second]),
        (titles[first] in candidate.question, titles[second] in candidate.question),
        (candidate.answer in texts[second], candidate.answer in texts[first]),
    )
    forward, backward = next((pair for pair in signs if pair[0] != pair[1]), (True, False))
    return (first, second) if forward and not backward else (second, first)


def _evidence(paragraph: tuple[str, list[str]], supporting: list[tuple[str, int]]) -> str:
    """A paragraph's supporting sentences. Some of the data set's facts point past the last sentence."""
    title, sentences = paragraph
    places = sorted({place for name, place in supporting if name == title and 0 <= place < len(sentences)})
    return " ".join(" ".join(sentences[place] for place in places).split())


def _paragraphs(candidate: Candidate) -> list[tuple[str, list[str]]]:
    pairs = _pairs(candidate, "context", "sentences")
    if len(pairs) > MOST_PARAGRAPHS:
        raise UserError(f"{candidate.place} has more than {MOST_PARAGRAPHS} paragraphs")
    for title, sentences in pairs:
        if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
            raise UserError(f"{candidate.place} has a paragraph that is no list of sentences")
        if sum(map(len, sentences)) > LONGEST_PARAGRAPH or not all(map(is_unicode, (title, *sentences))):
            raise UserError(
                f"{candidate.place} has a paragraph of more than {LONGEST_PARAGRAPH} characters or no Unicode text"
            )
    return pairs


def _supporting(candidate: Candidate) -> list[tuple[str, int]]:
    pairs = _pairs(candidate, "supporting_facts", "sent_id")
    if not all(isinstance(place, int) for _, place in pairs):
        raise UserError(f"{candidate.place} has a supporting fact without the place of a sentence")
    return pairs


def _pairs(candidate: Candidate, name: str, column: str) -> list[tuple[str, Any]]:
    """Titles, each with what stands beside it, from either form. Raises UserError for any other form."""
    value = candidate.row.get(name)
    if isinstance(value, str):
        # Some copies of 2WikiMultihopQA keep the lists as JSON.
        value = _decoded(value)
    if isinstance(value, Mapping):
        titles, others = value.get("title"), value.get(column)
        fits = isinstance(titles, list) and isinstance(others, list) and len(titles) == len(others)
        value = list(zip(titles, others, strict=True)) if fits else None  # type: ignore[arg-type]
    if not isinstance(value, list) or not value:
        raise UserError(f"{candidate.place} has no {name} in the form of HotpotQA")
    for pair in value:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise UserError(f"{candidate.place} has {name} that are no pairs with a title")
        if not pair[0].strip() or len(pair[0]) > LONGEST_TITLE:
            raise UserError(f"{candidate.place} has {name} with a title that is empty or too long")
    return [(pair[0], pair[1]) for pair in value]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
