"""What a reader makes of one file, and what all files are merged into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.scores import ScoreRule


@dataclass(frozen=True, eq=False)
class CountRows:
    """Rows of one file: an episode each (n = 1), or counts of one (policy, question, T) each.

    `policy` and `question` index `policies` and `questions`; `depth` is None where the file has no T. All arrays have
    shape (rows,). `counted` tells rows of counts, which must not repeat, from episodes.
    """

    source: str
    policies: tuple[str, ...]
    questions: tuple[str, ...]
    policy: np.ndarray
    question: np.ndarray
    depth: np.ndarray | None
    n: np.ndarray
    c: np.ndarray
    counted: bool = False
    policy_is_file_name: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EpisodeCounts:
    """Episodes `n` and successes `c`, each of shape (policies, questions, depths), 0 where there are none.

    `depths` increase; `has_depth` is False where no file has a T, and then there is one depth, 0.
    """

    policies: tuple[str, ...]
    questions: tuple[str, ...]
    depths: tuple[float, ...]
    has_depth: bool
    n: np.ndarray
    c: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoredEpisodes:
    """Episodes of one policy as a log of an evaluation program has them: a question and a score each."""

    questions: Sequence[str]
    scores: Sequence[float]
    score_name: str
    notes: tuple[str, ...] = ()


def rows_of_one_policy(
    source: str,
    policy: str,
    depth: float | None,
    episodes: ScoredEpisodes,
    rule: ScoreRule,
    policy_is_file_name: bool = False,
) -> CountRows:
    """One row an episode. Raises UserError where there are none, or a score is partial and has no threshold."""
    if not episodes.scores:
        raise UserError(f"{source}: no scored episode in it")
    scores = np.asarray(episodes.scores, dtype=np.float64)
    codes: dict[str, int] = {}
    question = np.array([codes.setdefault(name, len(codes)) for name in episodes.questions], dtype=np.int64)
    return CountRows(
        source=source,
        policies=(policy,),
        questions=tuple(codes),
        policy=np.zeros(scores.size, dtype=np.int64),
        question=question,
        depth=None if depth is None else np.full(scores.size, depth),
        n=np.ones(scores.size, dtype=np.int64),
        c=rule.successes(scores, episodes.score_name, source).astype(np.int64),
        policy_is_file_name=policy_is_file_name,
        notes=episodes.notes,
    )
