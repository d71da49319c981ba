"""PASS@(k,T) of logged policies as a figure: curves over k, one panel a T, and the paired differences below them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from reproduce.core.files import write_whole
from reproduce.core.names import escaped
from reproduce.logs.analysis import Analysis, BandedGrid
from reproduce.report.colours import BASE, INK, OTHER, QUIET, TRAINED
from reproduce.report.figures import canvas, samples_axis

COLOURS = (BASE, TRAINED, OTHER, "#cc79a7", "#e69f00", "#56b4e9", INK)
"""Palette of Okabe and Ito, continued; further policies take it again with another marker."""
MARKERS = "os^Dv<>P"
PANELS_A_ROW = 6
MOST_TICKS = 4
LONGEST_NAME = 40


def draw(analysis: Analysis, path: Path) -> None:
    """Write the figure in the format of the path's suffix: png, svg or pdf."""
    depths = sorted({depth for surface in analysis.surfaces for depth in surface.grid.depths})
    columns = min(len(depths), PANELS_A_ROW)
    rows = math.ceil(len(depths) / columns)
    blocks = 2 if analysis.comparisons else 1
    with warnings.catch_warnings(), canvas(0.5 + 1.75 * rows * blocks) as figure:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        panels = figure.subplots(rows * blocks, columns, squeeze=False, sharex=True)
        lines: dict[str, object] = {}
        for block in range(blocks):
            part = panels[block * rows : (block + 1) * rows]
            for axes in part.flat[len(depths) :]:
                axes.set_visible(False)
            for axes, depth in zip(part.flat, depths, strict=False):
                lines |= _curves(axes, analysis, depth) if block == 0 else _differences(axes, analysis, depth)
                if axes not in part[:, 0]:
                    axes.tick_params(labelleft=False)
                if block == 0 and analysis.has_depth:
                    axes.set_title(f"T = {depth:g}")
            _same_height(part.flat[: len(depths)], whole=block == 0)
            label = "PASS@(k,T)" if block == 0 else f"difference from {_shown(analysis.baseline)}"
            for axes in part[:, 0]:
                axes.set_ylabel(label, parse_math=False)
        for axes in panels[-1]:
            axes.set_xlabel("samples k")
        legend = figure.legend(lines.values(), map(_shown, lines), loc="outside upper center", ncols=min(4, len(lines)))
        for text in legend.get_texts():
            text.set_parse_math(False)
        kind = path.suffix.lower().removeprefix(".")
        write_whole(path, lambda beside: figure.savefig(beside, format=kind, dpi=200))


def _curves(axes: Axes, analysis: Analysis, depth: float) -> dict[str, object]:
    lines = {}
    for place, surface in enumerate(analysis.surfaces):
        if depth in surface.grid.depths:
            low, high = surface.grid.low, surface.grid.high
            lines[surface.policy] = _band(axes, surface.grid, depth, low, high, place)
    _finish(axes, analysis)
    return lines


def _differences(axes: Axes, analysis: Analysis, depth: float) -> dict[str, object]:
    axes.axhline(0, color=QUIET, linewidth=0.8)
    places = {surface.policy: place for place, surface in enumerate(analysis.surfaces)}
    lines = {}
    for comparison in analysis.comparisons:
        grid = comparison.grid
        if depth in grid.depths:
            place = places[comparison.policy]
            lines[comparison.policy] = _band(axes, grid, depth, grid.band_low, grid.band_high, place)
    _finish(axes, analysis)
    return lines


def _band(axes: Axes, grid: BandedGrid, depth: float, low: np.ndarray, high: np.ndarray, place: int) -> object:
    row = grid.depths.index(depth)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    axes.fill_between(grid.ks, low[row], high[row], color=colour, alpha=0.18, linewidth=0)
    return axes.plot(grid.ks, grid.estimate[row], color=colour, marker=marker)[0]


def _same_height(panels: np.ndarray, whole: bool) -> None:
    """One scale for all panels of a block: 0 to 1 for values, what is drawn for differences."""
    limits = np.array([axes.get_ylim() for axes in panels])
    low, high = (0.0, 1.02) if whole else (limits[:, 0].min(), limits[:, 1].max())
    for axes in panels:
        axes.set_ylim(low, high)


def _finish(axes: Axes, analysis: Analysis) -> None:
    ks = analysis.surfaces[0].grid.ks
    # Labels of adjacent doublings run into each other in a narrow panel.
    samples_axis(axes, ks[:: math.ceil(len(ks) / MOST_TICKS)])
    axes.set_xlabel("")


def _shown(name: str) -> str:
    """matplotlib leaves out of a legend what begins with an underscore."""
    text = escaped(name)
    text = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
    return f" {text}" if text.startswith("_") else text
