"""How often the way from samples to verdicts errs, and whether it finds what it says it finds.

New samples with the spread of the records are drawn at the level that the claims read: a value for each seed, with the
correlations between claims that the seeds give, and mean squares of tasks and of the rest. Beside them the arms of the
records themselves are relabelled within seeds, which makes every comparison of arms truly null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from reproduce.claims.evidence import Evidence, Part, Sample
from reproduce.claims.power import Outlook, outlooks
from reproduce.claims.verdicts import (
    ALPHA,
    Claim,
    Corrected,
    Family,
    Verdict,
    correct,
    decision_of,
    examined,
    levels,
)

REPLICATIONS, RELABELLINGS = 1_000, 500
FAR = 8.0
"""Standard errors from its bound at which a part is beyond doubt."""
ERROR_TARGET, ERROR_LIMIT = 0.05, 0.07
"""A false verdict in any claim of a report: most, and most of the upper 95 % limit."""
POWER_TARGET = (0.75, 0.85)


@dataclass(frozen=True)
class ErrorRate:
    """How often any claim of the report was falsely decided."""

    setting: str
    what: str
    """`false support` or `false refutation`."""
    replications: int
    errors: int
    worst: str
    """The claim that erred most, with its count; empty where none did."""

    @property
    def rate(self) -> float:
        """Share of the replications."""
        return self.errors / self.replications

    @property
    def limits(self) -> tuple[float, float]:
        """Exact 95 % limits of the share."""
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(self.errors, self.replications, alpha=0.05, method="beta")
        return float(low), float(high)

    @property
    def met(self) -> bool:
        """Whether the target is met: at most 5 % within the simulation's error, its upper limit at most 7 %."""
        return self.limits[0] <= ERROR_TARGET and self.limits[1] <= ERROR_LIMIT


@dataclass(frozen=True)
class PowerRate:
    """How often a claim was supported with a planted effect of the printed size."""

    claim: str
    effect: float
    found: float
    corrected: bool
    """Whether it was the effect after correction, found in the family."""

    @property
    def met(self) -> bool:
        """Whether it was found in about 80 %."""
        return POWER_TARGET[0] <= self.found <= POWER_TARGET[1]


@dataclass(frozen=True)
class Calibration:
    """What came of all replications."""

    errors: tuple[ErrorRate, ...]
    coverage: float
    """Share of the 95 % intervals of parts that held the truth, where every claim is null."""
    power: tuple[PowerRate, ...]

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return all(row.met for row in self.errors) and all(row.met for row in self.power)


@dataclass(frozen=True)
class Families:
    """The measured claims, and the families that they were corrected in."""

    evidence: Mapping[str, Evidence]
    families: Mapping[str, Family]

    def decisions(self, evidence: Mapping[str, Evidence]) -> dict[str, str]:
        """The verdicts on other evidence of these claims."""
        corrected = correct(evidence, self.families)
        return {name: decision_of(own, corrected[name]) for name, own in evidence.items()}


