"""Audit of ReuseRL: which of its reported numbers carry which of its statements.

All values come from third-party digests of arXiv 2605.31509. Rates are turned into counts of episodes by the sizes of
the test sets where these are stated, and by what fits every rate where they are not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import published_values, whole_setting
from reproduce.report.audit_tables import Analysis, PaperAudit, numbers, probabilities
from reproduce.report.text import count, listed, number, probability
from theory.inference import holm
from theory.published import (
    chance_of_fit,
    consistent_trials,
    rounded_counts,
    two_proportion_power,
    two_proportion_samples,
)

KEY = "reuserl"
PROVENANCE = (
    "Only the title block, the abstract and the opening lines of the paper were read. Every number comes from "
    "third-party digests and a leaderboard page, so every row is marked as such; where they contradict each other the "
    "row or its note says so."
)
BENCHMARKS = ("ALFWorld-IID", "ALFWorld-OOD", "TextWorld-Cooking", "Countdown")
ARMS = ("GRPO", "length", "SegCost-buf")
COMPARISONS = {
    ("SegCost-buf", "GRPO"): "difference.GRPO",
    ("SegCost-buf", "length"): "difference.length",
    ("length", "GRPO"): "difference.length.GRPO",
}
"""Two arms, and the id of their reported differences."""
DECIMALS = 2
REPEATS = 3
"""Runs of one instance, inferred: 3000 episodes are three passes over the 1000 stated games of TextWorld-Cooking."""
COUNTDOWN_PUZZLES = 1024
"""Inferred: 3 x 1024 is the power of two among the sizes that fit the three rates of Countdown."""
MAJORITY_ROLLOUTS = 7
"""The 7 of the metric SC@7, whose meaning is not public."""
LARGEST = 10_000
"""From this size on every rate with two decimals is a whole count."""
CASES = {
    "ALFWorld IID: mean steps of successes": "steps.ALFWorld-IID.mean",
    "ALFWorld IID: invalid actions, %": "actions.ALFWorld-IID.invalid",
    "ALFWorld IID: repeated actions, %": "actions.ALFWorld-IID.repeated",
    "TextWorld-Cooking: burned, % of failures": "failures.TextWorld-Cooking.burned",
    "Countdown: no reset, % of successes": "successes.Countdown.no-reset",
    "Countdown: multiply or divide, % of operations": "operations.Countdown.multiply-divide",
}
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


def audit() -> PaperAudit:
    """Every re-analysis of the reported numbers of ReuseRL."""
    analyses = (differences, counts, success_tests, gain_contrast, power, burned, case_studies)
    return PaperAudit(KEY, PROVENANCE, tuple(analysis() for analysis in analyses))


def value(identifier: str) -> float:
    """The reported number of that id."""
    return float(published_values(KEY)[identifier])


def rate(arm: str, benchmark: str) -> float:
    """Reported success rate in %."""
    return value(f"success.{arm}.{benchmark}")


def instances(benchmark: str) -> int:
    """Test instances: stated for three benchmarks, inferred for Countdown."""
    if benchmark == "Countdown":
        return COUNTDOWN_PUZZLES
    return whole_setting(KEY, f"evaluation.{benchmark}.{'games' if benchmark == 'TextWorld-Cooking' else 'scenes'}")


def episodes(benchmark: str) -> int:
    """Episodes behind a rate: one verdict per scene on ALFWorld, `REPEATS` per instance elsewhere."""
    return instances(benchmark) * (1 if benchmark.startswith("ALFWorld") else REPEATS)


def wins(arm: str, benchmark: str, size: int) -> int:
    """The nearest whole count to a rate among `size`."""
    return round(rate(arm, benchmark) * size / 100)


def round_sizes(benchmark: str, half_way: bool, with_best: bool) -> tuple[int, ...]:
    """Multiples of 500 up to `LARGEST` that fit the rates of a benchmark, if asked the leaderboard's best one too."""
    rates = [rate(arm, benchmark) for arm in ARMS] + ([value(f"best.{benchmark}")] if with_best else [])
    grid = np.arange(500, LARGEST + 1, 500)
    return tuple(int(size) for size in grid[consistent_trials(rates, grid, DECIMALS, half_way)])


