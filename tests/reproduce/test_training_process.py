"""Runs read back from their files, and the settings that accelerate is started with."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser

from reproduce.core.config import HardwareConfig, RunConfig
from reproduce.core.files import UserError, write_json
from reproduce.core.paper import PACKAGED
from reproduce.core.reader import read_run
from reproduce.plan.open import open_experiment
from reproduce.training.launch import PACKAGED as ACCELERATE
from reproduce.training.launch import accelerate_settings, by_accelerate, in_processes, shards_weights
from reproduce.training.process import launch_command
from tests.reproduce.small_training import small_run


@pytest.mark.parametrize("paper", sorted(PACKAGED))
@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_a_run_is_read_back_as_it_was(tmp_path: Path, paper: str, profile: str) -> None:
    seen = set()
    for run in open_experiment(paper, profile, (), tmp_path).plan:
        if (run.arm, run.environment) not in seen:
            seen.add((run.arm, run.environment))
            write_json(tmp_path / "config.json", asdict(run))
            assert read_run(tmp_path / "config.json") == run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "0"}, "seed = '0' must be a whole number"),
        ({"seed": True}, "seed = True must be a whole number"),
        ({"sead": 0}, "unknown field 'sead'; did you mean 'seed'"),
        ({"paper": "nothing"}, "paper: unknown"),
        ({"method": {"weight": 1}}, r"unknown field|missing field"),
        ({"panels": {"train": 3}}, "missing field panels.test"),
        ({"evaluation": {"samples": 0, "tasks_at_once": 4}}, "evaluation.samples = 0 must be at least 1"),
        ({"policy": 3}, "policy = 3 must be a table"),
        ({"training": {}}, "missing field training.epochs"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change, message) -> None:
    content = json.loads(json.dumps(asdict(small_run("echorl", "echo"))))
    write_json(tmp_path / "config.json", content | change)
    with pytest.raises(UserError, match=message) as refused:
        read_run(tmp_path / "config.json")
    assert "\n" not in str(refused.value)


def test_a_field_that_is_missing_is_refused(tmp_path: Path) -> None:
    content = json.loads(json.dumps(asdict(small_run("resets", "rrpo"))))
    del content["hardware"]
    write_json(tmp_path / "config.json", content)
    with pytest.raises(UserError, match="missing field hardware"):
        read_run(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["processes", "fsdp", "deepspeed"])
def test_the_settings_are_those_of_the_installed_accelerate(name: str) -> None:
    path = ACCELERATE / f"{name}.yaml"
    settings = ClusterConfig.from_yaml_file(str(path))  # Refuses keys it does not know.
    known = launch_command_parser()._option_string_actions
    for group in (settings.fsdp_config, settings.deepspeed_config):
        assert {key for key in group or {} if f"--{key}" not in known} == set()
    assert (
        str(settings.distributed_type)
        in {
            "processes": ("MULTI_GPU", "DistributedType.MULTI_GPU"),
            "fsdp": ("FSDP", "DistributedType.FSDP"),
            "deepspeed": ("DEEPSPEED", "DistributedType.DEEPSPEED"),
        }[name]
    )


def test_settings_by_name_or_path(tmp_path: Path) -> None:
    assert accelerate_settings("") == (ACCELERATE / "processes.yaml").resolve()
    assert accelerate_settings("fsdp") == (ACCELERATE / "fsdp.yaml").resolve()
    assert shards_weights("fsdp") and not shards_weights("")
    own = tmp_path / "own.yaml"
    own.write_text((ACCELERATE / "processes.yaml").read_text())
    assert accelerate_settings(str(own)) == own
    with pytest.raises(UserError, match="no such file, nor one of the package's own: deepspeed, fsdp, processes"):
        accelerate_settings("fdsp")
    for wrong in ("distributed_type: MULTI_GPU\nprocesses: 3\n", "- 1\n", "distributed_type: 'MULTI", ""):
        own.write_text(wrong)
        with pytest.raises(UserError, match="no settings for accelerate launch") as refused:
            accelerate_settings(str(own))
        assert "\n" not in str(refused.value)
        assert "attribute" not in str(refused.value)


def test_deepspeed_that_is_not_installed_is_said_so(monkeypatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs deepspeed: pip install 'rl-claims\[deepspeed\]'"):
        accelerate_settings("deepspeed")


def test_one_process_trains_where_it_is_but_beside_vllm_on_a_gpu() -> None:
    run = small_run("pass_kt", "grpo")

    def of(**hardware: object) -> RunConfig:
        return replace(run, hardware=HardwareConfig(**hardware))

    assert not in_processes(run) and not in_processes(of(device="cuda")) and not in_processes(of(engine="vllm"))
    for alone in (of(device="cuda", engine="vllm"), of(device="cuda", training_engine="colocate")):
        assert in_processes(alone) and not by_accelerate(alone)
        words = launch_command(alone, Path("base"), Path("run"), Path("partial"))
        assert words == [sys.executable, "-m", "reproduce.training.process", "run", "base", "partial"]
    assert by_accelerate(of(processes=2)) and by_accelerate(of(accelerate_config="fsdp"))
