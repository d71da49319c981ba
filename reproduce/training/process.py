"""One training, in this process or in others: `python -m reproduce.training.process`, several by `accelerate launch`.

Where vLLM shares the GPUs, training has a process of its own even alone: what an engine, a trainer and its optimiser
hold there is given back for certain only when their process ends. The processes read the run's `config.json`; the main
one tells its progress on lines of its output and writes the model and the log. All of them end when the process that
started them does, which holds the other end of their input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, write_jsonl
from reproduce.core.slices import SliceOver
from reproduce.training.launch import accelerate_settings, by_accelerate, in_processes

PROGRESS, ERROR, FAILURE = "training progress: ", "training error: ", "training failure: "
"""What lines of a training process begin with that are for the process that started it."""
LAST_LINES = 15
"""Lines of output in the error of a training that failed."""

Report = Callable[[int, int], None]


def make_policy(
    config: RunConfig,
    base: Path,
    tasks: Sequence[Any],
    folder: Path,
    partial: Path,
    report: Report = lambda done, total: None,
) -> None:
    """Train a run from `base`: the log goes to `metrics.jsonl` in the run's folder, the trained policy to `partial`.

    Checkpoints from which an interrupted call continues lie in `training` in the run's folder. Raises UserError for
    settings that cannot be had, SliceOver where the slice ends first, RuntimeError with their last lines where
    processes of the training fail.
    """
    if in_processes(config):
        train_in_processes(config, base, folder, partial, report)
    else:
        train_and_save(config, base, tasks, folder, partial, report)


def train_and_save(
    config: RunConfig, base: Path, tasks: Sequence[Any], folder: Path, partial: Path, report: Report
) -> None:
    """Train, and write log and policy if this is the main process."""
    import torch
    from transformers import AutoTokenizer

    from reproduce.rollouts.model_files import from_files
    from reproduce.rollouts.models import follow_reference
    from reproduce.rollouts.policies import save_policy
    from reproduce.training.train import is_main_process, train

    trained = train(config, base, tasks, folder / "training", folder, report)
    if is_main_process():
        write_jsonl(folder / "metrics.jsonl", trained.log)
        model, weights, precision = trained.model, trained.weights, getattr(torch, config.model.precision)
        # Adapters stay in float32, in which they are trained: rounded, small ones would be lost in part.
        if not config.model.lora_rank:
            if weights is None:
                model = model.to(precision)
            else:
                weights = {name: values.to(precision) for name, values in weights.items()}
        weights_of = follow_reference(base)
        tokenizer = from_files(AutoTokenizer.from_pretrained, weights_of, local_files_only=True, padding_side="left")
        save_policy(model, tokenizer, partial, base, weights)


# ---- the process that starts them


def launch_command(config: RunConfig, base: Path, folder: Path, partial: Path) -> list[str]:
    """What starts the processes."""
    hardware = config.hardware
    training = ("reproduce.training.process", str(folder), str(base), str(partial))
    if not by_accelerate(config):
        return [sys.executable, "-m", *training]
    precision = "bf16" if config.model.precision == "bfloat16" else "no"
    return [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(accelerate_settings(hardware.accelerate_config))),
        *("--num_processes", str(hardware.processes), "--num_machines", "1", "--machine_rank", "0"),
        *("--main_process_port", "0", "--mixed_precision", precision, "--dynamo_backend", "no"),
        *("--module", *training),
    ]


def train_in_processes(config: RunConfig, base: Path, folder: Path, partial: Path, report: Report) -> None:
    """Start the processes and follow the main one's progress to the end."""
    if config.hardware.device.startswith("cuda"):
        _give_memory_back()
    package = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    if config.hardware.device == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    last: deque[str] = deque(maxlen=LAST_LINES)
    refused: list[str] = []
    with subprocess.Popen(
        launch_command(config, base, folder, partial),
        env=environment,
        stdin=subprocess.PIPE,  # Never written to: its end tells the processes that this one is gone.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            if line.startswith(PROGRESS):
                done, total = line.removeprefix(PROGRESS).split()
                report(int(done), int(total))
            elif line.startswith(ERROR):
                refused.append(line.removeprefix(ERROR).strip())
            elif line.startswith(FAILURE):
                last.append(line.removeprefix(FAILURE).rstrip())
    if refused:
        raise UserError(refused[0])
    if launcher.returncode:
        raise RuntimeError(f"training processes ended with exit code {launcher.returncode}:\n" + "\n".join(last))
    if not partial.exists():
        raise SliceOver


def _give_memory_back() -> None:
    """Leave to other processes the GPU memory that this one keeps for later, after an evaluation for instance."""
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()


# ---- one of the processes


def main(arguments: Sequence[str]) -> int:
    """Train the run of a folder. arguments: the run's folder, its base, and where the policy goes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder, base, partial = map(Path, arguments)
    from reproduce.core.reader import read_run

    try:
        config = read_run(folder / "config.json")
        from reproduce.environments.beds import load_bed
        from reproduce.training.train import is_main_process

        _know_numbered_cpus()
        tasks = load_bed(config.environment).panels(config.panels)["train"].tasks

        def tell(done: int, total: int) -> None:
            if is_main_process():
                print(f"{PROGRESS}{done} {total}", flush=True)

        train_and_save(config, base, tasks, folder, partial, tell)
    except SliceOver:
        return 0
    except UserError as error:
        print(f"{ERROR}{error}", flush=True)
        return 2
    except Exception:
        # The launcher itself tells no more than which process ended.
        for line in traceback.format_exc().splitlines()[-LAST_LINES:]:
            print(f"{FAILURE}{line}", flush=True)
        return 1
    return 0


def _know_numbered_cpus() -> None:
    """A process's CPU is called cpu:0, cpu:1 and so on by accelerate, which torch refuses as a place for the optimiser
    state of a checkpoint."""
    from torch.serialization import register_package

    register_package(5, lambda storage: None, lambda storage, place: storage if place.startswith("cpu:") else None)


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sys.exit(code)
