"""Which score of a log counts, what it means, and when it is a success."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.logs.episodes import Log
from reproduce.logs.values import score_of
from theory.pass_kt import all_at_k, pass_at_k

TOGETHER = re.compile(
    r"(?<![a-z])(?P<kind>pass|best|any|worst|all|mean|avg|average|acc|maj|majority|cons|consensus|g-pass)"
    r"(?P<sign>@|_at_|\^|_hat_)(?P<k>\d+)(?!\d)"
)
"""Names of scores of k answers taken together."""
PARTS = re.compile(r"inst_level")
"""Scores of the parts of one answer (IFEval's single instructions)."""
MOST_ANSWERS = 100_000
SMALLEST_DOUBT = 0.02
"""Largest doubt about the mean PASS@1 that counts recovered from another k may leave."""


@dataclass(frozen=True)
class ScoreRule:
    """`name`: the score to read, None for the only one there is. `threshold`: the smallest score that is a success,
    None for scores that are 0 or 1. `unscored`: what becomes of episodes without a score: `leave-out`, `fail` or
    `refuse`. `partial`: scores between 0 and 1 are kept as they are."""

    name: str | None = None
    threshold: float | None = None
    unscored: str = "leave-out"
    partial: bool = False

    def choose(self, log: Log) -> str:
        """The score to read among those of a log. Raises UserError listing them where the choice is open."""
        names = [name for name, column in log.scores.items() if not _in_parts(name, column.values, log)]
        if self.name is not None and self.name in names:
            return self.name
        if log.scores and (not names or self.name in log.scores):
            parts = self.name if self.name in log.scores else ", ".join(log.scores)
            raise UserError(
                f"{log.source}: read as {log.format}: {parts} lists the parts of one answer, not one score an answer; "
                + (f"choose another: {', '.join(names)}" if names else "no score in it that can be counted")
            )
        if not names:
            raise UserError(f"{log.source}: read as {log.format}: no score in it")
        if self.name is not None:
            raise UserError(f"{log.source}: read as {log.format}: no score {self.name!r}; {nearest(self.name, names)}")
        if len(names) == 1:
            return names[0]
        if log.default_score in names:
            return str(log.default_score)
        ks = {name: found for name in names if (found := TOGETHER.search(name)) and found["kind"] == "pass"}
        if len(ks) == len(names) and log.answers is not None:
            return min(ks, key=lambda name: int(ks[name]["k"]))
        raise UserError(
            f"{log.source}: read as {log.format}: several scores, choose one by --score: {', '.join(names)}"
        )


def rule_of(score: str | None, threshold: float | None, success: str | None, unscored: str) -> ScoreRule:
    """The rule that the options say; `success` is COLUMN or COLUMN>=X. Raises UserError for options that clash."""
    if success is None:
        return ScoreRule(score, threshold, unscored)
    if score is not None or threshold is not None:
        raise UserError("--success says score and threshold; leave out --score and --threshold")
    name, sign, text = success.partition(">=")
    if not name.strip():
        raise UserError(f"--success {success!r}: expected COLUMN or COLUMN>=X")
    try:
        limit = float(text) if sign else None
    except ValueError:
        raise UserError(f"--success {success!r}: expected a number behind >=") from None
    return ScoreRule(name.strip(), limit, unscored)


def readable_scores(log: Log) -> list[str]:
    """Names of the scores that lie in [0, 1] and give one number an answer, or counts of answers."""
    found = []
    for name in log.scores:
        try:
            outcomes(log, ScoreRule(name, partial=True))
        except UserError:
            continue
        found.append(name)
    return found


def _in_parts(name: str, values: Sequence[Any], log: Log) -> bool:
    """Whether a score is a list that does not go with the answers of a row."""
    if PARTS.search(name):
        return True
    lists = [value for value in values if isinstance(value, tuple)]
    if not lists:
        return False
    if log.answers is None:
        return True
    column = log.scores[name]
    lengths = np.array([len(value) if isinstance(value, tuple) else -1 for value in values] + [-1])[column.codes]
    return bool(((lengths >= 0) & (lengths != log.answers)).any())


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Of each row of a log: episodes `n`, successes (or sum of scores) `c`; `scored` is False where there is none."""

    name: str
    n: np.ndarray
    c: np.ndarray
    scored: np.ndarray
    notes: tuple[str, ...] = ()


def outcomes(log: Log, rule: ScoreRule) -> Outcomes:
    """Read the score of every row by the rule. Raises UserError for a choice that is open, a partial score without
    a threshold, a score of several answers from which no count can be had, and nothing scored at all."""
    if log.counts is not None:
        n, c = (column.numbers(float, "n", log.place) for column in log.counts)
        known = (n > 0) & ~np.isnan(c)
        return Outcomes("c of n", np.where(known, n, 0), np.where(known, c, 0), known)
    name = rule.choose(log)
    column = log.scores[name]
    together = TOGETHER.search(name)
    notes: tuple[str, ...] = ()
    if together and together["kind"] in ("maj", "majority", "cons", "consensus"):
        notes = (f"{log.source}: an episode of {name} is a vote of {together['k']} answers",)
    elif together and not (together["k"] == "1" and (log.answers is None or log.answers.max(initial=1) <= 1)):
        return _recovered(log, name, together)
    lists = [place for place, value in enumerate(column.values) if isinstance(value, tuple)]
    single = [None if isinstance(value, tuple) else value for value in column.values]
    values = [math.nan if value is None else value for value in _decoded(log, name, single)]
    wins = _wins(np.array(values), name, log, rule)
    n, c = (~np.isnan(wins)).astype(np.float64), np.nan_to_num(wins)
    for place in lists:
        parts = _wins(np.array(_decoded(log, name, column.values[place], place)), name, log, rule)
        n[place], c[place] = (~np.isnan(parts)).sum(), np.nansum(parts)
    rows_n, rows_c = (np.append(array, 0.0)[column.codes] for array in (n, c))
    scored = rows_n > 0
    if log.failed is not None:
        scored = scored & ~log.failed
    if log.answers is not None and not lists:
        without = int(np.maximum(log.answers[scored] - 1, 0).sum())
        if without:
            notes += (
                f"{log.source}: {without:,} sampled answers have no score of their own ({name} scores one a question); "
                "to count all, let the task score every repeat",
            )
    return Outcomes(name, rows_n, rows_c, scored, notes)


def _decoded(log: Log, name: str, values: Sequence[Any], code: int | None = None) -> list[float]:
    column = log.scores[name]
    found = []
    for place, value in enumerate(values):
        try:
            found.append(score_of(value))
        except ValueError as error:
            first = int(np.flatnonzero(column.codes == (place if code is None else code))[0])
            raise UserError(f"{log.place(first)}: {name} {error}") from None
    return found


def _wins(values: np.ndarray, name: str, log: Log, rule: ScoreRule) -> np.ndarray:
    """1 where a score is a success, 0 where not, NaN where it is missing."""
    if rule.threshold is not None:
        return np.where(np.isnan(values), np.nan, values >= rule.threshold)
    partial = ~np.isnan(values) & (values != 0) & (values != 1)
    if rule.partial and not (partial & ((values < 0) | (values > 1))).any():
        return values
    if partial.any():
        raise UserError(
            f"{log.source}: read as {log.format}: values of {name} are neither 0 nor 1 (such as "
            f"{values[partial][0]:g}); say by --threshold from which one on an episode is a success"
        )
    return values


def _recovered(log: Log, name: str, together: re.Match[str]) -> Outcomes:
    """Counts from a score of k answers taken together, where the file says how many answers there were."""
    kind, k = together["kind"], int(together["k"])
    column = log.scores[name]
    average = kind in ("mean", "avg", "average", "acc") or (kind == "pass" and k == 1)
    answers = (
        log.answers if log.answers is not None and not (average and k > 1) else np.full(log.rows, k if average else 0)
    )
    refusal = f"{log.source}: {name} speaks of {k} answers taken together, and is no success rate of one"
    if answers.max(initial=0) < max(k, 1) or answers.max(initial=0) > MOST_ANSWERS or kind == "g-pass":
        raise UserError(f"{refusal}; how many there were in all is not in the file, so no count can be had from it")
    law = all_at_k if together["sign"] in ("^", "_hat_") or kind in ("all", "worst") else pass_at_k
    values = column.numbers(score_of, name, log.place)
    scored = ~np.isnan(values) & (answers > 0) & (~log.failed if log.failed is not None else True)
    c, doubt = np.zeros(log.rows), np.zeros(log.rows)
    for n in np.unique(answers[scored]).tolist():
        rows = np.flatnonzero(scored & (answers == n))
        attainable = np.arange(n + 1) / max(n, 1) if average else law(n, np.arange(n + 1), min(k, n))
        ascending = np.searchsorted(attainable, values[rows] - 1e-6), np.searchsorted(attainable, values[rows] + 1e-6)
        for row, first, last in zip(rows.tolist(), ascending[0].tolist(), (ascending[1] - 1).tolist(), strict=True):
            if last < first:
                raise UserError(f"{log.place(row)}: {name} = {values[row]:g} is no share of {n} answers")
            # Above the largest success count that is told apart all are 1: the whole of n is the likelier reading.
            c[row], doubt[row] = (last, last - first) if law is pass_at_k else (first, last - first)
    total = np.where(scored, answers, 0).astype(np.float64)
    share = doubt / np.maximum(total, 1)
    notes = [] if average else [f"{log.source}: counts recovered from {name} of {int(answers.max())} answers"]
    if doubt.any():
        if share[scored].mean() > SMALLEST_DOUBT:
            raise UserError(
                f"{refusal}; at {int((doubt > 0).sum()):,} of {int(scored.sum()):,} questions it leaves open how many "
                "succeeded; name a score of fewer answers, or log one score an answer"
            )
        most = int(doubt.max()) + 1
        notes.append(
            f"{log.source}: at {int((doubt > 0).sum()):,} questions {name} does not tell the {most} highest counts "
            f"apart, and the highest is taken; PASS@1 may be up to {share[scored].mean():.3f} too high"
        )
    return Outcomes(name, total, c, scored, tuple(notes))
