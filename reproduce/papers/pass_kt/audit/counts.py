"""PASS@(k,T): what the published boundary counts, the mechanism numbers and the effort behind the arms support.

A boundary holds the questions with at least one success in 64 episodes. Every comparison is of the same 100 questions,
so its gained and lost questions are the discordant pairs of a McNemar test.
"""

from __future__ import annotations

from itertools import combinations
from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import load_published, published_values, setting_values, whole_setting
from reproduce.report.audit_tables import Analysis, filled, numbers, probabilities, texts
from reproduce.report.text import NOTHING, count, listed, number, probability
from theory.inference import holm, mcnemar_exact, mcnemar_mid_p, paired_tost

KEY = "pass_kt"
MARGINS = (3, 5, 10)
DEPTHS = (1, 2, 5)
SIZES_ONLY = (("B", "SFT", "base"), ("B", "RL", "SFT"), ("C", "RL+bonus", "base"), ("C", "RL+bonus", "RL"))
PATTERNS = ("trained_only", "trained_and_tuned", "base_only", "base_and_tuned", "tuned_only", "base_and_trained")
"""Questions of category C by who solves them: base, RL (trained), SFT (tuned)."""
CATEGORIES_WITH_TOOL = 2


def value(identifier: str) -> float:
    """A published number."""
    return float(published_values(KEY)[identifier])


def evaluation_questions() -> int:
    """Questions per category."""
    return whole_setting(KEY, "evaluation.questions")


def boundary_pairs() -> pd.DataFrame:
    """Every published pair of gained and lost questions, in the order of the file.

    `before` and `after` are the boundary sizes of `against` and of `arm`, `net` is gained minus lost.
    """
    rows = []
    for published in load_published(KEY):
        if published.quantity == "boundary-gained":
            category, arm, against = (str(published.cell[name]) for name in ("category", "arm", "against"))
            lost = int(value(f"boundary-lost.{category}.{arm}-{against}"))
            before, after = (int(value(f"boundary-size.{category}.{name}")) for name in (against, arm))
            rows.append((category, arm, against, before, int(published.value), lost, after))
    pairs = pd.DataFrame(rows, columns=["category", "arm", "against", "before", "gained", "lost", "after"])
    pairs["net"] = pairs.gained - pairs.lost
    pairs["counts"] = pairs.gained.astype(str) + " : " + pairs.lost.astype(str)
    pairs["half_width"] = 100 * wald_half_width(pairs.gained, pairs.lost)
    pairs.insert(0, "label", pairs.category + ", " + pairs.arm + " against " + pairs.against)
    return pairs


def wald_half_width(gained: Any, lost: Any, confidence: float = 0.95) -> Any:
    """Half-width of the interval of a difference of paired proportions. Source: Agresti 2013, section 11.1."""
    questions = evaluation_questions()
    return (
        scipy.stats.norm.isf((1 - confidence) / 2)
        * np.sqrt(gained + lost - (gained - lost) ** 2 / questions)
        / questions
    )


def pair_of(pairs: pd.DataFrame, category: str, arm: str, against: str) -> Any:
    """The row of that comparison, columns as attributes."""
    chosen = (pairs.category == category) & (pairs.arm == arm) & (pairs.against == against)
    return next(pairs[chosen].itertuples())


def solved_patterns() -> pd.DataFrame:
    """Every way to sort the questions of category C by who solves them that yields all three published pairs."""
    pairs = boundary_pairs()
    comparisons = (("RL", "base"), ("SFT", "base"), ("RL", "SFT"))
    rl, sft, difference = (pair_of(pairs, "C", *names) for names in comparisons)
    found = []
    for trained_only in range(rl.gained + 1):
        both_gained = rl.gained - trained_only
        tuned_only = sft.gained - both_gained
        base_and_tuned = difference.lost - tuned_only
        base_only = rl.lost - base_and_tuned
        base_and_trained = sft.lost - base_only
        cells = (trained_only, both_gained, base_only, base_and_tuned, tuned_only, base_and_trained)
        if min(cells) >= 0 and trained_only + base_and_trained == difference.gained:
            found.append(cells)
    return pd.DataFrame(found, columns=list(PATTERNS))


def _smallest_p(before: int, after: int) -> float:
    net, most = after - before, min(before, evaluation_questions() - after)
    lost = np.arange(max(0, -net), most + 1)
    return float(mcnemar_exact(lost + net, lost).min())


