"""The commands that compute: carrying out a plan, building bases, writing a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reproduce.core.files import UserError, remove
from reproduce.core.hashes import read_sealed
from reproduce.core.names import nearest
from reproduce.core.paper import load_paper
from reproduce.core.slices import time_is_up
from reproduce.cost.format import check_disk
from reproduce.cost.time import expected_bytes, expected_disk, stage_seconds
from reproduce.plan.experiment import Experiment, default_report, records_at_hand
from reproduce.plan.open import open_experiment
from reproduce.plan.requirement_checks import check_requirements
from reproduce.runs.executors import Executor
from reproduce.runs.schedule import Job, StageReport, Step, carry_out
from reproduce.runs.state import complete_runs
from reproduce.runs.verify import check_records, seal_records

if TYPE_CHECKING:
    from reproduce.runs.execute import RunConfig


def execute_run(config: RunConfig, folder: Path, rebuild_base: bool, report: StageReport) -> None:
    """Carry out one run; this is what a worker does."""
    from reproduce.runs.execute import execute

    execute(config, folder, report, rebuild_base)


def run_experiment(
    console: Console,
    experiment: Experiment,
    seeds: Sequence[int] | None,
    executor: Executor,
    rebuild_base: bool,
    redo: bool,
) -> Path | None:
    """Carry out the plan, or what is left of it for these seeds, and write the records once it is complete.

    Returns the folder of the records; None while runs are left.
    """
    chosen = _chosen(experiment, seeds)
    if (redo or _left(chosen, complete_runs(experiment))) and not time_is_up():
        check_requirements(experiment, executor.here, executor.at_once or 1)
        with executor.open() as carry_out:
            if redo:  # Not before the executor is known to work.
                _discard(experiment, chosen)
            left = _left(chosen, complete_runs(experiment))
            check_disk(experiment.folder, expected_disk(left, experiment.episodes, executor.at_once))
            _draw_panels(console, left)
            _say_what_is_done(console, experiment, len(left))
            carry_out(_jobs(experiment, left, rebuild_base))
    elif not time_is_up():
        _say_what_is_done(console, experiment, 0)
    complete = complete_runs(experiment)
    if len(complete) < len(experiment.plan):
        _say_what_is_left(console, experiment, chosen, complete, redo)
        return None
    if experiment.config == experiment.paper.profiles[experiment.config.profile]:
        _collect(console, experiment, experiment.records_folder)
        return experiment.records_folder
    # Changed settings must not replace the reference records of the profile.
    records = experiment.folder / "records"
    _collect(console, experiment, records)
    _say(console, f"settings differ from the profile's: add --records {records} to report")
    return records


def _jobs(experiment: Experiment, left: Sequence[RunConfig], rebuild_base: bool) -> list[Job]:
    """One job for each environment and seed, for an arm starts from the base of its seed."""
    jobs: dict[tuple[str, int], list[Step]] = {}
    for run in left:
        step = Step(
            run.name,
            stage_seconds(run, experiment.episodes[run.name], rebuild_base),
            partial(execute_run, run, experiment.folder, rebuild_base),
        )
        jobs.setdefault((run.environment, run.seed), []).append(step)
    return [tuple(steps) for steps in jobs.values()]


def _left(chosen: Sequence[RunConfig], complete: set[str]) -> list[RunConfig]:
    return [run for run in chosen if run.name not in complete]


def _say_what_is_done(console: Console, experiment: Experiment, to_do: int) -> None:
    complete = len(complete_runs(experiment))
    _say(console, f"{experiment.folder}: {complete} of {len(experiment.plan)} runs complete, {to_do} to do")


def _say_what_is_left(
    console: Console, experiment: Experiment, chosen: Sequence[RunConfig], complete: set[str], redo: bool
) -> None:
    """After a slice, or when only some seeds were asked for."""
    left = _left(chosen, complete)
    if not left:
        missing = len(experiment.plan) - len(complete)
        _say(console, f"{missing} runs of other seeds are left; records are written once all are complete")
        return
    begun = sum((experiment.folder / run.name / "manifest.json").exists() for run in left)
    _say(
        console,
        f"the slice is over: {len(complete)} of {len(experiment.plan)} runs complete, {len(left)} left, "
        f"{begun} of them begun; the same command {'without --redo ' if redo else ''}continues",
    )


def _draw_panels(console: Console, left: Sequence[RunConfig]) -> None:
    """Draw the tasks once, before the workers each do: some environments make and keep a game for each of them."""
    import time

    from reproduce.environments.beds import load_bed

    for environment, panels in {run.environment: run.panels for run in left}.items():
        begun = time.monotonic()
        load_bed(environment).panels(panels)
        if (seconds := time.monotonic() - begun) > 1:
            _say(console, f"{environment}: tasks ready after {seconds:.0f} s")


def _chosen(experiment: Experiment, seeds: Sequence[int] | None) -> list[RunConfig]:
    known = {run.seed for run in experiment.plan}
    for seed in seeds or ():
        if seed not in known:
            raise UserError(f"--seeds-only {seed}: the plan has seeds {min(known)} to {max(known)}")
    return [run for run in experiment.plan if seeds is None or run.seed in seeds]


def _discard(experiment: Experiment, chosen: Sequence[RunConfig]) -> None:
    """Remove the folders of these runs, whatever configuration they were made with, unless one is being written."""
    from filelock import FileLock, Timeout

    for run in chosen:
        folder = experiment.folder / run.name
        if folder.is_symlink():  # The run is begun anew here; the folder elsewhere is left as it is.
            folder.unlink()
        if not folder.exists():
            continue
        try:
            with FileLock(folder / ".lock", timeout=0):
                remove(folder)
        except Timeout:
            raise UserError(f"{folder} is in use by another process; wait for it or stop it") from None


def _collect(console: Console, experiment: Experiment, destination: Path) -> None:
    paper = experiment.paper
    paper.collect(paper, experiment.plan, asdict(experiment.config), experiment.folder, destination)
    seal_records(destination)
    _say(console, f"records: {destination}")


def report_experiment(
    console: Console, key: str, profile: str, runs: Path, records: Path | None, out: Path | None
) -> None:
    """Write the report of the records; where there are none, collect them from the runs if those are complete."""
    paper = load_paper(key)
    if profile not in paper.profiles:
        raise UserError(f"unknown profile {profile!r} of {key}; {nearest(profile, tuple(paper.profiles))}")
    source = records or records_at_hand(key, profile)
    if not (source / "experiment.json").is_file():
        experiment = open_experiment(key, profile, (), runs)
        if records is not None or len(complete_runs(experiment)) < len(experiment.plan):
            raise UserError(f"no records in {source}; `python -m reproduce run {key} --profile {profile}` writes them")
        _collect(console, experiment, source)
    found = read_sealed(source / "experiment.json").get("profile")
    if found != profile:
        raise UserError(f"{source}: records of profile {found!r}, not of {profile!r}; name it with --profile")
    verified = check_records(source)
    if not verified:
        _say(console, f"unverified: {source} come from a version that kept no sha256")
    from reproduce.report.pages import write_report

    try:
        _say(console, f"report: {write_report(paper, source, out or default_report(key, profile))}")
    except (KeyError, TypeError, ValueError) as error:
        if verified:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{source}: damaged, and without sha256 that would tell where ({reason})") from None


def build_bases(
    console: Console,
    key: str,
    profile: str,
    settings: Sequence[str],
    seeds: int | None,
    out: Path | None,
    workers: int,
    threads: int,
) -> None:
    """Build and measure the bases that are not there yet, then show what was measured of each."""
    experiment = open_experiment(key, profile, settings, Path())
    from reproduce.runs.base_building import base_jobs, show_bases

    chosen = range(experiment.config.seeds if seeds is None else seeds)
    firsts = [run for run in experiment.plan if run.training is None and run.seed == 0]
    bases = [replace(first, seed=seed) for first in firsts for seed in chosen]

    def seconds(run: RunConfig) -> dict[str, float]:
        first = replace(run, seed=0)
        starting = stage_seconds(first, experiment.episodes[first.name], rebuild_base=True)
        return {"warm start": starting["warm start"], "measure": starting["evaluate"] / 4}

    jobs: list[Job] = base_jobs(bases, out, seconds)
    _say(console, f"{out or 'the bases of the package'}: {len(jobs)} of {len(bases)} bases to build")
    first = experiment.plan[0]
    check_disk(out or Path(), len(jobs) * expected_bytes(first, experiment.episodes[first.name]))
    carry_out(jobs, workers, threads, console)
    show_bases(console, bases, out)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
