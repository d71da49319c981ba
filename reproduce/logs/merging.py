"""The rows of all files as one array of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.count_rows import CountRows, EpisodeCounts

LARGEST_N = 100_000
MOST_POLICIES, MOST_DEPTHS, MOST_CELLS = 64, 64, 20_000_000


def merge(files: Sequence[CountRows]) -> EpisodeCounts:
    """Counts over all files. Policies and questions keep the order in which they appear, depths increase.

    Raises UserError for a T in some files only, counts of one cell given twice, more successes than episodes, and
    sizes that only a wrong column can have.
    """
    _check_policies_of_file_names(files)
    with_depth = [file for file in files if file.depth is not None]
    if with_depth and len(with_depth) < len(files):
        without = next(file for file in files if file.depth is None)
        raise UserError(f"{without.source}: no T, but {with_depth[0].source} has one; write POLICY@T=FILE to say it")
    policies = tuple(dict.fromkeys(name for file in files for name in file.policies))
    questions = tuple(dict.fromkeys(name for file in files for name in file.questions))
    depths = np.unique(np.concatenate([_depths_of(file) for file in files]))
    shape = (len(policies), len(questions), depths.size)
    _check_sizes(shape)
    n, c = np.zeros(np.prod(shape)), np.zeros(np.prod(shape))
    owner = np.full(n.size, -1)
    for number, file in enumerate(files):
        cell = _cells(file, policies, questions, depths, shape)
        _check_repeats(files, number, cell, owner, (policies, questions, depths, shape))
        owner[cell] = number
        n += np.bincount(cell, weights=file.n, minlength=n.size)
        c += np.bincount(cell, weights=file.c, minlength=n.size)
    sources = ", ".join(file.source for file in files)
    if n.max(initial=0) > LARGEST_N:
        raise UserError(f"{sources}: {n.max():.0f} episodes of one question; at most {LARGEST_N:,}")
    if not n.any():
        raise UserError(f"{sources}: no episodes, n is 0 everywhere")
    return EpisodeCounts(
        policies=policies,
        questions=questions,
        depths=tuple(depths.tolist()),
        has_depth=bool(with_depth),
        n=n.astype(np.int64).reshape(shape),
        c=c.astype(np.int64).reshape(shape),
        notes=tuple(note for file in files for note in file.notes),
    )


def _check_policies_of_file_names(files: Sequence[CountRows]) -> None:
    """Two models that both wrote `results.jsonl` must not become one policy in silence."""
    named = [(name, file) for file in files for name in file.policies]
    for file in files:
        for name, other in named:
            if file.policy_is_file_name and file is not other and name == file.policies[0]:
                raise UserError(
                    f"{file.source} and {other.source} would both be policy {name!r}: the first does not say its "
                    "policy; write POLICY=FILE for each (the same name if they belong together)"
                )


def _check_sizes(shape: tuple[int, int, int]) -> None:
    policies, questions, depths = shape
    said = f"{policies:,} policies, {questions:,} questions and {depths:,} values of T"
    if policies > MOST_POLICIES or depths > MOST_DEPTHS or policies * questions * depths > MOST_CELLS:
        raise UserError(
            f"{said}: too many (at most {MOST_POLICIES} policies, {MOST_DEPTHS} values of T and {MOST_CELLS:,} "
            "combinations); is one column in the place of another?"
        )


def _depths_of(file: CountRows) -> np.ndarray:
    return np.zeros(1) if file.depth is None else np.unique(file.depth)


def _cells(
    file: CountRows,
    policies: tuple[str, ...],
    questions: tuple[str, ...],
    depths: np.ndarray,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Flat index of each row's cell."""
    policy_place = {name: place for place, name in enumerate(policies)}
    question_place = {name: place for place, name in enumerate(questions)}
    policy = np.array([policy_place[name] for name in file.policies], dtype=np.int64)[file.policy]
    question = np.array([question_place[name] for name in file.questions], dtype=np.int64)[file.question]
    depth = np.zeros(policy.size, dtype=np.int64) if file.depth is None else np.searchsorted(depths, file.depth)
    return np.ravel_multi_index((policy, question, depth), shape)


def _check_repeats(
    files: Sequence[CountRows], number: int, cell: np.ndarray, owner: np.ndarray, labels: tuple[Any, ...]
) -> None:
    """Counts are whole: a second row for the same cell is a mistake, not more data."""
    file = files[number]
    taken = owner[cell]
    # Episodes of several files add up; counts stand alone, whichever file came first.
    clashes = (taken >= 0) & (file.counted | np.isin(taken, [i for i, other in enumerate(files) if other.counted]))
    if file.counted:
        _, first = np.unique(cell, return_index=True)
        repeated = np.ones(cell.size, dtype=bool)
        repeated[first] = False
        clashes |= repeated
    if clashes.any():
        policies, questions, depths, shape = labels
        place = int(np.flatnonzero(clashes)[0])
        policy, question, depth = (int(x) for x in np.unravel_index(cell[place], shape))
        at = "" if file.depth is None else f" at T = {depths[depth]:g}"
        other = f", also in {files[taken[place]].source}" if taken[place] >= 0 else ""
        raise UserError(
            f"{file.source}: duplicate counts for policy {policies[policy]!r}, question {questions[question]!r}{at}"
            f"{other}; one row each"
        )
