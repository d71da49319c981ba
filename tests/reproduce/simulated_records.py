"""Records that no model made: success rates over questions follow a Beta law, successes a binomial one.

The trained arm has the base's rates, plus a planted gain on bridge questions at T >= 2. Without a gain the two arms are
two samples of one policy (A/A). The files are those that `reproduce.claims.grid.collect` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import beta, norm

from reproduce.claims.grid import COUNT_COLUMNS
from reproduce.core.config import INDEPENDENT, PREFIX_FORK, RunConfig
from reproduce.core.files import write_json, write_jsonl, write_parquet
from reproduce.core.settings import ExperimentConfig
from reproduce.papers.pass_kt.experiment import KEY, PROFILES, plan

BETA = {"static": (1.5, 0.5), "comparison": (0.6, 0.4), "bridge": (0.251, 0.44)}
"""Beta law of the base's success rates over questions; for bridge the one fitted to the paper's category C."""
SHARE_OF_RATE = {"static": (1.0,), "comparison": (0.4, 0.7, 1.0), "bridge": (0.03, 0.15, 1.0)}
"""What is left of a question's rate at T = 0, 1, 2; more rounds change nothing."""
CORRELATION_OVER_SEEDS = 0.6
"""Between the latent difficulties of one question for two seeds."""

Rates = dict[str, np.ndarray]
"""For each category, and for `ood`, the base's success rates, (seeds, questions)."""


def write_simulated_records(
    folder: Path,
    generator: np.random.Generator,
    gain: float = 0.0,
    seeds: int = 8,
    questions: int = 100,
    samples: int = 128,
    profile: str = "laptop",
) -> None:
    """Write records of `base` and `grpo` into `folder`.

    gain: points (hundredths) added to the trained arm's success rates on bridge questions at T >= 2, the ood panel
    included; 0 for A/A. questions: test questions of each category. samples: episodes n for each question and T; the
    largest k is at most half of it. The other sizes are those of the profile.
    """
    config = _sized(PROFILES[profile], seeds, questions, samples)
    rates = _draw_rates(config, generator)
    runs = plan(config)
    counts = [row for run in runs for row in _count_rows(run, rates, gain / 100, generator)]
    frame = pd.DataFrame(counts, columns=list(COUNT_COLUMNS))
    frame = frame.astype({"seed": "int16", "hops": "int8", "T": "int8", "half": "int8", "n": "int16"})
    frame = frame.astype({"successes": "int16"})
    training = [_training_log(run, rates, gain / 100, generator) for run in runs if run.training is not None]
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), folder / "counts.parquet")
    write_parquet(pa.Table.from_pandas(pd.concat(training), preserve_index=False), folder / "training.parquet")
    write_jsonl(folder / "runs.jsonl", [_manifest(run) for run in runs])
    write_json(folder / "experiment.json", asdict(config))


