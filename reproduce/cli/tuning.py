"""Choose GRPO's learning rate: `python -m reproduce.cli.tuning`.

The choice uses questions of the training split that are not in the training panel; the test panel is never touched.
Every arm that joins the experiment gets the same grid and the same seeds.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro

SAMPLES = 16
QUESTIONS_PER_CATEGORY = 100
VALIDATION_SEED = 1
"""Panels of another seed: training-split entities, other questions."""


def validate(learning_rate: float, seed: int) -> dict[str, float]:
    """Train the base of `seed` at this rate; the reward, and success at k = 1, T = 5 on validation questions."""
    import torch

    from reproduce.core.config import INDEPENDENT
    from reproduce.environments.bases import committed_folder
    from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
    from reproduce.papers.pass_kt.experiment import PROFILES, plan
    from reproduce.rollouts import EpisodeSampler
    from reproduce.rollouts.cells import Cell
    from reproduce.rollouts.evaluation import sample_cells
    from reproduce.rollouts.policies import load_policy
    from reproduce.training.train import train

    torch.set_num_threads(1)
    config = PROFILES["laptop"]
    panel = build_panels(config.panels.train_per_category, 0, 0)["train"]
    seen = {task.question for task in panel.tasks}
    fresh = build_panels(QUESTIONS_PER_CATEGORY, 0, 0, train_seed=VALIDATION_SEED)["train"].tasks
    validation = [task for task in fresh if task.question not in seen]
    training = replace(config.training, learning_rate=learning_rate)
    planned = next(run for run in plan(config) if run.arm == "grpo" and run.seed == seed)
    run = replace(planned, profile=f"tuning {learning_rate}", training=training)
    with TemporaryDirectory() as folder:
        trained = train(run, committed_folder(seed), panel.tasks, Path(folder) / "scratch", Path(folder) / "a/b")
    model, log = trained.model, trained.log
    _, tokenizer = load_policy(committed_folder(seed))
    sampler = EpisodeSampler(model, tokenizer, RetrievalEnvironment(), config.sampling)
    found = {"reward in the last epoch": float(np.mean([entry["reward"] for entry in log[-8:]]))}
    for category in ("bridge", "comparison"):
        asked = [task for task in validation if task.category == category]
        name = f"tuning {learning_rate} seed-{seed}"
        cells = [Cell(place, 5, INDEPENDENT, f"{name} {task.identifier}", SAMPLES) for place, task in enumerate(asked)]
        found[category] = float(sample_cells(sampler, asked, cells)[0].successes.mean())
    return found


def main(rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3), seeds: tuple[int, ...] = (0, 1), workers: int = 2) -> None:
    """Print success on validation questions for each learning rate, averaged over seeds.

    Args:
        rates: Learning rates to compare.
        seeds: Seeds whose bases are trained.
        workers: Processes.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    grid = [(rate, seed) for rate in rates for seed in seeds]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(validate, *zip(*grid, strict=True)))
    for rate in rates:
        rows = [result for (tried, _), result in zip(grid, results, strict=True) if tried == rate]
        means = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
        print(f"{rate:g}", ", ".join(f"{name} {value:.3f}" for name, value in means.items()), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
