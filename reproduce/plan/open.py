"""Resolve paper, profile and settings to an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.core.paper import load_paper
from reproduce.core.settings import with_settings
from reproduce.plan.checks import check_config
from reproduce.plan.experiment import Experiment


def open_experiment(key: str, profile: str, settings: Sequence[str], runs: Path) -> Experiment:
    """Resolve names and settings. Raises UserError for those that are unknown or do not fit."""
    paper = load_paper(key)
    if profile not in paper.profiles:
        raise UserError(f"unknown profile {profile!r} of {key}; {nearest(profile, tuple(paper.profiles))}")
    experiment = Experiment(paper, with_settings(paper.profiles[profile], settings), runs / profile / key)
    check_config(experiment.config)
    return experiment
