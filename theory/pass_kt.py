"""PASS@(k,T): the names to import.

The parts live in `theory.estimators` (per-question estimators).
"""

from theory.estimators import all_at_k, cover_at, g_pass_at_k, pass_at_k, pass_at_k_covariance, pass_at_k_variance

__all__ = ["all_at_k", "cover_at", "g_pass_at_k", "pass_at_k", "pass_at_k_covariance", "pass_at_k_variance"]
