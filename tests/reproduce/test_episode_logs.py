"""Episode logs as counts, and the one line that bad input gets.

The logs under `logs/` were written by the programs themselves, with a mock model that cycles through fixed answers to
three sums. `harness/`: lm_eval 0.4.13 (`simple_evaluate` with `log_samples`, then `save_results_samples` of its
`EvaluationTracker`), 4 repeats; the neighbouring results files are cut to the model's name. `sums.eval`: inspect_ai
0.3.285 (`eval` with mockllm/model), 4 epochs, three scorers. `verifiers/results.jsonl`: verifiers 0.1.14
(`save_outputs` of `state_to_output`). `verifiers/traces.jsonl`: verifiers 0.4.0 (`write_episode`).
"""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reproduce.core.files import UserError
from reproduce.logs import inspect_ai
from reproduce.logs.reading import read_logs
from reproduce.logs.scores import ScoreRule

LOGS = Path(__file__).parent / "logs"
EACH, SUMS = (next((LOGS / "harness").glob(f"samples_{task}_*")) for task in ("each", "sums"))
ANY = ScoreRule()


def table(counts):
    """{(policy, question, T): (n, c)} of the cells that have episodes."""
    return {
        (policy, question, depth): (int(counts.n[i, j, k]), int(counts.c[i, j, k]))
        for i, policy in enumerate(counts.policies)
        for j, question in enumerate(counts.questions)
        for k, depth in enumerate(counts.depths)
        if counts.n[i, j, k]
    }


def complaint(*files, rule=ANY):
    with pytest.raises(UserError) as caught:
        read_logs([str(file) for file in files], rule)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


EPISODES = [
    *(("base", "a", 0, True), ("base", "a", 0, False), ("base", "b", 0, False), ("base", "a", 2, True)),
    *(("grpo", "a", 0, True), ("grpo", "7", 2, False)),
]
COUNTED = {
    ("base", "a", 0.0): (2, 1),
    ("base", "b", 0.0): (1, 0),
    ("base", "a", 2.0): (1, 1),
    ("grpo", "a", 0.0): (1, 1),
    ("grpo", "7", 2.0): (1, 0),
}


def test_one_table_in_three_formats(tmp_path):
    names = ("policy", "question", "T", "success")
    rows = [",".join(names), *(",".join(map(str, row)) for row in EPISODES)]
    csv = write(tmp_path, "a.csv", "\n".join(rows) + "\n")
    jsonl = write(tmp_path, "a.jsonl", "".join(json.dumps(dict(zip(names, r, strict=True))) + "\n" for r in EPISODES))
    parquet = tmp_path / "a.parquet"
    columns = dict(zip(names, zip(*EPISODES, strict=True), strict=True))
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), parquet)
    for path in (csv, jsonl, parquet):
        counts = read_logs([str(path)], ANY)
        assert table(counts) == COUNTED and counts.has_depth
        assert counts.policies == ("base", "grpo") and counts.questions == ("a", "b", "7")


def test_counts_and_episodes_give_the_same(tmp_path):
    rows = [f"{p},{q},{t:g},{n},{c}" for (p, q, t), (n, c) in COUNTED.items()]
    for name in ("c", "n_correct"):
        path = write(tmp_path, f"{name}.csv", "\n".join([f"policy,question,T,n,{name}", *rows]))
        assert table(read_logs([str(path)], ANY)) == COUNTED


def test_files_of_one_policy_add_up_and_questions_keep_one_name_across_formats(tmp_path):
    first = write(tmp_path, "first.csv", "question,success\n7,1\n8,no\n")
    second = write(tmp_path, "second.jsonl", '{"question": 7, "success": true}\n\n{"question": 8.0, "success": 1.0}\n')
    counts = read_logs([f"m={first}", f"m={second}"], ANY)
    assert table(counts) == {("m", "7", 0.0): (2, 2), ("m", "8", 0.0): (2, 1)} and not counts.has_depth
    assert read_logs([str(first), str(second)], ANY).policies == ("first", "second")
    with_depth = read_logs([f"m@2={first}", f"m@5={second}"], ANY)
    assert with_depth.depths == (2.0, 5.0) and with_depth.policies == ("m",)
    assert read_logs([f"a@b={first}"], ANY).policies == ("a@b",)


