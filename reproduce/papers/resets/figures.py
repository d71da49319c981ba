"""The figures of RRPO and SRPO, drawn from records alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import smoothed
from reproduce.papers.resets.arms import ARMS
from reproduce.papers.resets.coverage import COVERAGE, GAIN, coverage_laws
from reproduce.papers.resets.measures import (
    MATCHED,
    SRPO,
    arm_of,
    curves,
    final_success,
    gain,
    has_oracle,
    probe_ratios,
    reset_arms,
    resets,
    seed_scores,
    signal_ratios,
    trained_arms,
)
from reproduce.papers.resets.tests import dose_levels, miss_offset
from reproduce.report.colours import BASE, INK, OTHER, QUIET, TRAINED
from reproduce.report.figures import Figure, canvas, save
from theory.inference import crossed_t_interval, mean_interval, wilson_interval

LOOKED_AT = ("grpo", MATCHED, "rrpo", "position_control", SRPO, "srpo_oracle", "srpo")
"""Arms drawn in colour, in the order of legends."""
MOST_DEVIATION = 4
"""Deviations beyond are shown together, as in the paper."""


def draw(records: MethodRecords, folder: Path) -> dict[str, Figure]:
    """Draw every figure into `folder`; the keys are the names that claims use."""
    drawn = {}
    figures = {
        "contrasts": contrasts,
        "curves": learning_curves,
        "positions": positions,
        "signal": signal,
        "self_correction": self_correction,
    }
    if has_oracle(records):
        figures |= {"dose": dose, "localization": localization}
    if "probe" in records.tables:
        figures |= {"coverage": coverage}
    for name, make in figures.items():
        drawing, caption = make(records)
        drawn[name] = Figure(save(drawing, folder / f"{name}.svg"), caption)
    return drawn


def _sizes(records: MethodRecords) -> str:
    tasks = final_success(records, "base").shape[1]
    return f"{records.seeds} seeds, {tasks} test tasks"


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, label: str, look: Mapping[str, Any]) -> None:
    """Mean over seeds with its 95 % t interval at every x; values: (seeds, steps), NaN where there is none."""
    count = np.isfinite(values).sum(axis=0)
    known = count >= 2
    if not known.any():
        return
    x, values, count = x[known], values[:, known], count[known]
    mean = np.nanmean(values, axis=0)
    error = np.nanstd(values, axis=0, ddof=1) / np.sqrt(count)
    from scipy.stats import t

    half = t.ppf(0.975, count - 1) * error
    axes.fill_between(x, mean - half, mean + half, color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(x, mean, label=label, **look)


def _shown_arms(records: MethodRecords) -> list[str]:
    found = trained_arms(records)
    return [arm for arm in LOOKED_AT if arm in found]


def contrasts(records: MethodRecords) -> tuple[Canvas, str]:
    """Success of every arm minus that of GRPO with the same loss."""
    arms = [arm for arm in trained_arms(records) if arm != MATCHED]
    with canvas(0.7 + 0.24 * len(arms)) as drawing:
        axes = drawing.subplots()
        for place, arm in enumerate(reversed(arms)):
            table = gain(records, arm, MATCHED)
            found = crossed_t_interval(table)
            colour = str(ARMS[arm].look.get("color", QUIET))
            axes.plot(
                table.mean(axis=1), np.full(len(table), place - 0.18), "o", color=QUIET, alpha=0.5, markersize=2.5
            )
            axes.plot([float(found.low), float(found.high)], [place, place], color=colour, linewidth=1.8)
            axes.plot(float(found.estimate), place, "s", color=colour, markersize=5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(arms)), [ARMS[arm].label for arm in reversed(arms)])
        axes.set_ylim(-0.6, len(arms) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_ylabel("arm")
        axes.set_xlabel("success minus that of GRPO with the same loss, points")
    return drawing, (
        "Success on the test tiers, each arm minus GRPO with the reset arms' loss. Squares: mean with 95 % interval "
        f"over seeds and tasks; dots: one a seed. {_sizes(records)}."
    )


def learning_curves(records: MethodRecords) -> tuple[Canvas, str]:
    """Success of fresh chains on training prompts against steps, chains drawn and tokens generated."""
    labels = {"steps": "optimiser steps", "chains": "chains drawn", "tokens": "tokens generated"}
    with canvas(2.9) as drawing:
        panels = drawing.subplots(1, 3, sharey=True)
        for arm in _shown_arms(records):
            found = curves(records, arm)
            label, look = ARMS[arm].label, ARMS[arm].look
            for axes, cost in zip(panels, labels, strict=True):
                _band(axes, getattr(found, cost).mean(axis=0), smoothed(found.success), label, look)
        for axes, label in zip(panels, labels.values(), strict=True):
            axes.set_xlabel(label)
            axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
            axes.locator_params(axis="x", nbins=5)
        panels[0].set_ylabel("success, share of chains")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawing, (
        "Success of independent fresh chains on training prompts, mean over the last tenth of the steps, against what "
        "was spent. Chains drawn hold seeds, chains thrown away and suffixes; tokens are those the policy sampled, "
        f"localization included and prefixes not. Bands: 95 % t intervals over {records.seeds} seeds."
    )


def _thousands(value: float, _: object) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"


def dose(records: MethodRecords) -> tuple[Canvas, str]:
    """Success against the measured share of exact hits."""
    levels = dose_levels(records)
    scores = seed_scores(records, *levels)
    x = 100 * np.array(list(levels.values()))
    with canvas(2.4) as drawing:
        axes = drawing.subplots()
        for row in scores:
            axes.plot(x, row, color=QUIET, alpha=0.35, linewidth=0.8)
        for place, arm in enumerate(levels):
            found = crossed_t_interval(final_success(records, arm))
            colour = str(ARMS[arm].look.get("color", QUIET))
            axes.plot([x[place]] * 2, [float(found.low), float(found.high)], color=colour, linewidth=1.8)
            axes.plot(x[place], float(found.estimate), "s", color=colour, label=ARMS[arm].label)
        axes.set_xlabel("resets at the true first error, %")
        axes.set_ylabel("success on test tiers, %")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawing, (
        "Success against the measured share of exact hits; the misses lie "
        f"{miss_offset(records, *levels):+.1f} steps from the true first error on average. Squares: mean with 95 % "
        f"interval over seeds and tasks; lines: one a seed. {_sizes(records)}."
    )


def positions(records: MethodRecords) -> tuple[Canvas, str]:
    """Where each arm resets, as a share of the chain."""
    arms = [arm for arm in LOOKED_AT if arm in reset_arms(records)]
    edges = np.linspace(0, 1, 11)
    with canvas(2.2) as drawing:
        panels = np.atleast_1d(drawing.subplots(1, len(arms), sharey=True))
        for axes, arm in zip(panels, arms, strict=True):
            rows = resets(records, arm)
            # A position on an edge belongs to the bin that it ends.
            shares = []
            for _, own in rows.groupby("seed"):
                counts, _ = np.histogram(own["position"] - 1e-9, edges)
                shares.append(100 * counts / len(own))
            table = np.array(shares)
            label, look = ARMS[arm].label, ARMS[arm].look
            axes.bar(edges[:-1] + 0.05, table.mean(axis=0), 0.086, color=look["color"], alpha=0.75)
            low, high = table.min(axis=0), table.max(axis=0)
            axes.vlines(edges[:-1] + 0.05, low, high, color=INK, linewidth=0.8)
            axes.set_title(f"{label}\nmean {rows['position'].mean():.2f}")
            axes.set_xlabel("h*/H")
            axes.grid(axis="x", visible=False)
        panels[0].set_ylabel("resets, %")
    return drawing, (
        "Reset positions h*/H over the whole training, in tenths of the chain. Bars: mean over seeds; lines: least to "
        f"most of {records.seeds} seeds."
    )


def deviation_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Resets, suffixes right and suffixes by deviation of the step from the true first error, the ends pooled."""
    pooled = rows["deviation"].clip(-MOST_DEVIATION, MOST_DEVIATION)
    found = rows.groupby(pooled)[["corrected", "attempts"]].sum()
    found.insert(0, "resets", rows.groupby(pooled).size())
    return found.reindex(range(-MOST_DEVIATION, MOST_DEVIATION + 1), fill_value=0)


