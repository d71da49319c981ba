"""The report: every number from the evidence, the same bytes for the same records, one line for bad records."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reproduce.claims import verdict_file
from reproduce.claims.grid import load_records
from reproduce.claims.power import Outlook
from reproduce.claims.tests import all_hold, superiority
from reproduce.claims.verdicts import Claim, Corrected, Verdict, decide
from reproduce.core.config import PolicyConfig
from reproduce.core.files import UserError
from reproduce.environments.retrieval.vocabulary import words
from reproduce.papers.pass_kt.paper import PAPER as pass_kt
from reproduce.report.appendix import parameters
from reproduce.report.claim_text import explain
from reproduce.report.pages import write_report
from reproduce.report.text import count, effect_text, number, over_seeds, plain, probability, table
from reproduce.rollouts.policies import build_model, build_tokenizer
from tests.reproduce.simulated_records import write_simulated_records

SMOKE = {"seeds": 2, "questions": 4, "samples": 8, "profile": "smoke"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Records at smoke sizes, and the folder of their report."""
    folder = tmp_path_factory.mktemp("smoke")
    write_simulated_records(folder / "records", np.random.default_rng(1), **SMOKE)
    write_report(pass_kt, folder / "records", folder / "report")
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    write_simulated_records(folder / "records", np.random.default_rng(2), gain=5.0, questions=12, samples=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict_file, "REPLICATIONS", 10)
        patch.setattr(verdict_file, "RELABELLINGS", 4)
        write_report(pass_kt, folder / "records", folder / "report")
    return folder


def test_the_same_records_give_the_same_bytes(smoke, tmp_path):
    pdf = write_report(pass_kt, smoke / "records", tmp_path)
    assert pdf == tmp_path / "report.pdf"
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 11
    for file in files:
        assert (tmp_path / file).read_bytes() == (smoke / "report" / file).read_bytes(), file


def verdict_rows(folder):
    text = (folder / "report" / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    body = text.split("| Claim | Effect", 1)[1].split("\n\n", 1)[0]
    return text, [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in body.splitlines()[2:]]


def test_the_verdict_table_and_the_file_of_verdicts_are_the_evidence(planted):
    _, rows = verdict_rows(planted)
    verdicts = decide(pass_kt.claims, load_records(planted / "records"))
    filed = {one["claim"]: one for one in json.loads((planted / "report" / "verdicts.json").read_text())["claims"]}
    assert len(rows) == len(verdicts) == len(pass_kt.claims) == len(filed)
    ordered = sorted(verdicts, key=lambda verdict: verdict.claim.family)
    for (claim, effect, p, corrected, detectable, decision), verdict in zip(rows, ordered, strict=True):
        part, own = verdict.told, filed[verdict.claim.identifier]
        assert claim.startswith(verdict.claim.identifier.removeprefix("pass_kt."))
        shown = [float(value.replace("−", "-")) for value in re.findall(r"[+−]?\d+\.\d", effect)]
        wanted = [part.effect, *part.interval]
        assert shown == pytest.approx([round(value, 1) for value in wanted])
        deciding = own["parts"][own["deciding"]]
        assert [deciding[name] for name in ("effect", "low", "high")] == pytest.approx(wanted, rel=1e-4)
        assert ("(90 %)" in effect) == (part.confidence == 0.9)
        for cell, value in ((p, verdict.evidence.p_value), (corrected, verdict.adjusted_p)):
            assert cell in ("–", "< 0.0001") or float(cell) == round(value, 4)
            assert (cell == "–") == (value is None)
        if own["detectable"]:
            shown = [float(value.replace("−", "-")) for value in detectable.split(" / ")]
            assert shown == pytest.approx([own["detectable"][name] for name in ("before", "after")], abs=0.06)
        assert decision == verdict.decision == own["verdict"]


def test_a_planted_gain_passes_the_control_and_every_figure_is_shown_once(planted):
    text, _ = verdict_rows(planted)
    assert "**Positive control:**" in text
    assert "tasks; passed." in text
    pictures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(pictures) == len(set(pictures)) == 8
    assert all((planted / "report" / picture).is_file() for picture in pictures)


def test_a_report_says_what_its_profile_cannot_show(planted, smoke):
    text, _ = verdict_rows(planted)
    size = f"{parameters(load_records(planted / 'records').experiment['policy']) / 1e6:.2f} M-parameter policy"
    assert size in text
    assert "does not repeat the paper's experiment (Qwen2.5-7B-Instruct)" in text
    assert "not read in the paper itself" in text
    text, rows = verdict_rows(smoke)
    assert {row[-1] for row in rows} == {"withheld"}
    assert "all verdicts are withheld" in text


def test_no_missing_number_and_no_path_of_this_machine(planted, smoke):
    for folder in (planted, smoke):
        text, _ = verdict_rows(folder)
        assert not re.search(r"\b(nan|inf|None)\b", text)
        assert str(folder) not in text
        assert "/home" not in text


def test_sections_come_in_order(smoke):
    text, _ = verdict_rows(smoke)
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[: len(pass_kt.claims)] == [claim.identifier for claim in pass_kt.claims]
    assert "Calibration" not in headings
    assert headings[-4:] == ["Manifest", "Cost", "Configuration", "Deviations from the paper"]
    assert "The base and the bed" in headings
    for manifest in load_records(smoke / "records").runs:
        assert manifest["config_digest"][:12] in text
        assert all(digest in text for digest in manifest["panels"].values())


def test_rates_of_zero_and_one_everywhere_still_give_a_report(smoke, tmp_path):
    for path in (smoke / "records").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    counts = pd.read_parquet(tmp_path / "counts.parquet")
    counts["successes"] = counts["n"].where(counts["question"].str.endswith("0"), 0).astype("int16")
    pq.write_table(pa.Table.from_pandas(counts, preserve_index=False), tmp_path / "counts.parquet")
    assert write_report(pass_kt, tmp_path, tmp_path / "report").is_file()
    assert not re.search(r"\b(nan|inf)\b", (tmp_path / "report" / "report.md").read_text(encoding="utf-8"))


def lose_file(folder):
    (folder / "runs.jsonl").unlink()


def truncate(folder):
    path = folder / "counts.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def tear_row(folder):
    path = folder / "runs.jsonl"
    path.write_text(path.read_text()[:-40])


def lose_column(folder):
    counts = pd.read_parquet(folder / "counts.parquet").drop(columns="half")
    pq.write_table(pa.Table.from_pandas(counts), folder / "counts.parquet")


def lose_question(folder):
    counts = pd.read_parquet(folder / "counts.parquet")
    pq.write_table(pa.Table.from_pandas(counts.drop(index=counts.index[3])), folder / "counts.parquet")


def keep_one_seed(folder):
    counts = pd.read_parquet(folder / "counts.parquet")
    pq.write_table(pa.Table.from_pandas(counts[counts["seed"] == 0]), folder / "counts.parquet")


def lose_setting(folder):
    experiment = json.loads((folder / "experiment.json").read_text())
    del experiment["evaluation"]
    (folder / "experiment.json").write_text(json.dumps(experiment))


def rename_paper(folder):
    path = folder / "runs.jsonl"
    path.write_text(path.read_text().replace('"paper": "pass_kt"', '"paper": "echorl"'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_file, r"runs.jsonl: no such file"),
        (truncate, r"counts.parquet, row \d+: damaged .*--redo"),
        (tear_row, r"runs.jsonl, row 4: damaged"),
        (lose_column, r"counts.parquet: lacks half"),
        (lose_question, r"some run lacks questions: base on test static at T = 0"),
        (keep_one_seed, r"records of 1 seed"),
        (lose_setting, r"experiment.json: lacks evaluation"),
        (rename_paper, r"records of echorl, not of pass_kt"),
    ],
)
def test_bad_records_are_one_line(smoke, tmp_path, damage, message):
    for path in (smoke / "records").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        write_report(pass_kt, tmp_path, tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "report" / "report.md").exists()


