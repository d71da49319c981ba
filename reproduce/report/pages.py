"""The report of an experiment, from its records alone: Markdown, figures, PDF. The same records give the same bytes.

A paper's module brings KEY, TITLE, ARXIV, CLAIMS, SUMMARY, DEVIATIONS, `read_records(folder)`, `scope(records)`,
`positive_controls(records)` and `draw_figures(records, folder)`; with IDENTITIES it may add claims that are exact, with
`further_sections(records)` sections after its claims.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduce.claims.published import load_published, load_settings
from reproduce.claims.tests import POWER
from reproduce.claims.verdicts import HEADLINES_ONLY, Evidence, Identity, Verdict, decide, reason_untested
from reproduce.core.files import UserError, write_text
from reproduce.core.paper import Paper
from reproduce.report.appendix import appendix, model_name, scale_deviation
from reproduce.report.document import DocumentError, markdown_to_pdf
from reproduce.report.figures import Figure
from reproduce.report.text import NOTHING, Section, count, effect_text, listed, number, plain, probability, table

ALPHA = 0.05
NOT_MEASURED = "not measured"
"""Label of a detail that says why a claim, or a part of it, could not be examined."""
CONTROL_ALPHA = 0.01
"""Level of the positive control: whether training worked at all should not be in doubt."""


def write_report(paper: Paper, records: Path, destination: Path) -> Path:
    """Write `report.md`, `report.pdf` and `figures/` into `destination`; returns the path of the PDF.

    Raises UserError as `write_markdown` does, and where the PDF cannot be made.
    """
    markdown = write_markdown(paper, records, destination)
    try:
        markdown_to_pdf(markdown, destination / "report.pdf")
    except DocumentError as error:
        raise UserError(str(error)) from error
    return destination / "report.pdf"


def write_markdown(paper: Paper, records: Path, destination: Path) -> Path:
    """Write `report.md` and `figures/` into `destination`; returns the path of the text.

    Raises UserError, in one line, when records are missing, damaged, of another paper, or too few for an interval.
    """
    content, reporting = paper.read_records(records), paper.load_reporting()
    try:
        verdicts = decide(paper.claims, content, ALPHA)
        controls = reporting.positive_controls(content)
        figures = reporting.draw_figures(content, destination / "figures")
        sections = reporting.further_sections(content)
    except ValueError as error:
        # The estimators refuse a grid with holes: cells, questions or episodes that some run lacks.
        raise UserError(f"{records}: cannot be evaluated ({' '.join(str(error).split())})") from error
    gallery = _Gallery(figures, destination)
    parts = [
        _first_page(paper, content, verdicts, controls),
        *_identities(paper.identities),
        *(_claim(verdict, gallery) for verdict in verdicts),
        *_untested(paper, content),
        *(_section(section, gallery) for section in sections),
        appendix(content, next(iter(paper.profiles.values())), _deviations(paper, content.experiment)),
    ]
    write_text(destination / "report.md", "\n\n".join(parts) + "\n")
    return destination / "report.md"


class _Gallery:
    """Numbers figures in the order in which they are shown; each is shown once."""

    def __init__(self, figures: Mapping[str, Figure], destination: Path) -> None:
        self.figures, self.destination = figures, destination
        self.shown: dict[str, int] = {}

    def show(self, names: tuple[str, ...]) -> tuple[str, str]:
        """A sentence that refers to these figures, and the first that was not shown yet as Markdown; "" for none.

        A figure that neither was shown nor is shown here is left to a later claim.
        """
        new = next((name for name in names if name not in self.shown), None)
        picture = ""
        if new is not None:
            self.shown[new] = len(self.shown) + 1
            figure = self.figures[new]
            picture = f"![{plain(figure.caption)}]({figure.path.relative_to(self.destination).as_posix()})"
        known = sorted(self.shown[name] for name in names if name in self.shown)
        return f"See {listed([f'Figure {place}' for place in known])}." if known else "", picture


def _first_page(
    paper: Paper, records: Any, verdicts: tuple[Verdict, ...], controls: Sequence[tuple[str, Evidence]]
) -> str:
    address = f"https://arxiv.org/abs/{paper.arxiv}"
    rows = []
    for verdict in verdicts:
        evidence = verdict.evidence
        name = verdict.claim.identifier.rpartition(".")[2]
        level = "" if evidence.confidence == 0.95 else f" ({100 * evidence.confidence:.0f} %)"
        rows.append(
            (
                f"{name}. {verdict.claim.statement}",
                effect_text(evidence) + level,
                probability(evidence.p_value),
                probability(verdict.adjusted_p),
                number(evidence.minimum_detectable_effect),
                verdict.decision,
            )
        )
    headings = ("Claim", "Effect [95 % interval]", "p", "Holm p", "MDE", "Verdict")
    note = (
        f"Each claim's section defines its effect. Intervals are at 95 %, at 90 % where marked (equivalence). Holm p: "
        f"corrected over the claims with a test, decided at {ALPHA:g}. MDE, in the unit of the effect: the smallest "
        f"true effect that one test at 5 % finds with {100 * POWER:.0f} % power at the observed spread, before Holm; "
        f"for equivalence the margin that would be met. Refutation rests on the interval alone and is not corrected "
        f"over the claims. {NOTHING}: does not exist."
    )
    return "\n\n".join(
        [
            f"# {plain(paper.title)}",
            f"Report on the claims of [arXiv {plain(paper.arxiv)}]({address}). {plain(paper.summary)}",
            _scope(paper, records),
            table(headings, rows, numbers=(2, 3, 4)),
            plain(note),
            _controls(controls, records),
        ]
    )


def _backbone(paper: Paper) -> str:
    """The model that the paper trained."""
    settings = {setting.id: str(setting.value) for setting in load_settings(paper.key)}
    return settings.get("backbone", "its own model and data")


def _deviations(paper: Paper, experiment: dict[str, Any]) -> tuple[str, ...]:
    """The paper's deviations. The first is about a policy made here, and holds only where no model is named."""
    if model_name(experiment):
        return (scale_deviation(experiment, _backbone(paper)), *paper.deviations[1:])
    return paper.deviations


