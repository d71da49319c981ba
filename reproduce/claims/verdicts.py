"""What a claim is, what it needs, and how evidence becomes a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from reproduce.claims.evidence import Evidence, NotMeasured, Part, not_measured
from theory.step_down import Component, step_down_maxt

Decision = Literal["supported", "refuted", "inconclusive", "not testable", "no premise", "withheld"]
Family = Literal["headline", "secondary"]
FAMILIES: tuple[Family, ...] = ("headline", "secondary")
ALPHA = 0.05
"""Chance of any false support in a report, and of any false refutation."""


@dataclass(frozen=True)
class Offer:
    """What a plan, or the records of one, have to offer to claims."""

    runs: frozenset[tuple[str, str]]
    """Environment and arm of every run."""
    seeds: int
    experiment: Mapping[str, Any]
    """The configuration."""

    def setting(self, name: str) -> Any:
        """A field of the configuration, its parts joined by dots; None where there is none."""
        found: Any = self.experiment
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def offered_by_plan(plan: Iterable[Any], configuration: Any) -> Offer:
    """What a plan will have. plan: runs with environment, arm and seed; configuration: a dataclass or a mapping."""
    runs = list(plan)
    experiment = configuration if isinstance(configuration, Mapping) else asdict(configuration)
    found = frozenset((run.environment, run.arm) for run in runs)
    return Offer(found, len({run.seed for run in runs}), experiment)


def offered_by_records(records: Any) -> Offer:
    """What records have."""
    runs = frozenset((str(run["run"]).partition("/")[0], run["arm"]) for run in records.runs)
    return Offer(runs, len({run["seed"] for run in records.runs}), records.experiment)


@dataclass(frozen=True)
class Needs:
    """What a claim needs to be tested; from it follows where it is not, and why."""

    arms: tuple[str | tuple[str, ...], ...] = ()
    """All of them, in one environment; of several in brackets, any one."""
    environments: tuple[str, ...] = ()
    """Those that count; empty for any."""
    seeds: int = 2
    """Fewest seeds."""
    settings: tuple[tuple[str, int, str], ...] = ()
    """Field of the configuration, the least value, and what it stands for."""
    absent: tuple[tuple[str, str], ...] = ()
    """Field of the configuration that must be empty, and why."""

    def unmet(self, offer: Offer) -> str:
        """Why what is offered does not suffice; empty where it does."""
        places = sorted({environment for environment, _ in offer.runs})
        usable = [place for place in places if not self.environments or place in self.environments]
        reasons = []
        if not usable:
            reasons.append(f"needs {' or '.join(self.environments)}, which is not in the plan")
        elif lacking := min((self._lacking(offer, place) for place in usable), key=len):
            reasons.append(f"needs {'the arm' if len(lacking) == 1 else 'the arms'} {_listed(lacking)}")
        # The smoke profile runs every part, and withholds what comes of it.
        if offer.seeds < self.seeds and offer.setting("profile") != "smoke":
            reasons.append(f"needs {self.seeds} seeds to have power, here are {offer.seeds}")
        for name, least, meaning in self.settings:
            if (offer.setting(name) or 0) < least:
                reasons.append(f"needs {meaning}")
        reasons += [meaning for name, meaning in self.absent if offer.setting(name)]
        return "; ".join(reasons)

    def _lacking(self, offer: Offer, place: str) -> list[str]:
        """The first name of each arm that an environment lacks."""
        wanted = [(arm,) if isinstance(arm, str) else arm for arm in self.arms]
        return [names[0] for names in wanted if not any((place, name) in offer.runs for name in names)]


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


@dataclass(frozen=True)
class Gate:
    """A property of the bed, measured before any verdict is read: outside its bounds the claim is not testable here."""

    label: str
    measure: Callable[[Any], float]
    """From the paper's records to the figure."""
    least: float = -np.inf
    most: float = np.inf
    unit: str = "%"


