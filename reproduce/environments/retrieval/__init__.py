"""Retrieval: multi-hop questions, one BM25 search tool, at most T searches, then one forced answer."""

from reproduce.environments.retrieval.environment import RetrievalEnvironment, normalise_answer
from reproduce.environments.retrieval.tasks import RetrievalTask, build_panels, canonical_forms

__all__ = ["RetrievalEnvironment", "RetrievalTask", "build_panels", "canonical_forms", "normalise_answer"]
