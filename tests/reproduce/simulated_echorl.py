"""Records of EchoRL's experiment that no model made: success is binomial, effects of arms are planted.

Without planted effects every arm is a sample of one policy (A/A), and the all-success share does not rise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from reproduce.claims.records import MethodRecords, load_method_records
from reproduce.core.config import RunConfig
from reproduce.core.files import write_json, write_jsonl, write_parquet
from reproduce.papers.echorl.experiment import KEY, PROFILES, EchoRLConfig
from reproduce.papers.echorl.plan import plan

RATES = {"easy": 0.8, "medium": 0.6, "hard": 0.3, "longer": 0.2, "template": 0.4, "numbers": 0.4}
"""Mean success of the base."""
SEED_DEVIATION = 0.008
"""Of a run's success rate: training is not the same twice."""
ORDERS = ("high_first", "low_first", "random", "matched")
SELECTIONS = ("highest_entropy", "lowest_entropy", "random", "fixed_length", "full_rollout")


@dataclass(frozen=True)
class Planted:
    """What is true of the simulated experiment. All in points (hundredths) where not said otherwise."""

    success: Mapping[str, float] = field(default_factory=dict)
    """Added to an arm's success rate on test and ood tasks."""
    ood: Mapping[str, float] = field(default_factory=dict)
    """Added on ood tasks besides."""
    dose: float = 0.0
    """Added to the success rates of echo_strong, times the category's all-success share."""
    rise: float = 0.0
    """Of the all-success share over the training of every arm."""
    slope: float = 0.0
    """Of the gradient norm in the all-success share."""
    entropy: Mapping[str, float] = field(default_factory=dict)
    """Hundredths of a nat added to an arm's entropy at the end."""
    ratio: float = 5.0
    """Thousandths: norm of the echo's gradient over that of the policy gradient, at lambda = 0.001."""
    slower: float = 0.0
    """Percent of time that the echo adds."""
    short: float = 1.0
    """Share of short picks over the base rate."""
    selection: float = 0.0
    """Standard errors of a seed's mean projection of argmax; argmin has the opposite."""
    unselected: float = 0.0
    """Standard errors of a seed's mean projection of the prefix of fixed length."""
    deletion: Mapping[str, float] = field(default_factory=dict)
    """Added to mean success under an order of deletion."""
    golden: float = 0.0
    """Hundredths of a nat by which reference traces exceed own successes."""


def simulated_records(
    folder: Path,
    generator: np.random.Generator,
    planted: Planted | None = None,
    profile: str = "laptop",
    seeds: int = 8,
    tasks: int = 40,
    samples: int = 8,
    steps: int = 30,
    arms: tuple[str, ...] | None = None,
) -> MethodRecords:
    """Write records into `folder` and read them. tasks: of each category and panel; samples: episodes a task; arms: of
    reasoning alone, instead of the profile's."""
    planted = planted or Planted()
    config = _sized(PROFILES[profile], seeds, samples)
    if arms is not None:
        config = replace(config, reasoning_arms=arms, countdown_arms=())
    runs = plan(config)
    difficulty = {
        (environment, panel, category): generator.normal(0, 0.4, tasks)
        for environment, panel, category in _categories()
    }
    shifts = {run.name: generator.normal(0, SEED_DEVIATION) for run in runs}
    counts = pd.concat(
        [_counts(run, planted, difficulty, shifts[run.name], tasks, samples, generator) for run in runs],
        ignore_index=True,
    )
    logs = [_log(run, planted, steps, generator) for run in runs if run.training is not None]
    folder.mkdir(parents=True, exist_ok=True)
    _write(counts, folder / "counts.parquet")
    _write(pd.concat(logs, ignore_index=True), folder / "training.parquet")
    if config.analysis_groups:
        for name, rows in _frozen_tables(planted, seeds, generator).items():
            _write(rows, folder / f"{name}.parquet")
    write_jsonl(folder / "runs.jsonl", [_manifest(run, planted, generator) for run in runs])
    write_json(folder / "experiment.json", asdict(config))
    return load_method_records(folder)


def _sized(config: EchoRLConfig, seeds: int, samples: int) -> EchoRLConfig:
    beds = {
        name: replace(
            getattr(config, name),
            evaluation=replace(getattr(config, name).evaluation, samples=samples, ood_samples=samples),
        )
        for name in ("reasoning", "countdown")
    }
    return replace(config, seeds=seeds, **beds)


def _write(frame: pd.DataFrame, path: Path) -> None:
    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)


def _categories() -> Iterator[tuple[str, str, str]]:
    for category in ("easy", "medium", "hard"):
        yield "reasoning", "test", category
    for category in ("longer", "template"):
        yield "reasoning", "ood", category
    for panel in ("test", "ood"):
        yield "countdown", panel, "numbers"


