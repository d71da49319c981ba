"""Retrieval for general models: sentences, and the tags of Search-R1.

An action is free reasoning with `<search>QUERY</search>` or `<answer>ANSWER</answer>` in it; the first complete pair of
tags decides and what follows it is not read. Results stand between `<information>` and `</information>`. Anything else
costs a round and gets a message that says how to do it. Once the rounds are used up only the last answer in an action
counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Protocol

from reproduce.environments.protocol import Observation
from reproduce.environments.reasoning.dataset import boxed_answer, is_equivalent
from reproduce.environments.retrieval.environment import LONGEST_ACTION, normalise_answer
from reproduce.environments.retrieval.hotpot import HotpotTask
from reproduce.environments.retrieval.search import SearchIndex
from reproduce.environments.retrieval.sentences import paragraph_sentences, question_sentence
from reproduce.environments.retrieval.tasks import RetrievalTask
from reproduce.environments.retrieval.vocabulary import ANSWER, ENTITY_RELATIONS, NUMBER_RELATIONS, SEARCH

LONGEST_QUERY = 1_000
"""Characters of a query or an answer that are read; a longer one is invalid."""
INVALID = (
    "That was no valid action. To search, write the query between <search> and </search>. To answer, write the answer "
    "between <answer> and </answer>."
)
CLOSED = "There are no searches left. Write your final answer between <answer> and </answer>."
NOTHING_FOUND = "Nothing was found."
INSTRUCTIONS = (
    "Answer the question. In each turn write one line: think in plain words as long as you need, and end with one "
    "action, after which nothing follows. To look something up, write a query between <search> and </search>; what is "
    "found is then shown between <information> and </information>. You may search in several turns. When you know the "
    "answer, write it between <answer> and </answer>, as short as possible and without an explanation, for example "
    "<answer>Beijing</answer>."
)
_TAGGED = re.compile(rf"<({SEARCH}|{ANSWER})>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"\w+")
_RELATIONS = frozenset(ENTITY_RELATIONS + NUMBER_RELATIONS)


def tagged_commands(action: str) -> list[tuple[str, str]]:
    """Command and argument of every complete pair of tags that is not empty or too long."""
    found = _TAGGED.findall(action) if len(action) <= LONGEST_ACTION else []
    commands = ((command.lower(), " ".join(argument.split())) for command, argument in found)
    return [(command, argument) for command, argument in commands if 0 < len(argument) <= LONGEST_QUERY]


def plain_words(text: str) -> str:
    """Lower case, words only, one space between them: what the index holds and what a query is."""
    return " ".join(_WORD.findall(text.lower()))


class Corpus(Protocol):
    """What is asked, what can be found and what is right: all that differs between kinds of question."""

    def question(self, task: Any) -> str:
        """The question, as a sentence."""
        ...

    def find(self, task: Any, query: str) -> tuple[str, tuple[str, ...]]:
        """The skill of a search, and the passages found, best first."""
        ...

    def is_right(self, task: Any, answer: str) -> bool:
        """Whether an answer is right."""
        ...


class TaggedEnvironment:
    """Search and answer as a pure function of task and action."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def reset(self, task: Any) -> str:
        """The question, and nothing else: neither the category nor the number of rounds."""
        return self.corpus.question(task)

    def step(self, task: Any, history: tuple[str, ...], action: str) -> Observation:
        """Search the task's passages, or grade the answer."""
        commands = tagged_commands(action)
        if not commands:
            return Observation(INVALID, done=False, success=False, skill="invalid")
        command, argument = commands[0]
        if command == ANSWER:
            return self._grade(task, argument)
        skill, passages = self.corpus.find(task, argument)
        text = "\n".join(passages) or NOTHING_FOUND
        return Observation(f"<information>\n{text}\n</information>", done=False, success=False, skill=skill)

    def close(self, task: Any) -> str:
        """The tool is off from here on."""
        return CLOSED

    def step_closed(self, task: Any, history: tuple[str, ...], action: str) -> Observation:
        """Grade the forced answer; a search or an invalid action counts as no answer."""
        answers = [argument for command, argument in tagged_commands(action) if command == ANSWER]
        if not answers:
            return Observation("", done=True, success=False, skill="invalid")
        return self._grade(task, answers[-1])

    def _grade(self, task: Any, answer: str) -> Observation:
        return Observation("", done=True, success=self.corpus.is_right(task, answer), skill="answer")


class GeneratedCorpus:
    """The generated questions in sentences. Searches find the same paragraph as in the few words of a tiny model."""

    def question(self, task: RetrievalTask) -> str:
        """The question, as a sentence."""
        return question_sentence(task)

    def find(self, task: RetrievalTask, query: str) -> tuple[str, tuple[str, ...]]:
        """The relation looked up, and the best paragraph."""
        words = plain_words(query)
        place = _index_of(task.paragraphs).best(words) if task.paragraphs else None
        relation = next((word for word in words.split() if word in _RELATIONS), "other")
        found = () if place is None else (paragraph_sentences(task.paragraphs[place]),)
        return f"{SEARCH} {relation}", found

    def is_right(self, task: RetrievalTask, answer: str) -> bool:
        """HotpotQA's exact match."""
        return normalise_answer(answer) == normalise_answer(task.answer)


class HotpotCorpus:
    """Questions of HotpotQA, 2WikiMultihopQA and MuSiQue, each with its own paragraphs; those without a tool have
    none."""

    def __init__(self, passages: int = 1) -> None:
        """passages: paragraphs that a search shows, 1 to 3; with more than one both needed ones may come at once."""
        if not 1 <= passages <= 3:
            raise ValueError(f"a search shows 1 to 3 paragraphs, not {passages}")
        self.passages = passages

    def question(self, task: HotpotTask) -> str:
        """The question as it is."""
        return task.question

    def find(self, task: HotpotTask, query: str) -> tuple[str, tuple[str, ...]]:
        """The place of the best paragraph, so that like skills are like plans; and the best paragraphs."""
        found = _index_of_passages(task).ranked(plain_words(query), self.passages) if task.paragraphs else []
        shown = tuple(f"({task.titles[place]}) {task.paragraphs[place]}" for place in found)
        return f"{SEARCH} {found[0] if found else 'nothing'}", shown

    def is_right(self, task: HotpotTask, answer: str) -> bool:
        """HotpotQA's exact match; of a question without a tool the same letters, or the same mathematically."""
        if task.category == "static":
            return answer == task.answer or is_equivalent(task.answer, boxed_answer(answer) or answer)
        return normalise_answer(answer) in map(normalise_answer, (task.answer, *task.aliases))


@lru_cache(maxsize=1024)
def _index_of_passages(task: HotpotTask) -> SearchIndex:
    passages = zip(task.titles, task.paragraphs, strict=True)
    return SearchIndex(tuple(plain_words(f"{title} {paragraph}") for title, paragraph in passages))


@lru_cache(maxsize=4096)
def _index_of(paragraphs: tuple[str, ...]) -> SearchIndex:
    return SearchIndex(paragraphs)