def boundary_counts() -> Analysis:
    """Section 5.4: exact McNemar, mid-p, one-sided exact p (more gained), Holm over all pairs and within C.

    Holm within a category of one pair is NaN.
    """
    tests = boundary_pairs()
    gained, lost = tests.gained.to_numpy(), tests.lost.to_numpy()
    tests["exact"], tests["mid_p"] = mcnemar_exact(gained, lost), mcnemar_mid_p(gained, lost)
    tests["one_sided"] = mcnemar_exact(gained, lost, "greater")
    tests["adjusted"] = holm(tests.exact)
    within = tests.groupby("category").exact
    tests["adjusted_in_category"] = within.transform(lambda p: holm(p) if len(p) > 1 else np.nan)
    headline = pair_of(tests, "C", "RL", "base")
    surviving = list(tests.label[tests.adjusted <= 0.05])
    unadjusted = [f"{test.label} ({probability(test.exact, 'p')})" for test in tests.itertuples() if test.exact <= 0.05]
    survive = f"{listed(surviving)} survive{'s' if len(surviving) == 1 else ''}" if surviving else "No pair survives"
    return Analysis(
        "boundary-counts",
        "Boundary counts: exact McNemar tests",
        "Are the gained and lost questions more uneven than a fair coin allows? Two-sided exact McNemar, mid-p, "
        "one-sided exact p (more gained) and the Wald interval of the difference in points. Holm over the three "
        "pairs of category C, and over all pairs.",
        tests,
        {
            "comparison": tests.label,
            "gained : lost": tests.counts,
            "difference": filled(
                "{} ± {}", numbers(100 * tests.net / evaluation_questions(), signed=True), numbers(tests.half_width)
            ),
            "exact p": probabilities(tests.exact),
            "mid-p": probabilities(tests.mid_p),
            "one-sided": probabilities(tests.one_sided),
            "Holm in C": probabilities(tests.adjusted_in_category),
            "Holm, all": probabilities(tests.adjusted),
        },
        f"The headline {headline.counts} has an exact {probability(headline.exact, 'p')}. {survive} at 5 % after Holm "
        f"over the {len(tests)} pairs; unadjusted, {listed(unadjusted) if unadjusted else 'none'} "
        f"{'do' if len(unadjusted) > 1 else 'does'}.",
        (
            "The mid-p of equal counts takes off half of the point probability (Fagerland, Lydersen and Laake 2013); "
            "taking off all of it, as some texts do, would turn the .8438 of 3 : 3 into .6875.",
            "T is 0 for A and 5 for B; that it is 5 for C is inferred.",
        ),
    )


def boundary_sums() -> Analysis:
    """Agreement of sizes and changes, within a pair and between the three pairs of category C."""
    pairs = boundary_pairs()
    base, bonus = int(value("boundary-size.C.base")), int(value("net-expansion.C.RL+bonus-base"))
    with_bonus = round(100 * value("pass.C.RL+bonus.k64.T5"))
    recomputed = [*(pairs.before + pairs.net), base + bonus]
    sizes = [*pairs.after, with_bonus]
    labels = [*pairs.label, "C, RL+bonus against base"]
    rows = zip([*pairs.label, "RL+bonus"], recomputed, sizes, strict=True)
    wrong = [label for label, expected, size in rows if expected != size]
    patterns = solved_patterns()
    shared = sorted(set(patterns.trained_and_tuned))
    joint = (
        f"the three pairs of C fit together in {len(patterns)} ways, in each of which SFT also solves "
        f"{' or '.join(texts(shared))} of the {pair_of(pairs, 'C', 'RL', 'base').gained} questions that RL gained"
        if len(patterns)
        else "no assignment of questions yields all three pairs of C"
    )
    return Analysis(
        "boundary-sums",
        "Boundary counts: do they add up?",
        "Size of the reference boundary plus gained minus lost, against the printed size; and whether one set of 100 "
        "questions can yield all three pairs of category C (enumeration of who solves what).",
        patterns,
        {
            "comparison": labels,
            "sum": [
                *filled("{} + {} − {}", pairs.before, pairs.gained, pairs.lost),
                f"{base} + {bonus}",
            ],
            "recomputed": texts(recomputed),
            "printed": texts(sizes),
        },
        f"{f'Boundary sums that disagree: {listed(wrong)}' if wrong else 'All boundary sums agree'}; {joint}.",
    )


