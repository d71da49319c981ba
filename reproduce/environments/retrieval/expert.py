"""The scripted expert, and demonstrators who share its plan but make mistakes.

A demonstration is a list of turns: what the policy wrote and what the environment wrote, in order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from reproduce.environments.protocol import Turn
from reproduce.environments.retrieval.environment import RetrievalEnvironment
from reproduce.environments.retrieval.tasks import RetrievalTask, apply_operation, facts_of, phrasing_of
from reproduce.environments.retrieval.vocabulary import ENTITY_RELATIONS, NUMBER_RELATIONS, OPERATIONS


@dataclass(frozen=True)
class Demonstrator:
    """How reliable a demonstrator is. The default makes no mistake."""

    reliability: Mapping[str, float] = field(default_factory=dict)
    """Chance to read a phrasing, or to work out a step such as `plus 4`, correctly; 1 where not named."""
    early_answer: float = 0.0
    """Chance, after each search but the last, to answer with what was found so far."""
    useless_search: float = 0.0
    """Chance, before each search, to spend a round on a search that does not help."""

    def reads(self, word: str, generator: random.Random) -> bool:
        """Whether the word or step is got right this time."""
        return generator.random() < self.reliability.get(word, 1.0)


class _Episode:
    """An episode being written: knows the rounds left, and closes the tool when they are used up."""

    def __init__(self, task: RetrievalTask, rounds: int) -> None:
        self.environment, self.task, self.rounds = RetrievalEnvironment(), task, rounds
        self.turns = [Turn(self.environment.reset(task), by_policy=False)]
        if rounds == 0:
            self._close()

    @property
    def closed(self) -> bool:
        return self.rounds == 0

    def search(self, reasoning: str, query: str) -> dict[str, str]:
        """Search and return the facts of the paragraph found."""
        action = f"{reasoning} search {query}".strip()
        self.turns.append(Turn(action, by_policy=True))
        observation = self.environment.step(self.task, (), action)
        self.turns.append(Turn(observation.text, by_policy=False))
        self.rounds -= 1
        if self.rounds == 0:
            self._close()
        paragraph = observation.text.removeprefix("result").strip()
        return facts_of(paragraph)[1] if paragraph else {}

    def answer(self, reasoning: str, text: str) -> tuple[Turn, ...]:
        self.turns.append(Turn(f"{reasoning} answer {text}".strip(), by_policy=True))
        return tuple(self.turns)

    def _close(self) -> None:
        self.turns.append(Turn(self.environment.close(self.task), by_policy=False))


def demonstrate(
    task: RetrievalTask, rounds: int, generator: random.Random, demonstrator: Demonstrator | None = None
) -> tuple[Turn, ...]:
    """One demonstration of at most `rounds` searches. The default demonstrator needs `task.hops` rounds and is
    right."""
    demonstrator = demonstrator or Demonstrator()
    episode = _Episode(task, rounds)
    if task.category == "static":
        return _static(task, episode, generator, demonstrator)
    if task.category == "comparison":
        return _comparison(task, episode, generator, demonstrator)
    return _bridge(task, episode, generator, demonstrator)


def _relation(word: str, generator: random.Random, demonstrator: Demonstrator) -> str:
    phrasing = phrasing_of(word)
    return phrasing.relation if demonstrator.reads(word, generator) else phrasing.misread_as


def _guess(task: RetrievalTask, generator: random.Random) -> str:
    """An entity, for a forced answer without the facts."""
    return generator.choice([facts_of(paragraph)[0] for paragraph in task.paragraphs] or list(task.entities))


def _bridge(
    task: RetrievalTask, episode: _Episode, generator: random.Random, demonstrator: Demonstrator
) -> tuple[Turn, ...]:
    entity, reasoning = task.entities[0], ""
    for hop, word in enumerate(task.phrasings):
        relation = _relation(word, generator, demonstrator)
        if not episode.closed and generator.random() < demonstrator.useless_search:
            episode.search(reasoning, f"{entity} {generator.choice(ENTITY_RELATIONS)}")
        if episode.closed:
            relation = _relation(task.phrasings[-1], generator, demonstrator)
            guess = entity if hop else _guess(task, generator)
            return episode.answer(f"{relation} {guess}", guess)
        facts = episode.search(reasoning, f"{entity} {relation}")
        found = [name for name in facts if name in ENTITY_RELATIONS]
        if not found:
            return episode.answer(f"{relation} {entity}", entity)
        if relation not in facts:
            relation = generator.choice(found)
        entity = facts[relation]
        reasoning = f"{relation} {entity}"
        if hop < len(task.phrasings) - 1 and generator.random() < demonstrator.early_answer:
            break
    return episode.answer(reasoning, entity)


def _comparison(
    task: RetrievalTask, episode: _Episode, generator: random.Random, demonstrator: Demonstrator
) -> tuple[Turn, ...]:
    relation = _relation(task.phrasings[0], generator, demonstrator)
    values: list[str] = []
    for entity in task.entities:
        reasoning = " ".join([relation, *values])
        if not episode.closed and generator.random() < demonstrator.useless_search:
            episode.search(reasoning, f"{entity} {generator.choice(NUMBER_RELATIONS)}")
        if episode.closed or (values and generator.random() < demonstrator.early_answer):
            guess = generator.choice(task.entities)
            return episode.answer(reasoning, guess)
        facts = episode.search(reasoning, f"{entity} {relation}")
        if relation not in facts:
            return episode.answer(relation, generator.choice(task.entities))
        values.append(facts[relation])
    larger = "first" if int(values[0]) > int(values[1]) else "second"
    return episode.answer(f"{relation} {values[0]} {values[1]} {larger}", task.entities[0 if larger == "first" else 1])


def _static(
    task: RetrievalTask, episode: _Episode, generator: random.Random, demonstrator: Demonstrator
) -> tuple[Turn, ...]:
    """A demonstrator who fails a step carries out the next operation of the list plus, minus, times instead."""
    value, written = int(task.entities[0]), []
    for step in task.phrasings:
        operation, operand = step.split()
        carried_out = operation
        if not demonstrator.reads(step, generator):
            carried_out = OPERATIONS[(OPERATIONS.index(operation) + 1) % len(OPERATIONS)]
        value = apply_operation(value, carried_out, int(operand))
        written += [operation, operand, str(value)]
    return episode.answer(" ".join(written), str(value))
