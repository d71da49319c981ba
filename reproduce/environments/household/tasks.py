"""Task instances, generated from seeds: a scene, what lies where in it, and one of ALFWorld's six kinds of goal.

train and test share layouts and the pairs (object, receptacle) asked for, and differ in what lies where: each way to
fill a layout belongs to one of them, by a digest of its contents. ood has unseen layouts only, and only pairs that
neither train nor test asks for.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from reproduce.environments.household.layouts import Layout, layouts
from reproduce.environments.household.problem import (
    Placement,
    contents_of,
    goal_of,
    instruction_of,
    problem_of,
)
from reproduce.environments.household.tables import CATEGORIES, tables
from reproduce.environments.protocol import Panel, check_disjoint

Split = Literal["train", "test", "ood"]
HORIZON = 30
"""Rounds an episode should be given. In the default scenes the engine's plans take at most 11 and a demonstrator
without habits and mistakes, who has to search, at most 25."""
PROCESSES = {
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge"),
}
"""What an object must be, and where it is processed."""
VERBS = {"Cleanable": "clean", "Heatable": "heat", "Coolable": "cool"}
"""What is done to an object that must become so."""
LAMP, TWO = "look_at_obj_in_light", "pick_two_obj_and_place"


@dataclass(frozen=True)
class SceneSize:
    """How large scenes are; the defaults suit models of a million parameters."""

    receptacles: int = 8
    """At most; at least six, so that unseen layouts differ from seen ones in every room."""
    objects: int = 8
    """Things that lie about, those asked for and lamps included."""


@dataclass(frozen=True)
class HouseholdTask:
    """One game. Frozen; everything that determines it is here."""

    identifier: str
    category: str
    """One of ALFWorld's six task types."""
    instruction: str
    """Shown in the prompt, such as `put a hot apple in fridge`."""
    item: str
    """Type of the object asked for."""
    target: str
    """Type of the receptacle asked for; for `look_at_obj_in_light` the lamp."""
    layout: str
    """Name of the scene layout, such as `kitchen 7`."""
    problem: str
    """PDDL problem in ALFWorld's domain."""


@dataclass(frozen=True)
class OfficialTask(HouseholdTask):
    """One of ALFWorld's own games, with the rules of the release that it came with."""

    domain: str
    """PDDL of the actions."""
    grammar: str
    """All texts, with `UNKNOWN GOAL` for the instruction."""

    @property
    def horizon(self) -> int:
        """Rounds of an episode, as in ALFWorld's own evaluation (`max_nb_steps_per_episode`)."""
        return 50


def is_held_out(item: str, target: str) -> bool:
    """Whether only ood asks for this pair: a quarter of all pairs, by digest."""
    return hashlib.sha256(f"household pair {item} {target}".encode()).digest()[0] % 4 == 0


def split_of_contents(contents: tuple[tuple[str, tuple[str, ...]], ...]) -> Split:
    """Which panel a way to fill a seen layout belongs to: a fifth is for test."""
    return "test" if hashlib.sha256(repr(contents).encode()).digest()[0] % 5 == 0 else "train"


@lru_cache(maxsize=4096)
def pairs(category: str, layout: Layout, held_out: bool) -> tuple[tuple[str, str], ...]:
    """The pairs (object, receptacle or lamp) that a category can ask for in a layout."""
    needed, appliance = PROCESSES.get(category, (None, None))
    able = [item for item in layout.objects if needed is None or item in tables().properties[needed]]
    if category == LAMP:
        targets = layout.lamps
    else:
        targets = tuple(sorted({kind for kind in layout.receptacles if kind != appliance}))
    return tuple(
        (item, target)
        for item in able
        for target in targets
        if is_held_out(item, target) == held_out
        and (category == LAMP or item in tables().holds[target])
        # Nothing asked for lies in its target already, so it must have another place.
        and any(layout.receptacles[place] != target for place in layout.places_of(item))
    )


@lru_cache(maxsize=64)
def suitable_layouts(split: Split, category: str, receptacles: int) -> tuple[Layout, ...]:
    """Layouts of the split's side that can ask for something of the category."""
    seen, unseen = layouts(receptacles)
    return tuple(
        layout
        for layout in (unseen if split == "ood" else seen)
        if layout.room in tables().rooms[category] and pairs(category, layout, split == "ood")
    )


