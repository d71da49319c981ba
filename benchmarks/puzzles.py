"""Steps per second on one core of the environments without a game engine: countdown, reasoning, retrieval.

    python -m benchmarks.puzzles

Episodes are written down first, by demonstrators who make mistakes and by random policies; timed is the replay of all
their steps, each with its history, so that nothing but `step` counts. The environments take turns, and the fastest
repeat counts. The rate is of processor time, since other programs may hold the cores. The first pass over a task
fills what an environment keeps of it (retrieval: the search index), as in training, and is not timed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import _kit
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
class Options(_kit.Options):
    """Sizes of the measurement."""

    tasks: int = _kit.size(64)
    """Tasks of each train panel, or of each of its categories."""
    episodes: int = _kit.size(8)
    """Episodes of each task."""
    repeats: int = _kit.size(7)
    """Timed passes over all steps of each environment, taken in turns."""


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
                turns = countdown.demonstrate(task, countdown.HORIZON, generator, demonstrator)
                steps += steps_of(task, written(turns))
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


def replay(environment: Environment[Any], steps: Sequence[Step]) -> float:
    """Seconds of processor time that all the steps take."""
    step, start = environment.step, time.process_time()
    for task, history, action in steps:
        step(task, history, action)
    return time.process_time() - start


def measure(options: Options) -> dict[str, Any]:
    """Seconds of each pass over the steps of each environment."""
    environments: dict[str, tuple[Environment[Any], Callable[[Options], list[Step]]]] = {
        "countdown": (countdown.CountdownEnvironment(), countdown_steps),
        "reasoning": (reasoning.ReasoningEnvironment(), reasoning_steps),
        "retrieval": (retrieval.RetrievalEnvironment(), retrieval_steps),
    }
    steps = {name: write(options) for name, (_, write) in environments.items()}
    passes = {name: partial(replay, environment, steps[name]) for name, (environment, _) in environments.items()}
    seconds = _kit.take_turns({name: lambda _, run=run: run() for name, run in passes.items()}, options.repeats)
    return {
        "environments": {
            name: {
                "steps": len(steps[name]),
                "processor_seconds": processor,
                "steps_per_second_fastest": len(steps[name]) / min(processor),
                "steps_per_second_median": len(steps[name]) / float(np.median(processor)),
                "target": TARGET,
            }
            for name, processor in seconds.items()
        }
    }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Rates beside their target."""
    rows = []
    for name, found in result["environments"].items():
        fastest, median = found["steps_per_second_fastest"], found["steps_per_second_median"]
        reached = _kit.verdict(fastest >= TARGET, f">= {TARGET:,}")
        rows.append((name, f"{found['steps']:,}", f"{fastest:,.0f}", f"{median:,.0f}", reached))
    headings = ("environment", "steps timed", "steps/s, fastest", "median", "target")
    return [_kit.Block("Steps per second of processor time on one core", headings, rows)]


main = _kit.Benchmark("puzzles", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
