"""ReuseRL: the tables of what the reported numbers support."""

from __future__ import annotations

from reproduce.papers.reuserl.audit.scores import (
    ARMS,
    BENCHMARKS,
    COUNTDOWN_PUZZLES,
    LARGEST,
    MAJORITY_ROLLOUTS,
    REPEATS,
    RateTest,
    burned,
    chance_of_whole_scenes,
    difference_checks,
    fits,
    gain_contrast,
    instances,
    needs,
    rate,
    rate_tests,
    round_sizes,
    value,
)
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import count, listed, number, probability

CASES = (
    ("ALFWorld IID: mean steps of successes", "steps.ALFWorld-IID.mean"),
    ("ALFWorld IID: invalid actions, %", "actions.ALFWorld-IID.invalid"),
    ("ALFWorld IID: repeated actions, %", "actions.ALFWorld-IID.repeated"),
    ("TextWorld-Cooking: burned, % of failures", "failures.TextWorld-Cooking.burned"),
    ("Countdown: no reset, % of successes", "successes.Countdown.no-reset"),
    ("Countdown: multiply or divide, % of operations", "operations.Countdown.multiply-divide"),
)
CASE_ARMS = (*ARMS, "SegCost-no-buf")
NO_SEEDS = (
    "Noise of the evaluation set only: no source reports a seed or a variance, so noise of training is not in it."
)
UNPAIRED = (
    "Both arms met the same instances, but how often they disagreed is not reported: an unpaired test is what is left."
)
INFERRED_SIZES = (
    f"{REPEATS} runs of each instance of TextWorld-Cooking and Countdown, and the {COUNTDOWN_PUZZLES} puzzles, are "
    "inferred from the rates."
)


def counts_table() -> AuditTable:
    """Section 4: rates as counts of episodes."""
    found = fits()
    rows = tuple(
        AuditRow(
            (
                item.benchmark,
                count(item.episodes),
                ", ".join(count(wins) for wins in item.counts) if item.fits else "none",
                probability(item.chance),
                count(item.smallest),
                count(item.fitting),
            ),
            DIGEST,
        )
        for item in found
    )
    cooking, strict = (
        ", ".join(count(size) for size in round_sizes("TextWorld-Cooking", half_way, True))
        for half_way in (True, False)
    )
    countdown = round_sizes("Countdown", True, False)
    return AuditTable(
        "counts",
        "The success rates as counts of episodes",
        f"The whole counts behind the three rates ({', '.join(ARMS)}) at the assumed number of episodes, the chance "
        f"that arbitrary rates with two decimals would fit it, and how many sizes up to {count(LARGEST)} fit all "
        "three.",
        ("benchmark", "episodes", "successes", "chance of such a fit", "smallest size that fits", "sizes that fit"),
        rows,
        f"All {len(found) * len(ARMS)} rates are whole counts of the assumed sizes. On ALFWorld all {2 * len(ARMS)} "
        f"are whole scenes: one verdict a scene, since means over {MAJORITY_ROLLOUTS} rollouts would all be whole with "
        f"chance {chance_of_whole_scenes():.1e}. With the leaderboard's {value('best.TextWorld-Cooking'):g} among the "
        f"rates of TextWorld-Cooking the multiples of 500 that fit are {strict}. On Countdown the evidence is weak: "
        f"{count(found[-1].fitting)} sizes fit, among multiples of 500 first {count(countdown[0])}.",
        (
            f"Where a rate exactly half way between two printed values may have been rounded either way, {cooking} fit "
            "TextWorld-Cooking.",
        ),
    )


