"""The figures of PASS@(k,T), drawn from records alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from reproduce.claims.grid import Records
from reproduce.core.config import INDEPENDENT, PREFIX_FORK
from reproduce.papers.pass_kt.experiment import ARMS
from reproduce.report.colours import BASE, INK, OTHER, QUIET, TRAINED
from reproduce.report.figures import DIVERGING, Figure, canvas, samples_axis, save
from theory.inference import SeedQuestionInterval, crossed_t_interval
from theory.pass_kt import boundary_difference, crossing_k, pass_at_k

SHARE = "success, share of questions"
NARROWEST_SCALE = 5.0
"""Points of gain, either way, that the heat map's colours span at least."""


def draw(records: Records, folder: Path) -> dict[str, Figure]:
    """Draw every figure into `folder`; the keys are the names that claims use."""
    drawn = {}
    for name, make in {
        "static_curves": static_curves,
        "bridge_curves": bridge_curves,
        "gain_map": gain_map,
        "widening": widening,
        "boundary": boundary,
        "depth": depth,
        "rounds": rounds,
        "training": training,
    }.items():
        drawing, caption = make(records)
        drawn[name] = Figure(save(drawing, folder / f"{name}.svg"), caption)
    return drawn


def grid(records: Records) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The k and the T of the experiment."""
    evaluation = records.experiment["evaluation"]
    return tuple(2**power for power in range(int(evaluation["largest_k"]).bit_length())), tuple(evaluation["caps"])


def pass_values(
    records: Records, arm: str, category: str, cap: int, ks: tuple[int, ...], estimator: str = INDEPENDENT
) -> np.ndarray:
    """Unbiased PASS@(k,T) as a share, (seeds, questions, ks)."""
    n, successes = records.counts_of(arm, category, cap, estimator)
    return pass_at_k(n[..., None], successes[..., None], np.asarray(ks))


def _sizes(records: Records, category: str = "bridge") -> str:
    n, _ = records.counts_of("base", category, 0)
    return f"{n.shape[0]} seeds, {n.shape[1]} questions, n = {n.max()} episodes"


def _curves(axes: Axes, records: Records, category: str, cap: int, ks: tuple[int, ...]) -> None:
    for name, arm in ARMS.items():
        interval = crossed_t_interval(pass_values(records, name, category, cap, ks))
        low, high = np.clip(interval.low, 0, 1), np.clip(interval.high, 0, 1)
        axes.fill_between(ks, low, high, color=arm.look["color"], alpha=0.18, linewidth=0)
        axes.plot(ks, interval.estimate, label=arm.label, **arm.look)
    samples_axis(axes, ks)
    axes.set_ylim(-0.02, 1.02)


def _crossing(records: Records, category: str, cap: int, ks: tuple[int, ...]) -> float:
    gain = pass_values(records, "grpo", category, cap, ks) - pass_values(records, "base", category, cap, ks)
    return float(crossing_k(ks, gain.mean(axis=(0, 1))))


def static_curves(records: Records) -> tuple[Canvas, str]:
    """PASS against k on static questions, and on comparison questions at the largest T."""
    ks, caps = grid(records)
    with canvas(2.2) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, category, cap in zip(panels, ("static", "comparison"), (0, max(caps)), strict=True):
            _curves(axes, records, category, cap, ks)
            axes.set_title(f"{category} questions, T = {cap} rounds")
        panels[0].set_ylabel(SHARE)
        panels[1].legend(loc="lower right")
    return drawing, (
        f"PASS@(k,T) against k on static questions (no search, T = 0) and, beside it, on comparison questions at "
        f"T = {max(caps)}. Bands: 95 % intervals over seeds and questions. {_sizes(records)}."
    )


def bridge_curves(records: Records) -> tuple[Canvas, str]:
    """PASS against k on bridge questions, one panel a T."""
    ks, caps = grid(records)
    crossings = {cap: _crossing(records, "bridge", cap, ks) for cap in caps}
    with canvas(3.1) as drawing:
        # One place more than there are T: it holds the legend.
        columns = (len(caps) + 2) // 2
        panels = drawing.subplots(2, columns, sharey=True).ravel()
        for axes, cap in zip(panels, caps, strict=False):
            _curves(axes, records, "bridge", cap, ks)
            axes.set_title(f"T = {cap} rounds")
            if np.isfinite(crossings[cap]):
                axes.axvline(crossings[cap], color=QUIET, linestyle=":", linewidth=1)
                right = crossings[cap] < ks[-1] ** 0.5
                axes.annotate(
                    f"k* = {crossings[cap]:.1f}",
                    (crossings[cap], 0.03),
                    (4 if right else -4, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    fontsize=7,
                    color=INK,
                )
        drawing.supylabel(SHARE, fontsize=8)
        for axes in panels[len(caps) :]:
            axes.set_axis_off()
        for axes in panels[: len(caps) - columns]:
            axes.set_xlabel("")
        panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center")
    crossed = [f"{cap}" for cap, k in crossings.items() if np.isfinite(k)]
    marked = f"Dotted: the trained policy overtakes its base at k* (T = {', '.join(crossed)})." if crossed else ""
    none = "" if crossed else "At no T does the mean gain turn from negative to positive."
    return drawing, (
        f"PASS@(k,T) against k on bridge questions, one panel for each cap T. Bands: 95 % intervals over seeds and "
        f"questions. {marked}{none} {_sizes(records)}."
    )


def gain_map(records: Records) -> tuple[Canvas, str]:
    """Gain of the trained policy over its base for every k and T."""
    ks, caps = grid(records)
    gains = {}
    for category in ("bridge", "comparison"):
        cells = [
            pass_values(records, "grpo", category, cap, ks) - pass_values(records, "base", category, cap, ks)
            for cap in caps
        ]
        gains[category] = 100 * np.stack([cell.mean(axis=(0, 1)) for cell in cells])
    # Never narrower than this, so that noise around 0 stays pale.
    widest = max(NARROWEST_SCALE, *(float(np.abs(gain).max()) for gain in gains.values()))
    with canvas(2.4) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, (category, gain) in zip(panels, gains.items(), strict=True):
            mesh = axes.pcolormesh(gain, cmap=DIVERGING, norm=Normalize(-widest, widest), edgecolors="white")
            axes.grid(False)
            axes.spines[:].set_visible(False)
            for (row, column), value in np.ndenumerate(gain):
                # 0 without a sign: "-0.0" would claim a direction.
                text = f"{value:+.1f}".replace("-", "−") if abs(value) >= 0.05 else "0.0"
                colour = "white" if abs(value) > 0.72 * widest else INK
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color=colour)
            axes.set_xticks(np.arange(len(ks)) + 0.5, [str(k) for k in ks])
            axes.set_yticks(np.arange(len(caps)) + 0.5, [str(cap) for cap in caps])
            axes.tick_params(length=0)
            axes.set_title(f"{category} questions")
            axes.set_xlabel("samples k")
        panels[0].set_ylabel("rounds T")
        drawing.colorbar(mesh, ax=panels, label="gain, points", pad=0.02, aspect=18).outline.set_visible(False)
    return drawing, (
        f"Gain of the trained policy over its base, PASS@(k,T) in points, for every k and T; mean over seeds and "
        f"questions. {_sizes(records)}."
    )


def widening(records: Records) -> tuple[Canvas, str]:
    """Gain at the largest k minus gain at k = 1, by category and seed."""
    ks, caps = grid(records)
    ends = (1, ks[-1])
    rows = (("static", 0), ("comparison", max(caps)), ("bridge", max(caps)))
    with canvas(1.9) as drawing:
        axes = drawing.subplots()
        for place, (category, cap) in enumerate(reversed(rows)):
            gain = pass_values(records, "grpo", category, cap, ends) - pass_values(records, "base", category, cap, ends)
            table = 100 * (gain[..., 1] - gain[..., 0])
            seeds = table.mean(axis=1)
            axes.plot(seeds, np.full(len(seeds), place - 0.16), "o", color=QUIET, alpha=0.6, markeredgewidth=0)
            _mean_mark(axes, crossed_t_interval(table), place + 0.12)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [f"{category}, T = {cap}" for category, cap in reversed(rows)])
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.grid(axis="y", visible=False)
        axes.set_ylabel("questions")
        axes.set_xlabel(f"W = gain at k = {ks[-1]} minus gain at k = 1, points")
    return drawing, (
        f"Widening W of the gap between trained policy and base, by category. Dots: one a seed; squares: mean with "
        f"95 % interval over seeds and questions. {_sizes(records)}."
    )


def _mean_mark(axes: Axes, interval: SeedQuestionInterval, place: float) -> None:
    low, high = float(interval.low), float(interval.high)
    axes.plot([low, high], [place, place], color=TRAINED, linewidth=1.6, solid_capstyle="butt")
    axes.plot(float(interval.estimate), place, "s", color=TRAINED, markersize=5)


def boundary(records: Records) -> tuple[Canvas, str]:
    """Questions gained and lost, trained against base beside base against itself, for every seed."""
    cap = max(grid(records)[1])
    n, first = records.counts_of("base", "bridge", cap)
    pairs = {
        "trained against base": (records.counts_of("grpo", "bridge", cap)[1], TRAINED, -0.2),
        "base's second sample against its first": (records.counts_of("base", "bridge", cap, half=1)[1], BASE, 0.2),
    }
    seeds = np.arange(first.shape[0])
    with canvas(2.3) as drawing:
        axes = drawing.subplots()
        largest = 1
        for label, (successes, colour, shift) in pairs.items():
            gained, lost = boundary_difference(successes, first)
            axes.bar(seeds + shift, gained, 0.36, color=colour, label=label)
            axes.bar(seeds + shift, -lost, 0.36, color=colour, alpha=0.45)
            largest = max(largest, int(gained.max()), int(lost.max()))
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_ylim(-1.15 * largest, 1.15 * largest)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.set_xticks(seeds)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("seed")
        axes.set_ylabel(f"questions of {first.shape[1]}\nlost   |   gained")
        drawing.legend(loc="outside upper center", ncols=2)
    return drawing, (
        f"Bridge questions gained (above 0) and lost (below 0, pale) at T = {cap}, by seed. A question is inside a "
        f"boundary if any of its {n.max()} episodes is right. Blue: what sampling the same base twice gains and loses. "
        f"{first.shape[1]} questions."
    )


def depth(records: Records) -> tuple[Canvas, str]:
    """PASS at the largest k against T, by both estimators."""
    ks, caps = grid(records)
    k = ks[-1:]
    with canvas(2.6) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, category in zip(panels, ("bridge", "comparison"), strict=True):
            for shift, (name, arm) in zip((-0.15, 0.15), ARMS.items(), strict=True):
                values = np.concatenate(
                    [pass_values(records, name, category, cap, k, PREFIX_FORK) for cap in caps], axis=2
                )
                interval = crossed_t_interval(values)
                low, high = np.clip(interval.low, 0, 1), np.clip(interval.high, 0, 1)
                axes.fill_between(caps, low, high, color=arm.look["color"], alpha=0.18, linewidth=0)
                axes.plot(caps, interval.estimate, label=arm.label, **arm.look)
                fresh = [float(pass_values(records, name, category, cap, k).mean()) for cap in caps]
                faint = {**arm.look, "linestyle": "none", "alpha": 0.45, "markeredgewidth": 0}
                axes.plot(np.array(caps) + shift, fresh, **faint)
            axes.set_xticks(caps)
            axes.set_xlabel("rounds T")
            axes.set_ylim(-0.02, 1.02)
            axes.set_title(f"{category} questions, k = {k[0]}")
        panels[0].set_ylabel(SHARE)
        panels[1].legend(loc="lower right")
    return drawing, (
        f"PASS@({k[0]},T) against T. Lines: prefix-fork episodes with 95 % intervals over seeds and questions; faint "
        f"marks, set aside a little: independent episodes. {_sizes(records)}."
    )


def rounds(records: Records) -> tuple[Canvas, str]:
    """Few samples of two rounds against many samples of one."""
    ks, _ = grid(records)
    few, many = min(4, ks[-1]), ks[-1]
    cells = ((many, 1), (few, 2))
    with canvas(2.4) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, category in zip(panels, ("bridge", "comparison"), strict=True):
            for shift, (name, arm) in zip((-0.05, 0.05), ARMS.items(), strict=True):
                found = [crossed_t_interval(pass_values(records, name, category, cap, (k,))) for k, cap in cells]
                middle = np.array([float(interval.estimate[0]) for interval in found])
                low = np.clip([float(interval.low[0]) for interval in found], 0, 1)
                high = np.clip([float(interval.high[0]) for interval in found], 0, 1)
                place, reach = np.arange(len(cells)) + shift, np.maximum([middle - low, high - middle], 0)
                bars = {**arm.look, "markersize": 5, "linewidth": 1, "elinewidth": 1.4}
                axes.errorbar(place, middle, reach, label=arm.label, **bars)
            axes.set_xticks(range(len(cells)), [f"k = {k}, T = {cap}" for k, cap in cells])
            axes.set_xlabel("samples k and rounds T")
            axes.set_xlim(-0.4, len(cells) - 0.6)
            axes.set_ylim(-0.02, 1.02)
            axes.grid(axis="x", visible=False)
            axes.set_title(f"{category} questions")
        panels[0].set_ylabel(SHARE)
        panels[1].legend(loc="lower right")
    return drawing, (
        f"PASS@({many},1), {many} samples of one round, against PASS@({few},2), {few} samples of two. Bars: 95 % "
        f"intervals over seeds and questions. {_sizes(records)}."
    )


def training(records: Records) -> tuple[Canvas, str]:
    """Reward on the training panel, and what share of the groups carries a gradient."""
    log = records.training[records.training["arm"] == "grpo"]
    settings = records.experiment["training"]
    reward = log.pivot(index="step", columns="seed", values="reward")
    shares = log.groupby("step")[["groups/all_wrong", "groups/mixed", "groups/all_right"]].mean()
    with canvas(2.5) as drawing:
        left, right = drawing.subplots(1, 2)
        for seed in reward:
            left.plot(reward.index, reward[seed], color=TRAINED, alpha=0.25, linewidth=0.6)
        left.plot(reward.index, reward.mean(axis=1), color=TRAINED, linewidth=1.8)
        left.set_ylabel("reward, share of episodes right")
        looks = zip(("all wrong", "mixed", "all right"), (INK, TRAINED, OTHER), ("-", "--", "-."), strict=True)
        for name, (label, colour, line) in zip(shares, looks, strict=True):
            right.plot(shares.index, shares[name], color=colour, linestyle=line, label=label)
        right.set_ylabel("share of groups")
        right.legend(loc="upper center", ncols=3, columnspacing=1, handlelength=1.8)
        for axes in (left, right):
            axes.set_xlabel("optimiser step")
        left.set_ylim(-0.02, 1.02)
        right.set_ylim(-0.02, 1.14)
        right.set_yticks(np.linspace(0, 1, 6))
    return drawing, (
        f"Training with GRPO. Left: reward on the training questions, thin lines one a seed, the thick one their mean. "
        f"Right: groups of {settings['group_size']} episodes in which none, some or all are right, mean over seeds; "
        f"only mixed groups carry a gradient. {reward.shape[1]} seeds, {settings['questions_per_step']} questions a "
        f"step."
    )