def comparisons() -> pd.DataFrame:
    """Every comparison on every benchmark: episodes and instances, wins of both arms by either, and both rates.

    The rates are the whole counts of episodes that print as reported; `of_instances` counts each instance once, as if
    its repeats agreed entirely.
    """
    rows = []
    for arm, against in COMPARISONS:
        for benchmark in BENCHMARKS:
            sizes = episodes(benchmark), instances(benchmark)
            by_size = [(wins(arm, benchmark, size), wins(against, benchmark, size)) for size in sizes]
            rows.append((f"{arm} − {against}", arm, against, benchmark, *sizes, *by_size))
    columns = ["label", "arm", "against", "benchmark", "episodes", "instances", "of_episodes", "of_instances"]
    found = pd.DataFrame(rows, columns=columns)
    found["first"], found["second"] = (found.of_episodes.str[place] / found.episodes for place in (0, 1))
    return found


def differences() -> Analysis:
    """Section 5.3: reported differences."""
    found = comparisons()
    cases = list(zip(found.arm, found.against, found.benchmark, strict=True))
    found["reported"] = [value(f"{COMPARISONS[arm, against]}.{name}") for arm, against, name in cases]
    found["recomputed"] = [rate(arm, name) - rate(against, name) for arm, against, name in cases]
    agree = int(((found.reported - found.recomputed).abs() <= 0.0051).sum())
    highest = {name: max(rate(arm, name) for arm in ARMS) for name in BENCHMARKS}
    best = [
        f"{name} {value(f'best.{name}'):g} (table at most {most})"
        for name, most in highest.items()
        if abs(value(f"best.{name}") - most) > 0.0051
    ]
    return Analysis(
        "differences",
        "Reported differences and best values",
        "Differences in points as digests give them, beside those of the main table; the leaderboard's best values are "
        "compared with the highest row in the reading.",
        found,
        {
            "comparison": found.label,
            "benchmark": found.benchmark,
            "reported": numbers(found.reported, 2, signed=True),
            "from the main table": numbers(found.recomputed, 2, signed=True),
        },
        f"{agree} of {len(found)} differences follow from the main table. The leaderboard's best value "
        f"is no row of it on {len(best)} of {len(BENCHMARKS)} benchmarks: {listed(best) or 'none'}. That value would "
        "be a row the digests do not show, presumably the variant without buffer, against digest A's remark that the "
        "variant with buffer wins everywhere.",
        ("That the ReuseRL row is the variant with buffer is inferred.",),
    )


def counts() -> Analysis:
    """Section 4: rates as counts of episodes, and the chance that as many arbitrary rates would fit."""
    grid, rows = np.arange(1, LARGEST + 1), []
    for benchmark in BENCHMARKS:
        rates, size = [rate(arm, benchmark) for arm in ARMS], episodes(benchmark)
        fewest, most = rounded_counts(rates, size, DECIMALS)
        fitting = grid[consistent_trials(rates, grid, DECIMALS)]
        fits, chance = bool((fewest == most).all()), chance_of_fit(size, DECIMALS) ** len(rates)
        rows.append((benchmark, size, tuple(fewest.tolist()), fits, chance, int(fitting[0]), fitting.size))
    columns = ["benchmark", "episodes", "successes", "fits", "chance", "smallest", "fitting"]
    found = pd.DataFrame(rows, columns=columns)
    either, strict = (
        ", ".join(map(count, round_sizes("TextWorld-Cooking", half_way, True))) for half_way in (True, False)
    )
    whole_scenes = MAJORITY_ROLLOUTS ** -(2.0 * len(ARMS))
    return Analysis(
        "counts",
        "The success rates as counts of episodes",
        f"The whole counts behind the three rates ({', '.join(ARMS)}) at the assumed number of episodes, the chance "
        f"that arbitrary rates with two decimals would fit it, and how many sizes up to {count(LARGEST)} fit all "
        "three.",
        found,
        {
            "benchmark": found.benchmark,
            "episodes": map(count, found.episodes),
            "successes": [", ".join(map(count, row.successes)) if row.fits else "none" for row in found.itertuples()],
            "chance of such a fit": probabilities(found.chance),
            "smallest size that fits": map(count, found.smallest),
            "sizes that fit": map(count, found.fitting),
        },
        f"All {len(found) * len(ARMS)} rates are whole counts of the assumed sizes. On ALFWorld all {2 * len(ARMS)} "
        f"are whole scenes: one verdict a scene, since means over {MAJORITY_ROLLOUTS} rollouts would all be whole with "
        f"chance {whole_scenes:.1e}. With the leaderboard's {value('best.TextWorld-Cooking'):g} among the "
        f"rates of TextWorld-Cooking the multiples of 500 that fit are {strict}. On Countdown the evidence is weak: "
        f"{count(int(found.fitting.iloc[-1]))} sizes fit, among multiples of 500 first "
        f"{count(round_sizes('Countdown', True, False)[0])}.",
        (
            f"Where a rate exactly half way between two printed values may have been rounded either way, {either} fit "
            "TextWorld-Cooking.",
        ),
    )