def sums_table() -> AuditTable:
    """Section 5.3: reported differences."""
    found = difference_checks()
    rows = tuple(
        AuditRow(
            (
                f"{item.arm} − {item.against}",
                item.benchmark,
                number(item.reported, 2, signed=True),
                number(item.recomputed, 2, signed=True),
            ),
            DIGEST,
        )
        for item in found
    )
    off = [item for item in found if abs(item.reported - item.recomputed) > 0.0051]
    best = [
        f"{name} {value(f'best.{name}'):g} (table at most {max(rate(arm, name) for arm in ARMS):g})"
        for name in BENCHMARKS
        if abs(value(f"best.{name}") - max(rate(arm, name) for arm in ARMS)) > 0.0051
    ]
    return AuditTable(
        "differences",
        "Reported differences and best values",
        "Differences in points as digests give them, beside those of the main table; the leaderboard's best values are "
        "compared with the highest row in the reading.",
        ("comparison", "benchmark", "reported", "from the main table"),
        rows,
        f"{len(found) - len(off)} of {len(found)} differences follow from the main table. The leaderboard's best value "
        f"is no row of it on {len(best)} of {len(BENCHMARKS)} benchmarks: {listed(best) or 'none'}. That value would "
        "be a row the digests do not show, presumably the variant without buffer, against digest A's remark that the "
        "variant with buffer wins everywhere.",
        ("That the ReuseRL row is the variant with buffer is inferred.",),
    )


def tests_table() -> AuditTable:
    """Section 5.4: Fisher's tests."""
    found = rate_tests()
    rows = tuple(
        AuditRow(
            (
                f"{item.arm} − {item.against}",
                item.benchmark,
                f"{count(item.wins)} and {count(item.wins_against)} of {count(item.episodes)}",
                _p(item.p_value),
                _p(item.adjusted),
                f"{item.clustered_wins[0]} and {item.clustered_wins[1]}",
                _p(item.clustered_p),
                _p(item.clustered_adjusted),
            ),
            DIGEST,
        )
        for item in found
    )
    lengths = [item for item in found if (item.arm, item.against) == ("SegCost-buf", "length")]
    kept = [item.benchmark for item in lengths if item.adjusted < 0.05]
    clustered = [item.benchmark for item in lengths if item.clustered_adjusted < 0.05]
    scenes = [item for item in lengths if item.benchmark.startswith("ALFWorld")]
    return AuditTable(
        "success-tests",
        "Fisher tests of the success rates",
        "Two-sided Fisher tests of the counts, by episode and, in the worst case that all runs of an instance agree, "
        f"by instance; Holm over the {len(found)} tests of each kind.",
        ("comparison", "benchmark", "successes", "p", "Holm p", "by instance", "p by instance", "Holm p by instance"),
        rows,
        f"SegCost against the length penalty is significant on {listed(kept) or 'no benchmark'} by episode and on "
        f"{listed(clustered) or 'no benchmark'} by instance; on ALFWorld it is a matter of "
        f"{listed([str(item.wins - item.wins_against) for item in scenes])} scenes. Over GRPO SegCost stays "
        f"significant by instance on {_kept(found, 'SegCost-buf', 'GRPO')}.",
        (NO_SEEDS, UNPAIRED, INFERRED_SIZES),
    )


def out_of_distribution_table() -> AuditTable:
    """Section 5.4: the gain out of distribution."""
    found = gain_contrast()
    low, high = found.difference - found.half_width, found.difference + found.half_width
    row = AuditRow(
        (
            number(found.out_of_distribution, signed=True),
            number(found.in_distribution, signed=True),
            number(found.difference, signed=True),
            f"± {number(found.half_width)}",
            probability(found.p_value),
        ),
        DIGEST,
    )
    return AuditTable(
        "gain-contrast",
        "Whether the gain is larger out of distribution",
        "SegCost minus GRPO on the unseen scenes of ALFWorld less the same on the seen ones, in points, with Wald's "
        "interval for four independent rates. One test, no adjustment.",
        ("gain, unseen", "gain, seen", "difference", "95 % half-width", "p"),
        (row,),
        f"The gain on unseen scenes exceeds that on seen ones by {number(found.difference, signed=True)} points "
        f"(95 % interval {number(low, signed=True)} to {number(high, signed=True)}): "
        + ("no evidence of a larger one." if low < 0 < high else "the interval excludes 0."),
        (NO_SEEDS,),
    )


