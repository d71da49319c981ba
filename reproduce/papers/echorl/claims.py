"""The claims of EchoRL: section 7 of the specification, fixed before any run."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Evidence, tested_claims
from reproduce.papers.echorl.accuracy import (
    GAIN,
    demo_complement,
    entropy_side_effect,
    final_accuracy,
    ood_transfer,
    peak_selection,
    prefix_form,
    robustness,
    vs_remedies,
)
from reproduce.papers.echorl.experiment import KEY
from reproduce.papers.echorl.frozen import (
    ERRORS,
    FEWEST_GROUPS,
    MATCHED_SHARE,
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
    late_dose,
    overhead,
    restored_gradient,
    vanishing_signal,
)

OWN = "none: the claim is ours"
WORDS = "stated in words only; no number"
ARMS_MISSING = "its arms are not in the laptop plan"
RIVALS_MISSING = "its laptop plan has three of the six rivals"
SATURATED = (
    "it needs a level with more than 60 % all-success groups at the start, which the bed has no category for; and "
    "where the base gets most right, the gain is capped by the ceiling"
)
DIFFERENCE_OF_GAINS = (
    "a difference of two gains, which eight seeds cannot power (the gains themselves are shown); and out of "
    "distribution the bed's policies stay at chance"
)
PROBES_MISSING = "it needs the analyses of the frozen base, which the laptop plan leaves out"


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[MethodRecords], Evidence],
    *figures: str,
    full_only: str = "",
) -> Claim:
    text, provenance = quote(KEY, published)
    if published == OWN:
        provenance = "specification of this package"
    return Claim(f"{KEY}.{name}", statement, text, provenance, test, refuted_if, examine, figures, full_only)


CLAIMS = (
    _claim(
        "degeneration-grows",
        "On a fixed pool of tasks, the share of groups in which every episode succeeds rises during GRPO training.",
        WORDS,
        "share in the last tenth of the steps minus share in the first, t interval over seeds; p: exact one-sided "
        "sign-flip of each seed's Spearman rho of share and step",
        f"the 95 % interval of the rise ends below {RISE:g} points",
        degeneration_grows,
        "group_shares",
    ),
    _claim(
        "vanishing-signal",
        "The norm of GRPO's gradient falls as the share of all-success groups rises. (That it is exactly 0 on those "
        "groups alone is an identity.)",
        WORDS,
        "correlation of gradient norm and all-success share over the steps of a seed; one-sided exact sign-flip over "
        "seeds",
        f"the 95 % interval of the correlation lies above {CORRELATION:g}",
        vanishing_signal,
        "group_shares",
        "gradient_ratio",
    ),
    _claim(
        "restored-gradient",
        "On all-success groups the echo has a gradient, and beside the policy gradient it is large enough to matter.",
        WORDS,
        "norm of lambda times the echo's gradient over the norm of the policy gradient, lambda = 0.001, every fifth "
        f"step with at most 90 % all-success groups; median of a seed, t interval over seeds, above {RATIO:g} "
        "thousandth, descriptive; the norm of the echo's gradient from all-success groups alone must not be 0",
        f"that norm is 0 at a measured step, or the 95 % interval of the ratio ends below {RATIO:g} thousandth",
        restored_gradient,
        "gradient_ratio",
    ),
    _claim(
        "final-accuracy",
        "Adding the echo to GRPO raises final accuracy.",
        "up to +{largest-gain.in-domain} points in domain; +{average-gain.LUFFY.in-domain} on LUFFY",
        "success on test tasks with the echo (lambda = 0.001) minus with the placebo (lambda = 0; GRPO where the plan "
        "has none, which equals it bit for bit); one-sided exact sign-flip over seeds",
        f"at lambda = 0.001 and at 0.1 the 95 % interval includes 0 or less and ends below {GAIN:g} point",
        final_accuracy,
        "learning_curves",
        "choices",
        "transfer",
    ),
    _claim(
        "peak-selection",
        "It is the choice of the step of highest entropy that helps.",
        "none: no ablation is readable",
        "success with the prefix to the peak minus with the prefix to a random step, lambda = 0.1; one-sided exact "
        "sign-flip over seeds",
        f"the 95 % interval includes 0 or less and ends below {GAIN:g} point, or it ends below half of the mean gain "
        "over the control",
        peak_selection,
        "choices",
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
        full_only=PROBES_MISSING,
    ),
    _claim(
        "entropy-side-effect",
        "The echo of the peak keeps the policy's entropy at or above that without the echo, the echo of the lowest "
        "step lowers it.",
        OWN,
        "entropy of sampled tokens in the last tenth of training, argmax minus control and control minus argmin, "
        "lambda = 0.1; both one-sided exact sign-flips over seeds, the larger p; PASS@k beside it",
        "the 95 % interval of argmax minus control lies below 0",
        entropy_side_effect,
        "entropy",
    ),
    _claim(
        "prefix-form",
        "The prefix beats the full rollout, and that beats the isolated step.",
        "none: no ablation is readable",
        "Page's trend test of prefix, full rollout, isolated peak over seeds, lambda = 0.1; effect: prefix minus full "
        "rollout; support also asks for the 95 % interval of full rollout minus isolated peak to lie above 0",
        f"prefix minus full rollout is at most 0 and its 95 % interval ends below {GAIN:g} point",
        prefix_form,
        "choices",
    ),
    _claim(
        "step-deletion",
        "Steps of high entropy carry the reasoning: deleting them first costs more than deleting others.",
        WORDS,
        "right solutions of the base, 0 to 50 % of their steps deleted, the base answers; mean success over the "
        "shares, as many steps at the positions of another solution with as many lines minus high entropy first; "
        "one-sided exact sign-flip over seeds",
        f"the 95 % interval of the matched gap ends below {100 * MATCHED_SHARE:g} % of the gap between low first and "
        "high first",
        step_deletion,
        "deletion",
        full_only=PROBES_MISSING,
    ),
    _claim(
        "golden-entropy",
        "Reference traces have a higher token entropy than the policy's own successes.",
        WORDS,
        "mean token entropy under the base of the expert's solution minus that of own successes of the same tasks; "
        "one-sided exact sign-flip over seeds; demonstrators' right solutions as control (alike: 90 % interval of the "
        "difference inside a hundredth of a nat)",
        "the 95 % interval ends at or below 0",
        golden_entropy,
        full_only=PROBES_MISSING,
    ),
    _claim(
        "ood-transfer",
        "The echo gains at least as much out of distribution as in distribution.",
        "+{average-gain.LUFFY.out-of-domain} against +{average-gain.LUFFY.in-domain} points on LUFFY; at most "
        "+{largest-gain.out-of-domain} against +{largest-gain.in-domain}",
        "gain on longer chains and another wording minus gain on test tasks, lambda = 0.001; one-sided exact sign-flip "
        "over seeds",
        "the 95 % interval of the difference lies below 0",
        ood_transfer,
        "transfer",
        full_only=DIFFERENCE_OF_GAINS,
    ),
    _claim(
        "demo-complement",
        "The echo adds to external demonstrations.",
        "+{average-gain.LUFFY.in-domain} points on LUFFY as stated",
        "success with one expert episode in each group, with the echo (lambda = 0.001) minus without; one-sided exact "
        "sign-flip over seeds",
        f"the 95 % interval includes 0 or less and ends below {GAIN:g} point",
        demo_complement,
        full_only=ARMS_MISSING,
    ),
    _claim(
        "overhead",
        "The echo costs next to no time.",
        WORDS,
        "seconds of an optimiser step with the echo over GRPO's of the same seed, steps with measurements left out; t "
        "interval over seeds, descriptive; memory is benchmarked apart, not judged here",
        f"the 95 % interval lies at or above {SLOWER:g} % more time",
        overhead,
    ),
    _claim(
        "vs-remedies",
        "The echo beats the other remedies for groups of equal rewards.",
        "none beyond the paper's four bases",
        "success of the echo (lambda = 0.001) minus that of each rival of the plan; one-sided exact sign-flips over "
        "seeds, the largest p; costs in rollouts and tokens beside it",
        "at lambda = 0.001 and at 0.1 the 95 % interval against some rival ends at or below 0",
        vs_remedies,
        "rivals",
        "costs",
        full_only=RIVALS_MISSING,
    ),
    _claim(
        "late-dose",
        "The benefit grows with the share of all-success groups at the start.",
        WORDS,
        "linear trend of the gain (lambda = 0.1) over the categories of test tasks, in the base's chance that all G "
        "episodes succeed; one-sided exact sign-flip of the slope over seeds",
        f"the 95 % interval of the slope ends at or below 0, or that of the gain in categories with a share of "
        f"{100 * LATE:g} % or more ends below {LATE_GAIN:g} point",
        late_dose,
        "dose",
        full_only=SATURATED,
    ),
    _claim(
        "robustness",
        "The sign of the effect does not depend on lambda, minimum step length, splitter, G, scope, reduction or unit.",
        "none: lambda is fixed, nothing is swept",
        "gain of each setting over its control, one factor at a time; share of settings with a positive gain, "
        "descriptive",
        "a setting's 95 % interval lies on the other side of 0 than the gain at lambda = 0.1, or two settings' "
        "intervals lie on different sides",
        robustness,
        "settings",
        full_only=ARMS_MISSING,
    ),
    _claim(
        "short-step-bias",
        "Taken literally, the argmax of a mean prefers very short steps.",
        OWN,
        "clips of the frozen base: share of picked steps of 3 tokens or fewer over that share among all steps of the "
        "pool; one-sided exact sign-flip of the ratio minus 1 over seeds",
        f"the 95 % interval of the ratio ends at or below {TRIVIAL_RATIO:g}",
        short_step_bias,
        "clips",
    ),
)

DESCRIPTIVE = tuple(f"{KEY}.{name}" for name in ("restored-gradient", "unselected-null", "overhead", "robustness"))
"""Claims without a p, which Holm's correction does not count."""


def family_size(profile: str) -> int:
    """How many p-values Holm corrects together in a profile."""
    return sum(claim.identifier not in DESCRIPTIVE for claim in tested_claims(CLAIMS, profile))
