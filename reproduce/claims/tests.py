"""The kit of tests that claims register, and the quoting of published numbers.

Tables have shape (seeds, tasks), or (seeds,) for one number a seed; both seeds and tasks are taken as random for
intervals. The p of a superiority, a non-inferiority and a trend is the exact sign flip over seeds, the unit of a claim
about a method; that of an equivalence the t of its interval. Each function gives one part; `all_hold` joins parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from reproduce.claims.evidence import Details, Evidence, Part, Rule, Sample, judge, sample_of
from reproduce.claims.published import published_number
from reproduce.claims.records import MethodRecords
from theory.inference import SeedQuestionInterval, crossed_t_interval

POWER = 0.8
FEWEST_STEPS = 1
UNKNOWN = float("nan")


def quote(paper: str, template: str) -> tuple[str, str]:
    """Fill `{identifier}` with published numbers; returns the text and where its numbers were read."""
    numbers = [published_number(paper, name) for name in re.findall(r"\{([^}]+)\}", template)]
    values = iter(f"{number.value:g}" for number in numbers)
    text = re.sub(r"\{[^}]+\}", lambda match: next(values), template)
    sources = dict.fromkeys(source for number in numbers for source in number.sources)
    directly = "read directly" if all(number.read_directly for number in numbers) else "not read directly"
    inferred = dict.fromkeys(key for number in numbers for key in number.inferred)
    directly += f"; {' and '.join(inferred)} inferred" if inferred else ""
    return text, f"{', '.join(sources)} ({directly})" if sources else "third-party digests (not read directly)"


def superiority(
    table: np.ndarray,
    smallest_effect: float,
    label: str = "",
    unit: str = "points",
    null: float = 0.0,
    episode_square: float = UNKNOWN,
) -> Part:
    """The mean lies above `null`; refuted where it is surely below `smallest_effect` and not surely above the null.

    episode_square: variance that the draw of episodes alone gives a cell of the table.
    """
    return judge(label, Rule(null=null, smallest_effect=smallest_effect, unit=unit), sample_of(table, episode_square))


def non_inferiority(table: np.ndarray, margin: float, label: str = "", unit: str = "points") -> Part:
    """The mean lies above minus the margin (`no harm`, `at or above`); refuted where it is surely below it."""
    return superiority(table, -margin, label, unit, null=-margin)


def equivalence(
    table: np.ndarray, margin: float, label: str = "", unit: str = "points", upper_only: bool = False
) -> Part:
    """The mean lies inside +-margin, by two one-sided tests; refuted where it surely lies outside (`upper_only`:
    above). 90 % interval."""
    return judge(label, Rule("equivalence", margin=margin, unit=unit, upper_only=upper_only), sample_of(table))


def difference(table: np.ndarray, margin: float, label: str = "", unit: str = "points") -> Part:
    """The mean is not 0, in either direction (two-sided sign flips); refuted where it surely lies inside +-margin."""
    return judge(label, Rule("difference", margin=margin, unit=unit), sample_of(table))


def trend(scores: np.ndarray, levels: Sequence[float], smallest_effect: float, label: str = "") -> Part:
    """The least-squares slope of (seeds, levels) scores on the levels is positive, one slope a seed, in points from a
    level of 0 to one of 1. Levels that do not differ have no slope: NaN."""
    x = np.asarray(levels, dtype=np.float64)
    x = x - x.mean()
    spread = float(x @ x)
    slopes = scores @ x / spread if spread > 0 else np.full(len(scores), np.nan)
    return superiority(slopes, smallest_effect, label)


def ratio(
    logarithms: np.ndarray, smallest_ratio: float, label: str = "", unit: str = "times", null: float = 1.0
) -> Part:
    """The mean logarithm of a ratio, one a seed, lies above that of `null`; told as a ratio."""
    rule = Rule(null=float(np.log(null)), smallest_effect=float(np.log(smallest_ratio)), unit=unit, ratio=True)
    return judge(label, rule, Sample(np.asarray(logarithms, dtype=np.float64)))


def episode_variance(records: MethodRecords, environment: str, arm: str, panel: str = "test") -> float:
    """Variance, in square points, that the draw of its episodes gives an arm's success on one task, mean over seeds and
    tasks; NaN for tasks of one episode."""
    n, successes = (records.table(environment, arm, name, panel) for name in ("n", "successes"))
    if n.min() < 2:
        return UNKNOWN
    share = successes / n
    return float((1e4 * share * (1 - share) / (n - 1)).mean())


def all_hold(
    *parts: Part,
    details: Details | Callable[[], Details] = (),
    refuting: tuple[tuple[int, ...], ...] = (),
    required: int = 0,
) -> Evidence:
    """Evidence for a claim all of whose parts must hold: every part is tested at the same level, so that the largest p
    is valid for the whole (intersection-union test). See `Evidence` for the other arguments."""
    return Evidence(parts, required, refuting, details)


def smoothed(values: np.ndarray, share: float = 0.1, fewest: int = 3) -> np.ndarray:
    """Mean over the last `share` of the steps up to each step, at least `fewest` of them; shape as given,
    (..., steps)."""
    width = min(values.shape[-1], max(fewest, round(share * values.shape[-1])))
    total = np.cumsum(np.concatenate([np.zeros((*values.shape[:-1], 1)), values], axis=-1), axis=-1)
    places = np.arange(1, values.shape[-1] + 1)
    starts = np.maximum(places - width, 0)
    return (total[..., places] - total[..., starts]) / (places - starts)


def edges(log: np.ndarray, fewest: int = FEWEST_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """First and last tenth of the steps of a (seeds, steps) log, each at least `fewest` steps."""
    size = edge_of(log.shape[1], fewest)
    return log[:, :size], log[:, -size:]


def edge_of(steps: int, fewest: int = FEWEST_STEPS) -> int:
    """Steps that count as the start or the end of a training: a tenth, at least `fewest`."""
    return max(fewest, steps // 10)


def mean_of_known(table: np.ndarray) -> np.ndarray:
    """Mean of each row over its finite entries; NaN where it has none."""
    known = np.isfinite(table)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, table, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def edge_means(log: np.ndarray, fewest: int = FEWEST_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a (seeds, steps) log over its first and over its last tenth, each (seeds,); NaN where nothing is
    logged."""
    first, last = edges(log, fewest)
    return mean_of_known(first), mean_of_known(last)


def interval_text(interval: SeedQuestionInterval, cell: int | tuple[int, ...] = ()) -> str:
    """`estimate [low, high]` of one cell, in points."""
    # Adding zero turns the minus zero that rounding leaves into zero.
    estimate, low, high = (
        round(float(part[cell]), 1) + 0.0 for part in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate:+.1f} [{low:+.1f}, {high:+.1f}]"


def shown(values: np.ndarray, digits: int = 1, signed: bool = True, is_ratio: bool = False) -> str:
    """`mean [low, high]` at 95 % of a (seeds, tasks) table or of one number a seed; `none` where fewer than two seeds
    are known. is_ratio: of logarithms, shown as ratios."""
    sample = sample_of(values)
    if len(sample.known) < 2:
        return "none"
    part = judge("", Rule(ratio=is_ratio), sample)
    sign = "+" if signed and not is_ratio else ""
    found = [f"{round(value, digits) + 0.0:{sign}.{digits}f}" for value in (part.effect, *part.interval)]
    return f"{found[0]} [{found[1]}, {found[2]}]"


def row(label: str, table: np.ndarray) -> tuple[str, str]:
    """A detail: label, and `estimate [low, high]` of a (seeds, tasks) table in points."""
    return label, interval_text(crossed_t_interval(table))
