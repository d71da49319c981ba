"""The coverage law in practice: resets of the base's failed chains with few decisive steps.

The theorem resets to a state, takes one action at random and follows the policy. The method samples the whole rest of
the chain anew, so a reset anywhere before the error can correct it. The probe measures what that leaves of the law: how
often a group of suffixes has signal, after a reset at the true first error and after one at a random step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from methods.resets import Request
from reproduce.core.files import write_parquet
from reproduce.environments.reasoning import DECISIVE, ReasoningTask, build_panels, first_wrong_step
from reproduce.environments.reasoning.bed import OPERATIONS
from reproduce.papers.resets.arms import ResetSettings
from reproduce.papers.resets.chains import line_break_of
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.continuation import EpisodeChains
from reproduce.training.train import Setting

FRESH, SUFFIXES, LONGEST = 8, 4, 20
"""Chains from each prompt, suffixes from each reset, most steps of a chain."""
PROBE = "probe"


def write_probe(setting: Setting, method: ResetSettings, folder: Path) -> None:
    """Probe the base with `method.probe_tasks` chains of each coverage and write `probe.parquet`, one row a coverage
    and rule: groups of suffixes, those with signal, suffixes right.

    The model samples for itself: an engine beside it starts with the trainer, which does not exist yet.
    """
    count, given = method.probe_tasks, setting.sampler
    sampler = EpisodeSampler(setting.model, setting.tokenizer, given.environment, given.config, given.text)
    panels = build_panels(count, 0, 0, tiers=(), ood_tiers=(), decisive=DECISIVE, operations=OPERATIONS)
    tasks = panels["train"].tasks
    chains: EpisodeChains[ReasoningTask] = EpisodeChains(sampler, tasks, line_break_of(sampler.text))
    chains.begin(f"{setting.name} probe")
    prompts = [tuple(sampler.prompt_ids(task)) for task in tasks]
    asked = [Request(place, draw, ids, (), LONGEST) for place, ids in enumerate(prompts) for draw in range(FRESH)]
    generator = np.random.default_rng(setting.config.seed)
    requests, categories, rules = list[Request](), list[str](), list[str]()
    for request, chain in zip(asked, chains(asked), strict=True):
        if chain.correct or not chain.steps:
            continue
        task = tasks[request.place]
        found = first_wrong_step(task, chains.steps_of(chain))
        truth = chain.steps if found is None else min(found + 1, chain.steps)
        for rule, step in (("random", int(generator.integers(1, chain.steps + 1))), ("targeted", truth)):
            first = FRESH + len(requests)
            requests += [
                Request(request.place, first + draw, request.prompt_ids, chain.prefix(step), LONGEST - step + 1)
                for draw in range(SUFFIXES)
            ]
            categories.append(task.category)
            rules.append(rule)
    right = np.array([chain.correct for chain in chains(requests)], dtype=int).reshape(-1, SUFFIXES).sum(axis=1)
    groups = pd.DataFrame(
        {
            "category": categories,
            "rule": rules,
            "groups": 1,
            "mixed": ((right > 0) & (right < SUFFIXES)).astype(int),
            "corrected": right,
        }
    )
    sums = groups.groupby(["category", "rule"], sort=True).sum().reset_index()
    write_parquet(pa.Table.from_pandas(sums, preserve_index=False), folder / f"{PROBE}.parquet")
