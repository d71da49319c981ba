"""Environments: one protocol, tasks generated from seeds, actions parsed and never evaluated."""
