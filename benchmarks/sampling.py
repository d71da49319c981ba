"""How fast episodes are sampled: against a full re-prefill each turn, TRL's tool loop and the machine's roofline.

    python -m benchmarks.sampling

Four rollouts of the same law, from the same model, questions and temperature, take turns: ours with shared histories,
ours with a row for each episode, `generate` on the whole history at every turn, and the `environment_factory` loop of
TRL's `GRPOTrainer` (generation alone, without rewards and advantages). They must agree in success rate, in rounds and
in tokens an episode up to sampling noise, and the table says how well they do. Ratios are of the fastest repeats, and
of the medians beside them. Seconds are those of the processor, one thread: other programs on the machine disturb them
less than those on the clock, and ratios less still.

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
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from benchmarks._rollouts import Measured, ToolLoop, sample_ours, sample_with_prefill
from benchmarks._roofline import (
    CountSampled,
    Machine,
    architecture_of,
    fastest,
    lower_bound,
    measure_machine,
    weight_matrices,
)
from reproduce.core.config import EvaluationConfig, SamplingConfig
from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask, build_panels
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.evaluation import cells_of, sample_cells
from reproduce.rollouts.policies import load_policy

SHARED, OWN_ROWS, PREFILL, TOOL_LOOP = "shared histories", "own rows", "re-prefill", "TRL tool loop"
EVALUATION = "evaluation batch"
TARGETS = {PREFILL: 3.0, TOOL_LOOP: 5.0}
"""How many times the episodes/s of these our sampler is meant to reach."""
ROOFLINE_TARGET = 0.30


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    model: Path | None = None
    """Checkpoint folder of a warm-started base; the one that comes with the package if not given."""
    episodes: int = 1024
    """Episodes in a batch, a multiple of the questions."""
    questions: int = 8
    """Bridge questions of the test panel."""
    rounds: int = 5
    """Cap T on tool rounds."""
    repeats: int = 5
    """Timed batches of each rollout, taken in turns."""
    threads: int = 1
    """Threads of torch; 0 for all cores."""
    out: Path = Path("reports/benchmarks/sampling.json")
    """Where the numbers go."""


def rates(measured: Sequence[Measured]) -> dict[str, Any]:
    """Figures of one rollout over its repeats: per-second figures of the fastest and of the median repeat."""
    seconds = np.array([one.seconds for one in measured])
    episodes = len(measured[0].success)
    sampled = float(np.mean([one.sampled.sum() for one in measured]))
    forward = float(np.mean([one.work.forward_tokens for one in measured]))
    computed = float(np.mean([one.work.computed_positions for one in measured]))
    found: dict[str, Any] = {
        "seconds": seconds.tolist(),
        "success": float(np.mean([one.success.mean() for one in measured])),
        "rounds_per_episode": float(np.mean([one.rounds.mean() for one in measured])),
        "sampled_tokens_per_episode": sampled / episodes,
        "forward_tokens_per_batch": forward,
        "positions_with_padding_per_batch": computed,
    }
    for name, value in (("fastest", seconds.min()), ("median", float(np.median(seconds)))):
        found[name] = {
            "seconds": float(value),
            "episodes_per_second": episodes / value,
            "sampled_tokens_per_second": sampled / value,
            "forward_tokens_per_second": forward / value,
        }
    return found


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
        start = time.process_time()
        batch, _, _ = sample_cells(sampler, tasks, cells)
        seconds = time.process_time() - start
    counted.work.forward_tokens = batch.forward_tokens
    rounds = np.array([trajectory.rounds for trajectory in batch.trajectories])
    sampled = np.array([int(trajectory.from_policy.sum()) for trajectory in batch.trajectories])
    which = batch.trajectory_of_episode
    return Measured(seconds, batch.successes, rounds[which], sampled[which], counted.work)


def roofline_share(measured: Sequence[Measured], architecture: Any, machine: Machine) -> dict[str, Any]:
    """The bound of the fastest repeat and the share of it that was reached."""
    best = min(measured, key=lambda one: one.seconds)
    bound = lower_bound(architecture, best.work, machine)
    whole = lower_bound(architecture, best.work, machine, whole_history=True)
    return {
        "seconds": best.seconds,
        "work": asdict(best.work),
        "compute_seconds": bound.compute_seconds,
        "key_value_seconds": bound.key_value_seconds,
        "bound_seconds": bound.seconds,
        "share": bound.seconds / best.seconds,
        "whole_history_key_value_seconds": whole.key_value_seconds,
        "whole_history_share": whole.seconds / best.seconds,
    }


def measure(options: Options, folder: Path) -> dict[str, Any]:
    """All numbers, ready for the file."""
    samples, sampling = options.episodes // options.questions, SamplingConfig()
    tasks = build_panels(1, options.questions, 1)["test"].select("bridge")
    task_of_episode = np.repeat(np.arange(options.questions), samples)
    model, tokenizer = load_policy(folder)
    model.eval()
    samplers = {
        name: EpisodeSampler(model, tokenizer, RetrievalEnvironment(), sampling)
        for name in (SHARED, OWN_ROWS, EVALUATION)
    }
    architecture, matrices = architecture_of(model), weight_matrices(model)
    with tempfile.TemporaryDirectory() as scratch:
        loop = ToolLoop(*load_policy(folder), sampling, tasks, samples, options.rounds, Path(scratch))

        def ours(name: str) -> Callable[[int], Measured]:
            # Both get the same streams in a repeat, hence the same episodes: they differ in time alone.
            return lambda repeat: sample_ours(
                samplers[name], tasks, task_of_episode, options.rounds, f"benchmark {repeat}", name == SHARED
            )

        rollouts: dict[str, Callable[[int], Measured]] = {
            SHARED: ours(SHARED),
            OWN_ROWS: ours(OWN_ROWS),
            PREFILL: lambda repeat: sample_with_prefill(
                model, tokenizer, sampling, tasks, task_of_episode, options.rounds, repeat
            ),
            TOOL_LOOP: lambda repeat: loop.sample(1_000 + repeat),
            EVALUATION: lambda repeat: sample_evaluation(
                samplers[EVALUATION], tasks, samples, f"benchmark evaluation {repeat}"
            ),
        }
        measured: dict[str, list[Measured]] = {name: [] for name in rollouts}
        machines = []
        # Repeat -1 fills caches of words, indices and memory, and is dropped.
        for repeat in range(-1, options.repeats):
            machines.append(measure_machine(matrices, options.episodes))
            for name, rollout in rollouts.items():
                one = rollout(repeat)
                if repeat >= 0:
                    measured[name].append(one)
    machine = fastest(machines)
    variants = {name: rates(found) for name, found in measured.items()}
    for name in (SHARED, PREFILL, TOOL_LOOP):
        for quantity in ("success", "rounds", "sampled"):
            variants[name][f"standard_errors_from_own_rows_{quantity}"] = standard_errors_apart(
                [getattr(one, quantity) for one in measured[name]],
                [getattr(one, quantity) for one in measured[OWN_ROWS]],
                options.questions,
            )
    ratios = [
        {
            "of": name,
            "to": other,
            "fastest": variants[other]["fastest"]["seconds"] / variants[name]["fastest"]["seconds"],
            "median": variants[other]["median"]["seconds"] / variants[name]["median"]["seconds"],
            "target": target,
        }
        for other, target in TARGETS.items()
        for name in (SHARED, OWN_ROWS)
    ]
    return {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "model": folder.name,
        "sizes": {
            "episodes": options.episodes,
            "questions": options.questions,
            "rounds": options.rounds,
            "repeats": options.repeats,
            "threads": torch.get_num_threads(),
            "evaluation_episodes": len(measured[EVALUATION][0].success),
            **asdict(sampling),
            **asdict(architecture),
        },
        "variants": variants,
        "ratios": ratios,
        "roofline": {
            "gigaflops_model_products": machine.model_flops / 1e9,
            "gigaflops_square_product": machine.square_flops / 1e9,
            "gigabytes_per_second_copy": machine.copy_bytes / 1e9,
            "target": ROOFLINE_TARGET,
            "shares": {
                name: roofline_share(measured[name], architecture, machine) for name in (SHARED, OWN_ROWS, EVALUATION)
            },
        },
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The numbers as plain tables."""
    sizes = result["sizes"]
    console.print(
        f"{sizes['episodes']} episodes of {sizes['questions']} questions, T = {sizes['rounds']}, temperature "
        f"{sizes['temperature']}, {sizes['threads']} thread(s), {sizes['repeats']} repeats; model {result['model']}: "
        f"{sizes['body_parameters'] + sizes['head_parameters']:,} parameters in matrix products"
    )
    table = Table(title="Rates of the fastest repeat (of the median one)", box=None, pad_edge=False)
    for heading in ("rollout", "episodes/s", "sampled tokens/s", "forward tokens/s"):
        table.add_column(heading, justify="left" if heading == "rollout" else "right")
    for name, found in result["variants"].items():
        cells = [
            f"{found['fastest'][rate]:,.0f} ({found['median'][rate]:,.0f})"
            for rate in ("episodes_per_second", "sampled_tokens_per_second", "forward_tokens_per_second")
        ]
        table.add_row(name, *cells)
    console.print(table)
    table = Table(title="What was sampled, and its distance from `own rows` in standard errors", box=None)
    for heading in ("rollout", "success", "rounds", "tokens sampled", "forward tokens", "with padding"):
        table.add_column(heading, justify="left" if heading == "rollout" else "right")
    for name, found in result["variants"].items():
        apart = {
            quantity: f" ({found[key]:+.1f})" if (key := f"standard_errors_from_own_rows_{quantity}") in found else ""
            for quantity in ("success", "rounds", "sampled")
        }
        table.add_row(
            name,
            f"{found['success']:.3f}{apart['success']}",
            f"{found['rounds_per_episode']:.2f}{apart['rounds']}",
            f"{found['sampled_tokens_per_episode']:.1f}{apart['sampled']}",
            f"{found['forward_tokens_per_batch']:,.0f}",
            f"{found['positions_with_padding_per_batch']:,.0f}",
        )
    console.print(table)
    table = Table(title="Times as many episodes/s, fastest repeats (medians)", box=None)
    for heading in ("ours", "compared with", "ratio", "target"):
        table.add_column(heading, justify="right" if heading in ("ratio", "target") else "left")
    for ratio in result["ratios"]:
        verdict = "reached" if ratio["fastest"] >= ratio["target"] else "missed"
        table.add_row(
            ratio["of"],
            ratio["to"],
            f"{ratio['fastest']:.2f} ({ratio['median']:.2f})",
            f">= {ratio['target']:.0f} {verdict}",
        )
    console.print(table)
    roofline = result["roofline"]
    console.print(
        f"Machine: {roofline['gigaflops_model_products']:.1f} GFLOP/s in the model's own products, "
        f"{roofline['gigaflops_square_product']:.1f} in a large square one; copy "
        f"{roofline['gigabytes_per_second_copy']:.1f} GB/s"
    )
    table = Table(title=f"Share of the roofline (target {roofline['target']:.0%})", box=None)
    for heading in ("rollout", "seconds", "products", "key-value", "share", "share, every layer reads all"):
        table.add_column(heading, justify="left" if heading == "rollout" else "right")
    for name, share in roofline["shares"].items():
        table.add_row(
            name,
            f"{share['seconds']:.3f}",
            f"{share['compute_seconds']:.3f}",
            f"{share['key_value_seconds']:.3f}",
            f"{share['share']:.1%}",
            f"{share['whole_history_share']:.1%}",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.sampling", description=__doc__)
    folder = options.model or committed_folder(0)
    problem = None
    if not (folder / "config.json").is_file():
        problem = f"no checkpoint in {folder}; name one with --model"
    elif min(options.questions, options.repeats, options.rounds) < 1 or options.threads < 0:
        problem = "--questions, --repeats and --rounds must be at least 1, --threads at least 0"
    elif options.episodes < 2 * options.questions or options.episodes % options.questions:
        problem = f"--episodes {options.episodes} is not a multiple of --questions {options.questions}, or not two each"
    if problem:
        print(problem, file=sys.stderr)
        return 2
    threads = torch.get_num_threads()
    transformers_logging.set_verbosity_error()
    try:
        torch.set_num_threads(options.threads or threads)
        result = measure(options, folder)
    finally:
        torch.set_num_threads(threads)
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
