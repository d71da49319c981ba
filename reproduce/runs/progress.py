"""The display while jobs run: bars on a terminal, one plain line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn


@dataclass
class _Active:
    """A step that a worker is carrying out."""

    begun: float
    stage: str = ""
    bar: TaskID | None = None
    fractions: dict[str, float] = field(default_factory=dict)


class ProgressDisplay:
    """Follows steps and their stages. Use it as a context manager.

    expected: for each step, the expected seconds of each of its stages; the overall bar is weighted by them.
    """

    def __init__(self, console: Console, expected: Mapping[str, Mapping[str, float]]) -> None:
        self.console, self.expected = console, expected
        self.active: dict[str, _Active] = {}
        self.finished: set[str] = set()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            speed_estimate_period=300,
            disable=not console.is_terminal,
        )
        total = sum(sum(stages.values()) for stages in expected.values())
        self.overall = self.bars.add_task(self._overall_text(), total=total)

    def __enter__(self) -> ProgressDisplay:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, step: str) -> None:
        """A worker has taken up the step."""
        self.active[step] = _Active(time.monotonic())

    def advance(self, step: str, stage: str, done: int, total: int) -> None:
        """The step has done `done` of `total` parts of its stage."""
        state = self.active[step]
        if stage != state.stage:
            state.stage = stage
            if not self.console.is_terminal:
                self._print(f"{step}: {stage}")
            elif state.bar is None:
                state.bar = self.bars.add_task(f"{step}: {stage}", total=total)
            else:
                self.bars.reset(state.bar, description=f"{step}: {stage}", total=total)
        state.fractions[stage] = done / max(total, 1)
        if state.bar is not None:
            self.bars.update(state.bar, completed=done, total=total)
        self._update_overall()

    def pause(self, step: str, reason: str = "paused") -> None:
        """The step was left at a place it can be continued from."""
        self._leave(step)
        self._print(f"{step}: {reason}")
        self._update_overall()

    def finish(self, step: str) -> None:
        """The step is complete."""
        state = self._leave(step)
        self.finished.add(step)
        seconds = time.monotonic() - state.begun
        self._print(f"{step}: done in {seconds:.0f} s ({len(self.finished)} of {len(self.expected)})")
        self._update_overall()

    def _leave(self, step: str) -> _Active:
        state = self.active.pop(step)
        if state.bar is not None:
            self.bars.remove_task(state.bar)
        return state

    def _overall_text(self) -> str:
        return f"all: {len(self.finished)} of {len(self.expected)}"

    def _update_overall(self) -> None:
        seconds = sum(sum(self.expected[step].values()) for step in self.finished)
        for step, state in self.active.items():
            seconds += sum(self.expected[step].get(stage, 0.0) * part for stage, part in state.fractions.items())
        self.bars.update(self.overall, completed=seconds, description=self._overall_text())

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