def _scope(paper: Paper, records: Any) -> str:
    """What the profile can and cannot show."""
    profile = str(records.experiment["profile"])
    if profile == "smoke":
        limit = "It shows that every part runs. Its sizes cannot settle a claim, so all verdicts are withheld."
    elif profile == "paper":
        limit = (
            "It follows the paper's experiment as far as its settings are public (`python -m reproduce plan "
            f"{paper.key} --profile paper` lists each with its source; what is unstated is ours); the configuration "
            "table says what was changed."
        )
    else:
        limit = (
            f"It tests whether the mechanism works as claimed at this size. It does not repeat the paper's experiment "
            f"({_backbone(paper)}), and no verdict here is one on that model."
        )
    scope = f"{paper.load_reporting().scope(records)} {limit}{_provenance(paper)}"
    return f"**{plain(profile.capitalize())} profile:** {plain(scope)}"


def _provenance(paper: Paper) -> str:
    """How much of what is quoted was read in the paper itself."""
    published = load_published(paper.key)
    directly = sum(item.read_directly for item in published)
    if directly == len(published):
        return ""
    if not directly:
        return " The paper's numbers were not read in the paper itself but in digests of it."
    return f" Of the paper's {len(published)} numbers {directly} were read in the paper itself, the others in digests."


def _controls(controls: Sequence[tuple[str, Evidence]], records: Any) -> str:
    """Has training worked at all? Without that the claims would be about policies that have not learned."""
    rows = []
    for label, control in controls:
        passed = control.in_favour and control.p_value is not None and control.p_value < CONTROL_ALPHA
        if records.experiment["profile"] == "smoke":
            reading = "withheld at smoke sizes"
        else:
            reading = "passed" if passed else "not passed; read the verdicts with that in mind"
        sizes = f"{control.seeds} seeds, {control.questions} tasks"
        rows.append((label, effect_text(control), probability(control.p_value), sizes, reading))
    if len(rows) == 1:
        label, effect, p, sizes, reading = rows[0]
        return f"**Positive control:** {plain(f'{label}: {effect}, p = {p}, {sizes}; {reading}.')}"
    note = (
        f"training raises success, so the claims are about policies that have learned; passed at p < {CONTROL_ALPHA:g}."
    )
    headings = ("Control", "Effect [95 % interval]", "p", "Size", "Reading")
    return f"**Positive controls:** {plain(note)}\n\n{table(headings, rows, numbers=(2,))}"


def _identities(identities: Sequence[Identity]) -> list[str]:
    """Claims that are exact, tried anew each time the report is written."""
    if not identities:
        return []
    rows, details = [], []
    for identity in identities:
        check = identity.examine()
        name = identity.identifier.rpartition(".")[2]
        verdict = "fails" if check.failures else "holds"
        found = f"{count(check.cases)} cases, {count(check.failures)} failures"
        rows.append((f"{name}. {identity.statement}", identity.test, found, verdict))
        details += [(f"{name}: {label}", value) for label, value in check.details]
    headings = ("Claim", "How it was tried", "Found", "Verdict")
    parts = [
        "## Claims that are exact",
        plain("Tried anew when this report was written; they need no run and no test."),
        table(headings, rows),
    ]
    return ["\n\n".join([*parts, _details(tuple(details))] if details else parts)]


