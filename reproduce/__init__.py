"""Environments, policies, runs, claims and reports: whether a claim holds, and how sure we are."""
