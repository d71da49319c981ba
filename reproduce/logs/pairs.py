"""Counts of one policy, and of two policies on what both have: by training seed, question and T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.episodes import EpisodeCounts
from theory.pass_kt import pass_at_k


@dataclass(frozen=True, eq=False)
class PolicyCounts:
    """Counts of one policy on the questions that have every T it has at all: arrays (seeds, questions, depths)."""

    name: str
    questions: np.ndarray
    depth_mask: np.ndarray
    depths: tuple[float, ...]
    dropped: int
    seeds: tuple[str, ...]
    n: np.ndarray
    c: np.ndarray

    @property
    def smallest_n(self) -> int:
        return int(self.n.min())

    def values(self, ks: Sequence[int]) -> np.ndarray:
        """Unbiased values, shape (seeds, questions, depths, ks)."""
        return pass_at_k(self.n[..., None], self.c[..., None], np.array(ks))


def policy_counts(counts: EpisodeCounts, row: int) -> PolicyCounts:
    """The counts of one policy. Raises UserError where no question has every T of the policy."""
    n, c, seeds = counts.n[row][None], counts.c[row][None], ("",)
    if _has_training_seeds(counts, row):
        assert counts.seed_n is not None and counts.seed_c is not None
        present = np.flatnonzero(counts.seed_n[row].any(axis=(0, 1)))
        seeds = tuple(counts.seeds[place] for place in present.tolist())
        n, c = (np.moveaxis(array[row][..., present], -1, 0) for array in (counts.seed_n, counts.seed_c))
    asked = (n > 0).all(axis=0)
    depths = np.asarray((n > 0).any(axis=(0, 1)))
    questions = np.asarray(asked[:, depths].all(axis=1))
    if not questions.any():
        raise UserError(f"policy {counts.policies[row]!r}: no question has episodes at every T of this policy")
    return PolicyCounts(
        name=counts.policies[row],
        questions=questions,
        depth_mask=depths,
        depths=tuple(np.array(counts.depths)[depths].tolist()),
        dropped=int((n > 0).any(axis=(0, 2)).sum() - questions.sum()),
        seeds=seeds,
        n=n[:, questions][:, :, depths],
        c=c[:, questions][:, :, depths],
    )


def _has_training_seeds(counts: EpisodeCounts, row: int) -> bool:
    """A seed with several episodes a question is a training seed; with one each it only drew that episode."""
    return counts.seed_n is not None and bool(counts.seed_n[row].max() > 1)


def seed_notes(counts: EpisodeCounts) -> list[str]:
    """What the column of seeds was taken for."""
    if counts.seed_n is None:
        return []
    drawn = [name for row, name in enumerate(counts.policies) if not _has_training_seeds(counts, row)]
    trained = [name for name in counts.policies if name not in drawn]
    notes = []
    if trained:
        notes.append(
            f"{', '.join(trained)}: seeds are taken as training runs, and values are means over them; the bands of "
            "crossings speak of seeds and questions, all other intervals of these seeds"
        )
    if drawn:
        notes.append(f"{', '.join(drawn)}: one episode a seed and question, so seeds are taken as those of sampling")
    return notes


@dataclass(frozen=True, eq=False)
class Pair:
    """Counts of two policies on what both have; `first` and `second` of shape (seeds, questions, depths)."""

    policy: str
    baseline: str
    questions: int
    only_policy: int
    only_baseline: int
    depths: tuple[float, ...]
    first: PolicyCounts
    second: PolicyCounts

    def differences(self, ks: Sequence[int]) -> np.ndarray:
        """Shape (seeds, questions, depths, ks): seed by seed where both have the same or one has a single one."""
        new, old = self.first.values(ks), self.second.values(ks)
        if len(old) > 1 and self.first.seeds != self.second.seeds:
            new, old = new.mean(axis=0, keepdims=len(new) > 1), old.mean(axis=0, keepdims=True)
        return np.asarray(new - old)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Episodes and successes over all seeds, shape (2, questions, depths)."""
        n = np.stack([self.first.n.sum(axis=0), self.second.n.sum(axis=0)])
        return n, np.stack([self.first.c.sum(axis=0), self.second.c.sum(axis=0)])


def paired_counts(first: PolicyCounts, second: PolicyCounts) -> Pair:
    """Both policies on the questions and T that they share."""
    depths = first.depth_mask & second.depth_mask
    questions = first.questions & second.questions if depths.any() else np.zeros_like(first.questions)

    def common(policy: PolicyCounts) -> PolicyCounts:
        rows, columns = questions[policy.questions], depths[policy.depth_mask]
        return replace(policy, n=policy.n[:, rows][:, :, columns], c=policy.c[:, rows][:, :, columns])

    return Pair(
        policy=first.name,
        baseline=second.name,
        questions=int(questions.sum()),
        only_policy=int((first.questions & ~second.questions).sum()),
        only_baseline=int((second.questions & ~first.questions).sum()),
        depths=tuple(depth for depth in first.depths if depth in second.depths),
        first=common(first),
        second=common(second),
    )
