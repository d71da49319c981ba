"""The figures of ReuseRL, drawn from records alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from reproduce.claims.ratios import seed_ratios
from reproduce.claims.records import FAILURE, MethodRecords
from reproduce.papers.reuserl.bound import DRAWS, SUCCESSES, base_draws
from reproduce.papers.reuserl.compressibility import run_points
from reproduce.papers.reuserl.experiment import ALL_ARMS, ARMS, ENVIRONMENTS, HEADLINE_ARMS
from reproduce.papers.reuserl.measures import logged
from reproduce.papers.reuserl.statistics import gain, shares
from reproduce.report.colours import BASE, INK, OTHER, QUIET, TRAINED
from reproduce.report.figures import Figure, canvas, save
from theory.inference import crossed_t_interval

OF_ENVIRONMENT = {
    "countdown": {"color": BASE, "linestyle": "-"},
    "cooking": {"color": TRAINED, "linestyle": "--"},
    "household": {"color": OTHER, "linestyle": "-."},
}
OF_FAILURE = {"timeout": "#bdbdbd", "burned": TRAINED, "lost": "#e69f00"}
COMPARED_ARMS = (*HEADLINE_ARMS, "discounted_length", "segcost_no_buffer")
"""The base and the arms that the paper compares."""
SMOOTHED_SHARE = 25
"""Curves are means over a window of one part in so many of the steps."""


def draw_figures(records: MethodRecords, folder: Path) -> dict[str, Figure]:
    """Draw every figure into `folder`; the keys are the names that claims and sections use."""
    drawn = {}
    for name, make in {
        "success": success,
        "learning": learning,
        "failures": failures,
        "dictionary": dictionary,
        "cost": cost,
        "operations": operations,
        "actions": actions,
        "bound": bound,
        "controls": controls,
        "compressibility": compressibility,
    }.items():
        drawing, caption = make(records)
        drawn[name] = Figure(save(drawing, folder / f"{name}.svg"), caption)
    return drawn


def environments(records: MethodRecords) -> tuple[str, ...]:
    """The environments of the records, in the order of the plan."""
    found = set(records.counts["environment"].unique())
    return tuple(name for name in ENVIRONMENTS if name in found)


def arms(records: MethodRecords, environment: str, among: Sequence[str] = ALL_ARMS) -> tuple[str, ...]:
    """The arms of the records in an environment, in the order of the plan."""
    found = set(records.counts[records.counts["environment"] == environment]["arm"].unique())
    return tuple(arm for arm in among if arm in found)


def named(arm: str) -> str:
    """An arm's name for a reader."""
    return ARMS[arm].label


def look(arm: str) -> dict[str, str]:
    """Colour, mark and line of an arm: grey for those that the headline claims do not compare."""
    return dict(ARMS[arm].look) or {"color": QUIET, "marker": "v", "linestyle": "-"}


def _panels(drawing: Canvas, count: int, share: bool = False) -> list[Axes]:
    return list(np.atleast_1d(np.asarray(drawing.subplots(1, count, sharey=share), dtype=object)))


def _sizes(records: MethodRecords) -> str:
    found = records.counts[records.counts["panel"] == "test"].groupby("environment")
    tasks = sorted({int(group["question"].nunique()) for _, group in found})
    episodes = sorted({int(group["n"].max()) for _, group in found})
    shown = " or ".join(str(n) for n in tasks), " or ".join(str(n) for n in episodes)
    return f"{records.seeds} seeds, {shown[0]} test tasks, {shown[1]} episodes a task"


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """One row for each label, the first at the top."""
    axes.set_yticks(range(len(labels)), list(reversed(labels)))
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", visible=False)


def success(records: MethodRecords) -> tuple[Canvas, str]:
    """Success of every arm in and out of distribution."""
    places = environments(records)
    most = max(len(arms(records, name)) for name in places)
    with canvas(0.9 + 0.2 * most) as drawing:
        for axes, environment in zip(_panels(drawing, len(places)), places, strict=True):
            listed = arms(records, environment)
            for row, arm in enumerate(reversed(listed)):
                for panel, shift, filled in (("test", 0.13, True), ("ood", -0.13, False)):
                    found = crossed_t_interval(records.success(environment, arm, panel))
                    low, high = max(0.0, float(found.low)), min(100.0, float(found.high))
                    colour = look(arm)["color"]
                    axes.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.2, solid_capstyle="butt")
                    face = colour if filled else "white"
                    axes.plot(float(found.estimate), row + shift, look(arm)["marker"], color=colour, mfc=face)
            _rows(axes, [named(arm) for arm in listed])
            axes.set_title(environment)
            axes.set_xlabel("success, % of episodes")
    return drawing, (
        f"Success on the test panel (filled) and out of distribution (open). 95 % intervals over seeds and tasks. "
        f"{_sizes(records)}."
    )


