"""The claims of PASS@(k,T): section 7 of the specification, fixed before any run. Gains are trained minus base."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reproduce.claims.evidence import Evidence, Part
from reproduce.claims.grid import Records
from reproduce.claims.published import published_number
from reproduce.claims.tests import all_hold, equivalence, interval_text, quote, row, superiority
from reproduce.claims.verdicts import Claim, Family, Gate, Needs
from reproduce.core.config import INDEPENDENT, PREFIX_FORK
from reproduce.core.files import UserError
from reproduce.papers.pass_kt.experiment import KEY
from theory.inference import crossed_t_interval, hierarchical_bootstrap
from theory.pass_kt import crossing_k, pass_at_k

COMPARED = ("base", "grpo")
STATIC_MARGIN, DEPTH_MARGIN = 5.0, 3.0
"""Points, of the two equivalences."""
SMALL_K = 16
"""Ours: the paper reports a crossing at a `small` k of about 4."""
EFFECT, ROUNDS_EFFECT = 2.0, 3.0
"""Points, the smallest effects of interest: ours, where the paper's own gain is not the measure."""
FLOOR = 5.0
"""Points of PASS below which a policy is on the floor of a cell."""
CHANCE = 90.0
"""PASS of the base at the largest k on comparison questions from which a guess among the candidates is enough."""


def pass_points(
    records: Records, arm: str, category: str, cap: int, ks: Sequence[int], estimator: str = INDEPENDENT
) -> np.ndarray:
    """Unbiased PASS@(k,T) in points, (seeds, questions, ks)."""
    n, c = records.counts_of(arm, category, cap, estimator)
    return 100 * pass_at_k(n[..., None], c[..., None], np.asarray(ks))


def gain(records: Records, category: str, cap: int, ks: Sequence[int]) -> np.ndarray:
    """PASS@(k,T) of the trained policy minus its base's, (seeds, questions, ks)."""
    return pass_points(records, "grpo", category, cap, ks) - pass_points(records, "base", category, cap, ks)


def grid_ks(records: Records) -> tuple[int, ...]:
    """The k of the experiment, powers of two."""
    return tuple(2**power for power in range(int(records.experiment["evaluation"]["largest_k"]).bit_length()))


def deepest(records: Records) -> int:
    """The largest T."""
    return max(records.experiment["evaluation"]["caps"])


def _widening(records: Records, category: str, cap: int) -> np.ndarray:
    """W = gain at the largest k minus gain at k = 1, (seeds, questions)."""
    found = gain(records, category, cap, (1, grid_ks(records)[-1]))
    return found[..., 1] - found[..., 0]


def room_to_widen(records: Records) -> float:
    """Points that W can reach at most: what the base leaves unsolved at the largest k, minus the gain at k = 1."""
    k, cap = grid_ks(records)[-1], deepest(records)
    headroom = 100 - pass_points(records, "base", "bridge", cap, (k,)).mean()
    return float(headroom - gain(records, "bridge", cap, (1,)).mean())


def base_on_comparison(records: Records) -> float:
    """PASS of the base on comparison questions at the largest k and T."""
    return float(pass_points(records, "base", "comparison", deepest(records), grid_ks(records)[-1:]).mean())


def base_of_one_round(records: Records) -> float:
    """PASS of the base on bridge questions at the largest k with one round."""
    return float(pass_points(records, "base", "bridge", 1, grid_ks(records)[-1:]).mean())


CEILING = Gate("room that the ceiling leaves for W", room_to_widen, least=EFFECT, unit="points")
GUESSING = Gate("the base's PASS on comparison questions at the largest k", base_on_comparison, most=CHANCE)
ONE_ROUND = Gate("the base's PASS on bridge questions at the largest k, one round", base_of_one_round, least=FLOOR)


def static_inert(records: Records) -> Evidence:
    """Static questions: the gain is within 5 points at each of the three largest k."""
    ks = grid_ks(records)[-3:]
    found = gain(records, "static", 0, ks)
    return all_hold(*(equivalence(found[..., at], STATIC_MARGIN, f"gain at k = {k}") for at, k in enumerate(ks)))


