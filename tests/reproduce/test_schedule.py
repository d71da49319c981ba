"""The scheduler: order, failures, threads; and runs that are stopped, killed and continued."""

import hashlib
import io
import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from reproduce.core.files import UserError
from reproduce.runs.progress import ProgressDisplay
from reproduce.runs.schedule import Step, carry_out

PLAIN = partial(Console, width=120)


def leave_note(folder: Path, name: str, report) -> None:
    import torch

    report("write", 1, 1)
    earlier = sorted(path.name for path in folder.iterdir())
    content = f"{os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()} {os.getpid()} {' '.join(earlier)}"
    (folder / name).write_text(content)


def fail(error: Exception, report) -> None:
    raise error


def die(report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def steps(folder: Path, *names: str):
    return tuple(Step(name, {"write": 1.0}, partial(leave_note, folder, name)) for name in names)


def test_steps_of_a_job_run_in_order_with_the_threads_asked_for(tmp_path):
    output = io.StringIO()
    carry_out([steps(tmp_path, "a1", "a2"), (), steps(tmp_path, "b1", "b2")], 1, 1, PLAIN(file=output))
    notes = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert all(note[:2] == ["1", "1"] for note in notes.values())
    assert "a1" in notes["a2"] and "b1" in notes["b2"]
    assert {int(note[2]) for note in notes.values()} != {os.getpid()}
    assert "a1: write\n" in output.getvalue() and "b2: done in 0 s (4 of 4)\n" in output.getvalue()


def test_first_failure_stops_the_rest_and_names_its_step(tmp_path):
    broken = Step("second", {}, partial(fail, RuntimeError("no such luck")))
    with pytest.raises(RuntimeError, match="no such luck") as caught:
        carry_out([(*steps(tmp_path, "first"), broken, *steps(tmp_path, "third"))], 1, 1, PLAIN(file=io.StringIO()))
    assert "in second" in caught.value.__notes__
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (partial(fail, UserError("put it right")), "^put it right$"),
        (partial(fail, OSError(28, "No space left on device")), "no space left on the disk"),
        (die, "stopped from outside"),
    ],
)
def test_what_a_user_can_put_right_is_one_error(work, message):
    with pytest.raises(UserError, match=message):
        carry_out([(Step("step", {}, work),)], 1, 1, PLAIN(file=io.StringIO()))


def test_overall_bar_is_weighted_by_expected_seconds():
    expected = {"short": {"train": 10.0}, "long": {"train": 60.0, "evaluate": 30.0}}
    with ProgressDisplay(Console(file=io.StringIO(), force_terminal=True, width=120), expected) as display:
        display.begin("long")
        display.advance("long", "train", 5, 10)
        assert display.bars.tasks[0].completed == 30.0 and display.bars.tasks[0].total == 100.0
        display.advance("long", "evaluate", 1, 3)
        display.begin("short")
        assert len(display.bars.tasks) == 2  # A step has a bar once it has a stage.
        display.finish("long")
        assert display.bars.tasks[0].completed == 90.0


# ---- real runs

RUN = ("run", "pass_kt", "--profile", "smoke")


def wait_for(path: Path, process) -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def fingerprints(folder: Path) -> dict[str, str]:
    """sha256 of every episode file and of the records, manifests (which hold times) left out."""
    files = [*folder.glob("runs/**/episodes.parquet"), *folder.glob("results/smoke/pass_kt/records/*")]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "runs.jsonl"
    }


