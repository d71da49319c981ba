"""`verdicts.json`: every verdict of a report as data, so that replications can be set side by side.

The schema is versioned by `SCHEMA`. Numbers have six significant digits; what does not exist, or is infinite, is null.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reproduce.claims.calibration import (
    RELABELLINGS,
    REPLICATIONS,
    Calibration,
    ErrorRate,
    PowerRate,
    calibrate,
)
from reproduce.claims.evidence import Part
from reproduce.claims.power import Outlook, outlooks
from reproduce.claims.verdicts import (
    ALPHA,
    Check,
    Claim,
    Identity,
    Verdict,
    decide,
    levels,
    offered_by_records,
    untested,
)
from reproduce.core.files import UserError, read_json, write_json
from reproduce.core.hashes import read_sealed, sealed
from reproduce.core.paper import Paper

SCHEMA = 1
CALIBRATION = "calibration.json"
"""Beside the records: what `calibrate` found for them."""


@dataclass(frozen=True)
class Judgement:
    """Everything that the records of a paper say about its claims."""

    paper: Paper
    records: Any
    verdicts: tuple[Verdict, ...]
    outlooks: Mapping[str, Outlook]
    checks: tuple[tuple[Identity, Check], ...]
    calibration: Calibration | None
    """None at the smoke profile, whose verdicts are withheld, and where nothing was measured."""
    digest: str
    """sha256 of the records."""

    @property
    def untested(self) -> dict[str, str]:
        """Claims that these records do not test, with the reason."""
        return untested(self.paper.claims, offered_by_records(self.records))


def judge_records(paper: Paper, folder: Path) -> Judgement:
    """Judge the records in a folder. Calibration is taken from the file beside them, and made where there is none for
    these records and claims.

    Raises UserError when records are missing, damaged, of another paper, or too few for an interval.
    """
    records = paper.read_records(folder)
    try:
        verdicts = decide(paper.claims, records, ALPHA)
        found = outlooks(verdicts)
        checks = tuple((one, one.examine(records) if one.reads_records else one.examine()) for one in paper.identities)
        digest = records_digest(folder)
        calibration = _calibration(paper, records, verdicts, folder, digest)
    except ValueError as error:
        # The estimators refuse a grid with holes: cells, questions or episodes that some run lacks.
        raise UserError(f"{folder}: cannot be evaluated ({' '.join(str(error).split())})") from error
    return Judgement(paper, records, verdicts, found, checks, calibration, digest)


def records_digest(folder: Path) -> str:
    """sha256 over the files of the records, by name."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".parquet", ".jsonl", ".json") and path.name != CALIBRATION:
            whole.update(path.name.encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()


def _calibration(
    paper: Paper, records: Any, verdicts: Sequence[Verdict], folder: Path, digest: str
) -> Calibration | None:
    if records.experiment["profile"] == "smoke" or not any(one.evidence.parts for one in verdicts):
        return None
    path, key = folder / CALIBRATION, f"{digest} {_rules(paper.claims)}"
    if path.is_file() and (kept := read_sealed(path)).get("of") == key:
        return calibration_from(kept)
    found = calibrate(paper.claims, records, verdicts, REPLICATIONS, RELABELLINGS)
    return write_calibration(found, path, key)


def _rules(claims: Sequence[Claim]) -> str:
    """Digest of what decides: which claims there are, in which family and with which smallest effect."""
    text = repr([(one.identifier, one.family, one.smallest_effect, one.test, one.refuted_if) for one in claims])
    return hashlib.sha256(text.encode()).hexdigest()


def recalibrate(paper: Paper, folder: Path, replications: int, relabellings: int) -> Calibration:
    """Calibrate anew and keep the result beside the records. Raises UserError as `judge_records`."""
    records = paper.read_records(folder)
    verdicts = decide(paper.claims, records)
    if not any(one.evidence.parts for one in verdicts):
        raise UserError(f"{folder}: no claim was measured, so there is nothing to calibrate")
    found = calibrate(paper.claims, records, verdicts, replications, relabellings)
    key = f"{records_digest(folder)} {_rules(paper.claims)}"
    return write_calibration(found, folder / CALIBRATION, key)


def write_calibration(found: Calibration, path: Path, key: str) -> Calibration:
    """Keep a calibration; returns it as it was."""
    write_json(path, sealed({"of": key, **_rounded(asdict(found))}))
    return calibration_from(read_json(path))


def calibration_from(content: Mapping[str, Any]) -> Calibration:
    """A calibration that was kept. Raises UserError for one that cannot be read."""
    try:
        return Calibration(
            tuple(ErrorRate(**row) for row in content["errors"]),
            content["coverage"],
            tuple(PowerRate(**row) for row in content["power"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{CALIBRATION}: cannot be read ({error}); `calibrate` makes it anew") from None


# ---- The file of verdicts


def verdict_content(judgement: Judgement) -> dict[str, Any]:
    """The content of `verdicts.json`."""
    paper, records = judgement.paper, judgement.records
    families = {one.claim.family for one in judgement.verdicts if one.adjusted_p is not None}
    return _rounded(
        {
            "schema": SCHEMA,
            "paper": paper.key,
            "title": paper.title,
            "arxiv": paper.arxiv,
            "profile": records.experiment["profile"],
            "seeds": len({run["seed"] for run in records.runs}),
            "levels": levels(families),
            "records": judgement.digest,
            "panels": {name: digest for run in records.runs for name, digest in run.get("panels", {}).items()},
            "claims": [_claim_content(one, judgement.outlooks) for one in judgement.verdicts],
            "exact": [
                {"claim": one.identifier, "statement": one.statement, "verdict": "fails" if check.failures else "holds"}
                for one, check in judgement.checks
            ],
            "not tested": judgement.untested,
            "calibrated": judgement.calibration is not None and judgement.calibration.met,
        }
    )


def _claim_content(verdict: Verdict, found: Mapping[str, Outlook]) -> dict[str, Any]:
    claim, evidence = verdict.claim, verdict.evidence
    outlook = found.get(claim.identifier)
    meanings = dict(zip(("supported", "refuted"), claim.meaning, strict=True))
    content = {
        "claim": claim.identifier,
        "statement": claim.statement,
        "family": claim.family,
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "meaning": meanings.get(verdict.decision, ""),
        "p": evidence.p_value,
        "corrected p": verdict.adjusted_p,
        "corrected p of refutation": verdict.corrected.adjusted_refutation,
        "smallest effect": claim.smallest_effect,
        "detectable": {"before": outlook.before, "after": outlook.after} if outlook and outlook.before else None,
        "gates": [
            {"figure": one.figure, "of": one.gate.label, "unit": one.gate.unit, "passed": one.passed}
            for one in verdict.readings
        ],
        "parts": [part_content(part) for part in evidence.parts],
    }
    return content | ({"deciding": evidence.parts.index(verdict.told)} if evidence.parts else {})


def part_content(part: Part) -> dict[str, Any]:
    """One part of a claim as data; `standard` is effect and interval in units of the smallest effect of interest."""
    low, high = part.interval
    return {
        "label": part.label,
        "effect": part.effect,
        "low": low,
        "high": high,
        "confidence": part.confidence,
        "unit": part.rule.unit,
        "p": part.p_value,
        "p of refutation": part.p_refuted,
        "seeds": len(part.sample.known),
        "tasks": part.sample.tasks if part.sample.tasks > 1 else None,
        "standard": [in_smallest_effects(part, value) for value in (part.sample.estimate, part.low, part.high)],
    }


def in_smallest_effects(part: Part, value: float) -> float:
    """A value of the sample in units of the smallest effect of interest from the null, or of the margin from 0."""
    rule = part.rule
    if rule.kind in ("equivalence", "difference"):
        return value / rule.margin if rule.margin else float("nan")
    if rule.smallest_effect != rule.null:
        return (value - rule.null) / (rule.smallest_effect - rule.null)
    return value / abs(rule.null) if rule.null else float("nan")


def _rounded(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(name): _rounded(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    if isinstance(content, float):
        return float(f"{content:.6g}") if math.isfinite(content) else None
    return content


def read_verdicts(path: Path) -> dict[str, Any]:
    """The content of a file of verdicts, or of the one in a folder. Raises UserError for another schema."""
    file = path / "verdicts.json" if path.is_dir() else path
    content = read_json(file)
    if not isinstance(content, dict) or not {"schema", "paper", "claims"} <= set(content):
        raise UserError(f"{file}: is no file of verdicts")
    if content["schema"] != SCHEMA:
        raise UserError(f"{file}: schema {content['schema']}, this package reads {SCHEMA}")
    return content


@dataclass(frozen=True)
class Compared:
    """One claim in two files of verdicts."""

    claim: str
    theirs: str
    """Verdict; `absent` where the file has none."""
    ours: str
    effects: tuple[float | None, float | None]
    difference: tuple[float, float, float] | None
    """Ours minus theirs with its 95 % interval, both samples taken as independent."""
    unit: str

    @property
    def same(self) -> bool:
        """Whether the verdicts agree."""
        return self.theirs == self.ours


def compare_verdicts(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[Compared, ...]:
    """Two replications side by side, claim by claim. Raises UserError for different papers."""
    if theirs["paper"] != ours["paper"]:
        raise UserError(f"verdicts of {theirs['paper']} and of {ours['paper']} cannot be compared")
    sides = [{one["claim"]: one for one in side["claims"]} for side in (theirs, ours)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return tuple(_compared(name, sides[0].get(name), sides[1].get(name)) for name in names)


def _compared(name: str, theirs: Mapping[str, Any] | None, ours: Mapping[str, Any] | None) -> Compared:
    verdicts = [one["verdict"] if one else "absent" for one in (theirs, ours)]
    # The same part on both sides: the one that decides theirs.
    place = (theirs or ours or {}).get("deciding")
    parts = [
        one["parts"][place] if one and place is not None and place < len(one["parts"]) else None
        for one in (theirs, ours)
    ]
    known = [part for part in parts if part is not None and None not in (part["effect"], part["low"], part["high"])]
    effects = tuple(part["effect"] if part else None for part in parts)
    difference = None
    if len(known) == 2:
        change = known[1]["effect"] - known[0]["effect"]
        # Half-widths at 95 %, from 90 % where the part is an equivalence.
        half = math.hypot(
            *((one["high"] - one["low"]) / 2 * (1.96 / 1.645 if one["confidence"] < 0.95 else 1) for one in known)
        )
        difference = (change, change - half, change + half)
    unit = next((part["unit"] for part in parts if part), "")
    return Compared(name, verdicts[0], verdicts[1], (effects[0], effects[1]), difference, unit)
