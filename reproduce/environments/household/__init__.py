"""Household: find things in a scene, make them clean, hot or cool, and bring them where they belong."""

from reproduce.environments.household.environment import SKILLS, HouseholdEnvironment
from reproduce.environments.household.expert import Demonstrator, demonstrate, random_action, solve
from reproduce.environments.household.explanation import explain
from reproduce.environments.household.official import load_official_games
from reproduce.environments.household.tasks import (
    HORIZON,
    HouseholdTask,
    SceneSize,
    build_panels,
    canonical_forms,
    held_out_forms,
)
from reproduce.environments.household.terse import words

__all__ = [
    "HORIZON",
    "SKILLS",
    "Demonstrator",
    "HouseholdEnvironment",
    "HouseholdTask",
    "SceneSize",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "explain",
    "held_out_forms",
    "load_official_games",
    "random_action",
    "solve",
    "words",
]
