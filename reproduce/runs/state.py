"""State of the runs of an experiment on disk."""

from __future__ import annotations

from pathlib import Path

from reproduce.core.files import UserError, read_jsonl, read_parquet
from reproduce.cost.time import training_tasks
from reproduce.plan.experiment import Experiment


def complete_runs(experiment: Experiment) -> set[str]:
    """Names of the complete runs. Raises UserError for a folder of another configuration or with damaged files."""
    from reproduce.rollouts.models import is_checkpoint
    from reproduce.runs.folder import RunFolder

    complete = set()
    for run in experiment.plan:
        folder = RunFolder(experiment.folder / run.name, run)
        if folder.complete:
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
            folder.check_products(thorough=False)
            complete.add(run.name)
    return complete


def _check_rows(path: Path, rows: int, expected: int) -> None:
    """Refuse a file of a complete run that lacks rows or has too many."""
    if rows != expected:
        raise UserError(
            f"{path}, row {min(rows, expected) + 1}: damaged ({rows} rows, {expected} expected); run again with --redo"
        )
