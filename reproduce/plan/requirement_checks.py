"""Find what an experiment needs and is not here: said by `plan`, and by `run` before anything starts.

Nothing heavy is imported for an experiment of tiny policies on the CPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reproduce.core.config import CHAT, COLOCATE, SERVER, VLLM, RunConfig
from reproduce.core.files import UserError
from reproduce.cost.architecture import architecture_of, context_of, describe, field_of, presence
from reproduce.cost.estimate import evaluation_bytes, run_memory
from reproduce.cost.memory_checks import gpu_memory, too_little_host_memory
from reproduce.cost.paper_scale import load_paper_scale
from reproduce.cost.profile import PAPER
from reproduce.environments.beds import load_bed, task_counts
from reproduce.training.checks import check_training
from reproduce.training.server_checks import check_server

if TYPE_CHECKING:
    from reproduce.plan.experiment import Experiment


def check_requirements(experiment: Experiment, devices: bool = True, at_once: int = 1) -> None:
    """Raise UserError, in one line, for the first that is missing, with how many there are and what lists them.

    devices, at_once: as in `missing`.
    """
    found = missing(experiment, devices, at_once)
    if len(found) > 1:
        key, profile = experiment.paper.key, experiment.config.profile
        raise UserError(
            f"{found[0]} ({len(found) - 1} more missing: `python -m reproduce plan {key} --profile {profile}` and the "
            "same settings list all)"
        )
    if found:
        raise UserError(found[0])


def missing(experiment: Experiment, devices: bool = True, at_once: int = 1) -> list[str]:
    """Everything that the experiment needs and that is not here, a line each; empty where it can start.

    devices: whether the runs have those of this machine; if not, GPUs, memory and engines are left to who has them.
    at_once: runs that go at one time on this machine.
    """
    return list(dict.fromkeys(_missing(experiment, devices, at_once)))


def _missing(experiment: Experiment, devices: bool, at_once: int) -> Iterator[str]:
    config = experiment.config
    runs = _one_of_each_environment(experiment)
    yield from _missing_model(config)
    if devices:
        yield from _missing_devices(config, experiment.plan, at_once)
        yield from _missing_engines(config)
        for run in experiment.plan:
            yield from _refusals(lambda run=run: check_training(run))
    for run in runs:
        lacks = list(_missing_data(run)) or list(_refusals(lambda run=run: check_text_of(run)))
        yield from lacks
        # What a folder is to hold is told also where there is no folder; one command to get it is enough.
        if config.profile == PAPER and not any("download" in line for line in lacks):
            yield from _missing_parts(experiment, run.environment)


def _missing_data(run: RunConfig) -> Iterator[str]:
    """Files that the source of a run lacks, or parts of them."""
    if run.panels.source and not run.model.name:
        yield f"{run.panels.source}: a policy made here does not know its words; name a model with --model"
    bed = load_bed(run.environment)
    lacks = list(_refusals(lambda: bed.check_source(run.panels)))
    yield from lacks or _refusals(lambda: task_counts(run.environment, run.panels))


def _missing_parts(experiment: Experiment, environment: str) -> Iterator[str]:
    """Data sets of the paper that the source of an environment lacks."""
    for entry in load_paper_scale(experiment.paper.key).data:
        if entry.environment == environment and presence(entry, experiment.config) == "no":
            source = field_of(experiment.config, entry.setting)
            files = f" ({' or '.join(entry.files)})" if entry.files else ""
            yield f"{source}: {entry.name} is not there{files}; get it with: {entry.get}"


def _one_of_each_environment(experiment: Experiment) -> list[RunConfig]:
    return list({run.environment: run for run in reversed(experiment.plan)}.values())


def _refusals(check: Any) -> Iterator[str]:
    """The message of a check that refuses."""
    try:
        check()
    except UserError as error:
        yield str(error)


def _missing_model(config: Any) -> Iterator[str]:
    if not config.model.name:
        if config.model.format == CHAT:
            yield "model.format=chat: policies made here have no chat template; leave it out or name a model"
        return
    try:
        description = describe(config.model.name)
    except UserError as error:
        yield str(error)
        return
    if config.model.format == CHAT and not description.has_chat_template:
        yield f"model {config.model.name}: no chat template, which model.format=chat needs; set model.format=text"


def _missing_devices(config: Any, runs: tuple[RunConfig, ...], at_once: int) -> Iterator[str]:
    hardware = config.hardware
    if hardware.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "no GPU: torch finds none for hardware.device=cuda; use a machine with one or set hardware.device=cpu"
            return
        if hardware.processes > torch.cuda.device_count():
            yield f"hardware.processes={hardware.processes}: there are {torch.cuda.device_count()} GPUs"
        if config.model.name and (memory := gpu_memory()) is not None:
            yield from _too_little_memory(config, runs, *memory)
    elif config.model.name and (model := architecture_of(config)) is not None:
        yield from too_little_host_memory(runs, model, context_of(config), at_once)


def _too_little_memory(config: Any, runs: tuple[RunConfig, ...], free: float, total: float) -> Iterator[str]:
    """GPU memory of the most demanding training and evaluation against what is free
    and there in all on a GPU here."""
    model = architecture_of(config)
    if model is None or not config.model.name:
        return
    context = context_of(config)
    trained = [run_memory(run, model, context) for run in runs if run.training is not None]
    share = config.hardware.vllm_memory if config.hardware.training_engine == COLOCATE else 0.0
    needed = max((needs.training for needs in trained), default=0.0)
    if needed > free - share * total:
        beside = f" and vLLM takes {share * total / 1e9:.0f} GB of it" if share else ""
        yield (
            f"GPU memory: training needs about {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free on a GPU "
            f"here{beside}; set fewer hardware.rows_at_once, model.lora_rank, hardware.gradient_checkpointing, or more "
            "processes with hardware.accelerate_config=fsdp"
        )
    sampling = max((needs.sampling for needs in trained), default=0.0)
    if sampling > share * total:
        yield (
            f"GPU memory: vLLM needs {sampling / 1e9:.0f} GB in training, hardware.vllm_memory={share:g} of a GPU here "
            f"is {share * total / 1e9:.0f} GB"
        )
    evaluated = max((evaluation_bytes(run, model, context) for run in runs), default=0.0)
    if evaluated > free:
        yield f"GPU memory: evaluation needs {evaluated / 1e9:.0f} GB, {free / 1e9:.0f} GB are free on a GPU here"


def _missing_engines(config: Any) -> Iterator[str]:
    hardware = config.hardware
    in_training = hardware.training_engine in (COLOCATE, SERVER)
    if hardware.engine == VLLM or in_training:
        engine = importlib.import_module("reproduce.rollouts.vllm_engine")
        yield from _refusals(lambda: engine.check_vllm(hardware.device))
    if hardware.training_engine == SERVER:
        yield from _refusals(lambda: check_server(hardware.vllm_server))
    if in_training and hardware.device == "cpu":
        yield (
            f"hardware.training_engine={hardware.training_engine} needs a GPU: vLLM for CPUs cannot take new weights; "
            "set hardware.training_engine=transformers"
        )


def check_text_of(run: RunConfig) -> None:
    """Hold the tasks of a run against the named model, where it is here. Raises UserError."""
    from reproduce.plan.text_checks import check_texts
    from reproduce.rollouts.models import find_model

    if run.model.name and not list(_missing_model(run)):
        found = describe(run.model.name)
        check_texts(run, find_model(run.model.name), found.vocabulary, found.context)