PART = superiority(np.array([1.0, 3.0, -0.5, 2.0, 1.5, 0.5, -1.0, 1.5]), 1.0)
CLAIM = Claim("p.c", "It holds.", "1", "digest A", "t", "it is below 0", lambda records: PART)
OUTLOOK = Outlook(1.4, 1.9, "23 seeds would support it with 80 % power, corrected; here are 8.")


@pytest.mark.parametrize(
    ("decision", "change", "p", "said"),
    [
        ("withheld", {}, 0.2, "Withheld: .* smoke profile"),
        (
            "supported",
            {"in_favour": True},
            0.01,
            r"Supported: .*\+1\.0 \[−0\.1, \+2\.1\] points.* p = 0\.0100 after correction \(at 0\.025\)",
        ),
        ("supported", {"support": None}, None, "Supported: .* descriptive"),
        ("refuted", {"against": True}, 0.9, r"Refuted: .*\(p = 0\.0120 .*: it is below 0"),
        ("not testable", {}, None, "Not testable here: the reason"),
        ("no premise", {}, 0.5, "No premise: the reason"),
        ("inconclusive", {"in_favour": True}, 0.2, r"but p = 0\.2000 after .* above 0\.025.* 23 seeds .* here are 8"),
        ("inconclusive", {"in_favour": False}, 0.9, "neither the claim nor its refutation"),
    ],
)
def test_verdicts_are_explained(decision, change, p, said):
    evidence = all_hold(replace(PART, **change))
    verdict = Verdict(CLAIM, evidence, Corrected(0.025, p, 0.012), decision, reason="the reason")
    assert re.match(rf".*{said}", explain(verdict, OUTLOOK))


def test_numbers_in_words():
    assert [number(value, 1, signed=True) for value in (1.25, -0.04, -3.0, float("nan"))] == [
        "+1.2",
        "0.0",
        "−3.0",
        "–",
    ]
    assert [count(1234567), count(None)] == ["1,234,567", "–"]
    assert [probability(0.00001), probability(0.00001, "p"), probability(0.5, "p")] == [
        "< 0.0001",
        "p < 0.0001",
        "p = 0.5000",
    ]
    assert over_seeds([0.1, 0.3, float("nan")], 1) == "0.2 (0.1–0.3)"
    assert effect_text(PART) == "+1.0 [−0.1, +2.1] points"
    assert plain("+-5 | -1.5 a-b 95 % k = 4").replace("\u00a0", "_") == "±5 \\| −1.5 a-b 95_% k_=_4"
    assert table(("a", "b"), [("x|y", "1")], numbers=(1,)).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]


def test_parameters_are_those_of_the_model():
    config = PolicyConfig(layers=2, width=32, heads=2, feed_forward=64)
    model = build_model(config, build_tokenizer(words()), 0)
    assert parameters(vars(config)) == model.num_parameters() == sum(weight.numel() for weight in model.parameters())
