"""The claims on PASS@(k,T): section 7 of the specification, fixed before any run.

Gains are trained minus base, in points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from reproduce.claims.grid import Records
from reproduce.claims.published import published_number
from reproduce.claims.tests import all_must_hold, equivalence, interval_text, quote, superiority
from reproduce.claims.verdicts import Claim, Evidence
from reproduce.core.config import (
    INDEPENDENT,
    PREFIX_FORK,
)
from reproduce.core.files import UserError
from reproduce.papers.pass_kt.experiment import ARMS, KEY
from theory.inference import crossed_t_interval, hierarchical_bootstrap
from theory.pass_kt import crossing_k, pass_at_k

# ---- Margins, in points, and the bound on k: section 7 of the specification where not marked as ours.

STATIC_MARGIN, DEPTH_MARGIN, ROUNDS_MARGIN = 5.0, 3.0, 3.0
SPECIFIC_EFFECT = 2.0
"""Ours: a smaller difference in widening would not be worth the name of task-specific."""
SMALL_K = 16
"""Ours: the paper reports a crossing at a `small` k of about 4."""


def _pass(
    records: Records, arm: str, category: str, cap: int, ks: Sequence[int], estimator: str = INDEPENDENT
) -> np.ndarray:
    """Unbiased PASS@(k,T) in points, (seeds, questions, ks)."""
    n, c = records.counts_of(arm, category, cap, estimator)
    return 100 * pass_at_k(n[..., None], c[..., None], np.asarray(ks))


def _gain(records: Records, category: str, cap: int, ks: Sequence[int]) -> np.ndarray:
    """PASS@(k,T) of the trained policy minus its base's, (seeds, questions, ks)."""
    return _pass(records, "grpo", category, cap, ks) - _pass(records, "base", category, cap, ks)


def _ks(records: Records) -> tuple[int, ...]:
    return tuple(2**power for power in range(int(records.experiment["evaluation"]["largest_k"]).bit_length()))


def _deepest(records: Records) -> int:
    return max(records.experiment["evaluation"]["caps"])


def _widening(records: Records, category: str, cap: int) -> np.ndarray:
    """W = gain at the largest k minus gain at k = 1, (seeds, questions)."""
    gain = _gain(records, category, cap, (1, _ks(records)[-1]))
    return gain[..., 1] - gain[..., 0]


def static_inert(records: Records) -> Evidence:
    """Static questions: the gain is within 5 points at each of the three largest k."""
    ks = _ks(records)[-3:]
    gain = _gain(records, "static", 0, ks)
    interval = crossed_t_interval(gain, 0.90)
    return equivalence(
        gain,
        margin=STATIC_MARGIN,
        details=tuple((f"gain at k = {k} [90 %]", interval_text(interval, i)) for i, k in enumerate(ks)),
    )


def gap_widens(records: Records) -> Evidence:
    """Bridge questions: the gain at the largest k exceeds the gain at k = 1."""
    ks, cap = _ks(records), _deepest(records)
    interval = crossed_t_interval(_gain(records, "bridge", cap, ks))
    details = tuple((f"gain at k = {k}", interval_text(interval, i)) for i, k in enumerate(ks))
    return superiority(_widening(records, "bridge", cap), smallest_effect=0.0, details=details)


def endpoint_gain(records: Records) -> Evidence:
    """Bridge questions: the gain at the largest k and T is positive; the paper's +4 points is the effect of
    interest."""
    published = published_number(KEY, "net-expansion.C.RL-base").value
    return superiority(
        _gain(records, "bridge", _deepest(records), _ks(records)[-1:])[..., 0], smallest_effect=float(published)
    )


def crossing_small_k(records: Records) -> Evidence:
    """Bridge questions: the mean gain turns from negative to positive at some small k (at most 16)."""
    ks, cap = _ks(records), _deepest(records)
    gain = _gain(records, "bridge", cap, ks)
    bootstrap = hierarchical_bootstrap(gain, np.random.default_rng(0), resamples=4000, keep_draws=True)
    assert bootstrap.draws is not None
    crossings = crossing_k(ks, bootstrap.draws)
    crosses = crossings[~np.isnan(crossings)]
    share = len(crosses) / len(crossings)
    low, high = np.quantile(crosses, [0.025, 0.975]) if len(crosses) else (np.nan, np.nan)
    return Evidence(
        effect=float(crossing_k(ks, gain.mean(axis=(0, 1)))),
        low=float(low),
        high=float(high),
        confidence=0.95,
        interval_method="crossed percentile bootstrap over the resamples that cross, unit: seed and question",
        p_value=None,
        minimum_detectable_effect=None,
        in_favour=share >= 0.95 and bool(high <= SMALL_K),
        against=share < 0.5,
        seeds=gain.shape[0],
        questions=gain.shape[1],
        unit_of_effect="samples k",
        details=(("resamples in which the curves cross from below", f"{100 * share:.1f} %"),),
    )


