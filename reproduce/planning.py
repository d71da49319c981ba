"""What an experiment consists of before anything is computed: its runs, what they cost, and what is there already."""

from __future__ import annotations

import heapq
import importlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from reproduce.names import nearest
from reproduce.storage import UserError, read_jsonl, read_parquet

if TYPE_CHECKING:
    from reproduce.experiment import ExperimentConfig
    from reproduce.runs import RunConfig

PAPERS = {"pass_kt": "reproduce.papers.pass_kt"}
"""Key and module of each paper. A module is loaded when its paper is asked for."""

# Rates of one worker with one thread, measured with the laptop profile on a 2-core x86 machine: work divided by the
# seconds of its stage. Other sizes are scaled by parameters in matrix products, which is fair above about 0.1 M of
# them; below, fixed costs dominate.
WARM_START_SEQUENCES_PER_SECOND = 330.0
"""Demonstrations and drills through forward and backward pass."""
TRAINING_EPISODES_PER_SECOND = 400.0
"""Rollouts of training, with their share of the optimiser step."""
EVALUATION_EPISODES_PER_SECOND = 25_000.0
"""Episodes of the evaluation; episodes with one history share their computation."""
REFERENCE_PARAMETERS = 328_000
"""Parameters in matrix products of the policy the rates were measured with."""
START_SECONDS = 10.0
"""A worker loads torch and trl once."""

# Disk of a complete run.
BYTES_PER_EPISODE = 35
"""Of episodes.parquet, measured on smoke runs. Their barely warm policy hardly ever says the same twice; a larger run,
whose transcripts are stored once for each distinct trajectory, needs less."""
BYTES_PER_PARAMETER = 4
"""A checkpoint in float32; training keeps two more with optimiser state for as long as it lasts."""
BYTES_PER_RUN = 400_000
"""Manifest, log, tokenizer."""
SPARE_BYTES = 64 * 2**20
"""Disk that must stay free."""

FEWEST_POSITIONS = 64
"""Fewest `policy.longest`. What an episode at the largest cap fills depends on the observations, so this refuses only
what no episode with a search fits in."""
LARGEST_SIZES = {"seeds": 1_000, "panels.train_per_category": 100_000, "panels.test_per_category": 100_000}
"""Far beyond what a machine gets through; a mistyped number must not fill its memory first."""


@dataclass(frozen=True)
class Experiment:
    """A paper's plan at one configuration, and the folder its runs live in."""

    paper: ModuleType
    config: ExperimentConfig
    folder: Path
    """DIR/PROFILE/PAPER; run folders lie below it."""

    @cached_property
    def plan(self) -> tuple[RunConfig, ...]:
        """Every run, a base before the arms trained from it."""
        return tuple(self.paper.plan(self.config))

    @cached_property
    def episodes(self) -> dict[str, int]:
        """Evaluated episodes of a run of each arm."""
        from reproduce.environments.retrieval import build_panels
        from reproduce.evaluation import cells_of

        panels = build_panels(**asdict(self.config.panels))
        return {
            arm: sum(
                cell.samples
                for name in ("test", "ood")
                for cell in cells_of(panels[name].tasks, name, arm, "", self.config.evaluation)
            )
            for arm in dict.fromkeys(run.arm for run in self.plan)
        }

    @property
    def rollouts(self) -> int:
        """Training episodes of a trained run."""
        training = self.config.training
        return training.epochs * 2 * self.config.panels.train_per_category * training.group_size

    @property
    def records_folder(self) -> Path:
        """Where the records of this profile are kept."""
        return default_records(self.config.profile)


def default_records(profile: str) -> Path:
    """Where the records of a profile are kept, below the current folder."""
    return Path("reports") / profile / "records"


def load_paper(key: str) -> ModuleType:
    """The module of a paper. Raises UserError for an unknown key, with the nearest one."""
    if key not in PAPERS:
        raise UserError(f"unknown paper {key!r}; {nearest(key, tuple(PAPERS))}")
    return importlib.import_module(PAPERS[key])


def open_experiment(key: str, profile: str, settings: Sequence[str], runs: Path) -> Experiment:
    """Resolve names and settings. Raises UserError for those that are unknown or do not fit."""
    paper = load_paper(key)
    from reproduce.experiment import with_settings

    if profile not in paper.PROFILES:
        raise UserError(f"unknown profile {profile!r} of {key}; {nearest(profile, tuple(paper.PROFILES))}")
    experiment = Experiment(paper, with_settings(paper.PROFILES[profile], settings), runs / profile / key)
    _check_sizes(experiment.config)
    return experiment


