"""Check that a named model can read the tasks of a run: its chat template, its vocabulary, its context length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError
from reproduce.environments.beds import load_bed

PROMPTS = 8
"""Most tasks that are written out."""


def check_texts(run: RunConfig, folder: Path, vocabulary: int, context: int) -> None:
    """Write the first training tasks as the model at `folder` reads them. Raises UserError, in one line, where its
    format fails, a token lies beyond its vocabulary, or a prompt leaves no room for an action."""
    from reproduce.rollouts.formats import open_episodes
    from reproduce.rollouts.model_files import open_tokenizer
    from reproduce.rollouts.models import end_tokens

    tokenizer = open_tokenizer(folder)
    if not end_tokens(folder) and tokenizer.eos_token_id is None:
        raise UserError(f"model {run.model.name}: no token ends its texts (no eos_token_id); copy it whole")
    try:
        environment, text = open_episodes(run, tokenizer, end_tokens(folder))
        prompts = [text.prompt(environment.reset(task)) for task in first_tasks(run)]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"model {run.model.name}: cannot be shown a task of {run.environment} ({reason})") from None
    if (largest := max(max(prompt) for prompt in prompts)) >= vocabulary:
        raise UserError(
            f"model {run.model.name}: its tokenizer is of another model, it gives token {largest} where there are "
            f"{vocabulary}; copy it whole"
        )
    longest, action = max(map(len, prompts)), run.sampling.longest_action
    if longest + action > context:
        raise UserError(
            f"model {run.model.name}: a task of {run.environment} has {longest} tokens and an action up to {action} "
            f"(sampling.longest_action), more than its context length of {context}; take a model with a longer one or "
            "a smaller sampling.longest_action"
        )


def first_tasks(run: RunConfig) -> list[Any]:
    """A few training tasks; of generated ones, whose panels can take minutes, those of the smallest panels."""
    panels = run.panels if run.panels.source else run.panels.smallest()
    return list(load_bed(run.environment).panels(panels)["train"].tasks[:PROMPTS])
