"""The cost of every profile of every paper: the table of docs/running.md is what `plan` prints."""

import io
import re
from pathlib import Path

from rich.console import Console

from reproduce.cli.cost_table import COLUMNS, ORDER, cost_rows, show_cost
from reproduce.core.paper import PACKAGED

PAGE = Path(__file__).parents[2] / "docs" / "running.md"


def test_the_page_on_running_has_the_table_that_plan_prints() -> None:
    printed = io.StringIO()
    show_cost(Console(file=printed))
    table = "\n".join(line.rstrip() for line in printed.getvalue().splitlines() if line.strip())
    assert table in PAGE.read_text(encoding="utf-8")
    rows = cost_rows()
    assert [row[:2] for row in rows] == [(paper, profile) for paper in PACKAGED for profile in ORDER]
    assert all(len(row) == len(COLUMNS) for row in rows)
    for row in rows:
        found = dict(zip(COLUMNS, row, strict=True))
        assert int(found["runs"]) > 0 and int(found["rollouts"].replace(",", "")) > 0
        # A GPU's memory is estimated where the model is known beforehand, and nowhere is a time missing.
        assert bool(found["GPU memory"]) == (found["profile"] == "paper")
        assert re.fullmatch(r"[\d.,]+ (s|min|h|GPU-hours)", found["time"]), found
