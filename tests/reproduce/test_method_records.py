"""Records of methods: counts of every task, paired tables, damage that is named."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import collect_method_runs, count_tasks, load_method_records
from reproduce.core.files import UserError
from reproduce.papers.pass_kt.experiment import PROFILES, plan

PAPER = SimpleNamespace(
    training_columns=("reward", "own"),
    measure_tasks=lambda config, episodes: None,
    further_records=lambda config, folder, episodes: {"lengths": pd.DataFrame({"length": [config.seed]})},
)
SUCCESSES = {("base", 0): 1, ("base", 1): 2, ("grpo", 0): 3, ("grpo", 1): 4}


def episodes_of(arm: str, seed: int) -> pd.DataFrame:
    """Four episodes of two tasks; the first task's successes are as SUCCESSES says, the second has none."""
    right = SUCCESSES[arm, seed]
    rows = []
    for question in ("b", "a"):
        for sample in range(4):
            success = question == "a" and sample < right
            rows.append(
                {
                    "panel": "test",
                    "category": "easy",
                    "question": question,
                    "success": success,
                    "failure": "" if success else "timeout",
                    "skills": "add invalid sub",
                    "repeated": 1,
                    "sampled_tokens": 7,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def records(tmp_path):
    runs = plan(PROFILES["smoke"])
    for run in runs:
        folder = tmp_path / "runs" / run.name
        folder.mkdir(parents=True)
        manifest = {"run": run.name, "arm": run.arm, "seed": run.seed, "paper": "mine", "exit_state": "complete"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        pq.write_table(pa.Table.from_pandas(episodes_of(run.arm, run.seed)), folder / "episodes.parquet")
        if run.training is not None:
            log = [{"step": step, "reward": 0.5, **({"own": 1.0} if run.seed else {})} for step in (1, 2)]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    collect_method_runs(PAPER, runs, {"profile": "smoke", "seeds": 2}, tmp_path / "runs", tmp_path / "records")
    return tmp_path / "records"


def test_tables_are_paired_by_seed_and_task(records):
    found = read_method_records(records, "mine")
    assert found.success("retrieval", "base").tolist() == [[25.0, 0.0], [50.0, 0.0]]
    assert found.success("retrieval", "grpo").tolist() == [[75.0, 0.0], [100.0, 0.0]]
    assert found.table("retrieval", "grpo", "failure: timeout").tolist() == [[1.0, 4.0], [0.0, 4.0]]
    assert found.table("retrieval", "base", "invalid").tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert found.table("retrieval", "base", "rounds_of_successes").tolist() == [[3.0, 0.0], [6.0, 0.0]]
    assert found.log("retrieval", "grpo", "reward").tolist() == [[0.5, 0.5], [0.5, 0.5]]
    own = found.log("retrieval", "grpo", "own")
    assert np.isnan(own[0]).all() and own[1].tolist() == [1.0, 1.0]
    assert found.tables["lengths"]["length"].tolist() == [0, 0, 1, 1]
    assert found.has("retrieval", "base", "grpo") and not found.has("retrieval", "echo") and not found.has("chess")
    assert found.seeds == 2
    for call in (
        lambda: found.success("chess", "base"),
        lambda: found.success("retrieval", "base", "ood"),
        lambda: found.log("retrieval", "base", "reward"),
    ):
        with pytest.raises(ValueError, match="no "):
            call()


def test_a_run_that_lacks_a_task_is_not_paired(records):
    counts = pd.read_parquet(records / "counts.parquet")
    pq.write_table(pa.Table.from_pandas(counts.drop(index=counts.index[0])), records / "counts.parquet")
    with pytest.raises(ValueError, match="lacks tasks"):
        load_method_records(records).success("retrieval", "base")


def change(name, edit):
    def damage(folder):
        frame = pd.read_parquet(folder / name)
        pq.write_table(pa.Table.from_pandas(edit(frame), preserve_index=False), folder / name)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("counts.parquet", lambda frame: frame.drop(columns="n")), "counts.parquet: lacks n"),
        (change("counts.parquet", lambda frame: frame.assign(successes=9)), "row 1: successes outside 0 to n"),
        (change("counts.parquet", lambda frame: pd.concat([frame, frame[:1]])), "row 9: this task stands there twice"),
        (change("counts.parquet", lambda frame: frame[frame["seed"] == 0]), "records of 1 seed"),
        (change("counts.parquet", lambda frame: frame[frame["arm"] != "base"]), "only one of them has retrieval base"),
        (change("counts.parquet", lambda frame: frame[:0]), "counts.parquet: holds no row"),
        (change("training.parquet", lambda frame: frame.assign(reward=np.nan)), "a reward is not a number"),
        (lambda folder: (folder / "training.parquet").write_bytes(b"PAR1"), "training.parquet"),
    ],
)
def test_damage_is_one_line_that_names_the_file(records, damage, message):
    damage(records)
    with pytest.raises(UserError, match=message) as caught:
        read_method_records(records, "mine")
    assert "\n" not in str(caught.value)


def test_records_of_another_paper_are_refused(records):
    with pytest.raises(UserError, match="records of mine, not of other"):
        read_method_records(records, "other")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["test", "ood"]),
            st.sampled_from(["x", "y"]),
            st.booleans(),
            st.lists(st.sampled_from(["add", "invalid"]), min_size=1, max_size=4),
            st.sampled_from(["burned", "timeout"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_counts_are_those_of_a_loop(rows):
    episodes = pd.DataFrame(
        {
            "panel": [row[0] for row in rows],
            "category": "only",
            "question": [row[1] for row in rows],
            "success": [row[2] for row in rows],
            "skills": [" ".join(row[3]) for row in rows],
            "failure": ["" if row[2] else row[4] for row in rows],
            "repeated": 0,
            "sampled_tokens": 1,
        }
    )
    counted = count_tasks(episodes)
    for found in counted.to_dict("records"):
        chosen = [row for row in rows if (row[0], row[1]) == (found["panel"], found["question"])]
        assert found["n"] == len(chosen) == found["sampled_tokens"]
        assert found["successes"] == sum(row[2] for row in chosen)
        assert found["rounds"] == sum(len(row[3]) for row in chosen)
        assert found["rounds_of_successes"] == sum(len(row[3]) for row in chosen if row[2])
        assert found["invalid"] == sum(row[3].count("invalid") for row in chosen)
        for kind in ("burned", "timeout"):
            assert found.get(f"failure: {kind}", 0) == sum(not row[2] and row[4] == kind for row in chosen)
    assert len(counted) == len({row[:2] for row in rows})
