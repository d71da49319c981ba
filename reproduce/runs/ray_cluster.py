"""A Ray cluster that runs can be carried out on: connecting to it, and what must hold before anything starts.

This package is not sent to the nodes: it is installed on all of them, in the same version, and the folder of the runs
lies on storage that all of them share, with file locks that hold between them (a local disk on one machine; NFS
version 4, or version 3 with its lock service; Lustre mounted with `flock`).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.core.machine import available_cores

AUTO, LOCAL = "auto", "local"
CONNECT_SECONDS = 20.0
"""A cluster that has not answered by then does not answer."""
NODE_SECONDS = 60.0
"""A node that has not begun a task by then does not answer; the first one loads Python there."""
VISIBLE_SECONDS = 5.0
"""Network file systems may show a new file a few seconds late."""
COMPARED = ("rl-claims", "torch", "transformers", "trl", "numpy")
"""Packages whose versions must be the same everywhere, for records to be."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run`, Ray would send the working folder to every node and start workers with uv.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_OBJECT_STORE_BYTES = 80 * 10**6
"""Of a cluster started here; what passes through it is a few numbers."""


@dataclass(frozen=True)
class RayOptions:
    """Where runs go and what each of them takes."""

    address: str = AUTO
    """`auto` (the cluster this machine is part of), HOST:PORT, or `local` (a cluster of this machine alone)."""
    cores_per_run: int = 1
    """Cores reserved for a run."""
    gpus_per_run: float = 0.0
    """GPUs reserved for a run; parts of one let several runs share it."""
    retries: int = 3
    """How often the runs of a seed are taken up again when their worker is lost."""


def check_ray(options: RayOptions) -> None:
    """Raise UserError where Ray is not installed or an option cannot be meant."""
    if options.address not in (AUTO, LOCAL) and not re.fullmatch(r"[\w.-]+:\d{1,5}", options.address):
        raise UserError(f"--address {options.address!r}: expected auto, local or HOST:PORT")
    if not 0 <= options.gpus_per_run <= 1 and (not 0 < options.gpus_per_run < inf or options.gpus_per_run % 1):
        raise UserError(f"--gpus-per-run {options.gpus_per_run:g}: expected a whole number, or a part of one GPU")
    if find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; pip install 'rl-claims[ray]'")


@contextmanager
def connected(options: RayOptions, environment: Mapping[str, str]) -> Iterator[None]:
    """Connect to the cluster, or start one on this machine. environment: variables of the workers.

    Raises UserError when no cluster answers, or none of its nodes has what a run takes.
    """
    check_ray(options)
    os.environ.update(_SETTINGS)
    if options.address != LOCAL:
        _check_answer(options.address)
    import ray

    _start(options.address, environment)
    try:
        check_resources(options)
        yield
    finally:
        ray.shutdown()


def _start(address: str, environment: Mapping[str, str]) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    starting: dict[str, Any] = {}
    if address == LOCAL:
        starting = {
            "num_cpus": available_cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    ray.init(
        address=address,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": dict(environment)},
        **starting,
    )


def _check_answer(address: str) -> None:
    """Connect in a process of its own first: where nothing or something else answers, Ray waits for minutes, and may
    end its process."""
    if address != AUTO:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"--address {address}: no cluster answers ({error})") from None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_try_to_connect, args=(address, sender), daemon=True)
    process.start()
    sender.close()
    try:
        reason = _reason(receiver)
    finally:
        process.kill()
        process.join()
    if reason:
        advice = "; `ray start --head` starts one, --address local one of this machine alone" if address == AUTO else ""
        raise UserError(f"--address {address}: no cluster answers ({reason}){advice}")


def _reason(receiver: Connection) -> str:
    """Why the other process could not connect; empty when it could."""
    try:
        receiver.recv()  # Ray is loaded there: only now does the time count.
        if not receiver.poll(CONNECT_SECONDS):
            return f"not within {CONNECT_SECONDS:.0f} s"
        return str(receiver.recv())
    except EOFError:
        return "what listens there is not Ray's"