@dataclass(frozen=True)
class Reading:
    """A gate's figure."""

    gate: Gate
    figure: float

    @property
    def passed(self) -> bool:
        """Whether the figure lies within the bounds; what does not exist does not."""
        return self.gate.least <= self.figure <= self.gate.most


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
    examine: Callable[[Any], Evidence | Part]
    """From the paper's records to evidence; a part alone is the whole of it."""
    figures: tuple[str, ...] = ()
    """Names of the figures that show it."""
    needs: Needs = Needs()
    family: Family = "headline"
    smallest_effect: float | None = None
    """The smallest effect of interest in the unit of the effect; None where a margin is registered instead."""
    gates: tuple[Gate, ...] = ()
    premise: str = ""
    """Identifier of a claim without which this one says nothing."""
    meaning: tuple[str, str] = ("", "")
    """For somebody who trains agents, half a sentence each: if it is supported, and if it is refuted."""
    by_labels: bool = False
    """Whether it compares arms by their success alone, so that to permute the arms' labels makes it false."""


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
    examine: Callable[..., Check]
    """Tries it anew."""
    reads_records: bool = False
    """Whether `examine` is given the records; most identities need none."""


@dataclass(frozen=True)
class Corrected:
    """The two p of a claim after correction over its family, and the level that they are held against."""

    level: float
    adjusted_p: float | None = None
    adjusted_refutation: float | None = None
    """Of the group of parts that refutes most clearly."""
    refuted: bool = False
    """Whether a group of parts is refuted, test and interval."""


@dataclass(frozen=True)
class Verdict:
    """A claim, its evidence, and the decision after correction over the family."""

    claim: Claim
    evidence: Evidence
    corrected: Corrected
    decision: Decision
    readings: tuple[Reading, ...] = ()
    reason: str = ""
    """Why a claim is not testable, or has no premise."""

    @property
    def adjusted_p(self) -> float | None:
        """p of the claim after correction; None where it has none."""
        return self.corrected.adjusted_p

    @property
    def told(self) -> Part:
        """The part told where there is room for one: of a refuted claim the one that refutes most clearly, else the
        one with the largest p."""
        parts = self.evidence.parts
        groups = [group for group in self.evidence.groups if all(parts[place].against for place in group)]
        if self.decision != "refuted" or not groups:
            return self.evidence.deciding
        against = [parts[place] for place in dict.fromkeys(place for group in groups for place in group)]
        return min(against, key=lambda part: (1.0 if part.p_refuted is None else part.p_refuted, part.effect))


def untested(claims: Sequence[Claim], offer: Offer) -> dict[str, str]:
    """Why some claims are not tested with what is offered, by their identifiers."""
    reasons = {claim.identifier: claim.needs.unmet(offer) for claim in claims}
    return {name: reason for name, reason in reasons.items() if reason}


def claims_tested(claims: Sequence[Claim], offer: Offer) -> tuple[Claim, ...]:
    """The claims that are tested with what is offered."""
    left_out = untested(claims, offer)
    return tuple(claim for claim in claims if claim.identifier not in left_out)


def decide(claims: Sequence[Claim], records: Any, alpha: float = ALPHA) -> tuple[Verdict, ...]:
    """Examine every claim that the records can test, and correct over the families of those that were measured.

    A claim whose gate fails, or whose statistic does not exist, is not testable and enters no family. The smoke
    profile's verdicts are withheld.
    """
    claims = claims_tested(claims, offered_by_records(records))
    readings = {one.identifier: tuple(Reading(gate, gate.measure(records)) for gate in one.gates) for one in claims}
    evidence = {one.identifier: examined(one, records) for one in claims}
    measured = {name: found for name, found in evidence.items() if found.parts}
    testable = {name: found for name, found in measured.items() if all(gate.passed for gate in readings[name])}
    families = {claim.identifier: claim.family for claim in claims}
    corrected = correct(testable, families, alpha)
    found = {name: decision_of(own, corrected[name]) for name, own in testable.items()}
    verdicts = []
    for claim in claims:
        name, decision, reason = claim.identifier, found.get(claim.identifier, "not testable"), ""
        if decision == "not testable":
            reason = _failed(readings[name]) or evidence[name].missing
        elif found.get(claim.premise) == "refuted":
            decision, reason = "no premise", f"{claim.premise} is refuted"
        if records.experiment["profile"] == "smoke":
            decision = "withheld"
        own = corrected.get(name, Corrected(alpha))
        verdicts.append(Verdict(claim, evidence[name], own, decision, readings[name], reason))
    return tuple(verdicts)


