"""The tokens of an episode as the model itself reads it, where tasks are generated and the model is on this machine."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from reproduce.core.config import EvaluationConfig, PanelConfig
from reproduce.core.files import UserError
from reproduce.cost.paper_scale import EpisodeEntry

if TYPE_CHECKING:
    from reproduce.core.config import RunConfig


def measured_episode(run: RunConfig) -> EpisodeEntry | None:
    """The longest prompt and the longest observation of the expert's episodes on one task of each category, with every
    round used and every action filled: an upper bound in rounds and actions, ours.

    None for the policies made here, for official data (whose episodes the paper's file describes), and where the model
    is not here.
    """
    if not run.model.name or run.panels.source:
        return None
    last = isinstance(run.evaluation, EvaluationConfig)
    panels = (
        replace(run.panels, train_per_category=1, test_per_category=1, ood_per_depth=0)
        if isinstance(run.panels, PanelConfig)
        else replace(run.panels, train=1, test=1, ood=1)
    )
    found = _lengths(run.environment, panels, run.model.name, run.model.format)
    if found is None:
        return None
    prompt, observation = found
    # The horizon counts rounds; a grid over caps asks for a final answer after them.
    turns = run.rounds + last if observation else 1
    return EpisodeEntry(
        run.environment,
        prompt,
        turns * run.sampling.longest_action,
        turns * observation,
        turns,
        "measured on generated tasks",
        "ours",
    )


@lru_cache(maxsize=16)
def _lengths(name: str, panels: Any, model: str, format: str) -> tuple[int, int] | None:
    """Tokens of the longest prompt, and of the longest text that the environment writes in a turn (0 where an episode
    has one)."""
    from reproduce.environments.beds import load_bed
    from reproduce.rollouts import open_text
    from reproduce.rollouts.formats import SEVERAL_LINES
    from reproduce.rollouts.model_files import open_tokenizer
    from reproduce.rollouts.models import end_tokens, find_model

    bed = load_bed(name)
    try:
        folder = find_model(model)
        ends, several = end_tokens(folder), name in SEVERAL_LINES
        text = open_text(open_tokenizer(folder), format, bed.INSTRUCTIONS, ends, several)
    except UserError:
        return None
    environment = bed.environment(panels, text.full_texts)
    prompts, observations = [0], [0]
    for task in bed.panels(panels)["train"].tasks:
        prompts.append(len(text.prompt(environment.reset(task))))
        observations += [len(text.reply(written)) for written in _observations(name, environment, task)]
    return max(prompts), max(observations)


def _observations(name: str, environment: Any, task: Any) -> Iterator[str]:
    """What the environment answers to the expert, but for the end of the episode."""
    history: tuple[str, ...] = ()
    for command in importlib.import_module(f"reproduce.environments.{name}").solve(task):
        word, _, rest = command.partition(" ")
        action = f"<{word}>{rest}</{word}>" if name == "retrieval" else command
        observation = environment.step(task, history, action)
        if observation.done:
            return
        history += (action,)
        yield observation.text
