"""What repetition and looping gain under the segmentation cost, and whether policies learn them."""

from __future__ import annotations

import itertools

import numpy as np

from reproduce.claims.ratios import seed_ratios
from reproduce.claims.records import MethodRecords
from reproduce.papers.reuserl.figures import arms, environments, named
from reproduce.papers.reuserl.measures import ALPHABETS, dictionary_of, drawn_law, encoded, strings_of
from reproduce.papers.reuserl.statistics import shares
from reproduce.report.text import Section, number, plain, table
from theory.segmentation import phrase_counts

REPETITIONS = 8
"""Symbols of the strings on which the price of repetition is measured."""


def weight_of(records: MethodRecords, arm: str) -> float:
    """lambda of an arm."""
    if arm in ("base", "grpo", "grpo_no_std"):
        return 0.0
    suffix = arm.rpartition("_")[2]
    return float(suffix) if "_weight_" in arm else float(records.experiment["weight"])


def repetition_price(records: MethodRecords, environment: str, arm: str, period: int) -> list[float]:
    """Cheapest cost of a repeated symbol in phrases, one value a seed: the least seg over strings of REPETITIONS
    symbols with this period, divided by REPETITIONS. Period 1 repeats one symbol, period 2 loops over two."""
    alphabet = len(ALPHABETS[environment])
    loops = [bytes(loop) * (REPETITIONS // period) for loop in itertools.permutations(range(alphabet), period)]
    return [
        float(phrase_counts(loops, dictionary_of(records, environment, arm, seed)).min()) / REPETITIONS
        for seed in range(records.seeds)
    ]


def cheaper_with_one_more(records: MethodRecords, environment: str, arm: str, repeat: bool) -> np.ndarray:
    """Share of an arm's successes on the test panel that one action more would make cheaper under the run's final
    dictionary, in points, one value a seed (NaN without a success). repeat: only an action given twice in a row."""
    alphabet, shares_of_seeds = len(ALPHABETS[environment]), []
    for seed in range(records.seeds):
        found = strings_of(records, environment, arm, seed=seed)
        strings = encoded(found["skills"], environment)
        longer, owner = [], []
        for place, string in enumerate(strings):
            for position, symbol in enumerate(string):
                for added in (symbol,) if repeat else range(alphabet):
                    longer.append(string[:position] + bytes([added]) + string[position:])
                    owner.append(place)
        if not longer:
            shares_of_seeds.append(np.nan)
            continue
        dictionary = dictionary_of(records, environment, arm, seed)
        cheapest = np.full(len(strings), np.iinfo(np.int64).max)
        np.minimum.at(cheapest, np.array(owner), phrase_counts(longer, dictionary))
        shares_of_seeds.append(100 * float(drawn_law(found) @ (cheapest < phrase_counts(strings, dictionary))))
    return np.array(shares_of_seeds)


def hacks(records: MethodRecords) -> Section:
    """What repetition and looping would gain under each arm's final dictionary, and whether policies do it."""
    rows = []
    for environment in environments(records):
        horizon = int(records.experiment[environment]["training"]["rounds"])
        for arm in (name for name in arms(records, environment) if name != "base"):
            weight = weight_of(records, arm)
            prices = [repetition_price(records, environment, arm, period) for period in (1, 2)]
            saved = weight * REPETITIONS * (1 - float(np.mean(prices[0]))) / horizon
            padded = [cheaper_with_one_more(records, environment, arm, repeat) for repeat in (True, False)]
            repeated = seed_ratios(shares(records, environment, arm, "repeated", "rounds"))
            runs = seed_ratios(shares(records, environment, arm, "longest_run", "n")) / 100
            solved = seed_ratios(shares(records, environment, arm, "longest_run_of_successes", "successes")) / 100
            rows.append(
                (
                    environment,
                    named(arm),
                    *(number(float(np.mean(price)), 2) for price in prices),
                    number(saved, 3),
                    *(number(_known_mean(values), 1) for values in (*padded, repeated)),
                    *(number(_known_mean(values), 2) for values in (runs, solved)),
                )
            )
    headings = (
        "Environment",
        "Arm",
        "Price, repeat",
        "Price, loop",
        "Saved",
        "Cheaper, repeat, %",
        "Cheaper, any, %",
        "Repeated, %",
        "Longest run",
        "of successes",
    )
    body = [
        plain(
            f"Two ways to game the cost. To fill an episode: price is what each symbol of the cheapest string of "
            f"{REPETITIONS} symbols costs in phrases, one symbol repeated or two in a loop, under the dictionary a run "
            f"ended with. The length penalty charges 1, the least possible is 1/L. Saved: reward that such a "
            f"repetition "
            f"saves in a success against a length penalty of the same lambda. To complete a phrase: cheaper is the "
            f"share of successes on the test panel that would cost fewer phrases with one action more, a repeated one "
            f"or any, which the length penalty never rewards. GRPO has a dictionary but pays for nothing (lambda = 0)."
        ),
        plain(
            "Whether policies do so: actions that their episode had given before word for word, as share of actions, "
            "and the longest run of one symbol, in all episodes and in successes, on the test panel. Means over seeds."
        ),
        table(headings, rows, numbers=range(2, 10)),
    ]
    return Section("What repetition and looping gain", "\n\n".join(body), ("actions",))


def _known_mean(values: np.ndarray) -> float | None:
    """Mean over the seeds that have a value; None without one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
