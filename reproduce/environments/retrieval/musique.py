"""MuSiQue's answerable questions as tasks, from its authors' files (musique_ans_v1.0_*.jsonl) or copies of them.

A row has `id`, `question`, `answer`, `answer_aliases`, `paragraphs` (objects with `title` and `paragraph_text`) and
`question_decomposition`, the single-hop questions in their order, each with its `answer` and the place of the paragraph
that holds it (`paragraph_support_idx`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reproduce.core.files import UserError
from reproduce.environments.retrieval.environment import normalise_answer
from reproduce.environments.retrieval.hotpot import (
    FEWEST_HOPS,
    LONGEST_ANSWER,
    LONGEST_PARAGRAPH,
    LONGEST_TITLE,
    MOST_HOPS,
    MOST_PARAGRAPHS,
    Candidate,
    HotpotTask,
)
from reproduce.environments.rows import is_unicode

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def musique_task(candidate: Candidate) -> HotpotTask | None:
    """The task; None for a question that is marked as not answerable, needs other than two to four paragraphs, or has
    an answer of which exact match leaves nothing. Raises UserError, naming file and row, for another form."""
    paragraphs, steps = _paragraphs(candidate), _steps(candidate)
    if not all(0 <= place < len(paragraphs) for place, _ in steps):
        raise UserError(f"{candidate.place} has a step whose paragraph is not there")
    gold = tuple(dict.fromkeys(place for place, _ in steps))
    answerable = candidate.row.get("answerable") is not False
    if not (answerable and FEWEST_HOPS <= len(gold) <= MOST_HOPS and normalise_answer(candidate.answer)):
        return None
    texts = tuple(text for _, text in paragraphs)
    return HotpotTask(
        candidate.identifier,
        candidate.category,
        candidate.question,
        candidate.answer,
        len(gold),
        tuple(title for title, _ in paragraphs),
        texts,
        gold,
        tuple(_evidence(texts[place], [answer for own, answer in steps if own == place]) for place in gold),
        _aliases(candidate),
    )


def _paragraphs(candidate: Candidate) -> list[tuple[str, str]]:
    found = []
    for one in _objects(candidate, "paragraphs", MOST_PARAGRAPHS):
        title, text = one.get("title"), one.get("paragraph_text")
        if not (_is_text(title, LONGEST_TITLE) and _is_text(text, LONGEST_PARAGRAPH)):
            raise UserError(f"{candidate.place} has a paragraph without title and paragraph_text, or too long a one")
        found.append((str(title), " ".join(str(text).split())))
    return found


def _steps(candidate: Candidate) -> list[tuple[int, str]]:
    """Place of the paragraph and answer of each single-hop question."""
    found = []
    for one in _objects(candidate, "question_decomposition", 2 * MOST_HOPS):
        place, answer = one.get("paragraph_support_idx"), one.get("answer")
        if place is None and candidate.row.get("answerable") is False:
            continue
        if type(place) is not int or not _is_text(answer, LONGEST_ANSWER):
            raise UserError(f"{candidate.place} has a step without paragraph_support_idx and answer")
        found.append((place, str(answer)))
    return found


def _evidence(paragraph: str, answers: list[str]) -> str:
    """The first sentence with each answer of the steps; the whole paragraph where none has one."""
    sentences = _SENTENCE_END.split(paragraph)
    places = {
        next((place for place, text in enumerate(sentences) if answer.lower() in text.lower()), None)
        for answer in answers
    }
    known = sorted(place for place in places if place is not None)
    return " ".join(sentences[place] for place in known) or paragraph


def _aliases(candidate: Candidate) -> tuple[str, ...]:
    given = candidate.row.get("answer_aliases")
    texts = [one.strip() for one in given if _is_text(one, LONGEST_ANSWER)] if isinstance(given, list) else []
    return tuple(dict.fromkeys(text for text in texts if normalise_answer(text)))


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= longest and is_unicode(value)


def _objects(candidate: Candidate, name: str, most: int) -> list[Mapping[str, Any]]:
    value = candidate.row.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, Mapping) for one in value):
        raise UserError(f"{candidate.place} has no {name} in the form of MuSiQue")
    if len(value) > most:
        raise UserError(f"{candidate.place} has more than {most} {name}")
    return value
