"""The experiment on PASS@(k,T): arms, sizes and runs."""

from __future__ import annotations

from dataclasses import replace

from reproduce.core.config import (
    EvaluationConfig,
    PanelConfig,
    PolicyConfig,
    RunConfig,
    TrainingConfig,
    WarmStartConfig,
)
from reproduce.core.paper import Arm
from reproduce.core.settings import ExperimentConfig
from reproduce.cost.profile import ONE_GPU, larger_policy, paper_profile, slower
from reproduce.report.colours import BASE, TRAINED

KEY = "pass_kt"
ARMS = {
    "base": Arm(
        "base",
        "the warm-started policy, evaluated only",
        look={"color": BASE, "marker": "o", "linestyle": "-", "markersize": 5},
    ),
    "grpo": Arm(
        "trained (GRPO)",
        "the base of the same seed, trained with GRPO on the training panel",
        look={"color": TRAINED, "marker": "s", "linestyle": "--", "markersize": 3},
    ),
}
"""The base's marks are larger, so that equal curves show both."""

PROFILES: dict[str, ExperimentConfig] = {
    "laptop": ExperimentConfig(profile="laptop"),
    "full": ExperimentConfig(
        profile="full", seeds=12, panels=PanelConfig(train_per_category=100, test_per_category=300, ood_per_depth=100)
    ),
    "smoke": ExperimentConfig(
        profile="smoke",
        seeds=2,
        panels=PanelConfig(train_per_category=4, test_per_category=4, ood_per_depth=2),
        policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64),
        warm_start=WarmStartConfig(steps=30, drill_steps=10, batch_size=16),
        training=TrainingConfig(epochs=2, questions_per_step=4, save_every=2),
        evaluation=EvaluationConfig(samples=8, largest_k=4, ood_samples=8, questions_at_once=2),
    ),
    "gpu": ExperimentConfig(
        profile="gpu",
        policy=larger_policy(PolicyConfig()),
        warm_start=slower(WarmStartConfig()),
        training=slower(TrainingConfig()),
        evaluation=EvaluationConfig(questions_at_once=32),
        hardware=ONE_GPU,
    ),
    "paper": paper_profile(KEY, ExperimentConfig()),
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
            model=config.model,
            hardware=config.hardware,
        )
        runs += [base, replace(base, arm="grpo", training=config.training)]
    return tuple(runs)
