"""The whole of a small paper: two trained arms on a bed of ours, one claim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reproduce.claims.evidence import Part
from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import MethodRecords, collect_method_runs
from reproduce.claims.tests import quote, superiority
from reproduce.claims.verdicts import Claim, Needs
from reproduce.core.config import DemonstrationConfig, HorizonEvaluation, PanelSizes, PolicyConfig
from reproduce.core.paper import Arm, Paper, Reporting, Training
from reproduce.environments.reasoning.bed import BED
from reproduce.plan.study import StudyConfig, plan_study

KEY = "fifth"


@dataclass(frozen=True)
class Loss:
    """The loss of an arm."""

    loss_type: str = "grpo"
    scale_rewards: str = "group"


ARMS = {
    "base": Arm("base", "the warm-started policy, evaluated only"),
    "grpo": Arm("GRPO", "a mean over each episode's tokens", Loss()),
    "dr_grpo": Arm("Dr. GRPO", "a constant divisor, advantages only centred", Loss("dr_grpo", "none")),
}
SMOKE = StudyConfig(
    "smoke",
    replace(
        BED,
        panels=PanelSizes(train=2, test=2, ood=2, categories=("medium", "hard")),
        policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, window=4),
        warm_start=DemonstrationConfig(steps=20, batch_size=16, demonstrations=100),
        training=replace(BED.training, epochs=1, questions_per_step=4, group_size=4, save_every=100),
        sampling=replace(BED.sampling, longest_action=16),
        evaluation=HorizonEvaluation(samples=2, ood_samples=2),
    ),
    seeds=2,
)


def own_arguments(settings: Loss) -> dict[str, Any]:
    return {"loss_type": settings.loss_type, "scale_rewards": settings.scale_rewards}


def load_training() -> Training:
    from reproduce.training.train import Recipe

    return Training(lambda setting: Recipe(arguments=own_arguments(setting.config.method)), own_arguments)


def read_records(folder: Path) -> MethodRecords:
    return read_method_records(folder, KEY)


def scope(records: MethodRecords) -> str:
    return f"{records.seeds} seeds on generated chains of arithmetic."


def division_matters(records: MethodRecords) -> Part:
    gain = records.success("reasoning", "dr_grpo") - records.success("reasoning", "grpo")
    return superiority(gain, smallest_effect=1.0)


text, source = quote(KEY, "{gain} points")
CLAIMS = (
    Claim(
        f"{KEY}.division-matters",
        "Dr. GRPO beats GRPO.",
        text,
        source,
        "success of dr_grpo minus grpo; one-sided exact sign-flip over seeds",
        "surely below 1 point and not surely positive",
        division_matters,
        needs=Needs(("grpo", "dr_grpo")),
        smallest_effect=1.0,
    ),
)
PAPER = Paper(
    key=KEY,
    title="A paper from outside",
    arxiv="2503.20783",
    summary="Dr. GRPO leaves out two divisions of GRPO. Here the two are trained from the same bases.",
    arms=ARMS,
    profiles={"smoke": SMOKE},
    plan=plan_study(KEY, ARMS),
    claims=CLAIMS,
    read_records=read_records,
    collect=collect_method_runs,
    load_reporting=lambda: Reporting(scope),
    settings=Loss,
    load_training=load_training,
    training_columns=("reward", "entropy"),
)