def _check_sizes(config: ExperimentConfig) -> None:
    """Refuse what the training loop would refuse after seconds or minutes."""
    from reproduce.rollouts.sampler import STREAM_LENGTH

    sizes = {
        "seeds": config.seeds,
        "panels.train_per_category": config.panels.train_per_category,
        "panels.test_per_category": config.panels.test_per_category,
        "evaluation.samples": config.evaluation.samples,
        "evaluation.largest_k": config.evaluation.largest_k,
        "evaluation.questions_at_once": config.evaluation.questions_at_once,
        "training.epochs": config.training.epochs,
        "training.questions_per_step": config.training.questions_per_step,
        "training.save_every": config.training.save_every,
        "warm_start.steps": config.warm_start.steps,
        "policy.layers": config.policy.layers,
        "policy.width": config.policy.width,
        "policy.heads": config.policy.heads,
        "policy.feed_forward": config.policy.feed_forward,
        "policy.window": config.policy.window,
        "sampling.longest_action": config.sampling.longest_action,
    }
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"--set {name}={value}: must be at least 1")
    for name, most in LARGEST_SIZES.items():
        if sizes[name] > most:
            raise UserError(f"--set {name}={sizes[name]}: must be at most {most:,}")
    if config.policy.longest < FEWEST_POSITIONS:
        raise UserError(
            f"--set policy.longest={config.policy.longest}: must be at least {FEWEST_POSITIONS}, an episode needs them"
        )
    rates = {
        "sampling.temperature": config.sampling.temperature,
        "training.learning_rate": config.training.learning_rate,
        "warm_start.learning_rate": config.warm_start.learning_rate,
    }
    for name, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f"--set {name}={rate}: must be a finite number above 0")
    if config.training.group_size < 2:
        raise UserError(
            f"--set training.group_size={config.training.group_size}: must be at least 2, a group is compared"
        )
    if config.policy.width % (2 * config.policy.heads):
        raise UserError(
            f"--set policy.width={config.policy.width}: must be an even multiple of policy.heads={config.policy.heads}"
        )
    questions, step = 2 * config.panels.train_per_category, config.training.questions_per_step
    if questions % step:
        raise UserError(f"--set training.questions_per_step={step}: must divide the {questions} training questions")
    if not config.evaluation.caps or min(config.evaluation.caps) < 0:
        raise UserError("--set evaluation.caps: at least one cap, none below 0")
    if not {0, 1, 2} < set(config.evaluation.caps):
        raise UserError("--set evaluation.caps: the claims need T = 0, 1, 2 and at least one larger T")
    if len(set(config.evaluation.caps)) < len(config.evaluation.caps):
        raise UserError(f"--set evaluation.caps={','.join(map(str, config.evaluation.caps))}: a cap is there twice")
    longest = (max(*config.evaluation.caps, config.training.rounds) + 1) * config.sampling.longest_action
    if longest > STREAM_LENGTH:
        raise UserError(
            f"--set: an episode may sample {longest} tokens (rounds + 1 times sampling.longest_action); "
            f"at most {STREAM_LENGTH} are provided for"
        )
    if config.evaluation.ood_samples < config.evaluation.largest_k:
        raise UserError(
            f"--set evaluation.ood_samples={config.evaluation.ood_samples}: must be at least "
            f"evaluation.largest_k={config.evaluation.largest_k}"
        )
    if config.evaluation.samples < 2 * config.evaluation.largest_k:
        raise UserError(
            f"--set evaluation.samples={config.evaluation.samples}: must be at least twice "
            f"evaluation.largest_k={config.evaluation.largest_k}"
        )


