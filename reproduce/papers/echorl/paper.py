"""EchoRL: does the echoed high-entropy prefix of a success help, and is it the entropy? (arXiv 2605.31228)

The experiment: warm-start a base, train it with GRPO and with GRPO plus the echo, with every other choice of clip that
could explain a gain, and with the other remedies for groups whose rewards are all equal.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reproduce.claims.record_checks import read_method_records
from reproduce.claims.records import MethodRecords
from reproduce.core.config import RunConfig
from reproduce.core.files import read_parquet
from reproduce.papers.echorl.claims import CLAIMS
from reproduce.papers.echorl.controls import positive_controls
from reproduce.papers.echorl.design import ARMS, KEY, PROFILES
from reproduce.papers.echorl.figures import draw as draw_figures
from reproduce.papers.echorl.identities import IDENTITIES
from reproduce.papers.echorl.measures import REASONING, trained_arms
from reproduce.papers.echorl.plan import plan
from reproduce.papers.echorl.power import planned_effects
from reproduce.papers.echorl.sections import further_sections
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

TITLE = "EchoRL: Reinforcement Learning via Rollout Echoing"
ARXIV = "2605.31228"
SUMMARY = (
    "Where every episode of a group succeeds, GRPO has no gradient. EchoRL adds the negative log-likelihood of one "
    "clip a group: the prefix of a success that ends with the step of highest mean entropy, at a weight of 0.001. The "
    "paper reports gains on mathematics and reads them as entropy pointing at what is worth repeating. Here the echo "
    "is set against the same loss on other clips of the same successes, and against other remedies, at the published "
    "weight and at one where the echo is not negligible beside the policy gradient."
)
DEVIATIONS = (
    "The policy is a small decoder trained from scratch on generated tasks, not Qwen2.5-Math-7B on competition "
    "mathematics; verdicts are about the mechanism at this size.",
    "The body of the paper was not read: abstracts, the authors' scripts and a digest that carries the formulas were. "
    "The released code does not contain the method, so every choice it leaves open is a switch.",
    "The base loss is GRPO with advantages divided by the group's deviation and a mean over each episode's tokens; the "
    "released configuration does neither (Dr. GRPO is an arm). The entropy bonus, 0.001 in the paper's two arms, is "
    "off here and an arm of its own.",
    "`final-accuracy` and `vs-remedies` are tested at the published weight, and refuted only if a weight of 0.1 fails "
    "as well: at 0.001 the echo may be too small to test the idea.",
    "Claims about the choice of clip are tested at a weight of 0.1; at 0.001 the same comparisons are details.",
    "A gain whose interval lies above 0 is not refuted for being smaller than a point.",
    "Where the plan has no placebo, GRPO stands for it: that they are equal bit for bit is an identity, tried anew for "
    "every report.",
    "Every test over seeds is an exact sign-flip of the seeds' means, where the specification has a paired t or a "
    "bootstrap; Holm corrects all p-values of a profile as one family, not the primary claims alone. At the first step "
    "of a family of more than six, eight seeds need all signs alike (p = 1/256), so that 80 % power takes an effect of "
    "about 1.92 standard deviations of a seed's difference. `plan` shows it in points.",
    "`late-dose` needs a level with more than 60 % all-success groups at the start, and takes the categories of one "
    "training as its levels, so that dose, difficulty and the ceiling are confounded: the laptop does not test it.",
    "`vs-remedies` takes the largest p of its rivals (all must be beaten) in place of a Holm correction over six. The "
    "laptop trains three of the six (GRPO, RL-ZVP, NLL of successes) and does not test it; the report shows them.",
    "`ood-transfer` is a difference of two gains that eight seeds cannot power; the laptop shows the gains only. In "
    "this bed it stands on a floor: answers are modulo ten, and out of distribution base and GRPO alike answer one "
    "chain in ten right (reports/LOG.md).",
    "`entropy-side-effect` takes the larger of two p-values, and shows PASS at one k where the specification has k "
    "from 1 to 64.",
    "`peak-selection` decides on argmax against random; that random is about argmin is a detail without a test, and "
    "clips differ in length besides: the length-matched arm is in the full profile alone.",
    "`restored-gradient` has 7 measured steps a seed on the laptop (every fifth step), where the specification has at "
    "least 20; tasks of training are a pool of 96 there, not of 256 and more; arms are compared in 8 pairs, not 10.",
    "`short-step-bias` pools the clips of the seeds' frozen bases, one policy a seed, where the specification has 500 "
    "groups of one policy.",
    "Training and evaluation both sample at a temperature of 0.7; there is no greedy evaluation.",
    "`robustness` has an episode as one step for the other splitter: the tasks have one newline token, so that "
    "splitting by id and by text are the same.",
    "The learning rate was chosen for GRPO alone; every arm uses it.",
    "All-success groups of the easy tier hold 1.0 to 1.1 distinct texts each, and the policy's entropy is about 0.04 "
    "nats at the end of training: choices of clip hardly differ there, so that small effects of the choice say little "
    "about larger policies.",
    "Memory is benchmarked apart, in one process for each trainer: a worker takes several runs, and its peak never "
    "falls.",
    "`late-dose` and `vs-remedies` compare arms after equally many steps; dynamic sampling pays for its extra rollouts "
    "in the tables of costs, and equal costs are compared by the reward in training.",
    "`unselected-null` counts every episode as a success: success is a selection too. Its deciding prefix has a length "
    "drawn beforehand, for a length that depends on the text is a selection as well.",
    "`step-deletion` matches the number and the positions of deleted lines, not their tokens; solutions without "
    "another of as many lines are left out. `golden-entropy` calls the traces alike where two one-sided tests do.",
    "`step-deletion` and `golden-entropy` use the base's own solutions and the generated expert's, not DeepSeek-R1's.",
    "The other policy of `golden-entropy` is the demonstrator that the base of the seed was made from.",
    "Demonstrations enter as one expert episode in each group with the advantage of a success, without LUFFY's shaping "
    "of the ratio.",
    "In countdown an episode has several actions and an action is a step; in reasoning a line is.",
    "ExGRPO's arm echoes successes of the same batch, without replay; VAPO's has no value model.",
    "Success is the mean over sampled episodes at the training temperature.",
)
TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/mixed",
    "groups/all_right",
    "groups/resampling_rounds",
    "entropy",
    "policy/entropy",
    "grad_norm",
    "step_time",
    "completions/mean_length",
    "tokens/sampled",
    "tokens/trained",
    "episodes/sampled",
    "gradient/policy",
    "gradient/echo",
    "gradient/echo_all_right",
    "echo/loss",
    "echo/groups_with_clip",
    "echo/clip_tokens",
    "echo/clip_share",
    "echo/step_tokens",
    "echo/step_entropy",
    "echo/short_steps",
    "echo/short_steps_of_pool",
    "echo/first_steps",
)
TABLES = ("projections", "deletion", "golden")
"""What the frozen arm writes beside its log."""


def measure_tasks(config: RunConfig, episodes: pd.DataFrame) -> None:
    """No sums of tasks beside the common ones."""
    return


def further_records(config: RunConfig, folder: Path, episodes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the frozen base, where the run has them."""
    found = {name: folder / f"{name}.parquet" for name in TABLES}
    return {name: read_parquet(path).to_pandas() for name, path in found.items() if path.exists()}


def read_records(folder: Path) -> MethodRecords:
    """The records in a folder, checked. Raises UserError naming file and lack."""
    return read_method_records(folder, KEY)


def scope(records: MethodRecords) -> str:
    """Sizes of the experiment, for the report's first page."""
    bed = records.experiment[REASONING]
    tasks = records.success(REASONING, "base").shape[1]
    more = " and number puzzles" if records.has("countdown", "grpo") else ""
    return (
        f"{policy_text(records.experiment, bed['policy'], REASONING)}, on "
        f"{tasks_text(bed['panels'], 'generated chains of arithmetic')}{more}; "
        f"{seeds_text(records.experiment, records.seeds)}; {tasks} test tasks in reasoning, "
        f"{bed['evaluation']['samples']} episodes for each policy and task; "
        f"{len(trained_arms(records, REASONING))} trained arms."
    )
