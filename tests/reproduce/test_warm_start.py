"""A warm start that was stopped continues bit for bit."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reproduce.core.slices import ENDS, SliceOver
from reproduce.papers.pass_kt.experiment import PROFILES, plan
from reproduce.rollouts.policies import load_policy
from reproduce.training import warm_start as module
from reproduce.training.bases import obtain_base

RUN = plan(PROFILES["smoke"])[0]
STEPS = 12


def obtained(folder: Path, state: Path | None, stop_after: int = -1) -> tuple[dict[str, torch.Tensor], int]:
    """The base, and how many steps this call took; the slice ends after so many of them."""
    taken = 0

    def report(done: int, total: int) -> None:
        nonlocal taken
        taken += 1
        os.environ[ENDS] = repr(time.time() - 1) if taken == stop_after else ""

    config = replace(RUN.warm_start, steps=STEPS, batch_size=8)
    obtain_base(RUN.environment, RUN.policy, config, 0, folder, report, rebuild=True, state=state)
    return load_policy(folder)[0].state_dict(), taken


def test_slices_of_a_warm_start_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDS, "")
    monkeypatch.setattr(module, "STEPS_BETWEEN_STATES", 4)
    whole, taken = obtained(tmp_path / "whole", None)
    assert taken == STEPS
    state = tmp_path / "state" / "warm_start.safetensors"
    for _ in range(2):
        with pytest.raises(SliceOver):
            obtained(tmp_path / "sliced", state, stop_after=5)
    os.environ[ENDS] = ""
    sliced, taken = obtained(tmp_path / "sliced", state)
    assert taken == STEPS - 10
    assert whole.keys() == sliced.keys() and all(torch.equal(whole[name], sliced[name]) for name in whole)


def test_a_warm_start_that_was_killed_begins_at_its_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDS, "")
    monkeypatch.setattr(module, "STEPS_BETWEEN_STATES", 4)
    state = tmp_path / "warm_start.safetensors"
    whole, taken = obtained(tmp_path / "whole", state)
    assert taken == STEPS and state.exists()
    again, taken = obtained(tmp_path / "again", state)
    assert taken == 4 and all(torch.equal(whole[name], again[name]) for name in whole)
