"""PASS@(k,T): the mechanism numbers (perplexity, unique query sequences) and the effort behind the arms."""

from __future__ import annotations

from math import exp, log

import pandas as pd
from scipy.optimize import brentq

from reproduce.claims.published import setting_values, whole_setting
from reproduce.papers.pass_kt.audit.counts import KEY, value
from reproduce.report.audit_tables import Analysis, numbers
from reproduce.report.text import NOTHING, count, listed, number

CATEGORIES_WITH_TOOL = 2


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

    sequences = exp(brentq(spread_excess, log(unique), log(1e9)))
    mode = float(brentq(mode_excess, 1e-9, 1 - 1e-9))
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
