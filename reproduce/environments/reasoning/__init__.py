"""Reasoning: chains of arithmetic modulo ten, one step a line, with an exact oracle for the first wrong step.

A random policy (`random_action`: lines of the right form with random digits) answers 10 % of the chains of the tiers
correctly, and solves a decisive chain with k decisive steps with chance 100^-k.
"""

from reproduce.environments.reasoning.dataset import MathEnvironment, MathTask, load_dataset_tasks
from reproduce.environments.reasoning.environment import HORIZON, ReasoningEnvironment
from reproduce.environments.reasoning.expert import (
    Demonstrator,
    demonstrate,
    explain,
    random_action,
    solve,
)
from reproduce.environments.reasoning.oracle import first_wrong_step
from reproduce.environments.reasoning.steps import NEWLINE, SKILLS, join_steps, split_steps, step_skills
from reproduce.environments.reasoning.tasks import (
    DECISIVE,
    OOD_TIERS,
    OPERATIONS,
    TIERS,
    ReasoningTask,
    Tier,
    build_panels,
    canonical_forms,
)
from reproduce.environments.reasoning.vocabulary import words

__all__ = [
    "DECISIVE",
    "HORIZON",
    "NEWLINE",
    "OOD_TIERS",
    "OPERATIONS",
    "SKILLS",
    "TIERS",
    "Demonstrator",
    "MathEnvironment",
    "MathTask",
    "ReasoningEnvironment",
    "ReasoningTask",
    "Tier",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "explain",
    "first_wrong_step",
    "join_steps",
    "load_dataset_tasks",
    "random_action",
    "solve",
    "split_steps",
    "step_skills",
    "words",
]
