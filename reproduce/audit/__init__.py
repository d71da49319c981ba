"""What the numbers the papers printed can support, recomputed from `reproduce/published/*.toml` without a model."""
