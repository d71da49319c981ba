"""The audit as Markdown and PDF. The same published numbers give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from reproduce.claims.published import load_published, published_paper
from reproduce.core.files import UserError, write_text
from reproduce.core.paper import load_paper, paper_keys
from reproduce.report.audit_tables import DIGEST, OURS, PAPER, Analysis, PaperAudit
from reproduce.report.document import DocumentError, markdown_to_pdf
from reproduce.report.text import plain, table

TITLE = "What the published numbers support"
LEGEND = (
    (PAPER, "every number of the row was read in the paper itself, its figures or its released code"),
    (DIGEST, "at least one number comes from a third party's digest of the paper and may differ from what it prints"),
    (OURS, "no published number enters, such as the size of a design that would have been enough"),
)
_NUMBER = re.compile(r"[<≤≥>~≈]?\s*[+−-]?[\d.,]+(?:\s*%)?(?:\s*[±(\[].*)?|–|")


def all_audits() -> tuple[PaperAudit, ...]:
    """The audit of every paper that has one."""
    loaders = (load_paper(key).load_audit for key in paper_keys())
    return tuple(load() for load in loaders if load is not None)


def write_audit(destination: Path, console: Console) -> Path:
    """Write `report.md` and `report.pdf` into `destination`, say on the console what was found; returns the PDF."""
    audits = all_audits()
    write_text(destination / "report.md", markdown_of(audits))
    try:
        markdown_to_pdf(destination / "report.md", destination / "report.pdf")
    except DocumentError as error:
        raise UserError(str(error)) from error
    for audit in audits:
        console.print(Text(published_paper(audit.paper).title, style="bold"))
        for found in audit.analyses:
            console.print(Text(f"  {found.identifier}: {found.reading}"))
    console.print(Text(f"{destination / 'report.pdf'}"), soft_wrap=True)
    return destination / "report.pdf"


def markdown_of(audits: Sequence[PaperAudit]) -> str:
    """The whole report."""
    return "\n\n".join([_first_page(audits), *(_paper(audit) for audit in audits)]) + "\n"


def _first_page(audits: Sequence[PaperAudit]) -> str:
    rows = []
    for audit in audits:
        numbers = load_published(audit.paper)
        direct = sum(number.read_directly for number in numbers)
        document = published_paper(audit.paper)
        rows.append((document.title, document.arxiv, str(len(numbers)), str(direct), str(len(audit.analyses))))
    legend = "\n".join(f"- **{name}**: {meaning}." for name, meaning in LEGEND)
    readings = "\n\n".join(_readings(audit) for audit in audits)
    headings = ("paper", "arXiv", "published numbers", "of them read directly", "re-analyses")
    return "\n\n".join(
        (
            f"# {TITLE}",
            "Everything here is recomputed by `python -m reproduce audit` from the numbers the four papers printed "
            "(`reproduce/papers/*/published.toml`, each with its source). No model is trained or run: this says what "
            "the published evidence can carry, not whether a claim is true. Intervals are 95 % and tests two-sided at "
            "5 % unless a table says otherwise.",
            "## The numbers",
            table(headings, rows, numbers=(2, 3, 4)),
            "Every row of every table names its source:",
            legend,
            "## What they say",
            readings,
        )
    )


def _readings(audit: PaperAudit) -> str:
    lines = "\n".join(f"- {plain(found.reading)}" for found in audit.analyses)
    return f"**{plain(published_paper(audit.paper).title)}**\n\n{lines}"


def _paper(audit: PaperAudit) -> str:
    document = published_paper(audit.paper)
    heading = f"## {plain(document.title)}"
    return "\n\n".join((heading, plain(audit.provenance), *(_analysis(found) for found in audit.analyses)))


def _analysis(found: Analysis) -> str:
    cells = found.table
    numeric = [place for place, column in enumerate(cells) if all(map(_NUMBER.fullmatch, cells[column]))]
    parts = [
        f"### {plain(found.title)}",
        plain(found.question),
        table(list(cells), cells.to_numpy(), numbers=numeric),
        plain(found.reading),
    ]
    if found.notes:
        parts.append("\n".join(f"- {plain(note)}" for note in found.notes))
    return "\n\n".join(parts)
