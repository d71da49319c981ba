"""PASS@(k,T): does reinforcement learning widen what an agent can do? (arXiv 2604.14877)

The experiment: warm-start a base, train it with GRPO on comparison and bridge questions, and ask base and trained
policy the same test questions n times at every cap T on search rounds. PASS@(k,T) is the chance that at least one of
k episodes with at most T rounds is right. `static` questions (category A) need no search and are never trained on;
`comparison` (B) takes two independent searches; in `bridge` (C) the second search depends on what the first one
found.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reproduce.claims.grid import Records
from reproduce.claims.record_checks import read_grid_records
from reproduce.core.config import (
    EvaluationConfig,
    PanelConfig,
    PolicyConfig,
    RunConfig,
    TrainingConfig,
    WarmStartConfig,
)
from reproduce.core.settings import ExperimentConfig
from reproduce.cost.gpu_profile import ONE_GPU, larger_policy, slower_training, slower_warm_start
from reproduce.cost.profile import paper_profile
from reproduce.papers.pass_kt.claims import CLAIMS, KEY, positive_controls
from reproduce.papers.pass_kt.figures import draw as draw_figures
from reproduce.papers.pass_kt.power import planned_effects
from reproduce.papers.pass_kt.tables import further_sections
from reproduce.report.appendix import policy_text, seeds_text, tasks_text

__all__ = [
    "ARMS",
    "ARXIV",
    "CLAIMS",
    "DEVIATIONS",
    "KEY",
    "PROFILES",
    "SUMMARY",
    "TITLE",
    "draw_figures",
    "further_sections",
    "plan",
    "planned_effects",
    "positive_controls",
]

TITLE = "Does RL Expand the Capability Boundary of LLM Agents? A PASS@(k,T) Analysis"
ARXIV = "2604.14877"
SUMMARY = (
    "PASS@(k,T) is the chance that at least one of k independent episodes, each with at most T tool rounds, ends with "
    "the right answer. The paper compares a language model before and after GRPO over a grid of k and T and reads a "
    "gap that widens with k as new capability. Here the same comparison is made for several seeds, each with its own "
    "base, with an interval for every number and a test for every claim."
)
DEVIATIONS = (
    "The policy is a small decoder trained from scratch on generated questions, not Qwen2.5-7B-Instruct on HotPotQA "
    "and MATH-500; verdicts are about the mechanism at this size.",
    "The body of the paper was not read: its numbers and settings come from third-party digests, as marked in the "
    "published numbers.",
    "Bridge and comparison questions are asked of a generated knowledge base with ten paragraphs a question "
    "(HotPotQA's distractor setting); static questions are arithmetic modulo ten.",
    "Success differs between questions because the demonstrators of the warm start read some phrasings reliably and "
    "misread others in a fixed way; the bed was fixed from the base alone.",
    "Several seeds, each with its own base, instead of one checkpoint; n is twice the paper's 64, so that PASS@64 has "
    "a variance.",
    "At laptop size a category has 200 test questions, twice the paper's 100 but fewer than the 300 our specification "
    "asks of a single checkpoint; 8 seeds share them, and `full` has 300.",
    "GRPO's learning rate, batch and loss normalisation are unstated in the paper; ours are in the configuration "
    "table. Advantages use the Bessel-corrected standard deviation (TRL).",
    "The forced answer is announced by the word `closed`; the prompt never shows T.",
    "The arms SFT and RL with an exploration bonus, and the mechanism analyses (perplexity split, strategies, swaps), "
    "are not part of this experiment yet.",
    "Refutation is a test of an effect of at least the smallest of interest, corrected over claims and their parts, "
    "not an interval that merely includes zero, so that a small study cannot refute by lack of power.",
    "`beyond-self-null` tests the net of questions gained and lost, over all splits of the base's episodes, where the "
    "specification counts gained questions alone: any symmetric reshuffling of success rates gains some.",
    "`crossing-small-k` tests the two signs between which the curves cross, in the place of a bootstrap of the "
    "crossing, which has no p.",
    "Superiority is tested by sign flips over seeds, the unit of a claim about RL, where the specification of a single "
    "checkpoint flips questions; intervals take seeds and questions as random.",
    "`rounds-unlock` is partly built into the bed: after one search the demonstrators answer with what they found and "
    "never guess the second hop, so that PASS(k,1) on bridge questions is near zero.",
    "A first laptop run with a higher learning rate was seen on another set of test questions; the learning rate was "
    "then chosen on validation questions and the test questions replaced (reports/LOG.md).",
)
ARMS = {
    "base": "the warm-started policy, evaluated only",
    "grpo": "the base of the same seed, trained with GRPO on the training panel",
}

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
        warm_start=slower_warm_start(WarmStartConfig()),
        training=slower_training(TrainingConfig()),
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


def read_records(folder: Path) -> Records:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_grid_records(folder, KEY, ARMS)


def scope(records: Records) -> str:
    """Sizes of the experiment, for the report's first page."""
    experiment, panels = records.experiment, records.experiment["panels"]
    return (
        f"{policy_text(experiment, experiment['policy'])}, on {tasks_text(panels, 'generated questions')}; "
        f"{seeds_text(experiment, experiment['seeds'])}; {panels['test_per_category']} test questions a "
        f"category; {experiment['evaluation']['samples']} episodes for each policy, question and T."
    )
