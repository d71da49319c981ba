"""A few faults of every kind; `nox -s faults` tries a thousand."""

from __future__ import annotations

import random

import pytest

from tests.reproduce import faults

QUICK = {faults.mutated: 6, faults.foreign_models: 6, faults.foreign_words: 12}


@pytest.mark.parametrize("kind", QUICK, ids=lambda kind: kind.__name__)
def test_nothing_damaged_counts_and_nothing_foreign_runs(kind, smoke_folder) -> None:
    tallies = list(kind(smoke_folder, QUICK[kind], random.Random(0)))
    assert sum(tally.outcomes.total() for tally in tallies) >= QUICK[kind]
    assert not [line for tally in tallies for line in tally.worst]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [faults.killed, faults.full_disk, faults.small_disk, faults.other_conditions],
    ids=lambda kind: kind.__name__,
)
def test_what_stops_or_shares_a_run_changes_no_byte(kind, smoke_folder) -> None:
    assert not [line for tally in kind(smoke_folder, 3, random.Random(0)) for line in tally.worst]