def test_threshold_and_named_column(tmp_path):
    path = write(tmp_path, "a.csv", "question,success,reward\nq,1,0.2\nq,0,0.8\nq,1,0.5\n")
    assert read_logs([str(path)], ScoreRule("reward", 0.5)).c.tolist() == [[[2]]]
    assert read_logs([str(path)], ANY).c.tolist() == [[[2]]]
    assert "3 of 3 values of reward are neither 0 nor 1" in complaint(path, rule=ScoreRule("reward"))
    assert "no column 'rewards'; did you mean 'reward'?" in complaint(path, rule=ScoreRule("rewards"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("empty",)),
        ("question,success\n", ("empty", "no rows")),
        ("question,sucess\nq,1\n", ("no column 'success'", "did you mean 'sucess'?")),
        ("policy,success\np,1\n", ("no column 'question'",)),
        ("question,n,c\nq,2,1\nr,2,3\n", ("row 2 below the header", "c = 3 exceeds n = 2")),
        ("question,n,c\nq,2.5,1\n", ("n must be a whole number", "'2.5'")),
        ("question,n,c\nq,2,-1\n", ("c must be a whole number of at least 0",)),
        ("question,n,c\nq,2,1\nq,2,1\n", ("duplicate counts", "question 'q'")),
        ("question,n,c\nq,0,0\n", ("no episodes",)),
        ("question,n,c\nq,1000000,1\n", ("at most 100,000",)),
        ("question,n,c,success\nq,2,1,1\n", ("expected success alone",)),
        ("question,success\nq,1\nr,nan\n", ("row 2 below the header", "success is missing")),
        ("question,success\nq,1\nr,\n", ("row 2 below the header", "success is empty")),
        ("question,success\nq,1\nr,maybe\n", ("row 2 below the header", "must be a finite number, got 'maybe'")),
        ("question,success\nq,1\nr,inf\n", ("must be a finite number",)),
        ("question,success\nq,0.5\n", ("--threshold",)),
        ("question,T,success\nq,-1,1\n", ("T must be at least 0",)),
        ("question,T,success\nq,,1\n", ("T is empty",)),
        ("question,question,success\nq,r,1\n", ("'question' occurs twice",)),
        ("question,success\nq,1,2\n", ("not a CSV table",)),
        ("question,success\n ,1\n", ("question is empty",)),
    ],
)
def test_bad_tables_get_one_line(tmp_path, text, parts):
    said = complaint(write(tmp_path, "log.csv", text))
    assert all(part in said for part in ("log.csv", *parts))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"question": "q", "success": 1}\n{"question": "q"}\n', ("line 2", "success is missing")),
        ('{"question": "q", "success": NaN}\n', ("line 1", "success is missing")),
        ('{"question": ["q"], "success": 1}\n', ("line 1", "question must be text or a number, got a list")),
        ('{"question": "q", "success": {}}\n', ("line 1", "success must be a finite number, got a dict")),
        ('{"question": true, "success": 1}\n', ("question must be text or a number",)),
        ('\n{"question": "q", "success": 1}\n[1]\n', ("line 3", "expected a JSON object")),
        ('{"question": "q", "success": 1}\n{"que\n', ("line 2", "not JSON")),
        ('{"question": "q", "success": 1' + "0" * 5000 + "}\n", ("line 1", "not JSON")),
        ("[" * 100_000 + "\n", ("line 1", "not JSON that can be read")),
        ("\n\n", ("empty",)),
    ],
)
def test_bad_json_lines_get_one_line(tmp_path, text, parts):
    said = complaint(write(tmp_path, "log.jsonl", text))
    assert all(part in said for part in ("log.jsonl", *parts))


