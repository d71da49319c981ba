"""What a report says about one claim: its table, its parts, and why the verdict is what it is."""

from __future__ import annotations

from collections.abc import Sequence

from reproduce.claims.evidence import Part
from reproduce.claims.power import Outlook
from reproduce.claims.verdicts import Verdict, bounds
from reproduce.report.text import NOTHING, effect_text, interval, listed, number, plain, probability, table


def claim_page(verdict: Verdict, outlook: Outlook | None, reference: str, picture: str) -> str:
    """The section of a claim. reference: a sentence on its figures; picture: a figure as Markdown, or ""."""
    claim, evidence = verdict.claim, verdict.evidence
    rows = [("Paper", f"{claim.published}; {claim.provenance}")]
    if evidence.parts:
        rows.append(("Ours", effect_text(verdict.told)))
        rows.append(("Interval", _interval(verdict.told)))
    rows += [("Test", claim.test), ("Refuted if", claim.refuted_if)]
    if verdict.adjusted_p is not None:
        rows.append(("Corrected p", _corrected(verdict)))
    if outlook is not None and outlook.before is not None:
        rows.append(("Detectable", _detectable(verdict.told, outlook)))
    if outlook is not None and outlook.shares:
        rows.append(("Spread", _spread(outlook)))
    rows += [
        (f"Gate, {one.gate.label}", _reading(one.figure, one.gate.unit, bounds(one.gate), one.passed))
        for one in verdict.readings
    ]
    word, _, reason = explain(verdict, outlook).partition(":")
    parts = [
        f"## {plain(claim.identifier)}",
        table(("Claim", claim.statement), rows),
        f"**{word}:** {plain(f'{reason} {reference}')}",
    ]
    if len(evidence.parts) > 1:
        parts.append(_parts(evidence.parts, len(evidence.must_hold)))
    if details := evidence.rows():
        parts.append(details_table(details))
    return "\n\n".join([*parts, picture] if picture else parts)


def _interval(part: Part) -> str:
    sizes = f"{len(part.sample.known)} seeds"
    if part.sample.tasks > 1:
        sizes += f", {part.sample.tasks} tasks"
    return f"{100 * part.confidence:.0f} %, {part.method}; {sizes}"


def _corrected(verdict: Verdict) -> str:
    family = f"{verdict.claim.family} family at {verdict.corrected.level:g}"
    return (
        f"{probability(verdict.adjusted_p)} for the claim, {probability(verdict.corrected.adjusted_refutation)} for "
        f"its refutation; {family}"
    )


def _detectable(part: Part, outlook: Outlook) -> str:
    before, after = (
        number(value, digits_of(part)) if value is not None else NOTHING for value in (outlook.before, outlook.after)
    )
    if part.rule.kind == "equivalence":
        return f"a margin of {before} {part.rule.unit} before correction and {after} after, where truly equal"
    return f"{before} {part.rule.unit} before correction, {after} after, by test and interval"


def digits_of(part: Part) -> int:
    """Decimals in which a part is told: two for ratios and small figures, else one."""
    return 2 if part.rule.ratio or (abs(part.effect) < 2 and part.rule.unit != "points") else 1


def _spread(outlook: Outlook) -> str:
    shares = listed([f"{number(share, 0)} % {name}" for name, share in outlook.shares])
    return f"of the estimate's variance {shares}"


def _reading(figure: float, unit: str, wanted: str, passed: bool) -> str:
    return f"{figure:.4g} {unit}, {wanted}: {'passed' if passed else 'failed'}"


def _parts(parts: Sequence[Part], required: int) -> str:
    rows = []
    for place, part in enumerate(parts):
        low, high = part.interval
        signed = part.rule.unit == "points"
        digits = digits_of(part)
        rows.append(
            (
                part.label + ("" if place < required else " (for refutation only)"),
                f"{number(part.effect, digits, signed)} {interval(low, high, digits, signed)} {part.rule.unit}",
                probability(part.p_value),
                probability(part.p_refuted),
            )
        )
    return table(("Part", "Effect [interval]", "p of the part", "p of its refutation"), rows, numbers=(2, 3))


def details_table(details: Sequence[tuple[str, str]]) -> str:
    """Label and value; two pairs a row where they are short and many."""
    longest = max(len(label) + len(value) for label, value in details)
    if len(details) < 4 or longest > 50:
        return table(("Detail", "Value"), details)
    half = (len(details) + 1) // 2
    right = [*details[half:], *[("", "")] * (2 * half - len(details))]
    rows = [(*one, *other) for one, other in zip(details[:half], right, strict=True)]
    return table(("Detail", "Value", "Detail", "Value"), rows)


def explain(verdict: Verdict, outlook: Outlook | None = None) -> str:
    """Why the verdict is what it is, `Word: reason`, from the claim and its evidence alone."""
    evidence = verdict.evidence
    match verdict.decision:
        case "withheld":
            return "Withheld: the sizes of the smoke profile cannot settle a claim; it shows that every part runs."
        case "not testable":
            return f"Not testable here: {verdict.reason}. The figures above are shown, and decide nothing."
        case "no premise":
            return f"No premise: {verdict.reason}, and without it this claim says nothing."
    found = f"the effect, {effect_text(verdict.told)},"
    corrected = f"{probability(verdict.adjusted_p, 'p')} after correction"
    level = f"{verdict.corrected.level:g}"
    if verdict.decision == "refuted":
        against = probability(verdict.corrected.adjusted_refutation, "p")
        tail = "" if verdict.adjusted_p is None else f" ({against} after correction, at {level})"
        return f"Refuted: {found} meets the criterion fixed in advance{tail}: {verdict.claim.refuted_if}."
    if verdict.decision == "supported" and verdict.adjusted_p is None:
        return f"Supported: {found} lies where the claim puts it. The claim is descriptive: it has no test."
    if verdict.decision == "supported":
        return f"Supported: {found} lies where the claim puts it, with its interval, and {corrected} (at {level})."
    if evidence.in_favour and verdict.adjusted_p is not None:
        reason = f"{found} lies where the claim puts it, with its interval, but {corrected} is above {level}"
    else:
        reason = f"{found} with its interval shows neither the claim nor its refutation"
    return f"Inconclusive: {reason}. {outlook.needed if outlook else ''}".rstrip()