def _sized(config: ExperimentConfig, seeds: int, questions: int, samples: int) -> ExperimentConfig:
    return replace(
        config,
        seeds=seeds,
        panels=replace(config.panels, test_per_category=questions),
        evaluation=replace(
            config.evaluation,
            samples=samples,
            ood_samples=samples,
            largest_k=min(config.evaluation.largest_k, samples // 2),
        ),
    )


def _draw_rates(config: ExperimentConfig, generator: np.random.Generator) -> Rates:
    sizes = dict.fromkeys(BETA, config.panels.test_per_category) | {"ood": 2 * config.panels.ood_per_depth}
    rates = {}
    for name, size in sizes.items():
        shared = generator.standard_normal(size) * CORRELATION_OVER_SEEDS**0.5
        own = generator.standard_normal((config.seeds, size)) * (1 - CORRELATION_OVER_SEEDS) ** 0.5
        rates[name] = beta.ppf(norm.cdf(shared + own), *BETA["bridge" if name == "ood" else name])
    return rates


def _count_rows(run: RunConfig, rates: Rates, gain: float, generator: np.random.Generator) -> Iterator[tuple]:
    evaluation, gain = run.evaluation, gain if run.arm == "grpo" else 0.0
    deepest, n = max(evaluation.caps), evaluation.samples

    def successes(question_rates: np.ndarray, category: str, cap: int) -> np.ndarray:
        shares = SHARE_OF_RATE[category]
        rate = question_rates * shares[min(cap, len(shares) - 1)]
        return generator.binomial(n, np.clip(rate + gain * (category == "bridge" and cap >= 2), 0, 1))

    def rows(panel: str, category: str, hops: int, label: str, estimator: str, cap: int, half: int, counts) -> Iterator:
        for place, count in enumerate(counts):
            question = f"{panel}-{label}-{place:04d}"
            yield (run.arm, run.seed, panel, category, hops, question, estimator, cap, half, n, int(count))

    for category, hops in (("static", 0), ("comparison", 2), ("bridge", 2)):
        own, label = rates[category][run.seed], "bridge-2" if category == "bridge" else category
        caps = (0,) if category == "static" else evaluation.caps
        for cap in caps:
            counts = successes(own, category, cap)
            yield from rows("test", category, hops, label, INDEPENDENT, cap, 0, counts)
            if category != "static" and cap == deepest:
                # The forks are forks of these very episodes, so at the largest T both estimators agree.
                yield from rows("test", category, hops, label, PREFIX_FORK, cap, 0, counts)
            elif category != "static":
                forked = successes(own, category, cap)
                yield from rows("test", category, hops, label, PREFIX_FORK, cap, 0, forked)
        if category == "bridge" and run.arm == "base":
            again = successes(own, category, deepest)
            yield from rows("test", category, hops, label, INDEPENDENT, deepest, 1, again)
    for hops, own in zip((3, 4), np.split(rates["ood"][run.seed] * 0.5, 2), strict=True):
        counts = successes(own, "bridge", deepest)
        yield from rows("ood", "bridge", hops, f"bridge-{hops}", INDEPENDENT, deepest, 0, counts)


def _training_log(run: RunConfig, rates: Rates, gain: float, generator: np.random.Generator) -> pd.DataFrame:
    training = run.training
    steps = training.epochs * 2 * run.panels.train_per_category // training.questions_per_step
    groups, size = training.questions_per_step, training.group_size
    start = np.concatenate([rates["comparison"][run.seed], rates["bridge"][run.seed]])
    log = []
    for step in range(1, steps + 1):
        asked = np.clip(generator.choice(start, groups) + gain * step / steps, 0, 1)
        right = generator.binomial(size, asked)
        wrong, whole = float((right == 0).mean()), float((right == size).mean())
        sampled = float(groups * size * 14)
        log.append(
            {
                "arm": run.arm,
                "seed": run.seed,
                "step": step,
                "reward": float(right.mean() / size),
                "groups/all_wrong": wrong,
                "groups/all_right": whole,
                "groups/mixed": 1 - wrong - whole,
                "entropy": 0.4 - 0.2 * step / steps,
                "grad_norm": float(generator.gamma(4, 0.05)),
                "tokens/sampled": sampled,
                "tokens/trained": sampled * (1 - wrong - whole),
            }
        )
    return pd.DataFrame(log)


def _manifest(run: RunConfig) -> dict:
    episodes = run.evaluation.samples * run.panels.test_per_category * 12
    trained = run.training is not None
    manifest = {
        "run": run.name,
        "profile": run.profile,
        "paper": KEY,
        "arm": run.arm,
        "seed": run.seed,
        "config_digest": run.digest,
        "attempt": 1,
        "started": f"2026-01-01T00:{2 * run.seed + trained:02d}:00+00:00",
        "ended": f"2026-01-01T00:{2 * run.seed + trained:02d}:45+00:00",
        "exit_state": "complete",
        "seconds": {"train": 20.0 + run.seed if trained else 0.1, "evaluate": 25.0 + run.seed},
        "source": {"commit": hashlib.sha1(b"simulated").hexdigest(), "dirty": False},
        "packages": {
            "python": "3.12.0",
            "numpy": "2.4.0",
            "torch": "2.13.0",
            "transformers": "5.17.0",
            "trl": "1.16.0",
        },
        "machine": {
            "system": "Linux 6.1",
            "processor": "simulated processor",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "accelerators": [],
            "threads": 2,
        },
        "determinism": "bit-identical on the same machine, package versions and threads; statistical elsewhere",
        "panels": {name: hashlib.sha256(name.encode()).hexdigest() for name in ("train", "test", "ood")},
        "policy": "trained from the base of the same seed" if trained else "base that comes with the package",
        "evaluation": {"episodes": episodes, "forward_tokens": 30 * episodes, "sampled_tokens": 12 * episodes},
        "peak_memory_bytes": 900 * 2**20,
    }
    if trained:
        manifest["training_tokens"] = {"sampled": 2_000_000 + run.seed, "trained": 900_000 + run.seed}
    return manifest
