"""Evidence that was changed after it was written does not count, and what rests on what is shown."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from reproduce.core.files import UserError, read_json, read_jsonl, write_jsonl
from reproduce.core.hashes import SEAL, check_seal, sealed
from reproduce.runs.verify import check_records

RUNS = Path("runs/smoke/pass_kt/retrieval")
RECORDS = Path("results/smoke/pass_kt/records")
PLAN = ("pass_kt", "--profile", "smoke")


def flip(path: Path, place: float = 0.7) -> None:
    """Change one bit of a file, and neither its size nor its time."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))


@pytest.mark.parametrize(
    "name",
    ["grpo/seed-1/episodes.parquet", "grpo/seed-1/metrics.jsonl", "base/seed-0/checkpoint/model.safetensors"],
)
def test_one_flipped_bit_of_a_complete_run_is_refused(reproduce_in_process, smoke_copy, name) -> None:
    flip(smoke_copy / RUNS / name)
    shutil.rmtree(smoke_copy / "results")
    for command in ("run", "report", "plan"):
        refused = reproduce_in_process(smoke_copy, command, *PLAN)
        assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
        assert name in refused.err and "damaged" in refused.err
    assert not (smoke_copy / "results").exists()
    found = reproduce_in_process(smoke_copy, "verify", "runs")
    assert (
        found.code == 2 and "1 damaged" in found.err and name in found.err and "run: 1 damaged, 3 intact" in found.out
    )


def test_a_base_that_has_changed_is_not_trained_from(smoke_copy, monkeypatch) -> None:
    from reproduce.environments.bases import committed_folder
    from reproduce.papers.pass_kt.experiment import PROFILES, plan
    from reproduce.runs.execute import execute
    from reproduce.training import bases

    shutil.rmtree(smoke_copy / RUNS / "grpo/seed-0")
    flip(smoke_copy / RUNS / "base/seed-0/checkpoint/model.safetensors")
    arm = next(run for run in plan(PROFILES["smoke"]) if run.training is not None)
    with pytest.raises(UserError, match=r"base/seed-0/checkpoint/model\.safetensors: damaged"):
        execute(arm, smoke_copy / RUNS.parent)
    # Neither is one that comes with the package.
    copy = shutil.copytree(committed_folder(0), smoke_copy / "package")
    assert bases.check_committed(copy) == 5
    flip(copy / "model.safetensors")
    with pytest.raises(UserError, match="install the package again"):
        bases.check_committed(copy)


def test_changed_records_and_reports_are_named(reproduce_in_process, smoke_copy) -> None:
    assert check_records(smoke_copy / RECORDS)
    assert reproduce_in_process(smoke_copy, "report", *PLAN).code == 0
    intact = reproduce_in_process(smoke_copy, "verify", "results")
    assert intact.code == 0 and "byte for byte" in intact.out and "records: 1 intact" in intact.out
    assert (
        "counts.parquet" in intact.out and "tool-sampling" in intact.out.replace("\n", "")
    ) or "pass_kt." in intact.out
    report = smoke_copy / "results/smoke/pass_kt/report.md"
    written = report.read_text()
    report.write_text(written.replace("1", "2", 1))
    altered = reproduce_in_process(smoke_copy, "verify", "results")
    assert altered.code == 2 and "is not what" in altered.err
    report.write_text(written)
    manifests = read_jsonl(smoke_copy / RECORDS / "runs.jsonl")
    write_jsonl(smoke_copy / RECORDS / "runs.jsonl", [manifests[0] | {"seed": 7}, *manifests[1:]])
    refused = reproduce_in_process(smoke_copy, "report", *PLAN)
    assert refused.code == 2 and "runs.jsonl, row 1: damaged" in refused.err
    # Records of earlier versions hold no sha256: they stay readable, and are said to be unverified.
    bare = [{key: value for key, value in row.items() if key not in (SEAL, "products")} for row in manifests]
    write_jsonl(smoke_copy / RECORDS / "runs.jsonl", bare)
    experiment = read_json(smoke_copy / RECORDS / "experiment.json")
    old = {key: value for key, value in experiment.items() if key not in (SEAL, "files")}
    (smoke_copy / RECORDS / "experiment.json").write_text(json.dumps(old))
    earlier = reproduce_in_process(smoke_copy, "report", *PLAN)
    assert earlier.code == 0 and "unverified" in earlier.out, earlier.err
    assert "records: 1 unverified" in reproduce_in_process(smoke_copy, "verify", "results").out


def test_a_seal_is_of_everything_else() -> None:
    content = sealed({"a": 1, "b": [2]})
    assert check_seal(content, "here") and sealed(content) == content and not check_seal({"a": 1}, "here")
    with pytest.raises(UserError, match="here: damaged"):
        check_seal(content | {"a": 2}, "here")


def test_redo_unlinks_and_nothing_is_written_through_links(reproduce_in_process, smoke_copy) -> None:
    run, elsewhere = smoke_copy / RUNS / "grpo/seed-1", smoke_copy / "elsewhere"
    expected = (run / "episodes.parquet").read_bytes()
    shutil.move(run, elsewhere)
    (elsewhere / "episodes.parquet").write_bytes(expected[:-8] + b"12345678")
    run.symlink_to(elsewhere)
    (smoke_copy / "outside").mkdir()
    redone = reproduce_in_process(smoke_copy, "run", *PLAN, "--workers", "1", "--redo", "--seeds-only", "1")
    assert redone.code == 0, redone.err
    assert not run.is_symlink() and (run / "episodes.parquet").read_bytes() == expected
    assert (elsewhere / "episodes.parquet").read_bytes() != expected
    shutil.rmtree(run)
    run.mkdir()
    for name in ("checkpoint.partial", "training", "episodes.parts"):
        (run / name).symlink_to(smoke_copy / "outside")
    continued = reproduce_in_process(smoke_copy, "run", *PLAN, "--workers", "1")
    assert continued.code == 0, continued.err
    assert (run / "episodes.parquet").read_bytes() == expected and not list((smoke_copy / "outside").iterdir())
