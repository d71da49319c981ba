"""A run: one arm, one environment, one seed. It owns one folder, which is made here, whole or resumable.

The manifest lists every product of the run with its size and sha256. A checkpoint is listed as soon as it is there, and
held against the list where another call continues, where an arm is trained from it, and where records are collected.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reproduce.core.config import RunConfig
from reproduce.core.files import FolderInUse, read_jsonl, remove, write_json
from reproduce.core.hashes import check_files, describe_files, flush_folder, read_sealed, sealed
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.core.slices import SliceOver, time_is_up
from reproduce.environments.bases import DESCRIPTION
from reproduce.environments.beds import load_bed
from reproduce.environments.protocol import Panel
from reproduce.rollouts.evaluation import evaluate, evaluation_cost
from reproduce.rollouts.models import save_reference
from reproduce.rollouts.opening import open_sampler
from reproduce.runs.folder import PRODUCTS, RunFolder
from reproduce.training.bases import obtain_base
from reproduce.training.process import make_policy

Report = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""
MANIFEST, CONFIG = "manifest.json", "config.json"
LOCK_SECONDS = "RL_CLAIMS_LOCK_SECONDS"
"""Environment variable: how long a run waits for the lock of its folder; unset: not at all. For who takes up the run of
a lost machine, whose locks a server of files may keep for a while."""


def execute(
    config: RunConfig,
    runs: Path,
    report: Report = lambda stage, done, total: None,
    rebuild_base: bool = False,
) -> None:
    """Carry out one run, or what is left of it. A complete run is left alone.

    rebuild_base: warm-start the base anew even if the package brings it along. Raises SliceOver where the slice ends
    before the run does, and FolderInUse where another process carries the run out.
    """
    path = runs / config.name
    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / ".lock", timeout=float(os.environ.get(LOCK_SECONDS, 0))):
            folder = RunFolder(path, config)
            if not folder.complete:
                _carry_out(folder, runs, report, rebuild_base)
    except Timeout:
        raise FolderInUse(f"{path} is in use by another process; wait for it or stop it") from None


def _carry_out(folder: RunFolder, runs: Path, report: Report, rebuild_base: bool) -> None:
    config = folder.config
    for scratch in (folder.partial, folder.training, folder.episodes.with_suffix(".parts")):
        if scratch.is_symlink():  # What is written there belongs into the run's own folder.
            scratch.unlink()
    write_json(folder.path / "config.json", asdict(config))
    earlier: dict[str, Any] = {"attempt": 0, "seconds": {}, "started": None}
    if folder.manifest.exists():
        earlier |= read_sealed(folder.manifest)
        if folder.checkpoint.exists():
            folder.check_products()
    manifest: dict[str, Any] = {
        "run": config.name,
        "profile": config.profile,
        "paper": config.paper,
        "arm": config.arm,
        "seed": config.seed,
        "config_digest": config.digest,
        "hardware": asdict(config.hardware),
        "attempt": earlier["attempt"] + 1,
        "started": earlier["started"] or _now(),
        "exit_state": "running",
        "seconds": dict(earlier["seconds"]),
        **({PRODUCTS: earlier[PRODUCTS]} if PRODUCTS in earlier and folder.checkpoint.exists() else {}),
        "source": describe_source(),
        "packages": package_versions(),
        "machine": describe_machine(),
        "determinism": "bit-identical on the same machine, package versions and threads; statistical elsewhere",
    }
    write_json(folder.manifest, manifest)
    try:
        _checkpoint_and_episodes(folder, runs, manifest, report, rebuild_base)
    except SliceOver:
        write_json(folder.manifest, manifest | {"exit_state": "paused"})
        raise
    manifest["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    )
    # Left by calls that were killed while they cleaned up, or between writing a file and renaming it.
    for left_over in (folder.training, folder.episodes.with_suffix(".parts"), *folder.path.glob(".*.*.*")):
        remove(left_over)
    manifest[PRODUCTS] = describe_files(folder.path, (MANIFEST,))
    write_json(folder.manifest, sealed(manifest | {"exit_state": "complete", "ended": _now()}))


def _checkpoint_and_episodes(
    folder: RunFolder, runs: Path, manifest: dict[str, Any], report: Report, rebuild_base: bool
) -> None:
    """Make what the folder does not hold yet, and add to the manifest what it was made from and what it cost."""
    config = folder.config
    with _counted(manifest["seconds"], "evaluate" if folder.checkpoint.exists() else "train"):
        panels = load_bed(config.environment).panels(config.panels)
        manifest["panels"] = {name: panel.sha256 for name, panel in panels.items()}
        if not folder.checkpoint.exists():
            _make_checkpoint(folder, runs, panels, report, rebuild_base)
            # Another call may continue with other hardware, which stands in config.json.
            manifest[PRODUCTS] = describe_files(folder.path, (MANIFEST, CONFIG))
            write_json(folder.manifest, manifest)
            if time_is_up():
                raise SliceOver
    manifest |= _describe_checkpoint(folder)
    write_json(folder.manifest, manifest)
    with _counted(manifest["seconds"], "evaluate"):
        if not folder.episodes.exists():
            evaluate(
                lambda: open_sampler(folder.checkpoint, config),
                [panels["test"], panels["ood"]],
                config,
                folder.episodes,
                lambda done, total: report("evaluate", done, total),
            )
        manifest["evaluation"] = asdict(evaluation_cost(folder.episodes))


@contextmanager
def _counted(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add to a stage the seconds it takes, also when the end of a slice cuts it short."""
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - begun


def _make_checkpoint(
    folder: RunFolder, runs: Path, panels: Mapping[str, Panel[Any]], report: Report, rebuild_base: bool
) -> None:
    """Obtain the base, or train the arm from the base of its seed. The checkpoint appears whole."""
    config = folder.config
    remove(folder.partial)
    if config.training is None and config.model.name:
        save_reference(config.model.name, folder.partial)
    elif config.training is None:
        obtain_base(
            config.environment,
            config.policy,
            config.warm_start,
            config.seed,
            folder.partial,
            lambda done, total: report("warm start", done, total),
            rebuild_base,
            config.hardware.device,
            folder.training / "warm_start.safetensors",
        )
    else:
        base = runs / f"{config.environment}/base/seed-{config.seed}"
        check_base(base)
        make_policy(
            config,
            base / "checkpoint",
            panels["train"].tasks,
            folder.path,
            folder.partial,
            lambda done, total: report("train", done, total),
        )
    flush_folder(folder.partial)
    folder.partial.rename(folder.checkpoint)
    remove(folder.training)


def check_base(run: Path) -> None:
    """Hold the checkpoint of a base's run against its manifest. Raises UserError where it has changed."""
    manifest = run / "manifest.json"
    if manifest.exists() and (products := read_sealed(manifest).get(PRODUCTS)) is not None:
        check_files(run, products, "checkpoint/")


def _describe_checkpoint(folder: RunFolder) -> dict[str, Any]:
    """Origin and cost of the checkpoint, from the files alone: this call may not have made it."""
    if folder.config.training is None and folder.config.model.name:
        return {"policy": f"the model {folder.config.model.name}, as it is"}
    if folder.config.training is None:
        brought = (folder.checkpoint / DESCRIPTION).exists()
        return {"policy": "base that comes with the package" if brought else "base warm-started here"}
    log = read_jsonl(folder.metrics)
    tokens = {name: int(sum(entry[f"tokens/{name}"] for entry in log)) for name in ("sampled", "trained")}
    return {"policy": "trained from the base of the same seed", "training_tokens": tokens}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