def task_specific() -> Analysis:
    """Claim pass_kt.task-specific: Fisher's exact test of (gained, lost) between categories, Holm over the three."""
    pairs = boundary_pairs()
    couples = combinations(pairs[(pairs.arm == "RL") & (pairs.against == "base")].itertuples(), 2)
    rows = [
        (
            (a.category, b.category),
            (a.counts, b.counts),
            100 * (b.net - a.net) / evaluation_questions(),
            np.hypot(a.half_width, b.half_width),
            min(float(scipy.stats.fisher_exact([[a.gained, a.lost], [b.gained, b.lost]])[1]), 1.0),
        )
        for a, b in couples
    ]
    contrasts = pd.DataFrame(rows, columns=["categories", "counts", "difference", "half_width", "p"])
    contrasts["adjusted"] = holm(contrasts.p)
    last = next(row for row in contrasts.itertuples() if row.categories == ("B", "C"))
    shallow, expanding = last.categories
    return Analysis(
        "task-specific",
        "Is the gain specific to sequential tasks?",
        "Fisher's exact test of the gained and lost questions (RL against base) between two categories, Holm over the "
        "three, and the difference of net gains in points (unpaired Wald interval).",
        contrasts,
        {
            "categories": contrasts.categories.map(" and ".join),
            "gained : lost": contrasts.counts.map(" and ".join),
            "difference of net gains": filled(
                "{} ± {}", numbers(contrasts.difference, signed=True), numbers(contrasts.half_width)
            ),
            "Fisher p": probabilities(contrasts.p),
            "Holm": probabilities(contrasts.adjusted),
        },
        f"Categories {shallow} (read as shallow) and {expanding} (read as expansion) have the counts "
        f"{' and '.join(last.counts)}: net gains differ by {number(last.difference, 1, signed=True)} ± "
        f"{number(last.half_width)} points. The distinction rests on the shape of the curves, not on the boundaries.",
    )


def static_inert() -> Analysis:
    """Claim pass_kt.static-inert: paired TOST of category A; a question counts +1 if gained, -1 if lost, else 0."""
    pair = pair_of(boundary_pairs(), "A", "RL", "base")
    same = evaluation_questions() - pair.gained - pair.lost
    differences = np.repeat([100, -100, 0], [pair.gained, pair.lost, same])
    rows = [(test.low, test.high, test.p_value) for test in (paired_tost(differences, float(m)) for m in MARGINS)]
    results = pd.DataFrame(rows, columns=["low", "high", "p"], index=list(MARGINS))
    results["adjusted"] = holm(results.p)
    margins = [f"± {margin}" for margin in MARGINS]
    passed = [margin for margin, adjusted in zip(margins, results.adjusted, strict=True) if adjusted <= 0.05]
    return Analysis(
        "static-inert",
        "Does 84 against 84 show equality?",
        "Two one-sided paired t-tests on the counts of category A, Holm over the margins. The interval is the 90 % one "
        "that decides them.",
        results,
        {
            "margin": [f"{margin} points" for margin in margins],
            "90 % interval": filled("{} to {}", *(numbers(end, signed=True) for end in (results.low, results.high))),
            "TOST p": probabilities(results.p),
            "Holm": probabilities(results.adjusted),
        },
        f"{pair.before} against {pair.after} with {pair.counts} bounds the difference by "
        f"{number(float(results.high.iloc[0]))} points by the t approximation, which passes "
        f"{' and '.join(passed) if passed else 'none of the margins'} points; with {pair.gained + pair.lost} "
        "discordant questions it is generous, and only the widest margin is beyond doubt.",
        ("Before the run such a design had little chance to show equality within 5 points: see the table of designs.",),
    )


