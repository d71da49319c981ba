"""What a claim is, what evidence says about it, and how the two become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reproduce.cost.paper_scale import load_paper_scale
from reproduce.cost.profile import PAPER
from theory.inference import holm

Decision = Literal["supported", "refuted", "inconclusive", "withheld"]


@dataclass(frozen=True)
class Evidence:
    """What the records say about one claim."""

    effect: float
    """The statistic, in `unit_of_effect`."""
    low: float
    high: float
    """Interval of the effect."""
    confidence: float
    """Level of the interval: 0.95, or 0.90 for an equivalence test at 5 %."""
    interval_method: str
    p_value: float | None
    """Of the registered test; None for a claim that is descriptive."""
    minimum_detectable_effect: float | None
    """Smallest true effect found with 80 % power at the observed spread; for equivalence, the margin that would be
    met."""
    in_favour: bool
    """Whether effect and interval lie where the claim says; needed, with the adjusted p, for support."""
    against: bool
    """Whether the claim's criterion for refutation is met."""
    seeds: int
    questions: int
    unit_of_effect: str = "points"
    details: tuple[tuple[str, str], ...] = ()
    """Further rows for the report: label and value."""
    seeds_needed: int | None = None
    """Seeds that would settle an inconclusive claim at the observed effect and spread; None if not finite."""


@dataclass(frozen=True)
class Claim:
    """A falsifiable sentence, fixed before any run."""

    identifier: str
    statement: str
    published: str
    """The paper's number, in words."""
    provenance: str
    """Where that number was read."""
    test: str
    """Statistic and test."""
    refuted_if: str
    examine: Callable[[Any], Evidence]
    """From the paper's records to evidence."""
    figures: tuple[str, ...] = ()
    """Names of the figures that show it."""
    full_only: str = ""
    """Why the profiles `laptop` and `gpu` do not test it; empty for a claim that every profile tests."""


@dataclass(frozen=True)
class Check:
    """What came of trying an exact identity."""

    cases: int
    """Cases tried."""
    failures: int
    """Cases in which it does not hold."""
    details: tuple[tuple[str, str], ...] = ()
    """Further rows for the report: label and value."""


@dataclass(frozen=True)
class Identity:
    """A claim that is exact: it holds in every case or fails. Not part of the family of tests."""

    identifier: str
    statement: str
    published: str
    provenance: str
    test: str
    """How it is tried."""
    examine: Callable[[], Check]
    """Tries it anew; needs no records."""


@dataclass(frozen=True)
class Verdict:
    """A claim, its evidence, and the decision after correction over the family."""

    claim: Claim
    evidence: Evidence
    adjusted_p: float | None
    decision: Decision


HEADLINES_ONLY = ("laptop", "gpu")
"""Profiles that leave out the claims with a `full_only`."""


def tested_claims(claims: Sequence[Claim], profile: str) -> tuple[Claim, ...]:
    """The claims that this profile tests: the family that is corrected."""
    return tuple(claim for claim in claims if not reason_untested(claim, profile))


def reason_untested(claim: Claim, profile: str) -> str:
    """Why this profile does not test a claim; empty where it does."""
    if profile in HEADLINES_ONLY:
        return claim.full_only
    if profile == PAPER:
        reasons = {entry.claim: entry.reason for entry in load_paper_scale(claim.identifier.partition(".")[0]).untested}
        return reasons.get(claim.identifier, "")
    return ""


def decide(claims: Sequence[Claim], records: Any, alpha: float = 0.05) -> tuple[Verdict, ...]:
    """Examine every claim that the records' profile tests and correct the family's p-values by Holm. The smoke
    profile's verdicts are withheld."""
    claims = tested_claims(claims, records.experiment["profile"])
    evidence = [claim.examine(records) for claim in claims]
    tested = {place: found.p_value for place, found in enumerate(evidence) if found.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True)) if tested else {}
    verdicts = []
    for place, (claim, found) in enumerate(zip(claims, evidence, strict=True)):
        p = adjusted.get(place)
        significant = p is None or p <= alpha
        decision: Decision = "inconclusive"
        if records.experiment["profile"] == "smoke":
            decision = "withheld"
        elif found.against:
            decision = "refuted"
        elif found.in_favour and significant:
            decision = "supported"
        verdicts.append(Verdict(claim, found, p, decision))
    return tuple(verdicts)
