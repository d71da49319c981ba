"""From the records of ReuseRL to the evidence on each claim (`reuserl_claims` registers them).

Differences are of success on the test panel in points, paired by seed, unless a claim says otherwise. Each claim's
effect has the sign in which the claim is true when it is positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

import numpy as np

from reproduce.claims.records import FAILURE, MethodRecords
from reproduce.claims.tests import equivalence, interval_text
from reproduce.claims.verdicts import Evidence
from reproduce.papers.reuserl.bound import DELTA, DRAWS, SUCCESSES, base_draws
from reproduce.papers.reuserl.evidence import (
    directed,
    not_inferior,
    nothing_measured,
    of_seeds,
    ratio_difference,
    seed_evidence,
    together,
    two_panels,
)
from reproduce.papers.reuserl.experiment import (
    EASY_ENVIRONMENT,
    ENVIRONMENTS,
    IRREVERSIBLE_ENVIRONMENT,
    TIMEOUT_ENVIRONMENTS,
)
from reproduce.papers.reuserl.measures import ends_of, logged, was_empty
from reproduce.report.text import listed, number
from theory.inference import crossed_t_interval

OOD_MARGIN, EASY_MARGIN, STRUCTURE_MARGIN = 5.0, 3.0, 3.0
"""Points: section 7 of the specification."""
PENALTIES = {"length": "length", "segcost": "SegCost"}
RANK_UNIT = "hundredths of ρ"
Examination = Callable[[MethodRecords], Evidence]
Ratio = tuple[np.ndarray, np.ndarray]
"""Numerator and denominator, each (seeds, tasks)."""


def gain(records: MethodRecords, environment: str, arm: str, against: str, panel: str = "test") -> np.ndarray:
    """Success of one arm minus another's in points, (seeds, tasks)."""
    return records.success(environment, arm, panel) - records.success(environment, against, panel)


def failures(records: MethodRecords, environment: str, arm: str, kind: str) -> np.ndarray:
    """Episodes of the test panel that failed in this way, (seeds, tasks); a kind that no run had is none of them."""
    column = FAILURE + kind
    if column not in records.counts:
        return np.zeros_like(records.table(environment, arm, "n"))
    return records.table(environment, arm, column)


def burned_of_failures(records: MethodRecords, arm: str) -> Ratio:
    """Burned episodes, failed episodes."""
    environment = IRREVERSIBLE_ENVIRONMENT
    n, successes = (records.table(environment, arm, name) for name in ("n", "successes"))
    return failures(records, environment, arm, "burned"), n - successes


def burned_of_all(records: MethodRecords, arm: str) -> Ratio:
    """Burned episodes, episodes."""
    environment = IRREVERSIBLE_ENVIRONMENT
    return failures(records, environment, arm, "burned"), records.table(environment, arm, "n")


def shares(records: MethodRecords, environment: str, arm: str, part: str, whole: str) -> Ratio:
    """Two columns of the counts on the test panel."""
    return records.table(environment, arm, part), records.table(environment, arm, whole)


def contrast(treated: Ratio, control: Ratio) -> Evidence:
    """Evidence that the treated arm's ratio is the larger one."""
    table, note = ratio_difference(treated, control)
    if len(table) < 2:
        return nothing_measured(len(treated[0]), treated[0].shape[1], note)
    return directed(table, details=(("note", note),) if note else ())


def length_on_shared(records: MethodRecords, environment: str, arm: str, against: str) -> Ratio:
    """Difference of the mean length of successes, summed over the tasks that both arms solved; the number of these."""
    lengths = []
    for name in (arm, against):
        rounds, successes = shares(records, environment, name, "rounds_of_successes", "successes")
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths.append(rounds / successes)
    both = np.isfinite(lengths[0]) & np.isfinite(lengths[1])
    return np.where(both, lengths[0] - lengths[1], 0.0), both.astype(np.float64)


# ---- From the records to evidence


