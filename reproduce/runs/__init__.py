"""Runs: folders, schedule, local and Ray executors, progress."""