def localization(records: MethodRecords) -> tuple[Canvas, str]:
    """How far resets lie from the true first error, and how many of their suffixes are right."""
    arms = [arm for arm in LOOKED_AT if arm in reset_arms(records)]
    with canvas(2.7) as drawing:
        left, right = drawing.subplots(1, 2)
        width = 0.8 / len(arms)
        for place, arm in enumerate(arms):
            label, look = ARMS[arm].label, ARMS[arm].look
            counts = deviation_counts(resets(records, arm))
            where = counts.index.to_numpy() + (place - (len(arms) - 1) / 2) * width
            left.bar(where, 100 * counts["resets"] / counts["resets"].sum(), width, color=look["color"], label=label)
            asked = counts[counts["attempts"] > 0]
            low, high = wilson_interval(asked["corrected"].to_numpy(), asked["attempts"].to_numpy())
            rate = (asked["corrected"] / asked["attempts"]).to_numpy()
            where = asked.index.to_numpy() + (place - (len(arms) - 1) / 2) * width
            right.errorbar(
                where,
                100 * rate,
                100 * np.maximum([rate - low, high - rate], 0),
                fmt="o",
                color=look["color"],
                elinewidth=1.2,
            )
        ticks = range(-MOST_DEVIATION, MOST_DEVIATION + 1)
        names = [
            f"≤ −{MOST_DEVIATION}",
            *(f"{tick:+d}".replace("-", "−").replace("+0", "0") for tick in range(1 - MOST_DEVIATION, MOST_DEVIATION)),
            f"≥ +{MOST_DEVIATION}",
        ]
        for axes, label in ((left, "resets, %"), (right, "suffixes right, %")):
            axes.set_xticks(list(ticks), names)
            axes.set_xlabel("step of the reset minus true first error")
            axes.set_ylabel(label)
            axes.grid(axis="x", visible=False)
        drawing.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return drawing, (
        "Left: deviation of the reset from the true first error, steps. Right: share of suffixes that are right, with "
        f"95 % Wilson intervals over suffixes, all {records.seeds} seeds and the whole training together. A reset at "
        "or before the error (0 and below) keeps a clean prefix."
    )