def calibrate(
    claims: Sequence[Claim],
    records: Any,
    verdicts: Sequence[Verdict],
    replications: int = REPLICATIONS,
    relabellings: int = RELABELLINGS,
) -> Calibration:
    """Replicate the way to the verdicts. verdicts: those of the records; replications: of each kind."""
    # Gates are properties of the bed: errors are counted with the claims that they shut out on these records.
    found = {
        one.claim.identifier: one.evidence
        for one in verdicts
        if one.evidence.parts and all(part.rule.kind != "other" for part in one.evidence.parts)
    }
    measured = Families(found, {claim.identifier: claim.family for claim in claims})
    simulator = _Simulator(measured, np.random.default_rng(0))
    coverage = list[bool]()
    null = (_simulated(simulator, coverage, measured, "null") for _ in range(replications))
    smallest = (_simulated(simulator, None, measured, "smallest") for _ in range(replications))
    errors = [
        _count("simulated, null", "supported", null),
        _count("simulated, at the smallest effect", "refuted", smallest),
    ]
    by_labels = [claim for claim in claims if claim.by_labels and claim.identifier in found]
    if by_labels:
        draw = partial(_relabelled, by_labels, records, np.random.default_rng(1), {})
        drawn = [draw() for _ in range(relabellings)]
        errors.append(_count("records relabelled", "supported", (measured.decisions(one) for one in drawn)))
        planted = (measured.decisions({name: _planted(own) for name, own in one.items()}) for one in drawn)
        errors.append(_count("records relabelled, smallest effect planted", "refuted", planted))
    # The printed effects are those of the families that were corrected.
    corrected = {one.claim.identifier for one in verdicts if one.adjusted_p is not None}
    printed = replace(measured, evidence={name: own for name, own in found.items() if name in corrected})
    return Calibration(tuple(errors), float(np.mean(coverage)), tuple(_powers(simulator, printed, replications)))


def _count(setting: str, what: str, replications: Iterable[Mapping[str, str]]) -> ErrorRate:
    errors, count, by_claim = 0, 0, dict[str, int]()
    for decisions in replications:
        wrong = [name for name, decision in decisions.items() if decision == what]
        count, errors = count + 1, errors + bool(wrong)
        for name in wrong:
            by_claim[name] = by_claim.get(name, 0) + 1
    worst = max(by_claim, key=lambda name: by_claim[name], default="")
    kind = "false support" if what == "supported" else "false refutation"
    return ErrorRate(setting, kind, count, errors, worst and f"{worst} ({by_claim[worst]})")


class _Simulator:
    """Draws evidence of all claims at once, with the spread and the correlations of the records."""

    def __init__(self, measured: Families, generator: np.random.Generator) -> None:
        self.measured, self.generator = measured, generator
        self.parts = {name: own.parts for name, own in measured.evidence.items()}
        every = [part for parts in self.parts.values() for part in parts]
        residuals = [np.nan_to_num(part.sample.seed_means - part.sample.estimate) for part in every]
        seeds = len(residuals[0])
        known = np.array([len(part.sample.known) for part in every])
        self.factor = np.stack(residuals, axis=1) / np.sqrt(known - 1)
        sizes = [len(parts) for parts in self.parts.values()]
        self.first = dict(zip(self.parts, np.cumsum([0, *sizes]).tolist(), strict=False))
        self.seeds = seeds

    def draw(self, means: Mapping[str, Sequence[float]]) -> dict[str, Evidence]:
        """Evidence of the claims named, where their parts have these true means."""
        noise = self.generator.standard_normal((self.seeds, self.seeds)) @ self.factor
        found = {}
        for name, own in means.items():
            first = self.first[name]
            samples = [
                self._sample(part.sample, mean + noise[:, first + place])
                for place, (part, mean) in enumerate(zip(self.parts[name], own, strict=True))
            ]
            found[name] = self.measured.evidence[name].judged_anew(samples)
        return found

    def _sample(self, like: Sample, values: np.ndarray) -> Sample:
        values = np.where(np.isfinite(like.seed_means), values, np.nan)
        if like.tasks < 2:
            return Sample(values)
        offset = self.generator.standard_normal() * like.task_variance**0.5
        freedom = like.tasks - 1
        rest = freedom * (len(like.known) - 1)
        return Sample(
            values + offset,
            like.tasks,
            like.task_square * self.generator.chisquare(freedom) / freedom,
            like.residual_square * self.generator.chisquare(rest) / rest,
        )

    def true_means(self, name: str, where: str) -> list[float]:
        """True means of the parts of a claim that make a verdict on it just false.

        null: one part, drawn at random, lies at its bound and the others beyond doubt where the claim says; smallest:
        the same with the smallest effect of interest, in each group of parts that would refute.
        """
        evidence = self.measured.evidence[name]
        if where == "bound":
            return [_bound(part) for part in evidence.parts]
        if where == "null":
            chosen = int(self.generator.integers(len(evidence.must_hold)))
            return [_bound(part) if at == chosen else _inside(part) for at, part in enumerate(evidence.parts)]
        edges = {int(self.generator.choice(group)) for group in evidence.groups}
        return [_edge(part) if at in edges else _outside(part) for at, part in enumerate(evidence.parts)]