def sizes_only() -> Analysis:
    """Monotonicity in T (section 2.2), the bonus arm and SFT on category B, of which only sizes are published.

    `smallest_p` is the least exact McNemar p that any split of the change into gained and lost allows.
    """
    cases = [
        (f"B, base, T = {first} to T = {second}", f"B.base.k64.T{first}", f"B.base.k64.T{second}")
        for first, second in combinations(DEPTHS, 2)
    ]
    cases += [
        (f"{category}, {arm} against {against}", f"{category}.{against}.k64.T5", f"{category}.{arm}.k64.T5")
        for category, arm, against in SIZES_ONLY
    ]
    rows = []
    for label, first, second in cases:
        before, after = (round(evaluation_questions() * value(f"pass.{cell}")) for cell in (first, second))
        rows.append((label, before, after, _smallest_p(before, after)))
    changes = pd.DataFrame(rows, columns=["label", "before", "after", "smallest_p"])
    changes["adjusted"] = holm(changes.smallest_p)
    falls = list(changes.label[(changes.after < changes.before) & changes.label.str.contains("T =")])
    return Analysis(
        "sizes-only",
        "Boundary sizes without gained and lost questions",
        "k = 64, the boundary of base on category B at three depths (fresh episodes at each), and arms without "
        "published pairs. The split into gained and lost is unknown, so the table gives the smallest exact McNemar p "
        "that any split allows; Holm over all rows.",
        changes,
        {
            "comparison": changes.label,
            "boundary size": filled("{} to {}", changes.before, changes.after),
            "net": numbers(changes.after - changes.before, 0, signed=True),
            "smallest possible p": probabilities(changes.smallest_p),
            "Holm": probabilities(changes.adjusted),
        },
        f"Where only boundary sizes are published, no split into gained and lost makes a change significant (smallest "
        f"possible p = {number(changes.smallest_p.min(), 2)}): neither the "
        "exploration bonus nor SFT on B can be told from their references, and the falls with T "
        f"({listed(falls) or 'none'}), against the monotonicity stated in §2.4 of the paper, need no explanation "
        "beyond noise.",
        ("The sizes are printed as PASS values of 100 questions; T = 5 for category C is inferred.",),
    )


def _ratio(numerator: float, denominator: float, half: float) -> tuple[float, float, float]:
    low, high = (numerator - half) / (denominator + half), (numerator + half) / (denominator - half)
    return numerator / denominator, low, high


def novelty_of_itself(arm: str, episodes: int = 64) -> tuple[float, float, float]:
    """Novelty of a sample of `arm` against another of the same arm that yields the printed unique count, two laws.

    Returns the unique count, and the share of the distinct sequences of the second sample that the first lacks if all
    sequences are equally likely, and if one recurs and all others never repeat. S equally likely sequences yield
    S (1 - (1 - 1/S)^n) distinct ones, of which (1 - 1/S)^n are new to another sample. A mode of probability m and
    otherwise single sequences yield 1 - (1 - m)^n + n (1 - m), where all but the mode are new.
    Source: own calculation from section 5.3 of the specification.
    """
    unique = value(f"unique-query-sequences.{arm}")

    def spread_excess(log_sequences: float) -> float:
        sequences = exp(log_sequences)
        return sequences * (1 - (1 - 1 / sequences) ** episodes) - unique

    def mode_excess(mode: float) -> float:
        return 1 - (1 - mode) ** episodes + episodes * (1 - mode) - unique

    sequences = exp(scipy.optimize.brentq(spread_excess, log(unique), log(1e9)))
    mode = float(scipy.optimize.brentq(mode_excess, 1e-9, 1 - 1e-9))
    return unique, (1 - 1 / sequences) ** episodes, episodes * (1 - mode) / unique


