"""Settings that do not fit each other are refused before anything starts. Bounds of single fields are those of their
types (`reproduce.core.config`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from reproduce.core.config import SERVER, TEXT, BedConfig
from reproduce.core.files import UserError
from reproduce.core.settings import ExperimentConfig
from reproduce.cost.architecture import planned_counts

MOST_SEEDS = 1_000


def check_config(config: Any) -> None:
    """Check the configuration of a paper. Raises UserError, in one line, for the first setting that does not fit."""
    for setting, reason in _refusals(config):
        raise UserError(f"--set {setting}: {reason}")


def _refusals(config: Any) -> Iterator[tuple[str, str]]:
    """Every setting that does not fit, and why."""
    hardware, model = config.hardware, config.model
    if config.seeds < 1:
        yield f"seeds={config.seeds}", "must be at least 1"
    if config.seeds > MOST_SEEDS:
        yield f"seeds={config.seeds}", f"must be at most {MOST_SEEDS:,}"
    if hardware.training_engine == SERVER and not hardware.vllm_server.startswith(("http://", "https://")):
        yield f"hardware.vllm_server={hardware.vllm_server}", "must begin with http:// or https://"
    if not model.name and model.format == TEXT:
        yield "model.format=text", "policies made here read words; leave it out or name a model"
    if isinstance(config, ExperimentConfig):
        questions = 2 * config.panels.train_per_category
        yield from _training_refusals("", config, questions, f"{questions} training questions")
        yield from _grid_refusals(config)
    for item in fields(config):
        bed = getattr(config, item.name)
        if isinstance(bed, BedConfig):
            if bed.training.rounds < 1:
                yield f"{item.name}.training.rounds={bed.training.rounds}", "must be at least 1"
            # A configuration with one bed names its environment; with several, each bed has its environment's name.
            environment = getattr(config, "environment", item.name)
            tasks = bed.training.epochs * planned_counts(environment, bed.panels)["train"]
            told = f"{tasks} tasks of {bed.training.epochs} epochs"
            yield from _training_refusals(f"{item.name}.", bed, tasks, told)


def _training_refusals(prefix: str, part: Any, tasks: int, told: str) -> Iterator[tuple[str, str]]:
    """Of policy, sampling and batches, whatever the paper. prefix: of the names of `part`'s fields. told: the tasks in
    words."""
    policy, step, temperature = part.policy, part.training.questions_per_step, part.sampling.temperature
    if temperature == 0:
        yield f"{prefix}sampling.temperature={temperature:g}", "must be a finite number above 0"
    if policy.width % (2 * policy.heads):
        multiple = f"must be an even multiple of {prefix}policy.heads={policy.heads}"
        yield f"{prefix}policy.width={policy.width}", multiple
    if tasks % step:
        yield f"{prefix}training.questions_per_step={step}", f"must divide the {told}"


def _grid_refusals(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Of the grid over k and T of PASS@(k,T)."""
    evaluation, caps = config.evaluation, config.evaluation.caps
    if not {0, 1, 2} < set(caps):
        yield "evaluation.caps", "the claims need T = 0, 1, 2 and at least one larger T"
    if len(set(caps)) < len(caps):
        yield f"evaluation.caps={','.join(map(str, caps))}", "a cap is there twice"
    for name, least, told in (
        ("ood_samples", evaluation.largest_k, "at least"),
        ("samples", 2 * evaluation.largest_k, "at least twice"),
    ):
        if (value := getattr(evaluation, name)) < least:
            yield f"evaluation.{name}={value}", f"must be {told} evaluation.largest_k={evaluation.largest_k}"
