"""The scripted expert, and demonstrators who know the rules as well but play in other ways.

The careful one does only what leaves a solution, and resets as soon as none is left. The careless one does not plan:
it takes the operation whose result comes nearest to the target, and tries something else after each reset.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from reproduce.environments.countdown.environment import CountdownEnvironment, numbers_left
from reproduce.environments.countdown.rules import RESET, Numbers, calculate, is_solvable, operations, parse
from reproduce.environments.countdown.tasks import CountdownTask
from reproduce.environments.protocol import Turn


@dataclass(frozen=True)
class Demonstrator:
    """How a demonstrator plays. The default is careful and makes no mistake; every field is a chance."""

    careless: float = 0.0
    """To play without a plan in the whole episode."""
    sums_only: float = 0.0
    """To leave out multiplication and division in the whole episode, even where they are needed."""
    slip: float = 0.0
    """At each operation, to do any other legal one."""
    overlooks: float = 0.0
    """Each time that no solution is left, to go on all the same."""
    needless_reset: float = 0.0
    """Before each action, to start again without need."""
    misspeaks: float = 0.0
    """Before each action, to write something that is not possible."""


def solve(task: CountdownTask) -> tuple[str, ...]:
    """The expert's actions: one operation fewer than there are numbers."""
    return task.solution


def random_action(task: CountdownTask, history: tuple[str, ...], generator: random.Random) -> str:
    """One of the legal operations or `reset`, each as likely."""
    legal = [action for action, _ in operations(numbers_left(task, history), task.largest_result)]
    return generator.choice([*legal, RESET])


def demonstrate(
    task: CountdownTask, rounds: int, generator: random.Random, demonstrator: Demonstrator | None = None
) -> tuple[Turn, ...]:
    """One demonstration of at most `rounds` actions. The default demonstrator needs one fewer than there are numbers;
    which of the solutions it takes is drawn at random."""
    player = _Player(task, generator, demonstrator or Demonstrator())
    environment = CountdownEnvironment()
    turns, history, text = list[Turn](), tuple[str, ...](), environment.reset(task)
    while len(history) < rounds:
        action = player.act(history)
        turns += [Turn(text, by_policy=False), Turn(action, by_policy=True)]
        observation = environment.step(task, history, action)
        if observation.done:
            break
        history += (action,)
        text = observation.text
    return tuple(turns)


class _Player:
    """Chooses actions for one episode."""

    def __init__(self, task: CountdownTask, generator: random.Random, demonstrator: Demonstrator) -> None:
        self.task, self.generator, self.demonstrator = task, generator, demonstrator
        self.careless = generator.random() < demonstrator.careless
        self.sums_only = generator.random() < demonstrator.sums_only
        self.tried: set[tuple[Numbers, str]] = set()

    def _happens(self, chance: float) -> bool:
        return self.generator.random() < chance

    def act(self, history: tuple[str, ...]) -> str:
        left = numbers_left(self.task, history)
        if self._happens(self.demonstrator.misspeaks):
            return self._impossible(left)
        if history and self._happens(self.demonstrator.needless_reset):
            return RESET
        legal = dict(operations(left, self.task.largest_result))
        if self.sums_only:
            legal = {action: following for action, following in legal.items() if action.split()[1] in "+-"}
        if not legal:
            return RESET
        if self._happens(self.demonstrator.slip):
            return self._choose(list(legal))
        return self._unplanned(left, legal) if self.careless else self._planned(legal)

    def _choose(self, actions: list[str]) -> str:
        """Any of the actions; which of two equal orders is written is drawn as well."""
        first, operator, second = self.generator.choice(actions).split()
        if operator in "+*" and self._happens(0.5):
            first, second = second, first
        return f"{first} {operator} {second}"

    def _planned(self, legal: dict[str, Numbers]) -> str:
        """An operation that leaves a solution; if there is none, a reset, or any operation by one who overlooks it.

        One who knows sums only does not see ahead further than to the last operation.
        """
        target, limit = self.task.target, self.task.largest_result
        if self.sums_only:
            winning = [action for action, following in legal.items() if following == (target,)]
            if winning or len(next(iter(legal.values()))) > 1:
                return self._choose(winning or list(legal))
            return RESET
        winning = [action for action, following in legal.items() if is_solvable(following, target, limit)]
        if winning:
            return self._choose(winning)
        return self._choose(list(legal)) if self._happens(self.demonstrator.overlooks) else RESET

    def _unplanned(self, left: Numbers, legal: dict[str, Numbers]) -> str:
        """The untried operation whose result is nearest to the target; a reset where all have been tried."""
        untried = [action for action in legal if (left, action) not in self.tried]
        if not untried:
            return RESET
        nearest = min(abs(_result(self.task, action) - self.task.target) for action in untried)
        action = self.generator.choice(
            [action for action in untried if abs(_result(self.task, action) - self.task.target) == nearest]
        )
        self.tried.add((left, action))
        return action

    def _impossible(self, left: Numbers) -> str:
        """An operation on a number that is not there, or one that the rules forbid."""
        absent = next(number for number in range(self.task.largest_result + 1) if number not in left)
        if len(left) > 1 and left[0] != left[1] and self._happens(0.5):
            return f"{left[0]} - {left[1]}"
        return f"{left[-1]} {self.generator.choice('+-*/')} {absent}"


def _result(task: CountdownTask, action: str) -> int:
    parsed = parse(action)
    assert isinstance(parsed, tuple)
    result = calculate(*parsed, task.largest_result)
    assert result is not None
    return result


def explain(task: CountdownTask) -> str:
    """What is asked, the trap and a solution, for a person."""
    numbers = ", ".join(map(str, task.numbers))
    legal = dict(operations(task.numbers, task.largest_result))
    losing = [
        action for action, following in legal.items() if not is_solvable(following, task.target, task.largest_result)
    ]
    nearest = min(legal, key=lambda action: abs(_result(task, action) - task.target))
    if nearest in losing:
        trap = (
            f"{nearest} = {_result(task, nearest)} comes nearest to the target at once, but leaves no solution: only a "
            "reset helps then."
        )
    else:
        trap = f"{len(losing)} of the {len(legal)} first operations leave no solution: only a reset helps then."
    steps = ", ".join(f"{action} = {_result(task, action)}" for action in task.solution)
    return (
        f"Make {task.target} of {numbers}, one operation at a time, using every number exactly once. Results must be "
        f"integers from 0 to {task.largest_result}; division must come out even. Trap: {trap} A solution: {steps}."
    )