def needs(environment: str, *arms: str) -> Callable[[Callable[[MethodRecords], Evidence]], Examination]:
    """Examine records that have this environment with these arms; of others nothing is measured."""

    def guard(examine: Examination) -> Examination:
        @wraps(examine)
        def guarded(records: MethodRecords) -> Evidence:
            if records.has(environment, *arms):
                return examine(records)
            return nothing_measured(records.seeds, 0, f"no {environment} with {listed(arms)}")

        return guarded

    return guard


def of_phrases(records: MethodRecords, environment: str, found: Evidence, *arms: str) -> Evidence:
    """The evidence, unless an arm of SegCost's (`segcost` alone where none is named) had no phrases most of the time:
    it then is the length penalty, and nothing is measured about SegCost."""
    reason = next(filter(None, (was_empty(records, environment, arm) for arm in arms or ("segcost",))), "")
    return nothing_measured(found.seeds, found.questions, reason, found.unit_of_effect) if reason else found


def penalties_beat_grpo(records: MethodRecords) -> Evidence:
    """Both penalties against GRPO, wherever failures are timeouts."""
    parts = {}
    for environment in TIMEOUT_ENVIRONMENTS:
        if records.has(environment, "grpo", *PENALTIES):
            for arm, label in PENALTIES.items():
                found = directed(gain(records, environment, arm, "grpo"))
                judged = of_phrases(records, environment, found) if arm == "segcost" else found
                parts[f"{environment}: {label} - GRPO"] = judged
    return together(parts)


@needs(IRREVERSIBLE_ENVIRONMENT, "grpo", "length")
def length_harms_guarded(records: MethodRecords) -> Evidence:
    """GRPO minus the length penalty where an information step guards an irreversible one."""
    environment = IRREVERSIBLE_ENVIRONMENT
    details = _by_category(records, "grpo", "length")
    for arm in ("grpo", "length"):
        # Only in groups of successes does length alone decide; elsewhere the outcome outweighs lambda / T an action.
        share = 100 * logged(records, environment, arm, "groups/all_right")
        cells = [number(_mean(part.mean(axis=1)), 1) for part in (share, *ends_of(share))]
        label = f"groups of successes only, %, {arm}: training, its first and last tenth"
        details += ((label, ", ".join(cells)),)
    return directed(gain(records, environment, "grpo", "length"), details)


@needs(IRREVERSIBLE_ENVIRONMENT, "segcost", "length")
def segcost_avoids_harm(records: MethodRecords) -> Evidence:
    """SegCost minus the length penalty in the same environment."""
    environment = IRREVERSIBLE_ENVIRONMENT
    found = directed(gain(records, environment, "segcost", "length"), _by_category(records, "segcost", "length"))
    return of_phrases(records, environment, found)


def _by_category(records: MethodRecords, arm: str, against: str) -> tuple[tuple[str, str], ...]:
    """The difference in each kind of game."""
    environment = IRREVERSIBLE_ENVIRONMENT
    found = records.counts[(records.counts["environment"] == environment) & (records.counts["panel"] == "test")]
    rows = []
    for category in sorted(found["category"].unique()):
        both = [records.success(environment, name, category=category) for name in (arm, against)]
        if both[0].shape[1] > 1:
            rows.append((f"{category} games: {arm} - {against}", interval_text(crossed_t_interval(both[0] - both[1]))))
    return tuple(rows)


@needs(IRREVERSIBLE_ENVIRONMENT, "grpo", *PENALTIES)
def irreversible_share(records: MethodRecords) -> Evidence:
    """Burned episodes: length above GRPO above SegCost, of failures and of all episodes. Refuted by an opposite sign
    whose 95 % interval excludes 0."""
    parts = {}
    for label, of in (("failures", burned_of_failures), ("all episodes", burned_of_all)):
        for more, less in (("length", "grpo"), ("grpo", "segcost")):
            part = contrast(of(records, more), of(records, less))
            if less == "segcost":
                part = of_phrases(records, IRREVERSIBLE_ENVIRONMENT, part)
            parts[f"burned, share of {label}: {more} - {less}"] = replace(part, against=part.high < 0)
    return together(parts)


