"""Credit assignment with resets: the printed scores of its main tables.

Sections are those of arXiv 2605.25507v2. Scores are pass@1 in %, over three training seeds; the printed standard
deviations are taken as population ones, which the audit shows from the benchmark of 30 items.
"""

from __future__ import annotations

import numpy as np

from reproduce.claims.published import published_values, whole_setting
from theory.resampling import FloatArray

KEY = "resets"
MODELS = ("Qwen", "OLMo")
ARMS = ("Base", "GRPO", "SCoRe", "Critique-GRPO", "SPO-Tree", "RRPO", "SRPO")
BENCHMARKS = ("oly", "hmmt", "lvl5", "stra", "ace", "chem", "bio", "csqa", "mat", "phys")
MATH = ("oly", "hmmt", "lvl5", "ace")
CONTRASTS = (("SRPO", "GRPO"), ("SRPO", "RRPO"), ("RRPO", "GRPO"))
SPLITS = ("1x4", "2x4", "1x8")


def value(identifier: str) -> float:
    """A published number."""
    return float(published_values(KEY)[identifier])


def seeds() -> int:
    """Training seeds per arm."""
    return whole_setting(KEY, "evaluation.seeds")


def scores(model: str, arm: str) -> FloatArray:
    """Printed scores of an arm, a split or a side of the clip ablation on `BENCHMARKS`, shape (10,), in %."""
    return np.array([value(f"{_table_of(arm)}.{model}.{_row_of(arm)}.{name}") for name in BENCHMARKS])


def deviations(model: str, arm: str) -> FloatArray:
    """Printed (population) standard deviations over seeds of an arm or split, shape (10,), in points."""
    return np.array([value(f"{_table_of(arm)}-sd.{model}.{_row_of(arm)}.{name}") for name in BENCHMARKS])


def sample_factor() -> float:
    """Factor from a population to a sample standard deviation over the seeds."""
    return float(np.sqrt(seeds() / (seeds() - 1)))


def mean_scores(model: str, arm: str) -> tuple[float, float]:
    """Unweighted means over all ten and over the four mathematics benchmarks, in %."""
    row = scores(model, arm)
    return float(row.mean()), float(row[[BENCHMARKS.index(name) for name in MATH]].mean())


def _table_of(arm: str) -> str:
    if arm in ("no-clip", "clip"):
        return "clip"
    return "split" if arm in SPLITS[1:] else "pass"


def _row_of(arm: str) -> str:
    return "SRPO" if arm == "1x4" else arm
