"""How figures look and are written: as wide as the page's text, one palette, the same bytes for the same data.

SVG, because Typst sets it as vectors: sharp at any size and a few kilobytes a curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from reproduce.report.colours import BASE, INK, QUIET, TRAINED

TEXT_WIDTH = 6.6
"""Inches between the margins of a report's page, so that type in a figure keeps its size on paper."""
DIVERGING = LinearSegmentedColormap.from_list("base to trained", [BASE, "#f7f7f7", TRAINED])
"""Where the base leads, where neither does, where the trained policy does."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    # Glyphs as outlines: the reader of the SVG needs no font. Fixed identifiers, or no two files would be equal.
    "svg.fonttype": "path",
    "svg.hashsalt": "report",
}


@dataclass(frozen=True)
class Figure:
    """A figure on disk."""

    path: Path
    caption: str
    """Plain text; names intervals, units and numbers of seeds, questions and episodes."""


def _house_style() -> AbstractContextManager[None]:
    # From the defaults of matplotlib, so that a user's own settings change no report.
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "Agg"})


@contextmanager
def canvas(height: float) -> Iterator[Canvas]:
    """An empty figure as wide as the text and `height` inches high, in the house style while the block runs."""
    with _house_style():
        yield Canvas(figsize=(TEXT_WIDTH, height), layout="constrained")


def save(drawing: Canvas, path: Path) -> Path:
    """Write the drawing as SVG, without date or version, so that the same drawing gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _house_style():
        drawing.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


def samples_axis(axes: Axes, ks: tuple[int, ...]) -> None:
    """Samples k in doublings along the horizontal axis."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.minorticks_off()
    axes.set_xlabel("samples k")
