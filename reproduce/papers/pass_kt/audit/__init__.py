"""Re-analysis of the published numbers of PASS@(k,T) (arXiv 2604.14877)."""