def ood_gain_not_smaller(records: MethodRecords) -> Evidence:
    """SegCost's gain over GRPO out of distribution minus its gain in distribution, in every environment."""
    parts = {}
    for environment in _environments(records, "grpo", "segcost"):
        ood, iid = (gain(records, environment, "segcost", "grpo", panel) for panel in ("ood", "test"))
        found = not_inferior(two_panels(ood, iid), OOD_MARGIN)
        parts[f"{environment}: OOD gain - IID gain"] = of_phrases(records, environment, found)
    return together(parts)


@needs(EASY_ENVIRONMENT, "segcost", "length")
def easy_env_equivalence(records: MethodRecords) -> Evidence:
    """SegCost and length do not differ by more than 3 points where the task is easy."""
    panels = {name: gain(records, EASY_ENVIRONMENT, "segcost", "length", name) for name in ("test", "ood")}
    details = tuple((f"SegCost - length, {name}", interval_text(crossed_t_interval(t))) for name, t in panels.items())
    return of_phrases(records, EASY_ENVIRONMENT, equivalence(panels["test"][..., None], EASY_MARGIN, details=details))


@needs(EASY_ENVIRONMENT, "grpo", *PENALTIES)
def cleaner_actions(records: MethodRecords) -> Evidence:
    """GRPO minus each penalty: invalid and repeated actions, share of all actions."""
    parts = {}
    for column in ("invalid", "repeated"):
        for arm, label in PENALTIES.items():
            both = [shares(records, EASY_ENVIRONMENT, name, column, "rounds") for name in ("grpo", arm)]
            found = contrast(*both)
            judged = of_phrases(records, EASY_ENVIRONMENT, found) if arm == "segcost" else found
            parts[f"{column} actions, %: GRPO - {label}"] = judged
    return together(parts)


def segcost_not_shorter(records: MethodRecords) -> Evidence:
    """Length of successes, SegCost minus length penalty, on tasks both solve; in rounds."""
    parts = {}
    for environment in _environments(records, "segcost", "length"):
        numerator, denominator = length_on_shared(records, environment, "segcost", "length")
        # In rounds, where ratios of counts are in points.
        table, note = ratio_difference((numerator / 100, denominator), (0 * numerator, denominator))
        label = f"{environment}: length of successes, SegCost - length"
        seeds, tasks = numerator.shape
        few = len(table) < 2
        found = nothing_measured(seeds, tasks, note, "rounds") if few else directed(table, unit="rounds")
        parts[label] = of_phrases(records, environment, found)
    return together(parts)


@needs("countdown", "segcost", "grpo")
def countdown_op_mix(records: MethodRecords) -> Evidence:
    """SegCost against GRPO in countdown: more successes without a reset, more operations that multiply or divide."""
    parts = _operation_parts(records, "segcost", "grpo", (1, 1))
    return together({label: of_phrases(records, "countdown", part) for label, part in parts.items()})


@needs("countdown", "segcost_no_buffer", "segcost")
def buffer_tradeoff(records: MethodRecords) -> Evidence:
    """Without buffer against with: more successes without a reset, fewer that multiply or divide. Refuted when a sign
    is reversed and its 95 % interval excludes 0."""
    arms = ("segcost_no_buffer", "segcost")
    parts = _operation_parts(records, *arms, (1, -1))
    judged = {label: of_phrases(records, "countdown", part, *arms) for label, part in parts.items()}
    return together({label: replace(part, against=part.high < 0) for label, part in judged.items()})


def _operation_parts(records: MethodRecords, arm: str, against: str, signs: tuple[int, int]) -> dict[str, Evidence]:
    measures = {
        "0-reset share of successes": ("successes_without_reset", "successes"),
        "MUL/DIV share of operations": ("multiplicative", "operations"),
    }
    parts = {}
    for sign, (label, columns) in zip(signs, measures.items(), strict=True):
        both = [shares(records, "countdown", name, *columns) for name in (arm, against)]
        first, second = (arm, against) if sign > 0 else (against, arm)
        parts[f"{label}: {first} - {second}"] = contrast(*(both if sign > 0 else both[::-1]))
    return parts


