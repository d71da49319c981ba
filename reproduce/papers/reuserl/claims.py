"""The claims of ReuseRL that need an experiment: section 7 of its specification, fixed before any run.

Each claim's effect has the sign in which the claim is true when it is positive (`reuserl_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Evidence
from reproduce.papers.reuserl.bound import DRAWS, SUCCESSES
from reproduce.papers.reuserl.compressibility import compressibility_evidence
from reproduce.papers.reuserl.experiment import KEY
from reproduce.papers.reuserl.statistics import (
    EASY_MARGIN,
    OOD_MARGIN,
    STRUCTURE_MARGIN,
    bound_coverage,
    buffer_tradeoff,
    cleaner_actions,
    countdown_op_mix,
    easy_env_equivalence,
    irreversible_share,
    length_harms_guarded,
    ood_gain_not_smaller,
    penalties_beat_grpo,
    segcost_avoids_harm,
    segcost_not_shorter,
    starts_as_length,
    structure_matters,
)

ONE_SIDED_LIMIT = "the upper one-sided 95 % limit is at or below 0"


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[MethodRecords], Evidence],
    figures: tuple[str, ...],
    full_only: str = "",
) -> Claim:
    text, provenance = (published, "this project") if published == "none" else quote(KEY, published)
    return Claim(f"{KEY}.{name}", statement, text, provenance, test, refuted_if, examine, figures, full_only)


CLAIMS = (
    _claim(
        "penalties-beat-grpo",
        "Where failure is a timeout, both the length penalty and SegCost beat GRPO.",
        "length {difference.length.GRPO.ALFWorld-IID} and SegCost {difference.GRPO.ALFWorld-IID} points on ALFWorld, "
        "{difference.length.GRPO.Countdown} and {difference.GRPO.Countdown} on Countdown",
        "success of each penalty minus GRPO in countdown (in `full` also the household), one-sided exact sign-flip "
        "over seeds; all must hold, the largest p; SegCost is not judged where its dictionary was empty in most steps",
        f"{ONE_SIDED_LIMIT} for either penalty in an environment",
        penalties_beat_grpo,
        ("success", "learning"),
    ),
    _claim(
        "length-harms-guarded",
        "Where an information step guards an irreversible action, the length penalty costs success.",
        "{difference.length.GRPO.TextWorld-Cooking} points against GRPO on TextWorld-Cooking",
        "success of GRPO minus the length penalty in cooking, one-sided exact sign-flip over seeds",
        ONE_SIDED_LIMIT,
        length_harms_guarded,
        ("success",),
    ),
    _claim(
        "segcost-avoids-harm",
        "SegCost does not suffer that harm.",
        "{difference.length.TextWorld-Cooking} points above the length penalty on TextWorld-Cooking",
        "success of SegCost minus the length penalty in cooking, one-sided exact sign-flip over seeds",
        f"{ONE_SIDED_LIMIT} (this would falsify the paper's thesis)",
        segcost_avoids_harm,
        ("success",),
    ),
    _claim(
        "irreversible-share",
        "Irreversible failures are most frequent under the length penalty and least under SegCost, GRPO between them.",
        "{failures.TextWorld-Cooking.burned.length}, {failures.TextWorld-Cooking.burned.GRPO} and "
        "{failures.TextWorld-Cooking.burned.SegCost-buf} % of failures burned",
        "burned episodes, length - GRPO and GRPO - SegCost, as share of failures and of all episodes of cooking; "
        "one-sided exact sign-flips over seeds; all four must hold, the largest p",
        "a contrast has the opposite sign and its 95 % interval excludes 0",
        irreversible_share,
        ("failures",),
    ),
    _claim(
        "ood-gain-not-smaller",
        "SegCost's gain over GRPO is not smaller out of distribution than in distribution.",
        "{difference.GRPO.ALFWorld-OOD} against {difference.GRPO.ALFWorld-IID} points on ALFWorld",
        f"OOD gain minus IID gain in each environment, non-inferiority with a margin of {OOD_MARGIN:g} points, "
        "one-sided exact sign-flip over seeds; all must hold",
        f"the upper one-sided 95 % limit lies below -{OOD_MARGIN:g} points in an environment",
        ood_gain_not_smaller,
        ("success",),
        "needs 10 seeds; the panels of `full` too have fewer than the 1,000 tasks that the specification asks for",
    ),
    _claim(
        "easy-env-equivalence",
        "On an easy environment SegCost and the length penalty do not differ.",
        "{difference.length.ALFWorld-IID} and {difference.length.ALFWorld-OOD} points on ALFWorld, one and two games",
        f"success of SegCost minus the length penalty in the household; TOST with a margin of {EASY_MARGIN:g} points",
        f"the 90 % interval lies wholly outside +-{EASY_MARGIN:g} points",
        easy_env_equivalence,
        ("success",),
        "needs the household, which does not fit the laptop's minutes",
    ),
    _claim(
        "cleaner-actions",
        "Under both penalties fewer actions are invalid or repeated than under GRPO.",
        "invalid {actions.ALFWorld-IID.invalid.GRPO} to {actions.ALFWorld-IID.invalid.SegCost-buf} % and repeated "
        "{actions.ALFWorld-IID.repeated.GRPO} to {actions.ALFWorld-IID.repeated.SegCost-buf} % of actions (SegCost)",
        "GRPO minus each penalty, invalid and repeated actions as share of actions in the household; one-sided exact "
        "sign-flips over seeds; all four must hold, the largest p",
        f"{ONE_SIDED_LIMIT} for any of the four",
        cleaner_actions,
        ("actions",),
        "needs the household, which does not fit the laptop's minutes",
    ),
    _claim(
        "segcost-not-shorter",
        "Successes of SegCost are longer than those of the length penalty.",
        "{steps.ALFWorld-IID.mean.SegCost-buf} against {steps.ALFWorld-IID.mean.length} steps on ALFWorld",
        "mean length of successes, SegCost minus length penalty, on tasks that both arms solve, in each environment; "
        "one-sided exact sign-flip over seeds; all must hold",
        f"{ONE_SIDED_LIMIT} in an environment",
        segcost_not_shorter,
        ("actions",),
        "needs 10 seeds",
    ),
    _claim(
        "countdown-op-mix",
        "In countdown SegCost resets less and multiplies and divides more than GRPO.",
        "{successes.Countdown.no-reset.GRPO} to {successes.Countdown.no-reset.SegCost-buf} % of successes without "
        "reset, {operations.Countdown.multiply-divide.GRPO} to {operations.Countdown.multiply-divide.SegCost-buf} % "
        "MUL/DIV",
        "SegCost minus GRPO: share of successes without a reset, share of operations that multiply or divide; "
        "one-sided exact sign-flips over seeds; both must hold, the larger p; not judged where SegCost's dictionary "
        "was empty in most steps",
        f"{ONE_SIDED_LIMIT} for either",
        countdown_op_mix,
        ("operations",),
    ),
    _claim(
        "buffer-tradeoff",
        "Without the buffer SegCost is more direct and less diverse in countdown.",
        "without reset {successes.Countdown.no-reset.SegCost-no-buf} against "
        "{successes.Countdown.no-reset.SegCost-buf} %, MUL/DIV {operations.Countdown.multiply-divide.SegCost-no-buf} "
        "against {operations.Countdown.multiply-divide.SegCost-buf} %",
        "without buffer minus with: share of successes without a reset (more), share of operations that multiply or "
        "divide (less); one-sided exact sign-flips over seeds; both must hold, the larger p",
        "a sign is reversed and its 95 % interval excludes 0",
        buffer_tradeoff,
        ("operations",),
        "needs the arm without buffer",
    ),
    _claim(
        "bound-coverage",
        "For a frozen policy the mean cost of future successes lies below the bound in at least 95 % of batches.",
        "stated in words only (Theorem 3); no number",
        f"{DRAWS} batches of m = {SUCCESSES} from the base's successes in each environment; expected cost under their "
        "law above bound (A) with the nat for Kraft; exact binomial, the environment with most violations",
        "the exact 95 % lower limit of the share of violations lies above 5 %",
        bound_coverage,
        ("bound",),
    ),
    _claim(
        "compressibility-predicts",
        "Compressibility of successes predicts success out of distribution beyond their length.",
        "none",
        "partial Spearman correlation of compressibility with OOD success given mean length, ranks taken among the "
        "seeds of each trained arm, mean over environments; outcomes permuted within each arm",
        "the 95 % interval, seeds resampled whole, lies inside +-20 hundredths (this would falsify the thesis)",
        compressibility_evidence,
        ("compressibility",),
        "needs about 50 runs of an environment",
    ),
    _claim(
        "structure-matters",
        "The learned dictionary beats a matched random one and one learned from shuffled strings.",
        "none",
        "success of SegCost minus each control (8a, 8f) in cooking; one-sided exact sign-flips over seeds; both must "
        "hold, the larger p",
        f"both 95 % intervals end below {STRUCTURE_MARGIN:g} points (this would falsify the thesis)",
        structure_matters,
        ("controls",),
    ),
    _claim(
        "starts-as-length",
        "Early in training the segmentation cost ranks successes as their length does, later less so.",
        "none",
        "Spearman correlation of length and cost over the successes of a batch, mean of the first tenth of the steps "
        "(3 at least) minus that of the last, mean over the environments in which the dictionary was not empty in most "
        "steps; one-sided exact sign-flip over seeds. The buffer grows meanwhile, and before it holds `min_corpus` "
        "successes the correlation is 1 by construction, so that a fall need not come from behaviour",
        f"{ONE_SIDED_LIMIT}: it does not fall",
        starts_as_length,
        ("dictionary",),
    ),
)