def mechanism() -> Analysis:
    """Section 5.3: printed numbers beside their value from other printed ones, with the range that rounding leaves."""
    query, reasoning, half = value("perplexity.query"), value("perplexity.reasoning"), 0.005
    base, tuned = value("unique-query-sequences.base"), value("unique-query-sequences.SFT")
    rows = [
        (f"log-perplexity, {name}", f"log-perplexity.{name}", 2, log(x), log(x - half), log(x + half))
        for name, x in (("query", query), ("reasoning", reasoning))
    ]
    ratio, collapse = "perplexity-ratio.reasoning-query", "diversity-collapse.SFT"
    rows += [
        ("perplexity ratio, reasoning over query", ratio, 2, *_ratio(reasoning, query, half)),
        ("unique sequences, base over SFT", collapse, 1, *_ratio(base, tuned, 0.05)),
    ]
    found = pd.DataFrame(rows, columns=["label", "id", "decimals", "recomputed", "low", "high"])
    found["printed"] = found.id.map(value)
    half_digit = 0.5 * 10.0**-found.decimals
    found["agrees"] = (found.low <= found.printed + half_digit) & (found.high >= found.printed - half_digit)
    wrong = list(found.label[~found.agrees])
    trained = value("unique-query-sequences.RL") / value("unique-query-sequences.base")
    return Analysis(
        "mechanism",
        "Perplexities and unique query sequences",
        "Logarithms and ratios recomputed from the printed numbers, with the range that their rounding leaves.",
        found,
        {
            "number": found.label,
            "printed": [number(row.printed, row.decimals) for row in found.itertuples()],
            "recomputed": [number(row.recomputed, row.decimals + 2) for row in found.itertuples()],
            "range": [" to ".join(numbers((row.low, row.high), row.decimals + 2)) for row in found.itertuples()],
            "agrees": found.agrees.map({True: "yes", False: "no"}),
        },
        "Perplexities and unique sequences: "
        f"{'not in agreement: ' + listed(wrong) if wrong else 'all numbers agree'}. The collapse of SFT is by a "
        f"factor of {number(found.recomputed.iloc[-1], 2)}, worded as 3 in the paper; RL has {number(trained, 2)} "
        "times the unique sequences of base.",
        (
            "Only means over questions are published, without spread or test; nothing can be said about significance.",
            "The perplexities are those of successful RL episodes under base. Reasoning text may be more surprising "
            "under any policy, so without the same split for successes of base the ratio says nothing about novelty.",
        ),
    )


def novelty_null() -> Analysis:
    """Section 5.3: is 83.9 % or 97.7 % novelty more than two samples of one policy show?"""
    arms = ("base", "RL", "SFT")
    found = pd.DataFrame([novelty_of_itself(arm) for arm in arms], columns=["unique", "spread", "one_mode"])
    unique, spread, one_mode = found.iloc[0]
    return Analysis(
        "novelty-null",
        "Novelty of query sequences without any change of policy",
        "Two samples of 64 episodes of the same policy also differ. Novelty (percent of the distinct sequences of the "
        "second sample that the first lacks) for two laws that yield the printed unique counts.",
        found,
        {
            "arm": arms,
            "unique of 64": numbers(found["unique"]),
            "all equally likely": numbers(100 * found.spread),
            "one mode, others single": numbers(100 * found.one_mode),
            "printed against base": (
                NOTHING,
                f"{value('query-sequence-novelty-or-overlap.RL'):g} (novelty or overlap)",
                f"{value('query-sequence-novelty.SFT'):g}",
            ),
        },
        f"With {number(unique)} unique sequences of 64, base would be "
        f"{number(100 * spread, 0)}–{number(100 * one_mode, 0)} % novel to itself under these two laws, so neither "
        "printed share can be read without the base-against-base value, which is not published.",
        (
            "The two laws are examples, not bounds; a typical question stands for the mean over questions.",
            "83.9 % is overlap in the prose of the digest and novelty in its ledger: opposite readings.",
        ),
    )


def effort() -> Analysis:
    """Sections 2.6 and 4.6: matched questions are not matched compute."""
    training = (
        whole_setting(KEY, "rl.questions") * whole_setting(KEY, "rl.epochs") * whole_setting(KEY, "rl.group-size")
    )
    depths = setting_values(KEY)["evaluation.T"]
    rounds = len(depths) if isinstance(depths, tuple) else 1
    static = whole_setting(KEY, "evaluation.questions") * whole_setting(KEY, "evaluation.episodes")
    arm = static + CATEGORIES_WITH_TOOL * static * rounds
    tuning = whole_setting(KEY, "sft.trajectories")
    found = pd.DataFrame({"episodes": [training, tuning, arm, 3 * arm - static]})
    return Analysis(
        "effort",
        "Episodes behind the comparison",
        "Products of the published settings.",
        found,
        {
            "part": ("RL training", "SFT training", "evaluation of one arm", "evaluation of base, RL, SFT"),
            "product": (
                "questions × epochs × group",
                "expert trajectories",
                "A at T = 0, B and C at each T",
                "SFT without A",
            ),
            "episodes": map(count, found.episodes),
        },
        f"RL and SFT share their questions, not their compute: {count(training)} rollouts against {count(tuning)} "
        f"trajectories, {number(training / tuning, 0)} times as many.",
        ("That every arm was evaluated on the whole grid is inferred.",),
    )
