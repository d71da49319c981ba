"""Claims of EchoRL about one fixed policy, from the records of the arm `frozen`: what is picked, and what it would do.

The tables, one row or few a seed: `projections` (selection, groups, mean, standard_error), `deletion` (order, share,
solutions, success), `golden` (prompts, golden, own, other: mean token entropies in nats).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reproduce.claims.evidence import Evidence, Part, Rule, Sample, not_measured
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import all_hold, shown, superiority
from reproduce.papers.echorl.measures import REASONING, logged
from theory.inference import mean_interval

if TYPE_CHECKING:
    import pandas as pd

ERRORS = 4.0
"""Standard errors from 0 at which a mean gradient is not 0."""
FEWEST_GROUPS = 2_000
"""Groups read, over all seeds, without which the projections decide nothing (specification, 7)."""
TRIVIAL_RATIO = 1.2
"""A share of short picks up to this times the base rate is no preference."""
MATCHED_SHARE = 0.25
"""Of the raw gap between deletion orders: what must be left once number and position are matched."""
SAME = 1.0
"""Hundredths of a nat: golden traces and those of another policy are alike if they surely differ by less."""


def _table(records: MethodRecords, name: str) -> pd.DataFrame:
    if name not in records.tables:
        raise ValueError(f"the records have no table {name}")
    found = records.tables[name]
    return found[found["environment"] == REASONING]


def pooled_projections(records: MethodRecords) -> dict[str, tuple[float, float]]:
    """Mean over seeds of each selection's projection and its standard error, from the groups within each seed."""
    found = {}
    for selection, rows in _table(records, "projections").groupby("selection"):
        error = float(np.sqrt((rows["standard_error"] ** 2).sum())) / len(rows)
        found[str(selection)] = (float(rows["mean"].mean()), error)
    return found


def unselected_null(records: MethodRecords) -> Evidence:
    """A random prefix of an own episode has no mean gradient; argmax and argmin have opposite ones.

    Every projection is onto the difference of the mean directions of argmax and argmin in other groups; every episode
    counts as a success, for a group that only succeeds sometimes is selected too.
    """
    found = pooled_projections(records)
    errors = {name: value / spread if spread > 0 else np.nan for name, (value, spread) in found.items()}
    z = errors["fixed_length"]
    rows = _table(records, "projections")
    groups = int(rows[rows["selection"] == "fixed_length"]["groups"].sum())
    opposite = errors["highest_entropy"] >= ERRORS and errors["lowest_entropy"] <= -ERRORS
    enough = groups >= FEWEST_GROUPS
    details = tuple(
        (f"{name.replace('_', ' ')}, standard errors from 0", f"{value:+.1f}") for name, value in errors.items()
    )
    part = Part(
        label=f"random prefix of fixed length, {groups} groups",
        rule=Rule("other", unit="standard errors"),
        # One statistic of all groups together.
        sample=Sample(np.full(int(rows["seed"].nunique()), float(z))),
        low=float(z - 1.96),
        high=float(z + 1.96),
        confidence=0.95,
        method="normal over groups",
        support=None,
        refutation=None,
        in_favour=bool(enough and abs(z) < ERRORS and opposite),
        against=bool(enough and abs(z) >= ERRORS),
    )
    return all_hold(part, details=details)


def step_deletion(records: MethodRecords) -> Evidence:
    """Area lost by deleting high-entropy steps first, beside as many steps at another solution's positions."""
    areas = deletion_areas(records)
    raw = areas["low_first"] - areas["high_first"]
    matched = areas["matched"] - areas["high_first"]
    details = (
        ("low first minus high first (raw gap)", shown(raw)),
        ("random minus high first", shown(areas["random"] - areas["high_first"])),
    )
    unit = "points of mean success"
    return all_hold(
        superiority(matched, 0.0, "matched minus high first", unit),
        superiority(matched - MATCHED_SHARE * raw, 0.0, "the same minus a quarter of the raw gap", unit),
        details=details,
        refuting=((1,),),
        required=1,
    )


