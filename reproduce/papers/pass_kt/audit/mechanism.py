"""PASS@(k,T): the mechanism numbers (perplexity, unique query sequences) and the effort behind the arms."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from scipy.optimize import brentq

from reproduce.claims.published import load_settings, published_number
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import NOTHING, count, listed, number

KEY = "pass_kt"
CATEGORIES_WITH_TOOL = 2


@dataclass(frozen=True)
class RoundedAgreement:
    """A printed number beside its value recomputed from other printed numbers, with the range that rounding leaves."""

    name: str
    printed: float
    decimals: int
    recomputed: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        half = 0.5 * 10.0**-self.decimals
        return self.low <= self.printed + half and self.high >= self.printed - half


@dataclass(frozen=True)
class NoveltyNull:
    """Novelty of one sample of a policy against another of the same policy, if it yields the printed unique count.

    `spread` takes all sequences of a question as equally likely; `one_mode` takes one sequence that recurs and all
    others as never repeating. Shares of the distinct sequences of the second sample that the first does not hold.
    """

    arm: str
    unique: float
    spread: float
    one_mode: float


@dataclass(frozen=True)
class Effort:
    """Episodes of the published experiment."""

    training: int
    tuning: int
    """Expert trajectories of SFT."""
    arm: int
    """Evaluation episodes of an arm that is evaluated on all three categories."""
    three_arms: int
    """Base and RL on all categories, SFT without the static one."""


def perplexity_agreements() -> tuple[RoundedAgreement, ...]:
    """Section 5.3: log-perplexities and their ratio from the printed perplexities."""
    query, reasoning = _value("perplexity.query"), _value("perplexity.reasoning")
    half = 0.005
    logs = [
        RoundedAgreement(
            f"log-perplexity, {name}",
            _value(f"log-perplexity.{name}"),
            2,
            log(value),
            log(value - half),
            log(value + half),
        )
        for name, value in (("query", query), ("reasoning", reasoning))
    ]
    ratio = RoundedAgreement(
        "perplexity ratio, reasoning over query",
        _value("perplexity-ratio.reasoning-query"),
        2,
        reasoning / query,
        (reasoning - half) / (query + half),
        (reasoning + half) / (query - half),
    )
    return *logs, ratio


def collapse_agreement() -> RoundedAgreement:
    """Section 5.3: unique query sequences of base over SFT."""
    base, tuned, half = _value("unique-query-sequences.base"), _value("unique-query-sequences.SFT"), 0.05
    return RoundedAgreement(
        "unique sequences, base over SFT",
        _value("diversity-collapse.SFT"),
        1,
        base / tuned,
        (base - half) / (tuned + half),
        (base + half) / (tuned - half),
    )


def novelty_null(arm: str, episodes: int = 64) -> NoveltyNull:
    """What a sample of `arm` would look like beside a second sample of the same arm, under two laws.

    S equally likely sequences yield S (1 - (1 - 1/S)^n) distinct ones, of which (1 - 1/S)^n are new to another sample.
    A mode of probability m and otherwise single sequences yield 1 - (1 - m)^n + n (1 - m), where all but the mode are
    new. Source: own calculation from section 5.3 of the specification.
    """
    unique = _value(f"unique-query-sequences.{arm}")

    def spread_excess(log_sequences: float) -> float:
        sequences = exp(log_sequences)
        return sequences * (1 - (1 - 1 / sequences) ** episodes) - unique

    sequences = exp(brentq(spread_excess, log(unique), log(1e9)))

    def mode_excess(mode: float) -> float:
        return 1 - (1 - mode) ** episodes + episodes * (1 - mode) - unique

    mode = float(brentq(mode_excess, 1e-9, 1 - 1e-9))
    return NoveltyNull(arm, unique, (1 - 1 / sequences) ** episodes, episodes * (1 - mode) / unique)


def effort() -> Effort:
    """Sections 2.6 and 4.6: training rollouts, expert trajectories, evaluation episodes."""
    settings = {setting.id: setting.value for setting in load_settings(KEY)}
    questions, epochs, group, panel, episodes, tuning = (
        int(str(settings[name]))
        for name in (
            "rl.questions",
            "rl.epochs",
            "rl.group-size",
            "evaluation.questions",
            "evaluation.episodes",
            "sft.trajectories",
        )
    )
    depths = settings["evaluation.T"]
    rounds = len(depths) if isinstance(depths, tuple) else 1
    static, with_tool = panel * episodes, CATEGORIES_WITH_TOOL * panel * episodes * rounds
    arm = static + with_tool
    return Effort(questions * epochs * group, tuning, arm, 3 * arm - static)


def mechanism_table() -> AuditTable:
    """Do the mechanism numbers agree with each other?"""
    results = (*perplexity_agreements(), collapse_agreement())
    rows = tuple(
        AuditRow(
            (
                item.name,
                number(item.printed, item.decimals),
                number(item.recomputed, item.decimals + 2),
                f"{number(item.low, item.decimals + 2)} to {number(item.high, item.decimals + 2)}",
                "yes" if item.agrees else "no",
            ),
            DIGEST,
        )
        for item in results
    )
    wrong = [item.name for item in results if not item.agrees]
    collapse = results[-1]
    trained = _value("unique-query-sequences.RL") / _value("unique-query-sequences.base")
    return AuditTable(
        "mechanism",
        "Perplexities and unique query sequences",
        "Logarithms and ratios recomputed from the printed numbers, with the range that their rounding leaves.",
        ("number", "printed", "recomputed", "range", "agrees"),
        rows,
        "Perplexities and unique sequences: "
        f"{'not in agreement: ' + listed(wrong) if wrong else 'all numbers agree'}. The collapse of SFT is by a "
        f"factor of {number(collapse.recomputed, 2)}, worded as 3 in the paper; RL has {number(trained, 2)} times the "
        "unique sequences of base.",
        (
            "Only means over questions are published, without spread or test; nothing can be said about significance.",
            "The perplexities are those of successful RL episodes under base. Reasoning text may be more surprising "
            "under any policy, so without the same split for successes of base the ratio says nothing about novelty.",
        ),
    )


def novelty_table() -> AuditTable:
    """Section 5.3: is 83.9 % or 97.7 % novelty more than two samples of one policy show?"""
    results = [novelty_null(arm) for arm in ("base", "RL", "SFT")]
    printed = {
        "base": NOTHING,
        "RL": f"{_value('query-sequence-novelty-or-overlap.RL'):g} (novelty or overlap)",
        "SFT": f"{_value('query-sequence-novelty.SFT'):g}",
    }
    rows = tuple(
        AuditRow(
            (
                item.arm,
                number(item.unique),
                number(100 * item.spread),
                number(100 * item.one_mode),
                printed[item.arm],
            ),
            DIGEST,
        )
        for item in results
    )
    base = results[0]
    return AuditTable(
        "novelty-null",
        "Novelty of query sequences without any change of policy",
        "Two samples of 64 episodes of the same policy also differ. Novelty (percent of the distinct sequences of the "
        "second sample that the first lacks) for two laws that yield the printed unique counts.",
        ("arm", "unique of 64", "all equally likely", "one mode, others single", "printed against base"),
        rows,
        f"With {number(base.unique)} unique sequences of 64, base would be "
        f"{number(100 * base.spread, 0)}–{number(100 * base.one_mode, 0)} % novel to itself under these two laws, so "
        "neither printed share can be read without the base-against-base value, which is not published.",
        (
            "The two laws are examples, not bounds; a typical question stands for the mean over questions.",
            "83.9 % is overlap in the prose of the digest and novelty in its ledger: opposite readings.",
        ),
    )


def effort_table() -> AuditTable:
    """Matched questions are not matched compute."""
    value = effort()
    rows = (
        AuditRow(("RL training", "questions × epochs × group", count(value.training)), DIGEST),
        AuditRow(("SFT training", "expert trajectories", count(value.tuning)), DIGEST),
        AuditRow(("evaluation of one arm", "A at T = 0, B and C at each T", count(value.arm)), DIGEST),
        AuditRow(("evaluation of base, RL, SFT", "SFT without A", count(value.three_arms)), DIGEST),
    )
    return AuditTable(
        "effort",
        "Episodes behind the comparison",
        "Products of the published settings.",
        ("part", "product", "episodes"),
        rows,
        f"RL and SFT share their questions, not their compute: {count(value.training)} rollouts against "
        f"{count(value.tuning)} trajectories, {number(value.training / value.tuning, 0)} times as many.",
        ("That every arm was evaluated on the whole grid is inferred.",),
    )


def _value(identifier: str) -> float:
    return float(published_number(KEY, identifier).value)