def gap_widens(records: Records) -> Evidence:
    """Bridge questions: the gain at the largest k exceeds the gain at k = 1."""
    ks, cap = grid_ks(records), deepest(records)

    def details() -> tuple[tuple[str, str], ...]:
        interval = crossed_t_interval(gain(records, "bridge", cap, ks))
        return tuple((f"gain at k = {k}", interval_text(interval, i)) for i, k in enumerate(ks))

    return all_hold(superiority(_widening(records, "bridge", cap), EFFECT, "W"), details=details)


def endpoint_gain(records: Records) -> Evidence:
    """Bridge questions: the gain at the largest k and T is positive."""
    k = grid_ks(records)[-1]
    table = gain(records, "bridge", deepest(records), (k,))[..., 0]
    return all_hold(superiority(table, published_gain(), f"gain at k = {k}"))


def published_gain() -> float:
    """The paper's net expansion, in points."""
    return float(published_number(KEY, "net-expansion.C.RL-base").value)


def crossing_small_k(records: Records) -> Evidence:
    """Bridge questions: the base is ahead at k = 1 and the trained policy at k = 16, so that the curves cross between.

    The crossing itself, interpolated, is told beside it with its bootstrap interval.
    """
    ks, cap = grid_ks(records), deepest(records)
    small = max(k for k in ks if k <= SMALL_K)
    ends = gain(records, "bridge", cap, (1, small))

    def details() -> tuple[tuple[str, str], ...]:
        found = gain(records, "bridge", cap, ks)
        drawn = hierarchical_bootstrap(found, np.random.default_rng(0), resamples=4000, keep_draws=True).draws
        assert drawn is not None
        crossings = crossing_k(ks, drawn)
        crosses = crossings[~np.isnan(crossings)]
        share = 100 * len(crosses) / len(crossings)
        rows = [("resamples in which the curves cross from below", f"{share:.1f} %")]
        if len(crosses):
            low, high = np.quantile(crosses, [0.025, 0.975])
            rows.append(("k at which they cross, 95 % of those resamples", f"{low:.1f} to {high:.1f}"))
        return tuple(rows)

    return all_hold(
        superiority(-ends[..., 0], EFFECT, "base ahead at k = 1"),
        superiority(ends[..., 1], EFFECT, f"trained policy ahead at k = {small}"),
        details=details,
    )


def task_specific(records: Records) -> Evidence:
    """The gap widens more on bridge than on comparison and on static questions: both contrasts must hold.

    The categories have equally many questions, drawn independently, so pairing them by place loses nothing.
    """
    cap = deepest(records)
    bridge = _widening(records, "bridge", cap)
    others = {"comparison": _widening(records, "comparison", cap), "static": _widening(records, "static", 0)}
    parts = [superiority(bridge - other, EFFECT, f"W(bridge) - W({name})") for name, other in others.items()]
    return all_hold(*parts)


def beyond_self_null(records: Records) -> Evidence:
    """Bridge questions: the boundary of the trained policy is larger than the base's, net of what it loses.

    A question is inside the boundary of n episodes if any of them is right. The base has 2n: its boundary of n is the
    mean over all ways to split them, so that a second sample of the base would gain nothing on average. Questions
    gained alone would not do: any symmetric reshuffling of success rates gains some and loses as many.
    """
    cap = deepest(records)
    (n, first), (n_second, second) = (records.counts_of("base", "bridge", cap, half=half) for half in (0, 1))
    n_trained, trained = records.counts_of("grpo", "bridge", cap)
    if not (np.array_equal(n, n_second) and np.array_equal(n, n_trained)):
        raise UserError(
            "the self-null needs equally many episodes of the base, its second sample and the trained policy"
        )
    inside = pass_at_k(n + n_second, first + second, int(n.max()))

    def details() -> tuple[tuple[str, str], ...]:
        def per_seed(table: np.ndarray) -> str:
            return f"{table.sum(axis=1).mean():.1f} of {table.shape[1]}"

        return (
            ("questions gained by the trained policy, mean over seeds", per_seed((first == 0) & (trained > 0))),
            ("questions lost by the trained policy", per_seed((first > 0) & (trained == 0))),
            ("questions gained by a second sample of the base (self-null)", per_seed((first == 0) & (second > 0))),
            ("questions lost by a second sample of the base", per_seed((first > 0) & (second == 0))),
        )

    return all_hold(superiority(100 * ((trained > 0) - inside), EFFECT, "net of the boundary"), details=details)


