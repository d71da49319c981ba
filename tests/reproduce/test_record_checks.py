"""Records that contradict each other are refused in one line that names the place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reproduce.claims.grid import Records, load_records
from reproduce.claims.record_checks import check_agreement
from reproduce.core.files import UserError
from reproduce.papers.pass_kt.experiment import ARMS
from tests.reproduce.simulated_records import write_simulated_records


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("records")
    write_simulated_records(folder, np.random.default_rng(0), seeds=3, questions=4, samples=16)
    return load_records(folder)


def refused(records: Records, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_agreement(records, ARMS, Path("kept"))
    assert "\n" not in str(caught.value)


def test_whole_records_agree(whole: Records) -> None:
    check_agreement(whole, ARMS, Path("kept"))


def test_a_missing_seed_is_named(whole: Records) -> None:
    counts = whole.counts
    refused(replace(whole, counts=counts[counts["seed"] != 2]), r"counts.parquet: lacks base seed 2")
    lost = (counts["seed"] == 1) & (counts["arm"] == "grpo")
    refused(replace(whole, counts=counts[~lost]), r"counts.parquet: lacks grpo seed 1")
    refused(replace(whole, runs=whole.runs[:-1]), r"runs.jsonl: lacks grpo seed 2")
    training = whole.training
    refused(replace(whole, training=training[training["seed"] != 0]), r"training.parquet: lacks grpo seed 0")
    refused(replace(whole, experiment=whole.experiment | {"seeds": 99}), "counts.parquet: lacks base seed 3")


def test_a_profile_cannot_be_renamed(whole: Records) -> None:
    refused(replace(whole, experiment=whole.experiment | {"profile": "full"}), "row 1: profile laptop")


def test_impossible_counts_name_their_row(whole: Records) -> None:
    counts = whole.counts.copy()
    counts.loc[4, "successes"] = counts.loc[4, "n"] + 1
    refused(replace(whole, counts=counts), "counts.parquet, row 5: successes outside 0 to n")
    refused(replace(whole, counts=whole.counts.astype({"successes": float})), "successes is not of whole numbers")
    doubled = whole.counts.copy()
    doubled.iloc[7] = doubled.iloc[6]
    refused(replace(whole, counts=doubled), "row 8: this cell stands there twice")
    refused(replace(whole, counts=whole.counts[whole.counts["panel"] == "test"]), "lacks the panel ood")


def test_broken_manifests_configuration_and_log_are_refused(whole: Records) -> None:
    refused(replace(whole, runs=[{"paper": "pass_kt"}, *whole.runs[1:]]), "runs.jsonl, row 1: not a manifest")
    refused(replace(whole, experiment=whole.experiment | {"evaluation": {}}), "experiment.json: lacks seeds or sizes")
    training = whole.training.copy()
    training.loc[0, "reward"] = np.nan
    refused(replace(whole, training=training), "training.parquet: a reward is not a number")
