"""Print models, data, values, cost and lacks of an experiment whose models or data are from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError
from reproduce.cost.architecture import architecture_of, context_of, describe, field_of, presence
from reproduce.cost.estimate import RunCost, evaluation_bytes, run_cost, run_memory, total
from reproduce.cost.machines import CORE, GPUS, Machine, machine_for
from reproduce.cost.model import Architecture
from reproduce.cost.paper_scale import DataEntry, ModelEntry, PaperScale, ValueEntry, load_paper_scale
from reproduce.cost.profile import PAPER
from reproduce.plan.requirement_checks import missing
from reproduce.training.checks import lines_on_processes

if TYPE_CHECKING:
    from reproduce.plan.experiment import Experiment

SHORT = 10 * 3600.0
"""Seconds below which a cost is told in minutes and hours of one machine."""


def show_requirements(console: Console, experiment: Experiment) -> None:
    """Print models, data, values and cost, and what depends on the number of processes; nothing for tiny policies in
    one process."""
    config = experiment.config
    if config.profile == PAPER:
        scale = load_paper_scale(experiment.paper.key)
        console.print(_models(scale.models))
        console.print(_data(scale.data, config))
        console.print(_values(scale, config))
    if config.model.name:
        for line in cost_lines(experiment):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in lines_on_processes(experiment.plan):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def missing_lines(experiment: Experiment, disk: int, at_once: int = 1) -> list[str]:
    """Lines that say what is missing, or that nothing is; none where nothing could be.

    disk: bytes that the runs left need. at_once: runs that go at one time.
    """
    from reproduce.cost.format import check_disk

    config = experiment.config
    sources = any(run.panels.source for run in experiment.plan)
    if not (config.model.name or sources or config.hardware.device != "cpu" or config.profile == PAPER):
        return []
    found = missing(experiment, at_once=at_once)
    try:
        check_disk(experiment.folder, disk)
    except UserError as error:
        found.append(str(error))
    return [f"missing: {line}" for line in found] or ["nothing is missing: models, data, devices and disk are there"]


def _models(models: Sequence[ModelEntry]) -> Table:
    table = _table("Models", "name", "role", "weights", "licence", "here", "how to get it", "source")
    for model in models:
        try:
            describe(model.name)
            here = "yes"
        except UserError:
            here = "no"
        table.add_row(
            model.name,
            model.role,
            f"{model.parameters / 1e9:.2f} G",
            model.licence,
            here,
            f"hf download {model.name}",
            _source(model.source, model.provenance),
        )
    return table


def _data(data: Sequence[DataEntry], config: Any) -> Table:
    table = _table("Data", "name", "environment", "what", "size", "here", "how to get it", "source")
    for entry in data:
        table.add_row(
            entry.name,
            entry.environment,
            entry.what,
            f"{entry.gigabytes:g} GB" if entry.gigabytes else "",
            presence(entry, config),
            entry.get,
            _source(entry.source, entry.provenance),
        )
    return table


def _values(scale: PaperScale, config: Any) -> Table:
    table = _table("Values", "what", "value", "where it goes", "source")
    for entry in scale.values:
        table.add_row(
            entry.name, _shown(entry.value), destination(entry, config), _source(entry.source, entry.provenance)
        )
    return table


def destination(entry: ValueEntry, config: Any) -> str:
    """The fields that a value goes to, and their present values where those differ; else why it goes nowhere."""
    parts = []
    for path in entry.setting:
        now = field_of(config, path)
        changed = "" if now == entry.value else f" = {_shown(now)}"
        parts.append(f"{path}{changed}")
    if entry.argument:
        applied = "" if entry.applied is None else f" = {_shown(entry.applied)}"
        parts.append(f"{entry.argument} of GRPOConfig{applied}")
    where = ", ".join(parts)
    return f"{where}; {entry.note}" if where and entry.note else where or entry.note


def costs(experiment: Experiment, model: Architecture, machine: Machine) -> list[tuple[RunConfig, RunCost]]:
    """Every run with its cost."""
    from reproduce.cost.time import rollouts

    return [
        (run, run_cost(run, model, machine, rollouts(run), experiment.episodes[run.name])) for run in experiment.plan
    ]


def cost_lines(experiment: Experiment) -> list[str]:
    """GPU memory, GPU-hours and disk of the whole plan, in words."""
    from reproduce.cost.format import format_bytes, format_seconds

    config = experiment.config
    model = architecture_of(config)
    if model is None:
        return [f"cost: not estimated, {config.model.name} is neither here nor in a paper's file"]
    lines = memory_lines(experiment.plan, model, context_of(config)) if config.hardware.device == "cuda" else []
    machines = [machine_for(config)]
    published = published_machine(experiment)
    if config.hardware.device == "cuda" and published is not None and published not in machines:
        machines.append(published)
    for machine in machines:
        sums = total([cost for _, cost in costs(experiment, model, machine)])
        unit = "core-hours" if machine is CORE else f"GPU-hours of {machine.name}"
        stages = (("rollouts", sums.sampling), ("training", sums.training), ("evaluation", sums.evaluation))
        if sums.seconds < SHORT:
            one = machine.name if machine is CORE else f"one {machine.name}"
            parts = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in stages)
            lines.append(f"cost: about {format_seconds(sums.seconds)} of {one}: {parts}")
        else:
            parts = ", ".join(f"{name} {seconds / 3600:,.0f}" for name, seconds in stages)
            lines.append(f"cost: about {sums.seconds / 3600:,.0f} {unit}: {parts}")
    sums = total([cost for _, cost in costs(experiment, model, machines[0])])
    lines.append(f"disk: {format_bytes(sums.kept)} of results, {format_bytes(sums.scratch)} more while a run trains")
    if config.profile == PAPER:
        hardware = load_paper_scale(experiment.paper.key).hardware
        hours = f", {hardware.gpu_hours:g} GPU-hours a training" if hardware.gpu_hours else ""
        note = f"; {hardware.note}" if hardware.note else ""
        source = _source(hardware.source, hardware.provenance)
        lines.append(f"hardware of the paper: {hardware.count} x {hardware.gpu}{hours} [{source}]{note}")
    return lines


def memory_lines(runs: Sequence[RunConfig], model: Architecture, context: int | None) -> list[str]:
    """GPU memory of the most demanding training and evaluation."""
    lines = []
    trained = [run_memory(run, model, context) for run in runs if run.training is not None]
    if trained:
        needs = max(trained, key=lambda memory: memory.total)
        parts = {
            "weights": needs.weights,
            "gradients": needs.gradients,
            "optimiser": needs.optimiser,
            "reference": needs.reference,
            "activations": needs.activations,
            "vLLM at the least": needs.sampling,
        }
        shown = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items() if size)
        lines.append(f"GPU memory: about {needs.total / 1e9:.0f} GB on each GPU that trains ({shown})")
    evaluated = max(evaluation_bytes(run, model, context) for run in runs)
    return [*lines, f"GPU memory: at least {evaluated / 1e9:.0f} GB in evaluation"]


def published_machine(experiment: Experiment) -> Machine | None:
    """The GPU that the paper ran on, as far as a file says it."""
    if experiment.config.profile != PAPER:
        return None
    return GPUS.get(load_paper_scale(experiment.paper.key).hardware.gpu)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _source(source: str, provenance: str) -> str:
    return source if provenance == "ours" else f"{source} ({provenance})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
