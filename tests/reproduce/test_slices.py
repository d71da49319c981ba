"""Slices: durations, runs that are paused at every place they can be, and where runs are carried out."""

import hashlib
import io
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from reproduce.core.files import read_json, read_jsonl, read_parquet
from reproduce.core.slices import BEGAN, ENDS, SliceOver, parse_duration, slice_of, time_is_up
from reproduce.plan.open import open_experiment
from reproduce.runs.schedule import Step, carry_out

RUN = ("run", "pass_kt", "--profile", "smoke")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("8min", 480), ("1h", 3600), ("1.5h", 5400), ("1h30min15s", 5415), ("0.5s", 0.5)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "min", "0s", "-1s", "1h30", "8 min", "8m", "nan", "1e3s", "9" * 400 + "s"])
def test_what_is_no_duration_gets_one_line(reproduce_in_process, tmp_path, text):
    if text:  # An empty one is that of the default.
        refused = reproduce_in_process(tmp_path, *RUN, f"--slice={text}")
        assert refused.code == 2 and refused.err.count("\n") == 1
        assert "--slice" in refused.err and "such as 90s, 8min" in refused.err
        assert not list(tmp_path.iterdir())
    with pytest.raises(Exception, match="such as 90s"):
        parse_duration(text)


def test_slice_ends_with_its_time_and_leaves_no_trace(monkeypatch):
    assert not time_is_up()
    with slice_of(0.2):
        assert not time_is_up()
        time.sleep(0.25)
        assert time_is_up()
    assert ENDS not in os.environ and not time_is_up()
    with slice_of(None):
        assert not time_is_up()
    monkeypatch.setenv(BEGAN, str(time.time() - 100))
    with slice_of(99):
        assert time_is_up()
    with slice_of(120):
        assert not time_is_up()


