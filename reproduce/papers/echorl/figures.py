"""The figures of EchoRL, drawn from records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reproduce.claims.records import MethodRecords
from reproduce.papers.echorl.accuracy import cumulative_cost, robustness_settings
from reproduce.papers.echorl.experiment import ARMS, LOOKS, RIVALS, SELECTIONS
from reproduce.papers.echorl.frozen import deletion_curves
from reproduce.papers.echorl.measures import REASONING, control, gain, has_log, logged
from reproduce.papers.echorl.signal import dose_levels, gradient_ratios
from reproduce.report.colours import BASE, INK, OTHER, PURPLE, QUIET, SKY, TRAINED, YELLOW
from reproduce.report.figures import Figure, canvas, save
from theory.inference import crossed_t_interval, mean_interval


def draw(records: MethodRecords, folder: Path) -> dict[str, Figure]:
    """Draw every figure that the records have the arms for into `folder`; the keys are the names that claims use."""
    drawings: dict[str, Callable[[MethodRecords], tuple[Canvas, str]]] = {
        "group_shares": group_shares,
        "gradient_ratio": gradient_ratio,
        "learning_curves": learning_curves,
        "choices": choices,
        "entropy": entropy,
        "transfer": transfer,
        "rivals": rivals,
        "costs": costs,
        "dose": dose,
        "clips": clips,
    }
    if records.has(REASONING, "grpo_group_4"):
        drawings["settings"] = settings
    if "deletion" in records.tables:
        drawings["deletion"] = deletion
    drawn = {}
    for name, make in drawings.items():
        drawing, caption = make(records)
        drawn[name] = Figure(save(drawing, folder / f"{name}.svg"), f"{caption} {records.seeds} seeds.")
    return drawn


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and the ends of its 95 % t interval, each (steps,); NaN where fewer than two seeds are known.

    values: (seeds, steps).
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    enough = count > 1
    size = np.where(enough, count, 2)
    mean = np.where(known, values, 0).sum(axis=0) / size
    deviation = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / (size - 1))
    reach = scipy.stats.t.ppf(0.975, size - 1) * deviation / np.sqrt(size)
    mean, reach = np.where(enough, mean, np.nan), np.where(enough, reach, np.nan)
    return mean, mean - reach, mean + reach


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over a fifteenth of the steps, shorter at the ends; what is not known is left out."""
    width = max(1, values.shape[1] // 15)
    known = np.isfinite(values)
    kernel = np.ones(width)

    def total(row: np.ndarray) -> np.ndarray:
        return np.convolve(row, kernel, mode="same")[: values.shape[1]]

    sums = np.apply_along_axis(total, 1, np.where(known, values, 0.0))
    counts = np.apply_along_axis(total, 1, known.astype(float))
    return np.where(counts > 0.5, sums / np.where(counts > 0.5, counts, 1), np.nan)


def _curve(axes: Axes, across: np.ndarray, values: np.ndarray, label: str, color: str, linestyle: str = "-") -> None:
    mean, low, high = band(values)
    shown = np.isfinite(mean)
    axes.fill_between(across[shown], low[shown], high[shown], color=color, alpha=0.15, linewidth=0)
    axes.plot(across[shown], mean[shown], color=color, linestyle=linestyle, label=label)


def _steps(values: np.ndarray) -> np.ndarray:
    return np.arange(1, values.shape[1] + 1)


def _arms(records: MethodRecords, *names: str) -> list[str]:
    return [name for name in names if records.has(REASONING, name)]


def group_shares(records: MethodRecords) -> tuple[Canvas, str]:
    """Which groups carry a gradient, and its norm."""
    with canvas(2.4) as drawing:
        left, right = drawing.subplots(1, 2)
        looks = (("all_wrong", INK, "-"), ("mixed", TRAINED, "--"), ("all_right", OTHER, "-."))
        for name, colour, line in looks:
            values = smooth(logged(records, REASONING, "grpo", f"groups/{name}"))
            _curve(left, _steps(values), values, name.replace("_", " "), colour, line)
        left.set_ylabel("share of groups, GRPO")
        left.set_ylim(-0.02, 1.14)
        left.legend(loc="upper center", ncols=3, columnspacing=1, handlelength=1.8)
        for arm in _arms(records, "grpo", "echo_strong"):
            values = smooth(logged(records, REASONING, arm, "grad_norm"))
            _curve(right, _steps(values), values, ARMS[arm].label, **ARMS[arm].look)
        right.set_ylabel("norm of the gradient")
        right.set_ylim(bottom=0)
        right.legend(loc="best")
        for axes in (left, right):
            axes.set_xlabel("optimiser step")
    return drawing, (
        "Left: groups in which none, some or all episodes succeed, under GRPO. Right: norm of the whole gradient "
        "before clipping. Running means; bands: 95 % intervals over seeds."
    )


def gradient_ratio(records: MethodRecords) -> tuple[Canvas, str]:
    """How large the echo is beside the policy gradient."""
    arms = [
        arm for arm in ("echo", "echo_moderate", "echo_strong") if has_log(records, REASONING, arm, "gradient/echo")
    ]
    looks = {"echo": (SKY, "--"), "echo_moderate": (OTHER, "-."), "echo_strong": (TRAINED, "-")}
    weights = {"echo": "λ = 0.001", "echo_moderate": "λ = 0.01", "echo_strong": "λ = 0.1"}
    with canvas(2.4) as drawing:
        left, right = drawing.subplots(1, 2)
        for arm in arms:
            ratios = gradient_ratios(records, REASONING, arm)
            with np.errstate(divide="ignore"):
                logarithms = np.log10(np.where(ratios > 0, ratios, np.nan))
            mean, low, high = (10**part for part in band(logarithms))
            shown = np.isfinite(mean)
            steps = _steps(ratios)[shown]
            left.fill_between(steps, low[shown], high[shown], color=looks[arm][0], alpha=0.15, linewidth=0)
            left.plot(steps, mean[shown], marker="o", color=looks[arm][0], linestyle=looks[arm][1], label=weights[arm])
            shares = logged(records, REASONING, arm, "groups/all_right")
            seen = np.isfinite(ratios) & (ratios > 0)
            right.plot(shares[seen], ratios[seen], "o", color=looks[arm][0], alpha=0.4, markeredgewidth=0)
        for axes in (left, right):
            axes.set_yscale("log")
            axes.axhline(1e-3, color=INK, linewidth=0.8, linestyle=":")
        left.set_ylabel("norm of the echo's gradient\nover that of the policy gradient")
        left.set_xlabel("optimiser step")
        right.set_xlabel("share of all-success groups")
        right.set_xlim(-0.02, 1.02)
        drawing.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawing, (
        "Norm of the gradient of λ times the echo over the norm of the policy gradient, at the steps where both were "
        "measured. Left: geometric mean over seeds with 95 % interval. Right: every measured step. Dotted: one "
        "thousandth, below which the echo is too small to matter."
    )


def learning_curves(records: MethodRecords) -> tuple[Canvas, str]:
    """Reward in training against steps and tokens."""
    with canvas(2.8) as drawing:
        left, right = drawing.subplots(1, 2, sharey=True)
        for arm in _arms(records, *LOOKS):
            values = smooth(100 * logged(records, REASONING, arm, "reward"))
            _curve(left, _steps(values), values, ARMS[arm].label, **ARMS[arm].look)
            tokens = cumulative_cost(records, REASONING, arm, "tokens/sampled").mean(axis=0) / 1e3
            _curve(right, tokens, values, ARMS[arm].label, **ARMS[arm].look)
        left.set_ylabel("reward, % of episodes right")
        left.set_xlabel("optimiser step")
        right.set_xlabel("tokens sampled, thousands")
        drawing.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1)
    return drawing, (
        "Reward on training tasks, against optimiser steps and against the tokens sampled so far. Running means; "
        "bands: 95 % intervals over seeds."
    )


