"""Speed of sampling episodes with vLLM on this machine, beside the engine in process.

    python -m benchmarks.vllm_sampling

Both sample the same questions, one episode each, in batches of 1, 32 and 256, from the committed base; no two episodes
of a batch share a history, and no question comes twice, so neither engine profits from another episode's work. They
take turns in every repeat. vLLM (its build for CPUs where there is no GPU) runs in a process of its own with as many
threads as this one; its start is measured apart. Needs vLLM; `nox -s vllm -- benchmark` brings it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks import _kit
from reproduce.core.config import VLLM, RunConfig
from reproduce.core.files import UserError
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalTask, build_panels
from reproduce.plan.open import open_experiment
from reproduce.rollouts import Sampler, UniformStreams
from reproduce.rollouts.opening import open_sampler
from reproduce.rollouts.streams import stream_length
from reproduce.rollouts.vllm_engine import BUILDS, check_vllm

IN_PROCESS = "in process"


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    batches: tuple[int, ...] = (1, 32, 256)
    """Episodes in a batch."""
    episodes: int = _kit.size(32)
    """Least episodes in a timed repeat: of small batches, several follow each other."""
    rounds: int = _kit.size(5)
    """Cap T on tool rounds."""
    repeats: int = _kit.size(5)
    """Timed repeats of each engine and batch, taken in turns."""
    threads: int = _kit.size(1)
    """Threads of each engine."""


def sample(sampler: Sampler, tasks: Sequence[RetrievalTask], batch: int, rounds: int, name: str) -> tuple[int, int]:
    """One episode of every task, `batch` of them at a time: tokens sampled, and successes."""
    sampled = successes = 0
    longest = stream_length(rounds, sampler.config.longest_action)
    for first in range(0, len(tasks), batch):
        part = tasks[first : first + batch]
        count = len(part)
        streams = UniformStreams((f"{name} {first}",), count, longest)
        found = sampler.sample(part, range(count), [rounds] * count, range(count), streams)
        sampled, successes = sampled + found.sampled_tokens, successes + int(found.successes.sum())
    return sampled, successes


def base_run() -> RunConfig:
    """The run that evaluates the committed base."""
    plan = open_experiment("pass_kt", "laptop", (), Path()).plan
    return next(run for run in plan if run.training is None and run.seed == 0)


def compare(samplers: dict[str, Sampler], tasks: list[RetrievalTask], batch: int, options: Options) -> dict[str, Any]:
    """Both engines at one size of batch, on questions of their own in each repeat."""
    count = len(tasks) // (options.repeats + 1)
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in samplers}

    def repeat_of(name: str, repeat: int) -> None:
        part = tasks[(repeat + 1) * count : (repeat + 2) * count]
        one = sample(samplers[name], part, batch, options.rounds, f"benchmark {batch} {repeat}")
        if repeat >= 0:
            found[name].append(one)

    # The dropped repeat fills caches of words and indices and lets vLLM compile what it compiles.
    turns = {name: lambda repeat, name=name: repeat_of(name, repeat) for name in samplers}
    seconds = _kit.take_turns(turns, options.repeats)
    return {
        "seconds": seconds,
        "tokens_per_second": {
            name: [tokens / elapsed for (tokens, _), elapsed in zip(found[name], seconds[name], strict=True)]
            for name in samplers
        },
        "success": {name: sum(won for _, won in rows) / (count * options.repeats) for name, rows in found.items()},
    }


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file. Raises UserError where vLLM is not there."""
    if min(options.batches) < 1:
        raise UserError("--batches must be at least 1")
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # vLLM's process inherits it.
    check_vllm()
    run, folder = base_run(), committed_folder(0)
    sizes = {batch: max(batch, options.episodes) * (options.repeats + 1) for batch in options.batches}
    tasks = list(build_panels(1, sum(sizes.values()), 1)["test"].select("bridge"))
    on_vllm = replace(run, hardware=replace(run.hardware, engine=VLLM))
    start_seconds, engine = _kit.clock(lambda: open_sampler(folder, on_vllm))
    samplers = {VLLM: engine, IN_PROCESS: open_sampler(folder, run)}
    engines = {}
    for batch, questions in sizes.items():
        engines[str(batch)] = compare(samplers, tasks[:questions], batch, options)
        tasks = tasks[questions:]
    return {
        "vllm": {name: _version(name) for name in BUILDS.values() if _version(name)},
        "model": str(Path(*folder.parts[-2:])),
        "sizes": asdict(run.sampling),
        "start_seconds": start_seconds,
        "batches": engines,
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Tokens per second of both, and their ratio."""
    rows = []
    for batch, found in result["batches"].items():
        rates = found["tokens_per_second"]
        cells = [f"{np.median(rates[name]):,.0f} ({max(rates[name]):,.0f})" for name in (VLLM, IN_PROCESS)]
        # Tokens take the place of seconds: how many times as many vLLM samples.
        rows.append((batch, *cells, _kit.ratio_text(_kit.ratio(rates[IN_PROCESS], rates[VLLM]))))
    headings = ("batch", VLLM, IN_PROCESS, f"{VLLM} / {IN_PROCESS}")
    title = "Sampled tokens/s of the median repeat (of the fastest)"
    return [_kit.Block(title, headings, rows), f"vLLM was ready after {result['start_seconds']:.0f} s"]


main = _kit.Benchmark("vllm_sampling", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
