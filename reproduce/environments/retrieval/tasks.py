"""Questions over a generated knowledge base: `static`, `comparison` and `bridge`, in three disjoint panels.

Every question brings its own ten paragraphs, as in the distractor setting of HotpotQA: those the answer needs (two
for a two-hop question) and distractors that share entities with them. A paragraph is `ENTITY relation value relation
value ...`.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from reproduce.environments.protocol import Panel, check_disjoint
from reproduce.environments.retrieval.search import SearchIndex
from reproduce.environments.retrieval.vocabulary import (
    DIGITS,
    ENTITY_PHRASINGS,
    ENTITY_RELATIONS,
    FIRST_NAMES,
    LAST_NAMES,
    NUMBER_PHRASINGS,
    NUMBER_RELATIONS,
    NUMBERS,
    OPERATIONS,
    PHRASING_OF_WORD,
    Phrasing,
)

Split = Literal["train", "test", "ood"]
PARAGRAPHS_PER_QUESTION = 10
STATIC_STEPS = 3
DEEPEST_CHAIN = 4


@dataclass(frozen=True)
class RetrievalTask:
    """One question."""

    identifier: str
    category: str
    """`static` (no tool needed), `comparison` (two independent look-ups) or `bridge` (each look-up needs the last)."""
    question: str
    answer: str
    hops: int
    """Searches that the shortest solution needs: 0 for static, 2 for comparison, the chain's length for bridge."""
    paragraphs: tuple[str, ...]
    gold: tuple[int, ...]
    """Places of the needed paragraphs, in the order of use."""
    entities: tuple[str, ...]
    """Where the chain starts, or the two entities compared."""
    phrasings: tuple[str, ...]
    """The question's words for relations, in the order of use; for static, the steps such as `plus 4`."""


def facts_of(paragraph: str) -> tuple[str, dict[str, str]]:
    """The entity a paragraph is about, and its relation-value pairs."""
    words = paragraph.split()
    entity, facts, place = " ".join(words[:2]), {}, 2
    while place < len(words):
        width = 1 if words[place] in NUMBER_RELATIONS else 2
        facts[words[place]] = " ".join(words[place + 1 : place + 1 + width])
        place += 1 + width
    return entity, facts


@cache
def entity_names(split: Split) -> tuple[str, ...]:
    """The split's own combinations of first and last name: 60 % train, 20 % test, 20 % ood, fixed once and for all."""
    names = [f"{first} {last}" for first, last in itertools.product(FIRST_NAMES, LAST_NAMES)]
    random.Random("retrieval entity names").shuffle(names)
    three_fifths, four_fifths = len(names) * 3 // 5, len(names) * 4 // 5
    bounds = {"train": (0, three_fifths), "test": (three_fifths, four_fifths), "ood": (four_fifths, len(names))}
    return tuple(names[slice(*bounds[split])])