def success_tests() -> Analysis:
    """Section 5.4: Fisher's test of every comparison, once by episode and once by instance, each with Holm."""
    found = comparisons()
    for size in ("episodes", "instances"):
        rows = zip(found[f"of_{size}"], found[size], strict=True)
        found[f"p_{size}"] = [float(scipy.stats.fisher_exact([[a, n - a], [b, n - b]]).pvalue) for (a, b), n in rows]
        found[f"holm_{size}"] = holm(found[f"p_{size}"])
    lengths = found[(found.arm == "SegCost-buf") & (found.against == "length")]
    plain = found[(found.arm == "SegCost-buf") & (found.against == "GRPO")]
    by_episode, by_instance, over_plain = (
        listed(list(chosen.benchmark[chosen[f"holm_{size}"] < 0.05])) or "no benchmark"
        for chosen, size in ((lengths, "episodes"), (lengths, "instances"), (plain, "instances"))
    )
    scenes = [str(a - b) for a, b in lengths.of_episodes[lengths.benchmark.str.startswith("ALFWorld")]]
    return Analysis(
        "success-tests",
        "Fisher tests of the success rates",
        "Two-sided Fisher tests of the counts, by episode and, in the worst case that all runs of an instance agree, "
        f"by instance; Holm over the {len(found)} tests of each kind.",
        found,
        {
            "comparison": found.label,
            "benchmark": found.benchmark,
            "successes": [
                f"{' and '.join(map(count, row.of_episodes))} of {count(row.episodes)}" for row in found.itertuples()
            ],
            "p": map(_p, found.p_episodes),
            "Holm p": map(_p, found.holm_episodes),
            "by instance": ["{} and {}".format(*both) for both in found.of_instances],
            "p by instance": map(_p, found.p_instances),
            "Holm p by instance": map(_p, found.holm_instances),
        },
        f"SegCost against the length penalty is significant on {by_episode} by episode and on {by_instance} by "
        f"instance; on ALFWorld it is a matter of {listed(scenes)} scenes. Over GRPO SegCost stays significant by "
        f"instance on {over_plain}.",
        (NO_SEEDS, UNPAIRED, INFERRED_SIZES),
    )


def _p(value: float) -> str:
    """A p-value with four decimals, or its size where it is smaller."""
    return f"{value:.0e}" if value < 0.00005 else probability(value)


def gain_contrast() -> Analysis:
    """Section 5.4: gain on the unseen scenes of ALFWorld minus gain on the seen ones; Wald, four independent rates."""
    plain = comparisons().query("arm == 'SegCost-buf' and against == 'GRPO'").set_index("benchmark")
    unseen, seen = (100 * (plain["first"] - plain.second)[f"ALFWorld-{kind}"] for kind in ("OOD", "IID"))
    variances = 1e4 * sum(plain[arm] * (1 - plain[arm]) for arm in ("first", "second")) / plain.instances
    difference, error = unseen - seen, float(np.sqrt(variances["ALFWorld-OOD"] + variances["ALFWorld-IID"]))
    half_width = float(scipy.stats.norm.isf(0.025)) * error
    low, high = difference - half_width, difference + half_width
    row = (unseen, seen, difference, half_width, float(2 * scipy.stats.norm.sf(abs(difference) / error)))
    found = pd.DataFrame([row], columns=["unseen", "seen", "difference", "half_width", "p"])
    return Analysis(
        "gain-contrast",
        "Whether the gain is larger out of distribution",
        "SegCost minus GRPO on the unseen scenes of ALFWorld less the same on the seen ones, in points, with Wald's "
        "interval for four independent rates. One test, no adjustment.",
        found,
        {
            "gain, unseen": numbers(found.unseen, signed=True),
            "gain, seen": numbers(found.seen, signed=True),
            "difference": numbers(found.difference, signed=True),
            "95 % half-width": [f"± {number(half_width)}"],
            "p": probabilities(found.p),
        },
        f"The gain on unseen scenes exceeds that on seen ones by {number(difference, signed=True)} points "
        f"(95 % interval {number(low, signed=True)} to {number(high, signed=True)}): "
        + ("no evidence of a larger one." if low < 0 < high else "the interval excludes 0."),
        (NO_SEEDS,),
    )


