"""Measurements of speed, run by `nox -s benchmarks`; never part of the timed tests."""
