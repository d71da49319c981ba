"""Trainings of seconds from the bases that the package brings along: few tasks, three steps, rewards that differ."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reproduce.core.config import RunConfig
from reproduce.core.files import write_json
from reproduce.environments.beds import load_bed, task_counts
from reproduce.plan.open import open_experiment
from reproduce.training.bases import obtain_base

TASKS, QUESTIONS = 12, 4


def small_run(paper: str, arm: str, environment: str | None = None, **changes: Any) -> RunConfig:
    """A run of the profile full with 12 tasks, 4 a step. changes: fields of `TrainingConfig`."""
    plan = open_experiment(paper, "full", (), Path("nowhere")).plan
    run = next(run for run in plan if run.arm == arm and environment in (None, run.environment))
    if paper == "pass_kt":
        panels = replace(run.panels, train_per_category=TASKS // 2)
    else:
        # Some panels have so many tasks in all, some of each category.
        categories = task_counts(run.environment, replace(run.panels, train=1))["train"]
        panels = replace(run.panels, train=TASKS // categories)
    training = replace(run.training, epochs=1, questions_per_step=QUESTIONS, learning_rate=1e-4)
    method = run.method
    if hasattr(method, "probe_tasks"):
        method = replace(method, probe_tasks=0)
    return replace(run, panels=panels, training=replace(training, **changes), method=method)


def base_of(run: RunConfig, folder: Path) -> Path:
    """The committed base of the run, copied into a folder of its own."""
    if not folder.exists():
        obtain_base(run.environment, run.policy, run.warm_start, run.seed, folder, lambda done, total: None, False)
    return folder


def tasks_of(run: RunConfig) -> Any:
    """The training panel."""
    return load_bed(run.environment).panels(run.panels)["train"].tasks


def run_folder(run: RunConfig, root: Path) -> Path:
    """A run folder with its `config.json`."""
    folder = root / run.environment / run.arm / f"seed-{run.seed}"
    folder.mkdir(parents=True)
    write_json(folder / "config.json", asdict(run))
    return folder