def power() -> Analysis:
    """Section 5.4: power of every comparison at its own size and per instance, and the episodes that give 80 %."""
    found = comparisons()
    rows = list(found.itertuples())
    found["power"] = [two_proportion_power(row.first, row.second, row.episodes) for row in rows]
    found["power_instances"] = [two_proportion_power(row.first, row.second, row.instances) for row in rows]
    found["needed"] = [two_proportion_samples(row.first, row.second) for row in rows]
    short = [
        f"{row.label} on {row.benchmark} (needs {count(row.needed)}, has {count(row.instances)})"
        for row in found[found.power_instances < 0.8].itertuples()
    ]
    return Analysis(
        "power",
        "Power of the published evaluations",
        "Power of a two-sided 5 % comparison at the reported rates, by episode and by instance, and the independent "
        "episodes per arm that give 80 %.",
        found,
        {
            "comparison": found.label,
            "benchmark": found.benchmark,
            "difference, points": numbers(100 * (found["first"] - found.second), 2, signed=True),
            "episodes": map(count, found.episodes),
            "power": numbers(found.power, 2),
            "power by instance": numbers(found.power_instances, 2),
            "episodes for 80 %": map(count, found.needed),
        },
        f"{len(short)} of {len(found)} comparisons have less than 80 % power by instance: {listed(short)}.",
        (NO_SEEDS, INFERRED_SIZES),
    )


def burned() -> Analysis:
    """Section 5.2: burned share of failures times the failure rate, for the arms whose success rate is reported."""
    failures = np.array([100 - rate(arm, "TextWorld-Cooking") for arm in ARMS])
    shares = np.array([value(f"failures.TextWorld-Cooking.burned.{arm}") / 100 for arm in ARMS])
    found = pd.DataFrame(
        {"failures": failures, "burned": failures * shares, "other": failures * (1 - shares)}, index=list(ARMS)
    )
    plain, length, segment = found.itertuples()
    return Analysis(
        "burned",
        "Burned food as a share of all episodes",
        "The reported burned share of failures times the failure rate of TextWorld-Cooking, in % of all episodes, if "
        "both tables come from one evaluation. Arithmetic, no test.",
        found,
        {
            "arm": ARMS,
            "failures": numbers(found.failures),
            "burned": numbers(found.burned),
            "other failures": numbers(found.other),
        },
        f"Against GRPO the length penalty multiplies burned episodes by {number(length.burned / plain.burned)} and "
        f"other failures by {number(length.other / plain.other, 2)}; SegCost has {number(segment.burned)} % burned and "
        f"{number(segment.other)} % other failures, beside {number(plain.other)} % for GRPO.",
        ("The share of failures alone has a moving denominator. No success rate is reported for the other variant.",),
    )


def case_studies() -> Analysis:
    """Section 5.2: the case studies."""
    arms = (*ARMS, "SegCost-no-buf")
    found = pd.DataFrame([[value(f"{name}.{arm}") for arm in arms] for name in CASES.values()], columns=list(arms))
    steps, repeated = found.loc[0], found.loc[2]
    return Analysis(
        "case-studies",
        "The case studies",
        "The reported cells of the case studies. They are shares without sizes, so no test is possible.",
        found,
        {"quantity": CASES, **{arm: [f"{cell:g}" for cell in found[arm]] for arm in arms}},
        f"On ALFWorld SegCost with buffer takes {steps['SegCost-buf']:g} steps where the length penalty takes "
        f"{steps['length']:g}, and repeats {repeated['SegCost-buf']:g} % of its actions against "
        f"{repeated['length']:g} %: whatever it gains there is not fewer steps. A digest that quotes "
        f"{found['SegCost-no-buf'][4]:g} beside {found['SegCost-buf'][5]:g} mixes the two variants.",
        ("Steps and resets of successes are conditional on success, which differs between the arms.",),
    )
