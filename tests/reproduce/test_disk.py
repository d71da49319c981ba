"""Disk that a plan needs: what is kept of every run, and the checkpoints of those that train at one time."""

from __future__ import annotations

from pathlib import Path

import pytest

from reproduce.plan.experiment import expected_bytes, expected_disk, open_experiment, scratch_bytes
from tests.reproduce.tiny_checkpoint import save_checkpoint


@pytest.fixture(params=["made here", "named"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    return (f"model.name={save_checkpoint(tmp_path, positions=2048)}",) if request.param == "named" else ()


def test_scratch_is_counted_once_for_each_run_at_one_time(settings: tuple[str, ...]) -> None:
    experiment = open_experiment("pass_kt", "smoke", settings, Path("nowhere"))
    runs = experiment.plan
    kept = sum(expected_bytes(experiment, run) for run in runs)
    scratch = {run.name: scratch_bytes(experiment, run) for run in runs}
    trained = [run for run in runs if run.training is not None]
    # Two checkpoints, each of weights and both moments, in float32.
    assert {scratch[run.name] for run in runs if run.training is None} == {0}
    one = scratch[trained[0].name]
    assert one > 0 and one % (2 * 3 * 4) == 0
    assert expected_disk(experiment, runs, 1) == kept + one
    assert expected_disk(experiment, runs, 2) == kept + 2 * one
    # Runs of a seed go one after the other.
    assert (
        expected_disk(experiment, runs, 99) == expected_disk(experiment, runs) == kept + one * experiment.config.seeds
    )
    assert expected_disk(experiment, (), 2) == 0
