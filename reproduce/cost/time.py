"""Expected time and disk of runs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reproduce.core.config import HorizonEvaluation, RunConfig
from reproduce.core.files import UserError
from reproduce.cost.architecture import architecture_of, planned_counts
from reproduce.cost.estimate import RunCost, run_cost
from reproduce.cost.machines import machine_for
from reproduce.cost.model import matrix_parameters, policy_architecture
from reproduce.environments.bases import is_committed
from reproduce.environments.beds import load_bed
from reproduce.rollouts.cells import cells_of

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
    panels, counts = bed.panels(sizes.smallest()), planned_counts(run.environment, sizes)
    return sum(
        counts[name] * _episodes(run, name, panels[name].tasks) // len(panels[name].tasks) for name in ("test", "ood")
    )


def _episodes(run: RunConfig, panel: str, tasks: Sequence[Any]) -> int:
    """Episodes of a grid over these tasks."""
    return sum(cell.samples for cell in cells_of(tasks, panel, run.arm, "", run.evaluation))


def training_tasks(run: RunConfig) -> int:
    """Tasks that a run trains on, each as often as it does."""
    return run.training.epochs * planned_counts(run.environment, run.panels)["train"] if run.training is not None else 0


def rollouts(run: RunConfig) -> int:
    """Training episodes of a run."""
    return training_tasks(run) * run.training.group_size if run.training is not None else 0


def stage_seconds(run: RunConfig, episodes: int, rebuild_base: bool = False) -> dict[str, float]:
    """Expected seconds of each stage of a run on the clock, by one worker and the processes that it starts.

    episodes: those that the run evaluates.
    """
    if (cost := _cost_of_named(run, episodes)) is not None:
        # The processes of a training share its work; an evaluation has one.
        trained = {"train": (cost.sampling + cost.training) / run.hardware.processes}
        return {**(trained if run.training is not None else {}), "evaluate": cost.evaluation}
    if run.hardware.device == "cuda":
        return gpu_stage_seconds(run, episodes)
    bed, scale = load_bed(run.environment), _weights(run) / REFERENCE_PARAMETERS
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
    model = architecture_of(run)
    return None if model is None else run_cost(run, model, machine_for(run), rollouts(run), episodes)


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
    checkpoint = BYTES_PER_PARAMETER * _weights(run)
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
    return CHECKPOINTS_WHILE_TRAINING * CHECKPOINT_COPIES * BYTES_PER_PARAMETER * _weights(run)


def _weights(run: RunConfig) -> int:
    """Weights of the policy in matrix products, the (tied) embedding left out."""
    return matrix_parameters(policy_architecture(run.policy))


# ---- policies made here on one GPU
SECONDS_PER_LAYER = 1e-3
"""For one layer's forward pass over a new token of each episode: some twenty kernels of about 50 microseconds. Ours."""
PASSES_OF_AN_UPDATE = 4
"""Forward, twice that backward, and the optimiser, in forward passes."""
OPERATIONS_PER_SECOND = 2e13
"""In float32, of one GPU; a third of what the data sheet of an H100 says."""
TOKENS_OF_A_DEMONSTRATION = 100


def gpu_stage_seconds(run: RunConfig, episodes: int) -> dict[str, float]:
    """Expected seconds of each stage, at most: every episode takes all its rounds and fills every action.

    Nothing of it has been measured: an order of magnitude. A policy of this size keeps no GPU busy. What takes time is
    that PyTorch launches the kernels of each layer one after another, as often as tokens are sampled in turn, however
    many episodes are sampled at once. episodes: of the evaluation.
    """
    layer_seconds = SECONDS_PER_LAYER * run.policy.layers
    stages, evaluation = {}, run.evaluation
    if run.training is not None:
        training_steps = training_tasks(run) // run.training.questions_per_step
        tokens = (run.training.rounds + 1) * run.sampling.longest_action
        sampling = training_steps * tokens * layer_seconds
        update = training_steps * PASSES_OF_AN_UPDATE * layer_seconds
        stages["train"] = sampling + update + _update_seconds(run, rollouts(run) * tokens)
    else:
        sequences = run.warm_start.steps * run.warm_start.batch_size
        update = run.warm_start.steps * PASSES_OF_AN_UPDATE * layer_seconds
        stages["warm start"] = update + _update_seconds(run, sequences * TOKENS_OF_A_DEMONSTRATION)
    caps = evaluation.caps_within(run.rounds)
    batches = -(-episodes // (evaluation.samples * len(caps) * evaluation.at_once))
    stages["evaluate"] = batches * (max(caps) + 1) * run.sampling.longest_action * layer_seconds
    return stages


def _update_seconds(run: RunConfig, tokens: int) -> float:
    """Seconds of forward and backward passes over so many tokens, six operations per weight and token."""
    return 6 * _weights(run) * tokens / OPERATIONS_PER_SECOND
