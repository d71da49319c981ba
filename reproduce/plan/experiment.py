"""What an experiment consists of before anything is computed: its runs, what they cost, and what is there already."""

from __future__ import annotations

import heapq
import importlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from reproduce.core.files import UserError, read_jsonl, read_parquet
from reproduce.core.names import nearest

if TYPE_CHECKING:
    from reproduce.core.config import PolicyConfig, RunConfig
    from reproduce.cost.estimate import RunCost

PAPERS = {
    "pass_kt": "reproduce.papers.pass_kt.paper",
    "reuserl": "reproduce.papers.reuserl.paper",
    "echorl": "reproduce.papers.echorl.paper",
    "resets": "reproduce.papers.resets.paper",
}
"""Key and module of each paper. A module is loaded when its paper is asked for."""

# Rates of one worker with one thread, measured with the laptop profile on a 2-core x86 machine: work divided by the
# seconds of its stage; those of training and evaluation are the beds'. Other sizes are scaled by parameters in matrix
# products, which is fair above about 0.1 M of them; below, fixed costs dominate.
WARM_START_SEQUENCES_PER_SECOND = 330.0
"""Demonstrations and drills through forward and backward pass."""
REFERENCE_PARAMETERS = 328_000
"""Parameters in matrix products of the policy the rates were measured with."""
RUN_SECONDS = 1.0
"""Of every run, whatever its size: files, tasks, loading and saving the policy."""
START_SECONDS = 10.0
"""A worker loads torch and trl once."""

# Disk of a complete run.
BYTES_PER_EPISODE = 35
"""Of episodes.parquet, measured on smoke runs. Their barely warm policy hardly ever says the same twice; a larger run,
whose transcripts are stored once for each distinct trajectory, needs less."""
BYTES_PER_PARAMETER = 4
"""A checkpoint in float32."""
CHECKPOINTS_WHILE_TRAINING, CHECKPOINT_COPIES = 2, 3
"""Training keeps two more for as long as it lasts, with weights and both moments of Adam."""
BYTES_PER_RUN = 400_000
"""Manifest, log, tokenizer."""
SPARE_BYTES = 64 * 2**20
"""Disk that must stay free."""


@dataclass(frozen=True)
class Experiment:
    """A paper's plan at one configuration, and the folder its runs live in."""

    paper: ModuleType
    config: Any
    """The paper's configuration at a profile."""
    folder: Path
    """DIR/PROFILE/PAPER; run folders lie below it."""

    @cached_property
    def plan(self) -> tuple[RunConfig, ...]:
        """Every run, a base before the arms trained from it."""
        return tuple(self.paper.plan(self.config))

    @cached_property
    def episodes(self) -> dict[str, int]:
        """Evaluated episodes of each run, by its name."""
        known: dict[str, int] = {}
        found = {}
        for run in self.plan:
            key = f"{run.environment} {run.arm}"
            if key not in known:
                known[key] = _episodes(run)
            found[run.name] = known[key]
        return found

    @property
    def records_folder(self) -> Path:
        """Where the records of this profile are kept."""
        return default_records(self.paper.KEY, self.config.profile)


def default_report(key: str, profile: str) -> Path:
    """Where the report of a paper at a profile is kept, below the current folder."""
    return Path("reports") / profile / key


def default_records(key: str, profile: str) -> Path:
    """Where the records of a paper at a profile are kept, below the current folder."""
    return default_report(key, profile) / "records"


def _episodes(run: RunConfig) -> int:
    """Evaluated episodes of a run. Counted without drawing tasks where that takes long."""
    from reproduce.core.config import HorizonEvaluation
    from reproduce.environments.beds import load_bed
    from reproduce.plan.requirement_checks import planned_counts
    from reproduce.rollouts.evaluation import cells_of

    if isinstance(run.evaluation, HorizonEvaluation):
        counts = planned_counts(run.environment, run.panels)
        return counts["test"] * run.evaluation.samples + counts["ood"] * run.evaluation.ood_samples
    try:
        panels = load_bed(run.environment).panels(run.panels)
    except UserError:
        # The data is not here yet: as many tasks as the sizes allow.
        panels = load_bed(run.environment).panels(replace(run.panels, source=""))
    return sum(
        cell.samples
        for name in ("test", "ood")
        for cell in cells_of(panels[name].tasks, name, run.arm, "", run.evaluation)
    )


def training_tasks(run: RunConfig) -> int:
    """Tasks that a run trains on, each as often as it does."""
    from reproduce.plan.requirement_checks import planned_counts

    return run.training.epochs * planned_counts(run.environment, run.panels)["train"] if run.training is not None else 0


def rollouts(run: RunConfig) -> int:
    """Training episodes of a run."""
    return training_tasks(run) * run.training.group_size if run.training is not None else 0


