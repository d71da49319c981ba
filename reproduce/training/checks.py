"""Settings of training that cannot be had, found before anything starts. Loads no model code they do not ask for."""

from __future__ import annotations

from collections.abc import Iterable

from reproduce.core.config import TRANSFORMERS, RunConfig
from reproduce.core.files import UserError
from reproduce.core.paper import load_paper
from reproduce.training.argument_checks import check_arguments
from reproduce.training.arguments import adapters, batch_arguments, check_own_arguments, check_tracker, named_arguments
from reproduce.training.launch import accelerate_settings, by_accelerate


def check_training(config: RunConfig) -> None:
    """Raise UserError, in one line, for settings of a run's training that do not go together, are unknown, or need what
    is not installed. A run that is only evaluated has none."""
    training, hardware = config.training, config.hardware
    if training is None:
        return
    check_tracker(hardware.report_to)
    named_arguments(training.arguments)
    check_own_arguments(config)
    batch_arguments(training, hardware, config.updates)
    adapters(config.model)
    check_processes(config)
    check_arguments(config)
    if by_accelerate(config):
        accelerate_settings(hardware.accelerate_config)
    if hardware.accelerate_config and config.model.lora_rank and not config.model.name:
        raise UserError(
            "hardware.accelerate_config with model.lora_rank: adapters of a policy made here are merged when saved, "
            "which spread weights cannot be; set model.lora_rank=0"
        )
    if hardware.training_engine != TRANSFORMERS or hardware.accelerate_config:
        from reproduce.training.engines import check_engine

        check_engine(config)


def lines_on_processes(runs: Iterable[RunConfig]) -> list[str]:
    """What to know of runs that train something else in several processes than in one, a line for each such number of
    updates; empty where there are none.

    With several optimiser steps on a batch TRL draws the rows of each step at random within every process: which rows
    meet in a step depends on the number of processes, as it does on the seed. One step on a batch takes all its rows,
    so that there the number of processes changes nothing but roundings.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for run in runs:
        updates, processes = run.updates, run.hardware.processes
        if run.training is not None and updates > 1 and processes > 1:
            arms = found.setdefault((updates, processes), [])
            if run.arm not in arms:
                arms.append(run.arm)
    return [
        f"{', '.join(arms)}: {updates} updates on a batch in {processes} processes: each process draws the rows of an "
        "update from its own, so that another number of processes trains on a batch in another order"
        for (updates, processes), arms in found.items()
    ]


def check_processes(config: RunConfig) -> None:
    """Raise UserError where several processes would train on other episodes than one. Where they train on a batch in
    another order, `lines_on_processes` tells."""
    if load_paper(config.paper).arms[config.arm].resamples and config.hardware.processes > 1:
        raise UserError(
            f"{config.arm}: dynamic sampling fills the batch of each process from its own groups, so what comes out "
            "depends on their number; set hardware.processes=1"
        )
