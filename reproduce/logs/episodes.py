"""What a reader makes of one file, and what all files are merged into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.values import Unreadable

MISSING = -1


@dataclass(frozen=True, eq=False)
class Column:
    """`codes` (rows,) index the distinct `values`; MISSING where there is none.

    A table of a million rows thus costs the parsing of its few distinct values.
    """

    codes: np.ndarray
    values: list[Any]

    @classmethod
    def of(cls, values: Sequence[Any]) -> Column:
        """From single values; a list becomes a tuple, and what no column may hold a value of its type."""
        seen: dict[Any, int] = {}
        kept: list[Any] = []
        codes = np.empty(len(values), dtype=np.int64)
        for row, value in enumerate(values):
            if value is None:
                codes[row] = MISSING
                continue
            plain = value if isinstance(value, str | int | float) else _plain(value)
            # true, 1 and 1.0 are equal as keys.
            key = (type(plain), plain)
            code = seen.get(key)
            if code is None:
                code = seen[key] = len(kept)
                kept.append(plain)
            codes[row] = code
        return cls(codes, kept)

    def decode(self, parse: Callable[[Any], Any], name: str, place: Callable[[int], str]) -> list[Any]:
        """The distinct values, parsed. Raises UserError at the first row of the first that cannot be."""
        decoded = []
        for code, value in enumerate(self.values):
            try:
                decoded.append(parse(value))
            except ValueError as error:
                first = int(np.flatnonzero(self.codes == code)[0])
                raise UserError(f"{place(first)}: {name} {error}") from None
        return decoded

    def numbers(self, parse: Callable[[Any], float], name: str, place: Callable[[int], str]) -> np.ndarray:
        """The parsed numbers of all rows, shape (rows,); NaN where there is none."""
        return np.array([*self.decode(parse, name, place), np.nan], dtype=np.float64)[self.codes]

    def names(
        self, parse: Callable[[Any], str], name: str, place: Callable[[int], str]
    ) -> tuple[list[str], np.ndarray]:
        """Distinct names in order of appearance, and the position of each row's. UserError where one is missing."""
        for row in np.flatnonzero(self.codes == MISSING)[:1].tolist():
            raise UserError(f"{place(row)}: {name} is missing")
        position: dict[str, int] = {}
        places = [position.setdefault(text, len(position)) for text in self.decode(parse, name, place)]
        return list(position), np.array(places, dtype=np.int64)[self.codes]

    def take(self, rows: np.ndarray) -> Column:
        return Column(self.codes[rows], self.values)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(each is None or isinstance(each, str | int | float) for each in value):
        return tuple(value)
    return Unreadable(type(value).__name__)


@dataclass(frozen=True, eq=False)
class Log:
    """One file: a row an episode, or a row with several answers or with counts.

    `format` names the layout that was recognised and by what. `scores` by name; a value may be a tuple, of one score
    an answer. `answers`: how many answers a row holds, where the file says it. `counts`: columns n and c. `episode`:
    what identifies an episode in all files; `slot`: the place it fills, which a retry fills again. `failed`: rows that
    ended in an error or were declared invalid. `content`: what was answered, `prompt`: what was asked, to tell equal
    from different. `model` and `settings` name the policy where neither the user nor a column does; `settings` may
    differ between tasks where a key begins with "task:".
    """

    source: str
    format: str
    place: Callable[[int], str]
    question: Column
    scores: Mapping[str, Column]
    policy: Column | None = None
    user_policy: str | None = None
    file_stem: str = ""
    model: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    depth: Column | float | None = None
    counts: tuple[Column, Column] | None = None
    answers: np.ndarray | None = None
    episode: Column | None = None
    slot: Column | None = None
    failed: np.ndarray | None = None
    content: Column | None = None
    prompt: Column | None = None
    cluster: Column | None = None
    seed: Column | None = None
    default_score: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return self.question.codes.size


@dataclass(frozen=True, eq=False)
class EpisodeCounts:
    """Episodes `n` and successes `c`, each of shape (policies, questions, depths), 0 where there are none.

    `depths` increase; `has_depth` is False where no file has a T, and then there is one depth, 0. `clusters`: the
    cluster of each question, where one was asked for. `seeds`: labels, and `seed_n`, `seed_c` of shape (policies,
    questions, depths, seeds), where a file has a column of training seeds. `c` holds sums of scores, no successes,
    where partial scores were asked for. `sources`: a line a file.
    """

    policies: tuple[str, ...]
    questions: tuple[str, ...]
    depths: tuple[float, ...]
    has_depth: bool
    n: np.ndarray
    c: np.ndarray
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    clusters: np.ndarray | None = None
    seeds: tuple[str, ...] = ()
    seed_n: np.ndarray | None = None
    seed_c: np.ndarray | None = None
