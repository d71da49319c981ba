"""PASS@(k,T): does reinforcement learning widen what an agent can do? (arXiv 2604.14877)

The experiment: warm-start a base, train it with GRPO on comparison and bridge questions, and ask base and trained policy the same
test questions n times at every cap T on search rounds. PASS@(k,T) is the chance that at least one of k episodes with at
most T rounds is right. `static` questions (category A) need no search and are never trained on; `comparison` (B) takes two
independent searches; in `bridge` (C) the second search depends on what the first one found.
"""

from __future__ import annotations

from dataclasses import replace

from reproduce.evaluation import EvaluationConfig
from reproduce.experiment import ExperimentConfig
from reproduce.policies import PolicyConfig
from reproduce.runs import PanelConfig, RunConfig
from reproduce.training import TrainingConfig
from reproduce.warm_start import WarmStartConfig

KEY = "pass_kt"
TITLE = "Does RL Expand the Capability Boundary of LLM Agents? A PASS@(k,T) Analysis"
ARXIV = "2604.14877"
ARMS = {
    "base": "the warm-started policy, evaluated only",
    "grpo": "the base of the same seed, trained with GRPO on the training panel",
}

PROFILES: dict[str, ExperimentConfig] = {
    "laptop": ExperimentConfig(profile="laptop"),
    "smoke": ExperimentConfig(
        profile="smoke",
        seeds=2,
        panels=PanelConfig(train_per_category=4, test_per_category=4, ood_per_depth=2),
        policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64),
        warm_start=WarmStartConfig(steps=30, drill_steps=10, batch_size=16),
        training=TrainingConfig(epochs=2, questions_per_step=4, save_every=2),
        evaluation=EvaluationConfig(samples=8, largest_k=4, self_null_samples=8, ood_samples=8, questions_at_once=2),
    ),
}


def plan(config: ExperimentConfig) -> tuple[RunConfig, ...]:
    """Every run of the experiment: for each seed the base, then the arm trained from it."""
    runs = []
    for seed in range(config.seeds):
        base = RunConfig(
            paper=KEY,
            profile=config.profile,
            environment="retrieval",
            arm="base",
            seed=seed,
            panels=config.panels,
            policy=config.policy,
            warm_start=config.warm_start,
            training=None,
            sampling=config.sampling,
            evaluation=config.evaluation,
        )
        runs += [base, replace(base, arm="grpo", training=config.training)]
    return tuple(runs)
