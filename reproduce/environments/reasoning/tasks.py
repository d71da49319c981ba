"""Tasks and panels: chains of arithmetic modulo ten.

A chain is a start and operations, one after the other. Every operation can be undone modulo ten (times is by 3, 7 or 9
only), so one wrong result in a chain always makes its answer wrong, unless a second one happens to undo it. The tiers
differ in length alone, hence in the chance that all samples of a group are right: a policy that gets a step right with
chance q solves a chain of H steps with chance q^H.

No operation comes twice in a chain: the line before tells which one is next, and nothing has to be counted.

A decisive chain has H steps of which k are operations; at the others the question says `free` and the last digit of
their place, which only tells those steps apart, and whatever line is written there is right. The k operations are all
that matters, each one does, and nothing can be made good later: the share of steps where a better choice exists is k/H
on a chain that is right so far, by design.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reproduce.environments.protocol import Panel, check_disjoint
from reproduce.environments.reasoning.steps import ANSWER, FREE, calculate, is_free, line_of

Split = Literal["train", "test", "ood"]
Template = Literal["listed", "nested", "trailing", "decisive"]
OPERATIONS = tuple(f"{name} {digit}" for name in ("plus", "minus") for digit in range(1, 10)) + tuple(
    f"times {digit}" for digit in (3, 7, 9)
)
_MOST_DRAWS = 2000


@dataclass(frozen=True)
class Tier:
    """A category of chains: how many operations they have, and how the questions are put."""

    name: str
    fewest_steps: int
    most_steps: int
    templates: tuple[Template, ...] = ("listed", "nested")

    def __post_init__(self) -> None:
        if not 1 <= self.fewest_steps <= self.most_steps or not self.templates:
            raise ValueError(f"tier {self.name}: 1 <= fewest steps <= most steps and a template are needed")
        if not set(self.templates) <= {"listed", "nested", "trailing"}:
            raise ValueError(f"tier {self.name}: the templates are listed, nested and trailing, got {self.templates}")


TIERS = (Tier("easy", 2, 2), Tier("medium", 4, 4), Tier("hard", 6, 7))
OOD_TIERS = (Tier("longer", 8, 9), Tier("template", 2, 7, ("trailing",)))
"""Longer chains in the known wordings, and chains of known lengths in another one."""
DECISIVE = ((4, 8), (2, 8), (1, 8), (1, 16))
"""(k, H) of the decisive chains: coverage 1/2, 1/4, 1/8, 1/16. Few decisive steps, or no tiny policy is ever right."""


@dataclass(frozen=True)
class ReasoningTask:
    """One chain."""

    identifier: str
    category: str
    """The tier's name, or `decisive-K-of-H`."""
    template: Template
    """How the question is put; `decisive` for a chain without an answer line."""
    start: int
    operations: tuple[str, ...]
    """In the order of the steps: `plus 4`, or `free 4`."""
    decisive: tuple[int, ...]
    """Places of the steps where it matters what is written; all of them but in a decisive chain."""
    lines: tuple[str, ...]
    """The right line of each step, the answer's not included; at a free step one of many."""
    answer: str
    """The value after the last operation."""
    question: str

    @property
    def coverage(self) -> float:
        """k/H: the share of steps where it matters what is written."""
        return len(self.decisive) / len(self.operations)


def make_task(
    identifier: str, category: str, template: Template, start: int, operations: Sequence[str]
) -> ReasoningTask:
    """The task with its question, right lines and answer."""
    value, lines = start, []
    for operation in operations:
        lines.append(line_of(value, operation))
        value = calculate(value, operation)
    decisive = tuple(place for place, operation in enumerate(operations) if not is_free(operation))
    question = _question(template, start, operations)
    return ReasoningTask(
        identifier, category, template, start, tuple(operations), decisive, tuple(lines), str(value), question
    )


def _question(template: Template, start: int, operations: Sequence[str]) -> str:
    match template:
        case "listed":
            return f"{' then '.join((f'start {start}', *operations))} ?"
        case "nested":
            return f"{' of '.join((*reversed(operations), f'start {start}'))} ?"
        case "trailing":
            return f"{' then '.join(operations)} start {start} ?"
        case "decisive":
            return f"chain {' then '.join((f'start {start}', *operations))} ?"


