"""Speed of making, loading and playing cooking games, beside TextWorld's own environment on the same commands.

    python -m benchmarks.cooking

Games are made into an empty cache, loaded from it, and played twice: once with no position known, once more with all of
them in the cache, as for episodes that share their history. TextWorld's environment (`textworld.start`, no additional
information asked for) plays the same commands in turns with ours. The commands are the careful expert's, demonstrations
of mixed quality and random ones. Last come what a random policy scores and how many words the terse texts have.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _kit
from reproduce.core.machine import available_cores
from reproduce.environments.cooking import (
    CookingEnvironment,
    CookingTask,
    Demonstrator,
    build_panels,
    demonstrate,
    random_action,
    solve,
)
from reproduce.environments.cooking.engine import Engine
from reproduce.environments.cooking.generation import STORY, obtain_game, request_of
from reproduce.environments.protocol import Panel

MAKING_SECONDS, LOADING_SECONDS, STEP_SECONDS = 120.0, 1.0, 1e-3
MIXED = Demonstrator(careless=0.5, wrong_appliance=0.05, wrong_cut=0.05, forgets=0.2, detour=0.3, misspeaks=0.05)
TERSE, FULL, KNOWN, STOCK = "new, terse", "new, full", "known, terse", "textworld"

Episodes = list[tuple[CookingTask, tuple[str, ...]]]


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    games: int = _kit.size(128, least=4)
    """Half of them for training, a quarter each for test and ood."""
    repeats: int = _kit.size(5)
    """Timed repeats, taken in turns."""
    random_episodes: int = _kit.size(5000)
    """Episodes of the random policy."""


def build(games: int) -> dict[str, Panel[CookingTask]]:
    return build_panels(games // 2, games // 4, games - games // 2 - games // 4)


def random_episode(task: CookingTask, generator: random.Random) -> tuple[tuple[str, ...], Any]:
    """The commands of a random policy up to the end or the horizon, and the last observation."""
    environment, history = CookingEnvironment(), ()
    observation = None
    while len(history) < task.horizon and not (observation and observation.done):
        action = random_action(task, history, generator)
        observation = environment.step(task, history, action)
        history = (*history, action)
    return history, observation


def episodes_of(tasks: Sequence[CookingTask]) -> dict[str, Episodes]:
    """Commands by source; every one but the last of an episode leaves the game unfinished."""
    generator = random.Random(0)
    found: dict[str, Episodes] = {"expert": [], "demonstrations": [], "random": []}
    for task in tasks:
        found["expert"].append((task, solve(task)))
        turns = demonstrate(task, task.horizon, generator, MIXED)
        found["demonstrations"].append((task, tuple(turn.text for turn in turns if turn.by_policy)))
        found["random"].append((task, random_episode(task, generator)[0]))
    return found


def play(start: Callable[[CookingTask], Callable[..., Any]], episodes: Episodes) -> float:
    """Seconds of all steps. start: begins an episode and returns what takes its next action."""
    seconds = 0.0
    for task, actions in episodes:
        step = start(task)
        begun = time.perf_counter()
        for place, action in enumerate(actions):
            step(actions[:place], action)
        seconds += time.perf_counter() - begun
    return seconds


def measure_steps(tasks: Sequence[CookingTask], repeats: int) -> dict[str, Any]:
    """Seconds of all steps of each repeat, by source of the commands."""
    import textworld

    stock = {task.identifier: textworld.start(str(obtain_game(request_of(task)) / STORY)) for task in tasks}

    def start_stock(task: CookingTask) -> Callable[..., Any]:
        game = stock[task.identifier]
        game.reset()
        return lambda history, action: game.step(action)

    def ours(mode: str, episodes: Episodes, times: int = 1) -> float:
        environment = CookingEnvironment(mode, Engine())

        def start(task: CookingTask) -> Callable[..., Any]:
            environment.reset(task)
            return partial(environment.step, task)

        for task in tasks:
            environment.reset(task)
        return [play(start, episodes) for _ in range(times)][-1]

    found = {}
    for source, episodes in episodes_of(tasks).items():
        players = {
            TERSE: lambda _, episodes=episodes: ours("terse", episodes),
            FULL: lambda _, episodes=episodes: ours("full", episodes),
            KNOWN: lambda _, episodes=episodes: ours("terse", episodes, times=2),
            STOCK: lambda _, episodes=episodes: play(start_stock, episodes),
        }
        steps = sum(len(actions) for _, actions in episodes)
        found[source] = {"steps": steps, "seconds": _kit.take_turns(players, repeats, dropped=0)}
    return found


def random_policy(tasks: Sequence[CookingTask], episodes: int) -> dict[str, float]:
    """Shares of the ways in which its episodes end."""
    generator, ends = random.Random(1), Counter[str]()
    for episode in range(episodes):
        last = random_episode(tasks[episode % len(tasks)], generator)[1]
        ends["timeout" if not last.done else "success" if last.success else last.failure] += 1
    return {end: count / episodes for end, count in sorted(ends.items())}


def words_of_texts(tasks: Sequence[CookingTask]) -> dict[str, float]:
    """Words of the prompt and of the answers in demonstrations of mixed quality."""
    generator = random.Random(2)
    turns = [demonstrate(task, task.horizon, generator, MIXED) for task in tasks for _ in range(4)]
    prompts = [len(one[0].text.split()) for one in turns]
    answers = [len(turn.text.split()) for one in turns for turn in one[1:] if not turn.by_policy]
    return {
        "prompt_mean": float(np.mean(prompts)),
        "prompt_most": max(prompts),
        "answer_mean": float(np.mean(answers)),
        "answer_99_percent": float(np.quantile(answers, 0.99)),
        "answer_most": max(answers),
    }


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RL_CLAIMS_CACHE"] = cache
        made, panels = _kit.clock(lambda: build(options.games))
        loaded = [_kit.clock(lambda: build(options.games))[0] for _ in range(options.repeats)]
        tasks = panels["train"].tasks
        return {
            "cores": available_cores(),
            "seconds_to_make": made,
            "seconds_to_load": loaded,
            "megabytes": sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file()) / 2**20,
            "steps": measure_steps(tasks, options.repeats),
            "random_policy": random_policy(tasks, options.random_episodes),
            "words": words_of_texts(tasks),
            "targets": {"made": MAKING_SECONDS, "loaded": LOADING_SECONDS, "step": STEP_SECONDS},
        }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """The numbers beside their targets."""
    making, loading, words = result["seconds_to_make"], min(result["seconds_to_load"]), result["words"]
    shares = ", ".join(f"{end} {share:.2%}" for end, share in result["random_policy"].items())
    return [
        f"{result['sizes']['games']} games: made in {making:.1f} s on {result['cores']} cores (target "
        f"{_kit.verdict(making <= MAKING_SECONDS, f'{MAKING_SECONDS:.0f} s')}), then loaded in {loading:.2f} s (target "
        f"{_kit.verdict(loading <= LOADING_SECONDS, f'{LOADING_SECONDS:.0f} s')}); {result['megabytes']:.0f} MB",
        *(
            _kit.comparison(
                f"A step, commands of {source}, {found['steps']} steps",
                found["seconds"],
                TERSE,
                None,
                "µs",
                found["steps"],
            )
            for source, found in result["steps"].items()
        ),
        f"Random policy, {result['sizes']['random_episodes']} episodes: {shares}",
        f"Words, terse: prompt {words['prompt_mean']:.1f} (at most {words['prompt_most']}), answer "
        f"{words['answer_mean']:.1f} (99 % up to {words['answer_99_percent']:.0f}, at most {words['answer_most']})",
    ]


main = _kit.Benchmark("cooking", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