def depth_saturation(records: Records) -> Evidence:
    """Two-hop questions: PASS at the largest k grows by less than 3 points from T = 2 to 3 and from T = 2 to 5."""
    k = grid_ks(records)[-1]
    parts = []
    for arm in COMPARED:
        for category in ("bridge", "comparison"):
            at_two = pass_points(records, arm, category, 2, (k,), PREFIX_FORK)[..., 0]
            for cap in (cap for cap in records.experiment["evaluation"]["caps"] if cap > 2):
                table = pass_points(records, arm, category, cap, (k,), PREFIX_FORK)[..., 0] - at_two
                label = f"{arm}, {category}: PASS({k},{cap}) - PASS({k},2)"
                parts.append(equivalence(table, DEPTH_MARGIN, label, upper_only=True))
    return all_hold(*parts)


def rounds_unlock(records: Records) -> Evidence:
    """Bridge questions: 4 samples of two rounds beat the largest number of samples of one round, for both policies."""
    k = grid_ks(records)[-1]

    def difference(arm: str, category: str) -> np.ndarray:
        one, two = (pass_points(records, arm, category, cap, (few,)) for cap, few in ((1, k), (2, 4)))
        return (two - one)[..., 0]

    def details() -> tuple[tuple[str, str], ...]:
        return tuple(
            row(f"{arm}, comparison: PASS(4,2) - PASS({k},1)", difference(arm, "comparison")) for arm in COMPARED
        )

    parts = [
        superiority(difference(arm, "bridge"), ROUNDS_EFFECT, f"{arm}, bridge: PASS(4,2) - PASS({k},1)")
        for arm in COMPARED
    ]
    return all_hold(*parts, details=details)


def positive_controls(records: Records) -> tuple[tuple[str, Part], ...]:
    """Training works at all: success at k = 1 on the trained categories rises over the base."""
    cap = deepest(records)
    gains = [gain(records, category, cap, (1,))[..., 0] for category in ("comparison", "bridge")]
    control = superiority(np.concatenate(gains, axis=1), 0.0)
    return (("success at k = 1 on the trained categories, trained minus base", control),)


MEANINGS = {
    "gap-widens": (
        "judge a policy at many samples: what training adds shows more there than at one",
        "judge training at one sample: at many samples it adds less, not more",
    ),
    "endpoint-gain": (
        "training with GRPO widens what many samples can reach, it does more than sharpen",
        "do not count on GRPO to solve what many samples of the base do not",
    ),
    "task-specific": (
        "expect new capability where steps build on one another, not elsewhere",
        "expect no more new capability where steps build on one another than elsewhere",
    ),
    "beyond-self-null": (
        "the net of questions gained is more than a second draw of the base would give",
        "questions gained are what a second draw of the base would give as well",
    ),
}
"""For somebody who trains agents: of a headline claim that is supported, and of one that is refuted."""


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[Records], Evidence],
    *figures: str,
    family: Family = "headline",
    effect: float | None = EFFECT,
    gates: tuple[Gate, ...] = (),
    premise: str = "",
    by_labels: bool = True,
) -> Claim:
    text, provenance = quote(KEY, published)
    return Claim(
        f"{KEY}.{name}",
        statement,
        text,
        provenance,
        test,
        refuted_if,
        examine,
        figures,
        Needs(COMPARED, ("retrieval",)),
        family,
        effect,
        gates,
        premise and f"{KEY}.{premise}",
        meaning=MEANINGS.get(name, ("", "")),
        by_labels=by_labels,
    )


FLIPS = "one-sided exact sign-flip over seeds"
SMALLER = f"surely below {EFFECT:g} points and not surely positive"

