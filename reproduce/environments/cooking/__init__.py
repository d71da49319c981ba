"""Cooking: TextWorld's cooking games, half of which burn whoever follows the cookbook to the letter.

A random policy (`random_action`, uniform over the plausible commands of a game) wins about 0.5 % of its episodes on the
default levels; 61 % time out, 23 % are lost and 16 % burned (`benchmarks/cooking.py` measures it).

Experiments on the trap must watch a second way to learn the kind of game, besides inspecting the food: `prepare meal`
before cooking is refused without loss where the food is raw, so it is a probe without risk, and in cook-off games it
makes the meal, one action shorter than the expert.
"""

import random

from reproduce.environments.cooking.commands import SKILLS, random_command
from reproduce.environments.cooking.environment import CookingEnvironment
from reproduce.environments.cooking.expert import Demonstrator, demonstrate, explain, solve
from reproduce.environments.cooking.panels import build_panels
from reproduce.environments.cooking.tasks import (
    DEFAULT_LEVELS,
    HORIZON,
    CookingTask,
    Level,
    canonical_forms,
    prepared_foods,
)
from reproduce.environments.cooking.vocabulary import words

__all__ = [
    "DEFAULT_LEVELS",
    "HORIZON",
    "SKILLS",
    "CookingEnvironment",
    "CookingTask",
    "Demonstrator",
    "Level",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "explain",
    "prepared_foods",
    "random_action",
    "solve",
    "words",
]


def random_action(task: CookingTask, history: tuple[str, ...], generator: random.Random) -> str:
    """One of the plausible commands of the game, each as likely, whatever was done before."""
    return random_command(task.world, generator)
