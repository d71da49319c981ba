"""Re-analysis of the published numbers of ReuseRL (arXiv 2605.31509)."""
