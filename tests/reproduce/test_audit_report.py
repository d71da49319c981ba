"""The audit's report: every row names its source, and the committed report is what the published numbers give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from reproduce.claims.published import load_published, published_papers
from reproduce.cli.audit import all_audits, markdown_of
from reproduce.cli.command_line import main
from reproduce.report.audit_tables import AuditRow, AuditTable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audits():
    return all_audits()


def test_every_paper_is_audited_once(audits) -> None:
    assert sorted(audit.paper for audit in audits) == list(published_papers())
    for audit in audits:
        identifiers = [found.identifier for found in audit.tables]
        assert len(set(identifiers)) == len(identifiers) and all(found.reading for found in audit.tables)


def test_rows_of_papers_that_were_not_read_are_marked(audits) -> None:
    for audit in audits:
        if not any(number.read_directly for number in load_published(audit.paper)):
            sources = {row.source for found in audit.tables for row in found.rows}
            assert "paper" not in sources and "digest" in sources


def test_the_committed_report_is_what_the_numbers_give(audits) -> None:
    written = (ROOT / "reports/published/report.md").read_text(encoding="utf-8")
    assert markdown_of(audits) == written, "run `python -m reproduce audit`"


def test_every_row_of_every_table_ends_with_its_source(audits) -> None:
    text = markdown_of(audits)
    inside = False
    for line in text.partition("## What they say")[2].splitlines():
        if not line.startswith("|"):
            inside = False
        elif not inside:
            inside = True
            assert line.endswith("| source |")
        elif not re.fullmatch(r"[|: -]+", line):
            assert re.search(r"\| (paper|digest|own calculation) \|$", line), line


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--out", str(tmp_path / "audit")]) == 0
    assert "0.2188" in capsys.readouterr().out
    pages = PdfReader(tmp_path / "audit/report.pdf").pages
    assert "What the published numbers support" in pages[0].extract_text()
    assert (tmp_path / "audit/report.pdf").read_bytes() == (ROOT / "reports/published/report.pdf").read_bytes()


def test_a_table_with_a_row_too_short_or_of_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        AuditTable("a", "A", "?", ("x", "y"), (AuditRow(("1",), "paper"),), "")
    with pytest.raises(ValueError, match="source 'blog'"):
        AuditTable("a", "A", "?", ("x",), (AuditRow(("1",), "blog"),), "")
