"""Cost of the echo: seconds and peak memory of a training step of EchoRL beside GRPO's.

    python -m benchmarks.echorl

A tiny model generates with TRL's own loop, two episodes in three of which count as right, and is trained with TRL's
default loss, for which every row goes through the forward pass whatever its advantage. The learning rate is 0, and
steps of one number draw the same random numbers, so that all methods write the same tokens at each step; the few
steps at which rounding made them write another number are left out. They take turns step by step, in changing order; a
step is what TRL calls one (rollout, reward, update), and seconds are those of the processor, one thread. `update` is
the step without the rollout. Peak memory is that of a process that trains with one method alone, libraries included,
the smallest of the repeats.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trl
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig

from benchmarks import _kit
from benchmarks._pairs import in_turns
from methods.echorl import EchoConfig, EchoTrainer
from reproduce.core.config import PolicyConfig
from reproduce.rollouts.policies import build_model, build_tokenizer

GRPO = "GRPO"
ARMS: dict[str, EchoConfig | None] = {GRPO: None, "echo": EchoConfig(), "echo of weight 0": EchoConfig(weight=0.0)}
TARGET = 1.02
TOKENIZER = build_tokenizer(("\n", *(f"word{number}" for number in range(250))))


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    steps: int = _kit.size(201, least=2)
    """Optimiser steps of each method, of which the first is not counted."""
    groups: int = _kit.size(2)
    """Groups of 8 episodes per step."""
    tokens: int = _kit.size(48)
    """Tokens per episode."""
    memory_repeats: int = _kit.size(1)
    """Processes per method whose peak memory is measured."""


def two_in_three(completions: list[Any], **columns: Any) -> list[float]:
    """A reward that gives mixed groups."""
    return [float(place % 3 > 0) for place in range(len(completions))]


def trainer_of(arm: str, options: Options, folder: Path) -> Any:
    """The trainer of a method."""
    echo = ARMS[arm]
    trainer = (trl.GRPOTrainer if echo is None else EchoTrainer)(
        model=build_model(PolicyConfig(layers=2, width=128, longest=256), TOKENIZER, seed=0),
        reward_funcs=two_in_three,
        args=GRPOConfig(
            **_kit.grpo_arguments(folder),
            per_device_train_batch_size=8 * options.groups,
            num_generations=8,
            max_completion_length=options.tokens,
            max_steps=options.steps,
            learning_rate=0.0,
            loss_type="dapo",
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": f"word{number}"} for number in range(32)]),
        processing_class=TOKENIZER,
        **({} if echo is None else {"echo": echo}),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def print_peak(arm: str, **sizes: int) -> None:
    """Train with one method and print this process's peak memory in bytes.

    Not `ru_maxrss`, which begins at the peak of the process that started it.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(arm, Options(**sizes), Path(folder)).train()
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    print(next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:")))


def peak_memory(arm: str, options: Options) -> int:
    """Bytes of the largest resident set of a process that trains with one method; the smallest of the repeats."""
    sizes = {"steps": 6, "groups": options.groups, "tokens": options.tokens}
    command = [sys.executable, "-c", f"from benchmarks.echorl import print_peak; print_peak({arm!r}, **{sizes})"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(options.memory_repeats)]
    return min(int(run.stdout.split()[-1]) for run in runs)


def measure(options: Options) -> dict[str, Any]:
    """Seconds of each step and update, and bytes, by method."""
    with tempfile.TemporaryDirectory() as folder:
        trainers = {arm: trainer_of(arm, options, Path(folder) / str(place)) for place, arm in enumerate(ARMS)}
        rollouts = {
            arm: _kit.note_seconds(trainer, "_generate_single_turn", time.thread_time)
            for arm, trainer in trainers.items()
        }
        steps = in_turns(trainers, options.steps)
        same = same_tokens(trainers)
    updates = {
        arm: [step - rollout for step, rollout in zip(own, rollouts[arm][1:], strict=True)]
        for arm, own in steps.items()
    }
    steps, updates = (
        {arm: [one for one, kept in zip(seconds, same, strict=True) if kept] for arm, seconds in measured.items()}
        for measured in (steps, updates)
    )
    peaks = {arm: peak_memory(arm, options) for arm in ARMS}
    return {"step_seconds": steps, "update_seconds": updates, "peak_bytes": peaks, "target": TARGET}


def same_tokens(trainers: dict[str, Any]) -> list[bool]:
    """Mark the steps, without the first, at which all methods wrote equally many tokens."""
    totals = [
        [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        for trainer in trainers.values()
    ]
    return [len(set(written)) == 1 for written in np.diff(totals, axis=1).T.tolist()]


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Seconds and memory beside GRPO's."""
    peaks = result["peak_bytes"]
    memory = [(arm, f"{peak / 2**20:.0f}", f"{peak / peaks[GRPO]:.3f}") for arm, peak in peaks.items()]
    ratio = _kit.ratio(result["step_seconds"][GRPO], result["step_seconds"]["echo"])
    return [
        _kit.comparison("A training step", result["step_seconds"], GRPO, unit="s"),
        _kit.comparison("The same without its rollout", result["update_seconds"], GRPO, unit="s"),
        _kit.Block("Peak memory", ("", "MiB", f"times {GRPO}"), memory),
        f"A step with the echo takes {_kit.ratio_text(ratio, 3)} times GRPO's (target "
        f"{_kit.verdict(ratio['median'] <= TARGET, f'<= {TARGET}')})",
    ]


main = _kit.Benchmark("echorl", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
