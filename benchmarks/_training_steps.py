"""Steps of one training, each on demand: started by `benchmarks.training` as a program of its own, in one of two trees.

Prints a line of JSON when it is ready and after each step; takes a step for each line that it reads. The names of both
trees are known, for the earlier one has its modules in other places.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

try:
    from reproduce.environments.beds import load_bed
    from reproduce.plan.open import open_experiment
    from reproduce.training.bases import obtain_base
    from reproduce.training.train import train
except ImportError:
    from reproduce.bases import obtain_base
    from reproduce.beds import load_bed
    from reproduce.planning import open_experiment
    from reproduce.training import train
from reproduce.rollouts import EpisodeSampler


class Counted:
    """Counts of a step: seconds, and what passed through the model."""

    def __init__(self) -> None:
        self.sampling_seconds = self.environment_seconds = 0.0
        self.work = {"forward_tokens": 0, "decoded_tokens": 0, "attended_positions": 0, "trained_nodes": 0}

    def watch(self, windows: Any) -> None:
        """Count in samplers and, where there is one, in the tree of the training's rows."""
        sample, forward, step = EpisodeSampler.sample_from, EpisodeSampler._forward, EpisodeSampler._step

        def timed_step(sampler: Any, row: int) -> Any:
            begun = time.process_time()
            observation = step(sampler, row)
            self.environment_seconds += time.process_time() - begun
            return observation

        def counted_sample(sampler: Any, *positional: Any, **named: Any) -> Any:
            begun = time.process_time()
            batch = sample(sampler, *positional, **named)
            self.sampling_seconds += time.process_time() - begun
            self.work["forward_tokens"] += batch.forward_tokens
            return batch

        def counted_forward(sampler: Any, ids: Any, starts: Any, first: int = 0) -> Any:
            if ids.shape[1] == 1:
                self.work["decoded_tokens"] += len(starts)
                for window in windows:
                    reach = starts + 1 if window is None else (starts + 1).clip(max=window)
                    self.work["attended_positions"] += int(reach.sum())
            return forward(sampler, ids, starts, first)

        EpisodeSampler.sample_from, EpisodeSampler._forward = counted_sample, counted_forward
        EpisodeSampler._step = timed_step
        try:
            from reproduce.training import scoring
        except ImportError:
            return
        grow = scoring.prefix_tree

        def counted_tree(rows: Any) -> Any:
            tree = grow(rows)
            self.work["trained_nodes"] += len(tree.tokens)
            return tree

        scoring.prefix_tree = counted_tree

    def take(self) -> dict[str, Any]:
        """The counts since the last call."""
        seconds = {"sampling_seconds": self.sampling_seconds, "environment_seconds": self.environment_seconds}
        found = {**seconds, **self.work}
        self.sampling_seconds = self.environment_seconds = 0.0
        self.work = dict.fromkeys(self.work, 0)
        return found


def say(**what: Any) -> None:
    """Answer the program that asked."""
    sys.__stdout__.write(json.dumps(what) + "\n")
    sys.__stdout__.flush()


def main(paper: str, environment: str, arm: str) -> None:
    """Train the laptop profile's first run of an arm."""
    torch.set_num_threads(1)
    plan = open_experiment(paper, "laptop", (), Path("nowhere")).plan
    run = next(one for one in plan if one.environment == environment and one.arm == arm and one.training)
    windows = [run.policy.window, *[None] * (run.policy.layers - 1)]
    counted = Counted()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "runs" / environment / arm / "seed-0"
        folder.mkdir(parents=True)
        base = Path(scratch) / "base"
        obtain_base(run.environment, run.policy, run.warm_start, run.seed, base, lambda done, total: None)
        tasks = load_bed(run.environment).panels(run.panels)["train"].tasks
        counted.watch(windows)
        begun: list[tuple[float, float]] = []

        def wait() -> None:
            sys.stdin.readline()
            begun.append((time.process_time(), time.perf_counter()))

        def report(done: int, total: int) -> None:
            processor, clock = time.process_time(), time.perf_counter()
            say(processor=processor - begun[-1][0], wall=clock - begun[-1][1], **counted.take())
            wait()

        say(ready=True)
        wait()
        train(run, base, tasks, Path(scratch) / "scratch", folder, report)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main(*sys.argv[1:])
