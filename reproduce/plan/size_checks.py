"""Sizes that a run would refuse only after seconds or minutes are refused before anything starts."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from reproduce.core.config import BedConfig
from reproduce.core.files import UserError
from reproduce.core.settings import ExperimentConfig
from reproduce.cost.architecture import planned_counts
from reproduce.plan.setting_checks import check_settings

FEWEST_POSITIONS = 64
"""Fewest `policy.longest`. What an episode at the largest cap fills depends on the observations, so this refuses only
what no episode with a search fits in."""
LARGEST_SIZES = {"seeds": 1_000, "panels.train_per_category": 100_000, "panels.test_per_category": 100_000}
LARGEST_PANEL = 100_000
"""Far beyond what a machine gets through; a mistyped number must not fill its memory first."""


def check_sizes(config: Any) -> None:
    """Check the configuration of a paper. Raises UserError in one line."""
    check_settings(config)
    if isinstance(config, ExperimentConfig):
        check_grid(config)
        return
    if config.seeds < 1:
        raise UserError(f"--set seeds={config.seeds}: must be at least 1")
    if config.seeds > LARGEST_SIZES["seeds"]:
        raise UserError(f"--set seeds={config.seeds}: must be at most {LARGEST_SIZES['seeds']:,}")
    for item in fields(config):
        if isinstance(getattr(config, item.name), BedConfig):
            check_bed(item.name, getattr(config, item.name))


def check_bed(name: str, bed: BedConfig) -> None:
    """Refuse sizes of one environment. name: its field in the paper's configuration."""
    panels, policy, training, evaluation = bed.panels, bed.policy, bed.training, bed.evaluation
    sizes = {
        "panels.train": panels.train,
        "panels.test": panels.test,
        "panels.ood": panels.ood,
        "evaluation.samples": evaluation.samples,
        "evaluation.ood_samples": evaluation.ood_samples,
        "evaluation.tasks_at_once": evaluation.tasks_at_once,
        "training.epochs": training.epochs,
        "training.questions_per_step": training.questions_per_step,
        "training.rounds": training.rounds,
        "training.save_every": training.save_every,
        "warm_start.steps": bed.warm_start.steps,
        "warm_start.batch_size": bed.warm_start.batch_size,
        "warm_start.demonstrations": bed.warm_start.demonstrations,
        "policy.layers": policy.layers,
        "policy.width": policy.width,
        "policy.heads": policy.heads,
        "policy.feed_forward": policy.feed_forward,
        "policy.window": policy.window,
        "sampling.longest_action": bed.sampling.longest_action,
    }
    for field, value in sizes.items():
        if value < 1:
            raise UserError(f"--set {name}.{field}={value}: must be at least 1")
        if field.startswith("panels.") and value > LARGEST_PANEL:
            raise UserError(f"--set {name}.{field}={value}: must be at most {LARGEST_PANEL:,}")
    rates = {
        "sampling.temperature": bed.sampling.temperature,
        "training.learning_rate": training.learning_rate,
        "warm_start.learning_rate": bed.warm_start.learning_rate,
    }
    for field, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f"--set {name}.{field}={rate}: must be a finite number above 0")
    if training.group_size < 2:
        raise UserError(
            f"--set {name}.training.group_size={training.group_size}: must be at least 2, a group is compared"
        )
    if policy.longest < FEWEST_POSITIONS:
        raise UserError(f"--set {name}.policy.longest={policy.longest}: must be at least {FEWEST_POSITIONS}")
    if policy.width % (2 * policy.heads):
        raise UserError(
            f"--set {name}.policy.width={policy.width}: must be an even multiple of {name}.policy.heads={policy.heads}"
        )
    tasks = training.epochs * planned_counts(name, panels)["train"]
    if tasks % training.questions_per_step:
        raise UserError(
            f"--set {name}.training.questions_per_step={training.questions_per_step}: must divide the {tasks} tasks "
            f"of {training.epochs} epochs"
        )


def check_grid(config: ExperimentConfig) -> None:
    """Refuse what the training loop of PASS@(k,T) would refuse after seconds or minutes."""

    sizes = {
        "seeds": config.seeds,
        "panels.train_per_category": config.panels.train_per_category,
        "panels.test_per_category": config.panels.test_per_category,
        "evaluation.samples": config.evaluation.samples,
        "evaluation.largest_k": config.evaluation.largest_k,
        "evaluation.questions_at_once": config.evaluation.questions_at_once,
        "training.epochs": config.training.epochs,
        "training.questions_per_step": config.training.questions_per_step,
        "training.save_every": config.training.save_every,
        "warm_start.steps": config.warm_start.steps,
        "policy.layers": config.policy.layers,
        "policy.width": config.policy.width,
        "policy.heads": config.policy.heads,
        "policy.feed_forward": config.policy.feed_forward,
        "policy.window": config.policy.window,
        "sampling.longest_action": config.sampling.longest_action,
    }
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"--set {name}={value}: must be at least 1")
    for name, most in LARGEST_SIZES.items():
        if sizes[name] > most:
            raise UserError(f"--set {name}={sizes[name]}: must be at most {most:,}")
    if config.policy.longest < FEWEST_POSITIONS:
        raise UserError(
            f"--set policy.longest={config.policy.longest}: must be at least {FEWEST_POSITIONS}, an episode needs them"
        )
    rates = {
        "sampling.temperature": config.sampling.temperature,
        "training.learning_rate": config.training.learning_rate,
        "warm_start.learning_rate": config.warm_start.learning_rate,
    }
    for name, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f"--set {name}={rate}: must be a finite number above 0")
    if config.training.group_size < 2:
        raise UserError(
            f"--set training.group_size={config.training.group_size}: must be at least 2, a group is compared"
        )
    if config.policy.width % (2 * config.policy.heads):
        raise UserError(
            f"--set policy.width={config.policy.width}: must be an even multiple of policy.heads={config.policy.heads}"
        )
    questions, step = 2 * config.panels.train_per_category, config.training.questions_per_step
    if questions % step:
        raise UserError(f"--set training.questions_per_step={step}: must divide the {questions} training questions")
    if not config.evaluation.caps or min(config.evaluation.caps) < 0:
        raise UserError("--set evaluation.caps: at least one cap, none below 0")
    if not {0, 1, 2} < set(config.evaluation.caps):
        raise UserError("--set evaluation.caps: the claims need T = 0, 1, 2 and at least one larger T")
    if len(set(config.evaluation.caps)) < len(config.evaluation.caps):
        raise UserError(f"--set evaluation.caps={','.join(map(str, config.evaluation.caps))}: a cap is there twice")
    if config.evaluation.ood_samples < config.evaluation.largest_k:
        raise UserError(
            f"--set evaluation.ood_samples={config.evaluation.ood_samples}: must be at least "
            f"evaluation.largest_k={config.evaluation.largest_k}"
        )
    if config.evaluation.samples < 2 * config.evaluation.largest_k:
        raise UserError(
            f"--set evaluation.samples={config.evaluation.samples}: must be at least twice "
            f"evaluation.largest_k={config.evaluation.largest_k}"
        )
