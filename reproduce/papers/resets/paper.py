"""RRPO and SRPO: credit assignment with resets (arXiv 2605.25507).

The experiment: train a small policy on chains of arithmetic, one step a line, with GRPO, with random resets (RRPO) and
with resets at the first error (SRPO), and ask how much of a gain is the choice of the step, how much is only that the
reset comes early, and how much is the loss. The exact oracle of the environment stands for the localizer, so that its
quality is set by design.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import MethodRecords, collect_method_runs
from reproduce.core.config import (
    RunConfig,
)
from reproduce.core.files import read_parquet
from reproduce.core.paper import Paper, Reporting, Training
from reproduce.papers.resets.arms import ARMS, ResetSettings
from reproduce.papers.resets.claims import CLAIMS
from reproduce.papers.resets.experiment import KEY, PROFILES, plan
from reproduce.papers.resets.identities import IDENTITIES
from reproduce.papers.resets.power import planned_effects

if TYPE_CHECKING:
    import pandas as pd

TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/mixed",
    "groups/all_right",
    "entropy",
    "grad_norm",
    "tokens/sampled",
    "tokens/trained",
    "tokens/generated",
    "chains/generated",
    "resets/share",
    "resets/position",
    "localization/exact",
    "localization/clean",
    "localization/deviation",
    "base/success",
    "base/zero_std",
    "suffix/success",
    "suffix/zero_std",
)


def further_records(config: RunConfig, folder: Path, episodes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables `steps` and `resets` of a trained run, and `probe` of the run that probed the base."""
    found = {name: folder / f"{name}.parquet" for name in ("steps", "resets", "probe")}
    return {name: read_parquet(path).to_pandas() for name, path in found.items() if path.exists()}


def read_records(folder: Path) -> MethodRecords:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_method_records(folder, KEY)


def load_audit() -> Any:
    """The `PaperAudit` of the published numbers."""
    from reproduce.papers.resets.audit import audit

    return audit()


def load_reporting() -> Reporting:
    """Loads matplotlib."""
    from reproduce.papers.resets.reporting import REPORTING

    return REPORTING


def load_training() -> Training:
    """Loads torch and TRL."""
    from reproduce.papers.resets.training import TRAINING

    return TRAINING


PAPER = Paper(
    key=KEY,
    title="Credit Assignment with Resets in Language Model Reasoning",
    arxiv="2605.25507",
    summary=(
        "RRPO and SRPO return to a step of a failed chain, sample the rest anew and train on the new suffixes "
        "beside plain chains: RRPO at a random step, SRPO at the step that the policy itself names as its first "
        "error. The paper reads SRPO's gain as credit assignment. Here both are set against GRPO with the same "
        "loss, which the paper lacks, and against random resets at SRPO's own positions, which separate the "
        "choice of the step from its earliness."
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
    settings=ResetSettings,
    load_training=load_training,
    training_columns=TRAINING_COLUMNS,
    further_records=further_records,
    planned_effects=planned_effects,
)
