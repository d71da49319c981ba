"""Retrieval: multi-hop questions, one BM25 search tool, at most T searches, then one forced answer."""

from reproduce.environments.retrieval.environment import RetrievalEnvironment, normalise_answer
from reproduce.environments.retrieval.expert import Demonstrator, demonstrate
from reproduce.environments.retrieval.explanation import HORIZON, SKILLS, explain, random_action, solve
from reproduce.environments.retrieval.tasks import RetrievalTask, build_panels, canonical_forms
from reproduce.environments.retrieval.vocabulary import words

__all__ = [
    "HORIZON",
    "SKILLS",
    "Demonstrator",
    "RetrievalEnvironment",
    "RetrievalTask",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "explain",
    "normalise_answer",
    "random_action",
    "solve",
    "words",
]