def load_paper(key: str) -> ModuleType:
    """The module of a paper. Raises UserError for an unknown key, with the nearest one."""
    if key not in PAPERS:
        raise UserError(f"unknown paper {key!r}; {nearest(key, tuple(PAPERS))}")
    return importlib.import_module(PAPERS[key])


def open_experiment(key: str, profile: str, settings: Sequence[str], runs: Path) -> Experiment:
    """Resolve names and settings. Raises UserError for those that are unknown or do not fit."""
    paper = load_paper(key)
    from reproduce.core.settings import with_settings

    if profile not in paper.PROFILES:
        raise UserError(f"unknown profile {profile!r} of {key}; {nearest(profile, tuple(paper.PROFILES))}")
    experiment = Experiment(paper, with_settings(paper.PROFILES[profile], settings), runs / profile / key)
    from reproduce.plan.size_checks import check_sizes

    check_sizes(experiment.config)
    return experiment


def complete_runs(experiment: Experiment) -> set[str]:
    """Names of the complete runs. Raises UserError for a folder of another configuration or with damaged files."""
    from reproduce.rollouts.models import is_checkpoint
    from reproduce.runs.execute import RunFolder

    complete = set()
    for run in experiment.plan:
        folder = RunFolder(experiment.folder / run.name, run)
        try:
            is_complete = folder.complete
        except (KeyError, TypeError):
            raise UserError(f"{folder.manifest}: damaged (no exit state); run again with --redo") from None
        if is_complete:
            # Damage must be found now, not after hours, when the records are made.
            policy = folder.checkpoint / "config.json"
            for needed, found in (
                (folder.path / "config.json", (folder.path / "config.json").is_file()),
                (policy, is_checkpoint(folder.checkpoint)),
            ):
                if not found:
                    raise UserError(f"{needed}: no such file in a complete run; run again with --redo")
            episodes = read_parquet(folder.episodes, columns=["success"])
            _check_rows(folder.episodes, episodes.num_rows, experiment.episodes[run.name])
            if run.training is not None:
                steps = training_tasks(run) // run.training.questions_per_step
                _check_rows(folder.metrics, len(read_jsonl(folder.metrics)), steps)
            complete.add(run.name)
    return complete


def _check_rows(path: Path, rows: int, expected: int) -> None:
    """Refuse a file of a complete run that lacks rows or has too many."""
    if rows != expected:
        raise UserError(
            f"{path}, row {min(rows, expected) + 1}: damaged ({rows} rows, {expected} expected); run again with --redo"
        )


def parameters(policy: PolicyConfig) -> int:
    """Parameters of the policy in matrix products, the (tied) embedding left out."""
    return policy.layers * policy.width * (4 * policy.width + 3 * policy.feed_forward)


def stage_seconds(experiment: Experiment, run: RunConfig, rebuild_base: bool = False) -> dict[str, float]:
    """Expected seconds of each stage of a run on the clock, by one worker and the processes that it starts."""
    from reproduce.cost.gpu_time import gpu_stage_seconds
    from reproduce.environments.beds import load_bed
    from reproduce.training.bases import is_committed

    if (cost := _cost_of_named(experiment, run)) is not None:
        # The processes of a training share its work; an evaluation has one.
        trained = {"train": (cost.sampling + cost.training) / run.hardware.processes}
        return {**(trained if run.training is not None else {}), "evaluate": cost.evaluation}
    if run.hardware.device == "cuda":
        steps = training_tasks(run) // run.training.questions_per_step if run.training is not None else 0
        episodes = experiment.episodes[run.name]
        return gpu_stage_seconds(run, parameters(run.policy), steps, rollouts(run), episodes)
    bed, scale = load_bed(run.environment), parameters(run.policy) / REFERENCE_PARAMETERS
    stages = {}
    if run.training is not None:
        stages["train"] = rollouts(run) * scale / bed.TRAINING_EPISODES_PER_SECOND
    elif rebuild_base or not is_committed(run.policy, run.warm_start, run.seed, run.environment):
        sequences = run.warm_start.steps * run.warm_start.batch_size
        stages["warm start"] = sequences * scale / WARM_START_SEQUENCES_PER_SECOND
    seconds = experiment.episodes[run.name] * scale / bed.EVALUATION_EPISODES_PER_SECOND
    stages["evaluate"] = RUN_SECONDS + seconds
    return stages


def _cost_of_named(experiment: Experiment, run: RunConfig) -> RunCost | None:
    """The cost of a run of a named model, as far as it is known; None for the policies made here."""
    if not run.model.name:
        return None
    from reproduce.cli.requirements import machine_for
    from reproduce.cost.estimate import run_cost
    from reproduce.plan.requirement_checks import architecture_of

    model = architecture_of(run)
    if model is None:
        return None
    return run_cost(run, model, machine_for(run), rollouts(run), experiment.episodes[run.name])


