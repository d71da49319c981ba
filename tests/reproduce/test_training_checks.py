"""Settings of training that cannot be had are refused in one line, before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from reproduce.configuration import HardwareConfig, ModelConfig
from reproduce.storage import UserError
from reproduce.training_checks import check_training
from tests.reproduce.small_training import small_run


def test_the_default_is_checked_without_loading_a_model_library() -> None:
    script = (
        "import sys; from pathlib import Path; from reproduce.training_checks import check_training;"
        "from reproduce.configuration import *; run = RunConfig('pass_kt', 'smoke', 'retrieval', 'grpo', 0,"
        "PanelConfig(), PolicyConfig(), WarmStartConfig(), TrainingConfig(), SamplingConfig(), EvaluationConfig());"
        "check_training(run); print(sorted({'torch', 'trl', 'transformers', 'accelerate'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"report_to": "tensorbord"}, "did you mean 'tensorboard'"),
        ({"processes": 3}, r"hardware\.processes=3 must divide the 4 questions"),
        ({"rows_at_once": 5}, r"hardware\.rows_at_once=5 must divide"),
        ({"accelerate_config": "nothing"}, r"hardware\.accelerate_config=nothing: no such file"),
        ({"accelerate_config": "fsdp", "processes": 2}, "shards the weights, which sampling needs"),
        ({"training_engine": "colocate"}, "needs a GPU"),
    ],
)
def test_what_is_refused(hardware, message) -> None:
    run = small_run("pass_kt", "grpo")
    check_training(run)
    with pytest.raises(UserError, match=message) as refused:
        check_training(replace(run, hardware=HardwareConfig(**hardware)))
    assert "\n" not in str(refused.value)


def test_updates_and_arguments_and_arms() -> None:
    clip = small_run("resets", "grpo_clip")
    check_training(replace(clip, hardware=HardwareConfig(rows_at_once=8, processes=1)))
    with pytest.raises(UserError, match="must divide the 8 episodes"):
        check_training(replace(clip, hardware=HardwareConfig(rows_at_once=16)))
    with pytest.raises(UserError, match="GRPOConfig has no 'wait_decay'; did you mean 'weight_decay'"):
        check_training(small_run("pass_kt", "grpo", arguments=("wait_decay=1",)))
    dapo = small_run("echorl", "dapo_echo")
    check_training(dapo)
    with pytest.raises(UserError, match="dapo_echo: dynamic sampling"):
        check_training(replace(dapo, hardware=HardwareConfig(processes=2)))


def test_an_evaluated_run_needs_nothing_of_training() -> None:
    run = replace(small_run("pass_kt", "grpo"), training=None, model=ModelConfig(lora_rank=1))
    check_training(replace(run, hardware=HardwareConfig(report_to="nowhere", processes=7)))
