"""ReuseRL (arXiv 2605.31509)."""
