"""Experiments before anything is computed: their runs, and what they require."""
