"""EchoRL: does the echoed high-entropy prefix of a success help, and is it the entropy? (arXiv 2605.31228)

The experiment: warm-start a base, train it with GRPO and with GRPO plus the echo, with every other choice of clip that
could explain a gain, and with the other remedies for groups whose rewards are all equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import MethodRecords, collect_method_runs
from reproduce.core.config import RunConfig
from reproduce.core.files import read_parquet
from reproduce.core.paper import Paper, Reporting, Training
from reproduce.papers.echorl.claims import CLAIMS
from reproduce.papers.echorl.experiment import ARMS, KEY, PROFILES, ArmSettings
from reproduce.papers.echorl.identities import IDENTITIES
from reproduce.papers.echorl.plan import plan
from reproduce.papers.echorl.power import planned_effects

if TYPE_CHECKING:
    import pandas as pd

TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/mixed",
    "groups/all_right",
    "groups/resampling_rounds",
    "entropy",
    "policy/entropy",
    "grad_norm",
    "step_time",
    "completions/mean_length",
    "tokens/sampled",
    "tokens/trained",
    "episodes/sampled",
    "gradient/policy",
    "gradient/echo",
    "gradient/echo_all_right",
    "echo/loss",
    "echo/groups_with_clip",
    "echo/clip_tokens",
    "echo/clip_share",
    "echo/step_tokens",
    "echo/step_entropy",
    "echo/short_steps",
    "echo/short_steps_of_pool",
    "echo/first_steps",
)


TABLES = ("projections", "deletion", "golden")
"""What the frozen arm writes beside its log."""


def further_records(config: RunConfig, folder: Path, episodes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the frozen base, where the run has them."""
    found = {name: folder / f"{name}.parquet" for name in TABLES}
    return {name: read_parquet(path).to_pandas() for name, path in found.items() if path.exists()}


def read_records(folder: Path) -> MethodRecords:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_method_records(folder, KEY)


def load_audit() -> Any:
    """The `PaperAudit` of the published numbers."""
    from reproduce.papers.echorl.audit import audit

    return audit()


def load_reporting() -> Reporting:
    """Loads matplotlib."""
    from reproduce.papers.echorl.reporting import REPORTING

    return REPORTING


def load_training() -> Training:
    """Loads torch and TRL."""
    from reproduce.papers.echorl.training import TRAINING

    return TRAINING


PAPER = Paper(
    key=KEY,
    title="EchoRL: Reinforcement Learning via Rollout Echoing",
    arxiv="2605.31228",
    summary=(
        "Where every episode of a group succeeds, GRPO has no gradient. EchoRL adds the negative log-likelihood "
        "of one clip a group: the prefix of a success that ends with the step of highest mean entropy, at a "
        "weight of 0.001. The paper reports gains on mathematics and reads them as entropy pointing at what is "
        "worth repeating. Here the echo is set against the same loss on other clips of the same successes, and "
        "against other remedies, at the published weight and at one where the echo is not negligible beside the "
        "policy gradient."
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
    settings=ArmSettings,
    load_training=load_training,
    training_columns=TRAINING_COLUMNS,
    further_records=further_records,
    planned_effects=planned_effects,
)
