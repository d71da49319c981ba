"""The claims of ReuseRL that need an experiment: section 7 of its specification, fixed before any run.

Each claim's effect has the sign in which the claim is true when it is positive (`statistics`).
"""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.evidence import Evidence
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Family, Gate, Needs
from reproduce.papers.reuserl.compressibility import NEGLIGIBLE, compressibility_evidence
from reproduce.papers.reuserl.experiment import (
    EASY_ENVIRONMENT,
    ENVIRONMENTS,
    IRREVERSIBLE_ENVIRONMENT,
    KEY,
    TIMEOUT_ENVIRONMENTS,
)
from reproduce.papers.reuserl.statistics import (
    ACTIONS_EFFECT,
    BURNED_EFFECT,
    EASY_MARGIN,
    HARM_EFFECT,
    LENGTH_EFFECT,
    OOD_MARGIN,
    OPERATIONS_EFFECT,
    RANK_EFFECT,
    STRUCTURE_EFFECT,
    TIMEOUT_EFFECT,
    buffer_tradeoff,
    cleaner_actions,
    countdown_op_mix,
    dictionary_in_use,
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

PENALTIES = ("grpo", "length", "segcost")
COOKING, HOUSEHOLD, COUNTDOWN = (IRREVERSIBLE_ENVIRONMENT,), (EASY_ENVIRONMENT,), ("countdown",)


def below(effect: float, unit: str = "points", what: str = "") -> str:
    """The rule of refutation of a superiority."""
    return f"{what}surely below {effect:g} {unit} and not surely positive"


MEANINGS = {
    "penalties-beat-grpo": (
        "where episodes time out, charge for length or for segments: both beat the outcome alone",
        "a charge for length or segments does not help where episodes time out",
    ),
    "length-harms-guarded": (
        "do not charge for length where a careful step guards an irreversible one",
        "a charge for length need not cost success where a careful step guards an irreversible one",
    ),
    "segcost-avoids-harm": (
        "charge for segments instead of length where care is needed",
        "segments are no safer a charge than length",
    ),
    "structure-matters": (
        "the learned phrases matter, not just a cheaper length",
        "a random or shuffled dictionary does as well as the learned phrases",
    ),
}
"""For somebody who trains agents: of a headline claim that is supported, and of one that is refuted."""


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[MethodRecords], Evidence],
    figures: tuple[str, ...],
    needs: Needs,
    family: Family = "headline",
    effect: float | None = None,
    gates: tuple[Gate, ...] = (),
    premise: str = "",
    by_labels: bool = False,
) -> Claim:
    text, provenance = (published, "this project") if published == "none" else quote(KEY, published)
    return Claim(
        f"{KEY}.{name}",
        statement,
        text,
        provenance,
        test,
        refuted_if,
        examine,
        figures,
        needs,
        family,
        effect,
        gates,
        premise and f"{KEY}.{premise}",
        meaning=MEANINGS.get(name, ("", "")),
        by_labels=by_labels,
    )


