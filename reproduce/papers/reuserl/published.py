"""The published numbers of ReuseRL that this experiment measures too."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.published import PublishedNumber, load_published
from reproduce.claims.ratios import seed_ratios
from reproduce.claims.records import MethodRecords
from reproduce.papers.reuserl.experiment import KEY
from reproduce.papers.reuserl.statistics import burned_of_all, burned_of_failures, gain, shares
from reproduce.report.text import Section, over_seeds, plain, table

PAPER_ARMS = {"GRPO": "grpo", "length": "length", "SegCost-buf": "segcost", "SegCost-no-buf": "segcost_no_buffer"}
PAPER_BENCHMARKS = {
    "ALFWorld-IID": ("household", "test"),
    "ALFWorld-OOD": ("household", "ood"),
    "TextWorld-Cooking": ("cooking", "test"),
    "Countdown": ("countdown", "test"),
}
"""The paper's words, and ours."""


def beside_the_paper(records: MethodRecords) -> Section:
    """Every published number that this experiment measures too."""
    rows, left_out = [], []
    for published in load_published(KEY):
        value = _ours(records, published)
        cell = published.cell
        what = published.quantity.replace("-", " ")
        kind = str(cell.get("kind", ""))
        if value is None:
            left_out.append(f"{what} of {cell.get('arm', 'the best method')} on {cell.get('benchmark', '?')}")
            continue
        against = f" - {cell['against']}" if "against" in cell else ""
        rows.append(
            (
                f"{what} {kind}".strip(),
                str(cell["benchmark"]),
                f"{cell['arm']}{against}",
                f"{published.value:g}",
                value,
                ", ".join(published.sources),
            )
        )
    body = [
        plain(
            "The paper's benchmarks correspond to our environments (ALFWorld: household; TextWorld-Cooking: cooking; "
            "Countdown: countdown); model, tasks and metric differ, so that no number of ours estimates one of theirs. "
            "All of its numbers were read in digests of it. Ours: mean over seeds (least to most), in the same unit."
        )
    ]
    if rows:
        headings = ("Quantity", "Benchmark", "Arm", "Paper", "Ours", "Read in")
        body.append(table(headings, rows, numbers=(3,)))
    body.append(plain(f"Published but not measured in this profile: {len(left_out)} numbers."))
    return Section("Published numbers beside ours", "\n\n".join(body), ("success",))


def _ours(records: MethodRecords, published: PublishedNumber) -> str | None:
    """Our measurement of a published number, mean over seeds; None where this profile has none."""
    cell = published.cell
    arm = PAPER_ARMS.get(str(cell.get("arm")))
    environment, panel = PAPER_BENCHMARKS.get(str(cell.get("benchmark")), ("", ""))
    if arm is None or not records.has(environment, arm):
        return None

    def difference() -> str | None:
        other = PAPER_ARMS[str(cell["against"])]
        if not records.has(environment, other):
            return None
        return over_seeds(gain(records, environment, arm, other, panel).mean(axis=1), 1)

    measures: dict[str, Callable[[], str | None]] = {
        "success": lambda: over_seeds(records.success(environment, arm, panel).mean(axis=1), 1),
        "success-difference": difference,
        "steps-of-successes": lambda: over_seeds(
            seed_ratios(shares(records, environment, arm, "rounds_of_successes", "successes")) / 100, 1
        ),
        "action-share": lambda: over_seeds(
            seed_ratios(shares(records, environment, arm, str(cell["kind"]), "rounds")), 1
        ),
        "failure-share": lambda: (
            over_seeds(seed_ratios(burned_of_failures(records, arm)), 1)
            + f"; of all episodes {over_seeds(seed_ratios(burned_of_all(records, arm)), 1)}"
        ),
        "success-share": lambda: over_seeds(
            seed_ratios(shares(records, environment, arm, "successes_without_reset", "successes")), 1
        ),
        "operation-share": lambda: over_seeds(
            seed_ratios(shares(records, environment, arm, "multiplicative", "operations")), 1
        ),
    }
    measure = measures.get(published.quantity)
    return measure() if measure else None
