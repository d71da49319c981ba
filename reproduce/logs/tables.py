"""One printer for all tables, and the words and files around them. No column vanishes, however narrow the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reproduce.core.files import UserError, write_text
from reproduce.core.names import escaped

LONGEST_NAME = 18
PADDING = 3


def print_table(
    console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1
) -> None:
    """Print a table whose first `labels` columns name a row. Where it is too wide, further columns follow below, each
    time behind the labels, which are folded at LONGEST_NAME characters."""
    widths = [max(len(line) for row in [headers, *rows] for line in [row[place]]) for place in range(len(headers))]
    widths[:labels] = [min(width, LONGEST_NAME) for width in widths[:labels]]
    start, first = labels, True
    while start < len(headers):
        end, total = start, sum(widths[:labels]) + PADDING * labels
        while end < len(headers) and (end == start or total + widths[end] + PADDING <= console.width):
            total += widths[end] + PADDING
            end += 1
        _print_block(
            console,
            title if first else f"{title}, continued",
            headers,
            rows,
            [*range(labels), *range(start, end)],
            labels,
        )
        start, first = end, False


def _print_block(
    console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], columns: list[int], labels: int
) -> None:
    console.print(Text(title, style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place in columns:
        if place < labels:
            table.add_column(Text(headers[place]), overflow="fold", max_width=LONGEST_NAME)
        else:
            table.add_column(Text(headers[place]), justify="right", no_wrap=True)
    last: tuple[str, ...] = ()
    for row in rows:
        names = tuple(row[:labels])
        shown = ["" if names[: place + 1] == last[: place + 1] else name for place, name in enumerate(names)]
        last = names
        table.add_row(*map(Text, shown), *(Text(row[place]) for place in columns[labels:]))
    console.print(table)


def say(console: Console, text: str) -> None:
    """A paragraph under a table."""
    console.print(Text(text))
    console.print()


def decimal(value: float, digits: int = 3, signed: bool = False) -> str:
    """Without the zero before the point: the columns are narrow, and all values lie in [-1, 1]."""
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return f"+{text}" if signed and not text.startswith("-") else text


def interval(low: float, high: float, digits: int = 3) -> str:
    return "–" if math.isnan(low) else f"[{decimal(low, digits)} {decimal(high, digits)}]"


def probability(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<.001" if value < 0.0005 else decimal(value)


def span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def name(text: str, longest: int = 40) -> str:
    """A name from a log, safe to print."""
    text = escaped(text)
    # The end is kept: names of one model with long settings, or of files by date, differ there.
    return text if len(text) <= longest else f"{text[: longest - longest // 2 - 1]}…{text[-(longest // 2) :]}"


def plain(value: Any) -> Any:
    """Dataclasses and arrays as what JSON holds; NaN as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_new(**paths: Path | None) -> None:
    """Refuse to write over a file. Raises UserError naming option and path."""
    for option, path in paths.items():
        if path is not None and path.exists():
            raise UserError(f"--{option} {path}: is there already; name another, nothing is written over")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a number, with all digits; empty where there is none."""
    write_text(path, pd.DataFrame(list(rows)).to_csv(index=False))
