"""Play a task of an environment in the terminal, or watch the expert play it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.text import Text

from reproduce.core.files import UserError
from reproduce.core.names import escaped, nearest
from reproduce.environments.beds import ENVIRONMENTS
from reproduce.environments.protocol import Observation

PANELS = ("train", "test", "ood")
TEXTS = ("full", "terse")
PROMPT = "> "
LARGEST_SEARCH = 16
"""Factor by which more tasks than asked for are drawn before a category counts as not there."""
MOST_TASKS = 1000
LINE_BREAK = "<newline>"
"""The word that separates the lines of an action (`reproduce.environments.reasoning.NEWLINE`)."""


@dataclass(frozen=True)
class Game:
    """One task, ready to be played."""

    environment: Any
    """Of the protocol."""
    task: Any
    rounds: int
    """Actions after which the episode ends, or a last answer is asked for."""
    solution: tuple[str, ...] | None
    """The expert's actions; None where no expert knows the task."""
    explanation: str
    """For a person; gives the solution away."""
    several_lines: bool = False
    """An action is a chain of lines, one step each, and an empty line ends it."""


def play_in_terminal(console: Console, game: Game, expert: bool, explain: bool) -> None:
    """Explain the task, show the expert, or read actions from standard input."""
    if explain:
        _say(console, game.explanation, "")
        return
    if expert:
        if game.solution is None:
            raise UserError("no expert knows the tasks of a data set; play without --expert")
        play(console, game, iter(game.solution), echo=True)
        return
    if game.several_lines and sys.stdin.isatty():
        _say(console, "One step a line; an empty line ends the answer.", "dim")
    play(console, game, (line.rstrip("\n") for line in sys.stdin), echo=False)


def open_game(
    name: str,
    panel: str,
    category: str | None,
    number: int,
    observations: str,
    rounds: int | None,
    seed: int,
    games: Path | None,
    dataset: Path | None,
    skip_broken: bool = False,
) -> Game:
    """The task with that number in the panel, or in a category of it; the horizon is the task's own where `rounds` is
    None. Raises UserError for what does not exist."""
    for value, known, what in (
        (name, ENVIRONMENTS, "environment"),
        (panel, PANELS, "panel"),
        (observations, TEXTS, "texts"),
    ):
        if value not in known:
            raise UserError(f"unknown {what} {value!r}; {nearest(value, known)}")
    if games is not None and name != "household":
        raise UserError(f"--alfworld-data belongs to household, not to {name}")
    if dataset is not None and name not in ("reasoning", "retrieval"):
        raise UserError(f"--dataset belongs to reasoning and retrieval, not to {name}")
    module = importlib.import_module(f"reproduce.environments.{name}")
    if dataset is not None and name == "retrieval":
        return _question_game(module, dataset, panel, category, number, rounds)
    if dataset is not None:
        return _data_set_game(module, dataset, number, skip_broken)
    if games is None and number >= MOST_TASKS:
        raise UserError(f"--number {number}: at most {MOST_TASKS - 1}, for all tasks up to it are drawn")
    tasks = _tasks(module, panel, number, seed, games, skip_broken)
    while category is not None and games is None and sum(task.category == category for task in tasks) <= number:
        # The panel holds several categories: it grows until this one has enough, or is seen not to be there.
        if len(tasks) > LARGEST_SEARCH * (number + 1):
            break
        tasks = _tasks(module, panel, 2 * len(tasks), seed, games, skip_broken)
    categories = tuple(dict.fromkeys(task.category for task in tasks))
    if category is not None and category not in categories:
        raise UserError(f"no task of category {category!r} in {panel}; {nearest(category, categories)}")
    chosen = [task for task in tasks if category in (None, task.category)]
    if number >= len(chosen):
        raise UserError(f"--number {number}: the panel has {len(chosen)} of them, counted from 0")
    task = chosen[number]
    environment = getattr(module, f"{name.capitalize()}Environment")
    text = environment() if name == "retrieval" else environment(observations=observations)
    horizon = int(rounds or getattr(task, "horizon", module.HORIZON))
    if getattr(task, "hops", None) == 0:
        horizon = 0  # A static question has no tool.
    return Game(text, task, horizon, module.solve(task), module.explain(task), name == "reasoning")


