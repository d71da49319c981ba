"""Records of a paper whose arms are methods: counts of every task, the training log, and the paper's own tables.

`counts.parquet` has one row for each environment, arm, seed, panel and task; `training.parquet` one for each
optimiser step; `runs.jsonl` the manifests; `experiment.json` the resolved configuration. Each further table of a paper
is a Parquet file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, read_json, read_jsonl, read_parquet, write_json, write_jsonl, write_parquet
from reproduce.core.paper import Paper

if TYPE_CHECKING:
    import pandas as pd

RUN = ["environment", "arm", "seed"]
TASK = ["panel", "category", "question"]
FAILURE = "failure: "
"""Prefix of the columns that count failures of a kind."""


@dataclass(frozen=True)
class MethodRecords:
    """Everything a report is made from."""

    counts: pd.DataFrame
    """One row for each (environment, arm, seed, panel, question). Columns: these, `category`, `n` episodes and over
    them the sums `successes`, `rounds` (actions written), `rounds_of_successes`, `invalid` (actions), `repeated`
    (actions that their episode had given before, word for word), `sampled_tokens`, `failure: KIND`, and the paper's
    own."""
    training: pd.DataFrame
    """One row for each (environment, arm, seed, step); NaN where an arm does not log a column."""
    tables: dict[str, pd.DataFrame]
    """The paper's further tables, each with the columns environment, arm, seed."""
    runs: list[dict[str, Any]]
    """The manifests, in plan order."""
    experiment: dict[str, Any]
    """The resolved configuration."""

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return int(self.experiment["seeds"])

    @cached_property
    def _panels(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """Rows of each (environment, arm, panel), by seed and task; every reading of the counts starts here."""
        groups = self.counts.groupby(["environment", "arm", "panel"], sort=False, observed=True)
        return {key: rows.set_index(["seed", "question"]).sort_index() for key, rows in groups}

    def has(self, environment: str, *arms: str) -> bool:
        """Whether the plan has these arms in this environment."""
        found = {arm for place, arm, _ in self._panels if place == environment}
        return bool(found) and set(arms) <= found

    def table(
        self, environment: str, arm: str, column: str, panel: str = "test", category: str | None = None
    ) -> np.ndarray:
        """One column of the counts as (seeds, tasks) float64; seeds ascending, tasks in order of their names, so that
        tables of two arms are paired. Raises ValueError if there is none, or a run lacks a task."""
        wanted = self._panels.get((environment, arm, panel))
        if wanted is not None and category is not None:
            wanted = wanted[wanted["category"] == category]
        if wanted is None or wanted.empty:
            raise ValueError(f"no episodes of {arm} on {panel} of {environment}")
        grid = wanted[column].unstack("question")
        if grid.isna().any(axis=None):
            raise ValueError(f"some run of {arm} on {panel} of {environment} lacks tasks")
        return grid.to_numpy(dtype=np.float64)

    def success(self, environment: str, arm: str, panel: str = "test", category: str | None = None) -> np.ndarray:
        """Success rates in points, (seeds, tasks)."""
        successes, n = (self.table(environment, arm, name, panel, category) for name in ("successes", "n"))
        return 100 * successes / n

    def log(self, environment: str, arm: str, column: str) -> np.ndarray:
        """One column of the training log, (seeds, steps). Raises ValueError if there is none."""
        found = self.training
        wanted = found[(found["environment"] == environment) & (found["arm"] == arm)]
        if wanted.empty:
            raise ValueError(f"no training log of {arm} in {environment}")
        return wanted.pivot(index="seed", columns="step", values=column).sort_index().to_numpy(dtype=np.float64)


def count_tasks(episodes: pd.DataFrame) -> pd.DataFrame:
    """One row for each panel and task. episodes: the columns of `episodes.parquet`."""
    import pandas as pd

    skills = episodes["skills"].astype(str).str.split()
    actions = skills.str.len()
    frame = pd.DataFrame(
        {
            **{name: episodes[name].astype(str) for name in TASK},
            "n": 1,
            "successes": episodes["success"].astype(int),
            "rounds": actions,
            "rounds_of_successes": actions.where(episodes["success"], 0),
            "invalid": [sum(symbol == "invalid" for symbol in symbols) for symbols in skills],
            "repeated": episodes["repeated"].astype(int),
            "sampled_tokens": episodes["sampled_tokens"].astype(int),
        }
    )
    kinds = episodes["failure"].astype(str).where(~episodes["success"], "")
    for kind in sorted(set(kinds) - {""}):
        frame[FAILURE + kind] = (kinds == kind).astype(int)
    return frame.groupby(TASK, sort=True, observed=True).sum().reset_index()


def collect_method_runs(
    paper: Paper, plan: Sequence[RunConfig], experiment: Mapping[str, Any], runs: Path, destination: Path
) -> None:
    """Write the records of complete runs. Raises UserError naming the first run that is missing or incomplete."""
    import pandas as pd

    counts: list[pd.DataFrame] = []
    training: list[pd.DataFrame] = []
    tables: dict[str, list[pd.DataFrame]] = {}
    manifests = []
    for config in plan:
        folder = runs / config.name
        manifest = read_json(folder / "manifest.json")
        if manifest["exit_state"] != "complete":
            raise UserError(f"{folder}: the run is not complete; the run command continues it")
        manifests.append(manifest)
        episodes = read_parquet(folder / "episodes.parquet").to_pandas()
        counted = count_tasks(episodes)
        measured = paper.measure_tasks(config, episodes)
        if measured is not None:
            counted = counted.merge(measured, on=TASK, how="left", validate="one_to_one")
        counts.append(_of_run(counted, config))
        if config.training is not None:
            log = pd.DataFrame(read_jsonl(folder / "metrics.jsonl"))
            training.append(_of_run(log[["step", *(name for name in paper.training_columns if name in log)]], config))
        for name, rows in paper.further_records(config, folder, episodes).items():
            tables.setdefault(name, []).append(_of_run(rows, config))
    destination.mkdir(parents=True, exist_ok=True)
    whole = pd.concat(counts, ignore_index=True)
    failures = [name for name in whole if name.startswith(FAILURE)]
    whole[failures] = whole[failures].fillna(0).astype(int)
    _write(whole, destination / "counts.parquet")
    _write(pd.concat(training, ignore_index=True), destination / "training.parquet")
    for name, parts in tables.items():
        _write(pd.concat(parts, ignore_index=True), destination / f"{name}.parquet")
    write_jsonl(destination / "runs.jsonl", manifests)
    write_json(destination / "experiment.json", dict(experiment))


def _of_run(rows: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    named = rows.copy()
    for place, name in enumerate(RUN):
        named.insert(place, name, getattr(config, name))
    return named


def _write(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa

    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)


def load_method_records(folder: Path) -> MethodRecords:
    """Read records. Raises UserError naming the file when one is missing or damaged."""
    own = sorted(path for path in folder.glob("*.parquet") if path.stem not in ("counts", "training"))
    return MethodRecords(
        counts=read_parquet(folder / "counts.parquet").to_pandas(),
        training=read_parquet(folder / "training.parquet").to_pandas(),
        tables={path.stem: read_parquet(path).to_pandas() for path in own},
        runs=read_jsonl(folder / "runs.jsonl"),
        experiment=read_json(folder / "experiment.json"),
    )
