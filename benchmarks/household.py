"""Speed of a step in the household, against the stock engine on the same actions.

    python -m benchmarks.household
    python -m benchmarks.household --alfworld-data DIR --steps 2000 --out official.json

Stock is TextWorld's PDDL environment with ALFWorld's names; ours is `HouseholdEnvironment`, fresh for each episode so
that every step goes through the engine; between them, stock with nothing changed but its grammar. All three take the
same actions in turns, in each episode some random admissible commands and then the engine's plan to the goal. Every
text, verdict and list of admissible commands is compared. Only steps are timed, in blocks of a tenth of them; other
programs on the machine disturb absolute times, ratios less.

Then, ours alone: episodes of several tasks that take turns, as in sampling, where the engine has to change its
position at every step; the first and the later start of a game; and how often a random policy succeeds.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks import _kit
from reproduce.environments.household import (
    HORIZON,
    HouseholdEnvironment,
    HouseholdTask,
    build_panels,
    random_action,
    tables,
)
from reproduce.environments.household.environment import loaded_game
from reproduce.environments.household.selection import build_official_panels
from reproduce.environments.household.tasks import OfficialTask

TARGET = 10.0
"""Target: times the steps/s of the stock engine."""
BLOCKS = 10
STOCK, DROPPED_IN, OURS = "stock", "stock with our grammar", "ours"
LONGEST_WALK = 40
"""One more than the random steps of an episode."""


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    steps: int = _kit.size(10_000, least=BLOCKS)
    """Steps that all engines take."""
    per_category: int = _kit.size(5)
    """Tasks of each of the six categories, from the train panel."""
    random_episodes: int = 1_200
    """Episodes of the random policy."""
    seed: int = 0
    alfworld_data: Path | None = None
    """Folder of ALFWorld's own games; each of its panels takes the place of the generated train panel."""


def stock_engine(task: HouseholdTask, fast_grammar: bool) -> Any:
    """TextWorld's own environment on a task, with ALFWorld's own names."""
    from alfworld.agents.utils.misc import Demangler
    from textworld import EnvInfos
    from textworld.envs.pddl.pddl import PddlEnv

    from reproduce.environments.household.grammar import FastGrammar

    engine = PddlEnv(EnvInfos(won=True, admissible_commands=True))
    official = isinstance(task, OfficialTask)
    domain, grammar = (task.domain, task.grammar) if official else (tables.domain(), tables.grammar())
    grammar = grammar.replace(tables.UNKNOWN_GOAL, task.instruction)
    engine.load({"pddl_domain": domain, "grammar": grammar, "pddl_problem": task.problem})
    names = Demangler(game_infos=engine._entity_infos)
    for entity in engine._entity_infos.values():
        entity.name = names.demangle_alfred_name(entity.id)
    if fast_grammar:
        engine._logic.grammar = FastGrammar.of(engine._logic.grammar)
    return engine


def tasks_of(options: Options) -> Sequence[HouseholdTask]:
    """The tasks that are played."""
    count, folder = options.per_category, options.alfworld_data
    if folder is None:
        return build_panels(count, 1, 1)["train"].tasks
    return [task for panel in build_official_panels(folder, count, count, count).values() for task in panel.tasks]


