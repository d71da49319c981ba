"""The command line: what it prints, and the one line that bad input gets before any compute is spent."""

import json
import os
import shutil
from collections import namedtuple
from functools import partial

import pytest

RUNS = "runs/smoke/pass_kt/retrieval"


def assert_one_line(result, *parts):
    assert result.code == 2
    assert result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    for part in parts:
        assert part in result.err


def test_list_from_any_directory(command_line, tmp_path):
    listed = command_line.run(tmp_path, "list")
    assert listed.code == 0, listed.err
    for part in ("pass_kt.gap-widens", "grpo", "laptop", "smoke", "2604.14877"):
        assert part in listed.out
    assert not list(tmp_path.iterdir())


def test_help_shows_fields_with_defaults(reproduce_in_process, tmp_path):
    shown = reproduce_in_process(tmp_path, "run", "pass_kt", "--profile", "smoke", "--help")
    assert shown.code == 0
    assert "--rebuild-base" in shown.out and "(default: runs)" in shown.out
    assert "evaluation.samples" in shown.out and "training.group_size" in shown.out
    assert reproduce_in_process(tmp_path, "--help").out.count("\n") > 10
    assert reproduce_in_process(tmp_path).code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("rnu pass_kt", ("unknown command 'rnu'", "did you mean 'run'?")),
        ("run pas_kt", ("unknown paper 'pas_kt'", "did you mean 'pass_kt'?")),
        ("list zzz", ("unknown paper 'zzz'", "known: pass_kt")),
        ("report pas_kt", ("unknown paper 'pas_kt'", "did you mean 'pass_kt'?")),
        ("plan pass_kt --profile smok", ("unknown profile 'smok'", "did you mean 'smoke'?")),
        ("report pass_kt --profile smok", ("unknown profile 'smok'", "did you mean 'smoke'?")),
        ("run pass_kt --worker 2", ("unknown option '--worker'", "did you mean '--workers'?")),
        ("run pass_kt --set evaluation.sample=9", ("evaluation.sample", "did you mean 'evaluation.samples'?")),
        ("run pass_kt --set seeds", ("expected field=value",)),
        ("run pass_kt --set seeds=many", ("seeds=many", "seeds must be a whole number")),
        ("run pass_kt --set seeds=2 evaluation.caps=0,x", ("evaluation.caps[1] = 'x' must be a whole number",)),
        ("run pass_kt --set", ("--set: expected field=value",)),
        ("run pass_kt --set --redo", ("--set: expected field=value",)),
        ("run pass_kt --papr x", ("unknown option '--papr'", "--profile")),
        ("run pass_kt --set seeds=0", ("seeds=0", "at least 1")),
        ("run pass_kt --set seeds=1001", ("seeds=1001", "at most 1,000")),
        ("run pass_kt --set panels.test_per_category=100001", ("at most 100,000",)),
        ("run pass_kt --set policy.heads=0", ("policy.heads=0", "at least 1")),
        ("run pass_kt --set policy.longest=63", ("policy.longest=63", "at least 64")),
        ("run pass_kt --set sampling.temperature=0", ("sampling.temperature=0", "above 0")),
        ("run pass_kt --set training.learning_rate=nan", ("training.learning_rate=nan", "finite")),
        ("run pass_kt --set warm_start.learning_rate=inf", ("warm_start.learning_rate=inf", "finite")),
        ("run pass_kt --set evaluation.caps=0,1,2,5,5", ("evaluation.caps=0,1,2,5,5", "twice")),
        ("run pass_kt --set training.questions_per_step=7", ("must divide the 200 training questions",)),
        ("run pass_kt --set evaluation.samples=100", ("at least twice evaluation.largest_k=64",)),
        ("run pass_kt --seeds-only 0,x", ("--seeds-only '0,x'", "whole numbers")),
        ("run pass_kt --seeds-only 8", ("--seeds-only 8", "seeds 0 to 7")),
        ("run pass_kt --workers 0", ("--workers 0", "at least 1")),
        ("run pass_kt --workers two", ("--workers", "'two'")),
        ("run pass_kt --workers", ("--workers",)),
        ("run", ("PAPER",)),
        ("list pass_kt further", ("further",)),
        ("show nowhere", ("nowhere: no such run folder",)),
        ("show . --success --failure", ("exclude each other",)),
        ("report pass_kt", ("no records in results/laptop/pass_kt/records", "python -m reproduce run pass_kt")),
        ("report pass_kt --records elsewhere", ("no records in elsewhere",)),
    ],
)
def test_bad_input_gets_one_line(reproduce_in_process, tmp_path, arguments, parts):
    assert_one_line(reproduce_in_process(tmp_path, *arguments.split()), *parts)
    assert not list(tmp_path.iterdir()), "nothing may be written before the input is known to be good"


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("file", "choose another"),
        ("loop", "Too many levels"),
        ("pipe", "choose another"),
        ("x" * 5000, "File name too long"),
        ("a\udcffb", "no character of UTF-8"),
        ("a\0b", "or a zero"),
    ],
)
def test_unusable_path_is_one_line(reproduce_in_process, tmp_path, folder, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    refused = reproduce_in_process(tmp_path, "run", "pass_kt", "--profile", "smoke", "--runs", folder)
    assert_one_line(refused, words)


def test_what_nobody_foresaw_is_one_line_and_the_trace_is_kept(reproduce_in_process, tmp_path, monkeypatch):
    def break_down(*arguments):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("reproduce.cli.overview.show_papers", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failed = reproduce_in_process(tmp_path, "list")
    assert failed.code == 1 and failed.err.count("\n") == 1 and "RuntimeError: first line" in failed.err
    (trace,) = tmp_path.glob("rl-claims-*.log")
    assert str(trace) in failed.err and "break_down" in trace.read_text()
    # What libraries raise for a full disk is for the user to put right.
    for error in (OSError(27, "File too large", "x"), RuntimeError("I/O error: No space left on device (os error 28)")):
        monkeypatch.setattr("reproduce.cli.overview.show_papers", partial(raise_error, error))
        assert_one_line(reproduce_in_process(tmp_path, "list"), "no space left")


def raise_error(error, *arguments):
    raise error


def test_settings_of_several_options_add_up():
    from reproduce.cli.command_line import COMMANDS
    from reproduce.cli.parsing import parse

    run = parse(COMMANDS, ["run", "--set", "seeds=3", "panels.ood_per_depth=2", "--redo", "--set=seeds=4", "pass_kt"])
    assert run.settings == ("seeds=3", "panels.ood_per_depth=2", "seeds=4")
    assert (run.paper, run.redo, run.profile) == ("pass_kt", True, "laptop")


def test_plan_counts_what_is_left(reproduce_in_process, smoke_folder, tmp_path):
    there = reproduce_in_process(smoke_folder, "plan", "pass_kt", "--profile", "smoke")
    assert there.code == 0 and "0 of 4 runs to do" in there.out
    fresh = reproduce_in_process(tmp_path, "plan", "pass_kt", "--profile", "smoke", "--workers", "1")
    assert "4 of 4 runs to do: 256 rollouts of training, 2,880 episodes" in fresh.out
    assert "time about" in fresh.out and "disk about" in fresh.out


def test_planned_episodes_are_those_written(smoke_folder, monkeypatch):
    import pyarrow.parquet as pq

    from reproduce.cost.time import expected_bytes
    from reproduce.plan.open import open_experiment

    monkeypatch.chdir(smoke_folder)
    experiment = open_experiment("pass_kt", "smoke", (), smoke_folder / "runs")
    for run in experiment.plan:
        folder = experiment.folder / run.name
        assert pq.read_metadata(folder / "episodes.parquet").num_rows == experiment.episodes[run.name]
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert written < expected_bytes(run, experiment.episodes[run.name]) < 10 * written + 10**6


def test_time_of_jobs_in_order_on_few_workers():
    from reproduce.cost.time import START_SECONDS, expected_seconds

    assert expected_seconds([], 2) == 0
    assert expected_seconds([10, 10, 10], 2) == START_SECONDS + 20
    assert expected_seconds([10, 10, 10], 8) == START_SECONDS + 10


def test_env_shows_versions_and_hardware(reproduce_in_process, tmp_path):
    shown = reproduce_in_process(tmp_path, "env")
    assert shown.code == 0
    for part in ("torch", "trl", "processor", "GiB"):
        assert part in shown.out


def test_changed_configuration_is_refused_with_both_digests(reproduce_in_process, smoke_copy):
    from reproduce.core.config import result_digest

    config = json.loads((smoke_copy / RUNS / "grpo/seed-1/config.json").read_text())
    before = sorted(path.stat().st_mtime_ns for path in smoke_copy.rglob("*"))
    refused = reproduce_in_process(
        smoke_copy, "run", "pass_kt", "--profile", "smoke", "--set", "training.learning_rate=0.5"
    )
    assert_one_line(refused, "grpo/seed-0", "--redo", "this one has")
    other = reproduce_in_process(smoke_copy, "plan", "pass_kt", "--profile", "smoke", "--set", "sampling.temperature=1")
    assert_one_line(other, result_digest(json.loads((smoke_copy / RUNS / "base/seed-0/config.json").read_text()))[:12])
    assert json.loads((smoke_copy / RUNS / "grpo/seed-1/config.json").read_text()) == config
    assert sorted(path.stat().st_mtime_ns for path in smoke_copy.rglob("*")) == before


def test_hardware_and_old_digests_leave_finished_runs_finished(reproduce_in_process, smoke_copy):
    """Fewer rows at once after running out of memory, in folders of a version whose digest covered hardware too."""
    from reproduce.core.files import digest
    from reproduce.core.hashes import SEAL
    from reproduce.runs.folder import PRODUCTS

    for manifest in (smoke_copy / RUNS).glob("*/seed-*/manifest.json"):
        content, config = (json.loads(path.read_text()) for path in (manifest, manifest.with_name("config.json")))
        assert content.pop("hardware") == config["hardware"]
        del content[SEAL], content[PRODUCTS]
        old = digest(config)
        assert old != content["config_digest"]
        manifest.write_text(json.dumps(content | {"config_digest": old}))
    settings = ("hardware.rows_at_once=4", "evaluation.questions_at_once=2", "training.save_every=1")
    done = reproduce_in_process(smoke_copy, "run", "pass_kt", "--profile", "smoke", "--set", *settings)
    assert done.code == 0 and "4 of 4 runs complete, 0 to do" in done.out, done.err


@pytest.mark.parametrize(
    ("path", "row"), [("grpo/seed-1/episodes.parquet", ", row 1"), ("grpo/seed-1/metrics.jsonl", ", row 4")]
)
def test_truncated_record_is_named_with_row_and_remedy(reproduce_in_process, smoke_copy, path, row):
    file = smoke_copy / RUNS / path
    file.write_bytes(file.read_bytes()[:-40])
    refused = reproduce_in_process(smoke_copy, "run", "pass_kt", "--profile", "smoke")
    assert_one_line(refused, f"{RUNS}/{path}{row}: damaged", "--redo")


def test_complete_run_that_lacks_something_is_named(reproduce_in_process, smoke_copy):
    import pyarrow.parquet as pq

    run = smoke_copy / RUNS / "grpo/seed-1"

    def assert_refused(*parts):
        assert_one_line(reproduce_in_process(smoke_copy, "plan", "pass_kt", "--profile", "smoke"), *parts, "--redo")

    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    for name in ("config.json", "checkpoint/config.json"):
        content = (run / name).read_bytes()
        (run / name).unlink()
        assert_refused(f"seed-1/{name}: no such file")
        (run / name).write_bytes(content)
    (run / "metrics.jsonl").write_text("".join(rows[:-1]))
    assert_refused(f"seed-1/metrics.jsonl, row {len(rows)}: damaged")
    (run / "metrics.jsonl").write_text("".join([rows[0], "3\n", *rows[2:]]))
    assert_refused("seed-1/metrics.jsonl, row 2: damaged")
    episodes = pq.read_table(run / "episodes.parquet")
    pq.write_table(episodes.slice(0, 10), run / "episodes.parquet")
    assert_refused("seed-1/episodes.parquet, row 11: damaged")


@pytest.mark.parametrize("content", ["", '{"exit_state": ', "{}"])
def test_damaged_manifest_is_named(reproduce_in_process, smoke_copy, content):
    (smoke_copy / RUNS / "base/seed-0/manifest.json").write_text(content)
    for command in ("run", "plan"):
        refused = reproduce_in_process(smoke_copy, command, "pass_kt", "--profile", "smoke")
        assert_one_line(refused, f"{RUNS}/base/seed-0/manifest.json: damaged", "--redo")


@pytest.mark.parametrize("name", ["counts.parquet", "training.parquet", "runs.jsonl", "experiment.json"])
def test_damaged_records_are_named_by_report(reproduce_in_process, smoke_copy, name):
    file = smoke_copy / "results/smoke/pass_kt/records" / name
    file.write_bytes(file.read_bytes()[:-20])
    refused = reproduce_in_process(smoke_copy, "report", "pass_kt", "--profile", "smoke")
    assert_one_line(refused, f"results/smoke/pass_kt/records/{name}", "damaged")


def test_too_little_disk_is_refused(reproduce_in_process, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    refused = reproduce_in_process(tmp_path, "run", "pass_kt", "--profile", "smoke")
    assert_one_line(refused, "runs/smoke/pass_kt", "1 MB are free")
    assert not list(tmp_path.iterdir())


def test_complete_plan_writes_records_and_computes_nothing(reproduce_in_process, smoke_copy):
    records = smoke_copy / "results/smoke/pass_kt/records"
    before = {path.name: path.read_bytes() for path in records.iterdir()}
    assert set(before) == {"counts.parquet", "training.parquet", "runs.jsonl", "experiment.json"}
    shutil.rmtree(smoke_copy / "results")
    again = reproduce_in_process(smoke_copy, "run", "pass_kt", "--profile", "smoke")
    assert again.code == 0 and "4 of 4 runs complete, 0 to do" in again.out
    assert {path.name: path.read_bytes() for path in records.iterdir()} == before
