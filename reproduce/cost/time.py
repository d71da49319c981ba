"""Expected time and disk of runs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reproduce.core.files import UserError

if TYPE_CHECKING:
    from reproduce.core.config import PolicyConfig, RunConfig
    from reproduce.cost.estimate import RunCost

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


def evaluated_episodes(run: RunConfig) -> int:
    """Evaluated episodes of a run. Generated tasks are counted without drawing them."""
    from reproduce.core.config import HorizonEvaluation
    from reproduce.cost.architecture import planned_counts
    from reproduce.environments.beds import load_bed

    if isinstance(run.evaluation, HorizonEvaluation):
        counts = planned_counts(run.environment, run.panels)
        return counts["test"] * run.evaluation.samples + counts["ood"] * run.evaluation.ood_samples
    bed, sizes = load_bed(run.environment), run.panels
    if sizes.source:
        try:
            panels = bed.panels(sizes)
        except UserError:
            # The data is not here yet: as many tasks as the sizes allow.
            return evaluated_episodes(replace(run, panels=replace(sizes, source="")))
        tasks_of = {name: panels[name].tasks for name in ("test", "ood")}
        return sum(_episodes(run, name, tasks) for name, tasks in tasks_of.items())
    # A task of each kind stands for all of its kind.
    panels = bed.panels(replace(sizes, train_per_category=1, test_per_category=1, ood_per_depth=1))
    each = {"test": sizes.test_per_category, "ood": sizes.ood_per_depth}
    return sum(count * _episodes(run, name, panels[name].tasks) for name, count in each.items())


def _episodes(run: RunConfig, panel: str, tasks: Sequence[Any]) -> int:
    """Episodes of a grid over these tasks."""
    from reproduce.rollouts.cells import cells_of

    return sum(cell.samples for cell in cells_of(tasks, panel, run.arm, "", run.evaluation))


def training_tasks(run: RunConfig) -> int:
    """Tasks that a run trains on, each as often as it does."""
    from reproduce.cost.architecture import planned_counts

    return run.training.epochs * planned_counts(run.environment, run.panels)["train"] if run.training is not None else 0


def rollouts(run: RunConfig) -> int:
    """Training episodes of a run."""
    return training_tasks(run) * run.training.group_size if run.training is not None else 0


def parameters(policy: PolicyConfig) -> int:
    """Parameters of the policy in matrix products, the (tied) embedding left out."""
    return policy.layers * policy.width * (4 * policy.width + 3 * policy.feed_forward)


def stage_seconds(run: RunConfig, episodes: int, rebuild_base: bool = False) -> dict[str, float]:
    """Expected seconds of each stage of a run on the clock, by one worker and the processes that it starts.

    episodes: those that the run evaluates.
    """
    from reproduce.cost.gpu_time import gpu_stage_seconds
    from reproduce.environments.bases import is_committed
    from reproduce.environments.beds import load_bed

    if (cost := _cost_of_named(run, episodes)) is not None:
        # The processes of a training share its work; an evaluation has one.
        trained = {"train": (cost.sampling + cost.training) / run.hardware.processes}
        return {**(trained if run.training is not None else {}), "evaluate": cost.evaluation}
    if run.hardware.device == "cuda":
        steps = training_tasks(run) // run.training.questions_per_step if run.training is not None else 0
        return gpu_stage_seconds(run, parameters(run.policy), steps, rollouts(run), episodes)
    bed, scale = load_bed(run.environment), parameters(run.policy) / REFERENCE_PARAMETERS
    stages = {}
    if run.training is not None:
        stages["train"] = rollouts(run) * scale / bed.TRAINING_EPISODES_PER_SECOND
    elif rebuild_base or not is_committed(run.policy, run.warm_start, run.seed, run.environment):
        sequences = run.warm_start.steps * run.warm_start.batch_size
        stages["warm start"] = sequences * scale / WARM_START_SEQUENCES_PER_SECOND
    seconds = episodes * scale / bed.EVALUATION_EPISODES_PER_SECOND
    stages["evaluate"] = RUN_SECONDS + seconds
    return stages


def _cost_of_named(run: RunConfig, episodes: int) -> RunCost | None:
    """The cost of a run of a named model, as far as it is known; None for the policies made here."""
    if not run.model.name:
        return None
    from reproduce.cost.architecture import architecture_of
    from reproduce.cost.estimate import run_cost
    from reproduce.cost.machine_for import machine_for

    model = architecture_of(run)
    if model is None:
        return None
    return run_cost(run, model, machine_for(run), rollouts(run), episodes)


def expected_seconds(jobs: Sequence[float], workers: int) -> float:
    """Seconds until the last of these jobs ends, each begun in order by the first free worker."""
    ends = [START_SECONDS] * max(1, min(workers, len(jobs)))
    for seconds in jobs:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return max(ends) if jobs else 0.0


def expected_bytes(run: RunConfig, episodes: int) -> int:
    """Disk of a complete run that evaluates so many episodes."""
    if (cost := _cost_of_named(run, episodes)) is not None:
        return BYTES_PER_RUN + int(cost.kept)
    checkpoint = BYTES_PER_PARAMETER * parameters(run.policy)
    return BYTES_PER_RUN + checkpoint + BYTES_PER_EPISODE * episodes


def expected_disk(runs: Sequence[RunConfig], episodes: Mapping[str, int], at_once: int = 0) -> int:
    """Disk of these runs once complete, and what those that train at one time need beside it.

    episodes: those that each run evaluates, by its name. at_once: runs that go at one time; 0: as many as there can
    be, one for each environment and seed.
    """
    jobs: dict[tuple[str, int], int] = {}
    for run in runs:
        job = (run.environment, run.seed)
        jobs[job] = max(jobs.get(job, 0), scratch_bytes(run, episodes[run.name]))
    largest = sorted(jobs.values(), reverse=True)
    return sum(expected_bytes(run, episodes[run.name]) for run in runs) + sum(largest[: at_once or len(largest)])


def scratch_bytes(run: RunConfig, episodes: int) -> int:
    """Disk that a run needs only while it trains: checkpoints with optimiser state."""
    if run.training is None:
        return 0
    if (cost := _cost_of_named(run, episodes)) is not None:
        return int(cost.scratch)
    return CHECKPOINTS_WHILE_TRAINING * CHECKPOINT_COPIES * BYTES_PER_PARAMETER * parameters(run.policy)
