"""Settings of training that cannot be had are refused in one line, before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from reproduce.cli.requirements import show_requirements
from reproduce.core.config import HardwareConfig, ModelConfig
from reproduce.core.files import UserError
from reproduce.core.paper import load_paper
from reproduce.plan.open import open_experiment
from reproduce.training.arguments import check_own_arguments, named_arguments
from reproduce.training.checks import check_training, lines_on_processes
from tests.reproduce.small_training import small_run


def test_the_default_is_checked_without_loading_a_model_library() -> None:
    script = (
        "import sys; from pathlib import Path; from reproduce.training.checks import check_training;"
        "from reproduce.core.config import *; run = RunConfig('pass_kt', 'smoke', 'retrieval', 'grpo', 0,"
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


@pytest.mark.parametrize(
    ("paper", "arm", "argument", "message"),
    [
        ("resets", "rrpo", "loss_type=bnpo", "loss_type=bnpo, but the arm rrpo is made with loss_type=grpo"),
        ("resets", "grpo", "scale_rewards=none", "the arm grpo is made with scale_rewards=group"),
        ("reuserl", "segcost_no_std", "scale_rewards=batch", "segcost_no_std is made with scale_rewards=none"),
        ("echorl", "dapo", "epsilon_high=0.3", "the arm dapo is made with epsilon_high=0.28"),
    ],
)
def test_an_argument_that_the_arm_sets_itself_is_refused(paper, arm, argument, message) -> None:
    run = small_run(paper, arm, arguments=(argument,))
    with pytest.raises(UserError, match=message) as refused:
        check_training(run)
    assert "\n" not in str(refused.value)
    given = named_arguments(run.training.arguments)
    name = next(iter(given))
    own = load_paper(paper).load_training().own_arguments(run.method)[name]
    check_training(small_run(paper, arm, arguments=(f"{name}={own}", "weight_decay=0.01")))


@pytest.mark.parametrize("paper", ["reuserl", "echorl", "resets"])
def test_arms_of_the_paper_keep_what_differs_from_the_papers_own_arguments(paper) -> None:
    plan = open_experiment(paper, "paper", (), Path("nowhere")).plan
    trained = [run for run in plan if run.training is not None]
    assert trained and all(run.training.arguments for run in trained)
    for run in trained:
        check_own_arguments(run)
        check_own_arguments(replace(run, method=replace(run.method)))


def test_dapo_keeps_its_loss_beside_the_papers_own_and_not_beside_a_users() -> None:
    settings = ("reasoning_arms=grpo,echo,dapo", "hardware.processes=1")
    run = next(run for run in open_experiment("echorl", "paper", settings, Path("nowhere")).plan if run.arm == "dapo")
    assert "loss_type=dr_grpo" in run.training.arguments
    check_own_arguments(run)
    with pytest.raises(UserError, match="the arm dapo is made with loss_type=dapo"):
        check_own_arguments(replace(run, profile="gpu"))


def test_a_loss_that_depends_on_the_machine_is_refused() -> None:
    run = small_run("pass_kt", "grpo", arguments=("loss_type=bnpo",))
    check_training(run)
    check_training(replace(run, hardware=HardwareConfig(rows_at_once=32)))
    for hardware in ({"rows_at_once": 8}, {"processes": 2}):
        with pytest.raises(UserError, match="loss_type=bnpo is a mean over the tokens of one forward pass"):
            check_training(replace(run, hardware=HardwareConfig(**hardware)))
        check_training(replace(small_run("pass_kt", "grpo"), hardware=HardwareConfig(**hardware)))


def test_an_evaluated_run_needs_nothing_of_training() -> None:
    run = replace(small_run("pass_kt", "grpo"), training=None, model=ModelConfig(lora_rank=1))
    check_training(replace(run, hardware=HardwareConfig(report_to="nowhere", processes=7)))


def test_several_updates_in_several_processes_are_allowed_and_said() -> None:
    clip, rrpo = small_run("resets", "grpo_clip"), small_run("resets", "rrpo")
    assert clip.method.updates == 4 and rrpo.method.updates == 1
    both = [replace(run, hardware=HardwareConfig(processes=2)) for run in (clip, rrpo)]
    check_training(both[0])
    (line,) = lines_on_processes([*both, replace(both[0], seed=1)])
    assert line.startswith("grpo_clip: 4 updates on a batch in 2 processes: ") and "\n" not in line
    assert lines_on_processes([clip, rrpo, both[1]]) == []


def test_a_plan_tells_of_several_updates_in_several_processes() -> None:
    output = StringIO()
    for processes in (1, 2):
        experiment = open_experiment("resets", "full", (f"hardware.processes={processes}",), Path("nowhere"))
        show_requirements(Console(file=output), experiment)
        assert ("updates on a batch in 2 processes" in output.getvalue()) is (processes == 2)