def test_run_that_is_stopped_and_killed_ends_with_the_same_files(command_line, smoke_folder, tmp_path):
    folder = tmp_path / "runs/smoke/pass_kt/retrieval"

    stopped = command_line.start(tmp_path, *RUN, "--workers", "1")
    wait_for(folder / "base/seed-0/episodes.parts/0001.parquet", stopped)
    workers = psutil.Process(stopped.pid).children(recursive=True)
    for _ in range(3):  # As a terminal does: to the workers as well; and from who cannot wait.
        os.killpg(stopped.pid, signal.SIGINT)
        time.sleep(0.2)
    _, err = stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    assert err in ("", "stopped; the same command continues\n")
    assert not psutil.wait_procs(workers, timeout=5)[1]

    killed = command_line.start(tmp_path, *RUN, "--workers", "2")
    wait_for(folder / "grpo/seed-0/training/checkpoint-2/trainer_state.json", killed)
    workers = psutil.Process(killed.pid).children(recursive=True)
    assert len(workers) >= 2
    killed.kill()
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert not psutil.wait_procs(workers, timeout=10)[1], "workers must not outlive their parent"
    assert not (tmp_path / "results").exists()

    continued = command_line.run(tmp_path, *RUN, "--workers", "1")
    assert continued.code == 0, continued.err
    expected = fingerprints(smoke_folder)
    assert len(expected) == 7
    assert fingerprints(tmp_path) == expected


def test_training_continued_in_mid_epoch_ends_with_the_same_weights(smoke_folder, tmp_path, monkeypatch):
    from dataclasses import replace

    import torch

    from reproduce.papers.pass_kt.experiment import PROFILES, plan
    from reproduce.training import train as training

    def parity(completions, completion_ids, **columns):
        """A reward that even an untrained policy meets half of the time, so that every step has a gradient."""
        return [float(sum(ids) % 2) for ids in completion_ids]

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise Stopped

    monkeypatch.setattr(training, "build_recipe", lambda setting: training.Recipe(reward=parity))
    config = training.TrainingConfig(epochs=4, questions_per_step=4, save_every=5)
    run = replace(plan(PROFILES["smoke"])[1], training=config)
    base = smoke_folder / "runs/smoke/pass_kt/retrieval/base/seed-0/checkpoint"
    tasks = training_tasks()

    def train(folder: Path, report=lambda done, total: None):
        return training.train(run, base, tasks, folder, tmp_path / "arm/seed-0", report)

    whole = train(tmp_path / "whole")
    model, log = whole.model, whole.log
    assert len(log) == 8 and all(entry["grad_norm"] > 0 for entry in log)
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", stop)
    rest = train(tmp_path / "stopped")
    continued, continued_log = rest.model, rest.log
    names = ("step", "reward", "entropy", "grad_norm", "tokens/sampled", "tokens/trained")
    assert [[entry[name] for name in names] for entry in continued_log] == [
        [entry[name] for name in names] for entry in log
    ]
    for (name, weight), other in zip(model.named_parameters(), continued.parameters(), strict=True):
        assert torch.equal(weight, other), name


def training_tasks():
    from reproduce.environments.beds import load_bed
    from reproduce.papers.pass_kt.experiment import PROFILES

    return load_bed("retrieval").panels(PROFILES["smoke"].panels)["train"].tasks


def test_redo_mends_a_damaged_run_and_same_seed_gives_same_bytes(reproduce_in_process, smoke_copy, smoke_folder):
    for damaged in smoke_copy.glob("runs/smoke/pass_kt/retrieval/*/seed-1/episodes.parquet"):
        damaged.write_bytes(damaged.read_bytes()[:-200])
    redone = reproduce_in_process(smoke_copy, *RUN, "--workers", "1", "--redo", "--seeds-only", "1")
    assert redone.code == 0, redone.err
    assert "2 of 4 runs complete, 2 to do" in redone.out
    assert fingerprints(smoke_copy) == fingerprints(smoke_folder)


def test_subset_of_seeds_leaves_records_for_later(reproduce_in_process, smoke_copy):
    import shutil

    shutil.rmtree(smoke_copy / "results")
    shutil.rmtree(smoke_copy / "runs/smoke/pass_kt/retrieval/grpo/seed-1")
    partly = reproduce_in_process(smoke_copy, *RUN, "--seeds-only", "0")
    assert partly.code == 0 and "1 runs of other seeds are left" in partly.out
    assert not (smoke_copy / "results").exists()
