"""Whether prompts leave room for an action, before hours are spent on the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reproduce.core.files import UserError
from reproduce.rollouts.protocol import Sampler


def check_room(sampler: Sampler, tasks: Sequence[Any]) -> None:
    """Raise UserError, with the first of them, for tasks whose prompts leave no room for a whole action."""
    longest_action, limit = sampler.config.longest_action, sampler.limit
    lengths = [len(sampler.prompt_ids(task)) for task in tasks]
    beyond = [place for place, length in enumerate(lengths) if length + longest_action > limit]
    if beyond:
        first = beyond[0]
        raise UserError(
            f"training task {tasks[first].identifier}: its prompt has {lengths[first]} tokens, which leave no room "
            f"for an action of {longest_action} in {limit} positions ({len(beyond)} of {len(tasks)} tasks); set "
            "a smaller sampling.longest_action or a larger vllm_max_model_length, or leave these tasks out"
        )