def draw_task(
    identifier: str, split: Split, category: str, generator: random.Random, size: SceneSize | None = None
) -> HouseholdTask:
    """A random task of a category. Raises ValueError for a size too small for the category."""
    size = size or SceneSize()
    choices = suitable_layouts(split, category, size.receptacles)
    if not choices or size.objects < 3 or size.receptacles < 6:
        raise ValueError(f"no {category} for {split} with {size.receptacles} receptacles and {size.objects} objects")
    while True:
        layout = generator.choice(choices)
        item, target = generator.choice(pairs(category, layout, split == "ood"))
        placements = _placements(layout, category, item, target, generator, size.objects)
        problem = problem_of(layout.receptacles, placements, goal_of(category, item, target))
        if split == "ood" or split_of_contents(contents_of(problem)) == split:
            break
    instruction = instruction_of(category, generator.randrange(2), item, target)
    return HouseholdTask(identifier, category, instruction, item, target, layout.name, problem)


def _placements(
    layout: Layout, category: str, item: str, target: str, generator: random.Random, count: int
) -> list[Placement]:
    """What lies where: the things asked for, never in their target; the lamps; others at random.

    Sorted by kind, and within a kind in random order: that is the order in which things get their numbers, which must
    not tell where they lie.
    """
    wanted = [item] * (2 if category == TWO else 1)
    lamps = list(layout.lamps) if category == LAMP else []
    rest = [thing for thing in layout.objects if thing != item]
    others = [generator.choice(rest) for _ in range(count - len(wanted) - len(lamps))]
    placements = []
    for thing in wanted + lamps + others:
        places = [place for place in layout.places_of(thing) if thing != item or layout.receptacles[place] != target]
        placements.append((thing, generator.choice(places)))
    generator.shuffle(placements)
    return sorted(placements, key=lambda placement: placement[0])


def canonical_forms(panel: Panel[HouseholdTask]) -> set[str]:
    """What two panels must not share: the contents of a scene, however receptacles and objects are numbered."""
    return {repr(contents_of(task.problem)) for task in panel.tasks}


def held_out_forms(panel: Panel[HouseholdTask]) -> set[str]:
    """What ood must not share with train and test: layouts and the pairs asked for."""
    forms = set()
    for task in panel.tasks:
        receptacles = ", ".join(kind for kind, _ in contents_of(task.problem))
        forms |= {f"layout {receptacles}", f"pair {task.item} {task.target}"}
    return forms


def build_panels(
    train_per_category: int,
    test_per_category: int,
    ood_per_category: int,
    train_seed: int = 0,
    test_seed: int = 0,
    size: SceneSize | None = None,
) -> dict[str, Panel[HouseholdTask]]:
    """The three panels, checked to be disjoint; six categories each.

    ood: of `test_seed`. A panel is part of any larger one with the same seed and size.
    """
    counts: dict[Split, tuple[int, int]] = {
        "train": (train_per_category, train_seed),
        "test": (test_per_category, test_seed),
        "ood": (ood_per_category, test_seed),
    }
    panels = {
        split: Panel[HouseholdTask](
            split,
            tuple(task for category in CATEGORIES for task in _many(split, category, count, seed, size or SceneSize())),
        )
        for split, (count, seed) in counts.items()
    }
    check_disjoint(list(panels.values()), [canonical_forms(panel) for panel in panels.values()])
    for name in ("train", "test"):
        chosen = [panels[name], panels["ood"]]
        check_disjoint(chosen, [held_out_forms(panel) for panel in chosen])
    return {str(name): panel for name, panel in panels.items()}


def _many(split: Split, category: str, count: int, seed: int, size: SceneSize) -> list[HouseholdTask]:
    """`count` different tasks, each a function of (seed, split, category, size) and those before it."""
    tasks: list[HouseholdTask] = []
    seen: set[tuple[object, ...]] = set()
    for place in range(count):
        for attempt in itertools.count():
            label = f"household {seed} {split} {category} {size.receptacles} {size.objects} {place} {attempt}"
            task = draw_task(f"{split}-{category}-{place:04d}", split, category, random.Random(label), size)
            # Two tasks that differ in numbers alone would be one task.
            form = (task.layout, task.item, task.target, contents_of(task.problem))
            if form not in seen:
                break
        seen.add(form)
        tasks.append(task)
    return tasks
