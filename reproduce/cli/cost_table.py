"""Table of the cost of every profile of every paper: `plan` without a paper."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from reproduce.cli.requirements import costs
from reproduce.core.paper import PACKAGED, load_paper
from reproduce.cost.architecture import architecture_of, context_of
from reproduce.cost.estimate import run_memory, total
from reproduce.cost.format import format_bytes, format_seconds
from reproduce.cost.machines import machine_for
from reproduce.cost.time import expected_bytes, expected_seconds, rollouts, stage_seconds
from reproduce.plan.experiment import Experiment
from reproduce.plan.open import open_experiment

CORES = 2
"""Of the laptop that profiles without a GPU are estimated for; the others for one GPU, or as many as a run needs."""
ORDER = ("smoke", "laptop", "full", "gpu", "paper")
COLUMNS = ("paper", "profile", "runs", "rollouts", "episodes", "on", "time", "GPU memory", "disk")


def show_cost(console: Console) -> None:
    """Print the table, in Markdown."""
    table = Table(box=box.MARKDOWN)
    for place, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if place < 2 or name == "on" else "right", no_wrap=True)
    for row in cost_rows():
        table.add_row(*row)
    # As wide as it is: a Markdown table must not be cut to the terminal.
    Console(file=console.file, width=1000).print(table)


def cost_rows() -> list[tuple[str, ...]]:
    """One row for each paper and profile, from what `plan` shows of it when nothing is complete."""
    rows: list[tuple[str, ...]] = []
    for key in PACKAGED:
        for profile in sorted(load_paper(key).profiles, key=ORDER.index):
            experiment = open_experiment(key, profile, (), Path("runs"))
            counts = (
                str(len(experiment.plan)),
                f"{sum(rollouts(run) for run in experiment.plan):,}",
                f"{sum(experiment.episodes.values()):,}",
            )
            cost = _of_named(experiment) if experiment.config.model.name else _of_made_here(experiment)
            rows.append((key, profile, *counts, *cost))
    return rows


def _of_made_here(experiment: Experiment) -> tuple[str, str, str, str]:
    """Machine, time, GPU memory and disk of an experiment with a policy of its own."""
    on_gpu = experiment.config.hardware.device == "cuda"
    jobs: dict[tuple[str, int], float] = {}
    for run in experiment.plan:
        job = (run.environment, run.seed)
        jobs[job] = jobs.get(job, 0.0) + sum(stage_seconds(run, experiment.episodes[run.name]).values())
    seconds = expected_seconds(list(jobs.values()), 1 if on_gpu else CORES)
    disk = format_bytes(sum(expected_bytes(run, experiment.episodes[run.name]) for run in experiment.plan))
    return "1 GPU" if on_gpu else f"{CORES} cores", format_seconds(seconds), "", disk


def _of_named(experiment: Experiment) -> tuple[str, str, str, str]:
    """The same of an experiment with a named model: GPU-hours, which as many GPUs share."""
    config = experiment.config
    model = architecture_of(config)
    if model is None:
        return "", "", "", ""
    machine = machine_for(config)
    sums = total([cost for _, cost in costs(experiment, model, machine)])
    needs = [run_memory(run, model, context_of(config)).total for run in experiment.plan if run.training is not None]
    return (
        f"{config.hardware.processes} x {machine.name}",
        f"{sums.seconds / 3600:,.0f} GPU-hours",
        f"{max(needs, default=0.0) / 1e9:.0f} GB",
        format_bytes(sums.kept + sums.scratch),
    )
