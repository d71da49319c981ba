"""vLLM on a GPU: evaluation from a checkpoint, and training with weights that are pushed into the engine.

Run by `nox -s vllm -- gpu`. Kernels differ between engines there, so near-ties may fall either way: what is exact on a
CPU is asked of nearly all episodes here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reproduce.core.config import HardwareConfig
from reproduce.core.files import read_jsonl
from reproduce.environments.bases import committed_folder
from reproduce.environments.beds import load_bed
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.opening import open_sampler
from reproduce.rollouts.vllm_engine import open_vllm
from tests.vllm.test_vllm_engine import episodes_of, run_of, sample

pytestmark = [pytest.mark.vllm, pytest.mark.gpu]
CUDA = HardwareConfig(device="cuda")


def test_evaluation_on_a_gpu_agrees_with_the_engine_in_process() -> None:
    run = run_of("retrieval")
    run = replace(run, hardware=CUDA, sampling=replace(run.sampling, temperature=0.0))
    tasks = load_bed("retrieval").panels(run.panels)["test"].tasks[:100]
    served = open_vllm(committed_folder(0), run)
    found = sample(served, tasks, 5, 1, "gpu")
    here = open_sampler(committed_folder(0), run)
    assert isinstance(here, EpisodeSampler)
    wanted = sample(here, tasks, 5, 1, "gpu")
    equal = [
        one.token_ids.tobytes() == other.token_ids.tobytes()
        for one, other in zip(episodes_of(found), episodes_of(wanted), strict=True)
    ]
    assert sum(equal) >= 95
    assert served.generator.difference < run.hardware.agreement


def test_training_samples_from_the_weights_that_are_trained(tmp_path: Path) -> None:
    """A smoke run with the engine on the trainer's GPU: after every push of weights the log-probabilities agree, which
    the run itself checks, and the weights do move."""
    settings = ("hardware.device=cuda", "hardware.training_engine=colocate")
    command = [sys.executable, "-m", "reproduce", "run", "pass_kt", "--profile", "smoke", "--workers", "1"]
    for setting in settings:
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = read_jsonl(next(tmp_path.glob("runs/smoke/pass_kt/retrieval/grpo/seed-0/metrics.jsonl")))
    assert len(entries) > 1
    for entry in entries:
        assert 0 <= entry["sampling/agreement"] <= CUDA.agreement
    assert any(entry["grad_norm"] > 0 for entry in entries)
