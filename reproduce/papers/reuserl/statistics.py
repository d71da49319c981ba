"""From the records of ReuseRL to the evidence on each claim (`reuserl_claims` registers them).

Differences are of success on the test panel in points, paired by seed, unless a claim says otherwise. Each claim's
effect has the sign in which the claim is true when it is positive.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reproduce.claims.evidence import Details, Evidence, Part, not_measured
from reproduce.claims.ratios import ratio_difference, two_panels
from reproduce.claims.records import FAILURE, MethodRecords
from reproduce.claims.tests import (
    all_hold,
    edge_means,
    edges,
    episode_variance,
    equivalence,
    mean_of_known,
    non_inferiority,
    row,
    superiority,
)
from reproduce.claims.verdicts import Check, Gate
from reproduce.papers.reuserl.bound import DELTA, DRAWS, SUCCESSES, base_draws
from reproduce.papers.reuserl.experiment import (
    EASY_ENVIRONMENT,
    ENVIRONMENTS,
    IRREVERSIBLE_ENVIRONMENT,
    TIMEOUT_ENVIRONMENTS,
)
from reproduce.papers.reuserl.measures import FEWEST_STEPS, empty_share, logged, was_empty
from reproduce.report.text import number

OOD_MARGIN, EASY_MARGIN = 5.0, 3.0
"""Points: section 7 of the specification."""
TIMEOUT_EFFECT, HARM_EFFECT, BURNED_EFFECT, STRUCTURE_EFFECT = 4.0, 5.0, 3.0, 3.0
OPERATIONS_EFFECT, ACTIONS_EFFECT = 2.0, 1.0
"""Points, the smallest effects of interest: section 6 of the specification."""
LENGTH_EFFECT, RANK_EFFECT = 0.1, 5.0
"""Rounds, and hundredths of a rank correlation."""
PENALTIES = {"length": "length", "segcost": "SegCost"}
RANK_UNIT = "hundredths of ρ"
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


def length_on_shared(records: MethodRecords, environment: str, arm: str, against: str) -> Ratio:
    """Difference of the mean length of successes, summed over the tasks that both arms solved; the number of these."""
    lengths = []
    for name in (arm, against):
        rounds, successes = shares(records, environment, name, "rounds_of_successes", "successes")
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths.append(rounds / successes)
    both = np.isfinite(lengths[0]) & np.isfinite(lengths[1])
    return np.where(both, lengths[0] - lengths[1], 0.0), both.astype(np.float64)


# ---- Gates


def empty_most(environments: tuple[str, ...], *arms: str) -> Callable[[MethodRecords], float]:
    """Measure the largest share of steps, in percent, in which an arm's dictionary was empty, over the environments
    that have the arms; an arm without phrases most of the time is the length penalty, and says nothing on SegCost."""

    def measure(records: MethodRecords) -> float:
        found = [name for name in environments if records.has(name, *arms)]
        return max((100 * empty_share(records, name, arm) for name in found for arm in arms), default=float("nan"))

    return measure


def dictionary_in_use(*environments: str, arms: tuple[str, ...] = ("segcost",)) -> Gate:
    """The dictionary of the arms held phrases in half of their steps or more."""
    return Gate("steps in which the dictionary was empty", empty_most(environments, *arms), most=50.0)


# ---- From the records to evidence


def penalties_beat_grpo(records: MethodRecords) -> Evidence:
    """Both penalties against GRPO, wherever failures are timeouts."""
    return all_hold(
        *(
            success_difference(records, environment, arm, "grpo", TIMEOUT_EFFECT, f"{environment}: {label} - GRPO")
            for environment in TIMEOUT_ENVIRONMENTS
            if records.has(environment, "grpo", *PENALTIES)
            for arm, label in PENALTIES.items()
        )
    )


def success_difference(
    records: MethodRecords, environment: str, arm: str, against: str, effect: float, label: str = ""
) -> Part:
    """Superiority of one arm's success on the test panel over another's."""
    table = gain(records, environment, arm, against)
    noise = sum(episode_variance(records, environment, one) for one in (arm, against))
    return superiority(table, effect, label or f"{arm} - {against}", episode_square=noise)


def length_harms_guarded(records: MethodRecords) -> Evidence:
    """GRPO minus the length penalty where an information step guards an irreversible one."""
    environment = IRREVERSIBLE_ENVIRONMENT

    def details() -> Details:
        rows = _by_category(records, "grpo", "length")
        for arm in ("grpo", "length"):
            # Only in groups of successes does length alone decide; elsewhere the outcome outweighs lambda / T.
            share = 100 * logged(records, environment, arm, "groups/all_right")
            cells = [number(_mean(part.mean(axis=1)), 1) for part in (share, *edges(share, FEWEST_STEPS))]
            label = f"groups of successes only, %, {arm}: training, its first and last tenth"
            rows += ((label, ", ".join(cells)),)
        return rows

    return all_hold(success_difference(records, environment, "grpo", "length", HARM_EFFECT), details=details)


def segcost_avoids_harm(records: MethodRecords) -> Evidence:
    """SegCost minus the length penalty in the same environment."""
    return all_hold(
        success_difference(records, IRREVERSIBLE_ENVIRONMENT, "segcost", "length", HARM_EFFECT),
        details=lambda: _by_category(records, "segcost", "length"),
    )


def _by_category(records: MethodRecords, arm: str, against: str) -> Details:
    """The difference in each kind of game."""
    environment = IRREVERSIBLE_ENVIRONMENT
    found = records.counts[(records.counts["environment"] == environment) & (records.counts["panel"] == "test")]
    rows = []
    for category in sorted(found["category"].unique()):
        both = [records.success(environment, name, category=category) for name in (arm, against)]
        if both[0].shape[1] > 1:
            rows.append(row(f"{category} games: {arm} - {against}", both[0] - both[1]))
    return tuple(rows)


Contrast = tuple[str, Ratio, Ratio]
"""Label, and the ratios of which the first should be the larger."""


def ratio_contrasts(contrasts: list[Contrast], effect: float, unit: str = "points") -> Evidence:
    """Evidence that in each contrast the first ratio is the larger one; seeds without a ratio are left out."""
    parts, notes = [], []
    for label, treated, control in contrasts:
        table, note = ratio_difference(treated, control)
        if np.isfinite(table).all(axis=1).sum() < 2:
            return not_measured(f"{label}: {note}")
        parts.append(superiority(table, effect, label, unit))
        notes += [(label, note)] if note else []
    return all_hold(*parts, details=tuple(notes))


def irreversible_share(records: MethodRecords) -> Evidence:
    """Burned episodes: length above GRPO above SegCost, of failures and of all episodes."""
    return ratio_contrasts(
        [
            (f"burned, share of {label}: {more} - {less}", of(records, more), of(records, less))
            for label, of in (("failures", burned_of_failures), ("all episodes", burned_of_all))
            for more, less in (("length", "grpo"), ("grpo", "segcost"))
        ],
        BURNED_EFFECT,
    )


def ood_gain_not_smaller(records: MethodRecords) -> Evidence:
    """SegCost's gain over GRPO out of distribution minus its gain in distribution, in every environment."""
    parts = []
    for environment in _environments(records, "grpo", "segcost"):
        ood, iid = (gain(records, environment, "segcost", "grpo", panel) for panel in ("ood", "test"))
        parts.append(non_inferiority(two_panels(ood, iid), OOD_MARGIN, f"{environment}: OOD gain - IID gain"))
    return all_hold(*parts)


