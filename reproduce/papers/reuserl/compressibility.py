"""Does a run's compressibility predict its success out of distribution beyond the length of its successes?

One point a run: every trained arm and seed of an environment. Compressibility is minus the mean seg/T of the run's
successes on the test panel, under the dictionary that extraction finds in a part of them, equally many for every run:
more successes pay for more phrases, so that otherwise it would measure how often a run succeeds. They are drawn without
replacement, for strings drawn twice compress by being learned by heart. Source: specification of ReuseRL, section 7.3.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import scipy

from reproduce.claims.evidence import Evidence, Part, Rule, Sample, not_measured
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import all_hold
from reproduce.papers.reuserl.experiment import ALL_ARMS, ENVIRONMENTS
from reproduce.papers.reuserl.measures import ALPHABETS, drawn_law, encoded, strings_of
from reproduce.report.text import number
from theory.resampling import FloatArray, small_sample_factor
from theory.segmentation import phrase_counts
from theory.skill_extraction import extract_dictionary
from theory.step_down import Component

FEWEST_SUCCESSES = 16
"""Runs with fewer successes on the test panel have no point."""
RESAMPLES = 1000
NEGLIGIBLE = 20.0
"""A correlation inside +-0.2, in hundredths, would refute the claim."""
UNIT = "hundredths of ρ"


@dataclass(frozen=True)
class RunPoints:
    """Of each run, (seeds, arms): mean seg/T and mean length of its successes on the test panel (NaN with too
    few), and its success on the out-of-distribution panel in points."""

    cost: FloatArray
    length: FloatArray
    ood_success: FloatArray
    arms: tuple[str, ...]


def run_points(records: MethodRecords, environment: str) -> RunPoints:
    """The points of every trained run of an environment."""
    arms = tuple(arm for arm in ALL_ARMS if arm != "base" and records.has(environment, arm))
    seeds = sorted(records.counts[records.counts["environment"] == environment]["seed"].unique())
    successes = {
        (row, column): strings_of(records, environment, arm, seed=int(seed))
        for column, arm in enumerate(arms)
        for row, seed in enumerate(seeds)
    }
    known = {place: found for place, found in successes.items() if found["count"].sum() >= FEWEST_SUCCESSES}
    drawn_each = min((int(found["count"].sum()) for found in known.values()), default=0)
    cost, length = (np.full((len(seeds), len(arms)), np.nan) for _ in range(2))
    for (row, column), found in known.items():
        strings, law = encoded(found["skills"], environment), drawn_law(found)
        generator = np.random.default_rng((int(seeds[row]), zlib.crc32(arms[column].encode())))
        everyone = np.repeat(np.arange(len(strings)), found["count"].to_numpy())
        drawn = [strings[place] for place in generator.permutation(everyone)[:drawn_each]]
        dictionary = extract_dictionary(drawn, len(ALPHABETS[environment]))
        cost[row, column] = float(phrase_counts(strings, dictionary) @ law) / float(found["T"].max())
        length[row, column] = float(np.array([len(string) for string in strings]) @ law)
    success = np.stack([records.success(environment, arm, "ood").mean(axis=1) for arm in arms], axis=1)
    return RunPoints(cost, length, success, arms)


def partial_rank_correlation(x: FloatArray, y: FloatArray, given: FloatArray) -> float:
    """Spearman's partial correlation of x and y given a third, over the entries where all three are finite; NaN if one
    of them does not vary beyond the third. Source: textbook, Pearson's of the residuals of ranks."""
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    if known.sum() < 4:
        return float("nan")
    ranks = [scipy.stats.rankdata(values[known]) - (known.sum() + 1) / 2 for values in (x, y, given)]
    return _partial_correlation(*ranks)


def partial_correlation_within(x: FloatArray, y: FloatArray, given: FloatArray) -> float:
    """The same of (seeds, arms) tables with ranks taken among the seeds of each arm and centred there, so that no
    difference between arms has a part in it."""
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    if known.sum() < 4:
        return float("nan")
    ranks = []
    for values in (x, y, given):
        # What is not known ranks last, where it leaves the ranks of the others as they are.
        rank = np.where(known, scipy.stats.rankdata(np.where(known, values, np.inf), axis=0), 0.0)
        ranks.append((rank - rank.sum(axis=0) / np.maximum(known.sum(axis=0), 1))[known])
    return _partial_correlation(*ranks)


