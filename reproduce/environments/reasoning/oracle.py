"""The oracle: which step of a solution is the first wrong one. Exact, for the right lines are known."""

from __future__ import annotations

from collections.abc import Sequence

from reproduce.environments.reasoning.steps import ANSWER, is_free
from reproduce.environments.reasoning.tasks import ReasoningTask


def first_wrong_step(task: ReasoningTask, steps: Sequence[str]) -> int | None:
    """Place of the first wrong step, counted from 0; None where every step written is right, be they all or not.

    steps: lines as `split_steps` gives them. `steps[:place]` is then the longest prefix without a mistake; the paper
    on resets counts steps from 1, so its h* is this place plus 1.

    A step is right if the question and the steps before it support it: the next line of the solution, a line that has
    been written already, or, after all of them, the answer. It ends the solution: whatever follows it is wrong. At a
    free step of a decisive chain any line is right, and each line counts as a step of its own.
    """
    if task.template == "decisive":
        return _first_wrong_of_decisive(task, steps)
    done = 0
    for place, step in enumerate(steps):
        if done < len(task.lines) and step == task.lines[done]:
            done += 1
        elif done == len(task.lines) and step == f"{ANSWER} {task.answer}":
            return place + 1 if place + 1 < len(steps) else None
        elif step not in task.lines[:done]:
            return place
    return None


def _first_wrong_of_decisive(task: ReasoningTask, steps: Sequence[str]) -> int | None:
    for place, (step, line, operation) in enumerate(zip(steps, task.lines, task.operations, strict=False)):
        if not is_free(operation) and step != line:
            return place
    return len(task.lines) if len(steps) > len(task.lines) else None
