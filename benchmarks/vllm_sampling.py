"""How fast vLLM samples episodes on this machine, beside the engine in process.

    python -m benchmarks.vllm_sampling

Both sample the same questions, one episode each, in batches of 1, 32 and 256, from the committed base; no two episodes
of a batch share a history, and no question comes twice, so neither engine profits from another episode's work. They
take turns in every repeat. vLLM (its build for CPUs where there is no GPU) runs in a process of its own with as many
threads as this one; its start is measured apart. Needs vLLM; `nox -s vllm -- benchmark` brings it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from reproduce.core.config import VLLM, RunConfig
from reproduce.core.files import UserError, write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalTask, build_panels
from reproduce.plan.open import open_experiment
from reproduce.rollouts import Sampler, UniformStreams
from reproduce.rollouts.opening import open_sampler
from reproduce.rollouts.streams import stream_length
from reproduce.rollouts.vllm_engine import BUILDS, check_vllm

IN_PROCESS = "in process"


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    batches: tuple[int, ...] = (1, 32, 256)
    """Episodes in a batch."""
    episodes: int = 32
    """Least episodes in a timed repeat: of small batches, several follow each other."""
    rounds: int = 5
    """Cap T on tool rounds."""
    repeats: int = 5
    """Timed repeats of each engine and batch, taken in turns."""
    threads: int = 1
    """Threads of each engine."""
    out: Path = Path("reports/benchmarks/vllm_sampling.json")
    """Where the numbers go."""


@dataclass(frozen=True)
class Timed:
    """One repeat of one engine at one size of batch."""

    seconds: float
    episodes: int
    sampled_tokens: int
    successes: int


def timed(sampler: Sampler, tasks: Sequence[RetrievalTask], batch: int, rounds: int, name: str) -> Timed:
    """One episode of every task, `batch` of them at a time."""
    sampled = successes = 0
    longest = stream_length(rounds, sampler.config.longest_action)
    start = time.perf_counter()
    for first in range(0, len(tasks), batch):
        part = tasks[first : first + batch]
        count = len(part)
        streams = UniformStreams((f"{name} {first}",), count, longest)
        found = sampler.sample(part, range(count), [rounds] * count, range(count), streams)
        sampled, successes = sampled + found.sampled_tokens, successes + int(found.successes.sum())
    return Timed(time.perf_counter() - start, len(tasks), sampled, successes)


def base_run() -> RunConfig:
    """The run that evaluates the committed base."""
    plan = open_experiment("pass_kt", "laptop", (), Path()).plan
    return next(run for run in plan if run.training is None and run.seed == 0)


def rates(repeats: Sequence[Timed]) -> dict[str, Any]:
    """Figures of one engine at one size of batch: of the median and of the fastest repeat."""
    tokens = np.array([one.sampled_tokens / one.seconds for one in repeats])
    episodes = np.array([one.episodes / one.seconds for one in repeats])
    return {
        "seconds": [one.seconds for one in repeats],
        "success": sum(one.successes for one in repeats) / sum(one.episodes for one in repeats),
        "sampled_tokens_per_episode": sum(one.sampled_tokens for one in repeats) / sum(one.episodes for one in repeats),
        "median": {"tokens_per_second": float(np.median(tokens)), "episodes_per_second": float(np.median(episodes))},
        "fastest": {"tokens_per_second": float(tokens.max()), "episodes_per_second": float(episodes.max())},
    }


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    run, folder = base_run(), committed_folder(0)
    sizes = {batch: max(batch, options.episodes) for batch in options.batches}
    questions = sum(sizes.values()) * (options.repeats + 1)
    tasks = build_panels(1, questions, 1)["test"].select("bridge")
    started = time.perf_counter()
    samplers = {VLLM: open_sampler(folder, replace(run, hardware=replace(run.hardware, engine=VLLM)))}
    start_seconds = time.perf_counter() - started
    samplers[IN_PROCESS] = open_sampler(folder, run)
    measured: dict[tuple[str, int], list[Timed]] = {(name, batch): [] for name in samplers for batch in sizes}
    place = 0
    # Repeat -1 fills caches of words and indices and lets vLLM compile what it compiles, and is dropped.
    for repeat in range(-1, options.repeats):
        for batch, count in sizes.items():
            part = tasks[place : place + count]
            place += count
            for name, sampler in samplers.items():
                one = timed(sampler, part, batch, options.rounds, f"benchmark {batch} {repeat}")
                if repeat >= 0:
                    measured[name, batch].append(one)
    build = next(name for name in BUILDS.values() if _version(name))
    return {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions() | {build: _version(build)},
        "model": str(Path(*folder.parts[-2:])),
        "sizes": {
            **{name: value for name, value in asdict(options).items() if name != "out"},
            **asdict(run.sampling),
        },
        "start_seconds": start_seconds,
        "engines": {name: {str(batch): rates(measured[name, batch]) for batch in options.batches} for name in samplers},
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def show(result: dict[str, Any], console: Console) -> None:
    """The numbers as a plain table."""
    table = Table(title="Sampled tokens/s of the median repeat (of the fastest)", box=None, pad_edge=False)
    for heading in ("batch", *result["engines"], "ratio of medians"):
        table.add_column(heading, justify="right")
    for batch in result["engines"][VLLM]:
        found = [engine[batch] for engine in result["engines"].values()]
        medians = [one["median"]["tokens_per_second"] for one in found]
        cells = [
            f"{one['median']['tokens_per_second']:,.0f} ({one['fastest']['tokens_per_second']:,.0f})" for one in found
        ]
        table.add_row(batch, *cells, f"{medians[0] / medians[1]:.2f}")
    console.print(table)
    console.print(f"vLLM was ready after {result['start_seconds']:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit or vLLM is not there."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.vllm_sampling", description=__doc__)
    if min(*options.batches, options.episodes, options.rounds, options.repeats, options.threads) < 1:
        print("every number must be at least 1", file=sys.stderr)
        return 2
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # vLLM's process inherits it.
    try:
        check_vllm()
        result = measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
