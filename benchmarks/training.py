"""Speed of a GRPO step of the laptop profile, beside an earlier commit and the machine's limit.

    python -m benchmarks.training

Two programs train the same run of each bed, one with this tree and one with the tree of `before`, a commit of this
repository. They take turns step by step, in changing order, and draw the same tokens from the same streams, which is
checked: so both steps of a pair do the same work. The ratio is that of seconds before to seconds now. Seconds are
those of the processor, one thread, since other programs on the machine disturb those on the clock more; ratios by the
clock stand beside them. The first step is dropped.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _kit
from benchmarks._roofline import BYTES_PER_VALUE, Machine, architecture_of, fastest, measure_machine, weight_matrices
from reproduce.core.files import UserError
from reproduce.environments.bases import committed_folder
from reproduce.rollouts.policies import load_policy

ROOT = Path(__file__).resolve().parents[1]
BEDS = {"reasoning": "echorl", "retrieval": "pass_kt", "countdown": "reuserl", "cooking": "reuserl"}
TARGET = 2.0
"""Times that a step is meant to be faster."""


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    before: str = "d6fa035"
    """Commit that this tree is compared with."""
    beds: tuple[str, ...] = tuple(BEDS)
    """Environments, each trained as its laptop profile trains GRPO."""
    steps: int = _kit.size(40, least=2)
    """Steps of each bed and tree, at most as many as the profile has; the first is dropped."""


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
        """Seconds and work of one more step; None after the last. Raises RuntimeError where the training has failed."""
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


def checked(options: Options) -> None:
    """Raises UserError for an unknown bed, and where the earlier commit is not here."""
    unknown = [bed for bed in options.beds if bed not in BEDS]
    if unknown:
        raise UserError(f"no bed is called {unknown[0]!r}; there are {', '.join(BEDS)}")
    if subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", options.before], capture_output=True).returncode:
        raise UserError(f"no commit {options.before} here; the comparison needs a clone with its history")


def measure(options: Options) -> dict[str, Any]:
    """Seconds of all steps before and now by bed, and the limit of each."""
    checked(options)
    torch.set_num_threads(1)
    found = {}
    with earlier_tree(options.before) as tree:
        for bed in options.beds:
            model = load_policy(committed_folder(0, bed))[0]
            machines = [measure_machine(weight_matrices(model), 256)]
            pairs = measure_bed(bed, tree, options.steps)
            machines.append(measure_machine(weight_matrices(model), 256))
            machine = fastest(machines)
            names = ("processor", "wall", "sampling_seconds", "environment_seconds")
            found[bed] = {
                **{name: [[step[name] for step in steps] for steps in zip(*pairs, strict=True)] for name in names},
                "limit": [limit_seconds(now, architecture_of(model), machine) for _, now in pairs],
                "gigaflops": machine.flops / 1e9,
            }
    return {"beds": found, "target": TARGET}


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Steps before and now, their ratio, and the share of the limit."""
    rows = []
    for bed, one in result["beds"].items():
        (before, now), (sampled, samples) = one["processor"], one["sampling_seconds"]
        share = np.median([bound / seconds for bound, seconds in zip(one["limit"], now, strict=True)])
        rows.append(
            (
                bed,
                str(len(now)),
                *(f"{np.median(seconds):.3f}" for seconds in (before, now)),
                *(_kit.ratio_text(_kit.ratio(own, earlier)) for earlier, own in (one["processor"], one["wall"])),
                f"{np.median(sampled):.3f} -> {np.median(samples):.3f}",
                f"{np.median(one['environment_seconds'][1]):.3f}",
                f"{np.median(one['limit']):.3f} ({share:.0%})",
            )
        )
    headings = ("bed", "pairs", "before s", "now s", "ratio", "by the clock", "sampling", "environment", "limit")
    return [_kit.Block(f"A GRPO step of the laptop profile (target {TARGET:.0f} times faster)", headings, rows)]


main = _kit.Benchmark("training", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
