"""PDDL problem files: a scene with its things in their places and a goal, in ALFWorld's domain."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from reproduce.environments.household.layouts import LAMPS
from reproduce.environments.household.tables import BASINS, tables

Placement = tuple[str, int]
"""An object type and the place of its receptacle."""
_FACT = re.compile(r"\((receptacleType|objectType|inReceptacle)\s+(\S+)\s+(\S+)\s*\)", re.IGNORECASE)
_AGENT, _START = "agent1", "loc_bar_00"


def problem_of(receptacles: Sequence[str], placements: Sequence[Placement], goal: str) -> str:
    """PDDL of a scene: the agent in the middle of the room, every door and drawer closed.

    receptacles: types. placements: of the objects. goal: PDDL that also closes the problem.
    """
    places = _identifiers(receptacles)
    things = _identifiers([item for item, _ in placements])
    locations = [_START, *(f"loc_bar_{place + 1:02d}" for place in range(len(places)))]
    items = sorted({item for item, _ in placements})
    facts = [f"(atLocation {_AGENT} {_START})"]
    for identifier, kind, location in zip(places, receptacles, locations[1:], strict=True):
        facts += [f"(receptacleType {identifier} {kind}Type)", f"(receptacleAtLocation {identifier} {location})"]
        facts += [f"(openable {identifier})"] if kind in tables().openable else []
    for kind in sorted(set(receptacles)):
        facts += [f"(canContain {kind}Type {item}Type)" for item in items if item in tables().holds[kind]]
    for identifier, (item, place) in zip(things, placements, strict=True):
        facts += [f"(objectType {identifier} {item}Type)", f"(inReceptacle {identifier} {places[place]})"]
        facts += [f"(objectAtLocation {identifier} {locations[place + 1]})"]
        facts += [f"({name} {identifier})" for name in _properties(item)]
    declared = [
        f"{_AGENT} - agent",
        f"{' '.join(locations)} - location",
        f"{' '.join(places)} - receptacle",
        f"{' '.join(things)} - object",
        f"{' '.join(f'{kind}Type' for kind in sorted({*receptacles, *_NAMED_BY_DOMAIN_RECEPTACLES}))} - rtype",
        f"{' '.join(f'{item}Type' for item in sorted({*items, *_NAMED_BY_DOMAIN_OBJECTS}))} - otype",
    ]
    lines = ["(define (problem household)", "(:domain alfred)", "(:objects", *declared, ")"]
    return "\n".join([*lines, "(:init", "(= (total-cost) 0)", *facts, ")", goal.strip()]) + "\n"


# The domain's actions mention these types, so a problem has to declare them.
_NAMED_BY_DOMAIN_RECEPTACLES = ("SinkBasin", "Microwave", "Fridge")
_NAMED_BY_DOMAIN_OBJECTS = ("Knife", "ButterKnife")


def goal_of(category: str, item: str, target: str) -> str:
    """PDDL of a category's goal. target: receptacle type; for `look_at_obj_in_light` the lamp."""
    return re.sub(r"\s+", " ", tables().goals[category].format(obj=item, recep=target, toggle=target))


def instruction_of(category: str, wording: int, item: str, target: str) -> str:
    """One of the category's wordings, such as `put a hot apple in fridge`."""
    template = tables().templates[category][wording]
    return template.format(obj=item.lower(), recep=target.lower(), toggle=target.lower())


def contents_of(problem: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What lies where at the start: (receptacle type, sorted object types in it) for each receptacle, sorted.

    Does not depend on how receptacles and objects are numbered.
    """
    kinds: dict[str, str] = {}
    held: dict[str, list[str]] = defaultdict(list)
    for name, first, second in _FACT.findall(problem.partition("(:goal")[0]):
        if name.lower() == "inreceptacle":
            held[second.lower()].append(first.lower())
        else:
            kinds[first.lower()] = second.removesuffix("Type")
            if name.lower() == "receptacletype":
                held.setdefault(first.lower(), [])
    return tuple(
        sorted(
            (kinds.get(place, place), tuple(sorted(kinds.get(thing, thing) for thing in things)))
            for place, things in held.items()
        )
    )


def _properties(item: str) -> list[str]:
    """Names of the domain's predicates that hold for an object type."""
    known = [name.lower() for name, items in sorted(tables().properties.items()) if item in items]
    known += ["isReceptacleObject"] if item in tables().movable else []
    return known if item in LAMPS else ["pickupable", *known]


def _identifiers(kinds: Iterable[str]) -> list[str]:
    """Identifiers as in ALFWorld's games, such as `cabinet_bar_02` and `sink_bar_01_bar_sinkbasin`."""
    counts: Counter[str] = Counter()
    named = {basin: thing for thing, basin in BASINS.items()}
    identifiers = []
    for kind in kinds:
        counts[kind] += 1
        base = f"{named.get(kind, kind).lower()}_bar_{counts[kind]:02d}"
        identifiers.append(f"{base}_bar_{kind.lower()}" if kind in named else base)
    return identifiers