def test_mistakes_across_files(tmp_path):
    first = write(tmp_path, "first.csv", "question,success\nq,1\n")
    assert "named twice" in complaint(first, tmp_path / "." / "first.csv")
    assert "no such file" in complaint(tmp_path / "absent.csv")
    assert "a folder" in complaint(tmp_path)
    assert "unknown kind of file" in complaint(write(tmp_path, "log.txt", "x"))
    assert "expected POLICY=FILE" in complaint(f"={first}")
    with_depth = write(tmp_path, "with_depth.csv", "question,T,success\nq,1,1\n")
    assert "no T, but" in complaint(first, with_depth)
    assert "has a column T of its own" in complaint(f"m@1={with_depth}")
    with_policy = write(tmp_path, "with_policy.csv", "policy,question,success\np,q,1\n")
    assert "has a column policy of its own" in complaint(f"m={with_policy}")
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", "first.csv", "question,success\nq,0\n")
    assert "would both be policy 'first'" in complaint(first, other)
    again = write(tmp_path, "again.csv", first.read_text())
    assert "the same content as" in complaint(first, again)
    assert "the same content as" not in complaint(f"a={first}", f"b@1={again}")
    counted = write(tmp_path, "counted.csv", "question,n,c\nq,2,1\n")
    for order in ((f"m={first}", f"m={counted}"), (f"m={counted}", f"m={first}")):
        assert "duplicate counts" in complaint(*order)
    assert "one column in the place of another" in complaint(
        write(tmp_path, "many.csv", "policy,question,success\n" + "".join(f"p{i},q,1\n" for i in range(65)))
    )
    assert "not UTF-8" in complaint(_bytes(tmp_path, "latin.jsonl", b'{"question": "\xe9"}\n'))
    assert "in UTF-8" in complaint(_bytes(tmp_path, "latin.csv", b"question,success\n\xe9,1\n"))
    assert "not a Parquet file" in complaint(_bytes(tmp_path, "a.parquet", b"PAR1PAR1"))