CLAIMS = (
    _claim(
        "static-inert",
        "On static questions, which need no tool, RL does not change the boundary.",
        "{boundary-size.A.base} against {boundary-size.A.RL} of 100 questions with a success in 64 episodes; "
        "{boundary-gained.A.RL-base} gained, {boundary-lost.A.RL-base} lost",
        "gain at k = 16, 32, 64 (T = 0); TOST with a margin of 5 points at each k, all must pass",
        f"at some k surely outside +-{STATIC_MARGIN:g} points",
        static_inert,
        "static_curves",
        family="secondary",
        effect=None,
        by_labels=False,
    ),
    _claim(
        "gap-widens",
        "On bridge questions the gap between the trained policy and its base widens with k.",
        "PASS {pass.C.RL.k1.T5} against {pass.C.base.k1.T5} at k = 1, {pass.C.RL.k64.T5} against {pass.C.base.k64.T5} "
        "at k = 64",
        f"W = gain(64) - gain(1) at T = 5; {FLIPS}",
        SMALLER,
        gap_widens,
        "bridge_curves",
        "gain_map",
        gates=(CEILING,),
    ),
    _claim(
        "endpoint-gain",
        "On bridge questions the trained policy's PASS@(64, T = 5) exceeds its base's.",
        "{net-expansion.C.RL-base} points: {boundary-gained.C.RL-base} questions gained, "
        "{boundary-lost.C.RL-base} lost",
        f"gain(64) at T = 5; {FLIPS}",
        f"surely below the published +{published_gain():g} points and not surely positive",
        endpoint_gain,
        "gain_map",
        "bridge_curves",
        effect=published_gain(),
    ),
    _claim(
        "crossing-small-k",
        "On bridge questions the curves of base and trained policy cross at a small k.",
        "base ahead at k = 1, crossing at k of about {crossing.C.RL-base}",
        f"minus gain(1), and gain({SMALL_K}) (bound on k ours), at T = 5; both must be positive, {FLIPS}",
        f"either {SMALLER}",
        crossing_small_k,
        "bridge_curves",
        family="secondary",
    ),
    _claim(
        "task-specific",
        "The widening is specific to sequential composition: larger on bridge than on comparison and static questions.",
        "equal pairs of gained and lost questions on comparison ({boundary-gained.B.RL-base} : "
        "{boundary-lost.B.RL-base}) and bridge ({boundary-gained.C.RL-base} : {boundary-lost.C.RL-base})",
        f"W(bridge) - W(comparison) and W(bridge) - W(static); both must be positive, {FLIPS}",
        f"either {SMALLER}",
        task_specific,
        "widening",
        gates=(CEILING, GUESSING),
        premise="gap-widens",
    ),
    _claim(
        "beyond-self-null",
        "The trained policy solves questions beyond what resampling the base alone would (ours).",
        "{boundary-gained.C.RL-base} gained, {boundary-lost.C.RL-base} lost, without a base-against-base comparison",
        "questions inside the boundary of n episodes (any success) of the trained policy minus of the base, the base's "
        f"mean over all splits of its 2n episodes, T = 5; {FLIPS}",
        SMALLER,
        beyond_self_null,
        "boundary",
    ),
    _claim(
        "depth-saturation",
        "Two-hop questions saturate at T = 2 rounds.",
        "saturation depth {saturation-depth.B.base} on comparison and {saturation-depth.C.RL} on bridge questions",
        "PASS(64,3) - PASS(64,2) and PASS(64,5) - PASS(64,2) for both policies and categories, prefix-fork episodes; "
        "TOST with a margin of 3 points, all must pass",
        "an increment surely above 3 points",
        depth_saturation,
        "depth",
        family="secondary",
        effect=None,
        by_labels=False,
    ),
    _claim(
        "rounds-unlock",
        "A second round unlocks on bridge questions what more samples of one round cannot.",
        "stated in words only; no number",
        f"PASS(4,2) - PASS(64,1) on bridge questions for both policies; both must be positive, {FLIPS}",
        f"for either policy surely below {ROUNDS_EFFECT:g} points and not surely positive",
        rounds_unlock,
        "rounds",
        family="secondary",
        effect=ROUNDS_EFFECT,
        gates=(ONE_ROUND,),
        by_labels=False,
    ),
)
