"""Random weights and signs for resampling, streamed in blocks so that memory stays bounded at any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# 2^21 doubles are 16 MiB: enough rows for a fast matrix product even with 10^5 units.
BLOCK_ELEMENTS = 1 << 21
# Scattered counting slows down as soon as the counts leave the inner caches of one core.
CACHE_ELEMENTS = 1 << 15


def small_sample_factor(units: int, confidence: float) -> float:
    """Factor that widens a percentile interval over few `units`: t over normal quantile, and sqrt(n / (n - 1)).

    Resampling n units understates the standard error by sqrt((n - 1) / n) and takes it as known. 1 for a single unit,
    which says nothing of its kind. Source: Hesterberg 2015, "What teachers should know about the bootstrap", section
    4 (the expanded percentile interval).
    """
    if units < 2:
        return 1.0
    level = 0.5 + confidence / 2
    return float(np.sqrt(units / (units - 1)) * scipy.stats.t.ppf(level, units - 1) / scipy.stats.norm.ppf(level))


def block_sizes(resamples: int, elements_each: int) -> Iterator[int]:
    """Sizes of consecutive blocks that sum to `resamples`, each of at most about BLOCK_ELEMENTS array elements."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    block = max(1, BLOCK_ELEMENTS // max(1, elements_each))
    for start in range(0, resamples, block):
        yield min(block, resamples - start)


def multinomial_counts(
    generator: np.random.Generator, resamples: int, units: int, single_precision: bool = False
) -> NDArray[Any]:
    """Counts of each unit in a draw of `units` with replacement; shape (resamples, units).

    single_precision: as float32, which holds such counts exactly and makes the product that follows twice as fast.
    Counting uniform indices is several times faster than `Generator.multinomial`, which draws a binomial per unit.
    """
    # Narrow integers take a third of the time to draw.
    index_type = np.uint16 if units <= 1 << 16 else np.uint32
    counts = np.empty((resamples, units), dtype=np.float32 if single_precision else np.float64)
    rows = max(1, CACHE_ELEMENTS // units)
    offset = np.arange(0, rows * units, units)[:, None]
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        index = generator.integers(units, size=(size, units), dtype=index_type)
        position = index + offset[:size]
        counts[start : start + size] = np.bincount(position.ravel(), minlength=size * units).reshape(size, units)
    return counts


def random_bits(generator: np.random.Generator, resamples: int, units: int) -> FloatArray:
    """Independent fair bits as 0.0 and 1.0, shape (resamples, units)."""
    packed = np.frombuffer(generator.bytes(-(-resamples * units // 8)), dtype=np.uint8)
    return np.unpackbits(packed, count=resamples * units).reshape(resamples, units).astype(np.float64)


def all_bits(units: int) -> FloatArray:
    """Every one of the 2^units bit patterns, shape (2^units, units); the first row is all zeros."""
    return ((np.arange(1 << units)[:, None] >> np.arange(units)) & 1).astype(np.float64)