def examined(claim: Claim, records: Any) -> Evidence:
    """The evidence of a claim; without parts where its statistic does not exist."""
    try:
        found = claim.examine(records)
    except NotMeasured as error:
        return not_measured(str(error))
    return Evidence((found,)) if isinstance(found, Part) else found


def _failed(readings: Sequence[Reading]) -> str:
    failed = [reading for reading in readings if not reading.passed]
    return "; ".join(f"{one.gate.label}: {one.figure:.4g} {one.gate.unit}, {bounds(one.gate)}" for one in failed)


def bounds(gate: Gate) -> str:
    """What a gate asks for, in words."""
    if np.isinf(gate.least):
        return f"must be at most {gate.most:g}"
    return f"must be at least {gate.least:g}" if np.isinf(gate.most) else f"must be {gate.least:g} to {gate.most:g}"


def levels(families: Iterable[Family], alpha: float = ALPHA) -> dict[Family, float]:
    """The level of each family that is present: all of alpha for one, an equal share for two."""
    found = set(families)
    present = [family for family in FAMILIES if family in found]
    return {family: alpha / len(present) for family in present}


def correct(
    evidence: Mapping[str, Evidence], families: Mapping[str, Family], alpha: float = ALPHA
) -> dict[str, Corrected]:
    """Correct support and refutation of measured claims, each over its family.

    In support a claim is one hypothesis, all of whose parts must be shown; in refutation each group of parts that
    would refute it is one. Sign flips over seeds are corrected by step-down maxT. They take the tasks as they are, so
    that where tasks are random too the p of the crossed t is corrected beside them (Holm), and the larger counts.
    """
    tested = {name: own for name, own in evidence.items() if not own.descriptive}
    found = {name: Corrected(alpha) for name in evidence}
    for family, level in levels((families[name] for name in tested), alpha).items():
        names = [name for name in tested if families[name] == family]
        support = [_components(part.support for part in tested[name].must_hold) for name in names]
        groups = [(name, group) for name in names for group in tested[name].groups]
        refuting = [_components(tested[name].parts[place].refutation for place in group) for name, group in groups]
        by_tasks = [
            [part.by_tasks[0] for part in tested[name].must_hold if part.by_tasks is not None] for name in names
        ]
        against = [
            [own.by_tasks[1] for place in group if (own := tested[name].parts[place]).by_tasks is not None]
            for name, group in groups
        ]
        p_support, p_refutation = _both(support, by_tasks), _both(refuting, against)
        for place, name in enumerate(names):
            ours = [(p_refutation[at], group) for at, (other, group) in enumerate(groups) if other == name]
            refuted = any(p <= level and all(tested[name].parts[part].against for part in group) for p, group in ours)
            least = float(min(p for p, _ in ours))
            found[name] = Corrected(level, float(p_support[place]), least, refuted)
    return found


def _both(hypotheses: Sequence[tuple[Component, ...]], by_tasks: Sequence[Sequence[float]]) -> np.ndarray:
    """Adjusted p by sign flips, and by the crossed t where a hypothesis has such p: the larger."""
    adjusted = step_down_maxt(hypotheses, np.random.default_rng(0))
    random = [place for place, own in enumerate(by_tasks) if own]
    if random:
        crossed = step_down_maxt([(Component(p_value=max(by_tasks[place])),) for place in random])
        adjusted[random] = np.maximum(adjusted[random], crossed)
    return adjusted


def _components(found: Iterable[Component | None]) -> tuple[Component, ...]:
    return tuple(component for component in found if component is not None)


def decision_of(evidence: Evidence, corrected: Corrected) -> Decision:
    """Supported where every interval lies where the claim says and the corrected p is small; refuted where a group of
    parts surely misses the smallest effect of interest. A descriptive claim has its intervals alone."""
    if corrected.adjusted_p is None:
        against = any(all(evidence.parts[place].against for place in group) for group in evidence.groups)
        return "refuted" if against else "supported" if evidence.in_favour else "inconclusive"
    if corrected.refuted:
        return "refuted"
    return "supported" if evidence.in_favour and corrected.adjusted_p <= corrected.level else "inconclusive"


HEADLINES_ONLY = ("laptop", "gpu")
"""Profiles whose plans leave out the arms of further claims."""
