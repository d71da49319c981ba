"""How fast cooking games are made, loaded and played: beside TextWorld's own environment on the same commands.

    python -m benchmarks.cooking

Games are made into an empty cache, loaded from it, and played twice: once with no position known, once more with all of
them in the cache, as for episodes that share their history. TextWorld's environment (`textworld.start`, no additional
information asked for) plays the same commands in turns with ours; repeats take turns and the fastest counts, as other
programs disturb absolute times more than ratios. The commands are the careful expert's, demonstrations of mixed quality
and random ones. Last come what a random policy scores and how many words the terse texts have.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from reproduce.core.files import write_json
from reproduce.core.machine import available_cores, describe_machine, describe_source, package_versions
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
TARGETS = {"made": MAKING_SECONDS, "loaded": LOADING_SECONDS, "step": STEP_SECONDS}
MIXED = Demonstrator(careless=0.5, wrong_appliance=0.05, wrong_cut=0.05, forgets=0.2, detour=0.3, misspeaks=0.05)

Episodes = list[tuple[CookingTask, tuple[str, ...]]]


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    games: int = 128
    """Half of them for training, a quarter each for test and ood."""
    repeats: int = 5
    """Timed repeats, taken in turns."""
    random_episodes: int = 5000
    """Episodes of the random policy."""
    out: Path = Path("reports/benchmarks/cooking.json")
    """Where the numbers go."""


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the action returns."""
    start = time.perf_counter()
    found = action()
    return time.perf_counter() - start, found


