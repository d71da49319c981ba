"""The common way to state a re-analysis of published numbers, and to print the columns of its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from reproduce.report.text import number, probability

PAPER, DIGEST, OURS = "paper", "digest", "own calculation"
"""Sources of the numbers of a row: the paper or its released files were read; a third party's digest of the
paper was; or no published number enters at all (such as the size of a hypothetical test). A row that mixes sources
takes the weaker one, `digest`."""


@dataclass(frozen=True)
class Analysis:
    """One re-analysis: what was asked of the published numbers, and the answer."""

    identifier: str
    """Unique within the paper, such as `boundary-counts`."""
    title: str
    question: str
    """One or two sentences: what is recomputed, by which test, and over which family p-values are adjusted."""
    data: pd.DataFrame
    """The numbers behind the table, as a rule one row per row of it."""
    columns: Mapping[str, Iterable[str]]
    """The cells under each heading, as they are printed."""
    reading: str
    """The answer of the numbers, in one or two sentences built from the numbers themselves, never typed beside them."""
    notes: tuple[str, ...] = ()
    """Cautions for a reader who quotes a row."""
    source: str | Iterable[str] = DIGEST
    """Of every row, or one per row."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """The printed table, its last column the source of each row.

        Raises ValueError for columns of different lengths or another source than the three.
        """
        table = pd.DataFrame({heading: list(cells) for heading, cells in self.columns.items()}, dtype=object)
        table["source"] = self.source if isinstance(self.source, str) else list(self.source)
        for unknown in set(table["source"]) - {PAPER, DIGEST, OURS}:
            raise ValueError(f"{self.identifier}: source {unknown!r} is none of {PAPER}, {DIGEST}, {OURS}")
        return table


@dataclass(frozen=True)
class PaperAudit:
    """Every re-analysis of one paper."""

    paper: str
    """Key of the paper."""
    provenance: str
    """Documents that were read for it, and what comes from digests."""
    analyses: tuple[Analysis, ...]


def numbers(values: Iterable[float], digits: int = 1, signed: bool = False) -> list[str]:
    """A column of numbers, as `number` prints them."""
    return [number(float(value), digits, signed) for value in values]


def probabilities(values: Iterable[float]) -> list[str]:
    """A column of p-values, as `probability` prints them."""
    return [probability(float(value)) for value in values]


def texts(values: Iterable[object]) -> list[str]:
    """A column of names or whole numbers without thousands apart."""
    return [str(value) for value in values]


def filled(template: str, *columns: Iterable[object]) -> list[str]:
    """A column of texts made of several columns, such as `{} of {}`."""
    return [template.format(*cells) for cells in zip(*columns, strict=True)]
