"""How fast a GRPO step of the laptop profile is, beside an earlier commit and the machine's limit.

    python -m benchmarks.training

Two programs train the same run of each bed, one with this tree and one with the tree of `before`, a commit of this
repository. They take turns step by step, in changing order, and draw the same tokens from the same streams, which is
checked: so both steps of a pair do the same work. The ratio is the median over pairs of seconds before to seconds now,
with a distribution-free 95 % interval (order statistics). Seconds are those of the processor, one thread, since other
programs on the machine disturb those on the clock more; ratios by the clock stand beside them. The first step is
dropped.

The limit of a step is the arithmetic and the memory traffic that it cannot avoid, at the rates measured here
(`benchmarks._roofline`): every token that is sampled or read goes through the model once, keys and values in reach are
read once a sampled token, and every distinct token of the rows that are trained goes forward (once) and backward
(twice). Attention's own products, norms, the optimiser, the environment and TRL's bookkeeping are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks._pairs import median_interval
from benchmarks._roofline import BYTES_PER_VALUE, Machine, architecture_of, fastest, measure_machine, weight_matrices
from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.environments.bases import committed_folder
from reproduce.rollouts.policies import load_policy

ROOT = Path(__file__).resolve().parents[1]
BEDS = {"reasoning": "echorl", "retrieval": "pass_kt", "countdown": "reuserl", "cooking": "reuserl"}
TARGET = 2.0
"""How many times faster a step is meant to be."""


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    before: str = "d6fa035"
    """Commit that this tree is compared with."""
    beds: tuple[str, ...] = tuple(BEDS)
    """Environments, each trained as its laptop profile trains GRPO."""
    steps: int = 40
    """Steps of each bed and tree, at most as many as the profile has; the first is dropped."""
    out: Path = Path("reports/benchmarks/training.json")
    """Where the numbers go."""


@contextmanager
def earlier_tree(commit: str) -> Iterator[Path]:
    """A work tree of the commit, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


class Steps:
    """Steps of one training in a program of its own."""

    def __init__(self, tree: Path, bed: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.program = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks/_training_steps.py"), BEDS[bed], bed, "grpo"],
            cwd=tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def take(self) -> dict[str, float] | None:
        """What one more step took; None where the training has no more. Raises RuntimeError where it has failed."""
        assert self.program.stdin
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Stop training."""
        self.program.kill()
        self.program.wait()

    def _answer(self) -> dict[str, Any] | None:
        assert self.program.stdout
        line = self.program.stdout.readline()
        if not line:
            if code := self.program.wait():
                raise RuntimeError(f"the training ended with exit code {code}")
            return None
        found: dict[str, Any] = json.loads(line)
        return found


def measure_bed(bed: str, tree: Path, steps: int) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Pairs of steps, before and now, without the first. Raises RuntimeError where they sampled different tokens."""
    trainings = [Steps(tree, bed), Steps(ROOT, bed)]
    pairs = []
    try:
        for number in range(steps):
            found: list[Any] = [None, None]
            for which in (0, 1) if number % 2 else (1, 0):
                found[which] = trainings[which].take()
            if None in found:
                break
            if found[0]["forward_tokens"] != found[1]["forward_tokens"]:
                raise RuntimeError(f"{bed}: step {number + 1} sampled other tokens than before")
            pairs.append((found[0], found[1]))
    finally:
        for training in trainings:
            training.end()
    return pairs[1:]


def limit_seconds(step: dict[str, float], architecture: Any, machine: Machine) -> float:
    """The bound of one step, as at the top of this file."""
    body, head = architecture.body_parameters, architecture.head_parameters
    sampling = body * step["forward_tokens"] + head * step["decoded_tokens"]
    training = 3 * (body + head) * step["trained_nodes"]
    traffic = 2 * step["attended_positions"] * architecture.key_value_width * BYTES_PER_VALUE
    return 2 * (sampling + training) / machine.flops + traffic / machine.copy_bytes


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    found = {}
    with earlier_tree(options.before) as tree:
        for bed in options.beds:
            model = load_policy(committed_folder(0, bed))[0]
            machines = [measure_machine(weight_matrices(model), 256)]
            pairs = measure_bed(bed, tree, options.steps)
            machines.append(measure_machine(weight_matrices(model), 256))
            machine = fastest(machines)
            limits = [limit_seconds(now, architecture_of(model), machine) for _, now in pairs]
            seconds = {
                name: [[step[name] for step in pair] for pair in pairs]
                for name in ("processor", "wall", "sampling_seconds", "environment_seconds")
            }
            found[bed] = {
                "pairs": len(pairs),
                "seconds_before": float(np.median([before for before, _ in seconds["processor"]])),
                "seconds_now": float(np.median([now for _, now in seconds["processor"]])),
                "sampling_before": float(np.median([before for before, _ in seconds["sampling_seconds"]])),
                "sampling_now": float(np.median([now for _, now in seconds["sampling_seconds"]])),
                "environment_now": float(np.median([now for _, now in seconds["environment_seconds"]])),
                "ratio": median_interval([before / now for before, now in seconds["processor"]]),
                "ratio_by_clock": median_interval([before / now for before, now in seconds["wall"]]),
                "limit_seconds": float(np.median(limits)),
                "share_of_limit": float(
                    np.median([bound / now["processor"] for bound, (_, now) in zip(limits, pairs, strict=True)])
                ),
                "gigaflops": machine.flops / 1e9,
            }
    return {"beds": found, "target": TARGET}


def show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"A GRPO step of the laptop profile (target {TARGET:.0f} times faster)", box=None)
    headings = ("bed", "pairs", "before s", "now s", "ratio", "by the clock", "sampling", "environment", "limit")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "bed" else "right")
    for bed, one in result["beds"].items():
        ratios = [
            f"{middle:.2f} [{low:.2f}, {high:.2f}]" for middle, low, high in (one["ratio"], one["ratio_by_clock"])
        ]
        table.add_row(
            bed,
            str(one["pairs"]),
            f"{one['seconds_before']:.3f}",
            f"{one['seconds_now']:.3f}",
            *ratios,
            f"{one['sampling_before']:.3f} -> {one['sampling_now']:.3f}",
            f"{one['environment_now']:.3f}",
            f"{one['limit_seconds']:.3f} ({one['share_of_limit']:.0%})",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.training", description=__doc__)
    unknown = [bed for bed in options.beds if bed not in BEDS]
    known = subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", options.before], capture_output=True)
    problem = None
    if unknown:
        problem = f"no bed is called {unknown[0]!r}; there are {', '.join(BEDS)}"
    elif options.steps < 2:
        problem = "--steps must be at least 2: the first is dropped"
    elif known.returncode:
        problem = f"no commit {options.before} here; the comparison needs a clone with its history"
    if problem:
        print(problem, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    result = {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "sizes": {name: value for name, value in asdict(options).items() if name != "out"},
        **measure(options),
    }
    show(result, Console(width=max(120, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
