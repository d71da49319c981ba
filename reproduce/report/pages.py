"""The report of an experiment, from its records alone: Markdown, figures, PDF, and the verdicts as data.

The same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduce.claims.calibration import Calibration
from reproduce.claims.evidence import Part
from reproduce.claims.published import load_published, load_settings
from reproduce.claims.tests import POWER
from reproduce.claims.verdict_file import Judgement, judge_records, verdict_content
from reproduce.claims.verdicts import HEADLINES_ONLY, Check, Identity, Verdict, levels
from reproduce.core.files import UserError, write_json, write_text
from reproduce.core.paper import Paper
from reproduce.report.appendix import appendix, model_name, scale_deviation
from reproduce.report.claim_text import claim_page, details_table, digits_of
from reproduce.report.document import DocumentError, markdown_to_pdf
from reproduce.report.figures import Figure
from reproduce.report.text import NOTHING, Section, count, effect_text, listed, number, plain, probability, table

CONTROL_ALPHA = 0.01
"""Level of the positive control: whether training worked at all should not be in doubt."""


def write_report(paper: Paper, records: Path, destination: Path) -> Path:
    """Write `report.md`, `report.pdf`, `verdicts.json` and `figures/` into `destination`; returns the path of the PDF.

    Raises UserError as `write_markdown` does, and where the PDF cannot be made.
    """
    markdown = write_markdown(paper, records, destination)
    try:
        markdown_to_pdf(markdown, destination / "report.pdf")
    except DocumentError as error:
        raise UserError(str(error)) from error
    return destination / "report.pdf"


def write_markdown(paper: Paper, records: Path, destination: Path) -> Path:
    """Write `report.md`, `verdicts.json` and `figures/` into `destination`; returns the path of the text.

    Raises UserError, in one line, when records are missing, damaged, of another paper, or too few for an interval.
    """
    judgement, reporting = judge_records(paper, records), paper.load_reporting()
    content = judgement.records
    try:
        controls = reporting.positive_controls(content)
        figures = reporting.draw_figures(content, destination / "figures")
        sections = reporting.further_sections(content)
    except ValueError as error:
        # The estimators refuse a grid with holes: cells, questions or episodes that some run lacks.
        raise UserError(f"{records}: cannot be evaluated ({' '.join(str(error).split())})") from error
    gallery = _Gallery(figures, destination)
    parts = [
        _first_page(judgement, controls),
        *_identities(judgement.checks),
        *(
            claim_page(one, judgement.outlooks.get(one.claim.identifier), *gallery.show(one.claim.figures))
            for one in judgement.verdicts
        ),
        *_untested(judgement),
        *(_section(section, gallery) for section in sections),
        *([calibration_section(paper.key, judgement.calibration)] if judgement.calibration else []),
        appendix(content, next(iter(paper.profiles.values())), _deviations(paper, content.experiment)),
    ]
    write_text(destination / "report.md", "\n\n".join(parts) + "\n")
    write_json(destination / "verdicts.json", verdict_content(judgement))
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


def _first_page(judgement: Judgement, controls: Sequence[tuple[str, Part]]) -> str:
    paper = judgement.paper
    address = f"https://arxiv.org/abs/{paper.arxiv}"
    return "\n\n".join(
        [
            f"# {plain(paper.title)}",
            f"Report on the claims of [arXiv {plain(paper.arxiv)}]({address}). {plain(paper.summary)}",
            _scope(paper, judgement.records),
            verdict_table(judgement),
            plain(_note(judgement.verdicts)),
            _controls(controls, judgement.records),
        ]
    )


def verdict_table(judgement: Judgement) -> str:
    """One row for each claim, headline claims first."""
    rows = []
    for verdict in sorted(judgement.verdicts, key=lambda one: one.claim.family):
        evidence, outlook = verdict.evidence, judgement.outlooks.get(verdict.claim.identifier)
        name = verdict.claim.identifier.rpartition(".")[2]
        effect, detectable = "not measured", NOTHING
        if evidence.parts:
            part = verdict.told
            effect = effect_text(part) + ("" if part.confidence == 0.95 else f" ({100 * part.confidence:.0f} %)")
            if outlook is not None and outlook.before is not None:
                ends = [number(value, digits_of(part)) for value in (outlook.before, outlook.after)]
                detectable = f"{ends[0]} / {ends[1]}"
        rows.append(
            (
                f"{name}. {verdict.claim.statement}",
                effect,
                probability(evidence.p_value),
                probability(verdict.adjusted_p),
                detectable,
                verdict.decision,
            )
        )
    headings = ("Claim", "Effect [95 % interval]", "p", "Corrected", "MDE", "Verdict")
    return table(headings, rows, numbers=(2, 3, 4))


def _note(verdicts: Sequence[Verdict]) -> str:
    families = levels(one.claim.family for one in verdicts if one.adjusted_p is not None)
    shares = listed([f"{family} at {100 * level:g} %" for family, level in families.items()])
    return (
        "Each claim's section defines its effect and shows every part; here stands the part with the largest p, of a "
        "refuted claim the one that refutes it. "
        "Intervals are at 95 %, at 90 % where marked (equivalence). p: one-sided, of the claim's null. Corrected: over "
        f"the measured claims of a family, fixed before any run ({shares or 'none was measured'}), by step-down maxT "
        "over the sign flips that its claims share; refutation, the test of an effect of at least the smallest of "
        "interest, is corrected over its own families and over parts. MDE, in the unit of the effect: the smallest "
        f"true effect that test and interval find with {100 * POWER:.0f} % power at the observed spread, alone at 5 % "
        "/ in its family with all other claims null; for equivalence the margin met where arms are truly equal. Not "
        "testable: a gate of the bed failed. No premise: a claim that this one rests on is refuted. "
        f"{NOTHING}: does not exist."
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


def _controls(controls: Sequence[tuple[str, Part]], records: Any) -> str:
    """Has training worked at all? Without that the claims would be about policies that have not learned."""
    rows = []
    for label, control in controls:
        passed = control.in_favour and control.p_value is not None and control.p_value < CONTROL_ALPHA
        if records.experiment["profile"] == "smoke":
            reading = "withheld at smoke sizes"
        else:
            reading = "passed" if passed else "not passed; read the verdicts with that in mind"
        sizes = f"{len(control.sample.known)} seeds, {control.sample.tasks} tasks"
        rows.append((label, effect_text(control), probability(control.p_value), sizes, reading))
    if len(rows) == 1:
        label, effect, p, sizes, reading = rows[0]
        return f"**Positive control:** {plain(f'{label}: {effect}, p = {p}, {sizes}; {reading}.')}"
    note = (
        f"training raises success, so the claims are about policies that have learned; passed at p < {CONTROL_ALPHA:g}."
    )
    headings = ("Control", "Effect [95 % interval]", "p", "Size", "Reading")
    return f"**Positive controls:** {plain(note)}\n\n{table(headings, rows, numbers=(2,))}"


def _identities(checks: Sequence[tuple[Identity, Check]]) -> list[str]:
    """Claims that are exact, tried anew each time the report is written."""
    if not checks:
        return []
    rows, details = [], []
    for identity, check in checks:
        name = identity.identifier.rpartition(".")[2]
        verdict = "fails" if check.failures else "holds"
        found = f"{count(check.cases)} cases, {count(check.failures)} failures"
        rows.append((f"{name}. {identity.statement}", identity.test, found, verdict))
        details += [(f"{name}: {label}", value) for label, value in check.details]
    headings = ("Claim", "How it was tried", "Found", "Verdict")
    parts = [
        "## Claims that are exact",
        plain("Tried anew when this report was written; no test of theirs shares a family with the claims below."),
        table(headings, rows),
    ]
    return ["\n\n".join([*parts, details_table(details)] if details else parts)]


def _untested(judgement: Judgement) -> list[str]:
    """Claims that this profile does not test, with the reason."""
    reasons, profile = judgement.untested, judgement.records.experiment["profile"]
    rows = [
        (claim.identifier.rpartition(".")[2], claim.statement, claim.test, claim.refuted_if, reasons[claim.identifier])
        for claim in judgement.paper.claims
        if claim.identifier in reasons
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


def calibration_section(key: str, found: Calibration) -> str:
    """The table of calibration, with the command that makes it."""
    errors = [
        (
            row.setting,
            row.what,
            count(row.replications),
            f"{100 * row.rate:.1f} %",
            f"{100 * row.limits[0]:.1f} to {100 * row.limits[1]:.1f} %",
            row.worst.partition(".")[2] or NOTHING,
            "met" if row.met else "missed",
        )
        for row in found.errors
    ]
    power = [
        (
            row.claim.partition(".")[2],
            "in its family" if row.corrected else "alone",
            number(row.effect, 2),
            f"{100 * row.found:.0f} %",
            "met" if row.met else "missed",
        )
        for row in found.power
    ]
    body = [
        "## Calibration",
        plain(
            "How often the way from samples to verdicts errs, tried with these records' spread by `python -m reproduce "
            f"calibrate {key}`. Simulated: new values for every seed, with the spread and the correlations of the "
            "records, and new mean squares of tasks; in each claim one part, drawn at random, lies just where the "
            "claim (or its refutation) would be false and the others beyond doubt where it would be true. Relabelled: "
            "the arms of the records exchange their names within each seed, for the claims that compare arms by "
            "success. An error is any false verdict in a report; at most 5 % are allowed, with an upper 95 % limit of "
            f"at most 7 %. Of the 95 % intervals {100 * found.coverage:.1f} % hold the truth."
        ),
        table(("Setting", "Error", "Times", "Share", "95 % limits", "Most often", "Target"), errors, numbers=(2, 3, 4)),
        plain(
            "Power: effects of the printed size (MDE) planted in one claim, the others of its family truly null; found "
            "should be 80 % (75 to 85)."
        ),
        table(("Claim", "Tested", "Planted", "Found", "Target"), power, numbers=(2, 3)),
    ]
    return "\n\n".join(body)


def _section(section: Section, gallery: _Gallery) -> str:
    pictures = [gallery.show((name,))[1] for name in section.figures]
    return "\n\n".join([f"## {plain(section.title)}", section.body, *pictures])