def power_table() -> AuditTable:
    """Section 5.4: power of the comparisons."""
    found = needs()
    rows = tuple(
        AuditRow(
            (
                f"{item.arm} − {item.against}",
                item.benchmark,
                number(item.difference, 2, signed=True),
                count(item.episodes),
                number(item.power, 2),
                number(item.clustered_power, 2),
                count(item.needed),
            ),
            DIGEST,
        )
        for item in found
    )
    short = [item for item in found if item.clustered_power < 0.8]
    return AuditTable(
        "power",
        "Power of the published evaluations",
        "Power of a two-sided 5 % comparison at the reported rates, by episode and by instance, and the independent "
        "episodes per arm that give 80 %.",
        (
            "comparison",
            "benchmark",
            "difference, points",
            "episodes",
            "power",
            "power by instance",
            "episodes for 80 %",
        ),
        rows,
        f"{len(short)} of {len(found)} comparisons have less than 80 % power by instance: "
        + listed(
            [
                f"{item.arm} − {item.against} on {item.benchmark} (needs {count(item.needed)}, has "
                f"{count(instances()[item.benchmark])})"
                for item in short
            ]
        )
        + ".",
        (NO_SEEDS, INFERRED_SIZES),
    )


def burned_table() -> AuditTable:
    """Section 5.2: burned food as a share of all episodes."""
    found = burned()
    rows = tuple(
        AuditRow((item.arm, number(item.failures), number(item.burned), number(item.other)), DIGEST) for item in found
    )
    by_arm = {item.arm: item for item in found}
    plain, length = by_arm["GRPO"], by_arm["length"]
    return AuditTable(
        "burned",
        "Burned food as a share of all episodes",
        "The reported burned share of failures times the failure rate of TextWorld-Cooking, in % of all episodes, if "
        "both tables come from one evaluation. Arithmetic, no test.",
        ("arm", "failures", "burned", "other failures"),
        rows,
        f"Against GRPO the length penalty multiplies burned episodes by {number(length.burned / plain.burned)} and "
        f"other failures by {number(length.other / plain.other, 2)}; SegCost has "
        f"{number(by_arm['SegCost-buf'].burned)} % burned and {number(by_arm['SegCost-buf'].other)} % other failures, "
        f"beside {number(plain.other)} % for GRPO.",
        ("The share of failures alone has a moving denominator. No success rate is reported for the other variant.",),
    )


def cases_table() -> AuditTable:
    """Section 5.2: the case studies."""
    rows = tuple(
        AuditRow((name, *(f"{value(f'{identifier}.{arm}'):g}" for arm in CASE_ARMS)), DIGEST)
        for name, identifier in CASES
    )
    steps, repeated = (
        [value(f"{identifier}.{arm}") for arm in ("SegCost-buf", "length")] for identifier in (CASES[0][1], CASES[2][1])
    )
    mixed = [
        value(f"{identifier}.{arm}") for identifier, arm in ((CASES[4][1], CASE_ARMS[3]), (CASES[5][1], CASE_ARMS[2]))
    ]
    return AuditTable(
        "case-studies",
        "The case studies",
        "The reported cells of the case studies. They are shares without sizes, so no test is possible.",
        ("quantity", *CASE_ARMS),
        rows,
        f"On ALFWorld SegCost with buffer takes {steps[0]:g} steps where the length penalty takes {steps[1]:g}, and "
        f"repeats {repeated[0]:g} % of its actions against {repeated[1]:g} %: whatever it gains there is not fewer "
        f"steps. A digest that quotes {mixed[0]:g} beside {mixed[1]:g} mixes the two variants.",
        ("Steps and resets of successes are conditional on success, which differs between the arms.",),
    )


def _kept(found: tuple[RateTest, ...], arm: str, against: str) -> str:
    kept = [
        item.benchmark
        for item in found
        if (item.arm, item.against) == (arm, against) and item.clustered_adjusted < 0.05
    ]
    return listed(kept) or "no benchmark"


def _p(value: float) -> str:
    """A p-value with four decimals, or its size where it is smaller."""
    return f"{value:.0e}" if value < 0.00005 else probability(value)