def task_specific(records: Records) -> Evidence:
    """The gap widens more on bridge than on comparison and on static questions: both contrasts must hold.

    The categories have equally many questions, drawn independently, so pairing them by place loses nothing.
    """
    cap = _deepest(records)
    bridge = _widening(records, "bridge", cap)
    others = {"comparison": _widening(records, "comparison", cap), "static": _widening(records, "static", 0)}
    parts = {name: superiority(bridge - other, smallest_effect=SPECIFIC_EFFECT) for name, other in others.items()}
    details = tuple(
        (f"W(bridge) - W({name})", f"{part.effect:+.1f} [{part.low:+.1f}, {part.high:+.1f}], p = {part.p_value:.4f}")
        for name, part in parts.items()
    )
    return replace(all_must_hold(list(parts.values())), details=details)


def beyond_self_null(records: Records) -> Evidence:
    """Bridge questions gained over the base's boundary exceed what a second sample of the base gains over the first.

    A question is inside a sample's boundary if any of its n episodes is right. Given the base's first sample, the
    trained policy's and the base's second sample are exchangeable under the null, so the difference is symmetric.
    """
    cap = _deepest(records)
    (n, first), (n_second, second) = (records.counts_of("base", "bridge", cap, half=half) for half in (0, 1))
    n_trained, trained = records.counts_of("grpo", "bridge", cap)
    if not (np.array_equal(n, n_second) and np.array_equal(n, n_trained)):
        raise UserError(
            "the self-null needs equally many episodes of the base, its second sample and the trained policy"
        )
    gained = (first == 0) & (trained > 0)
    self_gained = (first == 0) & (second > 0)
    lost = (first > 0) & (trained == 0)

    def per_seed(table: np.ndarray) -> str:
        return f"{table.sum(axis=1).mean():.1f} of {table.shape[1]}"

    details = (
        ("questions gained by the trained policy, mean over seeds", per_seed(gained)),
        ("questions lost by the trained policy", per_seed(lost)),
        ("questions gained by a second sample of the base (self-null)", per_seed(self_gained)),
    )
    return superiority(100.0 * (gained.astype(float) - self_gained), smallest_effect=0.0, details=details)


def depth_saturation(records: Records) -> Evidence:
    """Two-hop questions: PASS at the largest k grows by less than 3 points from T = 2 to 3 and from T = 2 to 5."""
    k = _ks(records)[-1:]
    cells, labels = [], []
    for arm in ARMS:
        for category in ("bridge", "comparison"):
            at_two = _pass(records, arm, category, 2, k, PREFIX_FORK)[..., 0]
            for cap in (cap for cap in records.experiment["evaluation"]["caps"] if cap > 2):
                cells.append(_pass(records, arm, category, cap, k, PREFIX_FORK)[..., 0] - at_two)
                labels.append(f"{arm}, {category}: PASS({k[0]},{cap}) - PASS({k[0]},2) [90 %]")
    table = np.stack(cells, axis=-1)
    interval = crossed_t_interval(table, 0.90)
    details = tuple((label, interval_text(interval, place)) for place, label in enumerate(labels))
    return equivalence(table, margin=DEPTH_MARGIN, one_sided_refutation=True, details=details)


def rounds_unlock(records: Records) -> Evidence:
    """Bridge questions: 4 samples of two rounds beat the largest number of samples of one round, for both policies."""
    k = _ks(records)[-1]

    def difference(arm: str, category: str) -> np.ndarray:
        return (_pass(records, arm, category, 2, (4,)) - _pass(records, arm, category, 1, (k,)))[..., 0]

    parts = []
    for arm in ARMS:
        part = superiority(difference(arm, "bridge"), smallest_effect=0.0)
        equal = part.low > -ROUNDS_MARGIN and part.high < ROUNDS_MARGIN
        parts.append(replace(part, against=not part.in_favour and (equal or part.high < 0)))
    details = tuple(
        (f"{arm}, {category}: PASS(4,2) - PASS({k},1)", interval_text(crossed_t_interval(difference(arm, category))))
        for arm in ARMS
        for category in ("bridge", "comparison")
    )
    return replace(all_must_hold(parts), details=details)


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[Records], Evidence],
    *figures: str,
) -> Claim:
    text, provenance = quote(KEY, published)
    return Claim(f"{KEY}.{name}", statement, text, provenance, test, refuted_if, examine, figures)


