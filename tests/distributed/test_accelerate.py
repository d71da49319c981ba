"""Training by two processes that accelerate starts is the training of one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from reproduce.core.files import UserError, read_jsonl, read_parquet
from reproduce.core.slices import ENDS, SliceOver
from reproduce.rollouts.policies import load_policy
from reproduce.training import process as training_process
from reproduce.training.process import launch_command, make_policy
from tests.reproduce.small_training import base_of, run_folder, small_run, tasks_of

pytestmark = pytest.mark.distributed

ARMS = [
    ("pass_kt", "grpo", None),
    ("reuserl", "segcost", "countdown"),
    ("echorl", "echo_strong", "reasoning"),
    ("resets", "rrpo", None),
    ("resets", "srpo_learned", None),
]
NOT_COMPARED = {"step_time", "entropy"}
"""What takes time, and TRL's own entropy, which is one of the rows that are trained (`methods.grpo`)."""


def of(run, processes, **hardware):
    return replace(run, hardware=replace(run.hardware, processes=processes, **hardware))


@pytest.mark.parametrize(("paper", "arm", "environment"), ARMS)
def test_two_processes_train_what_one_trains(tmp_path: Path, paper, arm, environment) -> None:
    run = small_run(paper, arm, environment)
    assert getattr(run.method, "updates", 1) == 1  # With more, the order of the rows depends on the processes.
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    start = load_policy(base)[0].state_dict()
    found = {}
    for processes in (1, 2):
        this = of(run, processes)
        folder = run_folder(this, tmp_path / str(processes))
        told: list[tuple[int, int]] = []
        make_policy(
            this, base, tasks, folder, folder / "partial", lambda done, total, told=told: told.append((done, total))
        )
        assert told == [(1, 3), (2, 3), (3, 3)]
        tables = {
            path.name: read_parquet(path).to_pydict() if path.suffix == ".parquet" else path.read_text()
            for path in folder.iterdir()
            if path.is_file() and path.name not in ("config.json", "metrics.jsonl", "labels.jsonl")
        }
        found[processes] = load_policy(folder / "partial")[0].state_dict(), read_jsonl(folder / "metrics.jsonl"), tables
    (one, log_of_one, tables_of_one), (two, log_of_two, tables_of_two) = found[1], found[2]
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-4
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    assert len(log_of_one) == len(log_of_two) == 3
    for alone, together in zip(log_of_one, log_of_two, strict=True):
        assert set(alone) == set(together)
        for name in set(alone) - NOT_COMPARED:
            assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-5, nan_ok=True), name
    assert set(tables_of_one) == set(tables_of_two)
    for name, table in tables_of_one.items():
        if isinstance(table, str):
            assert tables_of_two[name] == table
        else:
            for column, values in table.items():
                other = tables_of_two[name][column]
                if all(value is None or isinstance(value, float) for value in values):
                    # A number that there is not is None in some tables and NaN in others.
                    values, other = ([float("nan") if one is None else one for one in row] for row in (values, other))
                    assert other == pytest.approx(values, rel=1e-4, nan_ok=True), column
                else:
                    assert other == values, column


def test_a_batch_in_parts_and_adapters_over_two_processes(tmp_path: Path) -> None:
    run = small_run("pass_kt", "grpo")
    run = replace(run, model=replace(run.model, lora_rank=2, lora_alpha=4))
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    found = {}
    for processes, rows in ((1, 0), (2, 4)):
        this = of(run, processes, rows_at_once=rows)
        folder = run_folder(this, tmp_path / str(processes))
        make_policy(this, base, tasks, folder, folder / "partial")
        found[processes] = load_policy(folder / "partial")[0].state_dict()
    assert max(float((found[1][name] - found[2][name]).abs().max()) for name in found[1]) < 1e-5


def test_one_process_of_its_own_trains_the_same_bit_for_bit(tmp_path: Path, monkeypatch) -> None:
    """As beside vLLM on a GPU."""
    run = small_run("pass_kt", "grpo")
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    here, apart = run_folder(run, tmp_path / "here"), run_folder(run, tmp_path / "apart")
    make_policy(run, base, tasks, here, here / "partial")
    monkeypatch.setattr(training_process, "in_processes", lambda config: True)
    make_policy(run, base, (), apart, apart / "partial")
    one, two = (load_policy(folder / "partial")[0].state_dict() for folder in (here, apart))
    assert all(bool(one[name].eq(two[name]).all()) for name in one)
    assert len(read_jsonl(apart / "metrics.jsonl")) == 3


def test_what_a_process_refuses_is_one_line_and_what_breaks_shows_its_last_lines(tmp_path: Path) -> None:
    run = of(small_run("echorl", "dapo", "countdown"), 2)
    base, folder = base_of(run, tmp_path / "base"), run_folder(run, tmp_path / "run")
    with pytest.raises(UserError, match="dynamic sampling fills the batch") as refused:
        make_policy(run, base, (), folder, folder / "partial")
    assert "\n" not in str(refused.value)
    (base / "model.safetensors").write_bytes(b"nothing")
    run = of(small_run("pass_kt", "grpo"), 2)
    folder = run_folder(run, tmp_path / "broken")
    with pytest.raises(RuntimeError, match=r"exit code 1:\n"):
        make_policy(run, base, (), folder, folder / "partial")
    assert not (folder / "partial").exists()


def test_a_slice_ends_all_processes_and_the_next_call_continues(tmp_path: Path, monkeypatch) -> None:
    run = of(small_run("pass_kt", "grpo"), 2)
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    whole, sliced = run_folder(run, tmp_path / "whole"), run_folder(run, tmp_path / "sliced")
    make_policy(run, base, tasks, whole, whole / "partial")
    monkeypatch.setenv(ENDS, "1.0")
    with pytest.raises(SliceOver):
        make_policy(run, base, tasks, sliced, sliced / "partial")
    assert [path.name for path in (sliced / "training").glob("checkpoint-*")] == ["checkpoint-1"]
    monkeypatch.delenv(ENDS)
    make_policy(run, base, tasks, sliced, sliced / "partial")
    one, two = (load_policy(folder / "partial")[0].state_dict() for folder in (whole, sliced))
    assert all(bool(one[name].eq(two[name]).all()) for name in one)
    assert len(read_jsonl(sliced / "metrics.jsonl")) == 3


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    run = of(small_run("pass_kt", "grpo", epochs=400), 2)
    base, folder = base_of(run, tmp_path / "base"), run_folder(run, tmp_path / "run")
    script = (
        "import sys; from pathlib import Path; from reproduce.core.reader import read_run;"
        "from reproduce.training.process import make_policy; folder, base = map(Path, sys.argv[1:]);"
        "make_policy(read_run(folder / 'config.json'), base, (), folder, folder / 'partial',"
        " lambda done, total: print(done, flush=True))"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(base)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert worker.stdout is not None and worker.stdout.readline().strip() == "1"
    started = psutil.Process(worker.pid).children(recursive=True)
    assert len(started) >= 3  # The launcher and two processes.
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    deadline = time.monotonic() + 60
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_command_names_a_file_of_settings(tmp_path: Path) -> None:
    run = of(small_run("pass_kt", "grpo"), 8, accelerate_config="fsdp", device="cuda")
    words = launch_command(run, tmp_path / "base", tmp_path, tmp_path / "partial")
    assert words[words.index("--num_processes") + 1] == "8"
    assert Path(words[words.index("--config_file") + 1]).name == "fsdp.yaml"
