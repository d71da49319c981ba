"""Records of ReuseRL that no model made: success rates follow a Beta law, skill strings a grammar.

`World` says what each arm does. `PUBLISHED` plants the paper's numbers, `NOTHING` gives every trained arm the same
policy (A/A), `REVERSED` the opposite of what the claims say.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from reproduce.claims.records import MethodRecords
from reproduce.core.config import RunConfig
from reproduce.core.files import write_json, write_jsonl, write_parquet
from reproduce.papers.reuserl.experiment import KEY, PROFILES, ReuseConfig, plan
from reproduce.papers.reuserl.measures import ALPHABETS, TRAINING_COLUMNS
from theory.segmentation import phrase_counts
from theory.skill_extraction import extract_dictionary
from theory.skill_grammar import SkillGrammar

STEPS = 20
ROUTINES = ((0,), (1, 2, 4), (1, 2, 3, 4), (3, 4))
RATE, RATE_SPREAD = 0.6, 8.0
"""Mean success of GRPO and the Beta's alpha + beta: tasks differ."""


@dataclass(frozen=True)
class World:
    """What the arms do, by arm; what is not named is as for `grpo`."""

    gain: dict[str, dict[str, float]] = field(default_factory=dict)
    """Points of success over GRPO, by environment and arm; the base lies 15 below it."""
    burned: dict[str, float] = field(default_factory=dict)
    """Share of failures in cooking that are burned."""
    dirty: dict[str, float] = field(default_factory=dict)
    """Share of actions that are invalid, and share that are repeated."""
    longer: dict[str, float] = field(default_factory=dict)
    """Actions that a success takes more than with GRPO."""
    direct: dict[str, float] = field(default_factory=dict)
    """Share of successes in countdown without a reset."""
    multiplied: dict[str, float] = field(default_factory=dict)
    """Share of operations in countdown that multiply or divide."""
    fall: float = 0.0
    """How far the rank correlation of length and cost falls over SegCost's training."""
    ood_follows_structure: float = 0.0
    """Points of success out of distribution that one standard deviation of a run's structure is worth."""
    spread: float = 1.5
    """Points: spread of an arm's success over seeds that no number of episodes removes."""
    ood_factor: float = 1.0
    """Gain out of distribution as a share of the gain in distribution."""


def _everywhere(gain: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: dict(gain) for name in ALPHABETS}


PUBLISHED = World(
    gain={
        "countdown": {"length": 9.0, "segcost": 12.0, "segcost_no_buffer": 12.0},
        "cooking": {"length": -11.0, "segcost": 12.0, "segcost_no_buffer": 12.0},
        "household": {"length": 12.0, "segcost": 12.0, "segcost_no_buffer": 12.0},
    },
    burned={"length": 0.74, "grpo": 0.25, "segcost": 0.03},
    dirty={"grpo": 0.24, "length": 0.03, "segcost": 0.03},
    longer={"length": -6.0, "segcost": -3.0},
    direct={"grpo": 0.58, "segcost": 0.8, "segcost_no_buffer": 0.98},
    multiplied={"grpo": 0.03, "segcost": 0.11, "segcost_no_buffer": 0.05},
    fall=0.3,
    ood_follows_structure=6.0,
)
NOTHING = World()
REVERSED = World(
    gain={
        "countdown": {"length": -9.0, "segcost": -9.0},
        "cooking": {"length": 12.0, "segcost": -9.0},
        "household": {"length": -12.0, "segcost": 9.0},
    },
    burned={"length": 0.05, "grpo": 0.3, "segcost": 0.7},
    dirty={"grpo": 0.03, "length": 0.2, "segcost": 0.2},
    longer={"length": 3.0, "segcost": -3.0},
    direct={"grpo": 0.8, "segcost": 0.5, "segcost_no_buffer": 0.2},
    multiplied={"grpo": 0.15, "segcost": 0.05, "segcost_no_buffer": 0.2},
    fall=-0.3,
    ood_factor=3.0,
)


