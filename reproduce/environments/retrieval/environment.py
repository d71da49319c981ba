"""The environment: parse an action, search or grade, answer in words.

An action is free reasoning followed by one command: `REASONING search QUERY` or `REASONING answer ENTITY`. A search
returns the best paragraph; an answer ends the episode; anything else costs a round and gets a message, as in
Search-R1.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

from reproduce.environments.protocol import Observation
from reproduce.environments.retrieval.search import SearchIndex
from reproduce.environments.retrieval.tasks import RetrievalTask
from reproduce.environments.retrieval.vocabulary import ANSWER, ENTITY_RELATIONS, NUMBER_RELATIONS, SEARCH

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_RELATIONS = frozenset(ENTITY_RELATIONS + NUMBER_RELATIONS)
LONGEST_ACTION = 10_000
"""Characters of an action that are read; a longer one is invalid."""

INVALID = Observation("invalid", done=False, success=False, skill="invalid")


def normalise_answer(text: str) -> str:
    """Lower case without punctuation, articles and extra white space: the four steps of HotpotQA's exact match."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def parse_action(action: str) -> tuple[str, str, str] | None:
    """Reasoning, command and argument; None if there is not exactly one command with an argument."""
    words = action.split() if len(action) <= LONGEST_ACTION else []
    places = [place for place, word in enumerate(words) if word in (SEARCH, ANSWER)]
    if len(places) != 1 or places[0] == len(words) - 1:
        return None
    place = places[0]
    return " ".join(words[:place]), words[place], " ".join(words[place + 1 :])


@lru_cache(maxsize=4096)
def _index_of(paragraphs: tuple[str, ...]) -> SearchIndex:
    return SearchIndex(paragraphs)


class RetrievalEnvironment:
    """The retrieval task as a pure function of task and action."""

    def reset(self, task: RetrievalTask) -> str:
        """The question, and nothing else: neither the category nor the number of rounds."""
        return task.question

    def step(self, task: RetrievalTask, history: tuple[str, ...], action: str) -> Observation:
        """Search the task's paragraphs, or grade the answer."""
        parsed = parse_action(action)
        if parsed is None:
            return INVALID
        _, command, argument = parsed
        if command == ANSWER:
            return self._grade(task, argument)
        place = _index_of(task.paragraphs).best(argument) if task.paragraphs else None
        relation = next((word for word in argument.split() if word in _RELATIONS), "other")
        text = f"result {task.paragraphs[place]}" if place is not None else "result"
        return Observation(text, done=False, success=False, skill=f"search {relation}")

    def close(self, task: RetrievalTask) -> str:
        """The tool is off from here on."""
        return "closed"

    def step_closed(self, task: RetrievalTask, history: tuple[str, ...], action: str) -> Observation:
        """Grade the forced answer; a search or an invalid action counts as no answer."""
        parsed = parse_action(action)
        if parsed is None or parsed[1] != ANSWER:
            return Observation("", done=True, success=False, skill="invalid")
        return self._grade(task, parsed[2])

    def _grade(self, task: RetrievalTask, answer: str) -> Observation:
        success = normalise_answer(answer) == normalise_answer(task.answer)
        return Observation("", done=True, success=success, skill="answer")
