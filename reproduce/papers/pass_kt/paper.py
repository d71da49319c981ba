"""PASS@(k,T): does reinforcement learning widen what an agent can do? (arXiv 2604.14877)

The experiment: warm-start a base, train it with GRPO on comparison and bridge questions, and ask base and trained
policy the same test questions n times at every cap T on search rounds. PASS@(k,T) is the chance that at least one of
k episodes with at most T rounds is right. `static` questions (category A) need no search and are never trained on;
`comparison` (B) takes two independent searches; in `bridge` (C) the second search depends on what the first one
found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reproduce.claims.grid import Records, collect_grid
from reproduce.claims.record_checks import read_grid_records
from reproduce.core.paper import Paper, Reporting
from reproduce.papers.pass_kt.claims import CLAIMS
from reproduce.papers.pass_kt.experiment import ARMS, KEY, PROFILES, plan
from reproduce.papers.pass_kt.power import planned_effects


def read_records(folder: Path) -> Records:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_grid_records(folder, KEY, ARMS)


def load_audit() -> Any:
    """The `PaperAudit` of the published numbers."""
    from reproduce.papers.pass_kt.audit import audit

    return audit()


def load_reporting() -> Reporting:
    """Loads matplotlib."""
    from reproduce.papers.pass_kt.reporting import REPORTING

    return REPORTING


PAPER = Paper(
    key=KEY,
    title="Does RL Expand the Capability Boundary of LLM Agents? A PASS@(k,T) Analysis",
    arxiv="2604.14877",
    summary=(
        "PASS@(k,T) is the chance that at least one of k independent episodes, each with at most T tool rounds, "
        "ends with the right answer. The paper compares a language model before and after GRPO over a grid of k "
        "and T and reads a gap that widens with k as new capability. Here the same comparison is made for several "
        "seeds, each with its own base, with an interval for every number and a test for every claim."
    ),
    arms=ARMS,
    profiles=PROFILES,
    plan=plan,
    claims=CLAIMS,
    read_records=read_records,
    collect=collect_grid,
    load_reporting=load_reporting,
    load_audit=load_audit,
    planned_effects=planned_effects,
)
