"""Print the plan of an experiment."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from reproduce.cost.format import format_bytes, format_seconds
from reproduce.cost.time import expected_disk, expected_seconds, rollouts, stage_seconds
from reproduce.plan.experiment import Experiment
from reproduce.runs.state import complete_runs


def show_plan(console: Console, experiment: Experiment, workers: int) -> None:
    """Print runs, cost and detectable effects, and for models and data from elsewhere what they are and what is
    missing."""
    from reproduce.cli.requirements import missing_lines, show_requirements

    complete, config = complete_runs(experiment), experiment.config
    by_job: dict[tuple[str, int], float] = {}
    table = Table(
        title=f"{experiment.paper.key}, profile {config.profile}, runs in {experiment.folder}", title_justify="left"
    )
    for name, right in (("run", False), ("state", False), ("rollouts", True), ("episodes", True), ("time", True)):
        table.add_column(name, justify="right" if right else "left")
    for run in experiment.plan:
        seconds = sum(stage_seconds(run, experiment.episodes[run.name]).values())
        done = run.name in complete
        if not done:
            job = (run.environment, run.seed)
            by_job[job] = by_job.get(job, 0.0) + seconds
        started = (experiment.folder / run.name / "manifest.json").exists()
        table.add_row(
            run.name,
            "complete" if done else "begun" if started else "to do",
            f"{rollouts(run):,}" if run.training is not None else "",
            f"{experiment.episodes[run.name]:,}",
            "" if done else f"about {format_seconds(seconds)}",
        )
    console.print(table)
    left = [run for run in experiment.plan if run.name not in complete]
    seconds = expected_seconds(list(by_job.values()), workers)
    disk = expected_disk(left, experiment.episodes, workers)
    episodes = sum(experiment.episodes[run.name] for run in left)
    trained = sum(rollouts(run) for run in left)
    where = "GPUs" if config.hardware.device == "cuda" else "cores"
    processes = config.hardware.processes
    places = f"as many {where}" if processes == 1 else f"{workers} x {processes} {where}"
    lines = [
        f"{len(left)} of {len(experiment.plan)} runs to do: {trained:,} rollouts of training, {episodes:,} episodes",
        f"time about {format_seconds(seconds)} with {workers} worker{'s' if workers > 1 else ''} on {places}, "
        f"disk about {format_bytes(disk)}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _show_planned_effects(console, experiment)
    show_untested(console, experiment)
    show_requirements(console, experiment)
    for line in missing_lines(experiment, disk, workers):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_planned_effects(console: Console, experiment: Experiment) -> None:
    """Print what the claims of this plan could find, by the rule that decides them."""
    planned = experiment.paper.planned_effects(experiment.config)
    if not planned:
        return
    from reproduce.claims.power import planned_rows
    from reproduce.claims.verdicts import claims_tested, offered_by_plan

    tested = claims_tested(experiment.paper.claims, offered_by_plan(experiment.plan, experiment.config))
    title = "Minimum detectable effects of test and interval, 80 % power"
    effects = Table(title=title, title_justify="left")
    for name in ("claim", "alone at 5 %", "in its family", "assumption"):
        effects.add_column(name)
    for row in planned_rows(planned, tested, experiment.config.seeds):
        effects.add_row(*row)
    console.print(effects)


def show_untested(console: Console, experiment: Experiment) -> None:
    """Print the claims that this profile does not test, and why."""
    from reproduce.claims.verdicts import offered_by_plan, untested

    reasons = untested(experiment.paper.claims, offered_by_plan(experiment.plan, experiment.config))
    if not reasons:
        return
    table = Table(title="Claims that this profile does not test", title_justify="left")
    table.add_column("claim", no_wrap=True)
    table.add_column("why", overflow="fold")
    for identifier, reason in reasons.items():
        table.add_row(identifier, reason)
    console.print(table, markup=False)