def _bytes(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def test_columns_of_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    labels = pa.array(["x", "y", "x"]).dictionary_encode()
    pq.write_table(pa.table({"question": labels, "success": np.array([1.0, 0.0, 1.0])}), path)
    assert table(read_logs([str(path)], ANY)) == {("a", "x", 0.0): (2, 2), ("a", "y", 0.0): (1, 0)}
    pq.write_table(pa.table({"question": [["x"]], "success": [1]}), path)
    assert "column question holds list" in complaint(path)
    pq.write_table(pa.table({"question": ["x", None], "success": [1, 1]}), path)
    assert "row 2: question is missing" in complaint(path)


def test_lm_evaluation_harness(tmp_path):
    counts = read_logs([str(EACH)], ScoreRule("exact_match"))
    answers = [json.loads(line) for line in EACH.read_text().splitlines()]
    expected = [sum(a == row["target"] for a in row["resps"][0]) for row in answers]
    assert counts.policies == ("mock/sampler",) and counts.n.ravel().tolist() == [4, 4, 4]
    assert counts.c.ravel().tolist() == expected == [1, 2, 1]
    assert "exact_match, length" in complaint(EACH)
    assert "exact_match,first, exact_match,majority" in complaint(SUMS)
    first = read_logs([str(SUMS)], ScoreRule("exact_match,first"))
    assert first.n.ravel().tolist() == [1, 1, 1] and "9 sampled answers have no score" in first.notes[0]
    doubled = write(tmp_path, SUMS.name, SUMS.read_text() * 2)
    assert "duplicate doc_id 0" in complaint(doubled, rule=ScoreRule("exact_match,first"))
    assert read_logs([str(shutil.copy(EACH, tmp_path))], ScoreRule("exact_match")).policies == (EACH.stem,)


def test_share_of_repeats_that_passed_is_taken_apart(tmp_path):
    """The layout of the harness's own HumanEval task: one share for all repeats of a document."""
    row = json.loads(EACH.read_text().splitlines()[0]) | {"metrics": ["pass@1"], "pass@1": 0.75}
    counts = read_logs([str(write(tmp_path, "a.jsonl", json.dumps(row)))], ANY)
    assert (counts.n.item(), counts.c.item()) == (4, 3)


def test_inspect_ai_archive_and_json(tmp_path):
    log = LOGS / "sums.eval"
    counts = read_logs([str(log)], ScoreRule("exact"))
    assert table(counts) == {
        ("mockllm/model", "sums/one", 0.0): (4, 2),
        ("mockllm/model", "sums/two", 0.0): (4, 1),
        ("mockllm/model", "sums/3", 0.0): (4, 1),
    }
    assert "exact, length, both/a, both/b" in complaint(log)
    assert read_logs([str(log)], ScoreRule("both/b", 0.5)).c.sum() == 12
    with zipfile.ZipFile(log) as archive:
        members = inspect_ai._Members(log, archive)
        header = members.json("header.json")
        samples = [members.json(name) for name in members.names if name.startswith("samples/")]
        summaries = members.json("summaries.json")
    for scored in (samples, summaries):
        path = write(tmp_path, "log.json", json.dumps(header | {"samples": scored}))
        assert table(read_logs([str(path)], ScoreRule("exact"))) == table(counts)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        unfinished = tmp_path / "unfinished.eval"
        with zipfile.ZipFile(unfinished, "w", compression) as archive:
            archive.writestr("header.json", json.dumps(header))
            for sample in samples:
                archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        assert table(read_logs([str(unfinished)], ScoreRule("exact"))) == table(counts)


def test_damaged_and_oversized_archives(tmp_path, monkeypatch):
    log = (LOGS / "sums.eval").read_bytes()
    assert "no .eval archive" in complaint(_bytes(tmp_path, "cut.eval", log[:2000]))
    damaged = bytearray(log)
    start = log.rindex(b"summaries.json", 0, log.index(b"reductions.json"))
    damaged[start + 60 : start + 90] = bytes(30)
    assert "no .eval archive" in complaint(_bytes(tmp_path, "damaged.eval", bytes(damaged)), rule=ScoreRule("exact"))
    bomb = tmp_path / "bomb.eval"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("summaries.json", b" " * 3_000_000)
    monkeypatch.setattr(inspect_ai, "LARGEST_MEMBER", 1 << 20)
    assert "larger than 1 MiB" in complaint(bomb)
    monkeypatch.setattr(inspect_ai, "LARGEST_MEMBER", 1000)
    assert "refused" in complaint(LOGS / "sums.eval", rule=ScoreRule("exact"))


def test_samples_without_a_score_are_left_out_and_said(tmp_path):
    sample = {"id": 1, "epoch": 1, "scores": {"match": {"value": "C"}}}
    failed = {"id": 1, "epoch": 2, "error": "timeout"}
    log = {"eval": {"model": "m", "task": "t"}, "samples": [sample, failed]}
    counts = read_logs([str(write(tmp_path, "a.json", json.dumps(log)))], ANY)
    assert counts.n.item() == 1 and "1 samples have no score match" in counts.notes[0]
    log["samples"].append(sample)
    assert "duplicate sample '1', epoch 1" in complaint(write(tmp_path, "a.json", json.dumps(log)))
    log["samples"] = [sample | {"scores": {"match": {"value": "P"}}}]
    assert "--threshold" in complaint(write(tmp_path, "a.json", json.dumps(log)))
    assert "no log of inspect_ai" in complaint(write(tmp_path, "b.json", "[1]"))


def test_verifiers(tmp_path):
    old, new = LOGS / "verifiers" / "results.jsonl", LOGS / "verifiers" / "traces.jsonl"
    for log, questions in ((old, ("0", "1", "2")), (new, ("sum-0", "sum-1", "sum-2"))):
        counts = read_logs([f"m@4={log}"], ANY)
        assert counts.questions == questions and counts.depths == (4.0,)
        assert counts.n.ravel().tolist() == [4, 4, 4] and counts.c.ravel().tolist() == [2, 0, 3]
    assert read_logs([str(new)], ANY).policies == ("mock/sampler",)
    assert read_logs([str(old)], ScoreRule("correct")).c.sum() == 5
    assert "did you mean 'length'?" in complaint(old, rule=ScoreRule("lenght"))
    shutil.copy(old, tmp_path)
    write(tmp_path, "metadata.json", '{"model": "some/model"}')
    assert read_logs([str(tmp_path / "results.jsonl")], ANY).policies == ("some/model",)
    two = json.loads(new.read_text().splitlines()[0])
    two["traces"] *= 2
    assert "an episode of 2 agents" in complaint(write(tmp_path, "two.jsonl", json.dumps(two)))
