"""Pointwise and simultaneous bands from resampling questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from theory.paired import check_confidence
from theory.resampling import FloatArray, block_sizes, multinomial_counts, small_sample_factor


@dataclass(frozen=True)
class Bands:
    """Means over questions with a band; all arrays have the shape of one question's cells.

    `critical` is the multiple of the standard error that a simultaneous band uses, None for pointwise percentiles.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    standard_error: FloatArray
    confidence: float
    simultaneous: bool
    critical: float | None
    unit: str
    method: str
    questions: int
    resamples: int


def bootstrap_means(values: FloatArray, generator: np.random.Generator, resamples: int) -> FloatArray:
    """Means of `values` (questions, cells) over questions drawn with replacement; shape (resamples, cells).

    Only questions are drawn. Drawing the episodes again too would bring back the bias of the plug-in estimator.
    The product is taken of deviations from the mean in single precision: its rounding is about 1e-7 of the spread of
    the draws, far below the 1e-2 that 10,000 draws leave uncertain.
    """
    questions = values.shape[0]
    mean = values.mean(axis=0)
    deviations = ((values - mean) / questions).astype(np.float32)
    draws = np.empty((resamples, values.shape[1]))
    start = 0
    for size in block_sizes(resamples, questions):
        counts = multinomial_counts(generator, size, questions, single_precision=True)
        np.add(counts @ deviations, mean, out=draws[start : start + size])
        start += size
    return draws


def question_bands(
    values: ArrayLike,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
    simultaneous: bool = False,
) -> Bands:
    """Band for means over questions, from per-question unbiased values or their paired differences.

    values: shape (questions, ...cells), at least two questions. A cell with a NaN stays NaN and takes no part.
    Pointwise bands are bootstrap percentiles, widened for few questions (`small_sample_factor`); simultaneous bands
    are estimate +- critical * standard error, where `critical` is the bootstrap quantile of the largest studentised
    deviation over all cells (sup-t, widened likewise), so that the whole set of cells is covered at once.
    Coverage at nominal 95 % of PASS@k differences, measured by tests/theory/test_simulations.py: .93 to .955 from 50
    questions on; with 20 questions .93 at small k and .87 at k = 64 (.90 simultaneously), where few questions tell.
    Raises ValueError for too few questions, infinite values or a bad confidence.
    Source: percentile bootstrap; sup-t after Montiel Olea and Plagborg-Moller 2019.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim < 1 or table.shape[0] < 2:
        raise ValueError(f"values must have shape (questions, ...) with at least 2 questions, got {table.shape}")
    if np.isinf(table).any():
        raise ValueError("values hold infinite entries")
    check_confidence(confidence)
    questions, cell_shape = table.shape[0], table.shape[1:]
    flat = table.reshape(questions, -1)
    known = ~np.isnan(flat).any(axis=0)
    estimate = flat.mean(axis=0)
    low, high, error = (np.full(flat.shape[1], np.nan) for _ in range(3))
    critical, factor = None, small_sample_factor(questions, confidence)
    if known.any():
        draws = bootstrap_means(np.ascontiguousarray(flat[:, known]), generator, resamples)
        error[known] = draws.std(axis=0)
        if simultaneous:
            critical = factor * _sup_t_quantile(draws, estimate[known], error[known], confidence)
            low, high = estimate - critical * error, estimate + critical * error
        else:
            quantiles = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
            low[known], high[known] = estimate[known] + factor * (quantiles - estimate[known])
    return Bands(
        estimate=estimate.reshape(cell_shape),
        low=low.reshape(cell_shape),
        high=high.reshape(cell_shape),
        standard_error=error.reshape(cell_shape),
        confidence=confidence,
        simultaneous=simultaneous,
        critical=critical,
        unit="question",
        method="question bootstrap, " + ("sup-t" if simultaneous else "expanded percentile"),
        questions=questions,
        resamples=resamples,
    )


def _sup_t_quantile(draws: FloatArray, estimate: FloatArray, error: FloatArray, confidence: float) -> float:
    # Cells that do not vary, such as a pass rate of 0 on every question, cannot exceed any multiple of their error.
    # Rounding leaves them an error near 1e-17, whose studentised deviations would be noise.
    varies = error > 1e-12
    if not varies.any():
        return float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    largest = (np.abs(draws[:, varies] - estimate[varies]) / error[varies]).max(axis=1)
    return float(np.quantile(largest, confidence))
