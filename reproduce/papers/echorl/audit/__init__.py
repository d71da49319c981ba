"""Re-analysis of the published numbers of EchoRL (arXiv 2605.31228)."""
