"""ReuseRL: skill reuse as compression in agentic RL (arXiv 2605.31509).

The experiment: from the same warm-started base GRPO trains on the outcome alone, on the outcome minus a round-length
penalty, and on the outcome minus the segmentation cost of the episode's skill string under a dictionary of phrases
that is extracted from the successes at each step. Three environments: countdown and the household fail by running out
of rounds; in cooking a step that cannot be undone ends half of the games for whoever follows the recipe to the letter.
The controls ask whether it is structure that matters, or just a cheaper length.
"""

from __future__ import annotations

from typing import Any

from reproduce.claims.records import collect_method_runs
from reproduce.core.paper import Paper, Reporting, Training
from reproduce.papers.reuserl.claims import CLAIMS
from reproduce.papers.reuserl.experiment import ARMS, KEY, PROFILES, ReuseSettings, plan
from reproduce.papers.reuserl.identities import IDENTITIES
from reproduce.papers.reuserl.measures import TRAINING_COLUMNS, further_records, measure_tasks, read_records
from reproduce.papers.reuserl.power import planned_effects


def load_audit() -> Any:
    """The `PaperAudit` of the published numbers."""
    from reproduce.papers.reuserl.audit import audit

    return audit()


def load_reporting() -> Reporting:
    """Loads matplotlib."""
    from reproduce.papers.reuserl.reporting import REPORTING

    return REPORTING


def load_training() -> Training:
    """Loads torch and TRL."""
    from reproduce.papers.reuserl.training import TRAINING

    return TRAINING


PAPER = Paper(
    key=KEY,
    title="Skill Reuse as Compression in Agentic RL",
    arxiv="2605.31509",
    summary=(
        "ReuseRL charges a successful episode for the number of dictionary phrases that its string of abstract "
        "skills takes, with a dictionary compressed from recent successes, in the place of the number of its "
        "rounds. The paper claims that the length penalty drops the careful step that guards an irreversible one, "
        "and that this cost does not, because a routine that successes share is cheap however long it is. Here "
        "both are trained from the same bases for several seeds, beside controls with random and shuffled "
        "dictionaries, with an interval for every number."
    ),
    arms=ARMS,
    profiles=PROFILES,
    plan=plan,
    claims=CLAIMS,
    read_records=read_records,
    collect=collect_method_runs,
    load_reporting=load_reporting,
    load_audit=load_audit,
    identities=IDENTITIES,
    settings=ReuseSettings,
    load_training=load_training,
    training_columns=TRAINING_COLUMNS,
    measure_tasks=measure_tasks,
    further_records=further_records,
    planned_effects=planned_effects,
)
