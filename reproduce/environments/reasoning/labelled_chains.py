"""Chains of thought of other models, each with its first wrong step as a person found it.

Rows of BIG-Bench Mistake (arXiv 2311.08516: `input`, `steps`, `mistake_index`) and of ProcessBench (arXiv 2412.06559:
`problem`, `steps`, `label`); both count steps from 0, and a chain without a mistake has null or -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.environments.rows import Row, is_unicode, read_rows, text_of

LONGEST_PROBLEM, LONGEST_STEP, MOST_STEPS = 20_000, 20_000, 1_000
COLUMNS = ("id", "input", "problem", "question", "steps", "mistake_index", "label")


@dataclass(frozen=True)
class LabelledChain:
    """One chain."""

    identifier: str
    problem: str
    steps: tuple[str, ...]
    first_error: int | None
    """From 1; None where every step is right."""


def read_labelled_chains(path: Path) -> tuple[LabelledChain, ...]:
    """The chains of a .jsonl, .json or .parquet file, in its order. Raises UserError, naming file and row, for whatever
    cannot be used, and for a file without any."""
    chains = tuple(
        LabelledChain(
            f"{path.stem}-{number:05d}",
            text_of(path, number, row, ("input", "problem", "question"), LONGEST_PROBLEM),
            steps := _steps(path, number, row),
            _first_error(path, number, row, len(steps)),
        )
        for number, row in read_rows(path, COLUMNS)
    )
    if not chains:
        raise UserError(f"{path}: no chains in it")
    return chains


def _steps(path: Path, number: int, row: Row) -> tuple[str, ...]:
    steps = row.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
        raise UserError(f"{path}: row {number} has no list of 1 to {MOST_STEPS} steps")
    if not all(isinstance(one, str) and len(one) <= LONGEST_STEP and is_unicode(one) for one in steps):
        raise UserError(f"{path}: row {number} has a step that is no text of at most {LONGEST_STEP} characters")
    return tuple(steps)


def _first_error(path: Path, number: int, row: Row, steps: int) -> int | None:
    if "mistake_index" not in row and "label" not in row:
        raise UserError(f"{path}: row {number} has no mistake_index or label")
    place = row.get("mistake_index", row.get("label"))
    if isinstance(place, float) and place.is_integer():
        # Parquet has whole numbers with gaps as floating-point ones.
        place = int(place)
    if place is None or (type(place) is int and place == -1):
        return None
    if type(place) is not int or not 0 <= place < steps:
        raise UserError(f"{path}: row {number} has the first wrong step {place!r}, counted from 0, of {steps}")
    return place + 1