def smoothed(curves: np.ndarray) -> np.ndarray:
    """(seeds, steps) averaged over a window of steps, cut at the ends; entries that are not finite are left out."""
    steps = curves.shape[1]
    reach = max(0, steps // SMOOTHED_SHARE // 2)
    windows = [curves[:, max(0, step - reach) : step + reach + 1] for step in range(steps)]
    with warnings.catch_warnings():
        # A window without a value has no mean, and the curve a gap.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.stack([np.nanmean(window, axis=1) for window in windows], axis=1)


def _curve(axes: Axes, curves: np.ndarray, label: str, colour: str, line: str) -> None:
    """Mean over seeds with its 95 % t interval."""
    values = smoothed(curves)
    steps = np.arange(1, values.shape[1] + 1)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), np.nan)
    square = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
    half = np.where(count > 1, scipy.stats.t.ppf(0.975, np.maximum(count - 1, 1)), np.nan) * np.sqrt(
        square / np.maximum(count, 1)
    )
    axes.fill_between(steps, mean - half, mean + half, color=colour, alpha=0.16, linewidth=0)
    axes.plot(steps, mean, color=colour, linestyle=line, label=label)


def _headline_curves(records: MethodRecords, columns: Mapping[str, str], height: float, scale: float = 1.0) -> Canvas:
    """One row for each column of the training log, one panel an environment, a curve for each headline arm."""
    places = environments(records)
    with canvas(height) as drawing:
        grid = drawing.subplots(len(columns), len(places), squeeze=False, sharex="col")
        for row, (column, label) in enumerate(columns.items()):
            for axes, environment in zip(grid[row], places, strict=True):
                for arm in arms(records, environment, HEADLINE_ARMS[1:]):
                    colours = look(arm)["color"], look(arm)["linestyle"]
                    _curve(axes, scale * logged(records, environment, arm, column), named(arm), *colours)
                if row == 0:
                    axes.set_title(environment)
                if row == len(columns) - 1:
                    axes.set_xlabel("optimiser step")
                axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            grid[row][0].set_ylabel(label)
        drawing.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawing


def learning(records: MethodRecords) -> tuple[Canvas, str]:
    """Success on the training panel over training."""
    drawing = _headline_curves(records, {"reuse/success": "success, % of rollouts"}, 2.3, 100.0)
    return drawing, (
        f"Success of the training rollouts. Mean over {records.seeds} seeds with 95 % t bands over seeds; each curve "
        f"is averaged over a window of a twenty-fifth of the steps."
    )


def cost(records: MethodRecords) -> tuple[Canvas, str]:
    """Length and cost of successes over training."""
    columns = {"reuse/success_length": "length, actions", "reuse/success_segments": "cost, phrases"}
    drawing = _headline_curves(records, columns, 3.6)
    return drawing, (
        f"Successes among the training rollouts: length in actions (above) and segmentation cost in phrases (below), "
        f"each arm under its own dictionary of the step: GRPO's is learned for the log only, that of the length "
        f"penalty holds single symbols. Mean over {records.seeds} seeds with 95 % t bands over seeds."
    )


def dictionary(records: MethodRecords) -> tuple[Canvas, str]:
    """Size and bits of SegCost's dictionary over training, and how far the cost ranks as length does."""
    columns = {
        "reuse/phrases": "phrases of two symbols and more",
        "reuse/dictionary_bits": "dictionary, bits",
        "reuse/rank_correlation": "Spearman ρ of length and cost",
    }
    with canvas(2.5) as drawing:
        panels = _panels(drawing, len(columns))
        for axes, (column, label) in zip(panels, columns.items(), strict=True):
            for environment in (name for name in environments(records) if records.has(name, "segcost")):
                _curve(
                    axes,
                    logged(records, environment, "segcost", column),
                    environment,
                    *OF_ENVIRONMENT[environment].values(),
                )
            axes.set_xlabel("optimiser step")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawing, (
        f"SegCost's dictionary over training: phrases, bits to store them, and the rank correlation of length and cost "
        f"over the successes of a batch (1 where the cost ranks them as their length does). Mean over {records.seeds} "
        f"seeds with 95 % t bands over seeds."
    )


