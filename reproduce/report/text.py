"""Words, numbers and tables of a report."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from reproduce.claims.evidence import Part
from reproduce.report.document import markdown_text

NOTHING = "–"
"""In a cell for which there is no value."""


@dataclass(frozen=True)
class Section:
    """A part of a report that a paper adds to its claims."""

    title: str
    body: str
    """Markdown, every cell and sentence through `plain`."""
    figures: tuple[str, ...] = ()
    """Names of the figures shown at its end."""


def plain(text: str) -> str:
    """Text as Markdown that shows exactly that text.

    A hyphen that stands for a minus becomes one, and no line ends between a number and its %, or within `k = 64`.
    """
    text = re.sub(r"(?<![\w.-])-(?=[\d.])|(?<= )-(?= )", "−", text.replace("+-", "±"))
    return re.sub(r"(?<=\d) (?=%)|(?<=\b[kTpαβτ]) (?=[=<])|(?<=[=<]) (?=\d)", "\u00a0", markdown_text(text))


def number(value: float | None, digits: int = 1, signed: bool = False) -> str:
    """A number with a fixed count of decimals; a dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return NOTHING
    # Rounded first: no "-0.0".
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}".replace("-", "−")


def count(value: float | None) -> str:
    """A whole number, thousands apart."""
    return number(value, 0)


def probability(value: float | None, name: str = "") -> str:
    """A p-value with four decimals, as `0.0123` or, with a name, as `p = 0.0123`."""
    small = value is not None and 0 <= value < 0.00005
    shown = "0.0001" if small else number(value, 4)
    if small:
        return f"{name} < {shown}".strip()
    return f"{name} = {shown}" if name else shown


def interval(low: float, high: float, digits: int = 1, signed: bool = False) -> str:
    """`[low, high]`."""
    return f"[{number(low, digits, signed)}, {number(high, digits, signed)}]"


def effect_text(part: Part) -> str:
    """`effect [low, high] unit`; a difference in points carries its sign."""
    signed = part.rule.unit == "points"
    digits = 2 if part.rule.ratio or (abs(part.effect) < 2 and not signed) else 1
    return f"{number(part.effect, digits, signed)} {interval(*part.interval, digits, signed)} {part.rule.unit}".strip()


def over_seeds(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """Mean and range over seeds, `mean (least to most)`; seeds without a value are left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return NOTHING
    mean, least, most = (number(float(value), digits) for value in (known.mean(), known.min(), known.max()))
    return f"{mean} ({least}–{most})"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """A pipe table. Headings and cells are plain text; the columns in `numbers` are set to the right."""
    ruler = ["---:" if place in numbers else "---" for place in range(len(headings))]
    lines = [[plain(cell) for cell in headings], ruler, *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