def signal(records: MethodRecords) -> tuple[Canvas, str]:
    """Ratio of signal per token, suffix over base group, by step."""
    with canvas(2.3) as drawing:
        panels = drawing.subplots(1, 3, sharey=True)
        titles = {"signal": "|A|/T (1 − π)", "advantage": "|A| alone", "inverse_length": "1/T alone"}
        for axes, (part, title) in zip(panels, titles.items(), strict=True):
            for arm in (arm for arm in ("rrpo", SRPO, "srpo_oracle", "srpo") if arm in reset_arms(records)):
                ratios = np.log2(signal_ratios(records, arm, part))
                known = np.where(np.isfinite(ratios), ratios, 0.0)
                weight = np.isfinite(ratios).astype(float)
                mean = smoothed(known) / np.maximum(smoothed(weight), 1e-9)
                mean[smoothed(weight) == 0] = np.nan
                label, look = ARMS[arm].label, ARMS[arm].look
                _band(axes, np.arange(1, ratios.shape[1] + 1), mean, label, look)
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.yaxis.set_major_formatter(lambda value, _: f"{2**value:.3g}")
            axes.set_title(title)
            axes.set_xlabel("optimiser steps")
        panels[0].set_ylabel("suffix over base group")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawing, (
        "Signal per token of the suffix group over that of the base group, on prompts on which both have signal, and "
        f"its two factors; mean of the logarithm over the last tenth of the steps. Bands: 95 % t intervals over "
        f"{records.seeds} seeds."
    )


