"""RRPO and SRPO (arXiv 2605.25507)."""
