"""EchoRL: what its headline, its stated coverage and its released training configuration say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproduce.claims.published import load_published, published_number
from reproduce.papers.echorl.audit.scores import (
    BASES,
    DOMAINS,
    OUT_OF_DOMAIN,
    accuracies,
    average_gains,
    setting_number,
)
from reproduce.report.audit_tables import DIGEST, OURS, PAPER, AuditRow, AuditTable
from reproduce.report.text import count, listed, number
from theory.inference import minimum_detectable_effect

KEY = "echorl"
ASSUMED_ADVANTAGE = 0.5
ASSUMED_LENGTH = 1_000
"""Tokens of a typical response, for orders of magnitude."""
SEEDS = (5, 8, 10, 15, 20, 30)
SPREADS = (1.0, 1.5)
"""Assumed standard deviations over seeds of a paired difference in final accuracy, points."""


@dataclass(frozen=True)
class Statement:
    """A stated range or maximum of gains beside the cells of the excerpt it could be about, in points."""

    text: str
    stated: str
    cells: tuple[float, ...]
    inside: int
    """Cells that satisfy the statement."""


@dataclass(frozen=True)
class LossScale:
    """Orders of magnitude in the released configuration, section 2.9 of the specification."""

    rollout_weight: float
    """Weight of one rollout's mean-token score in the policy gradient."""
    group_weight: float
    """The same for a group of rollouts, all of that size."""
    ratio: float
    """Group weight over the weight of one EchoClip."""
    rows: int
    """Rows a GPU and optimiser step."""
    micro_batches: int
    """Micro-batches a GPU and optimiser step at the assumed length."""
    most_micro_batches: int
    """The same at the full prompt and response length."""
    echo_weight: float
    """Coefficient of a term that is a mean inside a micro-batch, once micro-batches are summed."""
    batches: int
    """Rollout batches an epoch."""
    rollouts: int
    """Rollouts in all epochs."""


@dataclass(frozen=True)
class SeedNeed:
    """Smallest paired difference found with 80 % power, two-sided 5 %, in SDs and in points at SPREADS."""

    seeds: int
    standardised: float
    points: tuple[float, ...]


def headline_statements() -> tuple[Statement, ...]:
    """Section 5.1: maxima and ranges as stated, beside what the excerpt shows."""
    gains = {(gain.base, gain.measure): gain.gain for gain in average_gains()}
    table = accuracies()
    statements = []
    for domain in DOMAINS:
        largest = float(published_number(KEY, f"largest-gain.{domain}").value)
        cells = tuple(gains[base, domain] for base in BASES)
        inside = sum(abs(cell - largest) < 0.1 for cell in cells)
        statements.append(Statement(f"largest {domain} gain", number(largest, 2, signed=True), cells, inside))
    for quantity, text in (
        ("gain-on-demonstrations", "gain on top of LUFFY and UFT"),
        ("gain-out-of-domain", "gain on ARC-c, GPQA and MMLU-Pro"),
    ):
        low, high = (float(published_number(KEY, f"{quantity}.{bound}").value) for bound in ("least", "most"))
        if quantity == "gain-on-demonstrations":
            cells = tuple(gains.values())
        else:
            cells = tuple(table[f"{base}+EchoRL"][name] - table[base][name] for base in BASES for name in OUT_OF_DOMAIN)
        inside = sum(low <= round(cell) <= high for cell in cells)
        statements.append(Statement(text, f"{low:g} to {high:g}", cells, inside))
    return tuple(statements)


