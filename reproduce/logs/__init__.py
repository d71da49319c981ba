"""PASS@(k,T) on a user's own logs."""