CLAIMS = (
    _claim(
        "penalties-beat-grpo",
        "Where failure is a timeout, both the length penalty and SegCost beat GRPO.",
        "length {difference.length.GRPO.ALFWorld-IID} and SegCost {difference.GRPO.ALFWorld-IID} points on ALFWorld, "
        "{difference.length.GRPO.Countdown} and {difference.GRPO.Countdown} on Countdown",
        "success of each penalty minus GRPO in countdown (in `full` also the household), one-sided exact sign-flip "
        "over seeds; all must hold",
        below(TIMEOUT_EFFECT, what="either penalty in an environment "),
        penalties_beat_grpo,
        ("success", "learning"),
        Needs(PENALTIES, TIMEOUT_ENVIRONMENTS),
        effect=TIMEOUT_EFFECT,
        gates=(dictionary_in_use(*TIMEOUT_ENVIRONMENTS),),
        by_labels=True,
    ),
    _claim(
        "length-harms-guarded",
        "Where an information step guards an irreversible action, the length penalty costs success.",
        "{difference.length.GRPO.TextWorld-Cooking} points against GRPO on TextWorld-Cooking",
        "success of GRPO minus the length penalty in cooking, one-sided exact sign-flip over seeds",
        below(HARM_EFFECT),
        length_harms_guarded,
        ("success",),
        Needs(("grpo", "length"), COOKING),
        effect=HARM_EFFECT,
        by_labels=True,
    ),
    _claim(
        "segcost-avoids-harm",
        "SegCost does not suffer that harm.",
        "{difference.length.TextWorld-Cooking} points above the length penalty on TextWorld-Cooking",
        "success of SegCost minus the length penalty in cooking, one-sided exact sign-flip over seeds",
        below(HARM_EFFECT),
        segcost_avoids_harm,
        ("success",),
        Needs(("segcost", "length"), COOKING),
        effect=HARM_EFFECT,
        gates=(dictionary_in_use(*COOKING),),
        premise="length-harms-guarded",
        by_labels=True,
    ),
    _claim(
        "irreversible-share",
        "Irreversible failures are most frequent under the length penalty and least under SegCost, GRPO between them.",
        "{failures.TextWorld-Cooking.burned.length}, {failures.TextWorld-Cooking.burned.GRPO} and "
        "{failures.TextWorld-Cooking.burned.SegCost-buf} % of failures burned",
        "burned episodes, length - GRPO and GRPO - SegCost, as share of failures and of all episodes of cooking; "
        "one-sided exact sign-flips over seeds; all four must hold",
        below(BURNED_EFFECT, what="a contrast "),
        irreversible_share,
        ("failures",),
        Needs(PENALTIES, COOKING),
        "secondary",
        BURNED_EFFECT,
        (dictionary_in_use(*COOKING),),
    ),
    _claim(
        "ood-gain-not-smaller",
        "SegCost's gain over GRPO is not smaller out of distribution than in distribution.",
        "{difference.GRPO.ALFWorld-OOD} against {difference.GRPO.ALFWorld-IID} points on ALFWorld",
        f"OOD gain minus IID gain in each environment, non-inferiority with a margin of {OOD_MARGIN:g} points, "
        "one-sided exact sign-flip over seeds; all must hold",
        f"surely below -{OOD_MARGIN:g} points in an environment",
        ood_gain_not_smaller,
        ("success",),
        Needs(("grpo", "segcost"), seeds=10),
        "secondary",
        -OOD_MARGIN,
        (dictionary_in_use(*ENVIRONMENTS),),
    ),
    _claim(
        "easy-env-equivalence",
        "On an easy environment SegCost and the length penalty do not differ.",
        "{difference.length.ALFWorld-IID} and {difference.length.ALFWorld-OOD} points on ALFWorld, one and two games",
        f"success of SegCost minus the length penalty in the household; TOST with a margin of {EASY_MARGIN:g} points",
        f"surely outside +-{EASY_MARGIN:g} points",
        easy_env_equivalence,
        ("success",),
        Needs(("segcost", "length"), HOUSEHOLD),
        "secondary",
        gates=(dictionary_in_use(*HOUSEHOLD),),
    ),
    _claim(
        "cleaner-actions",
        "Under both penalties fewer actions are invalid or repeated than under GRPO.",
        "invalid {actions.ALFWorld-IID.invalid.GRPO} to {actions.ALFWorld-IID.invalid.SegCost-buf} % and repeated "
        "{actions.ALFWorld-IID.repeated.GRPO} to {actions.ALFWorld-IID.repeated.SegCost-buf} % of actions (SegCost)",
        "GRPO minus each penalty, invalid and repeated actions as share of actions in the household; one-sided exact "
        "sign-flips over seeds; all four must hold",
        below(ACTIONS_EFFECT, what="any of the four "),
        cleaner_actions,
        ("actions",),
        Needs(PENALTIES, HOUSEHOLD),
        "secondary",
        ACTIONS_EFFECT,
        (dictionary_in_use(*HOUSEHOLD),),
    ),
    _claim(
        "segcost-not-shorter",
        "Successes of SegCost are longer than those of the length penalty.",
        "{steps.ALFWorld-IID.mean.SegCost-buf} against {steps.ALFWorld-IID.mean.length} steps on ALFWorld",
        "mean length of successes, SegCost minus length penalty, on tasks that both arms solve, in each environment; "
        "one-sided exact sign-flip over seeds; all must hold",
        below(LENGTH_EFFECT, "rounds", "in an environment "),
        segcost_not_shorter,
        ("actions",),
        Needs(("segcost", "length"), seeds=10),
        "secondary",
        LENGTH_EFFECT,
        (dictionary_in_use(*ENVIRONMENTS),),
    ),
    _claim(
        "countdown-op-mix",
        "In countdown SegCost resets less and multiplies and divides more than GRPO.",
        "{successes.Countdown.no-reset.GRPO} to {successes.Countdown.no-reset.SegCost-buf} % of successes without "
        "reset, {operations.Countdown.multiply-divide.GRPO} to {operations.Countdown.multiply-divide.SegCost-buf} % "
        "MUL/DIV",
        "SegCost minus GRPO: share of successes without a reset, share of operations that multiply or divide; "
        "one-sided exact sign-flips over seeds; both must hold",
        below(OPERATIONS_EFFECT, what="either "),
        countdown_op_mix,
        ("operations",),
        Needs(("segcost", "grpo"), COUNTDOWN),
        "secondary",
        OPERATIONS_EFFECT,
        (dictionary_in_use(*COUNTDOWN),),
    ),
    _claim(
        "buffer-tradeoff",
        "Without the buffer SegCost is more direct and less diverse in countdown.",
        "without reset {successes.Countdown.no-reset.SegCost-no-buf} against "
        "{successes.Countdown.no-reset.SegCost-buf} %, MUL/DIV {operations.Countdown.multiply-divide.SegCost-no-buf} "
        "against {operations.Countdown.multiply-divide.SegCost-buf} %",
        "without buffer minus with: share of successes without a reset (more), share of operations that multiply or "
        "divide (less); one-sided exact sign-flips over seeds; both must hold",
        below(OPERATIONS_EFFECT, what="either "),
        buffer_tradeoff,
        ("operations",),
        Needs(("segcost_no_buffer", "segcost"), COUNTDOWN),
        "secondary",
        OPERATIONS_EFFECT,
        (dictionary_in_use(*COUNTDOWN, arms=("segcost_no_buffer", "segcost")),),
    ),
    _claim(
        "compressibility-predicts",
        "Compressibility of successes predicts success out of distribution beyond their length.",
        "none",
        "partial Spearman correlation of compressibility with OOD success given mean length, ranks taken among the "
        "seeds of each trained arm, mean over environments; outcomes permuted within each arm",
        f"surely inside +-{NEGLIGIBLE:g} hundredths, seeds resampled whole (this would falsify the thesis)",
        compressibility_evidence,
        ("compressibility",),
        Needs(("segcost",), seeds=10),
        "secondary",
        NEGLIGIBLE,
    ),
    _claim(
        "structure-matters",
        "The learned dictionary beats a matched random one and one learned from shuffled strings.",
        "none",
        "success of SegCost minus each control (8a, 8f) in cooking; one-sided exact sign-flips over seeds; both must "
        "hold",
        below(STRUCTURE_EFFECT, what="both "),
        structure_matters,
        ("controls",),
        Needs(("segcost", "random_dictionary", "shuffled_order"), COOKING),
        effect=STRUCTURE_EFFECT,
        gates=(dictionary_in_use(*COOKING),),
        by_labels=True,
    ),
    _claim(
        "starts-as-length",
        "Early in training the segmentation cost ranks successes as their length does, later less so.",
        "none",
        "Spearman correlation of length and cost over the successes of a batch, mean of the first tenth of the steps "
        "(3 at least) minus that of the last, mean over the environments in which the dictionary was not empty in most "
        "steps; one-sided exact sign-flip over seeds. The buffer grows meanwhile, and before it holds `min_corpus` "
        "successes the correlation is 1 by construction, so that a fall need not come from behaviour",
        below(RANK_EFFECT, "hundredths"),
        starts_as_length,
        ("dictionary",),
        Needs(("segcost",)),
        "secondary",
        RANK_EFFECT,
    ),
)