def _bound(part: Part) -> float:
    """Where the claim just fails to be true."""
    return part.rule.margin if part.rule.kind == "equivalence" else part.rule.null


def _inside(part: Part) -> float:
    """Where the part is beyond doubt."""
    return 0.0 if part.rule.kind == "equivalence" else part.rule.null + FAR * part.sample.error[0]


def _edge(part: Part) -> float:
    """Where the refutation just fails to be true."""
    return part.rule.smallest_effect if part.rule.kind == "superiority" else part.rule.margin


def _outside(part: Part) -> float:
    """Where the part is beyond doubt refuted."""
    far = FAR * part.sample.error[0]
    if part.rule.kind == "difference":
        return 0.0
    return part.rule.margin + far if part.rule.kind == "equivalence" else part.rule.smallest_effect - far


def _simulated(simulator: _Simulator, coverage: list[bool] | None, measured: Families, where: str) -> Mapping[str, str]:
    means = {name: simulator.true_means(name, where) for name in measured.evidence}
    drawn = simulator.draw(means)
    if coverage is not None:
        for name, evidence in drawn.items():
            for part, mean in zip(evidence.parts, means[name], strict=True):
                if part.confidence == 0.95:
                    coverage.append(part.low <= mean <= part.high)
    return measured.decisions(drawn)


def _powers(simulator: _Simulator, measured: Families, replications: int) -> list[PowerRate]:
    """Plant each claim's printed effects while every other claim is truly null."""
    claims = [_stub(name, measured.families[name]) for name in measured.evidence]
    corrected = correct(measured.evidence, measured.families)
    verdicts = [
        Verdict(claim, measured.evidence[claim.identifier], corrected[claim.identifier], "inconclusive")
        for claim in claims
    ]
    found: dict[str, Outlook] = outlooks(verdicts)
    rates = []
    for name, outlook in found.items():
        for effect, alone in ((outlook.before, True), (outlook.after, False)):
            if effect is not None and np.isfinite(effect):
                share = _share_found(simulator, measured, name, effect, alone, replications)
                rates.append(PowerRate(name, effect, share, not alone))
    return rates


def _stub(name: str, family: Family) -> Claim:
    return Claim(name, "", "", "", "", "", lambda records: Evidence(), family=family)


def _share_found(
    simulator: _Simulator, measured: Families, name: str, effect: float, alone: bool, replications: int
) -> float:
    evidence = measured.evidence[name]
    level = levels(measured.families[other] for other in measured.evidence)[measured.families[name]]
    required = len(evidence.must_hold)
    ratio = evidence.parts[0].rule.ratio
    raw = float(np.log(effect)) if ratio else effect
    equivalence = evidence.parts[0].rule.kind == "equivalence"
    first = next((part for part in evidence.must_hold if part.rule.kind == "superiority"), evidence.parts[0])
    members = [other for other in measured.evidence if measured.families[other] == measured.families[name]]
    means = {other: simulator.true_means(other, "bound") for other in ([name] if alone else members)}
    means[name] = [
        0.0 if part.rule.kind == "equivalence" else part.rule.null + raw - first.rule.null
        for part in evidence.parts[:required]
    ] + means[name][required:]
    hits = 0
    for _ in range(replications):
        drawn = simulator.draw(means)
        if equivalence:
            drawn[name] = _with_margin(drawn[name], raw)
        own: Corrected = correct(drawn, measured.families, ALPHA if alone else level)[name]
        hits += decision_of(drawn[name], own) == "supported"
    return hits / replications