def _try_to_connect(address: str, sender: Connection) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import ray

    sender.send("loaded")
    try:
        _start(address, {})
        ray.shutdown()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        sender.send("none runs on this machine" if "Could not find any running Ray" in reason else reason)
    else:
        sender.send("")


def check_resources(options: RayOptions) -> None:
    """Raise UserError when no node of the cluster has what a run takes: Ray would wait for one for ever."""
    if _usable_nodes(options):
        return
    import ray

    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max((node.get(name, 0.0) for node in found), default=0.0) for name in ("CPU", "GPU")}
    raise UserError(
        f"--cores-per-run {options.cores_per_run} --gpus-per-run {options.gpus_per_run:g}: no node of the cluster has "
        f"as many; the largest has {most['CPU']:g} cores, {most['GPU']:g} GPUs"
    )


def _usable_nodes(options: RayOptions) -> list[dict[str, Any]]:
    """Nodes that can carry out a run."""
    import ray

    return [
        node
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0.0) >= options.cores_per_run
        and node["Resources"].get("GPU", 0.0) >= options.gpus_per_run
    ]


def check_nodes(options: RayOptions, folder: Path) -> None:
    """Raise UserError unless every node that can carry out a run sees files and locks of `folder`, an absolute path,
    and has the same packages."""
    import ray
    from filelock import FileLock
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    folder.mkdir(parents=True, exist_ok=True)
    token, path = secrets.token_hex(16), folder / f".token-{secrets.token_hex(4)}"
    look = ray.remote(num_cpus=0, max_retries=1)(_look)
    path.write_text(token, encoding="utf-8")
    lock = path.with_suffix(".lock")
    try:
        with FileLock(lock):
            looks = {}
            for node in _usable_nodes(options):
                there = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                looks[name] = look.options(scheduling_strategy=there).remote(str(path), token, str(lock))
            for name, answer in looks.items():
                _check_node(name, answer, folder)
    finally:
        for file in (path, lock):
            file.unlink(missing_ok=True)


def _check_node(name: str, answer: Any, folder: Path) -> None:
    import ray

    try:
        sees_file, sees_lock, versions = ray.get(answer, timeout=NODE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise UserError(f"{name} does not answer within {NODE_SECONDS:.0f} s") from None
    except ray.exceptions.RayTaskError as error:
        reason = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
        raise UserError(f"{name} cannot run this package ({reason[-1]}): install it on every node") from None
    except ray.exceptions.RayError as error:
        raise UserError(f"{name} cannot be used: {str(error).strip().splitlines()[0]}") from None
    if not sees_file:
        raise UserError(f"{name} does not see {folder}: --runs must lie on storage that all nodes share")
    if not sees_lock:
        raise UserError(f"{name} does not see locks of {folder}: mount it with file locks (NFS 4, Lustre `flock`)")
    for package, here in _versions().items():
        if versions.get(package) != here:
            raise UserError(f"{name} has {package} {versions.get(package)}, this machine {here}: install the same")


def _look(path: str, token: str, lock: str) -> tuple[bool, bool, dict[str, str]]:
    """What a node sees of the file that another machine has just written and locked, and its packages."""
    from filelock import FileLock, Timeout

    sees_file, deadline = False, time.monotonic() + VISIBLE_SECONDS
    while not sees_file and time.monotonic() < deadline:
        with suppress(OSError):
            sees_file = Path(path).read_text(encoding="utf-8") == token
        if not sees_file:
            time.sleep(0.5)
    if not sees_file:
        return False, False, {}
    try:
        with FileLock(lock, timeout=0):
            return True, False, _versions()
    except Timeout:
        return True, True, _versions()
    except (OSError, NotImplementedError):
        return True, False, _versions()


def _versions() -> dict[str, str]:
    found = {}
    for package in COMPARED:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
