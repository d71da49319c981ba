"""PASS@(k,T) (arXiv 2604.14877)."""