def failure_kinds(records: MethodRecords) -> tuple[str, ...]:
    """Every kind of failure in the records, the known ones first."""
    found = [name.removeprefix(FAILURE) for name in records.counts if name.startswith(FAILURE)]
    return tuple(sorted(found, key=lambda kind: (kind not in OF_FAILURE, kind)))


def failures(records: MethodRecords) -> tuple[Canvas, str]:
    """How the episodes of each arm end that do not succeed."""
    places = environments(records)
    most = max(len(arms(records, name)) for name in places)
    kinds = failure_kinds(records)
    colours = {kind: OF_FAILURE.get(kind, "#56b4e9") for kind in kinds}
    with canvas(1.1 + 0.18 * most) as drawing:
        panels = _panels(drawing, len(places))
        for axes, environment in zip(panels, places, strict=True):
            listed = arms(records, environment)
            for row, arm in enumerate(reversed(listed)):
                left = 0.0
                for kind in kinds:
                    share = 100 * float(
                        records.table(environment, arm, FAILURE + kind).sum()
                        / records.table(environment, arm, "n").sum()
                    )
                    axes.barh(row, share, 0.66, left=left, color=colours[kind], label=kind if row == 0 else None)
                    left += share
            _rows(axes, [named(arm) for arm in listed])
            axes.set_title(environment)
            axes.set_xlabel("failures, % of episodes")
        if kinds:
            drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(kinds))
    return drawing, (
        f"Episodes of the test panel that failed, by kind, as share of all episodes, so that the denominator is the "
        f"same for every arm; mean over seeds. `burned` cannot be undone. {_sizes(records)}."
    )


