"""Evaluation: sample a fixed policy and keep every episode: at the horizon, or over a grid of caps T.

The grid has two estimators of PASS@(k,T). `independent`: fresh episodes for every T, as in the paper. `prefix-fork`:
the episodes of the largest T, forked into a forced answer at every smaller T; since the prompt never reveals T, each
fork is an exact draw of the episode with that cap, and only the dependence across T changes (a smaller variance of
increments in T).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from reproduce.core.config import RunConfig
from reproduce.core.files import read_parquet, remove, write_parquet
from reproduce.core.hashes import is_marked, mark
from reproduce.core.slices import SliceOver, time_is_up
from reproduce.environments.protocol import Panel
from reproduce.rollouts import EpisodeBatch, Sampler, Trajectory, UniformStreams
from reproduce.rollouts.cells import Cell, cells_of
from reproduce.rollouts.streams import stream_length


def sample_cells(
    sampler: Sampler, tasks: Sequence[Any], cells: Sequence[Cell]
) -> tuple[EpisodeBatch, np.ndarray, np.ndarray]:
    """Sample all cells in one batch. Returns the episodes, and the cell and the sample number of each."""
    names = tuple(dict.fromkeys(cell.stream for cell in cells))
    most = max(cell.samples for cell in cells)
    counts = np.array([cell.samples for cell in cells])
    cell_of_episode = np.repeat(np.arange(len(cells)), counts)
    sample = np.arange(len(cell_of_episode)) - np.repeat(np.cumsum(counts) - counts, counts)
    place_of_name = {name: place for place, name in enumerate(names)}
    stream = np.array([place_of_name[cell.stream] for cell in cells])[cell_of_episode] * most + sample
    longest = stream_length(max(cell.cap for cell in cells), sampler.config.longest_action)
    batch = sampler.sample(
        tasks,
        np.array([cell.question for cell in cells])[cell_of_episode],
        np.array([cell.cap for cell in cells])[cell_of_episode],
        stream,
        UniformStreams(names, most, longest),
    )
    return batch, cell_of_episode, sample


def episode_table(
    batch: EpisodeBatch,
    cell_of_episode: np.ndarray,
    sample: np.ndarray,
    tasks: Sequence[Any],
    cells: Sequence[Cell],
    panel: str,
    tokenizer: PreTrainedTokenizerFast,
) -> pa.Table:
    """One row an episode. Transcripts are stored once for each distinct trajectory."""

    def column(values: Sequence[str], places: np.ndarray) -> pa.DictionaryArray:
        distinct = list(dict.fromkeys(values))
        code = {value: place for place, value in enumerate(distinct)}
        codes = np.array([code[value] for value in values], dtype=np.int32)
        return pa.DictionaryArray.from_arrays(codes[places], pa.array(distinct, pa.string()))

    which = batch.trajectory_of_episode
    trajectories = batch.trajectories
    task_of_cell = [tasks[cell.question] for cell in cells]
    sampled = np.array([int(trajectory.from_policy.sum()) for trajectory in trajectories], dtype=np.int16)
    columns = {
        "panel": column([panel] * len(cells), cell_of_episode),
        "category": column([task.category for task in task_of_cell], cell_of_episode),
        "question": column([task.identifier for task in task_of_cell], cell_of_episode),
        "T": np.array([cell.cap for cell in cells], dtype=np.int8)[cell_of_episode],
        "estimator": column([cell.estimator for cell in cells], cell_of_episode),
        "sample": sample.astype(np.int16),
        "success": batch.successes,
        "failure": column([trajectory.failure for trajectory in trajectories], which),
        "rounds": np.array([trajectory.rounds for trajectory in trajectories], dtype=np.int8)[which],
        "forced": np.array([trajectory.forced for trajectory in trajectories], dtype=bool)[which],
        "sampled_tokens": sampled[which],
        "skills": column([" ".join(trajectory.skills) for trajectory in trajectories], which),
        "repeated": np.array([_repeated(trajectory) for trajectory in trajectories], dtype=np.int16)[which],
        "transcript": column([tokenizer.decode(trajectory.token_ids) for trajectory in trajectories], which),
    }
    if tasks and hasattr(tasks[0], "hops"):
        columns["hops"] = np.array([task.hops for task in task_of_cell], dtype=np.int8)[cell_of_episode]
    return pa.table(columns)


def _repeated(trajectory: Trajectory) -> int:
    """Actions that their episode had given before, word for word."""
    starts = np.flatnonzero(np.diff(trajectory.from_policy.astype(np.int8), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(trajectory.from_policy.astype(np.int8), append=0) == -1) + 1
    actions = [trajectory.token_ids[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
    return len(actions) - len(set(actions))


@dataclass(frozen=True)
class EvaluationCost:
    """Work done by one evaluation, finished parts of an interrupted one included."""

    episodes: int
    forward_tokens: int
    sampled_tokens: int


def evaluate(
    open_engine: Callable[[], Sampler],
    panels: Sequence[Panel[Any]],
    config: RunConfig,
    destination: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> EvaluationCost:
    """Write every episode of the run to `destination`. Parts already on disk are kept: an interrupted call
    continues. open_engine: called once, where a part is still to be sampled. Raises SliceOver between parts."""
    size, parts_folder = config.evaluation.at_once, destination.with_suffix(".parts")
    parts_folder.mkdir(parents=True, exist_ok=True)
    chunks = []
    for panel in panels:
        for category in dict.fromkeys(task.category for task in panel.tasks):
            tasks = panel.select(category)
            chunks += [(panel.name, tasks[start : start + size]) for start in range(0, len(tasks), size)]
    sampler: Sampler | None = None
    parts = [parts_folder / f"{number:04d}.parquet" for number in range(len(chunks))]
    for number, ((panel_name, tasks), part) in enumerate(zip(chunks, parts, strict=True)):
        report(number, len(chunks))
        # A part of a call with another size, which holds other tasks, is sampled anew.
        if is_marked(part) and (pq.read_metadata(part).metadata or {}).get(b"at_once") == str(size).encode():
            continue
        if sampler is not None and time_is_up():  # At least one part a call, or short slices would never end.
            raise SliceOver
        sampler = sampler or open_engine()
        cells = cells_of(tasks, panel_name, config.arm, config.streams, config.evaluation, config.rounds)
        batch, cell_of_episode, sample = sample_cells(sampler, tasks, cells)
        table = episode_table(batch, cell_of_episode, sample, tasks, cells, panel_name, sampler.tokenizer)
        work = {"forward_tokens": batch.forward_tokens, "sampled_tokens": batch.sampled_tokens, "at_once": size}
        write_parquet(table.replace_schema_metadata({name: str(value) for name, value in work.items()}), part)
        mark(part)
    report(len(chunks), len(chunks))
    tables = [read_parquet(part) for part in parts]
    # The cost stays with the episodes: a call interrupted right after this one must still find it.
    total = {
        name: str(sum(int(table.schema.metadata[name.encode()]) for table in tables))
        for name in ("forward_tokens", "sampled_tokens")
    }
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).unify_dictionaries()
    write_parquet(whole.replace_schema_metadata(total), destination)
    remove(parts_folder)
    return evaluation_cost(destination)


def evaluation_cost(episodes: Path) -> EvaluationCost:
    """What an evaluation that has been written has cost."""
    found = pq.read_metadata(episodes)
    return EvaluationCost(
        found.num_rows, int(found.metadata[b"forward_tokens"]), int(found.metadata[b"sampled_tokens"])
    )