def _untested(paper: Paper, records: Any) -> list[str]:
    """Claims that this profile does not test, with the reason."""
    profile = records.experiment["profile"]
    rows = [
        (claim.identifier.rpartition(".")[2], claim.statement, claim.test, claim.refuted_if, reason)
        for claim in paper.claims
        if (reason := reason_untested(claim, profile))
    ]
    if not rows:
        return []
    only_full = profile in HEADLINES_ONLY
    return [
        "\n\n".join(
            [
                "## Claims that only the profile full tests" if only_full else "## Claims that are not tested here",
                table(("Claim", "Statement", "Test", "Refuted if", "Why not here"), rows),
            ]
        )
    ]


def _claim(verdict: Verdict, gallery: _Gallery) -> str:
    claim, evidence = verdict.claim, verdict.evidence
    found = effect_text(evidence)
    if evidence.p_value is not None:
        found += f"; {probability(evidence.p_value, 'p')}, after Holm {probability(verdict.adjusted_p)}"
    if evidence.minimum_detectable_effect is not None:
        found += f"; MDE {number(evidence.minimum_detectable_effect)} {evidence.unit_of_effect}"
    method = f"{100 * evidence.confidence:.0f} %, {evidence.interval_method}"
    rows = [
        ("Paper", f"{claim.published}; {claim.provenance}"),
        ("Ours", found),
        ("Interval", f"{method}; {evidence.seeds} seeds, {evidence.questions} questions"),
        ("Test", claim.test),
        ("Refuted if", claim.refuted_if),
    ]
    reference, picture = gallery.show(claim.figures)
    word, _, reason = explain(verdict).partition(":")
    parts = [
        f"## {plain(claim.identifier)}",
        table(("Claim", claim.statement), rows),
        f"**{word}:** {plain(f'{reason} {reference}')}",
    ]
    if evidence.details:
        parts.append(_details(evidence.details))
    return "\n\n".join([*parts, picture] if picture else parts)


def _details(details: tuple[tuple[str, str], ...]) -> str:
    """Label and value; two pairs a row where they are short and many."""
    longest = max(len(label) + len(value) for label, value in details)
    if len(details) < 4 or longest > 50:
        return table(("Detail", "Value"), details)
    half = (len(details) + 1) // 2
    right = [*details[half:], *[("", "")] * (2 * half - len(details))]
    rows = [(*one, *other) for one, other in zip(details[:half], right, strict=True)]
    return table(("Detail", "Value", "Detail", "Value"), rows)


def explain(verdict: Verdict) -> str:
    """Why the verdict is what it is, `Word: reason`, from the claim and its evidence alone."""
    evidence = verdict.evidence
    # Without a finite effect, such as a crossing that no resample shows, its absence is what was found.
    found = f"the effect, {effect_text(evidence)}," if math.isfinite(evidence.effect) else "the absence of an effect"
    corrected = f"{probability(verdict.adjusted_p, 'p')} after Holm's correction"
    match verdict.decision:
        case "withheld":
            return "Withheld: the sizes of the smoke profile cannot settle a claim; it shows that every part runs."
        case "refuted":
            return f"Refuted: {found} meets the criterion fixed in advance: {verdict.claim.refuted_if}."
        case "supported" if verdict.adjusted_p is None:
            return f"Supported: {found} lies where the claim puts it. The claim is descriptive: it has no test."
        case "supported":
            return f"Supported: {found} lies where the claim puts it, with its interval, and {corrected}."
    missing = [value for label, value in evidence.details if label == NOT_MEASURED]
    if missing and not math.isfinite(evidence.effect):
        return f"Inconclusive: it was not measured ({'; '.join(missing)})."
    if evidence.in_favour:
        reason = f"{found} lies where the claim puts it, with its interval, but {corrected} is above {ALPHA:g}"
    else:
        reason = f"{found} with its interval shows neither the claim nor its refutation"
    if evidence.confidence < 0.95:
        margin = f"{number(evidence.minimum_detectable_effect)} {evidence.unit_of_effect}"
        outlook = f"With this spread, equivalence would be shown for a margin of {margin} or more, before correction."
    elif evidence.p_value is None:
        outlook = "The claim is descriptive; no number of seeds is derived for it."
    elif evidence.seeds_needed is None:
        outlook = "If the true effect were the observed one, more seeds would not bring support."
    else:
        outlook = (
            f"If true effect and spread were the observed ones, {count(evidence.seeds_needed)} seeds would find it "
            f"with {100 * POWER:.0f} % power, before correction; here are {evidence.seeds}."
        )
    return f"Inconclusive: {reason}. {outlook}"


def _section(section: Section, gallery: _Gallery) -> str:
    pictures = [gallery.show((name,))[1] for name in section.figures]
    return "\n\n".join([f"## {plain(section.title)}", section.body, *pictures])
