"""PASS@(k,T): the names to import.

The parts live in `theory.estimators` (per-question estimators), `theory.boundary` (boundary sets and their self-null),
`theory.curves` (crossing, saturation), `theory.pass_surface`, `theory.bands`, `theory.beta_binomial` and
`theory.extrapolation`.
"""

from theory.bands import Bands, question_bands
from theory.beta_binomial import (
    BetaBinomialFit,
    ZeroMassInterval,
    beta_from_pass_values,
    beta_pass_at_k,
    boundary_membership,
    fit_beta_binomial,
    fit_zero_inflated_beta_binomial,
    posterior_pass_at_k,
    posterior_zero_mass,
    zero_mass_interval,
)
from theory.boundary import (
    BoundaryDifference,
    SelfNull,
    SupportChange,
    beta_self_null,
    boundary_difference,
    excess_gain,
    expected_gained_and_lost,
    expected_self_null_discordants,
    self_null_from_counts,
    support_retention,
)
from theory.curves import crossing_k, saturation_depth
from theory.estimators import all_at_k, cover_at, g_pass_at_k, pass_at_k, pass_at_k_covariance, pass_at_k_variance
from theory.extrapolation import Extrapolation, extrapolate_pass_at_k
from theory.pass_surface import Crossing, PassSurface, Saturation

__all__ = [
    "Bands",
    "BetaBinomialFit",
    "BoundaryDifference",
    "Crossing",
    "Extrapolation",
    "PassSurface",
    "Saturation",
    "SelfNull",
    "SupportChange",
    "ZeroMassInterval",
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
    "extrapolate_pass_at_k",
    "fit_beta_binomial",
    "fit_zero_inflated_beta_binomial",
    "g_pass_at_k",
    "pass_at_k",
    "pass_at_k_covariance",
    "pass_at_k_variance",
    "posterior_pass_at_k",
    "posterior_zero_mass",
    "question_bands",
    "saturation_depth",
    "self_null_from_counts",
    "support_retention",
    "zero_mass_interval",
]