def simulated(
    generator: np.random.Generator,
    world: World,
    config: ReuseConfig = PROFILES["laptop"],
    seeds: int = 8,
    tasks: int = 32,
    samples: int = 16,
    strings: int = 60,
) -> MethodRecords:
    """Records of the arms of a configuration. strings: successes of a run whose skill strings are kept; with 0 those of
    one run only, which is faster."""
    config = _sized(config, seeds, tasks, samples)
    rates = {
        (name, panel): generator.beta(RATE * RATE_SPREAD, (1 - RATE) * RATE_SPREAD, tasks)
        for name in ALPHABETS
        for panel in ("test", "ood")
    }
    runs = plan(config)
    structure = {run.name: float(generator.normal()) for run in runs}
    counts = [_counts(run, world, rates, structure[run.name], generator) for run in runs]
    training = [_training(run, world, generator) for run in runs if run.training is not None]
    tables: dict[str, list[pd.DataFrame]] = {"strings": [], "phrases": []}
    for run in runs if strings else runs[:1]:
        for name, rows in _strings(run, structure[run.name], strings or 1, generator).items():
            tables[name].append(rows)
    return MethodRecords(
        counts=pd.concat(counts, ignore_index=True).fillna(0),
        training=pd.concat(training, ignore_index=True),
        tables={name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts},
        runs=[_manifest(run) for run in runs],
        experiment=asdict(config),
    )


def write_simulated(folder: Path, records: MethodRecords) -> None:
    """The files that `reproduce.claims.records` writes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {"counts": records.counts, "training": records.training, **records.tables}.items():
        write_parquet(pa.Table.from_pandas(frame, preserve_index=False), folder / f"{name}.parquet")
    write_jsonl(folder / "runs.jsonl", records.runs)
    write_json(folder / "experiment.json", records.experiment)


def _sized(config: ReuseConfig, seeds: int, tasks: int, samples: int) -> ReuseConfig:
    beds = {}
    for name in ALPHABETS:
        bed = config.bed(name)
        beds[name] = replace(
            bed,
            panels=replace(bed.panels, test=tasks, ood=tasks),
            evaluation=replace(bed.evaluation, samples=samples, ood_samples=samples),
        )
    return replace(config, seeds=seeds, **beds)


def _of(values: dict[str, float], arm: str, default: float) -> float:
    """The value of an arm, else that of the arm it is a variant of, else that of GRPO, else the default."""
    for name in (arm, "grpo"):
        if name in values:
            return values[name]
    return default


def _counts(run: RunConfig, world: World, rates: dict, structure: float, generator: np.random.Generator):
    parts = []
    for panel in ("test", "ood"):
        base = rates[run.environment, panel]
        gain = -15.0 if run.arm == "base" else world.gain.get(run.environment, {}).get(run.arm, 0.0)
        if panel == "ood" and run.arm != "base":
            gain = gain * world.ood_factor + world.ood_follows_structure * structure
        rate = np.clip(base + (gain + generator.normal(0, world.spread)) / 100, 0.01, 0.99)
        n = run.evaluation.samples
        successes = generator.binomial(n, rate)
        failed = n - successes
        length = np.maximum(2.0, 9 + generator.normal(0, 0.3) + _of(world.longer, run.arm, 0.0))
        of_successes = generator.poisson(successes * length)
        rounds = of_successes + failed * run.rounds
        dirty = _of(world.dirty, run.arm, 0.1)
        frame = pd.DataFrame(
            {
                "environment": run.environment,
                "arm": run.arm,
                "seed": run.seed,
                "panel": panel,
                "category": ["cook-off" if place % 2 else "cook-on" for place in range(len(base))],
                "question": [f"{panel}-{place:04d}" for place in range(len(base))],
                "n": n,
                "successes": successes,
                "rounds": rounds,
                "rounds_of_successes": of_successes,
                "invalid": generator.binomial(rounds, dirty),
                "repeated": generator.binomial(rounds, dirty),
                "sampled_tokens": rounds * 4,
                "longest_run": n * 2,
                "longest_run_of_successes": successes * 2,
            }
        )
        burned = generator.binomial(failed, _of(world.burned, run.arm, 0.3) if run.environment == "cooking" else 0.0)
        frame["failure: burned"], frame["failure: timeout"] = burned, failed - burned
        operations = rounds // 2 if run.environment == "countdown" else 0 * rounds
        frame["operations"] = operations
        frame["multiplicative"] = generator.binomial(operations, _of(world.multiplied, run.arm, 0.1))
        frame["successes_without_reset"] = generator.binomial(successes, _of(world.direct, run.arm, 0.6))
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _training(run: RunConfig, world: World, generator: np.random.Generator) -> pd.DataFrame:
    progress = np.linspace(0, 1, STEPS)
    learns = run.method.dictionary != "frozen_singletons"
    values = {name: np.full(STEPS, 0.5) for name in TRAINING_COLUMNS}
    values |= {
        "reuse/success": 0.45 + 0.2 * progress + generator.normal(0, 0.02, STEPS),
        "reuse/success_length": 9 + _of(world.longer, run.arm, 0.0) * progress + generator.normal(0, 0.1, STEPS),
        "reuse/success_segments": (9 - 5 * progress * learns) + generator.normal(0, 0.1, STEPS),
        "reuse/phrases": np.round(6 * progress) * learns,
        "reuse/dictionary_bits": np.round(6 * progress) * 8.0 * learns,
        "reuse/rank_correlation": 0.9 - world.fall * progress + generator.normal(0, 0.03, STEPS),
        "reuse/distinct_successes": 20 - 5 * progress,
        "tokens/sampled": np.full(STEPS, 1000.0),
    }
    frame = pd.DataFrame(values)
    # A step without successes of different lengths logs no correlation.
    frame.loc[3, "reuse/rank_correlation"] = np.nan
    frame.insert(0, "step", np.arange(1, STEPS + 1))
    for place, name in enumerate(("environment", "arm", "seed")):
        frame.insert(place, name, getattr(run, name))
    return frame


def _strings(run: RunConfig, structure: float, count: int, generator: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Successes from a grammar, some with their symbols in random order: the more, the less structure the run has, at
    the same law of lengths. The run's dictionary is extracted from them."""
    words = ALPHABETS[run.environment]
    grammar = SkillGrammar(5, ROUTINES, (4.0, 2.0, 1.0, 1.0), 2, 3, 0.05, run.rounds)
    disorder = float(np.clip(0.5 - 0.2 * structure, 0.0, 1.0))
    tables: dict[str, pd.DataFrame] = {}
    drawn = {
        panel: [
            bytes(generator.permutation(list(string)).tolist()) if generator.random() < disorder else string
            for string in grammar.draw(count, generator)
        ]
        for panel in ("test", "ood")
    }
    dictionary = extract_dictionary(drawn["test"], len(words))
    rows = []
    for panel, found in drawn.items():
        for string, multiplicity in sorted(Counter(found).items()):
            skills = " ".join(words[symbol] for symbol in string)
            segments = int(phrase_counts([string], dictionary)[0])
            rows.append((panel, run.rounds, True, "", skills, multiplicity, segments))
        rows.append((panel, run.rounds, False, "timeout", " ".join([words[0]] * run.rounds), 3, run.rounds))
    names = ["panel", "T", "success", "failure", "skills", "count", "segments"]
    tables["strings"] = pd.DataFrame(rows, columns=names)
    if run.method is not None and run.method.dictionary != "frozen_singletons":
        phrases = [" ".join(words[symbol] for symbol in phrase) for phrase in dictionary.phrases]
        tables["phrases"] = pd.DataFrame(
            {
                "phrase": phrases,
                "length": [len(phrase) for phrase in dictionary.phrases],
                "uses": [5] * len(phrases),
                "successes": [count] * len(phrases),
            }
        ).astype({"phrase": str, "length": int, "uses": int, "successes": int})
    for frame in tables.values():
        for place, name in enumerate(("environment", "arm", "seed")):
            frame.insert(place, name, getattr(run, name))
    return tables