def canonical_form(start: int, operations: Sequence[str]) -> str:
    """The same for questions that differ in wording only, the digits of free steps included."""
    return " ".join((str(start), *(FREE if is_free(operation) else operation for operation in operations)))


def canonical_forms(panel: Panel[ReasoningTask]) -> set[str]:
    """What two panels must not share: the chains."""
    return {canonical_form(task.start, task.operations) for task in panel.tasks}


def _split_of(form: str) -> Split:
    fifth = hashlib.sha256(form.encode()).digest()[0] % 5
    return "train" if fifth < 3 else "test" if fifth == 3 else "ood"


def solution_lines(task: ReasoningTask) -> tuple[str, ...]:
    """The expert's lines, the answer included where one is asked for."""
    return task.lines if task.template == "decisive" else (*task.lines, f"{ANSWER} {task.answer}")


def build_panels(
    train_per_category: int,
    test_per_category: int,
    ood_per_category: int,
    train_seed: int = 0,
    test_seed: int = 0,
    tiers: Sequence[Tier] = TIERS,
    ood_tiers: Sequence[Tier] = OOD_TIERS,
    decisive: Sequence[tuple[int, int]] = DECISIVE,
    operations: Sequence[str] = OPERATIONS,
) -> dict[str, Panel[ReasoningTask]]:
    """The three panels, checked to be disjoint.

    train and test: the tiers and the decisive chains; ood: the ood tiers. operations: those that chains are made of,
    of `OPERATIONS`. A digest of its canonical form says which panel a chain belongs to. A panel is part of any larger
    one with the same seed and operations. Raises ValueError where a category has too few different chains or needs
    more operations than there are, or for k and H out of range.
    """
    sizes = {
        "train": (train_per_category, train_seed),
        "test": (test_per_category, test_seed),
        "ood": (ood_per_category, test_seed),
    }
    panels = {}
    for split, (count, seed) in sizes.items():
        kinds: tuple[Tier | tuple[int, int], ...] = tuple(ood_tiers) if split == "ood" else (*tiers, *decisive)
        tasks = [task for kind in kinds for task in _many(split, kind, count, seed, operations)]
        panels[split] = Panel(split, tuple(tasks))
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])
    return panels


def _many(split: str, kind: Tier | tuple[int, int], count: int, seed: int, known: Sequence[str]) -> list[ReasoningTask]:
    """`count` different chains, each a function of (seed, split, kind, place) and of those before it."""
    category = kind.name if isinstance(kind, Tier) else f"decisive-{kind[0]}-of-{kind[1]}"
    tasks: list[ReasoningTask] = []
    seen: set[str] = set()
    for place in range(count):
        for attempt in itertools.count():
            if attempt == _MOST_DRAWS:
                raise ValueError(f"panel {split}: category {category} has too few chains for {count} tasks")
            generator = random.Random(f"reasoning {seed} {split} {kind} {place} {attempt}")
            template, operations = _draw(kind, generator, known)
            start = generator.randrange(10)
            form = canonical_form(start, operations)
            if form not in seen and _split_of(form) == split:
                break
        seen.add(form)
        tasks.append(make_task(f"{split}-{category}-{place:04d}", category, template, start, operations))
    return tasks


def _draw(kind: Tier | tuple[int, int], generator: random.Random, known: Sequence[str]) -> tuple[Template, list[str]]:
    if isinstance(kind, Tier):
        length = generator.randint(kind.fewest_steps, kind.most_steps)
        return generator.choice(kind.templates), _different(length, generator, known)
    count, length = kind
    if not 1 <= count <= length:
        raise ValueError(f"1 to {length} steps can be decisive, got {count}")
    operations = [f"{FREE} {place % 10}" for place in range(length)]
    places = generator.sample(range(length), count)
    for place, operation in zip(places, _different(count, generator, known), strict=True):
        operations[place] = operation
    return "decisive", operations


def _different(count: int, generator: random.Random, known: Sequence[str]) -> list[str]:
    if count > len(known):
        raise ValueError(f"{count} operations in a chain, but there are {len(known)}")
    return generator.sample(known, count)