def _partial_correlation(first: FloatArray, second: FloatArray, third: FloatArray) -> float:
    """Of values with mean 0; NaN if one of the first two does not vary beyond the third."""
    scale = float(third @ third)
    residuals = [rank - (rank @ third) / scale * third if scale else rank for rank in (first, second)]
    norms = [float(np.sqrt(residual @ residual)) for residual in residuals]
    if min(norms) < 1e-9 * len(first):
        return float("nan")
    return float(residuals[0] @ residuals[1] / (norms[0] * norms[1]))


def _mean_correlation(points: list[RunPoints], outcomes: list[FloatArray] | None = None) -> float:
    """Mean over environments of the correlation within arms, in hundredths; outcomes: in the place of the runs' own."""
    taken = outcomes or [one.ood_success for one in points]
    values = [
        -partial_correlation_within(one.cost, outcome, one.length) for one, outcome in zip(points, taken, strict=True)
    ]
    known = [value for value in values if np.isfinite(value)]
    return 100 * float(np.mean(known)) if known else float("nan")


def _resampled(points: list[RunPoints], generator: np.random.Generator, seeds: int) -> list[RunPoints]:
    """The same seeds drawn with replacement in every environment, each with all of its runs."""
    drawn = generator.integers(seeds, size=seeds)
    return [RunPoints(one.cost[drawn], one.length[drawn], one.ood_success[drawn], one.arms) for one in points]


def compressibility_evidence(records: MethodRecords) -> Evidence:
    """Mean over environments of the partial rank correlation within arms; p by permuting the outcomes within each arm;
    interval by resampling whole seeds, for the arms of a seed share its base and are not independent."""
    named = {name: run_points(records, name) for name in ENVIRONMENTS if records.has(name, "segcost")}
    points = list(named.values())
    if not points:
        return not_measured("no environment with SegCost")
    seeds = min(len(one.cost) for one in points)
    runs = sum(int(np.isfinite(one.cost).sum()) for one in points)
    found = _mean_correlation(points)
    if not np.isfinite(found):
        return not_measured("too few runs with successes, or none that differ")
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(RESAMPLES):
        permuted = [generator.permuted(one.ood_success, axis=0) for one in points]
        hits += _mean_correlation(points, permuted) >= found - 1e-9
    resampled = np.array([_mean_correlation(_resampled(points, generator, seeds)) for _ in range(RESAMPLES)])
    low, high = np.quantile(resampled[np.isfinite(resampled)], [0.025, 0.975])
    factor = small_sample_factor(seeds, 0.95)
    low, high = (max(-100.0, found + factor * (low - found)), min(100.0, found + factor * (high - found)))
    details = []
    for name, one in named.items():
        nothing, triple = np.zeros_like(one.cost), (one.cost, one.ood_success, one.length)
        for label, value in (
            (f"{name}, {int(np.isfinite(one.cost).sum())} runs: within arms, given length", triple),
            (f"{name}: within arms, without regard to length", (*triple[:2], nothing)),
        ):
            details.append((label, number(-100 * partial_correlation_within(*value), 1, True)))
        pooled = number(-100 * partial_rank_correlation(*triple), 1, True)
        details.append((f"{name}: across arms, given length", pooled))
    # What the bootstrap spreads, as a normal law: the p of a correlation of a fifth or more either way.
    error = float(np.std(resampled[np.isfinite(resampled)])) or 1e-9
    negligible = max(
        scipy.stats.norm.sf((found + NEGLIGIBLE) / error), scipy.stats.norm.cdf((found - NEGLIGIBLE) / error)
    )
    part = Part(
        label=f"partial correlation, {runs} runs",
        rule=Rule("other", smallest_effect=NEGLIGIBLE, unit=UNIT),
        # One statistic of all seeds together.
        sample=Sample(np.full(seeds, found)),
        low=float(low),
        high=float(high),
        confidence=0.95,
        method="expanded percentile bootstrap over whole seeds",
        support=Component(p_value=(1 + hits) / (1 + RESAMPLES)),
        refutation=Component(p_value=float(negligible)),
        in_favour=bool(low > 0),
        against=bool(low > -NEGLIGIBLE and high < NEGLIGIBLE),
    )
    return all_hold(part, details=tuple(details))
