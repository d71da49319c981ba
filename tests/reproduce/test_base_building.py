"""Building and measuring bases."""

import json
import shutil

import numpy as np
import pytest

from reproduce.core.config import EvaluationConfig
from reproduce.runs.base_building import summarise

TINY = ("bases", "--profile", "smoke", "--set", "warm_start.steps=4", "--workers", "1", "--out", "bases")


def test_bases_are_built_measured_and_left_alone_the_next_time(reproduce_in_process, tmp_path):
    from dataclasses import replace

    from reproduce.environments.bases import base_digest
    from reproduce.papers.pass_kt.experiment import PROFILES
    from reproduce.rollouts.policies import load_policy

    built = reproduce_in_process(tmp_path, *TINY, "--seeds", "1")
    assert built.code == 0, built.err
    assert "1 of 1 bases to build" in built.out
    folder = tmp_path / "bases/retrieval/seed-0"
    description = json.loads((folder / "base.json").read_text())
    smoke = PROFILES["smoke"]
    assert description["digest"] == base_digest(smoke.policy, replace(smoke.warm_start, steps=4), 0)
    assert set(description["measured"]) == {"static", "comparison", "bridge"}
    assert description["measured"]["bridge"]["questions"] == smoke.panels.test_per_category
    load_policy(folder)
    assert [path.name for path in (tmp_path / "bases/retrieval").iterdir()] == ["seed-0"]

    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = reproduce_in_process(tmp_path, *TINY, "--seeds", "1")
    assert again.code == 0 and "0 of 1 bases to build" in again.out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    (folder / "base.json").write_text("{")
    refused = reproduce_in_process(tmp_path, *TINY, "--seeds", "1")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert "bases/retrieval/seed-0/base.json: damaged" in refused.err


def test_base_of_another_configuration_is_built_again(tmp_path):
    from dataclasses import replace

    from reproduce.papers.pass_kt.experiment import PROFILES, plan
    from reproduce.runs.base_building import base_jobs, is_built
    from reproduce.training.bases import describe_base

    bases = [run for run in plan(PROFILES["smoke"]) if run.training is None]
    folder = tmp_path / "retrieval/seed-0"
    folder.mkdir(parents=True)
    (folder / "base.json").write_text(json.dumps(describe_base(bases[0].policy, bases[0].warm_start, 0, {}, folder)))
    assert is_built(bases[0], folder)
    assert not is_built(bases[1], folder)
    changed = [replace(run, warm_start=replace(run.warm_start, steps=5)) for run in bases]
    jobs = base_jobs(changed, tmp_path, lambda run: {})
    assert [job[0].name for job in jobs] == ["retrieval seed-0", "retrieval seed-1"]
    shutil.rmtree(folder)
    assert not is_built(bases[0], folder)


def test_summary_of_known_counts():
    evaluation = EvaluationConfig(samples=4, largest_k=2)
    found = summarise(np.array([0, 1, 2, 4]), evaluation)
    assert found["pass@1"] == pytest.approx(7 / 16, abs=1e-4)
    assert found["pass@2"] == pytest.approx((0 + 1 / 2 + 5 / 6 + 1) / 4, abs=1e-4)
    assert found["share_without_success"] == 0.25
    assert found["beta_binomial"]["alpha"] > 0
    assert summarise(np.zeros(3, dtype=int), evaluation)["beta_binomial"] is None