def _tasks(
    module: ModuleType, panel: str, number: int, seed: int, games: Path | None, skip_broken: bool
) -> tuple[Any, ...]:
    if games is not None:
        panels = module.load_official_games(games, skip_broken=skip_broken, panels=(panel,))
    else:
        sizes = [number + 1 if name == panel else 1 for name in PANELS]
        panels = module.build_panels(*sizes, train_seed=seed, test_seed=seed)
    if panel not in panels:
        raise UserError(f"no panel {panel!r} in {games}; {nearest(panel, tuple(panels))}")
    tasks: tuple[Any, ...] = panels[panel].tasks
    return tasks


def _data_set_game(module: ModuleType, dataset: Path, number: int, skip_broken: bool) -> Game:
    tasks = module.load_dataset_tasks(dataset, skip_broken=skip_broken)
    if number >= len(tasks):
        raise UserError(f"--number {number}: {dataset} has {len(tasks)} tasks, counted from 0")
    return Game(module.MathEnvironment(), tasks[number], 1, None, f"Answer: {tasks[number].answer}", True)


def _question_game(
    module: ModuleType, folder: Path, panel: str, category: str | None, number: int, rounds: int | None
) -> Game:
    """A question of HotpotQA, 2WikiMultihopQA or MuSiQue; it is asked with twice the searches that it needs."""
    sizes = {"train": 0, "test": 0, panel: number + 1}
    found = module.build_hotpot_panels(folder, sizes["train"], sizes["test"])[panel]
    tasks = found.select(category) if category else found.tasks
    if number >= len(tasks):
        raise UserError(f"--number {number}: {len(tasks)} questions of {category or panel} in {folder}, counted from 0")
    task = tasks[number]
    environment = module.TaggedEnvironment(module.HotpotCorpus())
    explanation = "\n".join(["Solution:", *module.solve_hotpot(task)])
    horizon = 2 * task.hops if rounds is None else rounds
    return Game(environment, task, horizon, module.solve_hotpot(task), explanation)


def play(console: Console, game: Game, actions: Iterator[str], echo: bool) -> bool:
    """Play until the episode ends or the actions do; whether it succeeded.

    echo: print each action, for a transcript; a person at a terminal has typed it already.
    """
    _say(console, game.environment.reset(game.task), "cyan")
    history: tuple[str, ...] = ()
    closed = False
    while True:
        if len(history) == game.rounds and not closed:
            closing = game.environment.close(game.task)
            if closing is None:
                return _end(console, Observation("", True, False, "", "timeout"), len(history))
            _say(console, closing, "cyan")
            closed = True
        if not echo:
            console.print(PROMPT, end="")
        action = _next_action(actions, game.several_lines and not echo)
        if action is None:
            _say(console, f"stopped after {_actions(len(history))}", "dim")
            return False
        if echo:
            _say(console, PROMPT + action.replace(f" {LINE_BREAK} ", "\n" + " " * len(PROMPT)), "bold yellow")
        step = game.environment.step_closed if closed else game.environment.step
        observation = step(game.task, history, action)
        history += (action,)
        if observation.text:
            _say(console, observation.text, "cyan")
        if observation.done:
            return _end(console, observation, len(history))


def _next_action(actions: Iterator[str], several_lines: bool) -> str | None:
    """The next action; of several lines up to an empty one. None when there is no more."""
    first = next(actions, None)
    if first is None or not several_lines:
        return first
    lines = [first]
    while line := next(actions, ""):
        lines.append(line)
    return f" {LINE_BREAK} ".join(lines)


def _end(console: Console, last: Observation, actions: int) -> bool:
    word = "success" if last.success else f"failure ({last.failure})" if last.failure else "failure"
    _say(console, f"{word} after {_actions(actions)}", "bold green" if last.success else "bold red")
    return last.success


def _actions(count: int) -> str:
    return f"{count} action{'' if count == 1 else 's'}"


def _say(console: Console, text: str, style: str) -> None:
    for line in text.strip("\n").split("\n"):
        console.print(Text(escaped(line.rstrip()), style=style), soft_wrap=True)