def expected_seconds(jobs: Sequence[float], workers: int) -> float:
    """Seconds until the last of these jobs ends, each begun in order by the first free worker."""
    ends = [START_SECONDS] * max(1, min(workers, len(jobs)))
    for seconds in jobs:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return max(ends) if jobs else 0.0


def expected_bytes(experiment: Experiment, run: RunConfig) -> int:
    """Disk of a complete run."""
    if (cost := _cost_of_named(experiment, run)) is not None:
        return BYTES_PER_RUN + int(cost.kept)
    checkpoint = BYTES_PER_PARAMETER * parameters(run.policy)
    return BYTES_PER_RUN + checkpoint + BYTES_PER_EPISODE * experiment.episodes[run.name]


def expected_disk(experiment: Experiment, runs: Sequence[RunConfig], at_once: int = 0) -> int:
    """Disk of these runs once complete, and what those that train at one time need beside it.

    at_once: runs that go at one time; 0: as many as there can be, one for each environment and seed.
    """
    jobs: dict[tuple[str, int], int] = {}
    for run in runs:
        job = (run.environment, run.seed)
        jobs[job] = max(jobs.get(job, 0), scratch_bytes(experiment, run))
    largest = sorted(jobs.values(), reverse=True)
    return sum(expected_bytes(experiment, run) for run in runs) + sum(largest[: at_once or len(largest)])


def scratch_bytes(experiment: Experiment, run: RunConfig) -> int:
    """Disk that a run needs only while it trains: checkpoints with optimiser state."""
    if run.training is None:
        return 0
    if (cost := _cost_of_named(experiment, run)) is not None:
        return int(cost.scratch)
    return CHECKPOINTS_WHILE_TRAINING * CHECKPOINT_COPIES * BYTES_PER_PARAMETER * parameters(run.policy)


def check_disk(folder: Path, needed: int) -> None:
    """Raise UserError when the disk of `folder` cannot take `needed` bytes more."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE_BYTES:
        raise UserError(
            f"{folder}: {shown_bytes(needed + SPARE_BYTES)} of disk are needed, {shown_bytes(free)} are free; "
            "free some or choose another --runs folder"
        )


def shown_bytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def shown_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_plan(console: Console, experiment: Experiment, workers: int) -> None:
    """Print runs, cost and detectable effects, and for models and data from elsewhere what they are and what is
    missing."""
    from reproduce.cli.requirements import missing_lines, show_requirements

    complete, config = complete_runs(experiment), experiment.config
    by_job: dict[tuple[str, int], float] = {}
    table = Table(
        title=f"{experiment.paper.KEY}, profile {config.profile}, runs in {experiment.folder}", title_justify="left"
    )
    for name, right in (("run", False), ("state", False), ("rollouts", True), ("episodes", True), ("time", True)):
        table.add_column(name, justify="right" if right else "left")
    for run in experiment.plan:
        seconds = sum(stage_seconds(experiment, run).values())
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
            "" if done else f"about {shown_seconds(seconds)}",
        )
    console.print(table)
    left = [run for run in experiment.plan if run.name not in complete]
    seconds = expected_seconds(list(by_job.values()), workers)
    disk = expected_disk(experiment, left, workers)
    episodes = sum(experiment.episodes[run.name] for run in left)
    trained = sum(rollouts(run) for run in left)
    where = "GPUs" if config.hardware.device == "cuda" else "cores"
    processes = config.hardware.processes
    places = f"as many {where}" if processes == 1 else f"{workers} x {processes} {where}"
    lines = [
        f"{len(left)} of {len(experiment.plan)} runs to do: {trained:,} rollouts of training, {episodes:,} episodes",
        f"time about {shown_seconds(seconds)} with {workers} worker{'s' if workers > 1 else ''} on {places}, "
        f"disk about {shown_bytes(disk)}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    planned_effects = getattr(experiment.paper, "planned_effects", None)
    if planned_effects is not None:
        effects = Table(title="Minimum detectable effects, 80 % power at 5 %, before Holm", title_justify="left")
        for name in ("claim", "effect", "assumption"):
            effects.add_column(name)
        for row in planned_effects(config):
            effects.add_row(*row)
        console.print(effects)
    show_untested(console, experiment)
    show_requirements(console, experiment)
    for line in missing_lines(experiment, disk, workers):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_untested(console: Console, experiment: Experiment) -> None:
    """Print the claims that this profile does not test, and why."""
    from reproduce.claims.verdicts import reason_untested

    reasons = {
        claim.identifier: reason
        for claim in experiment.paper.CLAIMS
        if (reason := reason_untested(claim, experiment.config.profile))
    }
    if not reasons:
        return
    table = Table(title="Claims that this profile does not test", title_justify="left")
    table.add_column("claim", no_wrap=True)
    table.add_column("why", overflow="fold")
    for identifier, reason in reasons.items():
        table.add_row(identifier, reason)
    console.print(table, markup=False)
