"""Landmarks of PASS curves: where two cross over k, and where one stops rising over T."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.resampling import FloatArray


def crossing_k(ks: ArrayLike, delta: ArrayLike) -> FloatArray:
    """The k at which a difference curve first turns from negative to positive, interpolated linearly in log2 k.

    ks: shape (K,), at least two, increasing, at least 1. delta: shape (..., K), for example PASS of a trained policy
    minus PASS of its base. Returns shape (...): NaN where the curve never turns. A stretch of exact zeros between a
    negative and a positive value counts from its first point; a curve that starts at zero does not cross; nothing is
    interpolated over NaN.
    Raises ValueError if the shapes do not match or ks do not increase. Source: pass_kt section on crossing, own
    interpolation.
    """
    grid, values = np.asarray(ks, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 2 or not np.all(np.diff(grid) > 0) or grid[0] < 1:
        raise ValueError("ks must be at least two increasing values, from 1 on")
    if values.ndim < 1 or values.shape[-1] != grid.size:
        raise ValueError(f"delta must have {grid.size} values on its last axis, got shape {values.shape}")
    # The sign of the next value that is not zero: a touch of zero that falls back is no crossing.
    onward = np.sign(values)
    for position in range(grid.size - 2, -1, -1):
        zero = onward[..., position] == 0
        onward[..., position] = np.where(zero, onward[..., position + 1], onward[..., position])
    left, right = values[..., :-1], values[..., 1:]
    turns = (left < 0) & (right >= 0) & (onward[..., 1:] > 0)
    first = np.argmax(turns, axis=-1)[..., None]
    from_value = np.take_along_axis(left, first, -1)[..., 0]
    to_value = np.take_along_axis(right, first, -1)[..., 0]
    log_k = np.log2(grid)
    start, step = log_k[:-1][first[..., 0]], np.diff(log_k)[first[..., 0]]
    found = turns.any(axis=-1)
    share = np.divide(from_value, from_value - to_value, out=np.full(from_value.shape, np.nan), where=found)
    return np.asarray(np.where(found, 2.0 ** (start + share * step), np.nan))


def saturation_depth(depths: ArrayLike, values: ArrayLike, tolerance: float = 0.01) -> FloatArray:
    """The smallest depth whose value is within `tolerance` of the best value over all depths.

    depths: shape (D,), increasing. values: shape (..., D), usually PASS at the largest k. tolerance: at least 0, in
    the units of the values. Returns shape (...), NaN where any value is NaN. Raises ValueError for shapes or a
    tolerance that do not fit.
    Source: T* of the paper; the tolerance is unstated there, .01 is our default.
    """
    grid, curve = np.asarray(depths, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 1 or not np.all(np.diff(grid) > 0):
        raise ValueError("depths must be increasing")
    if curve.ndim < 1 or curve.shape[-1] != grid.size:
        raise ValueError(f"values must have {grid.size} depths on the last axis, got shape {curve.shape}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    known = ~np.isnan(curve).any(axis=-1)
    best = np.where(known, curve.max(axis=-1), 0.0)
    # Differences of proportions miss a tolerance such as .01 by rounding.
    near = curve >= best[..., None] - tolerance - 1e-12
    return np.asarray(np.where(known, grid[np.argmax(near, axis=-1)], np.nan))
