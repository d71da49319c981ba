"""What the echo costs: seconds and peak memory of a training step of EchoRL beside GRPO's.

    python -m benchmarks.echorl

A tiny model generates with TRL's own loop, two episodes in three of which count as right, and is trained with TRL's
default loss, for which every row goes through the forward pass whatever its advantage. The learning rate is 0, and
steps of one number draw the same random numbers, so that all methods write the same tokens at each step; the few steps
at which rounding made them write another number are left out. They take turns step by step, in changing order; a step
is what TRL calls one (rollout, reward, update). The ratio is the median over steps of a method's seconds to GRPO's at
the same step, with a distribution-free 95 % interval; seconds are those of the processor, one thread. `update` is the
step without the rollout. Peak memory is that of a process that trains with one method alone, libraries included, the
smallest of the repeats.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
import tyro
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from transformers import PrinterCallback
from trl import GRPOConfig

from benchmarks._pairs import in_turns, median_interval
from methods.echorl import EchoConfig, EchoTrainer
from reproduce.core.config import PolicyConfig
from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.rollouts.policies import build_model, build_tokenizer

GRPO, ECHO, PLACEBO = "GRPO", "echo", "echo of weight 0"
ARMS: dict[str, EchoConfig | None] = {GRPO: None, ECHO: EchoConfig(), PLACEBO: EchoConfig(weight=0.0)}
TARGET = 1.02
TOKENIZER = build_tokenizer(("\n", *(f"word{number}" for number in range(250))))


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    steps: int = 201
    """Optimiser steps of each method, of which the first is not counted."""
    groups: int = 2
    """Groups of 8 episodes a step."""
    tokens: int = 48
    """Tokens an episode."""
    memory_repeats: int = 1
    """Processes a method whose peak memory is measured."""
    memory_of: str = ""
    """Train with this method alone and print the peak in bytes; what the measurement calls itself with."""
    out: Path = Path("reports/benchmarks/echorl.json")
    """Where the numbers go."""


def two_in_three(completions: list[Any], **columns: Any) -> list[float]:
    """A reward that gives mixed groups."""
    return [float(place % 3 > 0) for place in range(len(completions))]


def timed(kind: type[trl.GRPOTrainer]) -> Any:
    """`kind`, keeping the seconds of each rollout alone."""

    class Timed(kind):  # type: ignore[misc, valid-type]
        rollout_seconds: list[float]

        def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            found = super()._generate_single_turn(*args, **kwargs)
            self.rollout_seconds.append(time.thread_time() - start)
            return found

    return Timed


def trainer_of(arm: str, options: Options, folder: str) -> Any:
    """The trainer of a method."""
    model = build_model(PolicyConfig(layers=2, width=128, longest=256), TOKENIZER, seed=0)
    echo = ARMS[arm]
    trainer = timed(trl.GRPOTrainer if echo is None else EchoTrainer)(
        model=model,
        reward_funcs=two_in_three,
        args=GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=8 * options.groups,
            num_generations=8,
            max_completion_length=options.tokens,
            max_steps=options.steps,
            learning_rate=0.0,
            loss_type="dapo",
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": f"word{number}"} for number in range(32)]),
        processing_class=TOKENIZER,
        **({} if echo is None else {"echo": echo}),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.rollout_seconds = []
    return trainer


def own_peak() -> int:
    """Bytes of this process's peak memory. Not `ru_maxrss`, which begins at the peak of the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this system does not say a process's peak memory")


def peak_memory(arm: str, options: Options) -> int:
    """Bytes of the largest resident set of a process that trains with one method; the smallest of the repeats."""
    sizes = [f"--groups={options.groups}", f"--tokens={options.tokens}", "--steps=6"]
    command = [sys.executable, "-m", "benchmarks.echorl", f"--memory-of={arm}", *sizes]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "120"})
        for _ in range(options.memory_repeats)
    ]
    return min(int(run.stdout.split()[-1]) for run in runs)


def measure(options: Options) -> dict[str, Any]:
    """Seconds, bytes and their ratios to GRPO's, by method."""
    with tempfile.TemporaryDirectory() as folder:
        trainers = {arm: trainer_of(arm, options, f"{folder}/{place}") for place, arm in enumerate(ARMS)}
        steps = in_turns(trainers, options.steps)
        updates = {
            arm: [step - rollout for step, rollout in zip(steps[arm], trainer.rollout_seconds[1:], strict=True)]
            for arm, trainer in trainers.items()
        }
        same = same_tokens(trainers)
    steps, updates = (
        {arm: [one for one, kept in zip(seconds, same, strict=True) if kept] for arm, seconds in measured.items()}
        for measured in (steps, updates)
    )
    values = {
        arm: {
            "step_seconds": statistics.median(steps[arm]),
            "update_seconds": statistics.median(updates[arm]),
            "peak_bytes": peak_memory(arm, options),
        }
        for arm in ARMS
    }
    ratios = {
        arm: {
            "step_seconds": _paired_ratio(steps[arm], steps[GRPO]),
            "update_seconds": _paired_ratio(updates[arm], updates[GRPO]),
            "peak_bytes": found["peak_bytes"] / values[GRPO]["peak_bytes"],
        }
        for arm, found in values.items()
    }
    return {"values": values, "ratios_to_grpo": ratios, "pairs": sum(same), "target": TARGET}


def same_tokens(trainers: dict[str, Any]) -> list[bool]:
    """Whether all methods wrote equally many tokens, of each step but the first: rarely, rounding changes a draw."""
    totals = [
        [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        for trainer in trainers.values()
    ]
    return [len(set(written)) == 1 for written in np.diff(totals, axis=1).T.tolist()]


def _paired_ratio(seconds: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Median ratio with its interval."""
    return median_interval([own / other for own, other in zip(seconds, reference, strict=True)])


def show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"A training step beside GRPO's, {result['pairs']} pairs (target {TARGET})")
    for column in ("method", "step s", "ratio", "update s", "ratio", "peak MiB", "ratio"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for arm, found in result["values"].items():
        ratio = result["ratios_to_grpo"][arm]
        table.add_row(
            arm,
            f"{found['step_seconds']:.3f}",
            "{:.3f} [{:.3f}, {:.3f}]".format(*ratio["step_seconds"]),
            f"{found['update_seconds']:.3f}",
            "{:.3f} [{:.3f}, {:.3f}]".format(*ratio["update_seconds"]),
            f"{found['peak_bytes'] / 2**20:.0f}",
            f"{ratio['peak_bytes']:.3f}",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.echorl", description=__doc__)
    if min(options.groups, options.tokens, options.memory_repeats) < 1 or options.steps < 2:
        print("sizes must be at least 1, --steps at least 2", file=sys.stderr)
        return 2
    if options.memory_of:
        if options.memory_of not in ARMS:
            print(f"--memory-of must be one of: {'; '.join(ARMS)}", file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as folder:
            trainer_of(options.memory_of, options, folder).train()
        print(own_peak())
        return 0
    torch.set_num_threads(1)
    sizes = {name: value for name, value in asdict(options).items() if name not in ("out", "memory_of")}
    result = {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "sizes": sizes,
        **measure(options),
    }
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
