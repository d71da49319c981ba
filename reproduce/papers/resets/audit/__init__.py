"""Re-analysis of the published numbers of RRPO and SRPO (arXiv 2605.25507)."""
