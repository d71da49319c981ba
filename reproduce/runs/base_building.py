"""Building the bases that come with the package, and measuring each of them before any arm is trained from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from reproduce.core.config import INDEPENDENT, EvaluationConfig, HorizonEvaluation, RunConfig
from reproduce.core.files import UserError, read_json, remove, write_json
from reproduce.core.hashes import flush_folder, sealed
from reproduce.environments.bases import DESCRIPTION, base_digest, committed_folder
from reproduce.environments.beds import load_bed
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.cells import Cell
from reproduce.rollouts.evaluation import sample_cells
from reproduce.rollouts.policies import load_policy
from reproduce.runs.schedule import Job, StageReport, Step
from reproduce.training.bases import describe_base, obtain_base
from theory.pass_kt import fit_beta_binomial, pass_at_k


def default_folder() -> Path:
    """The folder of the package with one folder of bases per environment."""
    return committed_folder(0).parent.parent


def base_jobs(
    bases: Sequence[RunConfig], destination: Path | None, seconds: Callable[[RunConfig], Mapping[str, float]]
) -> list[Job]:
    """One job for each of these evaluated-only runs whose base is not there yet, or belongs to another configuration.

    destination: folder of the bases, the package's own when None. seconds: expected seconds of the stages `warm start`
    and `measure` of a run.
    """
    jobs: list[Job] = []
    for base in bases:
        folder = (destination or default_folder()) / base.environment / f"seed-{base.seed}"
        if not is_built(base, folder):
            name = f"{base.environment} seed-{base.seed}"
            jobs.append((Step(name, seconds(base), partial(build_base, base, folder)),))
    return jobs


def is_built(base: RunConfig, folder: Path) -> bool:
    """True where `folder` holds the base of this run. Raises UserError for a damaged description."""
    description = folder / DESCRIPTION
    if not description.is_file():
        return False
    try:
        found = read_json(description)["digest"]
    except (UserError, KeyError, TypeError):
        raise UserError(f"{description}: damaged; remove {folder} and build it again") from None
    return bool(found == base_digest(base.policy, base.warm_start, base.seed, base.environment))


def build_base(base: RunConfig, folder: Path, report: StageReport) -> None:
    """Warm-start the base, measure it and put it into `folder`, whole or not at all.

    It is measured on the test panel where claims are about the base itself (the grid over T), else on the training
    panel: there the bed is fixed from what the base does on it.
    """
    partial_folder = folder.with_name(f".{folder.name}.partial")
    remove(partial_folder)
    partial_folder.parent.mkdir(parents=True, exist_ok=True)
    obtain_base(
        base.environment,
        base.policy,
        base.warm_start,
        base.seed,
        partial_folder,
        lambda done, total: report("warm start", done, total),
        rebuild=True,
    )
    panel = "test" if isinstance(base.evaluation, EvaluationConfig) else "train"
    tasks = load_bed(base.environment).panels(base.panels)[panel].tasks
    measured = measure_base(partial_folder, tasks, base, report)
    for file in partial_folder.iterdir():
        file.chmod(0o644)  # safetensors writes for the owner alone; these files are made to be shared.
    description = describe_base(base.policy, base.warm_start, base.seed, measured, partial_folder, base.environment)
    write_json(partial_folder / DESCRIPTION, sealed(description))
    flush_folder(partial_folder)
    remove(folder)
    partial_folder.rename(folder)


def measure_base(checkpoint: Path, tasks: Sequence[Any], base: RunConfig, report: StageReport) -> dict[str, Any]:
    """Success of a base by category, from independent episodes at the largest T; static questions have no tool."""
    model, tokenizer = load_policy(checkpoint)
    sampler = EpisodeSampler(model.eval(), tokenizer, load_bed(base.environment).environment(), base.sampling)
    evaluation, done = base.evaluation, 0
    deepest = max(evaluation.caps) if isinstance(evaluation, EvaluationConfig) else base.rounds
    successes: dict[str, list[np.ndarray]] = {}
    for category in dict.fromkeys(task.category for task in tasks):
        asked = [task for task in tasks if task.category == category]
        cap = 0 if category == "static" else deepest
        for start in range(0, len(asked), evaluation.at_once):
            report("measure", done, len(tasks))
            part = asked[start : start + evaluation.at_once]
            cells = [
                Cell(place, cap, INDEPENDENT, f"base seed-{base.seed} {task.identifier} T={cap}", evaluation.samples)
                for place, task in enumerate(part)
            ]
            batch, cell_of_episode, _ = sample_cells(sampler, part, cells)
            counts = np.bincount(cell_of_episode, weights=batch.successes, minlength=len(cells)).astype(int)
            successes.setdefault(category, []).append(counts)
            done += len(part)
    report("measure", done, len(tasks))
    return {category: summarise(np.concatenate(parts), evaluation) for category, parts in successes.items()}


def summarise(successes: np.ndarray, evaluation: EvaluationConfig | HorizonEvaluation) -> dict[str, Any]:
    """The entry of one category in `base.json`. successes: of `samples` episodes each, one entry a question."""
    n = evaluation.samples
    k = evaluation.largest_k if isinstance(evaluation, EvaluationConfig) else n
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


def show_bases(console: Console, bases: Sequence[RunConfig], destination: Path | None) -> None:
    """Print what was measured of each base, one row a seed and category."""
    for environment in dict.fromkeys(base.environment for base in bases):
        folder = (destination or default_folder()) / environment
        table = Table(title=f"Bases in {folder}", title_justify="left")
        for place, name in enumerate(("seed", "category", "pass@1", "pass@k", "k", "no success", "alpha", "beta")):
            table.add_column(name, justify="left" if place == 1 else "right")
        for base in bases:
            if base.environment == environment:
                measured = read_json(folder / f"seed-{base.seed}" / DESCRIPTION)["measured"]
                for category, found in measured.items():
                    table.add_row(str(base.seed), category, *_row(found))
        console.print(table)


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    largest = max(int(name.partition("@")[2]) for name in found if name.startswith("pass@"))
    shape = found["beta_binomial"] or {"alpha": float("nan"), "beta": float("nan")}
    return (
        f"{found['pass@1']:.3f}",
        f"{found[f'pass@{largest}']:.3f}",
        str(largest),
        f"{found['share_without_success']:.3f}",
        f"{shape['alpha']:.2f}",
        f"{shape['beta']:.2f}",
    )
