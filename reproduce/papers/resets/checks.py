"""Settings of the experiment on RRPO and SRPO that cannot be run or judged are refused before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reproduce.claims.verdicts import HEADLINES_ONLY
from reproduce.core.config import TRANSFORMERS
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.environments.beds import task_counts
from reproduce.environments.reasoning import DECISIVE
from reproduce.environments.reasoning.bed import OOD_TIERS, TIERS
from reproduce.papers.resets.measures import CATEGORIES, ENVIRONMENT
from reproduce.papers.resets.settings import LAPTOP, PUBLISHED, SETTINGS, WITH_ORACLE, needs_oracle

if TYPE_CHECKING:
    from reproduce.papers.resets.experiment import ResetsConfig

CHAINS_OF_A_PROMPT = 8
"""Trained chains of a prompt in every split."""
OPTIONAL = ("srpo_early", "srpo_late", "restart", "segment_values")
"""Arms that no claim needs."""
KNOWN = (*(tier.name for tier in TIERS), *(f"decisive-{decisive}-of-{steps}" for decisive, steps in DECISIVE))
KNOWN_OOD = tuple(tier.name for tier in OOD_TIERS)


def check_settings(config: ResetsConfig) -> None:
    """Raises UserError in one line."""
    _check_arms(config)
    if not config.reasoning.panels.source:
        _check_generated(config)
    training = config.reasoning.training
    if training.group_size != CHAINS_OF_A_PROMPT:
        raise UserError(
            f"--set reasoning.training.group_size={training.group_size}: must be {CHAINS_OF_A_PROMPT}, the chains of a "
            "prompt in every split"
        )
    for name in ("probe_tasks", "labelled_steps"):
        if getattr(config, name) < 1:
            raise UserError(f"--set {name}={getattr(config, name)}: must be at least 1")
    rows = training.questions_per_step * training.group_size
    if config.updates < 0 or (config.updates and rows % config.updates):
        raise UserError(
            f"--set updates={config.updates}: must divide a batch of {rows} chains; 0 for what the arm says"
        )
    if "srpo_learned" in config.arms:
        tasks = task_counts(ENVIRONMENT, config.reasoning.panels)["train"]
        steps = training.epochs * tasks // training.questions_per_step
        if config.labelled_steps >= steps:
            raise UserError(
                f"--set labelled_steps={config.labelled_steps}: must be below the {steps} steps of a training, the "
                "localizer is used after them"
            )


def _check_generated(config: ResetsConfig) -> None:
    """Categories of generated tasks; a data set has its own."""
    _check_categories("categories", config.reasoning.panels.categories, KNOWN)
    _check_categories("ood_categories", config.reasoning.panels.ood_categories, KNOWN_OOD)
    missing = [name for name in CATEGORIES if name not in config.reasoning.panels.categories]
    if missing:
        raise UserError(f"--set reasoning.panels.categories: every comparison needs {', '.join(missing)}")


def _check_arms(config: ResetsConfig) -> None:
    # `--set arms=` gives one empty name, for no arm.
    arms = [arm for arm in config.arms if arm]
    setting = f"--set arms={','.join(arms)}"
    for arm in arms:
        if arm not in SETTINGS:
            raise UserError(f"{setting}: unknown arm {arm!r}; {nearest(arm, tuple(SETTINGS))}")
    if twice := [arm for arm in SETTINGS if arms.count(arm) > 1]:
        raise UserError(f"{setting}: {', '.join(twice)} is there twice")
    if config.reasoning.panels.source:
        if blind := [arm for arm in arms if needs_oracle(arm)]:
            raise UserError(
                f"{setting}: {', '.join(blind)} cannot run on {config.reasoning.panels.source}, which does not say "
                f"where a solution goes wrong; arms without such an oracle: {', '.join(PUBLISHED)}"
            )
    elif missing := [arm for arm in _needed(config.profile) if arm not in arms]:
        raise UserError(f"{setting}: the comparisons of this profile need {', '.join(missing)}")
    if not config.model.name and (asked := [arm for arm in arms if SETTINGS[arm].rule == "asked"]):
        raise UserError(
            f"{setting}: {', '.join(asked)} asks the policy in plain language, which policies made here cannot read; "
            "name a checkpoint with --set model.name="
        )
    reading = [arm for arm in arms if SETTINGS[arm].rule in ("entropy", "learned")]
    if reading and config.hardware.training_engine != TRANSFORMERS:
        raise UserError(
            f"{setting}: {', '.join(reading)} reads entropies, which vLLM does not tell; set "
            f"hardware.training_engine={TRANSFORMERS}"
        )
    for arm in arms:
        source = SETTINGS[arm].source
        if source and arms.index(source) > arms.index(arm):
            raise UserError(f"{setting}: {arm} must come after {source}, whose positions it reads")


def _needed(profile: str) -> tuple[str, ...]:
    """The arms that the claims of a profile compare on generated tasks; those of `paper` are the paper's own."""
    if profile == "paper":
        return PUBLISHED[:3]
    return LAPTOP if profile in HEADLINES_ONLY else tuple(arm for arm in WITH_ORACLE if arm not in OPTIONAL)


def _check_categories(name: str, categories: Sequence[str], known: tuple[str, ...]) -> None:
    for category in categories:
        if category not in known:
            raise UserError(
                f"--set reasoning.panels.{name}={','.join(categories)}: unknown category {category!r}; "
                f"{nearest(category, known)}"
            )
    if twice := [category for category in known if list(categories).count(category) > 1]:
        raise UserError(f"--set reasoning.panels.{name}={','.join(categories)}: {', '.join(twice)} is there twice")