def loss_scale() -> LossScale:
    """Weights of the policy gradient and of the Echo term, and the length of training."""
    group, prompts, mini_batch, gpus, denominator, budget, epochs, problems = (
        int(setting_number(name))
        for name in (
            "train.group-size",
            "train.prompts",
            "train.mini-batch",
            "train.gpus",
            "train.loss-denominator",
            "train.tokens-a-micro-batch",
            "train.epochs",
            "data.problems-by-name",
        )
    )
    weight = setting_number("echo.lambda")
    longest = int(setting_number("train.prompt-length") + setting_number("train.response-length"))
    rollout = ASSUMED_ADVANTAGE * ASSUMED_LENGTH / denominator
    rows = mini_batch * group // gpus
    micro_batches = int(np.ceil(rows * ASSUMED_LENGTH / budget))
    batches = problems // prompts
    return LossScale(
        rollout,
        group * rollout,
        group * rollout / weight,
        rows,
        micro_batches,
        int(np.ceil(rows / (budget // longest))),
        weight * micro_batches,
        batches,
        batches * prompts * group * epochs,
    )


def seed_needs() -> tuple[SeedNeed, ...]:
    """Section 7, common protocol."""
    standardised = minimum_detectable_effect(1.0, SEEDS)
    return tuple(
        SeedNeed(seeds, float(effect), tuple(float(effect * spread) for spread in SPREADS))
        for seeds, effect in zip(SEEDS, standardised, strict=True)
    )


def headline_table() -> AuditTable:
    """Do the statements fit the part of the table that can be read?"""
    statements = headline_statements()
    rows = tuple(
        AuditRow(
            (
                item.text,
                item.stated,
                ", ".join(number(cell, 1, signed=True) for cell in item.cells),
                f"{item.inside} of {len(item.cells)}",
            ),
            DIGEST,
        )
        for item in statements
    )
    largest = {domain: float(published_number(KEY, f"largest-gain.{domain}").value) for domain in DOMAINS}
    found = sum(item.inside > 0 for item in statements[: len(largest)]) or "None"
    words = "above" if largest["out-of-domain"] > largest["in-domain"] else "below"
    last = statements[-1]
    return AuditTable(
        "headline",
        "The headline beside the readable excerpt",
        "Maxima and ranges that the digest states, and the gains of the excerpt (recomputed) that they could be "
        "about; a cell counts as inside if it is once rounded to whole points, or within 0.1 of a maximum.",
        ("statement", "stated, points", "in the excerpt", "inside"),
        rows,
        f"{found} of the {len(largest)} maxima can be found in the excerpt. Out-of-domain gains are called more "
        f"pronounced, yet their maximum of {number(largest['out-of-domain'], 2)} is {words} the in-domain "
        f"{number(largest['in-domain'], 2)}; {last.inside} of {len(last.cells)} out-of-domain cells lie in the stated "
        f"{last.stated} points.",
        ("The rows that would hold the maxima (GRPO and DAPO with EchoRL, other backbones) are not readable.",),
    )


def coverage_table() -> AuditTable:
    """Section 1.2: how much the claim is said to cover."""
    counts: dict[str, dict[str, int]] = {}
    for entry in load_published(KEY):
        if entry.quantity == "coverage":
            counts.setdefault(str(entry.cell["text"]), {})[entry.unit] = int(entry.value)
    rows = tuple(
        AuditRow((text, *(str(values[unit]) for unit in ("benchmarks", "backbones", "methods"))), PAPER)
        for text, values in counts.items()
    )
    different = [
        f"{unit} ({' or '.join(map(str, sorted(values)))})"
        for unit in ("benchmarks", "backbones", "methods")
        if len(values := {row[unit] for row in counts.values()}) > 1
    ]
    shown = len(accuracies())
    return AuditTable(
        "coverage",
        "How much the claim is said to cover",
        "Counts of benchmarks, backbones and RLVR methods in three texts of the authors.",
        ("text", "benchmarks", "backbones", "methods"),
        rows,
        f"The authors' three texts differ in {listed(different) if different else 'nothing'}. The readable excerpt "
        f"covers one backbone, {shown} rows and {len(BASES)} methods with EchoRL.",
    )


def loss_scale_table() -> AuditTable:
    """Section 2.9: how heavy the Echo term is."""
    value = loss_scale()
    rows = (
        ("policy-gradient weight of one rollout", number(value.rollout_weight, 3)),
        ("policy-gradient weight of a group", number(value.group_weight, 2)),
        ("group weight over one EchoClip", count(value.ratio)),
        ("rows a GPU and optimiser step", count(value.rows)),
        ("micro-batches then", f"{value.micro_batches} (at full length {value.most_micro_batches})"),
        ("coefficient of a micro-batch mean", number(value.echo_weight, 4)),
        ("rollout batches an epoch", count(value.batches)),
        ("rollouts in all epochs", count(value.rollouts)),
    )
    bonus, weight = setting_number("train.entropy-bonus"), setting_number("echo.lambda")
    return AuditTable(
        "loss-scale",
        "How heavy is the Echo term in the released configuration?",
        f"Orders of magnitude from the authors' scripts, for rollouts of {ASSUMED_LENGTH:,} tokens with an advantage "
        f"of ± {ASSUMED_ADVANTAGE:g} (assumed): token sums divided by the padded length, the Echo term a token mean.",
        ("quantity", "value"),
        tuple(AuditRow(row, PAPER) for row in rows),
        f"One mixed group outweighs one EchoClip about {count(round(value.ratio, -2))} : 1, so λ = {weight:g} matters "
        f"only when nearly the whole batch is degenerate. The entropy bonus has the coefficient {bonus:g} in both "
        "arms, so all-success groups do have a gradient without EchoRL.",
        (
            "No released file reads the flags of EchoClip: the released EchoRL script trains plain GRPO.",
            "Losses are summed over micro-batches, so a term that is a mean inside each grows with their number.",
        ),
    )


def seeds_table() -> AuditTable:
    """What repeated runs could find; the paper reports none."""
    needs = seed_needs()
    rows = tuple(
        AuditRow((str(need.seeds), number(need.standardised, 2), *(number(points) for points in need.points)), OURS)
        for need in needs
    )
    printed = [gain.gain for gain in average_gains() if gain.measure == "in-domain"]
    enough = next((need.seeds for need in needs if need.points[-1] <= min(printed)), None)
    return AuditTable(
        "seeds",
        "What repeated training runs could find",
        "Smallest paired difference that a two-sided t-test at 5 % finds with 80 % power, in standard deviations "
        "over seeds and in points for two assumed standard deviations. The paper reports no repeated runs.",
        ("seeds", "in SDs", *(f"points, SD {spread:g}" for spread in SPREADS)),
        rows,
        f"The in-domain gains of {number(min(printed))} to {number(max(printed))} points need "
        f"{f'{enough} seeds' if enough else f'more than {SEEDS[-1]} seeds'} if runs spread by {SPREADS[-1]:g} points; "
        "the published number of runs is one an arm, which cannot test a method.",
    )