def deletion_areas(records: MethodRecords) -> dict[str, np.ndarray]:
    """Mean success over the shares deleted, points, (seeds,), for each order of deletion."""
    rows = _table(records, "deletion")
    means = rows.groupby(["order", "seed"])["success"].mean()
    return {str(order): 100 * means[order].sort_index().to_numpy(dtype=float) for order in rows["order"].unique()}


def deletion_curves(records: MethodRecords, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares deleted (shares,), and the success after it (seeds, shares)."""
    rows = _table(records, "deletion")
    wide = rows[rows["order"] == order].pivot(index="seed", columns="share", values="success").sort_index()
    return wide.columns.to_numpy(dtype=float), wide.to_numpy(dtype=float)


def _artefact(differences: np.ndarray) -> str:
    """Whether golden traces and another policy's are alike: two one-sided tests at 5 %, the 90 % interval inside the
    margin. An interval outside of it says no; anything else settles nothing."""
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return "not settled"
    found = mean_interval(known, confidence=0.90)
    if found.low > -SAME and found.high < SAME:
        return "yes"
    return "no" if found.low > SAME or found.high < -SAME else "not settled"


def golden_entropy(records: MethodRecords) -> Evidence:
    """Mean token entropy of reference traces minus that of own successes, under the base."""
    rows = _table(records, "golden").sort_values("seed")
    golden, own, other = (100 * rows[name].to_numpy(dtype=float) for name in ("golden", "own", "other"))
    details = (
        ("reference traces, hundredths of a nat", shown(golden, signed=False)),
        ("own successes", shown(own, signed=False)),
        ("right solutions of the demonstrators", shown(other, signed=False)),
        ("reference minus demonstrators", shown(golden - other)),
        (
            "reference and demonstrators alike: an artefact of text not sampled from the policy",
            _artefact(golden - other),
        ),
    )
    unit = "hundredths of a nat"
    return all_hold(superiority(golden - own, SAME, "reference minus own successes", unit), details=details)


def picks(records: MethodRecords, arm: str = "frozen") -> dict[str, np.ndarray]:
    """Of the clips of an arm, means over its steps for each seed, (seeds,): weighted by the clips of each step."""
    weights = logged(records, REASONING, arm, "echo/groups_with_clip")
    names = ("short_steps", "short_steps_of_pool", "step_tokens", "clip_tokens", "clip_share", "first_steps")
    found = {}
    for name in names:
        values = logged(records, REASONING, arm, f"echo/{name}")
        known = np.isfinite(values) & (weights > 0)
        total = np.where(known, weights, 0).sum(axis=1)
        sums = np.where(known, weights * np.where(known, values, 0), 0).sum(axis=1)
        found[name] = np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)
    training = records.experiment[REASONING]["training"]
    found["clips"] = np.where(np.isfinite(weights), weights, 0).sum(axis=1) * training["questions_per_step"]
    return found


def short_step_bias(records: MethodRecords) -> Evidence:
    """Share of picked steps of 3 tokens or fewer over the share among all steps of the pool, one ratio a seed."""
    found = picks(records)
    base_rate = found["short_steps_of_pool"]
    ratios = np.where(base_rate > 0, found["short_steps"] / np.where(base_rate > 0, base_rate, 1), np.nan)
    details = (
        ("picked steps of 3 tokens or fewer, percent", shown(100 * found["short_steps"], signed=False)),
        ("steps of 3 tokens or fewer in the pool, percent", shown(100 * base_rate, signed=False)),
        ("tokens of a picked step", shown(found["step_tokens"], signed=False)),
        ("tokens of a clip", shown(found["clip_tokens"], signed=False)),
        ("share of its episode that a clip takes, percent", shown(100 * found["clip_share"], signed=False)),
        ("clips that are the first step, percent", shown(100 * found["first_steps"], signed=False)),
        ("clips in all", f"{found['clips'].sum():.0f}"),
    )
    if np.isfinite(ratios).sum() < 2:
        return not_measured("the pool has no short step")
    unit = "times the base rate"
    return all_hold(superiority(ratios, TRIVIAL_RATIO, "ratio", unit, null=1.0), details=details)
