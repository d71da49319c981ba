"""RRPO and SRPO: credit assignment with resets (arXiv 2605.25507).

The experiment: train a small policy on chains of arithmetic, one step a line, with GRPO, with random resets (RRPO) and
with resets at the first error (SRPO), and ask how much of a gain is the choice of the step, how much is only that the
reset comes early, and how much is the loss. The exact oracle of the environment stands for the localizer, so that its
quality is set by design.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import superiority
from reproduce.claims.verdicts import Evidence
from reproduce.core.config import (
    DemonstrationConfig,
    HorizonEvaluation,
    PanelSizes,
    PolicyConfig,
    RunConfig,
)
from reproduce.core.files import read_parquet
from reproduce.cost.gpu_profile import ONE_GPU, on_one_gpu
from reproduce.cost.profile import paper_profile
from reproduce.environments.reasoning.bed import BED
from reproduce.papers.resets.checks import check_settings
from reproduce.papers.resets.claims import CLAIMS
from reproduce.papers.resets.experiment import KEY, LAPTOP_BED, TEST_SEED, ResetsConfig
from reproduce.papers.resets.figures import draw as draw_figures
from reproduce.papers.resets.identities import IDENTITIES
from reproduce.papers.resets.measures import CATEGORIES, ENVIRONMENT, gain, trained_arms
from reproduce.papers.resets.power import planned_effects
from reproduce.papers.resets.sections import further_sections
from reproduce.papers.resets.settings import ARMS, SETTINGS, WITH_ORACLE
from reproduce.report.appendix import policy_text, seeds_text, tasks_text

__all__ = [
    "ARMS",
    "ARXIV",
    "CLAIMS",
    "DEVIATIONS",
    "IDENTITIES",
    "KEY",
    "PROFILES",
    "SUMMARY",
    "TITLE",
    "TRAINING_COLUMNS",
    "draw_figures",
    "further_records",
    "further_sections",
    "measure_tasks",
    "plan",
    "planned_effects",
    "positive_controls",
    "read_records",
    "scope",
]

TITLE = "Credit Assignment with Resets in Language Model Reasoning"
ARXIV = "2605.25507"
SUMMARY = (
    "RRPO and SRPO return to a step of a failed chain, sample the rest anew and train on the new suffixes beside plain "
    "chains: RRPO at a random step, SRPO at the step that the policy itself names as its first error. The paper reads "
    "SRPO's gain as credit assignment. Here both are set against GRPO with the same loss, which the paper lacks, and "
    "against random resets at SRPO's own positions, which separate the choice of the step from its earliness."
)
DEVIATIONS = (
    "The policy is a small decoder trained from scratch on generated chains of arithmetic modulo ten, not "
    "Qwen2.5-14B-Instruct or OLMo-3-7B-Instruct on olympiad problems and code; verdicts are about the mechanism at "
    "this size.",
    "On generated chains no arm asks the policy for its first error: word-level policies of this size cannot read such "
    "a prompt. The environment's oracle stands in, exact or degraded. On a data set there is no oracle, and the named "
    "model is asked, by the paper's localizer (`methods.localizers.AskedPolicy`): the arms srpo, srpo_asked_2x4 and "
    "srpo_asked_1x8 then take the places of srpo_degraded, srpo_2x4 and srpo_1x8 in every claim.",
    "The degraded oracle is matched to what the paper's localizer adds to a random step, not to its 12 to 16 % of "
    "exact hits, which would be below chance on chains of five to eight lines: twice as many hits as chance (35 % "
    "against 17 %), at a mean position .63 times that of random resets (published .34 against .54). Its misses are "
    "aimed four steps before the error, within three either way. First errors lie later here than the paper's "
    "reference puts them, so that about nine in ten of its prefixes are clean, where half of the paper's are.",
    "The dose-response has levels of chance, 25, 50, 75 and 100 % of exact hits, for chance, 15, 25, 50 and 100 %: 15 "
    "% is below chance here. Offsets are swept at two values, at 50 %, and not from -4 to +4.",
    "The coverage law reads no run and is judged with the exact identities, against the exact finite-p prediction. "
    "The registered rule, an interval that excludes an exponent of 2, would refute the law where it holds exactly: at "
    "tau/R = .25 and p = 1/2 to 1/16 the exact exponent is 1.89 (reports/LOG.md).",
    "Where a paired t test is registered, p is that of sign flips over seeds, exact for eight seeds whatever the "
    "distribution; intervals are t intervals. `srpo-vs-grpo` is registered with Holm over its two comparisons; here "
    "both must hold, which needs no correction.",
    "The area under the curve is told beside the final score and decides nothing; `speed-up` is decided by generated "
    "tokens alone. Learning curves count four fresh chains of each prompt in every compared arm.",
    "Eight seeds in the laptop profile for the registered twenty; claims that these cannot power, or whose arms they "
    "leave out, are in the full profile only.",
    "The operations are invertible modulo ten, each a permutation of the digits: a wrong intermediate result always "
    "gives a wrong answer unless a second slip mends it. Suffixes after an erroneous prefix are right by such slips "
    "only, where in the paper a model may notice and correct the error.",
    "The sampler in process keeps nothing of the key-value cache between its calls: the prefix of a reset is read "
    "again, once for its four suffixes. vLLM keeps prefixes, where it samples.",
    "Of the controls that the paper lacks, these are absent: the decisive control with an allowance of its own for "
    "suffixes; baselines tuned each by itself; matching on generated tokens and on time, which are only told; resets "
    "of correct chains; prompts filtered by their pass rate.",
    "The learning rate was chosen on GRPO alone, with one seed, and is used for every arm.",
    "One optimiser step a batch in every arm but those of the clip's role, which take the paper's four; with one step "
    "the ratio is 1 and the clip cannot act, in GRPO as published neither.",
    "Success is the mean over sampled episodes at the training temperature, not over one greedy sample.",
    "Learning curves are of independent fresh chains on training prompts. The published curves are of the training "
    "problems too; the published base group would overstate success.",
    "Margins are half of what the paper's Table 3 shows as means over ten benchmarks and both models, fixed before "
    "any run: `rrpo-like-grpo` is registered with half of the SRPO−GRPO effect, which would be a margin chosen by the "
    "data.",
    "`clean-prefix` is tested seed by seed; position is adjusted for by strata of equal chain length and equal step "
    "(Mantel-Haenszel) instead of by a logistic model with a random effect of the prompt.",
    "Chains of at most 20 steps, those of the prefix counted, as published; chains here are shorter by half, so the "
    "cap does not bind and a suffix allowance of its own would change nothing.",
    "Seeds set sampling, order of tasks and initial weights; each seed has its own base.",
)


FULL_BED = replace(
    BED,
    panels=PanelSizes(train=64, test=128, ood=64, test_seed=TEST_SEED, categories=CATEGORIES),
    training=replace(BED.training, epochs=12, questions_per_step=16, save_every=50),
    evaluation=HorizonEvaluation(samples=16, ood_samples=16),
)
SMOKE_BED = replace(
    BED,
    panels=PanelSizes(train=2, test=2, ood=2, categories=CATEGORIES),
    policy=PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, window=4),
    warm_start=DemonstrationConfig(steps=60, batch_size=16, demonstrations=200),
    training=replace(BED.training, epochs=3, questions_per_step=4, save_every=100),
    sampling=replace(BED.sampling, longest_action=32),
    evaluation=HorizonEvaluation(samples=2, ood_samples=2),
)
PROFILES: dict[str, ResetsConfig] = {
    "laptop": ResetsConfig(),
    "full": ResetsConfig(profile="full", seeds=20, arms=WITH_ORACLE, probe_tasks=64, reasoning=FULL_BED),
    "gpu": ResetsConfig(profile="gpu", reasoning=on_one_gpu(LAPTOP_BED), hardware=ONE_GPU),
    "smoke": ResetsConfig(
        profile="smoke", seeds=2, arms=WITH_ORACLE, probe_tasks=2, labelled_steps=1, reasoning=SMOKE_BED
    ),
}
PROFILES["paper"] = paper_profile(KEY, PROFILES["laptop"])
"""All sizes are here, those of the paper in its file of paper scale."""

TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/mixed",
    "groups/all_right",
    "entropy",
    "grad_norm",
    "tokens/sampled",
    "tokens/trained",
    "tokens/generated",
    "chains/generated",
    "resets/share",
    "resets/position",
    "localization/exact",
    "localization/clean",
    "localization/deviation",
    "base/success",
    "base/zero_std",
    "suffix/success",
    "suffix/zero_std",
)


def plan(config: ResetsConfig) -> tuple[RunConfig, ...]:
    """Every run of the experiment: for each seed the base, then the arms trained from it.

    Raises UserError for settings that cannot be run or judged.
    """
    check_settings(config)
    bed, runs = config.reasoning, []
    for seed in range(config.seeds):
        base = RunConfig(
            paper=KEY,
            profile=config.profile,
            environment=ENVIRONMENT,
            arm="base",
            seed=seed,
            panels=bed.panels,
            policy=bed.policy,
            warm_start=bed.warm_start,
            training=None,
            sampling=bed.sampling,
            evaluation=bed.evaluation,
            rounds=bed.training.rounds,
            model=config.model,
            hardware=config.hardware,
        )
        runs.append(base)
        for arm in config.arms:
            method = replace(SETTINGS[arm], labelled_steps=config.labelled_steps, localizer=config.localizer)
            if config.updates:
                method = replace(method, updates=config.updates)
            # Decisive chains are generated, and have an oracle.
            if arm == "rrpo" and not bed.panels.source:
                method = replace(method, probe_tasks=config.probe_tasks)
            runs.append(replace(base, arm=arm, training=bed.training, method=method))
    return tuple(runs)


def measure_tasks(config: RunConfig, episodes: pd.DataFrame) -> None:
    """No sums of tasks beside the common ones."""
    return


def further_records(config: RunConfig, folder: Path, episodes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables `steps` and `resets` of a trained run, and `probe` of the run that probed the base."""
    found = {name: folder / f"{name}.parquet" for name in ("steps", "resets", "probe")}
    return {name: read_parquet(path).to_pandas() for name, path in found.items() if path.exists()}


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Evidence], ...]:
    """Each arm learns: its success on the test tiers rises over its base's."""
    return tuple(
        (f"{arm} minus base", superiority(gain(records, arm, "base"), smallest_effect=0.0))
        for arm in trained_arms(records)
    )


def read_records(folder: Path) -> MethodRecords:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_method_records(folder, KEY)


def scope(records: MethodRecords) -> str:
    """Sizes of the experiment, for the report's first page."""
    bed = records.experiment[ENVIRONMENT]
    return (
        f"{policy_text(records.experiment, bed['policy'], ENVIRONMENT)}, on "
        f"{tasks_text(bed['panels'], 'generated chains of arithmetic')}; "
        f"{seeds_text(records.experiment, records.seeds)}; {len(CATEGORIES)} tiers with {bed['panels']['test']} test "
        f"tasks each, {bed['evaluation']['samples']} episodes for each policy and task; {len(trained_arms(records))} "
        "trained arms."
    )
