"""Records: what is kept of the runs, small enough to commit and enough to recompute every number of a report.

`counts.parquet` holds, for each run, estimator, question and T, the episodes and how many succeeded;
`training.parquet` the training log; `runs.jsonl` the manifests; `experiment.json` the resolved configuration of the
whole experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, read_json, read_jsonl, read_parquet, write_json, write_jsonl, write_parquet
from reproduce.core.paper import Paper

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COUNT_COLUMNS = ("arm", "seed", "panel", "category", "hops", "question", "estimator", "T", "half", "n", "successes")
TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/all_right",
    "groups/mixed",
    "entropy",
    "grad_norm",
    "tokens/sampled",
    "tokens/trained",
)


@dataclass(frozen=True)
class Records:
    """Everything a report is made from."""

    counts: pd.DataFrame
    """One row for each (arm, seed, panel, question, estimator, T, half); `half` 1 is the self-null's second sample."""
    training: pd.DataFrame
    """One row for each (arm, seed, step)."""
    runs: list[dict[str, Any]]
    """The manifests, in plan order."""
    experiment: dict[str, Any]
    """The resolved configuration: profile, seeds, panels, policy, warm start, training, sampling, evaluation."""

    def counts_of(
        self, arm: str, category: str, cap: int, estimator: str = "independent", half: int = 0, panel: str = "test"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Episodes n and successes c, each (seeds, questions); seeds ascending, questions in panel order.

        Raises ValueError if a run lacks a question that another run has.
        """
        table = self.counts
        wanted = table[
            (table["arm"] == arm)
            & (table["category"] == category)
            & (table["T"] == cap)
            & (table["estimator"] == estimator)
            & (table["half"] == half)
            & (table["panel"] == panel)
        ]
        if wanted.empty:
            raise ValueError(f"no {estimator} episodes of {arm} on {panel} {category} at T = {cap}")
        grid = wanted.pivot(index="seed", columns="question", values=["n", "successes"]).sort_index()
        if grid.isna().any(axis=None):
            raise ValueError(f"some run lacks questions: {arm} on {panel} {category} at T = {cap}")
        return grid["n"].to_numpy(dtype=np.int64), grid["successes"].to_numpy(dtype=np.int64)


def count_episodes(episodes: pa.Table, arm: str, seed: int, samples: int) -> pd.DataFrame:
    """Successes for each question, estimator and T. Samples from `samples` on are the second half (the self-null's)."""
    columns = ["panel", "category", "hops", "question", "estimator", "T", "sample", "success"]
    frame = episodes.select(columns).to_pandas()
    frame["half"] = ((frame.pop("sample") >= samples) & (frame["panel"] == "test")).astype(np.int8)
    keys = ["panel", "category", "hops", "question", "estimator", "T", "half"]
    grouped = frame.groupby(keys, observed=True, sort=True)["success"].agg(n="count", successes="sum").reset_index()
    grouped.insert(0, "seed", np.int16(seed))
    grouped.insert(0, "arm", arm)
    for name in ("panel", "category", "question", "estimator"):
        grouped[name] = grouped[name].astype(str)
    return grouped.astype({"n": np.int16, "successes": np.int16})[list(COUNT_COLUMNS)]


def collect_grid(
    paper: Paper, plan: Sequence[RunConfig], experiment: Mapping[str, Any], runs: Path, destination: Path
) -> None:
    """Write the records of complete runs. Raises UserError naming the first run that is missing, incomplete or
    damaged."""
    import pandas as pd
    import pyarrow as pa

    counts, training, manifests = [], [], []
    for config in plan:
        folder = runs / config.name
        manifest = read_json(folder / "manifest.json")
        if manifest["exit_state"] != "complete":
            raise UserError(f"{folder}: the run is not complete; the run command continues it")
        manifests.append(manifest)
        episodes = read_parquet(folder / "episodes.parquet")
        counts.append(count_episodes(episodes, config.arm, config.seed, config.evaluation.samples))
        if config.training is not None:
            log = pd.DataFrame(read_jsonl(folder / "metrics.jsonl"))
            frame = log[["step", *TRAINING_COLUMNS]].copy()
            frame.insert(0, "seed", config.seed)
            frame.insert(0, "arm", config.arm)
            training.append(frame)
    destination.mkdir(parents=True, exist_ok=True)
    write_parquet(pa.Table.from_pandas(pd.concat(counts), preserve_index=False), destination / "counts.parquet")
    write_parquet(pa.Table.from_pandas(pd.concat(training), preserve_index=False), destination / "training.parquet")
    write_jsonl(destination / "runs.jsonl", manifests)
    write_json(destination / "experiment.json", dict(experiment))


def load_records(folder: Path) -> Records:
    """Read records. Raises UserError naming file and row when one is missing or damaged."""
    return Records(
        counts=read_parquet(folder / "counts.parquet").to_pandas(),
        training=read_parquet(folder / "training.parquet").to_pandas(),
        runs=read_jsonl(folder / "runs.jsonl"),
        experiment=read_json(folder / "experiment.json"),
    )
