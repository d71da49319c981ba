"""Memory of this machine against what runs of a named model need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from reproduce.core.config import HardwareConfig, ModelConfig
from reproduce.cost.estimate import evaluated_at_once, longest_episode
from reproduce.cost.machines import CORE
from reproduce.cost.memory_checks import (
    HOST_OVERHEAD,
    LOGIT_COPIES,
    gpu_memory,
    history_bytes,
    host_bytes,
    too_little_host_memory,
)
from reproduce.cost.model import Architecture, activation_bytes, parameters, sampling_seconds
from reproduce.plan.open import open_experiment

LAYERS = Architecture(1, 1024, 16, 16, 64, 4096, 1000, True)


def model_of(wanted: float) -> Architecture:
    """As many layers as make about so many weights."""
    each = parameters(replace(LAYERS, layers=2)) - parameters(LAYERS)
    return replace(LAYERS, layers=max(1, round(wanted / each)))


def plan() -> tuple:
    runs = open_experiment("pass_kt", "smoke", (), Path("nowhere")).plan
    return tuple(replace(run, model=ModelConfig(name="someone/model")) for run in runs)


def test_training_needs_gradients_and_optimiser_too() -> None:
    model = model_of(1e9)
    base = next(run for run in plan() if run.training is None)
    trained = next(run for run in plan() if run.training is not None)
    histories = history_bytes(model, evaluated_at_once(base), longest_episode(base, 2048))
    assert host_bytes(base, model, 2048) - histories == pytest.approx(4 * parameters(model) + HOST_OVERHEAD)
    assert host_bytes(trained, model, 2048) > 16 * parameters(model)
    two = replace(trained, hardware=HardwareConfig(processes=2))
    assert host_bytes(two, model, 2048) > 32 * parameters(model)


def test_the_estimate_is_near_what_was_measured() -> None:
    """SmolLM2-135M-Instruct in float32 on one core: an evaluation of 80 episodes of at most 558 tokens held 4.55 GB and
    took 0.88 s an episode; a backward pass over 16 rows of 80 tokens held 3.69 GB."""
    model = Architecture(30, 576, 9, 3, 64, 1536, 49152, True)
    weights = 4 * parameters(model)
    assert parameters(model) == pytest.approx(134_515_008, rel=1e-3)
    assert 4.55e9 < weights + HOST_OVERHEAD + history_bytes(model, 80, 558) < 1.5 * 4.55e9
    activations = activation_bytes(model, 16 * 80, checkpointing=False, width=4)
    logits = LOGIT_COPIES * 4 * model.vocabulary * 16 * 80
    assert 3.69e9 < 2 * weights + HOST_OVERHEAD + activations + logits < 1.5 * 3.69e9
    seconds = sampling_seconds(model, CORE, 80 * 462, 80 * 96, 280, 80)
    assert 80 * 0.88 / 2 < seconds < 2 * 80 * 0.88


def test_workers_are_counted() -> None:
    runs, available = plan(), psutil.virtual_memory().available
    assert len({run.seed for run in runs}) >= 2
    trained = next(run for run in runs if run.training is not None)
    sizes = (replace(LAYERS, layers=layers) for layers in range(1, 10_000))
    model = next(size for size in sizes if host_bytes(trained, size, 64) > 0.6 * available)
    assert list(too_little_host_memory(runs, model, 64, 1)) == []
    (line,) = too_little_host_memory(runs, model, 64, 2)
    assert "someone/model" in line and "2 at one time" in line and "--workers" in line and "\n" not in line
    (line,) = too_little_host_memory(runs, replace(model, layers=2 * model.layers), 64, 1)
    assert "--workers" not in line


@pytest.mark.gpu
def test_free_memory_is_that_of_the_driver() -> None:
    held = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    free, total = gpu_memory()
    assert held.numel() < total - free and total == torch.cuda.get_device_properties(0).total_memory


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_without_a_gpu_nothing_is_told() -> None:
    assert gpu_memory() is None
