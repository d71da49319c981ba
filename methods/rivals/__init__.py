"""Rivals of the four methods: other remedies for groups whose rewards are equal, and other uses of continuations."""
