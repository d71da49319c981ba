"""Records of RRPO and SRPO that no model made: binomial successes, and resets whose correction follows a stated law.

Every trained arm has the base's rates plus what it learns; `gains` adds points to that. Without gains all trained arms
are samples of one policy (A/A).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from reproduce.claims.records import MethodRecords
from reproduce.core.config import RunConfig
from reproduce.papers.resets.arms import ARMS
from reproduce.papers.resets.experiment import KEY, PROFILES, ResetsConfig, plan
from reproduce.papers.resets.measures import CATEGORIES, CHAINS, ENVIRONMENT

LEARNED = 15.0
"""Points that every trained arm gains over the base."""
LENGTHS = (5, 7, 8)


@dataclass(frozen=True)
class Planted:
    """What is true of the simulated runs."""

    gains: Mapping[str, float] = field(default_factory=dict)
    """Points of test success of an arm beyond what every arm learns."""
    speed: Mapping[str, float] = field(default_factory=dict)
    """How many times faster than the others an arm learns."""
    spread: float = 1.0
    """Standard deviation over seeds of an arm's true success, points."""
    clean: float = 0.2
    """Chance of a suffix after a clean prefix,"""
    erroneous: float = 0.2
    """and after an erroneous one."""
    late: float = 1.0
    """What is left of that chance at the last step of a chain; it falls linearly with the position."""
    signal: float = 0.0
    """Mean logarithm of the ratio of signal per token."""
    rise: float = 0.0
    """Rise of suffix success over the training, and fall of the share without signal."""
    valid: Mapping[str, float] = field(default_factory=dict)
    """Points by which an arm answers more often, out of domain."""


def simulated(
    generator: np.random.Generator,
    planted: Planted = Planted(),
    profile: str = "laptop",
    seeds: int = 8,
    tasks: int = 40,
    samples: int = 8,
    steps: int = 30,
    resets: int = 6,
) -> MethodRecords:
    """Records of every arm of the profile; tasks: of each tier; resets: of each step."""
    bed = PROFILES[profile].reasoning
    sized = replace(
        bed,
        panels=replace(bed.panels, test=tasks, ood=tasks),
        evaluation=replace(bed.evaluation, samples=samples, ood_samples=samples),
    )
    config = replace(PROFILES[profile], seeds=seeds, reasoning=sized)
    runs = plan(config)
    difficulty = {panel: generator.normal(0, 0.15, (3, tasks)) for panel in ("test", "ood")}
    counts, training, tables = [], [], {"steps": [], "resets": [], "probe": []}
    for run in runs:
        counts.append(_counts(run, config, planted, difficulty, generator))
        if run.training is None:
            continue
        training.append(_training(run, planted, steps, generator))
        tables["steps"].append(_steps(run, planted, steps, generator))
        if ARMS[run.arm].settings.rule != "none":
            tables["resets"].append(_resets(run, planted, steps, resets, generator))
        if run.arm == "rrpo":
            tables["probe"].append(_probe(run, generator))
    return MethodRecords(
        counts=pd.concat(counts, ignore_index=True),
        training=pd.concat(training, ignore_index=True),
        tables={name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()},
        runs=[_manifest(run) for run in runs],
        experiment=asdict(config),
    )


def _of_run(run: RunConfig, columns: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"environment": run.environment, "arm": run.arm, "seed": run.seed, **columns})


def _counts(
    run: RunConfig,
    config: ResetsConfig,
    planted: Planted,
    difficulty: Mapping[str, np.ndarray],
    generator: np.random.Generator,
) -> pd.DataFrame:
    learned = (LEARNED + planted.gains.get(run.arm, 0.0)) * (run.training is not None)
    own = (learned + generator.normal(0, planted.spread)) / 100
    n, tasks, parts = config.reasoning.evaluation.samples, config.reasoning.panels.test, []
    for panel, categories in (("test", CATEGORIES), ("ood", ("longer", "template"))):
        for place, category in enumerate(categories):
            more = planted.valid.get(run.arm, 0.0) / 100 * (panel == "ood")
            valid = generator.binomial(n, 0.85 + more, tasks)
            rate = np.clip((0.4 + difficulty[panel][place] + own * (panel == "test")) / 0.85, 0, 1)
            right = generator.binomial(valid, rate)
            parts.append(
                {
                    "panel": panel,
                    "category": category,
                    "question": [f"{panel}-{category}-{number:04d}" for number in range(tasks)],
                    "n": n,
                    "successes": right,
                    "rounds": n,
                    "rounds_of_successes": right,
                    "invalid": n - valid,
                    "repeated": 0,
                    "sampled_tokens": 30 * n,
                    "failure: no answer": n - valid,
                    "failure: wrong answer": valid - right,
                }
            )
    return pd.concat([_of_run(run, part) for part in parts], ignore_index=True)


