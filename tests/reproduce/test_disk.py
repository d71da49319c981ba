"""Disk that a plan needs: what is kept of every run, and the checkpoints of those that train at one time."""

from __future__ import annotations

from pathlib import Path

import pytest

from reproduce.cost.time import expected_bytes, expected_disk, scratch_bytes
from reproduce.plan.open import open_experiment
from tests.reproduce.tiny_checkpoint import save_checkpoint


@pytest.fixture(params=["made here", "named"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    return (f"model.name={save_checkpoint(tmp_path, positions=2048)}",) if request.param == "named" else ()


def test_scratch_is_counted_once_for_each_run_at_one_time(settings: tuple[str, ...]) -> None:
    experiment = open_experiment("pass_kt", "smoke", settings, Path("nowhere"))
    runs, episodes = experiment.plan, experiment.episodes
    kept = sum(expected_bytes(run, experiment.episodes[run.name]) for run in runs)
    scratch = {run.name: scratch_bytes(run, experiment.episodes[run.name]) for run in runs}
    trained = [run for run in runs if run.training is not None]
    # Two checkpoints, each of weights and both moments, in float32.
    assert {scratch[run.name] for run in runs if run.training is None} == {0}
    one = scratch[trained[0].name]
    assert one > 0 and one % (2 * 3 * 4) == 0
    assert expected_disk(runs, episodes, 1) == kept + one
    assert expected_disk(runs, episodes, 2) == kept + 2 * one
    # Runs of a seed go one after the other.
    assert expected_disk(runs, episodes, 99) == expected_disk(runs, episodes) == kept + one * experiment.config.seeds
    assert expected_disk((), episodes, 2) == 0
