"""How many steps a second the environments without a game engine take on one core: countdown, reasoning, retrieval.

    python -m benchmarks.puzzles

Episodes are written down first, by demonstrators who make mistakes and by random policies; timed is the replay of all
their steps, each with its history, so that nothing but `step` counts. The environments take turns, and the fastest
repeat counts. The rate is of processor time, since other programs may hold the cores; that of the clock stands beside
it. The first pass over a task fills what an environment keeps of it (retrieval: the search index), as in training, and
is not timed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.environments import countdown, reasoning, retrieval
from reproduce.environments.protocol import Environment, Turn
from reproduce.environments.retrieval.expert import Demonstrator as Searcher
from reproduce.environments.retrieval.expert import demonstrate as demonstrate_search
from reproduce.environments.retrieval.vocabulary import PHRASING_OF_WORD

TARGET = 50_000
"""Steps a second on one core."""
SEARCHES = 5

Step = tuple[Any, tuple[str, ...], str]
"""Task, actions before, action."""


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    tasks: int = 64
    """Tasks of each train panel, or of each of its categories."""
    episodes: int = 8
    """Episodes of each task."""
    repeats: int = 7
    """Timed passes over all steps of each environment, taken in turns."""
    out: Path = Path("reports/benchmarks/puzzles.json")
    """Where the numbers go."""


def steps_of(task: Any, actions: Sequence[str]) -> list[Step]:
    """The steps of one episode."""
    return [(task, tuple(actions[:place]), action) for place, action in enumerate(actions)]


def written(turns: Sequence[Turn]) -> list[str]:
    """The actions of a demonstration."""
    return [turn.text for turn in turns if turn.by_policy]


def countdown_steps(options: Options) -> list[Step]:
    """Half demonstrations of mixed quality, half random play over the whole horizon."""
    generator, steps = random.Random(0), list[Step]()
    environment = countdown.CountdownEnvironment()
    demonstrator = countdown.Demonstrator(careless=0.3, sums_only=0.2, slip=0.2, overlooks=0.5, misspeaks=0.1)
    for task in countdown.build_panels(options.tasks, 1, 1)["train"].tasks:
        for episode in range(options.episodes):
            if episode % 2:
                steps += steps_of(
                    task, written(countdown.demonstrate(task, countdown.HORIZON, generator, demonstrator))
                )
                continue
            actions: tuple[str, ...] = ()
            for _ in range(countdown.HORIZON):
                action = countdown.random_action(task, actions, generator)
                steps.append((task, actions, action))
                if environment.step(task, actions, action).done:
                    break
                actions += (action,)
    return steps


def reasoning_steps(options: Options) -> list[Step]:
    """Half demonstrations of mixed quality, half random lines; chains and decisive chains."""
    generator, steps = random.Random(0), list[Step]()
    demonstrator = reasoning.Demonstrator(dict.fromkeys(reasoning.OPERATIONS, 0.9), in_head=0.1, skips=0.1, stops=0.02)
    for task in reasoning.build_panels(options.tasks, 1, 1)["train"].tasks:
        for episode in range(options.episodes):
            if episode % 2:
                steps += steps_of(task, written(reasoning.demonstrate(task, 1, generator, demonstrator)))
            else:
                steps.append((task, (), reasoning.random_action(task, (), generator)))
    return steps


def retrieval_steps(options: Options) -> list[Step]:
    """Demonstrations of mixed quality; their forced answers, which `step` does not see, are left out."""
    generator, steps = random.Random(0), list[Step]()
    searcher = Searcher(dict.fromkeys(PHRASING_OF_WORD, 0.8), early_answer=0.1, useless_search=0.3)
    for task in retrieval.build_panels(options.tasks, 1, 1)["train"].tasks:
        for _ in range(options.episodes):
            steps += steps_of(task, written(demonstrate_search(task, SEARCHES, generator, searcher))[:SEARCHES])
    return steps


def replay(environment: Environment[Any], steps: Sequence[Step]) -> tuple[float, float]:
    """Seconds of processor time, and by the clock, that all the steps take."""
    step, begun, start = environment.step, time.perf_counter(), time.process_time()
    for task, history, action in steps:
        step(task, history, action)
    return time.process_time() - start, time.perf_counter() - begun


def rates(steps: int, seconds: np.ndarray) -> dict[str, Any]:
    """Figures of one environment. seconds: (repeats, 2), processor time and clock."""
    processor, clock = seconds.T
    return {
        "steps": steps,
        "processor_seconds": processor.tolist(),
        "clock_seconds": clock.tolist(),
        "steps_per_second_fastest": steps / float(processor.min()),
        "steps_per_second_median": steps / float(np.median(processor)),
        "steps_per_second_fastest_by_the_clock": steps / float(clock.min()),
        "target": TARGET,
    }


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    environments: dict[str, tuple[Environment[Any], Callable[[Options], list[Step]]]] = {
        "countdown": (countdown.CountdownEnvironment(), countdown_steps),
        "reasoning": (reasoning.ReasoningEnvironment(), reasoning_steps),
        "retrieval": (retrieval.RetrievalEnvironment(), retrieval_steps),
    }
    steps = {name: write(options) for name, (_, write) in environments.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in environments}
    # Repeat -1 fills what the environments keep, and is dropped.
    for repeat in range(-1, options.repeats):
        for name, (environment, _) in environments.items():
            one = replay(environment, steps[name])
            if repeat >= 0:
                seconds[name].append(one)
    found = {name: rates(len(steps[name]), np.array(seconds[name])) for name in environments}
    return {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "sizes": {"tasks": options.tasks, "episodes": options.episodes, "repeats": options.repeats},
        "environments": found,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The numbers as a plain table."""
    table = Table(title="Steps a second on one core: fastest repeat (median)", box=None, pad_edge=False)
    for heading in ("environment", "steps timed", "steps/s", "by the clock", "target"):
        table.add_column(heading, justify="left" if heading == "environment" else "right")
    for name, found in result["environments"].items():
        verdict = "reached" if found["steps_per_second_fastest"] >= found["target"] else "missed"
        rate = f"{found['steps_per_second_fastest']:,.0f} ({found['steps_per_second_median']:,.0f})"
        clock = f"{found['steps_per_second_fastest_by_the_clock']:,.0f}"
        table.add_row(name, f"{found['steps']:,}", rate, clock, f">= {found['target']:,} {verdict}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.puzzles", description=__doc__)
    if min(options.tasks, options.episodes, options.repeats) < 1:
        print("--tasks, --episodes and --repeats must be at least 1", file=sys.stderr)
        return 2
    result = measure(options)
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
