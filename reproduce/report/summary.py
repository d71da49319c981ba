"""All papers on one page, from their files of verdicts alone: counts, a forest plot, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from reproduce.core.files import UserError, write_text
from reproduce.report.colours import BASE, INK, OTHER, QUIET, TRAINED
from reproduce.report.document import DocumentError, markdown_to_pdf
from reproduce.report.figures import canvas, save
from reproduce.report.text import listed, plain, table

VERDICTS = ("supported", "refuted", "inconclusive", "not testable", "no premise", "withheld")
LOOKS = {
    "supported": (OTHER, "o"),
    "refuted": (TRAINED, "X"),
    "inconclusive": (INK, "s"),
    "not testable": (QUIET, "D"),
    "no premise": (QUIET, "v"),
    "withheld": (BASE, "."),
}
WIDEST = 6.0
"""Smallest effects of interest, either way, that the plot shows; what lies beyond is an arrow at its edge."""
Content = Mapping[str, Any]


def write_summary(papers: Sequence[Content], profile: str, destination: Path) -> Path:
    """Write `README.md`, `summary.pdf` and `summary.svg` into a folder; returns the path of the PDF.

    papers: contents of files of verdicts. Raises UserError where the PDF cannot be made.
    """
    destination.mkdir(parents=True, exist_ok=True)
    picture = forest_plot(papers, destination / "summary.svg")
    text = "\n\n".join(
        [
            "# What the replications found",
            plain(_opening(papers, profile)),
            _counts(papers),
            f"![{plain(_caption())}]({picture.name})",
            *(part for content in papers for part in _paper(content)),
        ]
    )
    readme = destination / "README.md"
    write_text(readme, text + "\n")
    try:
        markdown_to_pdf(readme, destination / "summary.pdf")
    except DocumentError as error:
        raise UserError(str(error)) from error
    return destination / "summary.pdf"


def _opening(papers: Sequence[Content], profile: str) -> str:
    claims = [one for content in papers for one in content["claims"]]
    counted = [(verdict, sum(one["verdict"] == verdict for one in claims)) for verdict in VERDICTS]
    shares = listed([f"{count} {verdict}" for verdict, count in counted if count])
    exact = [one["verdict"] for content in papers for one in content["exact"]]
    calibrated = [content["paper"] for content in papers if content["calibrated"]]
    targets = (
        "The calibration of every report meets its targets."
        if len(calibrated) == len(papers)
        else f"The calibration meets its targets in {listed(calibrated) or 'no report'}."
    )
    return (
        f"{len(papers)} papers, {len(claims)} claims tested at the profile {profile}: {shares}; of {len(exact)} exact "
        f"claims {sum(verdict == 'holds' for verdict in exact)} hold. Policies of this size say whether a mechanism "
        f"works as claimed, not what a model of the papers' size reaches. {targets} This page is made from the "
        "verdicts.json of each report alone."
    )


def _counts(papers: Sequence[Content]) -> str:
    rows = []
    for content in papers:
        found = [one["verdict"] for one in content["claims"]]
        rows.append((content["paper"], *(str(found.count(verdict)) for verdict in VERDICTS[:-1])))
    return table(("Paper", *VERDICTS[:-1]), rows, numbers=range(1, len(VERDICTS)))


def _caption() -> str:
    return (
        "Every measured claim, the part with the largest p (of a refuted claim the one that refutes it), in units of "
        "its smallest effect of interest, or of its "
        "margin: a superiority holds to the right of 0 and reaches the smallest effect that matters at 1 (dotted); an "
        "equivalence holds between -1 and 1, a non-inferiority to the right of -1. Bars: intervals at 95 %, at 90 % "
        "for equivalence; what lies further out is cut at the edge. Grey: decides nothing here."
    )


def forest_plot(papers: Sequence[Content], path: Path) -> Path:
    """Draw every measured claim of all papers, one row each; returns the path."""
    rows = [
        (content["paper"], one["claim"].partition(".")[2], one["verdict"], one["parts"][one["deciding"]]["standard"])
        for content in papers
        for one in content["claims"]
        if one["parts"] and None not in one["parts"][one["deciding"]]["standard"]
    ]
    with canvas(height=0.15 * len(rows) + 0.9) as drawing:
        axes = drawing.subplots()
        labelled: set[str] = set()
        for place, (_, _, verdict, standard) in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
            _draw_row(axes, place, verdict, standard, "" if verdict in labelled else verdict)
            labelled.add(verdict)
        axes.axvline(0, color=INK, linewidth=0.8)
        for bound in (-1, 1):
            axes.axvline(bound, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows) - 1, -1, -1), [f"{paper}: {name}" for paper, name, *_ in rows])
        axes.set_ylim(-1, len(rows))
        axes.set_xlim(-1.08 * WIDEST, 1.08 * WIDEST)
        axes.set_xlabel("effect in smallest effects of interest")
        drawing.legend(loc="outside lower center", ncols=len(labelled))
        return save(drawing, path)


def _draw_row(axes: Axes, place: int, verdict: str, standard: Sequence[float], label: str) -> None:
    """One claim: a mark and its interval, with an arrow at the edge for what lies beyond."""
    colour, marker = LOOKS[verdict]
    value, *given = standard
    ends = [min(max(end, -WIDEST), WIDEST) for end in given]
    axes.plot(ends, [place, place], color=colour)
    for end, wanted, arrow in zip(ends, given, ("<", ">"), strict=True):
        if end != wanted or (abs(value) > WIDEST and (end == WIDEST) == (value > 0)):
            axes.plot([end], [place], marker=arrow, color=colour, linestyle="none")
    if abs(value) <= WIDEST:
        axes.plot([value], [place], marker=marker, color=colour, markersize=4.5, linestyle="none")
    if label:
        axes.plot([], [], marker=marker, color=colour, markersize=5, linestyle="none", label=label)


def _paper(content: Content) -> list[str]:
    """Heading, and two sentences for somebody who trains agents."""
    decided = [one for one in content["claims"] if one["meaning"]]
    means = [one["meaning"] for one in sorted(decided, key=lambda one: one["family"])]
    open_claims = [
        f"{one['claim'].partition('.')[2]} ({one['verdict']})"
        for one in content["claims"]
        if one["family"] == "headline" and one["verdict"] not in ("supported", "refuted")
    ]
    first = (
        f"For somebody who trains agents: {'; '.join(means)}."
        if means
        else "For somebody who trains agents: nothing yet, for no headline claim is decided at this size."
    )
    second = (
        f"Left open, of the headline claims: {listed(open_claims)}."
        if open_claims
        else "No headline claim is left open."
    )
    name = f"{content['profile']}/{content['paper']}/report.md"
    return [f"## {plain(content['title'])}", plain(f"{first} {second}"), f"[Report]({name})"]