STRUCTURE_CONTROLS = {"random_dictionary": "random dictionary (8a)", "shuffled_order": "shuffled order (8f)"}


@needs(IRREVERSIBLE_ENVIRONMENT, "segcost", *STRUCTURE_CONTROLS)
def structure_matters(records: MethodRecords) -> Evidence:
    """The learned dictionary against a matched random one and one learned from shuffled strings. Refuted when both
    95 % intervals end below the margin: no difference worth the name, or the wrong sign."""
    environment = IRREVERSIBLE_ENVIRONMENT
    parts = {
        f"SegCost - {label}": of_phrases(records, environment, directed(gain(records, environment, "segcost", arm)))
        for arm, label in STRUCTURE_CONTROLS.items()
    }
    return together(parts, against=all(part.high < STRUCTURE_MARGIN for part in parts.values()))


def starts_as_length(records: MethodRecords) -> Evidence:
    """Spearman of length and cost over a batch's successes, mean of the first tenth of the steps minus that of the
    last, mean over environments with phrases: an empty dictionary ranks as length does by construction."""
    falls, details = [], list[tuple[str, str]]()
    for environment in _environments(records, "segcost"):
        if reason := was_empty(records, environment):
            details.append(("not measured", reason))
            continue
        log = 100 * logged(records, environment, "segcost", "reuse/rank_correlation")
        ends = [_mean_of_known(part) for part in ends_of(log)]
        falls.append(ends[0] - ends[1])
        for when, values in zip(("first", "last"), ends, strict=True):
            details.append((f"{environment}: ρ in the {when} tenth of the steps × 100", number(_mean(values))))
    if not falls:
        left_out = replace(nothing_measured(records.seeds, 0, "", RANK_UNIT), details=tuple(details))
        return left_out if details else nothing_measured(records.seeds, 0, "no environment with SegCost", RANK_UNIT)
    fall = _mean_of_known(np.stack(falls, axis=1))
    known = fall[np.isfinite(fall)]
    if len(known) < 2:
        return nothing_measured(len(fall), 1, "no step with successes of different lengths", RANK_UNIT)
    return seed_evidence(directed(of_seeds(known), tuple(details), RANK_UNIT))


def _mean_of_known(table: np.ndarray) -> np.ndarray:
    """Mean of each row over its finite entries, NaN where it has none."""
    known = np.isfinite(table)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, table, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    return float(_mean_of_known(values[None])[0])


def bound_coverage(records: MethodRecords) -> Evidence:
    """Share of draws in which the true expected cost exceeds the bound; the environment with most violations decides.

    Refuted where the exact 95 % lower limit of that share lies above delta."""
    details, worst, against, largest_p = [], None, False, 0.0
    tasks = 0
    for environment in _environments(records, "base"):
        draws = base_draws(records, environment)
        if draws is None:
            continue
        tasks += draws.distinct
        against = against or draws.limits[0] > DELTA
        largest_p = max(largest_p, draws.p_value)
        if worst is None or draws.violations > worst.violations:
            worst = draws
        means = (draws.batch_cost, draws.true_cost, draws.bound)
        details += [
            (f"{environment}: violations in {DRAWS} draws of m = {SUCCESSES}", str(draws.violations)),
            (
                f"{environment}: mean cost of the batch, expected cost, bound",
                ", ".join(number(float(values.mean()), 3) for values in means),
            ),
        ]
    if worst is None:
        return nothing_measured(records.seeds, 0, "no base has a success", "% of draws")
    return Evidence(
        effect=100 * worst.violations / DRAWS,
        low=100 * worst.limits[0],
        high=100 * worst.limits[1],
        confidence=0.95,
        interval_method="exact binomial (Clopper-Pearson), unit: draw",
        p_value=largest_p,
        minimum_detectable_effect=None,
        in_favour=worst.limits[1] <= DELTA,
        against=against,
        seeds=records.seeds,
        questions=tasks,
        unit_of_effect="% of draws",
        details=tuple(details),
    )


def _environments(records: MethodRecords, *arms: str) -> tuple[str, ...]:
    return tuple(name for name in ENVIRONMENTS if records.has(name, *arms))