def _counts(
    run: RunConfig,
    planted: Planted,
    difficulty: Mapping[tuple[str, str, str], np.ndarray],
    shift: float,
    tasks: int,
    samples: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    parts = []
    for environment, panel, category in _categories():
        if environment != run.environment:
            continue
        odds = np.log(RATES[category] / (1 - RATES[category])) + difficulty[environment, panel, category]
        rate = 1 / (1 + np.exp(-odds))
        added = planted.success.get(run.arm, 0.0) + (planted.ood.get(run.arm, 0.0) if panel == "ood" else 0.0)
        if run.arm == "echo_strong":
            added += planted.dose * float((rate**8).mean())
        successes = generator.binomial(samples, np.clip(rate + shift + added / 100, 0, 1))
        parts.append(
            pd.DataFrame(
                {
                    "environment": environment,
                    "arm": run.arm,
                    "seed": run.seed,
                    "panel": panel,
                    "category": category,
                    "question": [f"{panel}-{category}-{place:04d}" for place in range(tasks)],
                    "n": samples,
                    "successes": successes,
                    "rounds": samples,
                    "rounds_of_successes": successes,
                    "invalid": 0,
                    "repeated": 0,
                    "sampled_tokens": 30 * samples,
                    "failure: wrong answer": samples - successes,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _log(run: RunConfig, planted: Planted, steps: int, generator: np.random.Generator) -> pd.DataFrame:
    step = np.arange(1, steps + 1)
    progress = (step - 1) / max(1, steps - 1)
    share = np.clip(0.3 + planted.rise / 100 * progress + generator.normal(0, 0.05, steps), 0, 1)
    wrong = np.full(steps, 0.2)
    norm = np.clip(1.0 + planted.slope * share + generator.normal(0, 0.05, steps), 0.01, None)
    training = run.training
    assert training is not None
    tokens = float(training.questions_per_step * training.group_size * 30)
    echoes = run.method.trainer in ("echo", "dapo_echo")
    slower = 1 + planted.slower / 100 * echoes
    end = 0.4 + planted.entropy.get(run.arm, 0.0) / 100
    frame = {
        "environment": run.environment,
        "arm": run.arm,
        "seed": run.seed,
        "step": step,
        "reward": 0.5 + generator.normal(0, 0.02, steps),
        "groups/all_right": share,
        "groups/all_wrong": wrong,
        "groups/mixed": 1 - share - wrong,
        "entropy": 0.4,
        "policy/entropy": end + generator.normal(0, 0.004, steps) + generator.normal(0, 0.004),
        "grad_norm": norm,
        "tokens/sampled": tokens * (3 if run.method.trainer.startswith("dapo") else 1),
        "tokens/trained": tokens * 0.5,
        "completions/mean_length": 30.0,
        "step_time": 0.1 * slower + generator.uniform(0, 0.001, steps),
    }
    if run.method.trainer.startswith("dapo"):
        frame["episodes/sampled"] = 3.0 * training.questions_per_step * training.group_size
    if echoes:
        measured = (step - 1) % 5 == 0
        scale = run.method.weight / 1e-3
        frame |= {
            "echo/groups_with_clip": 0.8,
            "echo/clip_tokens": generator.uniform(14, 16, steps),
            "echo/clip_share": generator.uniform(0.5, 0.6, steps),
            "echo/step_tokens": 6.0,
            "echo/step_entropy": 0.7,
            "echo/short_steps": 0.2 * planted.short + generator.uniform(-0.02, 0.02, steps),
            "echo/short_steps_of_pool": 0.2,
            "echo/first_steps": 0.3,
        }
        if run.method.measure_gradients_every:
            frame |= {
                "gradient/policy": np.where(measured, norm, np.nan),
                "gradient/echo": np.where(measured, norm * planted.ratio / 1000 * scale, np.nan),
                "gradient/echo_all_right": np.where(measured, norm * planted.ratio / 2000 * scale, np.nan),
            }
    return pd.DataFrame(frame)


def _frozen_tables(planted: Planted, seeds: int, generator: np.random.Generator) -> dict[str, pd.DataFrame]:
    run = {"environment": "reasoning", "arm": "frozen"}
    errors = {"highest_entropy": planted.selection, "lowest_entropy": -planted.selection}
    errors["fixed_length"] = planted.unselected
    projections, deletion, golden = [], [], []
    for seed in range(seeds):
        for selection in SELECTIONS:
            mean = 0.01 * (errors.get(selection, 0.0) + generator.normal())
            row = {"selection": selection, "groups": 2000, "mean": mean, "standard_error": 0.01}
            projections.append({**run, "seed": seed, **row})
        for order in ORDERS:
            for place in range(11):
                success = 0.9 - 0.05 * place + planted.deletion.get(order, 0.0) / 100 + generator.normal(0, 0.01)
                row = {"order": order, "share": 0.05 * place, "solutions": 500, "success": success}
                deletion.append({**run, "seed": seed, **row})
        own = 0.3 + generator.normal(0, 0.01)
        row = {"prompts": 300, "own": own, "golden": own + planted.golden / 100 + generator.normal(0, 0.005)}
        golden.append({**run, "seed": seed, **row, "other": own + generator.normal(0, 0.005)})
    return {
        "projections": pd.DataFrame(projections),
        "deletion": pd.DataFrame(deletion),
        "golden": pd.DataFrame(golden),
    }


def _manifest(run: RunConfig, planted: Planted, generator: np.random.Generator) -> dict:
    trained = run.training is not None
    panels = {name: f"{zlib.crc32(name.encode()):08x}" for name in ("train", "test", "ood")}
    manifest = {
        "run": run.name,
        "profile": run.profile,
        "paper": KEY,
        "arm": run.arm,
        "seed": run.seed,
        "config_digest": run.digest,
        "attempt": 1,
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:01:00+00:00",
        "exit_state": "complete",
        "seconds": {"train": 5.0, "evaluate": 2.0},
        "source": {"commit": "0" * 40, "dirty": False},
        "packages": {"python": "3.11.0", "torch": "2.13.0", "trl": "1.16.0"},
        "machine": {
            "system": "Linux",
            "processor": "simulated processor",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "accelerators": [],
            "threads": 1,
        },
        "determinism": "bit-identical on the same machine, package versions and threads; statistical elsewhere",
        "panels": panels,
        "policy": "trained from the base of the same seed" if trained else "base that comes with the package",
        "evaluation": {"episodes": 1000, "forward_tokens": 30_000, "sampled_tokens": 12_000},
        "peak_memory_bytes": int(9e8 * (1 + generator.normal(0, 0.001))),
    }
    if trained:
        manifest["training_tokens"] = {"sampled": 1_000_000, "trained": 500_000}
    return manifest
