"""Retrieval: multi-hop questions, one BM25 search tool, at most T searches, then one forced answer."""

from reproduce.environments.retrieval.environment import RetrievalEnvironment, normalise_answer
from reproduce.environments.retrieval.expert import Demonstrator, demonstrate
from reproduce.environments.retrieval.explanation import HORIZON, SKILLS, explain, random_action, solve
from reproduce.environments.retrieval.hotpot import HotpotTask
from reproduce.environments.retrieval.hotpot_expert import demonstrate_hotpot, solve_hotpot
from reproduce.environments.retrieval.official import build_hotpot_panels
from reproduce.environments.retrieval.tagged import GeneratedCorpus, HotpotCorpus, TaggedEnvironment
from reproduce.environments.retrieval.tasks import RetrievalTask, build_panels, canonical_forms
from reproduce.environments.retrieval.vocabulary import words

__all__ = [
    "HORIZON",
    "SKILLS",
    "Demonstrator",
    "GeneratedCorpus",
    "HotpotCorpus",
    "HotpotTask",
    "RetrievalEnvironment",
    "RetrievalTask",
    "TaggedEnvironment",
    "build_hotpot_panels",
    "build_panels",
    "canonical_forms",
    "demonstrate",
    "demonstrate_hotpot",
    "explain",
    "normalise_answer",
    "random_action",
    "solve",
    "solve_hotpot",
    "words",
]
