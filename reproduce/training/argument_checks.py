"""Values of `training.arguments` that TRL would refuse only when a training begins, or in the middle of it."""

from __future__ import annotations

from pathlib import Path

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.training.arguments import named_arguments, resolved, shared_arguments

CHOICES = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "scale_rewards": ("group", "batch", "none"),
}
"""What `GRPOTrainer` compares these with; it takes any other for one of them, or fails after the first batch."""


def check_arguments(config: RunConfig) -> None:
    """Build the `GRPOConfig` of a run that has `training.arguments`. Raises UserError, in one line, where it cannot be.

    What only a GPU allows is left out: this machine may have none.
    """
    if config.training is None or not config.training.arguments:
        return
    named = named_arguments(config.training.arguments)
    for name, choices in CHOICES.items():
        if isinstance(value := named.get(name), str) and value not in choices:
            raise UserError(f"training.arguments: {name}={value}: {nearest(value, choices)}")
    if named.get("num_iterations", 1) < 1:
        raise UserError(f"training.arguments: num_iterations={named['num_iterations']}: must be at least 1")
    from accelerate.state import PartialState

    untouched = not PartialState._shared_state
    arguments = shared_arguments(config, 1, Path("nowhere"), config.updates)
    try:
        resolved(arguments | {"use_cpu": True, "bf16": False, "tf32": None})
    finally:
        # It has taken this process for one that computes on the CPU.
        if untouched:
            PartialState._reset_state()
