"""The claims of EchoRL: section 7 of the specification, fixed before any run."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.evidence import Evidence
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Family, Gate, Needs
from reproduce.papers.echorl.accuracy import (
    ENTROPY_EFFECT,
    GAIN,
    demo_complement,
    entropy_at_end,
    entropy_side_effect,
    final_accuracy,
    ood_transfer,
    peak_selection,
    prefix_form,
    robustness,
    vs_remedies,
)
from reproduce.papers.echorl.experiment import FEWEST_ANALYSIS_GROUPS, KEY, RIVALS
from reproduce.papers.echorl.frozen import (
    ERRORS,
    FEWEST_GROUPS,
    MATCHED_SHARE,
    SAME,
    TRIVIAL_RATIO,
    golden_entropy,
    short_step_bias,
    step_deletion,
    unselected_null,
)
from reproduce.papers.echorl.signal import (
    CORRELATION,
    LATE,
    LATE_GAIN,
    RATIO,
    RISE,
    SLOWER,
    degeneration_grows,
    largest_start,
    late_dose,
    overhead,
    restored_gradient,
    vanishing_signal,
)

OWN = "none: the claim is ours"
WORDS = "stated in words only; no number"
REASONING = ("reasoning",)
PROBED = Needs(
    ("frozen",), REASONING, settings=(("analysis_groups", FEWEST_ANALYSIS_GROUPS, "the analyses of the frozen base"),)
)
NO_DATA_SET = ("reasoning.panels.source", "takes tiers of known difficulty and whole batches, not those of a data set")
ENTROPY = Gate("token entropy of the control at the end of training", entropy_at_end, least=0.08, unit="nats")
"""Gate G2 of the specification: with less, the texts of a group are one, and no choice of clip can differ."""
SATURATED = Gate("largest starting share of all-success groups over the tiers", largest_start, least=100 * LATE)


def below(effect: float, unit: str = "points", what: str = "") -> str:
    """The rule of refutation of a superiority."""
    return f"{what}surely below {effect:g} {unit} and not surely positive"


MEANINGS = {
    "final-accuracy": (
        "add the echo to GRPO: it raises accuracy",
        "do not expect accuracy from the echo at either weight",
    ),
    "peak-selection": (
        "cut the clip at the step of highest entropy",
        "cut the clip where you like: the peak of entropy is no better than a random step",
    ),
    "entropy-side-effect": (
        "the echo of the peak keeps entropy, that of the lowest step costs it",
        "the echo of the peak costs entropy",
    ),
    "prefix-form": (
        "echo the prefix, not the whole rollout",
        "echo the whole rollout: the prefix is no better",
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
    *figures: str,
    needs: Needs,
    family: Family = "secondary",
    effect: float | None = None,
    gates: tuple[Gate, ...] = (),
    premise: str = "",
    by_labels: bool = False,
) -> Claim:
    text, provenance = quote(KEY, published)
    if published == OWN:
        provenance = "specification of this package"
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
        "degeneration-grows",
        "On a fixed pool of tasks, the share of groups in which every episode succeeds rises during GRPO training.",
        WORDS,
        "share in the last tenth of the steps minus share in the first; one-sided exact sign-flip over seeds",
        below(RISE),
        degeneration_grows,
        "group_shares",
        needs=Needs(("grpo",), REASONING),
        effect=RISE,
    ),
    _claim(
        "vanishing-signal",
        "The norm of GRPO's gradient falls as the share of all-success groups rises. (That it is exactly 0 on those "
        "groups alone is an identity.)",
        WORDS,
        "minus the correlation of gradient norm and all-success share over the steps of a seed; one-sided exact "
        "sign-flip over seeds",
        below(CORRELATION, ""),
        vanishing_signal,
        "group_shares",
        "gradient_ratio",
        needs=Needs(("grpo",), REASONING, absent=(NO_DATA_SET,)),
        effect=CORRELATION,
    ),
    _claim(
        "restored-gradient",
        "On all-success groups the echo has a gradient, and beside the policy gradient it is large enough to matter.",
        WORDS,
        "norm of lambda times the echo's gradient over the norm of the policy gradient, lambda = 0.001, every fifth "
        f"step with at most 90 % all-success groups, 0 where all-success groups alone give none; median of a seed "
        f"above {RATIO:g} thousandth, one-sided exact sign-flip over seeds",
        f"surely below {RATIO:g} thousandth",
        restored_gradient,
        "gradient_ratio",
        needs=Needs(("echo",), REASONING, absent=(NO_DATA_SET,)),
        effect=RATIO,
    ),
    _claim(
        "final-accuracy",
        "Adding the echo to GRPO raises final accuracy.",
        "up to +{largest-gain.in-domain} points in domain; +{average-gain.LUFFY.in-domain} on LUFFY",
        "success on test tasks with the echo (lambda = 0.001) minus with the placebo (lambda = 0; GRPO where the plan "
        "has none, which equals it bit for bit); one-sided exact sign-flip over seeds",
        below(GAIN, "point", "at lambda = 0.001 and at 0.1 "),
        final_accuracy,
        "learning_curves",
        "choices",
        "transfer",
        needs=Needs(("grpo", "echo"), REASONING),
        family="headline",
        effect=GAIN,
        gates=(ENTROPY,),
        by_labels=True,
    ),
    _claim(
        "peak-selection",
        "It is the choice of the step of highest entropy that helps.",
        "none: no ablation is readable",
        "success with the prefix to the peak minus with the prefix to a random step, lambda = 0.1; one-sided exact "
        "sign-flip over seeds",
        below(GAIN, "point"),
        peak_selection,
        "choices",
        needs=Needs(("grpo", "echo_strong", "random_prefix_strong", "lowest_entropy_prefix_strong"), REASONING),
        family="headline",
        effect=GAIN,
        gates=(ENTROPY,),
        premise="final-accuracy",
        by_labels=True,
    ),
    _claim(
        "unselected-null",
        "Without selection there is no effect: the log-likelihood of a random own prefix has no mean gradient, and "
        "argmax and argmin push in opposite ways.",
        OWN,
        "mean gradients over groups of the frozen base, projected on the difference of argmax and argmin of other "
        "groups; prefixes of a length drawn beforehand; descriptive: their z within "
        f"{ERRORS:g} standard errors, those of argmax and argmin at least as far from 0 on either side, over at least "
        f"{FEWEST_GROUPS:,} groups",
        f"with so many groups, the random prefix is {ERRORS:g} standard errors or more from 0",
        unselected_null,
        needs=PROBED,
    ),
    _claim(
        "entropy-side-effect",
        "The echo of the peak keeps the policy's entropy at or above that without the echo, the echo of the lowest "
        "step lowers it.",
        OWN,
        "entropy of sampled tokens in the last tenth of training, lambda = 0.1: argmax minus control, non-inferiority "
        f"with a margin of {ENTROPY_EFFECT:g} hundredths of a nat, and control minus argmin; both by one-sided exact "
        "sign-flips over seeds; PASS@k beside it",
        f"argmax minus control surely below -{ENTROPY_EFFECT:g} hundredths of a nat",
        entropy_side_effect,
        "entropy",
        needs=Needs(("grpo", "echo_strong", "lowest_entropy_prefix_strong"), REASONING),
        family="headline",
        effect=ENTROPY_EFFECT,
        gates=(ENTROPY,),
    ),
    _claim(
        "prefix-form",
        "The prefix beats the full rollout, and that beats the isolated step.",
        "none: no ablation is readable",
        "prefix minus full rollout, and full rollout minus isolated peak, lambda = 0.1; both by one-sided exact "
        "sign-flips over seeds",
        below(GAIN, "point", "prefix minus full rollout "),
        prefix_form,
        "choices",
        needs=Needs(("echo_strong", "full_rollout_strong", "isolated_peak_strong"), REASONING),
        family="headline",
        effect=GAIN,
        gates=(ENTROPY,),
        by_labels=True,
    ),
    _claim(
        "step-deletion",
        "Steps of high entropy carry the reasoning: deleting them first costs more than deleting others.",
        WORDS,
        "right solutions of the base, 0 to 50 % of their steps deleted, the base answers; mean success over the "
        "shares, as many steps at the positions of another solution with as many lines minus high entropy first; "
        "one-sided exact sign-flip over seeds",
        f"the matched gap surely below {100 * MATCHED_SHARE:g} % of the gap between low first and high first",
        step_deletion,
        "deletion",
        needs=PROBED,
        effect=0.0,
    ),
    _claim(
        "golden-entropy",
        "Reference traces have a higher token entropy than the policy's own successes.",
        WORDS,
        "mean token entropy under the base of the expert's solution minus that of own successes of the same tasks; "
        "one-sided exact sign-flip over seeds; demonstrators' right solutions as control (alike: 90 % interval of the "
        "difference inside a hundredth of a nat)",
        below(SAME, "hundredth of a nat"),
        golden_entropy,
        needs=PROBED,
        effect=SAME,
    ),
    _claim(
        "ood-transfer",
        "The echo gains at least as much out of distribution as in distribution.",
        "+{average-gain.LUFFY.out-of-domain} against +{average-gain.LUFFY.in-domain} points on LUFFY; at most "
        "+{largest-gain.out-of-domain} against +{largest-gain.in-domain}",
        "gain on longer chains and another wording minus gain on test tasks, lambda = 0.001; non-inferiority with a "
        f"margin of {GAIN:g} point, one-sided exact sign-flip over seeds",
        f"surely below -{GAIN:g} point",
        ood_transfer,
        "transfer",
        needs=Needs(("grpo", "echo"), REASONING, seeds=10),
        effect=-GAIN,
    ),
    _claim(
        "demo-complement",
        "The echo adds to external demonstrations.",
        "+{average-gain.LUFFY.in-domain} points on LUFFY as stated",
        "success with one expert episode in each group, with the echo (lambda = 0.001) minus without; one-sided exact "
        "sign-flip over seeds",
        below(GAIN, "point"),
        demo_complement,
        needs=Needs(("grpo", "echo", "grpo_demonstrations", "echo_demonstrations"), REASONING),
        effect=GAIN,
        by_labels=True,
    ),
    _claim(
        "overhead",
        "The echo costs next to no time.",
        WORDS,
        "seconds of an optimiser step saved with the echo, beside GRPO's of the same seed, steps with measurements "
        f"left out; non-inferiority with a margin of {SLOWER:g} %, one-sided exact sign-flip over seeds; memory is "
        "benchmarked apart, not judged here",
        f"surely below -{SLOWER:g} %: more than that is lost",
        overhead,
        needs=Needs(("grpo", "echo"), REASONING),
        effect=-SLOWER,
    ),
    _claim(
        "vs-remedies",
        "The echo beats the other remedies for groups of equal rewards.",
        "none beyond the paper's four bases",
        "success of the echo (lambda = 0.001) minus that of each rival of the plan; one-sided exact sign-flips over "
        "seeds, all must hold; costs in rollouts and tokens beside it",
        below(GAIN, "point", "against some rival at lambda = 0.001 and at 0.1 "),
        vs_remedies,
        "rivals",
        "costs",
        needs=Needs(("echo", *RIVALS), REASONING),
        effect=GAIN,
        by_labels=True,
    ),
    _claim(
        "late-dose",
        "The benefit grows with the share of all-success groups at the start.",
        WORDS,
        "linear trend of the gain (lambda = 0.1) over the categories of test tasks, in the base's chance that all G "
        "episodes succeed; one-sided exact sign-flip of the slope over seeds",
        below(LATE_GAIN, "point", f"the slope, or the gain in categories with a share of {100 * LATE:g} % or more, "),
        late_dose,
        "dose",
        needs=Needs(("grpo", "echo_strong"), REASONING, absent=(NO_DATA_SET,)),
        effect=LATE_GAIN,
        gates=(SATURATED,),
    ),
    _claim(
        "robustness",
        "The sign of the effect does not depend on lambda, minimum step length, splitter, G, scope, reduction or unit.",
        "none: lambda is fixed, nothing is swept",
        "gain of each setting over its control, one factor at a time; non-inferiority of every one with a margin of "
        f"{GAIN:g} point, one-sided exact sign-flips over seeds",
        f"a setting surely below -{GAIN:g} point",
        robustness,
        "settings",
        needs=Needs(("grpo", "echo", "echo_moderate", "echo_strong"), REASONING),
        effect=-GAIN,
    ),
    _claim(
        "short-step-bias",
        "Taken literally, the argmax of a mean prefers very short steps.",
        OWN,
        "clips of the frozen base: share of picked steps of 3 tokens or fewer over that share among all steps of the "
        "pool; one-sided exact sign-flip of the ratio minus 1 over seeds",
        f"surely below {TRIVIAL_RATIO:g} times and not surely above 1",
        short_step_bias,
        "clips",
        needs=Needs(("frozen",), REASONING),
        effect=TRIVIAL_RATIO,
    ),
)
