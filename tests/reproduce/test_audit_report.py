"""The audit's report: every row names its source, and the committed report is what the published numbers give."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pypdf import PdfReader

from reproduce.claims.published import load_published, published_papers
from reproduce.cli.audit import all_audits, markdown_of
from reproduce.cli.command_line import main
from reproduce.report.audit_tables import Analysis

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audits():
    return all_audits()


def test_every_paper_is_audited_once_and_every_table_is_complete(audits) -> None:
    assert sorted(audit.paper for audit in audits) == list(published_papers())
    assert [len(audit.analyses) for audit in audits] == [18, 7, 12, 16]
    for audit in audits:
        assert len({found.identifier for found in audit.analyses}) == len(audit.analyses)
        for found in audit.analyses:
            assert len(found.data) and len(found.table) and (found.table != "").all(axis=None)
            assert found.reading.endswith(".") and "nan" not in f"{found.reading} {found.table.to_string()}"


def test_rows_name_their_sources(audits) -> None:
    sources = {(audit.paper, found.identifier): set(found.table.source) for audit in audits for found in audit.analyses}
    assert all(found == {"digest"} for (paper, _), found in sources.items() if paper in ("pass_kt", "reuserl"))
    mixed = {
        ("resets", "score-means"): {"paper", "digest"},
        ("resets", "power"): {"paper", "own calculation"},
        ("resets", "base-group"): {"own calculation"},
        ("echorl", "coverage"): {"paper"},
        ("echorl", "loss-scale"): {"paper"},
        **{("echorl", name): {"own calculation"} for name in ("seeds", "selection-toy", "short-steps")},
    }
    for case, found in sources.items():
        assert found == mixed.get(case, {"paper"} if case[0] == "resets" else {"digest"})
    read = {audit.paper for audit in audits if any(number.read_directly for number in load_published(audit.paper))}
    assert read == {"echorl", "resets"}


def test_the_committed_report_is_what_the_numbers_give(audits) -> None:
    written = (ROOT / "reports/published/report.md").read_text(encoding="utf-8")
    assert markdown_of(audits) == written, "run `python -m reproduce audit`"


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--out", str(tmp_path / "audit")]) == 0
    assert "0.2188" in capsys.readouterr().out
    pages = PdfReader(tmp_path / "audit/report.pdf").pages
    assert "What the published numbers support" in pages[0].extract_text()
    assert (tmp_path / "audit/report.pdf").read_bytes() == (ROOT / "reports/published/report.pdf").read_bytes()


def test_a_table_with_columns_of_two_lengths_or_of_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        _ = Analysis("a", "A", "?", pd.DataFrame(), {"x": ["1"], "y": ["1", "2"]}, "").table
    with pytest.raises(ValueError, match="source 'blog'"):
        _ = Analysis("a", "A", "?", pd.DataFrame(), {"x": ["1"]}, "", source="blog").table
