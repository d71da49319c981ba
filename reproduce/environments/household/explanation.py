"""What a person should know about a task before playing it."""

from __future__ import annotations

from reproduce.environments.household.expert import solve
from reproduce.environments.household.problem import contents_of
from reproduce.environments.household.tasks import LAMP, PROCESSES, TWO, HouseholdTask


def explain(task: HouseholdTask) -> str:
    """What is asked, where things are, what goes wrong easily, and a solution: the engine's plan."""
    scene = [f"  {kind}: {', '.join(things) or 'empty'}" for kind, things in contents_of(task.problem)]
    lines = [
        f"{task.identifier} in {task.layout}: {task.instruction}.",
        "The scene at the start (what is in cabinets, drawers and the like shows only once they are open):",
        *scene,
        f"The trap: {_trap(task)}",
        "A solution:",
        *(f"  {command}" for command in solve(task)),
    ]
    return "\n".join(lines)


def _trap(task: HouseholdTask) -> str:
    if task.category == LAMP:
        return "the object has to be in your hands while you stand at the lamp that you switched on."
    if task.category == TWO:
        return "you carry one object at a time, and both have to end in the same receptacle, not just in the same type."
    if task.category in PROCESSES:
        place = PROCESSES[task.category][1].lower()
        return f"delivered as it is, the {task.item.lower()} does not count: use the {place} first, while you carry it."
    return "most receptacles are empty or hold something else, and you have only so many rounds to search them."
