"""Building the bases that come with the package, and measuring each of them before any arm is trained from it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from reproduce.bases import DESCRIPTION, base_digest, committed_folder, describe_base, obtain_base
from reproduce.configuration import INDEPENDENT, EvaluationConfig
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask, build_panels
from reproduce.evaluation import Cell, sample_cells
from reproduce.experiment import ExperimentConfig
from reproduce.policies import load_policy
from reproduce.rollouts import EpisodeSampler
from reproduce.schedule import Job, StageReport, Step
from reproduce.storage import UserError, read_json, write_json
from theory.pass_kt import fit_beta_binomial, pass_at_k


def default_folder() -> Path:
    """Where the package keeps its bases."""
    return committed_folder(0).parent


def base_jobs(
    config: ExperimentConfig, seeds: Sequence[int], destination: Path, seconds: Mapping[str, float]
) -> list[Job]:
    """One job a seed whose base is not in `destination` yet, or belongs to another configuration.

    seconds: expected seconds of the stages `warm start` and `measure`.
    """
    return [
        (Step(f"seed-{seed}", seconds, partial(build_base, config, seed, destination / f"seed-{seed}")),)
        for seed in seeds
        if not is_built(config, seed, destination / f"seed-{seed}")
    ]


def is_built(config: ExperimentConfig, seed: int, folder: Path) -> bool:
    """Whether `folder` holds the base of this configuration and seed. Raises UserError for a damaged description."""
    description = folder / DESCRIPTION
    if not description.is_file():
        return False
    try:
        found = read_json(description)["digest"]
    except (UserError, KeyError, TypeError):
        raise UserError(f"{description}: damaged; remove {folder} and build it again") from None
    return bool(found == base_digest(config.policy, config.warm_start, seed))


def build_base(config: ExperimentConfig, seed: int, folder: Path, report: StageReport) -> None:
    """Warm-start the base of a seed, measure it on the test panel and put it into `folder`, whole or not at all."""
    partial_folder = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.parent.mkdir(parents=True, exist_ok=True)
    obtain_base(
        config.policy,
        config.warm_start,
        seed,
        partial_folder,
        lambda done, total: report("warm start", done, total),
        rebuild=True,
    )
    tasks = build_panels(**asdict(config.panels))["test"].tasks
    measured = measure_base(partial_folder, tasks, seed, config, report)
    for file in partial_folder.iterdir():
        file.chmod(0o644)  # safetensors writes for the owner alone; these files are made to be shared.
    write_json(partial_folder / DESCRIPTION, describe_base(config.policy, config.warm_start, seed, measured))
    shutil.rmtree(folder, ignore_errors=True)
    partial_folder.rename(folder)


def measure_base(
    checkpoint: Path, tasks: Sequence[RetrievalTask], seed: int, config: ExperimentConfig, report: StageReport
) -> dict[str, Any]:
    """Success of a base by category, from independent episodes at the largest cap; static questions have no tool."""
    model, tokenizer = load_policy(checkpoint)
    sampler = EpisodeSampler(model.eval(), tokenizer, RetrievalEnvironment(), config.sampling)
    evaluation, deepest, done = config.evaluation, max(config.evaluation.caps), 0
    successes: dict[str, list[np.ndarray]] = {}
    for category in dict.fromkeys(task.category for task in tasks):
        asked = [task for task in tasks if task.category == category]
        cap = 0 if category == "static" else deepest
        for start in range(0, len(asked), evaluation.questions_at_once):
            report("measure", done, len(tasks))
            part = asked[start : start + evaluation.questions_at_once]
            cells = [
                Cell(place, cap, INDEPENDENT, f"base seed-{seed} {task.identifier} T={cap}", evaluation.samples)
                for place, task in enumerate(part)
            ]
            batch, cell_of_episode, _ = sample_cells(sampler, part, cells)
            counts = np.bincount(cell_of_episode, weights=batch.successes, minlength=len(cells)).astype(int)
            successes.setdefault(category, []).append(counts)
            done += len(part)
    report("measure", done, len(tasks))
    return {category: summarise(np.concatenate(parts), evaluation) for category, parts in successes.items()}


def summarise(successes: np.ndarray, evaluation: EvaluationConfig) -> dict[str, Any]:
    """What `base.json` keeps of one category. successes: of `samples` episodes each, one entry a question."""
    n, k = evaluation.samples, evaluation.largest_k
    try:
        fit = fit_beta_binomial(n, successes)
        shape: dict[str, float] | None = {"alpha": round(float(fit.alpha), 4), "beta": round(float(fit.beta), 4)}
    except ValueError:
        shape = None  # Every episode failed or every one succeeded: no Beta fits best.
    return {
        "questions": len(successes),
        "episodes_per_question": n,
        "pass@1": round(float(pass_at_k(n, successes, 1).mean()), 4),
        f"pass@{k}": round(float(pass_at_k(n, successes, k).mean()), 4),
        "share_without_success": round(float(np.mean(successes == 0)), 4),
        "beta_binomial": shape,
    }


def show_bases(console: Console, seeds: Sequence[int], destination: Path) -> None:
    """Print what was measured of each base, one row a seed and category."""
    table = Table(title=f"Bases in {destination}", title_justify="left")
    for place, name in enumerate(("seed", "category", "pass@1", "pass@k", "k", "no success", "alpha", "beta")):
        table.add_column(name, justify="left" if place == 1 else "right")
    for seed in seeds:
        for category, found in read_json(destination / f"seed-{seed}" / DESCRIPTION)["measured"].items():
            largest = max(int(name.partition("@")[2]) for name in found if name.startswith("pass@"))
            shape = found["beta_binomial"] or {"alpha": float("nan"), "beta": float("nan")}
            table.add_row(
                str(seed),
                category,
                f"{found['pass@1']:.3f}",
                f"{found[f'pass@{largest}']:.3f}",
                str(largest),
                f"{found['share_without_success']:.3f}",
                f"{shape['alpha']:.2f}",
                f"{shape['beta']:.2f}",
            )
    console.print(table)