def easy_env_equivalence(records: MethodRecords) -> Evidence:
    """SegCost and length do not differ by more than 3 points where the task is easy."""
    test, ood = (gain(records, EASY_ENVIRONMENT, "segcost", "length", name) for name in ("test", "ood"))
    return all_hold(
        equivalence(test, EASY_MARGIN, "SegCost - length"), details=lambda: (row("SegCost - length, ood", ood),)
    )


def cleaner_actions(records: MethodRecords) -> Evidence:
    """GRPO minus each penalty: invalid and repeated actions, share of all actions."""
    return ratio_contrasts(
        [
            (
                f"{column} actions, %: GRPO - {label}",
                shares(records, EASY_ENVIRONMENT, "grpo", column, "rounds"),
                shares(records, EASY_ENVIRONMENT, arm, column, "rounds"),
            )
            for column in ("invalid", "repeated")
            for arm, label in PENALTIES.items()
        ],
        ACTIONS_EFFECT,
    )


def segcost_not_shorter(records: MethodRecords) -> Evidence:
    """Length of successes, SegCost minus length penalty, on tasks both solve; in rounds."""
    contrasts = []
    for environment in _environments(records, "segcost", "length"):
        numerator, denominator = length_on_shared(records, environment, "segcost", "length")
        label = f"{environment}: length of successes, SegCost - length"
        # In rounds, where ratios of counts are in points.
        contrasts.append((label, (numerator / 100, denominator), (0 * numerator, denominator)))
    return ratio_contrasts(contrasts, LENGTH_EFFECT, "rounds")


