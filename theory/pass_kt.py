"""PASS@(k,T): the names to import.

The parts live in `theory.estimators` (per-question estimators), `theory.boundary` (boundary sets and their self-null),
`theory.pass_surface` (surfaces, crossing, saturation), `theory.bands` and `theory.beta_binomial`.
"""

from theory.bands import Bands, question_bands
from theory.beta_binomial import (
    BetaBinomialFit,
    beta_from_pass_values,
    beta_pass_at_k,
    boundary_membership,
    fit_beta_binomial,
    posterior_pass_at_k,
)
from theory.boundary import (
    BoundaryDifference,
    SelfNull,
    beta_self_null,
    boundary_difference,
    excess_gain,
    expected_gained_and_lost,
    expected_self_null_discordants,
    self_null_from_counts,
)
from theory.estimators import all_at_k, cover_at, g_pass_at_k, pass_at_k, pass_at_k_variance
from theory.pass_surface import Crossing, PassSurface, Saturation, crossing_k, saturation_depth

__all__ = [
    "Bands",
    "BetaBinomialFit",
    "BoundaryDifference",
    "Crossing",
    "PassSurface",
    "Saturation",
    "SelfNull",
    "all_at_k",
    "beta_from_pass_values",
    "beta_pass_at_k",
    "beta_self_null",
    "boundary_difference",
    "boundary_membership",
    "cover_at",
    "crossing_k",
    "excess_gain",
    "expected_gained_and_lost",
    "expected_self_null_discordants",
    "fit_beta_binomial",
    "g_pass_at_k",
    "pass_at_k",
    "pass_at_k_variance",
    "posterior_pass_at_k",
    "question_bands",
    "saturation_depth",
    "self_null_from_counts",
]
