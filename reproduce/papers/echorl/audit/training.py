"""EchoRL: what its headline, its stated coverage, its released configuration and its rule of selection say."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from reproduce.claims.published import load_published, published_values, setting_values, whole_setting
from reproduce.papers.echorl.audit.scores import BASES, DOMAINS, KEY, OUT_OF_DOMAIN, accuracies, tested_averages
from reproduce.report.audit_tables import OURS, PAPER, Analysis, filled, numbers, texts
from reproduce.report.text import count, listed, number
from theory.inference import minimum_detectable_effect
from theory.resampling import FloatArray

ASSUMED_ADVANTAGE = 0.5
ASSUMED_LENGTH = 1_000
"""Tokens of a typical response, for orders of magnitude."""
SEEDS = (5, 8, 10, 15, 20, 30)
SPREADS = (1.0, 1.5)
"""Assumed standard deviations over seeds of a paired difference in final accuracy, points."""
STEPS_PER_ROLLOUT = 12
MEAN_LENGTH = 25
DRAWS = 4_000
BLOCK = 250
LOG_NORMAL_SHAPES = (1.0, 1.5, 2.0)

IntArray = NDArray[np.int64]


def headline() -> Analysis:
    """Section 5.1: maxima and ranges as stated, beside the gains of the excerpt that they could be about, in points."""
    gains = tested_averages().set_index(["base", "measure"]).gain
    table, stated = accuracies(), published_values(KEY)
    rows = []
    for domain in DOMAINS:
        largest = stated[f"largest-gain.{domain}"]
        cells = [gains[base, domain] for base in BASES]
        inside = sum(abs(cell - largest) < 0.1 for cell in cells)
        rows.append((f"largest {domain} gain", number(largest, 2, signed=True), cells, inside))
    for quantity, text, cells in (
        ("gain-on-demonstrations", "gain on top of LUFFY and UFT", list(gains)),
        (
            "gain-out-of-domain",
            "gain on ARC-c, GPQA and MMLU-Pro",
            [table[name][f"{base}+EchoRL"] - table[name][base] for base in BASES for name in OUT_OF_DOMAIN],
        ),
    ):
        low, high = (stated[f"{quantity}.{bound}"] for bound in ("least", "most"))
        rows.append((text, f"{low:g} to {high:g}", cells, sum(low <= round(cell) <= high for cell in cells)))
    found = pd.DataFrame(rows, columns=["statement", "stated", "cells", "inside"])
    maxima = {domain: stated[f"largest-gain.{domain}"] for domain in DOMAINS}
    words = "above" if maxima["out-of-domain"] > maxima["in-domain"] else "below"
    *_, last = found.itertuples()
    return Analysis(
        "headline",
        "The headline beside the readable excerpt",
        "Maxima and ranges that the digest states, and the gains of the excerpt (recomputed) that they could be "
        "about; a cell counts as inside if it is once rounded to whole points, or within 0.1 of a maximum.",
        found,
        {
            "statement": found.statement,
            "stated, points": found.stated,
            "in the excerpt": [", ".join(numbers(cells, signed=True)) for cells in found.cells],
            "inside": filled("{} of {}", found.inside, found.cells.map(len)),
        },
        f"{(found.inside[: len(maxima)] > 0).sum() or 'None'} of the {len(maxima)} maxima can be found in the excerpt. "
        f"Out-of-domain gains are called more pronounced, yet their maximum of {number(maxima['out-of-domain'], 2)} is "
        f"{words} the in-domain {number(maxima['in-domain'], 2)}; {last.inside} of {len(last.cells)} out-of-domain "
        f"cells lie in the stated {last.stated} points.",
        ("The rows that would hold the maxima (GRPO and DAPO with EchoRL, other backbones) are not readable.",),
    )


def coverage() -> Analysis:
    """Section 1.2: how much the claim is said to cover."""
    counts: dict[str, dict[str, int]] = {}
    for entry in load_published(KEY):
        if entry.quantity == "coverage":
            counts.setdefault(str(entry.cell["text"]), {})[entry.unit] = int(entry.value)
    found = pd.DataFrame.from_dict(counts, orient="index")[["benchmarks", "backbones", "methods"]]
    different = [
        f"{unit} ({' or '.join(texts(sorted(set(found[unit]))))})" for unit in found if found[unit].nunique() > 1
    ]
    return Analysis(
        "coverage",
        "How much the claim is said to cover",
        "Counts of benchmarks, backbones and RLVR methods in three texts of the authors.",
        found,
        {"text": counts, **{unit: texts(found[unit]) for unit in found}},
        f"The authors' three texts differ in {listed(different) if different else 'nothing'}. The readable excerpt "
        f"covers one backbone, {len(accuracies())} rows and {len(BASES)} methods with EchoRL.",
        source=PAPER,
    )


def loss_scale() -> Analysis:
    """Section 2.9: weights of the policy gradient and of the Echo term, and the length of training.

    The weights are those of the mean-token score of one rollout, and of a group of rollouts all of that size; a term
    that is a mean inside a micro-batch grows once micro-batches are summed.
    """
    group, prompts, mini_batch, gpus, denominator, budget, epochs, problems, longest_prompt, longest_response = (
        whole_setting(KEY, name)
        for name in (
            *("train.group-size", "train.prompts", "train.mini-batch", "train.gpus", "train.loss-denominator"),
            *("train.tokens-a-micro-batch", "train.epochs", "data.problems-by-name"),
            *("train.prompt-length", "train.response-length"),
        )
    )
    bonus, weight = (float(str(setting_values(KEY)[name])) for name in ("train.entropy-bonus", "echo.lambda"))
    rollout = ASSUMED_ADVANTAGE * ASSUMED_LENGTH / denominator
    ratio = group * rollout / weight
    rows = mini_batch * group // gpus
    micro_batches = int(np.ceil(rows * ASSUMED_LENGTH / budget))
    most_micro_batches = int(np.ceil(rows / (budget // (longest_prompt + longest_response))))
    batches = problems // prompts
    rollouts = batches * prompts * group * epochs
    cells = {
        "policy-gradient weight of one rollout": (rollout, number(rollout, 3)),
        "policy-gradient weight of a group": (group * rollout, number(group * rollout, 2)),
        "group weight over one EchoClip": (ratio, count(ratio)),
        "rows a GPU and optimiser step": (rows, count(rows)),
        "micro-batches then": (most_micro_batches, f"{micro_batches} (at full length {most_micro_batches})"),
        "coefficient of a micro-batch mean": (weight * micro_batches, number(weight * micro_batches, 4)),
        "rollout batches an epoch": (batches, count(batches)),
        "rollouts in all epochs": (rollouts, count(rollouts)),
    }
    return Analysis(
        "loss-scale",
        "How heavy is the Echo term in the released configuration?",
        f"Orders of magnitude from the authors' scripts, for rollouts of {ASSUMED_LENGTH:,} tokens with an advantage "
        f"of ± {ASSUMED_ADVANTAGE:g} (assumed): token sums divided by the padded length, the Echo term a token mean.",
        pd.DataFrame({"value": [float(value) for value, _ in cells.values()]}, index=list(cells)),
        {"quantity": cells, "value": [text for _, text in cells.values()]},
        f"One mixed group outweighs one EchoClip about {count(round(ratio, -2))} : 1, so λ = {weight:g} matters "
        f"only when nearly the whole batch is degenerate. The entropy bonus has the coefficient {bonus:g} in both "
        "arms, so all-success groups do have a gradient without EchoRL.",
        (
            "No released file reads the flags of EchoClip: the released EchoRL script trains plain GRPO.",
            "Losses are summed over micro-batches, so a term that is a mean inside each grows with their number.",
        ),
        source=PAPER,
    )


def seeds() -> Analysis:
    """Section 7, common protocol: what repeated runs could find; the paper reports none."""
    found = pd.DataFrame({"seeds": SEEDS, "standardised": minimum_detectable_effect(1.0, SEEDS)})
    for spread in SPREADS:
        found[f"points, SD {spread:g}"] = found.standardised * spread
    averages = tested_averages()
    printed = averages.gain[averages.measure == "in-domain"]
    enough = found.seeds[found.iloc[:, -1] <= printed.min()]
    return Analysis(
        "seeds",
        "What repeated training runs could find",
        "Smallest paired difference that a two-sided t-test at 5 % finds with 80 % power, in standard deviations "
        "over seeds and in points for two assumed standard deviations. The paper reports no repeated runs.",
        found,
        {
            "seeds": texts(found.seeds),
            "in SDs": numbers(found.standardised, 2),
            **{heading: numbers(found[heading]) for heading in found.columns[2:]},
        },
        f"The in-domain gains of {number(printed.min())} to {number(printed.max())} points need "
        f"{f'{enough.iloc[0]} seeds' if len(enough) else f'more than {SEEDS[-1]} seeds'} if runs spread by "
        f"{SPREADS[-1]:g} points; the published number of runs is one an arm, which cannot test a method.",
        source=OURS,
    )


def toy_directions(group: int) -> dict[str, Fraction]:
    """Exact expected ascent direction of each rule in the two-step toy of section 3.2 of the specification.

    Step 1 takes branch A or B with probability 1/2 (score +1/2 or -1/2, entropy ln 2); step 2 is uniform over eight
    tokens in A (entropy ln 8) and nearly certain in B, and carries no score on average. All rewards are 1. Enumerates
    the branches of the group; a clip of L tokens weighs its score by 1/L.
    """
    half = Fraction(1, 2)
    totals = {"argmax": Fraction(0), "argmin": Fraction(0), "random step": Fraction(0), "full rollout": Fraction(0)}
    for branches in product((half, -half), repeat=group):
        weight = Fraction(1, 2**group)
        has_a, has_b = half in branches, -half in branches
        # Highest entropy: step 2 of A, else step 1 of a B. Lowest: step 2 of B, else step 1 of an A.
        totals["argmax"] += weight * (half / 2 if has_a else -half)
        totals["argmin"] += weight * (-half / 2 if has_b else half)
        mean = sum(branches, Fraction(0)) / group
        totals["random step"] += weight * (mean + mean / 2) / 2
        totals["full rollout"] += weight * mean / 2
    return totals


def selection_toy() -> Analysis:
    """Section 3.2: selection, not imitation, moves the policy."""
    directions = toy_directions(whole_setting(KEY, "train.group-size"))
    found = pd.DataFrame({"direction": [float(value) for value in directions.values()]}, index=list(directions))
    shown = dict(zip(directions, numbers(found.direction, 3, signed=True), strict=True))
    silent = [rule for rule, value in directions.items() if value == 0]
    return Analysis(
        "selection-toy",
        "What the rule of selection does to a group of successes",
        "Exact expected ascent direction on the logit of the uncertain branch, two steps of one token, group of 8 "
        "successes.",
        found,
        {
            "clip": directions,
            "direction": [str(value).replace("-", "−") for value in directions.values()],
            "value": shown.values(),
        },
        f"In a two-step toy argmax clips push towards the uncertain branch by {shown['argmax']}, argmin clips by "
        f"{shown['argmin']}; {listed(silent) if silent else 'no rule'} by 0. "
        "Whatever EchoRL does comes from its selection, and the paper's readable parts hold no ablation of it.",
        source=OURS,
    )


def _step_entropies(generator: np.random.Generator, lengths: IntArray) -> dict[str, FloatArray]:
    """Mean token entropy of each step; sums of exponentials are drawn as gammas, log-normals token by token."""
    means = {"exponential": generator.gamma(lengths) / lengths}
    high = generator.binomial(lengths, 0.2)
    mixed = generator.standard_gamma(high) + 0.02 * generator.standard_gamma(lengths - high)
    means["20 % exponential(1), 80 % exponential(0.02)"] = mixed / lengths
    scores = generator.standard_normal(int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths.ravel())[:-1]])
    for shape in LOG_NORMAL_SHAPES:
        sums = np.add.reduceat(np.exp(shape * scores), starts)
        means[f"log-normal, s = {shape:g}"] = sums.reshape(lengths.shape) / lengths
    return means


def picked_lengths() -> pd.DataFrame:
    """Section 3.3: length in tokens of the step that an argmax of mean entropies picks from the pool of a group.

    `DRAWS` groups under each law of token entropies, which are independent; step lengths are geometric with mean
    MEAN_LENGTH. The first row is the exact law of a step picked without selection.
    """
    pool = STEPS_PER_ROLLOUT * whole_setting(KEY, "train.group-size")
    generator = np.random.default_rng(0)
    blocks: dict[str, list[IntArray]] = {}
    for start in range(0, DRAWS, BLOCK):
        size = min(BLOCK, DRAWS - start)
        lengths = generator.geometric(1 / MEAN_LENGTH, (size, pool))
        for law, means in _step_entropies(generator, lengths).items():
            blocks.setdefault(law, []).append(lengths[np.arange(size), means.argmax(axis=1)])
    exact, picked = scipy.stats.geom(1 / MEAN_LENGTH), {law: np.concatenate(parts) for law, parts in blocks.items()}
    rows = [("no selection", exact.median(), exact.cdf(3), exact.cdf(4))]
    rows += [(law, np.median(steps), (steps <= 3).mean(), (steps < 5).mean()) for law, steps in picked.items()]
    return pd.DataFrame(rows, columns=["law", "median", "up_to_three", "below_five"])


def short_steps() -> Analysis:
    """Section 3.3: an argmax over means prefers short steps."""
    found = picked_lengths()
    base, *shares = 100 * found.up_to_three
    return Analysis(
        "short-steps",
        "An argmax over means prefers short steps",
        f"Length of the picked step among {STEPS_PER_ROLLOUT} steps of each of 8 rollouts, geometric lengths with mean "
        f"{MEAN_LENGTH}, {DRAWS:,} groups under each law of independent token entropies.",
        found,
        {
            "token entropies": found.law,
            "median length": numbers(found["median"], 0),
            "up to 3 tokens, %": numbers(100 * found.up_to_three),
            "below 5 tokens, %": numbers(100 * found.below_five),
        },
        f"Under the assumed laws of token entropy between {number(min(shares), 0)} and {number(max(shares), 0)} % of "
        f"the picks have at most three tokens, against {number(base)} % of all steps: without a minimum length the "
        "rule picks fragments.",
        (
            f"Simulated; the standard error of a share is at most {number(50 / DRAWS**0.5)} points.",
            "The laws are assumed; real entropies depend on their neighbours.",
        ),
        source=OURS,
    )
