"""Runs on a real Ray cluster: two nodes of one core each on this machine, whose workers are killed.

What a cluster of several machines adds, storage that a node does not see, is made by a node that has another file
system mounted over the folder.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from filelock import FileLock

pytestmark = pytest.mark.distributed

SETTINGS = ("panels.test_per_category=3", "panels.ood_per_depth=1", "training.epochs=4", "evaluation.ood_samples=4")
RUN = ("run", "pass_kt", "--profile", "smoke", "--set", *SETTINGS)
RUNS = Path("runs/smoke/pass_kt")
STORE = 80 * 10**6


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m reproduce` in `folder`, as the leader of its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "reproduce", *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(process: subprocess.Popen[str]) -> SimpleNamespace:
    """Exit code and output, once it has ended."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return SimpleNamespace(code=process.returncode, out=out, err=err)


def run(folder: Path, *arguments: str) -> SimpleNamespace:
    """`start`, to its end."""
    return ended(start(folder, *arguments))


def assert_refused(result: SimpleNamespace, *parts: str) -> None:
    """One line, exit code 2, and nothing was started."""
    assert result.code == 2, result.err + result.out
    assert result.err.count("\n") == 1 and result.out == "", result.err
    for part in parts:
        assert part in result.err


@pytest.fixture(scope="module")
def cluster() -> Iterator[SimpleNamespace]:
    """Two nodes with a core each. Like any cluster, it does not know the folder that a run is started in."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    nodes = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    started = Cluster(initialize_head=True, connect=False, head_node_args=nodes)
    try:
        started.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE)
        yield SimpleNamespace(address=started.address, nodes=started)
    finally:
        started.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the local executor leaves behind."""
    folder = tmp_path_factory.mktemp("local")
    done = run(folder, *RUN, "--workers", "2")
    assert done.code == 0, done.err
    return fingerprints(folder)


