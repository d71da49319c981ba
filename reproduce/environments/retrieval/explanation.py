"""A question for a person: what it asks, a solution, and what a random player would do."""

from __future__ import annotations

import random

from reproduce.environments.retrieval.expert import demonstrate
from reproduce.environments.retrieval.tasks import RetrievalTask, facts_of
from reproduce.environments.retrieval.vocabulary import ENTITY_RELATIONS, NUMBER_RELATIONS

HORIZON = 5
"""Searches that the questions of the default experiment allow; the longest of their solutions needs four."""
SKILLS = (
    *(f"search {relation}" for relation in ENTITY_RELATIONS + NUMBER_RELATIONS),
    "search other",
    "answer",
    "invalid",
)
"""Abstract symbol of an action: the command, and for a search the relation looked up."""


def solve(task: RetrievalTask) -> tuple[str, ...]:
    """The expert's actions: `task.hops` searches, then the answer."""
    turns = demonstrate(task, max(HORIZON, task.hops) if task.hops else 0, random.Random(0))
    return tuple(turn.text for turn in turns if turn.by_policy)


def explain(task: RetrievalTask) -> str:
    """What is asked, which paragraphs hold it, what misleads, and a solution."""
    lines = [f"{task.identifier} ({task.category}): {task.question}"]
    if task.category == "static":
        lines.append("No search is possible: work out the steps one after the other, modulo ten.")
    else:
        lines.append(f"{len(task.paragraphs)} paragraphs can be searched; these {len(task.gold)} are needed, in order:")
        lines += [f"  {task.paragraphs[place]}" for place in task.gold]
        lines.append("The others are about namesakes, or mention the same entities without holding the fact.")
    lines += [f"Answer: {task.answer}", "A solution:", *(f"  {action}" for action in solve(task))]
    return "\n".join(lines)


def random_action(task: RetrievalTask, history: tuple[str, ...], generator: random.Random) -> str:
    """A search for a random relation of an entity, or the answer with one, half of the time each; history plays no
    part."""
    if task.category == "static":
        return f"answer {generator.randrange(10)}"
    entity = facts_of(generator.choice(task.paragraphs))[0]
    if generator.random() < 0.5:
        return f"answer {entity}"
    return f"search {entity} {generator.choice(ENTITY_RELATIONS + NUMBER_RELATIONS)}"