def digest_of_files(folder: Path) -> dict[str, str]:
    """sha256 of what a run leaves behind: weights, episodes, and the log without its times."""
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*folder.glob("checkpoint/*.safetensors"), folder / "episodes.parquet")
    }
    log = read_jsonl(folder / "metrics.jsonl")
    rows = [{name: value for name, value in row.items() if name != "step_time"} for row in log]
    return found | {"metrics.jsonl": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def test_run_that_is_paused_wherever_it_can_be_ends_with_the_same_files(smoke_folder, tmp_path):
    from reproduce.runs.execute import execute

    experiment = open_experiment("pass_kt", "smoke", (), tmp_path / "runs")
    config = next(config for config in experiment.plan if config.arm == "grpo" and config.seed == 0)
    whole = smoke_folder / "runs/smoke/pass_kt/retrieval"
    folder = experiment.folder / config.name
    shutil.copytree(whole / "base/seed-0/checkpoint", experiment.folder / "retrieval/base/seed-0/checkpoint")
    paused_in: list[str] = []
    for _ in range(40):
        stages: list[str] = []
        try:
            with slice_of(1e-6):  # Over before it begins: one step of training or one part of an evaluation a call.
                execute(config, experiment.folder, lambda stage, done, total, stages=stages: stages.append(stage))
            break
        except SliceOver:
            paused_in.append(stages[-1])
            assert read_json(folder / "manifest.json")["exit_state"] == "paused"
    # Four steps; six parts of the test panel and two of the other, after the last of which nothing is left.
    assert paused_in == ["train"] * 4 + ["evaluate"] * 7
    manifest = read_json(folder / "manifest.json")
    assert (manifest["exit_state"], manifest["attempt"]) == ("complete", 12)
    assert digest_of_files(folder) == digest_of_files(whole / config.name.partition("/")[2])
    assert set(digest_of_files(folder)) == {"checkpoint/model.safetensors", "episodes.parquet", "metrics.jsonl"}


def test_run_that_is_paused_continues_with_less_at_once(smoke_folder, tmp_path):
    """As after running out of memory: fewer rows in a pass, and fewer questions, of which finished parts hold more."""
    from reproduce.runs.execute import execute

    experiment = open_experiment("pass_kt", "smoke", (), tmp_path / "runs")
    config = next(config for config in experiment.plan if config.arm == "grpo" and config.seed == 0)
    whole = smoke_folder / "runs/smoke/pass_kt/retrieval"
    folder = experiment.folder / config.name
    shutil.copytree(whole / "base/seed-0/checkpoint", experiment.folder / "retrieval/base/seed-0/checkpoint")
    less = replace(
        config,
        hardware=replace(config.hardware, rows_at_once=8),
        evaluation=replace(config.evaluation, questions_at_once=3),
    )
    calls = (
        [config] * 2 + [less] * 2 + [config] * 2 + [less] * 40
    )  # Two steps of training, two parts of the evaluation.
    for call in calls:
        try:
            with slice_of(1e-6):
                execute(call, experiment.folder)
            break
        except SliceOver:
            continue
    assert read_json(folder / "manifest.json")["hardware"]["rows_at_once"] == 8
    once, again = (read_parquet(path / "episodes.parquet") for path in (whole / "grpo/seed-0", folder))
    assert once.to_pylist() == again.to_pylist()
    steps = [[row["step"] for row in read_jsonl(path / "metrics.jsonl")] for path in (whole / "grpo/seed-0", folder)]
    assert steps[0] == steps[1]


def leave_note(folder: Path, name: str, error: Exception | None, report) -> None:
    (folder / name).write_text("")
    if error:
        raise error


def test_paused_job_leaves_its_later_steps_and_other_jobs_go_on(tmp_path):
    def job(name: str, error: Exception | None):
        return (
            Step(f"{name}1", {}, partial(leave_note, tmp_path, f"{name}1", error)),
            Step(f"{name}2", {}, partial(leave_note, tmp_path, f"{name}2", None)),
        )

    output = io.StringIO()
    carry_out([job("a", SliceOver()), job("b", None)], 1, 1, Console(file=output, width=120))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1", "b1", "b2"]
    assert "a1: paused\n" in output.getvalue() and "b2: done" in output.getvalue()


def test_a_worker_begins_one_step_even_where_loading_outlasts_the_slice(tmp_path):
    """Else a slice shorter than the start of a worker would never get anywhere, however often it is given."""
    names = ["a1", "a2", "b1"]
    steps = [Step(name, {}, partial(leave_note, tmp_path, name, None)) for name in names]
    with slice_of(1e-6):
        carry_out([(steps[0], steps[1]), (steps[2],)], 1, 1, Console(file=io.StringIO(), width=120))
    assert [path.name for path in tmp_path.iterdir()] == ["a1"]


def test_slice_that_is_over_starts_nothing_and_says_what_is_left(reproduce_in_process, tmp_path):
    stopped = reproduce_in_process(tmp_path, *RUN, "--slice", "0.0000001s", "--report")
    assert stopped.code == 0, stopped.err
    assert "the slice is over: 0 of 4 runs complete, 4 left, 0 of them begun; the same command continues" in stopped.out
    assert not list(tmp_path.iterdir())


def test_report_follows_a_complete_plan(reproduce_in_process, smoke_copy):
    shutil.rmtree(smoke_copy / "results")
    done = reproduce_in_process(smoke_copy, *RUN, "--report", "--slice", "10min")
    assert done.code == 0 and "4 of 4 runs complete, 0 to do" in done.out
    assert (smoke_copy / "results/smoke/pass_kt/report.md").is_file()
    # Paused and left: the report of what was there before must not be taken for that of the plan.
    shutil.rmtree(smoke_copy / "results")
    shutil.rmtree(smoke_copy / "runs/smoke/pass_kt/retrieval/grpo/seed-1")
    left = reproduce_in_process(smoke_copy, *RUN, "--report", "--seeds-only", "0")
    assert left.code == 0 and not (smoke_copy / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--executor rey", ("--executor", "'rey'", "ray")),
        ("--address 10.0.0.1:6379", ("--address 10.0.0.1:6379", "--executor ray")),
        ("--gpus-per-run 1", ("--gpus-per-run 1", "--executor ray")),
        ("--cores-per-run 2", ("--cores-per-run 2", "--executor ray")),
        ("--retries 1", ("--retries 1", "--executor ray")),
        ("--executor ray --retries -1", ("--retries -1", "negative")),
        ("--executor ray --cores-per-run 0", ("--cores-per-run 0", "at least 1")),
        ("--executor ray --threads 4 --cores-per-run 2", ("--threads 4", "--cores-per-run")),
        ("--executor ray --address nowhere", ("--address 'nowhere'", "HOST:PORT")),
        ("--executor ray --address ray://host:10001", ("--address 'ray://host:10001'", "HOST:PORT")),
        ("--executor ray --gpus-per-run 1.5", ("--gpus-per-run 1.5", "whole number")),
        ("--executor ray --gpus-per-run nan", ("--gpus-per-run nan", "whole number")),
        ("--executor ray --set hardware.device=cuda", ("--gpus-per-run 0", "hardware.device=cuda")),
        (
            "--executor ray --set hardware.device=cuda hardware.processes=2 --gpus-per-run 1",
            ("--gpus-per-run 1", "needs 2"),
        ),
    ],
)
def test_executor_that_cannot_be_meant_gets_one_line(reproduce_in_process, monkeypatch, tmp_path, arguments, parts):
    monkeypatch.setitem(sys.modules, "ray", sys)  # Installed or not: these are refused before it is asked for.
    refused = reproduce_in_process(tmp_path, *RUN, *arguments.split())
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    for part in parts:
        assert part in refused.err
    assert not list(tmp_path.iterdir())


def test_missing_ray_gets_one_line(reproduce_in_process, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)  # What Python itself takes for a package that is not there.
    refused = reproduce_in_process(tmp_path, *RUN, "--executor", "ray")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "Ray is not installed" in refused.err and "rl-claims[ray]" in refused.err
    assert not list(tmp_path.iterdir())


def test_gpus_are_shared_out():
    from reproduce.runs.executors import shares_of_gpus

    gpus = ["0", "1", "2", "3", "GPU-5e"]
    assert shares_of_gpus(gpus, 1) == gpus
    assert shares_of_gpus(gpus, 2) == ["0,1", "2,3"]
    assert shares_of_gpus(gpus, 8) == ["0,1,2,3,GPU-5e"]
    assert shares_of_gpus([], 2) == []


def note_devices(folder: Path, name: str, report) -> None:
    (folder / name).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:  # Until every worker has come.
        time.sleep(0.01)


def test_each_worker_sees_its_own_gpus(tmp_path):
    jobs = [(Step(name, {}, partial(note_devices, tmp_path, name)),) for name in "ab"]
    carry_out(jobs, 2, 1, Console(file=io.StringIO()), devices=("4,5", "6,7"))
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["4,5", "6,7"]
