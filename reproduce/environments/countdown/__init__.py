"""Countdown: reach a target from given numbers, one operation an action (puzzles of reasoning-gym).

A random policy (`random_action`, uniform over the legal operations and `reset`) wins 20 % of the episodes of the
default level within the horizon, and 1 % of those of the default ood level. Who never multiplies or divides cannot
win half of the tasks, however long it tries.
"""

from reproduce.environments.countdown.environment import HORIZON, CountdownEnvironment
from reproduce.environments.countdown.expert import Demonstrator, demonstrate, explain, random_action, solve
from reproduce.environments.countdown.measures import multiplicative_share, without_reset
from reproduce.environments.countdown.rules import SKILLS
from reproduce.environments.countdown.tasks import (
    OOD_LEVEL,
    TRAIN_LEVEL,
    CountdownTask,
    Level,
    build_panels,
    canonical_forms,
)
from reproduce.environments.countdown.vocabulary import words

__all__ = [
    "HORIZON",
    "OOD_LEVEL",
    "SKILLS",
    "TRAIN_LEVEL",
    "CountdownEnvironment",
    "CountdownTask",
    "Demonstrator",
    "Level",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "explain",
    "multiplicative_share",
    "random_action",
    "solve",
    "without_reset",
    "words",
]
