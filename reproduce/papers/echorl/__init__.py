"""EchoRL (arXiv 2605.31228)."""