def build(games: int) -> dict[str, Panel[CookingTask]]:
    return build_panels(games // 2, games // 4, games - games // 2 - games // 4)


def episodes_of(tasks: Sequence[CookingTask]) -> dict[str, Episodes]:
    """Commands by source; every one but the last of an episode leaves the game unfinished."""
    generator = random.Random(0)
    environment = CookingEnvironment()
    found: dict[str, Episodes] = {"expert": [], "demonstrations": [], "random": []}
    for task in tasks:
        found["expert"].append((task, solve(task)))
        turns = demonstrate(task, task.horizon, generator, MIXED)
        found["demonstrations"].append((task, tuple(turn.text for turn in turns if turn.by_policy)))
        history: tuple[str, ...] = ()
        while len(history) < task.horizon:
            action = random_action(task, history, generator)
            history = (*history, action)
            if environment.step(task, history[:-1], action).done:
                break
        found["random"].append((task, history))
    return found


def play_ours(environment: CookingEnvironment, episodes: Episodes) -> float:
    """Seconds of all steps."""
    seconds = 0.0
    for task, actions in episodes:
        environment.reset(task)
        start = time.perf_counter()
        for place, action in enumerate(actions):
            environment.step(task, actions[:place], action)
        seconds += time.perf_counter() - start
    return seconds


def play_stock(stock: dict[str, Any], episodes: Episodes) -> float:
    """Seconds of all steps in TextWorld's environment."""
    seconds = 0.0
    for task, actions in episodes:
        game = stock[task.identifier]
        game.reset()
        start = time.perf_counter()
        for action in actions:
            game.step(action)
        seconds += time.perf_counter() - start
    return seconds


def measure_steps(tasks: Sequence[CookingTask], repeats: int) -> dict[str, Any]:
    """Seconds a step, by source of the commands, of the fastest repeat and of the median one."""
    import textworld

    stock = {task.identifier: textworld.start(str(obtain_game(request_of(task)) / STORY)) for task in tasks}
    found: dict[str, Any] = {}
    for source, episodes in episodes_of(tasks).items():
        steps = sum(len(actions) for _, actions in episodes)
        seconds: dict[str, list[float]] = {"new, terse": [], "new, full": [], "known, terse": [], "textworld": []}
        for _ in range(repeats):
            for mode in ("terse", "full"):
                fresh = CookingEnvironment(mode, Engine())
                for task in tasks:
                    fresh.reset(task)
                seconds[f"new, {mode}"].append(play_ours(fresh, episodes))
                if mode == "terse":
                    seconds["known, terse"].append(play_ours(fresh, episodes))
            seconds["textworld"].append(play_stock(stock, episodes))
        found[source] = {
            "steps": steps,
            **{
                name: {"fastest": min(values) / steps, "median": float(np.median(values)) / steps}
                for name, values in seconds.items()
            },
        }
    return found


def random_policy(tasks: Sequence[CookingTask], episodes: int) -> dict[str, float]:
    """Shares of the ways in which its episodes end."""
    generator, environment, ends = random.Random(1), CookingEnvironment(), Counter[str]()
    for episode in range(episodes):
        task, history, end = tasks[episode % len(tasks)], (), "timeout"
        while len(history) < task.horizon:
            action = random_action(task, history, generator)
            observation = environment.step(task, history, action)
            if observation.done:
                end = "success" if observation.success else observation.failure
                break
            history = (*history, action)
        ends[end] += 1
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
        made, panels = timed(lambda: build(options.games))
        loaded = [timed(lambda: build(options.games))[0] for _ in range(options.repeats)]
        size = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
        tasks = panels["train"].tasks
        return {
            "sizes": {**asdict(options), "out": str(options.out)},
            "cores": available_cores(),
            "seconds_to_make": made,
            "seconds_to_load": {"fastest": min(loaded), "median": float(np.median(loaded))},
            "megabytes": size / 2**20,
            "seconds_a_step": measure_steps(tasks, options.repeats),
            "random_policy": random_policy(tasks, options.random_episodes),
            "words": words_of_texts(tasks),
            "targets": TARGETS,
            "machine": describe_machine(),
            "source": describe_source(),
            "versions": package_versions(),
        }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the numbers."""
    games, making, loading = result["sizes"]["games"], result["seconds_to_make"], result["seconds_to_load"]["fastest"]
    console.print(
        f"{games} games: made in {making:.1f} s on {result['cores']} cores (target {MAKING_SECONDS:.0f} s,"
        f" {_verdict(making, MAKING_SECONDS)}), then loaded in {loading:.2f} s (target {LOADING_SECONDS:.0f} s,"
        f" {_verdict(loading, LOADING_SECONDS)}); {result['megabytes']:.0f} MB"
    )
    table = Table(title="Microseconds a step, fastest repeat (median)", box=None)
    for heading in ("commands", "steps", "new, terse", "new, full", "known, terse", "textworld", "textworld / terse"):
        table.add_column(heading, justify="left" if heading == "commands" else "right")
    for source, found in result["seconds_a_step"].items():
        cells = [
            f"{1e6 * found[name]['fastest']:,.0f} ({1e6 * found[name]['median']:,.0f})"
            for name in ("new, terse", "new, full", "known, terse", "textworld")
        ]
        ratio = found["textworld"]["fastest"] / found["new, terse"]["fastest"]
        table.add_row(source, str(found["steps"]), *cells, f"{ratio:.2f}")
    console.print(table)
    shares = ", ".join(f"{end} {share:.2%}" for end, share in result["random_policy"].items())
    console.print(f"Random policy, {result['sizes']['random_episodes']} episodes: {shares}")
    words = result["words"]
    console.print(
        f"Words, terse: prompt {words['prompt_mean']:.1f} (at most {words['prompt_most']}), answer"
        f" {words['answer_mean']:.1f} (99 % up to {words['answer_99_percent']:.0f}, at most {words['answer_most']})"
    )


def _verdict(seconds: float, target: float) -> str:
    return "reached" if seconds <= target else "missed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.cooking", description=__doc__)
    if options.games < 4 or min(options.repeats, options.random_episodes) < 1:
        print("--games must be at least 4, --repeats and --random-episodes at least 1", file=sys.stderr)
        return 2
    result = measure(options)
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