def countdown_op_mix(records: MethodRecords) -> Evidence:
    """SegCost against GRPO in countdown: more successes without a reset, more operations that multiply or divide."""
    return _operations(records, "segcost", "grpo", (1, 1))


def buffer_tradeoff(records: MethodRecords) -> Evidence:
    """Without buffer against with: more successes without a reset, fewer that multiply or divide."""
    return _operations(records, "segcost_no_buffer", "segcost", (1, -1))


def _operations(records: MethodRecords, arm: str, against: str, signs: tuple[int, int]) -> Evidence:
    measures = {
        "0-reset share of successes": ("successes_without_reset", "successes"),
        "MUL/DIV share of operations": ("multiplicative", "operations"),
    }
    contrasts = []
    for sign, (label, columns) in zip(signs, measures.items(), strict=True):
        first, second = (arm, against) if sign > 0 else (against, arm)
        both = [shares(records, "countdown", name, *columns) for name in (first, second)]
        contrasts.append((f"{label}: {first} - {second}", both[0], both[1]))
    return ratio_contrasts(contrasts, OPERATIONS_EFFECT)


STRUCTURE_CONTROLS = {"random_dictionary": "random dictionary (8a)", "shuffled_order": "shuffled order (8f)"}


def structure_matters(records: MethodRecords) -> Evidence:
    """The learned dictionary against a matched random one and one learned from shuffled strings. Refuted when both
    differences are surely below the margin: no difference worth the name, or the wrong sign."""
    environment = IRREVERSIBLE_ENVIRONMENT
    parts = [
        success_difference(records, environment, "segcost", arm, STRUCTURE_EFFECT, f"SegCost - {label}")
        for arm, label in STRUCTURE_CONTROLS.items()
    ]
    return all_hold(*parts, refuting=(tuple(range(len(parts))),))


def starts_as_length(records: MethodRecords) -> Evidence:
    """Spearman of length and cost over a batch's successes, mean of the first tenth of the steps minus that of the
    last, mean over environments with phrases: an empty dictionary ranks as length does by construction."""
    falls, details = [], list[tuple[str, str]]()
    for environment in _environments(records, "segcost"):
        if reason := was_empty(records, environment):
            details.append(("not measured", reason))
            continue
        log = 100 * logged(records, environment, "segcost", "reuse/rank_correlation")
        ends = edge_means(log, FEWEST_STEPS)
        falls.append(ends[0] - ends[1])
        for when, values in zip(("first", "last"), ends, strict=True):
            details.append((f"{environment}: ρ in the {when} tenth of the steps × 100", number(_mean(values))))
    if not falls:
        return not_measured("; ".join(value for _, value in details) or "no environment with SegCost")
    fall = mean_of_known(np.stack(falls, axis=1))
    if np.isfinite(fall).sum() < 2:
        return not_measured("no step with successes of different lengths")
    return all_hold(superiority(fall, RANK_EFFECT, "fall of ρ", RANK_UNIT), details=tuple(details))


def _mean(values: np.ndarray) -> float:
    return float(mean_of_known(values[None])[0])


def bound_coverage(records: MethodRecords) -> Check:
    """Share of draws in which the true expected cost exceeds the bound, in each environment. It fails where the exact
    95 % lower limit of that share lies above delta: more draws tell more about the law, and nothing about training."""
    details, failures, cases = [], 0, 0
    for environment in _environments(records, "base"):
        draws = base_draws(records, environment)
        if draws is None:
            continue
        cases += len(draws.bound)
        failures += draws.violations if draws.limits[0] > DELTA else 0
        low, high = (number(100 * limit, 1) for limit in draws.limits)
        means = (draws.batch_cost, draws.true_cost, draws.bound)
        details += [
            (
                f"{environment}: violations in {DRAWS} draws of m = {SUCCESSES}, exact 95 % limits of their share",
                f"{draws.violations}, {low} to {high} %",
            ),
            (
                f"{environment}: mean cost of the batch, expected cost, bound",
                ", ".join(number(float(values.mean()), 3) for values in means),
            ),
        ]
    return Check(cases, failures, tuple(details))


def _environments(records: MethodRecords, *arms: str) -> tuple[str, ...]:
    return tuple(name for name in ENVIRONMENTS if records.has(name, *arms))
