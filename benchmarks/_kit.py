"""One way to measure and to report for every benchmark.

Whatever is compared takes turns, in changing order, so that other programs on the machine disturb ratios less than
absolute times. A ratio is the median over repeats of the ratio within a repeat, with a distribution-free interval. The
numbers go to a JSON file, and as tables to the screen and to a Markdown file beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from reproduce.core.files import UserError, write_json, write_text
from reproduce.core.machine import describe_machine, describe_source, package_versions
from reproduce.report import text

Seconds = dict[str, list[float]]
"""Seconds of each repeat, by what was timed."""
FOLDER = Path("reports/benchmarks")


@dataclass(frozen=True)
class Options:
    """Options of every benchmark."""

    out: Path | None = None
    """The JSON file for the numbers; reports/benchmarks/NAME.json if not given."""


def size(default: int, least: int = 1) -> Any:
    """A field of options: a whole number of at least `least`."""
    return field(default=default, metadata={"least": least})


@dataclass(frozen=True)
class Block:
    """A table of a report."""

    title: str
    headings: Sequence[str]
    rows: Iterable[Sequence[str]]
    """One text per heading; columns after the first are set to the right."""


@dataclass(frozen=True)
class Benchmark:
    """A script: reads its options, measures, prints, writes JSON and Markdown; its exit code is returned."""

    name: str
    description: str | None
    options: type[Options]
    measure: Callable[[Any], dict[str, Any]]
    """The numbers, ready for the file. Raises UserError, before anything is measured, for options that do not fit."""
    blocks: Callable[[dict[str, Any]], Iterable[Block | str]]
    """The tables and sentences that show the numbers."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        prog = f"python -m benchmarks.{self.name}"
        options = tyro.cli(self.options, args=arguments, prog=prog, description=self.description)
        try:
            check(options)
            found = self.measure(options)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        described = {"machine": describe_machine(), "source": describe_source(), "versions": package_versions()}
        sizes = {name: value for name, value in asdict(options).items() if isinstance(value, int | tuple | str)}
        result = described | found | {"sizes": sizes | found.get("sizes", {})}
        out = options.out or FOLDER / f"{self.name}.json"
        blocks = list(self.blocks(result))
        show(blocks)
        write_json(out, result)
        write_text(out.with_suffix(".md"), markdown(f"Benchmark `{self.name}`", result, blocks))
        return int(bool(result.get("differences")))


def check(options: Options) -> None:
    """Raises UserError for a size below its least."""
    for one in fields(options):
        least = one.metadata.get("least")
        if least is not None and getattr(options, one.name) < least:
            raise UserError(f"--{one.name.replace('_', '-')} must be at least {least}")


def show(blocks: Iterable[Block | str]) -> None:
    """Print a report on the console."""
    console = Console(width=max(120, Console().width))
    for block in blocks:
        if isinstance(block, str):
            console.print(block, highlight=False, markup=False)
            continue
        table = Table(title=block.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for place, heading in enumerate(block.headings):
            table.add_column(heading, justify="right" if place else "left")
        for row in block.rows:
            table.add_row(*row)
        console.print(table)


def markdown(title: str, result: Mapping[str, Any], blocks: Iterable[Block | str]) -> str:
    """A report as Markdown, with the machine and the sizes that it holds for."""
    machine, sizes = result["machine"], result["sizes"]
    told = ", ".join(f"{name} {value}" for name, value in sizes.items())
    parts = [f"# {title}", text.plain(f"{machine['processor']}, {machine['cores']} cores; {told}.")]
    for block in blocks:
        if isinstance(block, str):
            parts.append(text.plain(block))
        else:
            table = text.table(block.headings, block.rows, numbers=range(1, len(block.headings)))
            parts += [f"**{text.plain(block.title)}**", table]
    return "\n\n".join(parts) + "\n"


def clock(task: Callable[[], Any], timer: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    """Seconds of one call, and its result. `time.process_time` counts those of the processor alone."""
    start = timer()
    found = task()
    return timer() - start, found


def take_turns(tasks: Mapping[str, Callable[[int], float | None]], repeats: int, dropped: int = 1) -> Seconds:
    """Seconds of every task in each repeat; the order turns round from one repeat to the next.

    A task is called with the number of the repeat and may return the seconds that count; else the call itself is timed.
    The first `dropped` repeats, numbered from below 0, fill caches and count nothing.
    """
    seconds: Seconds = {name: [] for name in tasks}
    for repeat in range(-dropped, repeats):
        for name in sorted(tasks, key=list(tasks).index, reverse=bool(repeat % 2)):
            elapsed, own = clock(lambda name=name, repeat=repeat: tasks[name](repeat))  # type: ignore[misc]
            if repeat >= 0:
                seconds[name].append(elapsed if own is None else own)
    return seconds


def note_seconds(owner: Any, method: str, timer: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of every later call of a method of an object or class."""
    seconds: list[float] = []
    own = getattr(owner, method)

    def timed(*positional: Any, **named: Any) -> Any:
        elapsed, found = clock(lambda: own(*positional, **named), timer)
        seconds.append(elapsed)
        return found

    setattr(owner, method, timed)
    return seconds


def looped(task: Callable[[], Any], least_seconds: float = 0.02) -> Callable[[int], float]:
    """A quick task as one of `take_turns`: as many calls as fill `least_seconds`, of which the mean counts."""
    calls = max(1, int(least_seconds / max(clock(task)[0], 1e-7)))
    return lambda repeat: clock(lambda: [task() for _ in range(calls)])[0] / calls


def ratio(seconds: Sequence[float], reference: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Factor by which `reference` takes longer: the median over repeats, with the ends of its interval.

    The interval holds the median of the ratios whatever their law (order statistics, binomial); with fewer than six
    repeats it is their whole range, which holds it with probability 1 - 2^(1 - repeats). Source: Conover 1999, 3.2.
    """
    ratios = np.sort(np.asarray(reference, dtype=float) / np.asarray(seconds, dtype=float))
    outside = max(int(binom.ppf((1 - confidence) / 2, ratios.size, 0.5)), 1) - 1
    return {
        "median": float(np.median(ratios)),
        "low": float(ratios[outside]),
        "high": float(ratios[-1 - outside]),
        "fastest": float(np.min(reference) / np.min(seconds)),
    }


def ratio_text(found: Mapping[str, float], digits: int = 2) -> str:
    """`median [low, high]`."""
    return f"{found['median']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def comparison(
    title: str, seconds: Seconds, reference: str, limit: str | None = None, unit: str = "ms", per: int = 1
) -> Block:
    """A table of seconds: of the fastest and the median repeat, times the reference's, and times a physical limit.

    per: what the seconds are divided by, such as steps. Ratios above 1 are slower.
    """
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit] / per
    headings = ["", f"{unit}, fastest", f"{unit}, median", f"times {reference}"]
    headings += [f"times {limit} (limit)"] if limit else []
    rows = []
    for name, own in seconds.items():
        row = [name, f"{scale * min(own):,.3g}", f"{scale * float(np.median(own)):,.3g}"]
        row += [ratio_text(ratio(seconds[other], own), 3) for other in (reference, limit) if other]
        rows.append(row)
    return Block(title, headings, rows)


def verdict(reached: bool, target: str) -> str:
    """A target, and whether it was reached."""
    return f"{target}, {'reached' if reached else 'missed'}"


def grpo_arguments(folder: str | Path, **changes: Any) -> dict[str, Any]:
    """Arguments of `GRPOConfig` for a silent training on the CPU that saves nothing."""
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "beta": 0.0,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **changes,
    }
