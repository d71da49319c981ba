"""Speed of sampling episodes, against a full re-prefill each turn, TRL's tool loop and the machine's roofline.

    python -m benchmarks.sampling

Four rollouts of the same law, from the same model, questions and temperature, take turns: ours with shared histories,
ours with a row for each episode, `generate` on the whole history at every turn, and the `environment_factory` loop of
TRL's `GRPOTrainer` (generation alone, without rewards and advantages). They must agree in success rate, in rounds and
in tokens an episode up to sampling noise, and the table says how well they do. Seconds are those of the processor.

The last table sets our sampler's seconds beside a lower bound from measured arithmetic and memory bandwidth, whose
formula is in `benchmarks/_roofline.py`, for the batch above and for the batch of the evaluation (every cap T, both
estimators). Where histories are shared, only tokens that went through the model count.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks import _kit
from benchmarks._rollouts import Measured, ToolLoop, sample_ours, sample_with_prefill
from benchmarks._roofline import (
    Architecture,
    CountSampled,
    Machine,
    architecture_of,
    fastest,
    lower_bound,
    measure_machine,
    weight_matrices,
)
from reproduce.core.config import EvaluationConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask, build_panels
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.cells import cells_of
from reproduce.rollouts.evaluation import sample_cells
from reproduce.rollouts.policies import load_policy

SHARED, OWN_ROWS, PREFILL, TOOL_LOOP = "shared histories", "own rows", "re-prefill", "TRL tool loop"
EVALUATION = "evaluation batch"
TARGETS = {PREFILL: 3.0, TOOL_LOOP: 5.0}
"""Targets: times the episodes/s of these."""
ROOFLINE_TARGET = 0.30


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    model: Path | None = None
    """Checkpoint folder of a warm-started base; the one that comes with the package if not given."""
    episodes: int = _kit.size(1024)
    """Episodes in a batch, a multiple of the questions."""
    questions: int = _kit.size(8)
    """Bridge questions of the test panel."""
    rounds: int = _kit.size(5)
    """Cap T on tool rounds."""
    repeats: int = _kit.size(5)
    """Timed batches of each rollout, taken in turns."""
    threads: int = _kit.size(1, least=0)
    """Threads of torch; 0 for all cores."""


def summary(measured: Sequence[Measured]) -> dict[str, Any]:
    """Figures of one rollout over its repeats."""
    sampled, forward, computed = (
        float(np.mean(values))
        for values in (
            [one.sampled.sum() for one in measured],
            [one.work.forward_tokens for one in measured],
            [one.work.computed_positions for one in measured],
        )
    )
    episodes = len(measured[0].success)
    return {
        "seconds": [one.seconds for one in measured],
        "episodes": episodes,
        "success": float(np.mean([one.success.mean() for one in measured])),
        "rounds_per_episode": float(np.mean([one.rounds.mean() for one in measured])),
        "sampled_tokens_per_episode": sampled / episodes,
        "forward_tokens_per_batch": forward,
        "positions_with_padding_per_batch": computed,
    }


def standard_errors_apart(one: Sequence[np.ndarray], other: Sequence[np.ndarray], questions: int) -> float:
    """Difference of two means over the same questions, in standard errors.

    one, other: an array for each repeat, (episodes,), episodes of a question side by side. Questions are fixed, so only
    the variance within a question counts.
    """
    first, second = (
        np.concatenate([values.reshape(questions, -1) for values in batches], axis=1).astype(float)
        for batches in (one, other)
    )
    variance = first.var(axis=1).sum() / first.shape[1] + second.var(axis=1).sum() / second.shape[1]
    difference = (first.mean(axis=1) - second.mean(axis=1)).sum()
    return float(difference / np.sqrt(variance)) if variance > 0 else 0.0


def sample_evaluation(
    sampler: EpisodeSampler[RetrievalTask], tasks: Sequence[RetrievalTask], samples: int, name: str
) -> Measured:
    """One batch of the evaluation, sampled as the evaluation samples it."""
    cells = cells_of(tasks, "test", "benchmark", name, EvaluationConfig(samples=samples))
    with CountSampled(sampler) as counted:
        seconds, (batch, _, _) = _kit.clock(lambda: sample_cells(sampler, tasks, cells), time.process_time)
    counted.work.forward_tokens = batch.forward_tokens
    rounds = np.array([trajectory.rounds for trajectory in batch.trajectories])
    sampled = np.array([int(trajectory.from_policy.sum()) for trajectory in batch.trajectories])
    which = batch.trajectory_of_episode
    return Measured(seconds, batch.successes, rounds[which], sampled[which], counted.work)


def roofline_share(measured: Sequence[Measured], architecture: Architecture, machine: Machine) -> dict[str, Any]:
    """The bound of the fastest repeat and the share of it that was reached."""
    best = min(measured, key=lambda one: one.seconds)
    compute, key_value = lower_bound(architecture, best.work, machine)
    whole = sum(lower_bound(architecture, best.work, machine, whole_history=True))
    return {
        "seconds": best.seconds,
        "work": asdict(best.work),
        "compute_seconds": compute,
        "key_value_seconds": key_value,
        "share": (compute + key_value) / best.seconds,
        "whole_history_share": whole / best.seconds,
    }


def checked(options: Options) -> Path:
    """The folder of the checkpoint. Raises UserError where there is none, and for episodes that do not divide."""
    folder = options.model or committed_folder(0)
    if not (folder / "config.json").is_file():
        raise UserError(f"no checkpoint in {folder}; name one with --model")
    if options.episodes < 2 * options.questions or options.episodes % options.questions:
        given = f"--episodes {options.episodes} is not a multiple of --questions {options.questions}"
        raise UserError(f"{given}, or not two each")
    return folder


def measure(options: Options) -> dict[str, Any]:
    """All numbers, with the threads of torch that were asked for."""
    folder, threads = checked(options), torch.get_num_threads()
    transformers_logging.set_verbosity_error()
    try:
        torch.set_num_threads(options.threads or threads)
        return measure_rollouts(options, folder)
    finally:
        torch.set_num_threads(threads)


def measure_rollouts(options: Options, folder: Path) -> dict[str, Any]:
    """All rollouts in turns, the machine in between."""
    samples, sampling = options.episodes // options.questions, SamplingConfig()
    tasks = build_panels(1, options.questions, 1)["test"].select("bridge")
    task_of_episode = np.repeat(np.arange(options.questions), samples)
    model, tokenizer = load_policy(folder)
    model.eval()
    names = (SHARED, OWN_ROWS, EVALUATION)
    samplers = {name: EpisodeSampler(model, tokenizer, RetrievalEnvironment(), sampling) for name in names}
    architecture, matrices = architecture_of(model), weight_matrices(model)
    measured: dict[str, list[Measured]] = {name: [] for name in (SHARED, OWN_ROWS, PREFILL, TOOL_LOOP, EVALUATION)}
    machines: list[Machine] = []

    def ours(name: str, repeat: int) -> Measured:
        # Both get the same streams in a repeat, hence the same episodes: they differ in time alone.
        stream = f"benchmark {repeat}"
        return sample_ours(samplers[name], tasks, task_of_episode, options.rounds, stream, name == SHARED)

    with tempfile.TemporaryDirectory() as scratch:
        loop = ToolLoop(*load_policy(folder), sampling, tasks, samples, options.rounds, Path(scratch))
        rollouts: dict[str, Callable[[int], Measured]] = {
            SHARED: partial(ours, SHARED),
            OWN_ROWS: partial(ours, OWN_ROWS),
            PREFILL: lambda repeat: sample_with_prefill(
                model, tokenizer, sampling, tasks, task_of_episode, options.rounds, repeat + 1
            ),
            TOOL_LOOP: lambda repeat: loop.sample(1_000 + repeat),
            EVALUATION: lambda repeat: sample_evaluation(
                samplers[EVALUATION], tasks, samples, f"benchmark evaluation {repeat}"
            ),
        }

        def one(name: str, repeat: int) -> float:
            if name == SHARED:
                machines.append(measure_machine(matrices, options.episodes))
            found = rollouts[name](repeat)
            if repeat >= 0:
                measured[name].append(found)
            return found.seconds

        # The dropped repeat fills caches of words, indices and memory.
        _kit.take_turns({name: partial(one, name) for name in rollouts}, options.repeats)
    variants = {name: summary(found) for name, found in measured.items()}
    for name in (SHARED, PREFILL, TOOL_LOOP):
        for quantity in ("success", "rounds", "sampled"):
            pair = ([getattr(run, quantity) for run in measured[which]] for which in (name, OWN_ROWS))
            variants[name][f"standard_errors_from_own_rows_{quantity}"] = standard_errors_apart(
                *pair, options.questions
            )
    machine = fastest(machines)
    shares = {name: roofline_share(measured[name], architecture, machine) for name in (SHARED, OWN_ROWS, EVALUATION)}
    return {
        "model": folder.name,
        "sizes": {"threads": torch.get_num_threads(), **asdict(sampling), **asdict(architecture)},
        "variants": variants,
        "roofline": {
            "gigaflops_model_products": machine.model_flops / 1e9,
            "gigaflops_square_product": machine.square_flops / 1e9,
            "gigabytes_per_second_copy": machine.copy_bytes / 1e9,
            "target": ROOFLINE_TARGET,
            "shares": shares,
        },
    }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Rates, agreement, ratios and shares of the roofline."""
    variants, roofline = result["variants"], result["roofline"]
    rates, laws, ratios = [], [], []
    for name, found in variants.items():
        best, middle = (found["episodes"] / at(found["seconds"]) for at in (min, np.median))
        tokens = (found["sampled_tokens_per_episode"], found["forward_tokens_per_batch"] / found["episodes"])
        rates.append((name, *(f"{best * each:,.0f} ({middle * each:,.0f})" for each in (1, *tokens))))
        apart = {
            quantity: f" ({found[key]:+.1f})" if (key := f"standard_errors_from_own_rows_{quantity}") in found else ""
            for quantity in ("success", "rounds", "sampled")
        }
        laws.append(
            (
                name,
                f"{found['success']:.3f}{apart['success']}",
                f"{found['rounds_per_episode']:.2f}{apart['rounds']}",
                f"{found['sampled_tokens_per_episode']:.1f}{apart['sampled']}",
                f"{found['forward_tokens_per_batch']:,.0f}",
                f"{found['positions_with_padding_per_batch']:,.0f}",
            )
        )
    for other, target in TARGETS.items():
        for name in (SHARED, OWN_ROWS):
            ratio = _kit.ratio(variants[name]["seconds"], variants[other]["seconds"])
            reached = _kit.verdict(ratio["median"] >= target, f">= {target:.0f}")
            ratios.append((f"{name} / {other}", _kit.ratio_text(ratio), reached))
    shares = [
        (name, *(f"{share[key]:.3f}" for key in SECONDS), *(f"{share[key]:.1%}" for key in SHARES))
        for name, share in roofline["shares"].items()
    ]
    title = "Rates of the fastest repeat (of the median one)"
    law = "What was sampled, and its distance from `own rows` in standard errors"
    drawn = ("rollout", "success", "rounds", "tokens sampled", "forward tokens", "with padding")
    bound = ("rollout", "seconds", "products", "key-value", "share", "share, every layer reads all")
    return [
        _kit.Block(title, ("rollout", "episodes/s", "sampled tokens/s", "forward tokens/s"), rates),
        _kit.Block(law, drawn, laws),
        _kit.Block("Times as many episodes/s", ("rollouts", "ratio", "target"), ratios),
        f"Machine: {roofline['gigaflops_model_products']:.1f} GFLOP/s in the model's own products, "
        f"{roofline['gigaflops_square_product']:.1f} in a large square one; copy "
        f"{roofline['gigabytes_per_second_copy']:.1f} GB/s",
        _kit.Block(f"Share of the roofline (target {ROOFLINE_TARGET:.0%})", bound, shares),
    ]


SECONDS, SHARES = ("seconds", "compute_seconds", "key_value_seconds"), ("share", "whole_history_share")
main = _kit.Benchmark("sampling", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