def _with_margin(evidence: Evidence, margin: float) -> Evidence:
    parts = tuple(replace(part, rule=replace(part.rule, margin=margin)) for part in evidence.parts)
    return replace(evidence, parts=parts).judged_anew([part.sample for part in parts])


# ---- Relabelling


class _Relabelled:
    """Records whose arms have exchanged their names within each seed; only success and counts are read from them."""

    def __init__(self, records: Any, generator: np.random.Generator, tables: dict[Any, Any]) -> None:
        self.records, self.tables = records, tables
        self.names = _exchanged(records, generator)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    def _rows(self, arm: str, environment: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        names = self.names.get(environment, ())
        sources = [own.get(arm, arm) for own in names]
        found = {source: read(source) for source in dict.fromkeys(sources)}
        return np.stack([found[source][seed] for seed, source in enumerate(sources)])

    def _known(self, key: Any, read: Callable[[], Any]) -> Any:
        if key not in self.tables:
            self.tables[key] = read()
        return self.tables[key]

    def table(
        self, environment: str, arm: str, column: str, panel: str = "test", category: str | None = None
    ) -> np.ndarray:
        """As of the records, rows exchanged."""

        def read(source: str) -> np.ndarray:
            key = (environment, source, column, panel, category)
            table: np.ndarray = self._known(key, lambda: self.records.table(*key))
            return table

        return self._rows(arm, environment, read)

    def success(self, environment: str, arm: str, panel: str = "test", category: str | None = None) -> np.ndarray:
        """Success rates in points."""
        successes, n = (self.table(environment, arm, name, panel, category) for name in ("successes", "n"))
        return 100 * successes / n

    def counts_of(
        self, arm: str, category: str, cap: int, estimator: str = "independent", half: int = 0, panel: str = "test"
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of the records, rows exchanged; a second sample keeps its name."""

        def read(source: str) -> tuple[np.ndarray, np.ndarray]:
            key = (source, category, cap, estimator, half, panel)
            counts: tuple[np.ndarray, np.ndarray] = self._known(key, lambda: self.records.counts_of(*key))
            return counts

        if half:
            return read(arm)
        (environment,) = self.names
        n, successes = (self._rows(arm, environment, lambda one, at=at: read(one)[at]) for at in (0, 1))  # type: ignore[misc]
        return n, successes


def _exchanged(records: Any, generator: np.random.Generator) -> dict[str, list[dict[str, str]]]:
    """For each environment and seed, whose rows each arm gets."""
    found = {}
    for environment, arms in _trained(tuple((str(run["run"]), run["arm"]) for run in records.runs)).items():
        found[environment] = [
            dict(zip(arms, generator.permutation(arms).tolist(), strict=True)) for _ in range(_seeds(records))
        ]
    return found


def _seeds(records: Any) -> int:
    return len({run["seed"] for run in records.runs})


@cache
def _trained(runs: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    """The arms that are exchanged: the trained ones, and the base where there is one of them only."""
    found: dict[str, dict[str, None]] = {}
    for run, arm in runs:
        found.setdefault(run.partition("/")[0], {})[arm] = None
    exchanged = {place: [arm for arm in arms if arm not in ("base", "frozen")] for place, arms in found.items()}
    return {place: arms if len(arms) > 1 else ["base", *arms] for place, arms in exchanged.items()}


def _relabelled(
    claims: Sequence[Claim], records: Any, generator: np.random.Generator, tables: dict[Any, Any]
) -> dict[str, Evidence]:
    exchanged = _Relabelled(records, generator, tables)
    return {claim.identifier: examined(claim, exchanged) for claim in claims}


def _planted(evidence: Evidence) -> Evidence:
    """The same with the smallest effect of interest added to every part."""
    return evidence.judged_anew([part.sample.shifted(part.rule.smallest_effect) for part in evidence.parts])
