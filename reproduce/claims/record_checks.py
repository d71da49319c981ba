"""Do records agree with each other? A report made from records that do not would print wrong numbers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reproduce.claims.grid import COUNT_COLUMNS, TRAINING_COLUMNS, Records, load_records
from reproduce.claims.records import RUN, MethodRecords, load_method_records
from reproduce.core.files import UserError

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "run again with --redo"
SETTINGS = {"profile", "seeds", "panels", "policy", "training", "evaluation"}
"""What a report needs to know of the configuration of PASS@(k,T)."""
METHOD_COUNTS = {*RUN, "panel", "category", "question", "n", "successes", "rounds"}
CELL = ["arm", "seed", "panel", "question", "estimator", "T", "half"]


def read_grid_records(folder: Path, key: str, arms: Collection[str]) -> Records:
    """The records of PASS@(k,T), if they are whole and of this paper. Raises UserError naming file and lack."""
    records = load_records(folder)
    files = {
        "counts.parquet": (set(COUNT_COLUMNS), set(records.counts.columns)),
        "training.parquet": ({"arm", "seed", "step", *TRAINING_COLUMNS}, set(records.training.columns)),
        "experiment.json": (SETTINGS, set(records.experiment)),
    }
    _check_files(records, files, folder, key)
    check_agreement(records, arms, folder)
    return records


def read_method_records(folder: Path, key: str) -> MethodRecords:
    """The records of a paper whose arms are methods, if they are whole. Raises UserError naming file and lack."""
    records = load_method_records(folder)
    files = {
        "counts.parquet": (METHOD_COUNTS, set(records.counts.columns)),
        "training.parquet": ({*RUN, "step", "reward"}, set(records.training.columns)),
        "experiment.json": ({"profile", "seeds"}, set(records.experiment)),
    }
    _check_files(records, files, folder, key)
    counts, path = records.counts, folder / "counts.parquet"
    wrong = ((counts["successes"] < 0) | (counts["successes"] > counts["n"])).to_numpy()
    if wrong.any():
        raise UserError(f"{path}, row {int(np.argmax(wrong)) + 1}: successes outside 0 to n; {REMEDY}")
    twice = counts.duplicated([*RUN, "panel", "question"]).to_numpy()
    if twice.any():
        raise UserError(f"{path}, row {int(np.argmax(twice)) + 1}: this task stands there twice; {REMEDY}")
    runs = {(str(run["run"]).partition("/")[0], run["arm"], run["seed"]) for run in records.runs}
    found = set(counts[RUN].itertuples(index=False, name=None))
    if runs != found:
        environment, arm, seed = sorted(runs ^ found)[0]
        raise UserError(f"{path} and runs.jsonl: only one of them has {environment} {arm} seed {seed}; {REMEDY}")
    if not np.isfinite(records.training["reward"].to_numpy(dtype=float)).all():
        raise UserError(f"{folder / 'training.parquet'}: a reward is not a number; {REMEDY}")
    return records


def _check_files(
    records: Records | MethodRecords, files: dict[str, tuple[set[str], set[str]]], folder: Path, key: str
) -> None:
    for name, (wanted, found) in files.items():
        if wanted - found:
            raise UserError(f"{folder / name}: lacks {', '.join(sorted(wanted - found))}; {REMEDY}")
    if records.counts.empty or not records.runs:
        empty = "counts.parquet" if records.counts.empty else "runs.jsonl"
        raise UserError(f"{folder / empty}: holds no row; {REMEDY}")
    others = {str(run.get("paper")) for run in records.runs} - {key}
    if others:
        raise UserError(f"{folder / 'runs.jsonl'}: records of {', '.join(sorted(others))}, not of {key}")
    if records.counts["seed"].nunique() < 2:
        raise UserError(f"{folder}: records of 1 seed; an interval needs 2 or more (--set seeds=2)")


def check_agreement(records: Records, arms: Collection[str], folder: Path) -> None:
    """Raise UserError, naming file and row, unless counts, manifests, log and configuration speak of the same runs."""
    experiment = records.experiment
    try:
        planned = {(arm, seed) for arm in arms for seed in range(int(experiment["seeds"]))}
        grid = {int(experiment["evaluation"][name]) for name in ("largest_k", "samples")}
        assert grid and experiment["evaluation"]["caps"]
    except (KeyError, TypeError, ValueError, AssertionError):
        raise UserError(f"{folder / 'experiment.json'}: lacks seeds or sizes; {REMEDY}") from None
    for row, run in enumerate(records.runs, start=1):
        if not {"arm", "seed", "profile", "exit_state"} <= set(run):
            raise UserError(f"{folder / 'runs.jsonl'}, row {row}: not a manifest; {REMEDY}")
        if run["profile"] != experiment["profile"]:
            raise UserError(
                f"{folder / 'runs.jsonl'}, row {row}: profile {run['profile']}, experiment.json says "
                f"{experiment['profile']}; {REMEDY}"
            )
    # An official data set has no questions out of distribution.
    panels = {"test", "ood"} if experiment.get("panels", {}).get("ood_per_depth", 1) else {"test"}
    _check_counts(records.counts, folder / "counts.parquet", panels)
    training = records.training
    if not np.isfinite(training["reward"].to_numpy(dtype=float)).all():
        raise UserError(f"{folder / 'training.parquet'}: a reward is not a number; {REMEDY}")
    present = {
        "counts.parquet": set(zip(records.counts["arm"], records.counts["seed"].tolist(), strict=True)),
        "runs.jsonl": {(run["arm"], run["seed"]) for run in records.runs},
        "training.parquet": set(zip(training["arm"], training["seed"].tolist(), strict=True)),
    }
    for name, found in present.items():
        wanted = {run for run in planned if name != "training.parquet" or run[0] != "base"}
        if found != wanted:
            arm, seed = sorted(found ^ wanted)[0]
            state = "lacks" if (arm, seed) in wanted else "has, unplanned,"
            raise UserError(f"{folder / name}: {state} {arm} seed {seed}; {REMEDY}")


def _check_counts(counts: pd.DataFrame, path: Path, panels: set[str]) -> None:
    for name in ("seed", "T", "half", "n", "successes"):
        if counts[name].dtype.kind not in "iu":
            raise UserError(f"{path}: column {name} is not of whole numbers; {REMEDY}")
    wrong = ((counts["successes"] < 0) | (counts["successes"] > counts["n"])).to_numpy()
    if wrong.any():
        raise UserError(f"{path}, row {int(np.argmax(wrong)) + 1}: successes outside 0 to n; {REMEDY}")
    twice = counts.duplicated(CELL).to_numpy()
    if twice.any():
        raise UserError(f"{path}, row {int(np.argmax(twice)) + 1}: this cell stands there twice; {REMEDY}")
    missing = panels - set(counts["panel"])
    if missing:
        raise UserError(f"{path}: lacks the panel {min(missing)}; {REMEDY}")