def _manifest(run: RunConfig) -> dict:
    trained = run.training is not None
    manifest = {
        "run": run.name,
        "profile": run.profile,
        "paper": KEY,
        "arm": run.arm,
        "seed": run.seed,
        "config_digest": run.digest,
        "attempt": 1,
        "started": f"2026-01-01T00:{run.seed:02d}:00+00:00",
        "ended": f"2026-01-01T00:{run.seed:02d}:45+00:00",
        "exit_state": "complete",
        "seconds": {"train": 6.0, "evaluate": 2.0},
        "source": {"commit": hashlib.sha1(b"simulated").hexdigest(), "dirty": False},
        "packages": {"python": "3.12.0", "numpy": "2.4.0", "torch": "2.13.0"},
        "machine": {
            "system": "Linux 6.1",
            "processor": "simulated processor",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "accelerators": [],
            "threads": 1,
        },
        "determinism": "bit-identical on the same machine, package versions and threads; statistical elsewhere",
        "panels": {name: hashlib.sha256(name.encode()).hexdigest() for name in ("train", "test", "ood")},
        "policy": "trained from the base of the same seed" if trained else "base that comes with the package",
        "evaluation": {"episodes": 1000, "forward_tokens": 30_000, "sampled_tokens": 12_000},
        "peak_memory_bytes": 900 * 2**20,
    }
    if trained:
        manifest["training_tokens"] = {"sampled": 20_000, "trained": 9_000}
    return manifest
