"""Which score of a log counts, and when it is a success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reproduce.core.files import UserError
from reproduce.core.names import nearest


@dataclass(frozen=True)
class ScoreRule:
    """`name`: the score to read, None for the only one there is. `threshold`: the smallest score that is a success,
    None for scores that are 0 or 1."""

    name: str | None = None
    threshold: float | None = None

    def choose(self, names: Sequence[str], source: str) -> str:
        """The score to read among those of a log. Raises UserError listing them where the choice is open."""
        if not names:
            raise UserError(f"{source}: no score in it")
        if self.name is None and len(names) == 1:
            return names[0]
        if self.name is None:
            raise UserError(f"{source}: several scores, choose one by --score: {', '.join(names)}")
        if self.name not in names:
            raise UserError(f"{source}: no score {self.name!r}; {nearest(self.name, names)}")
        return self.name

    def successes(self, scores: np.ndarray, name: str, source: str) -> np.ndarray:
        """Boolean array: where the scores are successes. Raises UserError for partial scores without a threshold."""
        if self.threshold is not None:
            return np.asarray(scores >= self.threshold)
        partial = (scores != 0) & (scores != 1)
        if partial.any():
            raise UserError(
                f"{source}: {int(partial.sum()):,} of {scores.size:,} values of {name} are neither 0 nor 1 (such as "
                f"{scores[partial][0]:g}); say by --threshold from which one on an episode is a success"
            )
        return np.asarray(scores == 1)