def fingerprints(folder: Path) -> dict[str, str]:
    """sha256 of the weights, episodes, logs (without times) and records of every run; what else there is holds times
    and process numbers."""
    found = {}
    for path in sorted((folder / RUNS).rglob("*")):
        name = str(path.relative_to(folder))
        if path.name in ("model.safetensors", "config.json", "episodes.parquet", "experiment.json") or (
            path.parent.name == "records" and path.suffix == ".parquet"
        ):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = repr([{key: row[key] for key in sorted(row) if key != "step_time"} for row in rows])
    return found


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a run that is under way has written a file."""
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.002)


def workers() -> dict[str, psutil.Process]:
    """The Ray workers that hold the lock of a run folder, by its path."""
    found = {}
    for process in psutil.process_iter():
        try:
            if " ".join(process.cmdline()).startswith("ray::"):
                locks = [Path(file.path) for file in process.open_files() if file.path.endswith("/.lock")]
                found |= {str(lock.parent): process for lock in locks}
        except psutil.Error:
            continue
    return found


def test_killed_worker_and_lost_node_change_no_byte(cluster, expected, tmp_path):
    assert len(expected) == 4 * 4 + 2 + 3  # Four runs, the logs of two, and the records.
    folder = tmp_path / RUNS / "retrieval"
    process = start(tmp_path, *RUN, "--executor", "ray", "--address", cluster.address)
    wait_for(folder / "base/seed-0/episodes.parts/0000.parquet", process)
    workers()[str(folder / "base/seed-0")].kill()

    # Each node has room for one seed. The command is connected to the first; the other one is lost with its worker.
    (other,) = cluster.nodes.worker_nodes
    (raylet,) = other.all_processes["raylet"]
    lost = []
    while not lost:
        assert process.poll() is None, process.communicate()
        lost = [
            path
            for path, worker in workers().items()
            if worker.ppid() == raylet.process.pid and list(Path(path).glob("training/checkpoint-2/trainer_state.json"))
        ]
    cluster.nodes.remove_node(other, allow_graceful=False)
    try:
        done = ended(process)
    finally:
        cluster.nodes.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE)
    assert (done.code, done.err) == (0, ""), done.err
    for path in (folder / "base/seed-0", Path(lost[0])):
        manifest = json.loads((path / "manifest.json").read_text())
        assert manifest["exit_state"] == "complete" and manifest["attempt"] == 2
        assert f"{path.relative_to(folder.parent)}: its worker was lost; taken up again" in done.out
    assert done.out.count("taken up again") == 2 and "(4 of 4)" in done.out
    assert fingerprints(tmp_path) == expected


def test_command_that_is_stopped_leaves_no_worker_and_continues_without_ray(cluster, expected, tmp_path):
    folder = tmp_path / RUNS / "retrieval"
    process = start(tmp_path, *RUN, "--executor", "ray", "--address", cluster.address)
    wait_for(folder / "base/seed-1/episodes.parts/0001.parquet", process)
    working = workers()
    assert len(working) == 2
    os.killpg(process.pid, signal.SIGINT)
    stopped = ended(process)
    assert (stopped.code, stopped.err) == (130, "stopped; the same command continues\n")
    assert not psutil.wait_procs(list(working.values()), timeout=10)[1]
    continued = run(tmp_path, *RUN, "--workers", "2")
    assert continued.code == 0, continued.err
    assert fingerprints(tmp_path) == expected


def test_slices_on_a_cluster(cluster, expected, tmp_path):
    arguments = (*RUN, "--executor", "ray", "--address", cluster.address, "--slice")
    paused = run(tmp_path, *arguments, "40s")
    assert paused.code == 0, paused.err
    if "the slice is over" in paused.out:
        assert not (tmp_path / RUNS / "records").exists()
    done = run(tmp_path, *arguments, "1h")
    assert done.code == 0, done.err
    assert fingerprints(tmp_path) == expected


def test_worker_that_is_lost_too_often_is_one_line(cluster, tmp_path):
    folder = tmp_path / RUNS / "retrieval/base/seed-0"
    process = start(tmp_path, *RUN, "--executor", "ray", "--address", cluster.address, "--retries", "0")
    wait_for(folder / "manifest.json", process)
    while str(folder) not in (working := workers()):
        assert process.poll() is None
    working[str(folder)].kill()
    refused = ended(process)
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    assert "retrieval/base/seed-0: its worker was lost" in refused.err and "--retries" in refused.err


def test_lock_that_outlives_its_worker_is_waited_for(cluster, tmp_path):
    """A server of files keeps the locks of a machine that is gone for a while; here this process does."""
    folder = tmp_path / RUNS / "retrieval/base/seed-0"
    arguments = (*RUN, "--executor", "ray", "--address", cluster.address, "--seeds-only", "0")
    process = start(tmp_path, *arguments)
    wait_for(folder / "manifest.json", process)
    while str(folder) not in (working := workers()):
        assert process.poll() is None
    working[str(folder)].kill()
    with FileLock(folder / ".lock", timeout=60, poll_interval=0.01):
        time.sleep(8)
        assert process.poll() is None
    done = ended(process)
    assert (done.code, done.err) == (0, ""), done.err
    assert done.out.count("taken up again") == 1


def test_what_a_step_refuses_is_not_tried_again(cluster, tmp_path):
    folder = tmp_path / RUNS / "retrieval/base/seed-0"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        refused = run(tmp_path, *RUN, "--executor", "ray", "--address", cluster.address, "--seeds-only", "0")
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    assert f"{folder} is in use by another process" in refused.err
    assert "taken up again" not in refused.out


def test_cluster_that_does_not_answer_starts_nothing(tmp_path):
    refused = run(tmp_path, *RUN, "--executor", "ray", "--address", "127.0.0.1:9", "--redo")
    assert_refused(refused, "--address 127.0.0.1:9: no cluster answers")
    assert not list(tmp_path.iterdir())


def test_more_than_a_node_has_is_refused_at_once(cluster, tmp_path):
    on_ray = (*RUN, "--executor", "ray", "--address", cluster.address)
    assert_refused(run(tmp_path, *on_ray, "--gpus-per-run", "2"), "--gpus-per-run 2", "1 cores, 0 GPUs")
    # Two nodes have two cores together, but a run needs them on one.
    assert_refused(run(tmp_path, *on_ray, "--cores-per-run", "2"), "--cores-per-run 2", "1 cores, 0 GPUs")
    assert not list(tmp_path.iterdir())


NEW_NAMESPACE = ("unshare", "--mount", "--propagation", "private")


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*NEW_NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="needs the right to mount",
)
def test_node_that_does_not_see_the_folder_is_named(cluster, tmp_path):
    (tmp_path / "runs").mkdir()
    # Only this node has two cores.
    script = (
        f"mount -t tmpfs none {tmp_path} && exec {Path(sys.executable).parent}/ray start --address={cluster.address} "
        f"--num-cpus=2 --num-gpus=0 --object-store-memory={STORE} --block"
    )
    on_ray = (*RUN, "--executor", "ray", "--address", cluster.address, "--cores-per-run", "2")
    blind = subprocess.Popen([*NEW_NAMESPACE, "sh", "-c", script], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while "no node of the cluster" in (refused := run(tmp_path, *on_ray)).err:
            assert time.monotonic() < deadline and blind.poll() is None
        assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
        assert f"does not see {tmp_path / RUNS}: --runs must lie on storage that all nodes share" in refused.err
        assert not list(tmp_path.rglob("*.parquet"))
    finally:
        os.killpg(blind.pid, signal.SIGTERM)
        blind.wait(30)
