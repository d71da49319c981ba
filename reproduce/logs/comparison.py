"""Two logs of the same questions, question by question: the difference, its tests, and what would settle it.

The unit is the question, or the cluster of questions where one is named. Differences are those of B less A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.logs.episodes import EpisodeCounts, Log
from reproduce.logs.log_files import parse_log_files
from reproduce.logs.merging import merge
from reproduce.logs.plain_tables import Columns
from reproduce.logs.reading import read_log
from reproduce.logs.scores import ScoreRule, readable_scores
from reproduce.logs.settings import policy_names
from theory.bounded_means import bounded_mean_interval, bounded_mean_p_value, cluster_means
from theory.inference import holm, mcnemar_exact, minimum_detectable_effect, sign_flip_test
from theory.pass_kt import expected_gained_and_lost, pass_at_k, self_null_from_counts
from theory.power import units_for_effect, units_for_equivalence

POWER = 0.8


@dataclass(frozen=True)
class ComparisonSettings:
    """`margin`: the largest difference that counts as none. `k`: PASS@k is compared, the success rate at 1."""

    margin: float = 0.05
    k: int = 1
    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class ScoreComparison:
    """B less A on one score, over `questions` in `units` (questions or clusters).

    `p_value`: sign flips; `holm_p_value`, `equivalence_holm_p_value`: corrected over the scores. `gained`, `lost`:
    questions solved at least once by B alone and by A alone; expected at the smallest n (`equal_n` False) without an
    exact `mcnemar_p_value`; NaN for partial scores. `self_gained`: what A gains on itself at `self_n` episodes, beside
    `half_gained` and `half_lost` at as many. `detectable`: difference found with 80 % power. `units_to_detect`,
    `units_to_equate`: units that would settle the observed difference, and equivalence of equal policies.
    """

    score: str
    questions: int
    units: int
    smallest_n: int
    largest_n: int
    first: float
    first_low: float
    first_high: float
    second: float
    second_low: float
    second_high: float
    difference: float
    low: float
    high: float
    p_value: float
    holm_p_value: float
    exact: bool
    equivalence_p_value: float
    equivalence_holm_p_value: float
    n: int
    equal_n: bool
    gained: float
    lost: float
    mcnemar_p_value: float
    self_n: int
    half_gained: float
    half_lost: float
    self_gained: float
    detectable: float
    units_to_detect: float
    units_to_equate: float

    def verdict(self, alpha: float) -> str:
        """`better`, `worse`, `equivalent` or `undecided`, of B against A, after correction."""
        if self.holm_p_value <= alpha:
            return "better" if self.difference > 0 else "worse"
        return "equivalent" if self.equivalence_holm_p_value <= alpha else "undecided"


@dataclass(frozen=True)
class LogComparison:
    """Everything that is printed and written."""

    first: str
    second: str
    cluster: str | None
    settings: ComparisonSettings
    scores: tuple[ScoreComparison, ...]
    only_first: int
    only_second: int
    notes: tuple[str, ...]
    sources: tuple[str, ...]


def compare_logs(
    files: Sequence[str], scores: Sequence[str], rule: ScoreRule, settings: ComparisonSettings, columns: Columns
) -> LogComparison:
    """Compare two logs. Raises UserError unless there are two, of one policy each, with questions and scores in
    common."""
    # One by one: two logs may well have the same content.
    named = [file for each in files for file in parse_log_files([each])]
    if len(named) != 2:
        raise UserError(f"name two logs, A and B; got {len(named)}")
    if named[0].path.resolve() == named[1].path.resolve():
        raise UserError(f"{named[1].path}: named twice")
    first_rule = replace(rule, name=rule.name or (scores[0] if len(scores) == 1 else None))
    columns = replace(columns, scores=tuple(scores))
    logs = [_of_one_policy(read_log(file, first_rule, columns)) for file in named]
    names, told_apart = policy_names([replace(log, user_policy=log.user_policy or None) for log in logs])
    first, second = _two_names([str(name) for name in names], logs)
    chosen = list(scores) or [name for name in [rule.name] if name] or _common_scores(logs)
    pairs: list[tuple[EpisodeCounts, EpisodeCounts]] = []
    notes = list(told_apart)
    for score in chosen:
        part = replace(rule, name=score or None, partial=rule.threshold is None)
        one, other = (merge([replace(log, policy=None, user_policy="one")], part) for log in logs)
        pairs.append((one, other))
        notes += [*one.notes, *other.notes]
    found = [
        _compare(score, *pair, settings, place) for place, (score, pair) in enumerate(zip(chosen, pairs, strict=True))
    ]
    for field, source in (("holm_p_value", "p_value"), ("equivalence_holm_p_value", "equivalence_p_value")):
        adjusted = holm([getattr(each, source) for each in found]).tolist()
        found = [replace(each, **{field: p}) for each, p in zip(found, adjusted, strict=True)]
    of_first, of_second = (set(counts.questions) for counts in pairs[0])
    return LogComparison(
        first=first,
        second=second,
        cluster=columns.cluster,
        settings=settings,
        scores=tuple(found),
        only_first=len(of_first - of_second),
        only_second=len(of_second - of_first),
        notes=tuple(dict.fromkeys(notes)),
        sources=tuple(line for counts in pairs[0] for line in counts.sources),
    )


def _of_one_policy(log: Log) -> Log:
    """The log under the one policy its column names."""
    if log.policy is None:
        return log
    policies = sorted({str(log.policy.values[code]) for code in np.unique(log.policy.codes).tolist() if code >= 0})
    if len(policies) > 1:
        listed = ", ".join(policies[:6])
        raise UserError(
            f"{log.source}: holds {len(policies)} policies ({listed}); compare-logs takes one a log, and `pass-kt` "
            "compares those of one file"
        )
    return replace(log, policy=None, user_policy=policies[0] if policies else log.user_policy)


def _two_names(names: list[str], logs: Sequence[Log]) -> list[str]:
    return names if names[0] != names[1] else [log.source for log in logs]


def _common_scores(logs: Sequence[Log]) -> list[str]:
    """Scores that both logs have and that can be read without a threshold; "" stands for counts."""
    if any(log.counts is not None for log in logs):
        return [""]
    first, second = (readable_scores(log) for log in logs)
    common = [name for name in first if name in second]
    if not common and len(first) == len(second) == 1:
        # Two formats of one thing, such as `success` and `passed`.
        return [""]
    if not common:
        raise UserError(
            f"no score in common: {logs[0].source} has {', '.join(logs[0].scores) or 'none'}, {logs[1].source} has "
            f"{', '.join(logs[1].scores) or 'none'}"
        )
    return common


def _compare(
    score: str, first: EpisodeCounts, second: EpisodeCounts, settings: ComparisonSettings, place: int
) -> ScoreComparison:
    if len(first.depths) > 1 or len(second.depths) > 1:
        raise UserError("several values of T in one log; compare-logs takes one, and `pass-kt` compares them all")
    places = {name: row for row, name in enumerate(second.questions)}
    rows = [(row, places[name]) for row, name in enumerate(first.questions) if name in places]
    if not rows:
        raise UserError(
            f"no question in common: A has such as {first.questions[0]!r}, B such as {second.questions[0]!r}; "
            "--question names the column that both have"
        )
    old, new = np.array(rows).T
    (n_old, c_old), (n_new, c_new) = (
        (counts.n[0, at, 0], counts.c[0, at, 0]) for counts, at in ((first, old), (second, new))
    )
    whole = first.c.dtype.kind == "i" and second.c.dtype.kind == "i"
    smallest = int(min(n_old.min(), n_new.min()))
    if settings.k > 1 and (settings.k > smallest or not whole):
        raise UserError(
            f"--k {settings.k}: "
            + (f"some questions have {smallest} episodes only" if whole else "partial scores have no PASS@k")
        )
    values = [
        pass_at_k(n, c, settings.k) if whole else np.asarray(c / n)
        for n, c in ((n_old, c_old), (n_new, c_new))
    ]  # fmt: skip
    clusters = None if first.clusters is None else first.clusters[old]
    differences = values[1] - values[0]
    units = cluster_means(differences, clusters)
    alpha = 1 - settings.level
    flipped = differences if clusters is None else np.bincount(clusters, weights=differences)[np.unique(clusters)]
    flipped = flipped * (flipped.size / differences.size)
    tested = sign_flip_test(
        flipped, generator=np.random.default_rng([settings.seed, place]), resamples=settings.resamples
    )
    either = bounded_mean_interval(differences, settings.level, -1.0, 1.0, clusters)
    of_first, of_second = (bounded_mean_interval(each, settings.level, clusters=clusters) for each in values)
    equivalence = max(
        float(bounded_mean_p_value(differences, -settings.margin, "greater", clusters=clusters)),
        float(bounded_mean_p_value(differences, settings.margin, "less", clusters=clusters)),
    )
    deviation = float(units.std(ddof=1)) if units.size > 1 else float("nan")
    difference = float(either.estimate)
    known = units.size > 1 and deviation > 0
    return ScoreComparison(
        score=score or "success",
        questions=len(rows),
        units=units.size,
        smallest_n=smallest,
        largest_n=int(max(n_old.max(), n_new.max())),
        first=float(of_first.estimate),
        first_low=float(of_first.low),
        first_high=float(of_first.high),
        second=float(of_second.estimate),
        second_low=float(of_second.low),
        second_high=float(of_second.high),
        difference=difference,
        low=float(either.low),
        high=float(either.high),
        p_value=tested.p_value,
        holm_p_value=tested.p_value,
        exact=tested.exact,
        equivalence_p_value=equivalence,
        equivalence_holm_p_value=equivalence,
        **_gained_and_lost(n_old, c_old, n_new, c_new, whole),
        detectable=float(minimum_detectable_effect(deviation, units.size, alpha, POWER)) if known else float("nan"),
        units_to_detect=units_for_effect(deviation, difference, alpha, POWER) if known and difference else float("nan"),
        units_to_equate=units_for_equivalence(deviation, settings.margin, alpha, POWER) if known else float("nan"),
    )


def _gained_and_lost(
    n_old: np.ndarray, c_old: np.ndarray, n_new: np.ndarray, c_new: np.ndarray, whole: bool
) -> dict[str, Any]:
    """Questions solved at least once by one log alone, with the exact test at equal n, beside the self-null of A."""
    nothing = float("nan")
    found: dict[str, Any] = dict.fromkeys(
        ("gained", "lost", "mcnemar_p_value", "half_gained", "half_lost", "self_gained"), nothing
    )
    smallest = int(min(n_old.min(), n_new.min()))
    equal = bool((n_old == n_new).all() and n_old.min() == n_old.max())
    half = min(int(n_old.min()) // 2, int(n_new.min()))
    found |= {"n": smallest, "equal_n": equal, "self_n": half if whole else 0}
    if not whole:
        return found
    found["gained"], found["lost"] = expected_gained_and_lost(n_new, c_new, n_old, c_old, smallest)
    if equal:
        found["mcnemar_p_value"] = float(mcnemar_exact(round(found["gained"]), round(found["lost"])))
    if half >= 1:
        found["half_gained"], found["half_lost"] = expected_gained_and_lost(n_new, c_new, n_old, c_old, half)
        found["self_gained"] = self_null_from_counts(n_old, c_old, half).gain_rate * n_old.size
    return found