def complete_runs(experiment: Experiment) -> set[str]:
    """Names of the complete runs. Raises UserError for a folder of another configuration or with damaged files."""
    from reproduce.runs import RunFolder

    complete = set()
    for run in experiment.plan:
        folder = RunFolder(experiment.folder / run.name, run)
        try:
            is_complete = folder.complete
        except (KeyError, TypeError):
            raise UserError(f"{folder.manifest}: damaged (no exit state); run again with --redo") from None
        if is_complete:
            # Damage must be found now, not after hours, when the records are made.
            for needed in (folder.path / "config.json", folder.checkpoint / "config.json"):
                if not needed.is_file():
                    raise UserError(f"{needed}: no such file in a complete run; run again with --redo")
            episodes = read_parquet(folder.episodes, columns=["success"])
            _check_rows(folder.episodes, episodes.num_rows, experiment.episodes[run.arm])
            if run.training is not None:
                questions = run.training.epochs * 2 * run.panels.train_per_category
                _check_rows(
                    folder.metrics, len(read_jsonl(folder.metrics)), questions // run.training.questions_per_step
                )
            complete.add(run.name)
    return complete


def _check_rows(path: Path, rows: int, expected: int) -> None:
    """Refuse a file of a complete run that lacks rows or has too many."""
    if rows != expected:
        raise UserError(
            f"{path}, row {min(rows, expected) + 1}: damaged ({rows} rows, {expected} expected); run again with --redo"
        )


def parameters(config: ExperimentConfig) -> int:
    """Parameters of the policy in matrix products, the (tied) embedding left out."""
    policy = config.policy
    return policy.layers * policy.width * (4 * policy.width + 3 * policy.feed_forward)


def stage_seconds(experiment: Experiment, run: RunConfig, rebuild_base: bool = False) -> dict[str, float]:
    """Expected seconds of each stage of a run, by one worker."""
    from reproduce.bases import is_committed

    config = experiment.config
    scale = parameters(config) / REFERENCE_PARAMETERS
    stages = {}
    if run.training is not None:
        stages["train"] = experiment.rollouts * scale / TRAINING_EPISODES_PER_SECOND
    elif rebuild_base or not is_committed(run.policy, run.warm_start, run.seed):
        sequences = config.warm_start.steps * config.warm_start.batch_size
        stages["warm start"] = sequences * scale / WARM_START_SEQUENCES_PER_SECOND
    stages["evaluate"] = experiment.episodes[run.arm] * scale / EVALUATION_EPISODES_PER_SECOND
    return stages


def expected_seconds(jobs: Sequence[float], workers: int) -> float:
    """Seconds until the last of these jobs ends, each begun in order by the first free worker."""
    ends = [START_SECONDS] * max(1, min(workers, len(jobs)))
    for seconds in jobs:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return max(ends) if jobs else 0.0


def expected_bytes(experiment: Experiment, run: RunConfig) -> int:
    """Disk of a complete run."""
    checkpoint = BYTES_PER_PARAMETER * parameters(experiment.config)
    return BYTES_PER_RUN + checkpoint + BYTES_PER_EPISODE * experiment.episodes[run.arm]


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
    """Print runs, cost and detectable effects."""
    complete, config = complete_runs(experiment), experiment.config
    by_seed: dict[int, float] = {}
    table = Table(
        title=f"{experiment.paper.KEY}, profile {config.profile}, runs in {experiment.folder}", title_justify="left"
    )
    for name, right in (("run", False), ("state", False), ("rollouts", True), ("episodes", True), ("time", True)):
        table.add_column(name, justify="right" if right else "left")
    for run in experiment.plan:
        seconds = sum(stage_seconds(experiment, run).values())
        done = run.name in complete
        if not done:
            by_seed[run.seed] = by_seed.get(run.seed, 0.0) + seconds
        started = (experiment.folder / run.name / "manifest.json").exists()
        table.add_row(
            run.name,
            "complete" if done else "begun" if started else "to do",
            f"{experiment.rollouts:,}" if run.training is not None else "",
            f"{experiment.episodes[run.arm]:,}",
            "" if done else f"about {shown_seconds(seconds)}",
        )
    console.print(table)
    left = [run for run in experiment.plan if run.name not in complete]
    seconds = expected_seconds(list(by_seed.values()), workers)
    disk = sum(expected_bytes(experiment, run) for run in left)
    episodes = sum(experiment.episodes[run.arm] for run in left)
    rollouts = experiment.rollouts * sum(run.training is not None for run in left)
    lines = [
        f"{len(left)} of {len(experiment.plan)} runs to do: {rollouts:,} rollouts of training, {episodes:,} episodes",
        f"time about {shown_seconds(seconds)} with {workers} worker{'s' if workers > 1 else ''} on as many cores, "
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