def _learning(run: RunConfig, planted: Planted, steps: int) -> np.ndarray:
    place = np.arange(1, steps + 1) / steps * planted.speed.get(run.arm, 1.0)
    return 0.4 + LEARNED / 100 * np.minimum(place, 1.0)


def _training(run: RunConfig, planted: Planted, steps: int, generator: np.random.Generator) -> pd.DataFrame:
    place = np.linspace(-0.5, 0.5, steps)
    resets = ARMS[run.arm].settings.rule != "none"
    rise = planted.rise * place
    absent = np.full(steps, np.nan)
    noisy = {
        "suffix/success": 0.3 + rise + generator.normal(0, 0.05, steps),
        "suffix/zero_std": 0.5 - rise + generator.normal(0, 0.05, steps),
        "resets/share": np.full(steps, 0.9),
    }
    return _of_run(
        run,
        {
            "step": np.arange(1, steps + 1),
            "reward": _learning(run, planted, steps),
            "tokens/trained": 1000.0,
            "base/success": 0.45 + generator.normal(0, 0.05, steps),
            "base/zero_std": 0.3 + generator.normal(0, 0.05, steps),
            **{name: values if resets else absent for name, values in noisy.items()},
        },
    )


def _steps(run: RunConfig, planted: Planted, steps: int, generator: np.random.Generator) -> pd.DataFrame:
    fresh = 128
    resets = ARMS[run.arm].settings.rule != "none"
    base = np.exp(generator.normal(-6, 0.2, (3, steps)))
    suffix = base * np.exp(generator.normal(planted.signal, 0.3, (3, steps)))
    names = ("signal", "advantage", "inverse_length")
    signal = {f"base_{name}": row if resets else np.nan for name, row in zip(names, base, strict=True)}
    signal |= {f"suffix_{name}": row if resets else np.nan for name, row in zip(names, suffix, strict=True)}
    return _of_run(
        run,
        {
            "step": np.arange(1, steps + 1),
            "fresh_successes": generator.binomial(fresh, _learning(run, planted, steps)),
            "fresh_chains": fresh,
            "generated_tokens": 4000 if resets else 4200,
            "generated_chains": 144 if resets else 128,
            "localization_tokens": 0,
            **signal,
        },
    )


def _resets(run: RunConfig, planted: Planted, steps: int, resets: int, generator: np.random.Generator) -> pd.DataFrame:
    size = steps * resets
    length = generator.choice(LENGTHS, size)
    truth = np.ceil(generator.random(size) ** 1.5 * length).astype(int)
    method = ARMS[run.arm].settings
    blind = np.ceil(generator.random(size) * length).astype(int)
    if method.rule == "histogram":
        blind = np.ceil(generator.random(size) ** 1.5 * length).astype(int)
    hit = generator.random(size) < (method.hit_rate if method.rule == "oracle" else 0.4 * (method.rule == "learned"))
    chosen = np.where(hit, truth, np.ones(size, dtype=int) if method.rule == "first" else blind)
    chance = np.where(chosen <= truth, planted.clean, planted.erroneous)
    chance = chance * (1 - (1 - planted.late) * (chosen - 1) / (length - 1))
    return _of_run(
        run,
        {
            "step": np.repeat(np.arange(1, steps + 1), resets),
            "category": np.where(length == 5, "medium", "hard"),
            "question": [f"train-{number % 32:04d}" for number in range(size)],
            "steps": length,
            "chosen": chosen,
            "truth": truth,
            "corrected": generator.binomial(4, chance),
            "attempts": 4,
            "base_successes": generator.binomial(4, 0.45, size),
        },
    )


def _probe(run: RunConfig, generator: np.random.Generator) -> pd.DataFrame:
    rows = [(category, rule) for category in CHAINS for rule in ("random", "targeted")]
    chance = np.array([0.3 if rule == "random" else 0.6 for _, rule in rows])
    return _of_run(
        run,
        {
            "category": [category for category, _ in rows],
            "rule": [rule for _, rule in rows],
            "groups": 60,
            "mixed": generator.binomial(60, chance),
            "corrected": generator.binomial(240, chance),
        },
    )


def _manifest(run: RunConfig) -> dict[str, Any]:
    return {
        "run": run.name,
        "profile": run.profile,
        "paper": KEY,
        "arm": run.arm,
        "seed": run.seed,
        "config_digest": run.digest,
        "attempt": 1,
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:00:45+00:00",
        "exit_state": "complete",
        "seconds": {"train": 10.0 + run.seed, "evaluate": 2.0},
        "environment": ENVIRONMENT,
    }
