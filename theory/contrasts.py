"""Contrasts that carry a claim about shape: does a gap grow, and does it grow more here than there?

Each function returns one number a unit, to be handed to `sign_flip_test`, `mean_interval` or `westfall_young_maxt`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.resampling import FloatArray


def interaction_contrast(
    treated_high: ArrayLike, control_high: ArrayLike, treated_low: ArrayLike, control_low: ArrayLike
) -> FloatArray:
    """(treated - control) at the high level minus (treated - control) at the low level, one value a unit.

    Four arrays of one shape (units, ...). For "the gap widens with k": values of the trained policy and of its base at
    k = 64 and at k = 1. Raises ValueError if the shapes differ or a value is not finite. Source: 2 x 2 interaction; W
    of the claims.
    """
    arrays = [np.asarray(x, dtype=np.float64) for x in (treated_high, control_high, treated_low, control_low)]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or not arrays[0].ndim:
        raise ValueError(f"the four arrays must share one shape (units, ...), got {sorted(shapes)}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("values hold NaN or infinite entries")
    return np.asarray((arrays[0] - arrays[1]) - (arrays[2] - arrays[3]))


def slope_contrast(differences: ArrayLike, ks: ArrayLike) -> FloatArray:
    """Least-squares slope of each unit's difference curve on log2 k: change of the gap per doubling of k.

    differences: shape (units, K); ks: shape (K,), at least two distinct values of at least 1. Returns shape (units,).
    Uses every k, while `interaction_contrast` uses two. Raises ValueError for other shapes, NaN, or equal ks. Source:
    own definition.
    """
    table, grid = np.asarray(differences, dtype=np.float64), np.asarray(ks, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 2 or np.unique(grid).size != grid.size or grid.min() < 1:
        raise ValueError("ks must be at least two distinct values, from 1 on")
    if table.ndim != 2 or table.shape[1] != grid.size:
        raise ValueError(f"differences must have shape (units, {grid.size}), got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("differences hold NaN or infinite values")
    centred = np.log2(grid) - np.log2(grid).mean()
    return np.asarray(table @ (centred / (centred**2).sum()))
