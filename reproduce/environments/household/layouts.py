"""Scene layouts: small ones drawn from ALFWorld's 120 floor plans.

A layout is a choice of a floor plan's receptacles, kept small for tiny models: what a task type needs (fridge,
microwave and sink in a kitchen, the sink in a bathroom, a place for the lamp elsewhere) and others at random, at most
three of a kind. It is a function of floor plan and size alone. Layouts of the package's training floor plans are seen,
the others unseen; an unseen one with the same receptacles as a seen one is left out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from reproduce.environments.household.tables import floor_plan, tables

REQUIRED = {"Kitchen": ("Fridge", "Microwave", "SinkBasin"), "Bathroom": ("SinkBasin",)}
LAMPS = ("DeskLamp", "FloorLamp")
LAMP_PLACES = ("Desk", "SideTable", "Dresser", "CoffeeTable", "DiningTable", "TVStand", "Shelf")
"""Receptacle types on which a lamp may stand, best first; the package's tables do not place lamps."""
MOST_OF_A_KIND = 3


@dataclass(frozen=True)
class Layout:
    """The receptacles of a scene, and what may lie about in it."""

    name: str
    room: str
    receptacles: tuple[str, ...]
    """Types, sorted; one entry for each receptacle."""
    objects: tuple[str, ...]
    """Types of the floor plan's objects that some receptacle of the layout can hold, sorted."""
    lamps: tuple[str, ...]

    def places_of(self, item: str) -> tuple[int, ...]:
        """Places in `receptacles` that can hold an object type."""
        if item in LAMPS:
            best = next(kind for kind in LAMP_PLACES if kind in self.receptacles)
            return tuple(place for place, kind in enumerate(self.receptacles) if kind == best)
        return tuple(place for place, kind in enumerate(self.receptacles) if item in tables().holds[kind])


@lru_cache(maxsize=8)
def layouts(receptacles: int) -> tuple[tuple[Layout, ...], tuple[Layout, ...]]:
    """Seen and unseen layouts with at most so many receptacles, in the order of the floor plans."""
    drawn = [
        (number, _draw(number, room, receptacles)) for room, plans in tables().floor_plans.items() for number in plans
    ]
    seen = tuple(layout for number, layout in drawn if number in tables().seen)
    known = {(layout.room, layout.receptacles) for layout in seen}
    unseen = (layout for number, layout in drawn if number not in tables().seen)
    return seen, tuple(layout for layout in unseen if (layout.room, layout.receptacles) not in known)


def _draw(number: int, room: str, size: int) -> Layout:
    generator = random.Random(f"household layout {number} {size}")
    available, objects = floor_plan(number)
    lamps = tuple(lamp for lamp in LAMPS if lamp in objects) if room in ("LivingRoom", "Bedroom") else ()
    chosen = list(REQUIRED.get(room, ()))
    if lamps:
        chosen.append(next(kind for kind in LAMP_PLACES if kind in available))
    others = [
        kind
        for kind, count in available.items()
        for _ in range(min(count, MOST_OF_A_KIND) - (kind in chosen))
        # One of each is enough.
        if kind not in REQUIRED.get(room, ())
    ]
    chosen += generator.sample(others, max(0, min(len(others), size - len(chosen))))
    held = frozenset[str]().union(*(tables().holds[kind] for kind in chosen))
    name = f"{room.lower()} {number}"
    return Layout(name, room, tuple(sorted(chosen)), tuple(item for item in objects if item in held), lamps)