Row = tuple[str, np.ndarray, str]
"""Label, (seeds, tasks) table in points, colour."""


def _intervals(axes: Axes, rows: Sequence[Row], label: str) -> None:
    """A mean with its 95 % interval a row, and the seeds' means as dots."""
    for place, (_, values, colour) in enumerate(reversed(rows)):
        seeds = values.mean(axis=1)
        axes.plot(
            seeds, np.full(len(seeds), place - 0.2), "o", color=QUIET, alpha=0.45, markersize=2.5, markeredgewidth=0
        )
        found = crossed_t_interval(values)
        axes.plot([float(found.low), float(found.high)], [place + 0.1] * 2, color=colour, solid_capstyle="butt")
        axes.plot(float(found.estimate), place + 0.1, "s", color=colour, markersize=4)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)


def _weight(name: str) -> str:
    return "λ = 0.1" if name.endswith("_strong") else "λ = 0.001"


def choices(records: MethodRecords) -> tuple[Canvas, str]:
    """Gain of each choice of clip."""
    other = control(records)
    rows: list[Row] = []
    for suffix, colour in (("_strong", TRAINED), ("", SKY)):
        for name in _arms(records, *(f"{selection}{suffix}" for selection in SELECTIONS)):
            label = SELECTIONS[name.removesuffix("_strong")][0]
            rows.append((f"{label}, {_weight(name)}", gain(records, name), colour))
    with canvas(0.7 + 0.24 * len(rows)) as drawing:
        _intervals(drawing.subplots(), rows, f"success minus that of {ARMS[other].label}, points")
    return drawing, (
        f"Success on test tasks with each choice of clip, minus that of {ARMS[other].label} of the same seed. Dots: "
        "one a seed; squares: mean with 95 % interval over seeds and tasks."
    )