class _World:
    """Paragraphs of one question under construction; every entity drawn from the split and used for one thing only."""

    def __init__(self, split: Split, generator: random.Random) -> None:
        self.generator = generator
        self.unused = list(entity_names(split))
        generator.shuffle(self.unused)
        self.paragraphs: list[str] = []

    def entity(self) -> str:
        return self.unused.pop()

    def namesake(self, entity: str) -> str:
        """Another entity with the same first or last name."""
        first, last = entity.split()
        for place in range(len(self.unused) - 1, -1, -1):
            other_first, other_last = self.unused[place].split()
            if (other_first == first) != (other_last == last):
                return self.unused.pop(place)
        return self.entity()

    def number(self, unlike: str = "") -> str:
        return self.generator.choice([number for number in NUMBERS if number != unlike])

    def paragraph(self, entity: str, facts: dict[str, str], without: set[str]) -> int:
        """Add a paragraph with the given facts, filled up to three with random ones outside `without`."""
        facts = dict(facts)
        others = [name for name in ENTITY_RELATIONS + NUMBER_RELATIONS if name not in facts and name not in without]
        for relation in self.generator.sample(others, 3 - len(facts)):
            facts[relation] = self.number() if relation in NUMBER_RELATIONS else self.entity()
        order = list(facts.items())
        self.generator.shuffle(order)
        self.paragraphs.append(" ".join([entity, *(f"{relation} {value}" for relation, value in order)]))
        return len(self.paragraphs) - 1

    def shuffled(self, gold: list[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        order = list(range(len(self.paragraphs)))
        self.generator.shuffle(order)
        return tuple(self.paragraphs[place] for place in order), tuple(order.index(place) for place in gold)


def _bridge_question(words: list[str], entity: str, generator: random.Random) -> str:
    """One of three wordings; the third exists for two hops only."""
    wording = generator.choices(("nested", "listed", "inverted"), weights=(6, 3, 1 if len(words) == 2 else 0))[0]
    if wording == "nested":
        return f"who is {' of '.join(f'the {word}' for word in reversed(words))} of {entity} ?"
    if wording == "listed":
        return f"start {entity} : {' then '.join(f'the {word}' for word in words)} ?"
    return f"the {words[0]} of {entity} has which {words[1]} ?"


def bridge(
    identifier: str, split: Split, hops: int, generator: random.Random, phrasings: tuple[Phrasing, ...] | None = None
) -> RetrievalTask:
    """A chain of `hops` relations: the entity to look up at hop i + 1 is the value found at hop i.

    phrasings: the chain's words; drawn uniformly, with distinct relations, if None.
    """
    while True:
        chain = phrasings or _distinct_relations(ENTITY_PHRASINGS, hops, generator)
        world = _World(split, generator)
        entities = [world.entity() for _ in range(hops + 1)]
        gold, needed = [], {phrasing.relation for phrasing in chain} | {phrasing.misread_as for phrasing in chain}
        wrong_turns = []
        for entity, value, phrasing in zip(entities, entities[1:], chain, strict=False):
            gold.append(world.paragraph(entity, {phrasing.relation: value}, needed))
            wrong_turns.append(world.entity())
            world.paragraph(entity, {phrasing.misread_as: wrong_turns[-1]}, needed)
        for wrong, following in zip(wrong_turns, chain[1:], strict=False):
            if len(world.paragraphs) < PARAGRAPHS_PER_QUESTION:
                world.paragraph(wrong, {following.relation: world.entity()}, needed)
        _fill_with_near_misses(world, list(zip(entities, chain, strict=False)), needed)
        paragraphs, places = world.shuffled(gold)
        index = SearchIndex(paragraphs)
        queries = [f"{entity} {phrasing.relation}" for entity, phrasing in zip(entities, chain, strict=False)]
        if [index.best(query) for query in queries] == list(places):
            break
    words = [phrasing.word for phrasing in chain]
    question = _bridge_question(words, entities[0], generator)
    return RetrievalTask(
        identifier, "bridge", question, entities[-1], hops, paragraphs, places, (entities[0],), tuple(words)
    )


def _fill_with_near_misses(world: _World, steps: list[tuple[str, Phrasing]], needed: set[str]) -> None:
    """Fill up to ten: namesakes that have the relation asked for, and paragraphs that mention the entity as a value."""
    for place in itertools.count():
        if len(world.paragraphs) >= PARAGRAPHS_PER_QUESTION:
            return
        entity, phrasing = steps[place // 2 % len(steps)]
        if place % 2 == 0:
            value = world.number() if phrasing.relation in NUMBER_RELATIONS else world.entity()
            world.paragraph(world.namesake(entity), {phrasing.relation: value}, needed)
        else:
            mention = world.generator.choice([name for name in ENTITY_RELATIONS if name not in needed])
            world.paragraph(world.entity(), {mention: entity}, needed)


def comparison(
    identifier: str, split: Split, generator: random.Random, phrasing: Phrasing | None = None
) -> RetrievalTask:
    """Which of two entities has more of something: two look-ups, neither of which needs the other."""
    while True:
        asked = phrasing or generator.choice(NUMBER_PHRASINGS)
        world = _World(split, generator)
        pair = [world.entity(), world.entity()]
        needed = {asked.relation, asked.misread_as}
        values, misread = [world.number()], [world.number()]
        values.append(world.number(unlike=values[0]))
        misread.append(world.number(unlike=misread[0]))
        gold = [world.paragraph(pair[i], {asked.relation: values[i]}, needed) for i in (0, 1)]
        for i in (0, 1):
            world.paragraph(pair[i], {asked.misread_as: misread[i]}, needed)
        _fill_with_near_misses(world, [(pair[0], asked), (pair[1], asked)], needed)
        paragraphs, places = world.shuffled(gold)
        index = SearchIndex(paragraphs)
        if [index.best(f"{entity} {asked.relation}") for entity in pair] == list(places):
            break
    wording = generator.choice(
        (f"who is {asked.word} : {pair[0]} or {pair[1]} ?", f"of {pair[0]} or {pair[1]} who is {asked.word} ?")
    )
    answer = pair[0] if int(values[0]) > int(values[1]) else pair[1]
    return RetrievalTask(
        identifier, "comparison", wording, answer, 2, paragraphs, places, tuple(pair), (asked.word, asked.word)
    )


def apply_operation(value: int, operation: str, operand: int) -> int:
    """One step of a static question, modulo ten."""
    return {"plus": value + operand, "minus": value - operand, "times": value * operand}[operation] % 10


def static(identifier: str, split: Split, generator: random.Random) -> RetrievalTask:
    """Three steps of arithmetic modulo ten: reasoning without a tool, in words that no other category uses."""
    while True:
        value = start = generator.randrange(10)
        steps = [(generator.choice(OPERATIONS), generator.randrange(10)) for _ in range(STATIC_STEPS)]
        question = f"start {DIGITS[start]} {' '.join(f'{name} {operand}' for name, operand in steps)} ?"
        if _split_of_static(question) == split:
            break
    for name, operand in steps:
        value = apply_operation(value, name, operand)
    spelled = tuple(f"{name} {operand}" for name, operand in steps)
    return RetrievalTask(identifier, "static", question, DIGITS[value], 0, (), (), (DIGITS[start],), spelled)


def _split_of_static(question: str) -> Split:
    fifth = hashlib.sha256(question.encode()).digest()[0] % 5
    return "train" if fifth < 3 else "test" if fifth == 3 else "ood"


def _distinct_relations(phrasings: tuple[Phrasing, ...], count: int, generator: random.Random) -> tuple[Phrasing, ...]:
    while True:
        chosen = tuple(generator.choices(phrasings, k=count))
        named = [phrasing.relation for phrasing in chosen] + [phrasing.misread_as for phrasing in chosen]
        if len(set(named)) == len(named):
            return chosen


def canonical_forms(panel: Panel[RetrievalTask]) -> set[str]:
    """What two panels must not share: every entity named anywhere in a task, and every static question."""
    forms: set[str] = set()
    for task in panel.tasks:
        if task.category == "static":
            forms.add(task.question)
        for paragraph in task.paragraphs:
            entity, facts = facts_of(paragraph)
            forms |= {entity} | {value for relation, value in facts.items() if relation in ENTITY_RELATIONS}
    return forms


def build_panels(
    train_per_category: int, test_per_category: int, ood_per_depth: int, train_seed: int = 0, test_seed: int = 0
) -> dict[str, Panel[RetrievalTask]]:
    """The three panels, checked to be disjoint.

    train: bridge (two hops) and comparison; test: static, comparison, bridge (two hops); ood: bridge of three and four
    hops, both of `test_seed`. The entities of a panel occur in no other panel; a panel is part of any larger one with
    the same seed.
    """
    train = _many("train", "comparison", train_per_category, train_seed, comparison)
    train += _many("train", "bridge-2", train_per_category, train_seed, _bridge_of(2))
    test = _many("test", "static", test_per_category, test_seed, static)
    test += _many("test", "comparison", test_per_category, test_seed, comparison)
    test += _many("test", "bridge-2", test_per_category, test_seed, _bridge_of(2))
    ood = [
        task for hops in (3, 4) for task in _many("ood", f"bridge-{hops}", ood_per_depth, test_seed, _bridge_of(hops))
    ]
    panels = {
        "train": Panel("train", tuple(train)),
        "test": Panel("test", tuple(test)),
        "ood": Panel("ood", tuple(ood)),
    }
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])
    return panels


TaskMaker = Callable[[str, Split, random.Random], RetrievalTask]


def _bridge_of(hops: int) -> TaskMaker:
    return lambda identifier, split, generator: bridge(identifier, split, hops, generator)


def _many(split: Split, label: str, count: int, seed: int, make: TaskMaker) -> list[RetrievalTask]:
    """`count` tasks with pairwise different questions, each a function of (seed, split, label, place) alone."""
    tasks: list[RetrievalTask] = []
    seen: set[str] = set()
    for place in range(count):
        for attempt in itertools.count():
            task = make(
                f"{split}-{label}-{place:04d}", split, random.Random(f"{seed} {split} {label} {place} {attempt}")
            )
            if task.question not in seen:
                break
        seen.add(task.question)
        tasks.append(task)
    return tasks


def phrasing_of(word: str) -> Phrasing:
    """The relation behind a word, and the one it is misread as. Raises KeyError for an unknown word."""
    return PHRASING_OF_WORD[word]