CLAIMS = (
    _claim(
        "static-inert",
        "On static questions, which need no tool, RL does not change the boundary.",
        "{boundary-size.A.base} against {boundary-size.A.RL} of 100 questions with a success in 64 episodes; "
        "{boundary-gained.A.RL-base} gained, {boundary-lost.A.RL-base} lost",
        "gain at k = 16, 32, 64 (T = 0); TOST with a margin of 5 points at each k, all must pass",
        f"a 90 % interval lies wholly outside +-{STATIC_MARGIN:g} points",
        static_inert,
        "static_curves",
    ),
    _claim(
        "gap-widens",
        "On bridge questions the gap between the trained policy and its base widens with k.",
        "PASS {pass.C.RL.k1.T5} against {pass.C.base.k1.T5} at k = 1, {pass.C.RL.k64.T5} against {pass.C.base.k64.T5} "
        "at k = 64",
        "W = gain(64) - gain(1) at T = 5; one-sided exact sign-flip over seeds",
        "the 95 % interval of W lies below 0",
        gap_widens,
        "bridge_curves",
        "gain_map",
    ),
    _claim(
        "endpoint-gain",
        "On bridge questions the trained policy's PASS@(64, T = 5) exceeds its base's.",
        "{net-expansion.C.RL-base} points: {boundary-gained.C.RL-base} questions gained, "
        "{boundary-lost.C.RL-base} lost",
        "gain(64) at T = 5; one-sided exact sign-flip over seeds",
        "the 95 % interval includes 0 or less and ends below the published +4 points",
        endpoint_gain,
        "gain_map",
        "bridge_curves",
    ),
    _claim(
        "crossing-small-k",
        "On bridge questions the curves of base and trained policy cross at a small k.",
        "base ahead at k = 1, crossing at k of about {crossing.C.RL-base}",
        "k* where the mean gain turns positive, interpolated in log2 k; bootstrap over seeds and questions; supported "
        "when 95 % of resamples cross and the interval ends at or below k = 16 (bound ours); descriptive, no p",
        "more than half of the resamples do not cross from below",
        crossing_small_k,
        "bridge_curves",
    ),
    _claim(
        "task-specific",
        "The widening is specific to sequential composition: larger on bridge than on comparison and static questions.",
        "equal pairs of gained and lost questions on comparison ({boundary-gained.B.RL-base} : "
        "{boundary-lost.B.RL-base}) and bridge ({boundary-gained.C.RL-base} : {boundary-lost.C.RL-base})",
        "W(bridge) - W(comparison) and W(bridge) - W(static), both one-sided exact sign-flips over seeds; the larger p",
        f"the 95 % interval of a contrast includes 0 or less and ends below {SPECIFIC_EFFECT:g} points (the smallest "
        "effect of interest, ours)",
        task_specific,
        "widening",
    ),
    _claim(
        "beyond-self-null",
        "The questions gained exceed what resampling the base alone would gain (ours).",
        "{boundary-gained.C.RL-base} gained, {boundary-lost.C.RL-base} lost, without a base-against-base comparison",
        "gained by the trained policy minus gained by a second sample of the base, n episodes each, any success of n, "
        "T = 5; one-sided exact sign-flip over seeds",
        "the 95 % interval lies below 0",
        beyond_self_null,
        "boundary",
    ),
    _claim(
        "depth-saturation",
        "Two-hop questions saturate at T = 2 rounds.",
        "saturation depth {saturation-depth.B.base} on comparison and {saturation-depth.C.RL} on bridge questions",
        "PASS(64,3) - PASS(64,2) and PASS(64,5) - PASS(64,2) for both policies and categories, prefix-fork episodes; "
        "TOST with a margin of 3 points, all must pass",
        "the 90 % interval of an increment lies above 3 points",
        depth_saturation,
        "depth",
    ),
    _claim(
        "rounds-unlock",
        "A second round unlocks on bridge questions what more samples of one round cannot.",
        "stated in words only; no number",
        "PASS(4,2) - PASS(64,1) on bridge questions for both policies; one-sided exact sign-flip over seeds, the "
        "larger p",
        f"for either policy, the 95 % interval lies inside +-{ROUNDS_MARGIN:g} points and includes 0, or lies below 0",
        rounds_unlock,
        "rounds",
    ),
)