def entropy(records: MethodRecords) -> tuple[Canvas, str]:
    """Entropy of what the policy samples."""
    arms = _arms(records, "grpo", "echo", "echo_strong", "random_prefix_strong", "lowest_entropy_prefix_strong")
    with canvas(2.6) as drawing:
        axes = drawing.subplots()
        for arm in arms:
            values = smooth(logged(records, REASONING, arm, "policy/entropy"))
            _curve(axes, _steps(values), values, ARMS[arm].label, **ARMS[arm].look)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("entropy, nats a token")
        axes.set_xlabel("optimiser step")
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return drawing, (
        "Mean entropy of all tokens that the policy sampled, failures included. Running means; bands: 95 % intervals "
        "over seeds."
    )


def transfer(records: MethodRecords) -> tuple[Canvas, str]:
    """Gain in and out of distribution."""
    rows: list[Row] = [
        (f"{name}, {ARMS[arm].label}", gain(records, arm, panel=panel), colour)
        for arm in _arms(records, "echo", "echo_strong")
        for panel, name, colour in (("test", "test tasks", BASE), ("ood", "out of distribution", TRAINED))
    ]
    with canvas(0.7 + 0.24 * len(rows)) as drawing:
        _intervals(drawing.subplots(), rows, f"success minus that of {ARMS[control(records)].label}, points")
    return drawing, (
        "Gain of the echo on test tasks, and on longer chains and another wording. Dots: one a seed; squares: mean "
        "with 95 % interval over seeds and tasks."
    )


def rivals(records: MethodRecords) -> tuple[Canvas, str]:
    """The echo against the other remedies."""
    rows: list[Row] = [
        (f"minus {ARMS[rival].label}, {_weight(arm)}", gain(records, arm, rival), colour)
        for arm, colour in (("echo_strong", TRAINED), ("echo", SKY))
        for rival in _arms(records, *RIVALS, "dr_grpo")
        if records.has(REASONING, arm)
    ]
    with canvas(0.7 + 0.24 * len(rows)) as drawing:
        _intervals(drawing.subplots(), rows, "success of the echo minus that of the rival, points")
    return drawing, (
        "Success of the echo on test tasks minus that of each rival after equally many steps. Dots: one a seed; "
        "squares: mean with 95 % interval over seeds and tasks."
    )


def costs(records: MethodRecords) -> tuple[Canvas, str]:
    """Final accuracy against what it cost."""
    arms = _arms(records, "grpo", "echo", "echo_strong", *RIVALS[1:], "dr_grpo", "dapo_echo")
    colours = dict(
        zip(arms, (BASE, SKY, TRAINED, OTHER, YELLOW, INK, PURPLE, QUIET, "#999933", "#882255"), strict=False)
    )
    marks = dict(zip(arms, "osD^vPX*<>", strict=False))
    with canvas(2.6) as drawing:
        left, right = drawing.subplots(1, 2, sharey=True)
        for arm in arms:
            found = crossed_t_interval(records.success(REASONING, arm))
            estimate, low, high = (float(part) for part in (found.estimate, found.low, found.high))
            for axes, column in ((left, "episodes"), (right, "tokens/sampled")):
                cost = float(cumulative_cost(records, REASONING, arm, column)[:, -1].mean()) / 1e3
                axes.errorbar(
                    cost,
                    estimate,
                    [[estimate - low], [high - estimate]],
                    color=colours[arm],
                    marker=marks[arm],
                    markersize=5,
                    linestyle="none",
                    elinewidth=1,
                    label=ARMS[arm].label,
                )
        left.set_ylabel("success on test tasks, %")
        left.set_xlabel("rollouts, thousands")
        right.set_xlabel("tokens sampled, thousands")
        drawing.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return drawing, (
        "Success on test tasks after training against the rollouts and the tokens that the training sampled, those "
        "that dynamic sampling threw away included. Bars: 95 % intervals over seeds and tasks."
    )


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Ascending places moved to the right until neighbours are `apart`; all back where the last one leaves 100, at most
    to 0."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart) if moved else place)
    back = min(moved[0], max(0.0, moved[-1] - 100.0)) if moved else 0.0
    return [place - back for place in moved]


