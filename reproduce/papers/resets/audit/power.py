"""Credit assignment with resets: what the published designs, three seeds an arm, can find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproduce.papers.resets.audit.curves import curve, final_step, sample_deviation
from reproduce.papers.resets.audit.scores import CONTRASTS, MODELS, deviations, sample_factor, scores, whole_setting
from reproduce.report.audit_tables import OURS, PAPER, AuditRow, AuditTable
from reproduce.report.text import number
from theory.published import welch_detectable_difference, welch_units


@dataclass(frozen=True)
class SeedNeed:
    """A printed difference over seeds, the difference its design finds with 80 % power, and the seeds it needed."""

    what: str
    difference: float
    deviations: tuple[float, float]
    detectable: float
    seeds: int | None
    """Per arm; None where nothing was gained."""


def seed_needs() -> tuple[SeedNeed, ...]:
    """What the designs could find: the last step of the curves, and the median cell of each contrast of Table 3."""
    last = final_step()
    needs = []
    for arm, against in CONTRASTS:
        gap = float(curve(arm)[last] - curve(against)[last])
        spread = (sample_deviation(arm, last), sample_deviation(against, last))
        needs.append(_seed_need(f"{arm} − {against}, LiveCodeBench, step {last}", gap, spread))
    for arm, against in CONTRASTS:
        for model in MODELS:
            gap = float(np.median(scores(model, arm) - scores(model, against)))
            first, second = (float(np.median(sample_factor() * deviations(model, name))) for name in (arm, against))
            needs.append(_seed_need(f"{arm} − {against}, {model}, median benchmark", gap, (first, second)))
    return tuple(needs)


def detectable_in_deviations(seeds: int) -> float:
    """Difference in units of a common SD that Welch's test finds with 80 % power, `seeds` an arm."""
    return welch_detectable_difference((1.0, 1.0), (seeds, seeds))


def _seed_need(what: str, difference: float, spread: tuple[float, float]) -> SeedNeed:
    seeds = whole_setting("evaluation.seeds")
    detectable = welch_detectable_difference(spread, (seeds, seeds))
    return SeedNeed(what, difference, spread, detectable, welch_units(difference, spread) if difference > 0 else None)


def power_table() -> AuditTable:
    """What three seeds an arm could find."""
    found = seed_needs()
    seeds = whole_setting("evaluation.seeds")
    rows = [
        AuditRow(
            (
                item.what,
                number(item.difference, signed=True),
                " and ".join(number(value) for value in item.deviations),
                number(item.detectable),
                "–" if item.seeds is None else str(item.seeds),
            ),
            PAPER,
        )
        for item in found
    ]
    rows += [
        AuditRow(("any, in SDs", "–", "1 and 1", number(detectable_in_deviations(count), 2), str(count)), OURS)
        for count in (seeds, 5, 10, 20, 30)
    ]
    curve_needs = found[: len(CONTRASTS)]
    return AuditTable(
        "power",
        "What three seeds an arm can find",
        f"Smallest difference that Welch's test finds with 80 % power (two-sided 5 %) from {seeds} seeds an arm at the "
        "printed SDs, and the seeds an arm that the printed difference would need. The last rows are hypothetical "
        "designs: the seeds are given.",
        ("comparison", "printed difference", "sample SDs", "found with 80 % power", "seeds an arm"),
        tuple(rows),
        "; ".join(
            f"{item.what}: {number(item.difference, signed=True)} points were seen, "
            f"{number(item.detectable)} would be found, and {item.seeds} seeds an arm would find what was seen"
            for item in curve_needs
        )
        + ".",
        ("The median benchmark pairs the median difference with the median SD of each arm.",),
    )