def self_correction(records: MethodRecords) -> tuple[Canvas, str]:
    """Success of suffixes and share of groups without signal, beside the base group."""
    with canvas(2.4) as drawing:
        panels = drawing.subplots(1, 2, sharex=True)
        kinds = {
            "suffix": ("suffix group", {"color": TRAINED, "linestyle": "-"}),
            "base": ("base group", {"color": BASE, "linestyle": "--"}),
        }
        for axes, name, label in zip(
            panels, ("success", "zero_std"), ("chains right, share", "groups without signal, share"), strict=True
        ):
            for kind, (title, look) in kinds.items():
                values = records.log("reasoning", arm_of(records, SRPO), f"{kind}/{name}")
                _band(axes, np.arange(1, values.shape[1] + 1), smoothed(np.nan_to_num(values)), title, look)
            axes.set_xlabel("optimiser steps")
            axes.set_ylabel(label)
            axes.set_ylim(-0.02, 1.02)
        panels[1].legend(loc="best")
    return drawing, (
        "SRPO with the degraded oracle: share of chains that are right, and of groups whose four outcomes are equal, "
        f"by group; mean over the last tenth of the steps. Bands: 95 % t intervals over {records.seeds} seeds."
    )


def coverage(records: MethodRecords) -> tuple[Canvas, str]:
    """Ratios of random over targeted resets against coverage: simulated, predicted, and in practice."""
    with canvas(3.0) as drawing:
        left, right = drawing.subplots(1, 2)
        looks = {"samples, uncentred": (TRAINED, "s"), "samples, centred": (OTHER, "^"), GAIN: (BASE, "o")}
        for name, law in coverage_laws().items():
            colour, mark = looks[name]
            found = [mean_interval(np.log(column)) for column in law.ratios.T]
            middle = np.exp([one.mean for one in found])
            reach = [middle - np.exp([one.low for one in found]), np.exp([one.high for one in found]) - middle]
            left.errorbar(
                1 / COVERAGE, middle, np.maximum(reach, 0), fmt=mark, color=colour, label=name, elinewidth=1.2
            )
            left.plot(1 / COVERAGE, law.exact, color=colour, linewidth=0.9)
        left.plot(1 / COVERAGE, 1 / COVERAGE**2, color=QUIET, linestyle=":", linewidth=0.9, label="1/p²")
        left.set_title("theorem: one action, then the policy")
        left.set_ylabel("advantage of targeted resets, times")
        left.legend(loc="upper left")
        ratios = probe_ratios(records)
        found = [mean_interval(np.log(column)) for column in ratios.T]
        middle = np.exp([one.mean for one in found])
        reach = [middle - np.exp([one.low for one in found]), np.exp([one.high for one in found]) - middle]
        right.errorbar(1 / COVERAGE, middle, np.maximum(reach, 0), fmt="o", color=INK, elinewidth=1.2, label="measured")
        right.plot(1 / COVERAGE, middle[0] * COVERAGE[0] / COVERAGE, color=QUIET, linestyle=":", label="slope of 1/p")
        right.set_title("practice: the whole suffix anew")
        right.set_ylabel("groups with signal, targeted over random")
        right.legend(loc="upper left")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(1 / COVERAGE, [f"{1 / p:g}" for p in COVERAGE])
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xlabel("1/p = steps over decisive steps")
    return drawing, (
        "Left: marks are simulated ratios with 95 % intervals over 20 studies, lines the exact finite-p prediction. "
        "Right: share of suffix groups with signal after a reset at the true first error over that after a reset at a "
        "random step, failed chains of the base with 4, 2, 1 of 8 and 1 of 16 decisive steps; 95 % t intervals of "
        f"logarithms over {records.seeds} seeds."
    )