def compare(tasks: Sequence[HouseholdTask], options: Options) -> dict[str, Any]:
    """The same steps in all three; how they differ and how long they take, in blocks of a tenth of the steps."""
    seconds: _kit.Seconds = {name: [0.0] * BLOCKS for name in (STOCK, DROPPED_IN, OURS)}
    generator = random.Random(options.seed)
    done_steps = expert_steps = different = 0
    engines = {task: [stock_engine(task, fast_grammar) for fast_grammar in (False, True)] for task in tasks}

    def step(name: str, call: Any, *arguments: Any) -> Any:
        elapsed, found = _kit.clock(lambda: call(*arguments))
        seconds[name][done_steps * BLOCKS // options.steps] += elapsed
        return found

    for task in itertools.cycle(tasks):
        if done_steps == options.steps:
            break
        states = [engine.reset() for engine in engines[task]]
        environment, history = HouseholdEnvironment("full"), ()
        different += environment.reset(task) != states[0].feedback
        random_steps, planned = generator.randrange(LONGEST_WALK), None
        for place in range(options.steps - done_steps):
            commands = environment.commands(task, history)
            different += any(list(commands) != state["admissible_commands"] for state in states)
            if place < random_steps:
                action = generator.choice(commands)
            else:
                planned = planned or plan_from(task, environment.position(task, history))
                action = planned.pop(0)
                expert_steps += 1
            named = zip((STOCK, DROPPED_IN), engines[task], strict=True)
            outcomes = [step(name, engine.step, action) for name, engine in named]
            observed = step(OURS, environment.step, task, history, action)
            history += (action,)
            states = [state for state, _, _ in outcomes]
            texts = {environment.position(task, history).text, *(state.feedback for state in states)}
            verdicts = {observed.done, observed.success, *(done for _, _, done in outcomes)}
            different += (len(texts) != 1) + (len(verdicts) != 1)
            done_steps += 1
            if observed.done:
                break
    return {"steps": done_steps, "expert_steps": expert_steps, "differences": different, "seconds": seconds}


def plan_from(task: HouseholdTask, position: Any) -> list[str]:
    """The expert's commands from a position."""
    from reproduce.environments.household.walkthrough import walkthrough

    game = loaded_game(task)
    return list(walkthrough(game, task, position) if isinstance(task, OfficialTask) else game.plan(position))


def take_turns(tasks: Sequence[HouseholdTask], options: Options, episodes: int = 4) -> float:
    """Steps/s of terse random episodes, several a task, that take turns after each step; the fastest of three."""
    rates = []
    for repeat in range(3):
        environment, generator = HouseholdEnvironment(), random.Random(options.seed + repeat)
        histories: list[tuple[HouseholdTask, list[str]]] = [(task, []) for task in tasks for _ in range(episodes)]
        seconds, steps = 0.0, 0
        for _ in range(HORIZON):
            for task, history in histories:
                past = tuple(history)
                action = generator.choice(environment.commands(task, past))
                start = time.perf_counter()
                environment.step(task, past, action)
                seconds += time.perf_counter() - start
                history.append(action)
                steps += 1
        rates.append(steps / seconds)
    return max(rates)


def start_up(tasks: Sequence[HouseholdTask]) -> dict[str, float]:
    """Seconds to start a game: the first time, and from the cache in another process."""
    seconds: _kit.Seconds = {}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, RL_CLAIMS_CACHE=folder):
        for kind in ("first", "cached"):
            loaded_game.cache_clear()
            seconds[kind] = [_kit.clock(lambda task=task: HouseholdEnvironment().reset(task))[0] for task in tasks]
    return {kind: median(times) for kind, times in seconds.items()}


def random_policy(options: Options) -> dict[str, float]:
    """Share of episodes that the uniformly random policy wins in each panel, within HORIZON."""
    shares = {}
    for name, panel in build_panels(options.per_category, options.per_category, options.per_category).items():
        generator, won = random.Random(f"{options.seed} {name}"), 0
        environment = HouseholdEnvironment()
        count = max(1, options.random_episodes // 3)
        for place in range(count):
            task, history = panel.tasks[place % len(panel.tasks)], ()
            for _ in range(HORIZON):
                action = random_action(task, history, generator)
                observation = environment.step(task, history, action)
                history += (action,)
                if observation.done:
                    won += 1
                    break
        shares[name] = won / count
    return shares


def measure(options: Options) -> dict[str, Any]:
    """All numbers; the exit code is 1 where texts, verdicts or commands differ."""
    with tempfile.TemporaryDirectory() as folder:
        # Importing alfworld creates this folder.
        os.environ.setdefault("ALFWORLD_DATA", folder)
        tasks = tasks_of(options)
        compared = compare(tasks, options)
        return {
            "compared": compared,
            "differences": compared["differences"],
            "steps_per_second_taking_turns": take_turns(tasks, options),
            "start_seconds": start_up(tasks),
            "random_success": {} if options.alfworld_data else random_policy(options),
        }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Rates beside the stock engine's."""
    compared, target = result["compared"], f"{TARGET:.0f} times stock in every block"
    seconds, steps = compared["seconds"], compared["steps"]
    rows = []
    for name, own in seconds.items():
        times = [slow / fast for slow, fast in zip(seconds[STOCK], own, strict=True)]
        rates = (steps / sum(own), steps / BLOCKS / min(own))
        ratio = _kit.ratio_text(_kit.ratio(own, seconds[STOCK]), 1)
        rows.append((name, *(f"{rate:,.1f}" for rate in rates), ratio, f"{min(times):.1f}"))
    return [
        f"{steps} steps, {compared['expert_steps']} of them an expert's; {compared['differences']} differences in "
        "texts, verdicts and admissible commands",
        _kit.Block("Steps", ("engine", "steps/s", "fastest block", "times stock", "worst block"), rows),
        f"target {_kit.verdict(float(rows[-1][-1]) >= TARGET, target)}",
        f"episodes that take turns: {result['steps_per_second_taking_turns']:.0f} steps/s",
        ", ".join(f"start {kind} {1000 * value:.1f} ms" for kind, value in result["start_seconds"].items()),
        ", ".join(f"random policy {name} {share:.2%}" for name, share in result["random_success"].items()),
    ]


main = _kit.Benchmark("household", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
