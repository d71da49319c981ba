"""Runs that need GPUs for themselves are not started on shared ones."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from reproduce.core.config import HardwareConfig
from reproduce.core.files import UserError
from reproduce.runs.executors import local_executor, ray_executor

CONSOLE = Console(file=StringIO())
BESIDE_VLLM = (HardwareConfig(device="cuda", engine="vllm"), HardwareConfig(device="cuda", training_engine="colocate"))


@pytest.mark.parametrize("hardware", BESIDE_VLLM)
def test_more_workers_than_gpus_beside_vllm_are_refused(monkeypatch, hardware) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for workers in (None, 1, 2):
        with local_executor(workers, hardware, 1, CONSOLE).open():
            pass
    opened = local_executor(3, hardware, 1, CONSOLE).open()
    with pytest.raises(UserError, match=r"--workers 3: vLLM takes .* enough for 2 at a time") as refused, opened:
        pass
    assert "\n" not in str(refused.value)
    with local_executor(3, HardwareConfig(device="cuda"), 1, CONSOLE).open():
        pass


@pytest.mark.parametrize("hardware", BESIDE_VLLM)
def test_a_part_of_a_gpu_beside_vllm_is_refused(hardware) -> None:
    pytest.importorskip("ray")
    from reproduce.runs.ray_executor import RayOptions

    def opened(gpus: float, hardware: HardwareConfig) -> None:
        options = RayOptions(cores_per_run=1, gpus_per_run=gpus)
        ray_executor(options, hardware, 1, Path("/nowhere"), {}, CONSOLE)

    with pytest.raises(UserError, match=r"--gpus-per-run 0.5: vLLM takes a fixed share") as refused:
        opened(0.5, hardware)
    assert "\n" not in str(refused.value)
    opened(1.0, hardware)
    opened(0.5, HardwareConfig(device="cuda"))