def _seed_marks(axes: Axes, row: float, values: np.ndarray, arm: str) -> None:
    """A dot for each seed, and the mean with its 95 % t interval over seeds."""
    known = values[np.isfinite(values)]
    axes.plot(known, np.full(len(known), row - 0.2), "o", color=QUIET, alpha=0.5, markersize=2.5, markeredgewidth=0)
    if not len(known):
        return
    mean = float(known.mean())
    colour = look(arm)["color"]
    if len(known) > 1:
        half = float(scipy.stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
        axes.plot([mean - half, mean + half], [row + 0.1] * 2, color=colour, linewidth=1.2, solid_capstyle="butt")
    axes.plot(mean, row + 0.1, look(arm)["marker"], color=colour)


def _share_panel(axes: Axes, records: MethodRecords, environment: str, part: str, whole: str, label: str) -> None:
    """Sum of one column as share of the sum of another, a row for each of the arms that the paper compares."""
    listed = arms(records, environment, COMPARED_ARMS)
    for row, arm in enumerate(reversed(listed)):
        _seed_marks(axes, row, seed_ratios(shares(records, environment, arm, part, whole)), arm)
    _rows(axes, [named(arm) for arm in listed])
    axes.set_title(environment)
    axes.set_xlabel(label)


def operations(records: MethodRecords) -> tuple[Canvas, str]:
    """Resets and kinds of operations in countdown."""
    cells = (
        ("successes_without_reset", "successes", "without reset, % of successes"),
        ("multiplicative", "operations", "MUL/DIV, % of operations"),
    )
    with canvas(0.9 + 0.2 * max(2, len(arms(records, "countdown", COMPARED_ARMS)))) as drawing:
        for axes, cell in zip(_panels(drawing, len(cells)), cells, strict=True):
            _share_panel(axes, records, "countdown", *cell)
            if not records.has("countdown"):
                axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center")
    return drawing, (
        f"Countdown on the test panel. Dots: one a seed; marks: mean with 95 % t interval over seeds. "
        f"{_sizes(records)}."
    )


def actions(records: MethodRecords) -> tuple[Canvas, str]:
    """Invalid and repeated actions."""
    places = environments(records)
    most = max(len(arms(records, name, COMPARED_ARMS)) for name in places)
    # Two panels a line keep the labels legible.
    with canvas((0.75 + 0.2 * most) * len(places)) as drawing:
        grid = drawing.subplots(len(places), 2, squeeze=False)
        for row, environment in zip(grid, places, strict=True):
            for axes, part in zip(row, ("invalid", "repeated"), strict=True):
                _share_panel(axes, records, environment, part, "rounds", f"{part}, % of actions")
    return drawing, (
        f"Invalid actions, and actions that their episode had given before word for word, on the test panel. Dots: one "
        f"a seed; marks: mean with 95 % t interval over seeds. {_sizes(records)}."
    )


def bound(records: MethodRecords) -> tuple[Canvas, str]:
    """The bound against the true expected cost, one point a draw."""
    with canvas(2.7) as drawing:
        axes = drawing.subplots()
        largest = 0.0
        for environment in environments(records):
            draws = base_draws(records, environment)
            if draws is None:
                continue
            colour = OF_ENVIRONMENT[environment]["color"]
            for values, mark, name in ((draws.bound, "o", "(A)"), (draws.tighter_bound, "x", "(E)")):
                label = f"{environment}, bound {name}"
                axes.plot(draws.true_cost, values, mark, color=colour, alpha=0.4, markersize=3, label=label)
            largest = max(largest, float(draws.true_cost.max()))
        end = 1.15 * largest if largest else 1.0
        axes.plot([0, end], [0, end], color=INK, linewidth=0.8)
        axes.annotate(
            "bound = cost", (end, end), (-4, -2), textcoords="offset points", ha="right", va="top", fontsize=7
        )
        axes.set_xlim(0, end)
        axes.set_ylim(0, None)
        axes.set_xlabel("expected seg/T of future successes under the batch's dictionary")
        axes.set_ylabel("bound from the batch")
        drawing.legend(loc="outside right center")
    return drawing, (
        f"The bound of Theorem 3 (reconstructed) for the frozen base: {DRAWS} batches of m = {SUCCESSES} successes in "
        f"each environment. A point below the line would be a violation. (A) Occam-Hoeffding, (E) Occam-Chernoff, both "
        f"with the nat for Kraft's inequality; δ = 0.05."
    )


def controls(records: MethodRecords) -> tuple[Canvas, str]:
    """SegCost minus every other arm."""
    places = [name for name in environments(records) if records.has(name, "segcost")]
    most = max(len(arms(records, name)) for name in places)
    with canvas(0.8 + 0.17 * most) as drawing:
        for axes, environment in zip(_panels(drawing, len(places)), places, strict=True):
            listed = [arm for arm in arms(records, environment) if arm != "segcost"]
            for row, arm in enumerate(reversed(listed)):
                found = crossed_t_interval(gain(records, environment, "segcost", arm))
                colour = look(arm)["color"]
                ends = [float(found.low), float(found.high)]
                axes.plot(ends, [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
                axes.plot(float(found.estimate), row, look(arm)["marker"], color=colour)
            axes.axvline(0, color=INK, linewidth=0.8)
            _rows(axes, [named(arm) for arm in listed])
            axes.set_title(environment)
            axes.set_xlabel("SegCost minus arm, points")
    return drawing, (
        f"Success of SegCost minus that of every other arm on the test panel. 95 % intervals over seeds and tasks. "
        f"{_sizes(records)}."
    )


def compressibility(records: MethodRecords) -> tuple[Canvas, str]:
    """Success out of distribution against the cost of successes, one point a run."""
    places = [name for name in environments(records) if records.has(name, "segcost")]
    with canvas(2.6) as drawing:
        panels = _panels(drawing, len(places))
        handles: dict[str, object] = {}
        for axes, environment in zip(panels, places, strict=True):
            points = run_points(records, environment)
            for column, arm in enumerate(points.arms):
                label = named(arm) if ARMS[arm].look else "other arms"
                style = {"color": look(arm)["color"], "marker": look(arm)["marker"], "linestyle": "none"}
                (handle,) = axes.plot(points.cost[:, column], points.ood_success[:, column], alpha=0.75, **style)
                handles.setdefault(label, handle)
            axes.set_title(environment)
            axes.set_xlabel("mean seg/T of successes")
        panels[0].set_ylabel("success out of\ndistribution, %")
        drawing.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=len(handles))
    return drawing, (
        f"Each point is a run: success out of distribution against the mean cost of its successes on the test panel, "
        f"under the dictionary extracted from these successes. {records.seeds} seeds; base left out."
    )