def dose(records: MethodRecords) -> tuple[Canvas, str]:
    """Gain against the share of all-success groups at the start."""
    levels = dose_levels(records, "echo_strong")
    shown: list[tuple[float, str]] = []
    with canvas(2.5) as drawing:
        axes = drawing.subplots()
        for name, (shares, gains) in levels.items():
            share = 100 * float(shares.mean())
            axes.plot(np.full(len(gains), share), gains, "o", color=QUIET, alpha=0.45, markeredgewidth=0)
            found = mean_interval(gains)
            axes.plot([share + 0.8] * 2, [found.low, found.high], color=TRAINED, solid_capstyle="butt")
            axes.plot(share + 0.8, found.mean, "s", color=TRAINED, markersize=5)
            shown.append((share, name))
        axes.axhline(0, color=INK, linewidth=0.8)
        # Shares of several categories can be all but one: names stand above the frame, spread out, with a line each.
        for (share, name), place in zip(
            sorted(shown), spread([share for share, _ in sorted(shown)], 14.0), strict=True
        ):
            axes.annotate(
                name,
                (share, 1.0),
                (place, 1.1),
                ("data", "axes fraction"),
                ("data", "axes fraction"),
                arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
                fontsize=7,
                ha="center",
                va="bottom",
            )
        axes.set_xlim(-3, 108)
        axes.set_xlabel("groups that the base gets all right, % of the category's")
        axes.set_ylabel("gain at λ = 0.1, points")
    return drawing, (
        "Gain of the echo at λ = 0.1 over the control in each category of test tasks, against the chance that all "
        "episodes of a group of the base succeed. Near 100 % little is left "
        "to gain. Dots: one a seed; squares: mean with 95 % interval over seeds."
    )


def clips(records: MethodRecords) -> tuple[Canvas, str]:
    """Length and place of the clips."""
    arms = _arms(records, "echo", "echo_strong", "lowest_entropy_prefix_strong", "random_prefix_strong")
    panels_shown = (
        ("echo/clip_tokens", "tokens of a clip", 1.0),
        ("echo/clip_share", "end of the clip, share of episode", 1.0),
        ("echo/short_steps", "steps of 3 tokens or fewer, %", 100.0),
    )
    with canvas(2.4) as drawing:
        panels = drawing.subplots(1, 3)
        for axes, (column, label, factor) in zip(panels, panels_shown, strict=True):
            for arm in arms:
                values = smooth(factor * logged(records, REASONING, arm, column))
                _curve(axes, _steps(values), values, ARMS[arm].label, **ARMS[arm].look)
            axes.set_title(label)
            axes.set_xlabel("optimiser step")
            axes.set_ylim(bottom=0)
        pool = smooth(100 * logged(records, REASONING, "echo", "echo/short_steps_of_pool"))
        _curve(panels[2], _steps(pool), pool, "all steps of the pool", INK)
        drawing.legend(*panels[2].get_legend_handles_labels(), loc="outside upper center", ncols=3, columnspacing=1)
    return drawing, (
        "Clips over training: their length, where in its episode the clip ends, and the share of picked steps of 3 "
        "tokens or fewer beside that share among all steps that could have been picked. Running means; bands: 95 % "
        "intervals over seeds."
    )


def settings(records: MethodRecords) -> tuple[Canvas, str]:
    """Gain of each setting."""
    rows: list[Row] = [
        (label, gain(records, *pair), TRAINED if pair[0] == "echo_strong" else OTHER)
        for label, pair in robustness_settings(records).items()
    ]
    with canvas(0.7 + 0.24 * len(rows)) as drawing:
        _intervals(drawing.subplots(), rows, "success minus that of the setting's control, points")
    return drawing, (
        "Gain of the echo with one switch changed at a time, at λ = 0.1 where not said otherwise. Dots: one a seed; "
        "squares: mean with 95 % interval over seeds and tasks."
    )


def deletion(records: MethodRecords) -> tuple[Canvas, str]:
    """Success after deleting steps of the base's own solutions."""
    looks = {
        "low_first": ("low entropy first", OTHER, "-."),
        "random": ("random", QUIET, ":"),
        "matched": ("matched in number and position", BASE, "--"),
        "high_first": ("high entropy first", TRAINED, "-"),
    }
    with canvas(2.6) as drawing:
        axes = drawing.subplots()
        for order, (label, colour, line) in looks.items():
            shares, values = deletion_curves(records, order)
            _curve(axes, 100 * shares, 100 * values, label, colour, line)
        axes.set_xlabel("steps deleted, %")
        axes.set_ylabel("answers right, %")
        axes.legend(loc="best")
    return drawing, (
        "Right solutions of the base from which steps were deleted; the base then gives the answer. Bands: 95 % "
        "intervals over seeds."
    )
