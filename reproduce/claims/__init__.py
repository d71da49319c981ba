"""Records, published numbers, evidence, tests, verdicts."""
