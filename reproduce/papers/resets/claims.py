"""The claims on RRPO and SRPO as registered: statement, test, rule of refutation (section 7 of the specification)."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.evidence import Evidence
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Family, Needs
from reproduce.papers.resets import tests
from reproduce.papers.resets.published import MODELS, mean_scores
from reproduce.papers.resets.tests import (
    AGREEMENT_MARGIN,
    FALL,
    FORMAT_MARGIN,
    MARGIN_IN_DEVIATIONS,
    ODDS_MARGIN,
    RISE,
    SIGNAL,
    SPEED,
    half,
    half_of_splits,
    published_split,
)

KEY = "resets"
OVER_SEEDS = "one-sided exact sign-flip over seeds"
PLACE = ("reasoning",)
ORACLE = ("reasoning.panels.source", "takes the true first error of a chain, which a data set does not tell")
LOCAL, GAIN_OF_GRPO = half("SRPO", "RRPO"), half("SRPO", "GRPO")
"""Points: half of the published gains, the smallest effects of interest."""


def below(effect: float, unit: str = "points", what: str = "", null: str = "positive") -> str:
    """The rule of refutation of a superiority."""
    return f"{what}surely below {effect:.3g} {unit} and not surely {null}"


def _means(arm: str, against: str) -> str:
    gaps = [mean_scores(model, arm)[0] - mean_scores(model, against)[0] for model in MODELS]
    shown = " and ".join(f"{gap:+.1f} ({model})" for gap, model in zip(gaps, MODELS, strict=True))
    return f"{arm} - {against}: {shown} points, our means over the ten benchmarks of Table 3"


MEANINGS = {
    "srpo-vs-rrpo": (
        "reset at the localized error rather than at random",
        "a localized reset is no better than a random one",
    ),
    "srpo-vs-grpo": (
        "resets at the error beat plain groups at equal trained rollouts",
        "resets at the error do not beat plain groups with the same loss",
    ),
    "speed-up": (
        "resets reach GRPO's level with fewer generated tokens",
        "resets do not save generated tokens on the way to GRPO's level",
    ),
    "localization-dose": (
        "invest in the localizer: success rises with its hits",
        "a better localizer does not buy success",
    ),
    "position-control": (
        "it is the error that matters, not that resets come early",
        "resets at the same places, drawn blindly, do as well",
    ),
    "clean-prefix": (
        "suffixes mend clean prefixes, not erroneous ones",
        "clean prefixes are mended no more often than erroneous ones",
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
    read: str = "",
    family: Family = "secondary",
    effect: float | None = None,
    premise: str = "",
    by_labels: bool = False,
) -> Claim:
    """read: where numbers without an identifier were read, where the text names none that has one."""
    text, provenance = quote(KEY, published)
    return Claim(
        f"{KEY}.{name}",
        statement,
        text,
        read or provenance,
        test,
        refuted_if,
        examine,
        figures,
        needs,
        family,
        effect,
        premise=premise and f"{KEY}.{premise}",
        meaning=MEANINGS.get(name, ("", "")),
        by_labels=by_labels,
    )


TABLE_3 = "paper Table 3 (read directly; means own)"
OWN = "own claim; the paper has no number"
LOCALIZED = "srpo_degraded (on a data set: srpo)"
"""The arm of SRPO in the claims that the profile `paper` tests too: `resets_measures.arm_of` chooses."""

CLAIMS = (
    _claim(
        "srpo-vs-rrpo",
        "Localized resets beat random resets at equal trained rollouts.",
        _means("SRPO", "RRPO"),
        f"success of {LOCALIZED} minus rrpo; {OVER_SEEDS}",
        f"{below(LOCAL)}, half the published gain",
        tests.srpo_vs_rrpo,
        "contrasts",
        needs=Needs(("rrpo",), PLACE),
        read=TABLE_3,
        family="headline",
        effect=LOCAL,
        by_labels=True,
    ),
    _claim(
        "srpo-vs-grpo",
        "SRPO beats GRPO: GRPO with SRPO's loss, and GRPO as published.",
        _means("SRPO", "GRPO"),
        f"success of {LOCALIZED} minus grpo_reset_loss and minus grpo; {OVER_SEEDS}, both must hold",
        f"{below(GAIN_OF_GRPO, what='over grpo_reset_loss ')}, half the published gain; a gain over grpo alone is the "
        "loss's",
        tests.srpo_vs_grpo,
        "contrasts",
        "curves",
        needs=Needs(("grpo", "grpo_reset_loss"), PLACE),
        read=TABLE_3,
        family="headline",
        effect=GAIN_OF_GRPO,
        by_labels=True,
    ),
    _claim(
        "speed-up",
        "SRPO reaches GRPO's final level faster.",
        "{speed-up.GRPO} times fewer steps than GRPO, {speed-up.RRPO} times fewer than RRPO",
        f"generated tokens of grpo over those of {LOCALIZED} until the smoothed success on training prompts reaches "
        "grpo's mean final level, a run of grpo that does not reach it charged whole and one of the other arm the "
        f"larger budget of both; log-ratio, {OVER_SEEDS}",
        f"{below(SPEED, 'times', null='above 1')}, half of the published speed-up on the scale of logarithms",
        tests.speed_up,
        "curves",
        needs=Needs(("grpo",), PLACE),
        family="headline",
        effect=SPEED,
    ),
    _claim(
        "rrpo-like-grpo",
        "Random resets are comparable to no resets.",
        _means("RRPO", "GRPO"),
        f"success of rrpo minus grpo_reset_loss; TOST with a margin of {half('SRPO', 'GRPO'):.1f} points, half the "
        "published SRPO-GRPO effect",
        "surely outside the margin on either side",
        tests.rrpo_like_grpo,
        "contrasts",
        needs=Needs(("rrpo", "grpo_reset_loss"), PLACE, seeds=10),
        read=TABLE_3,
    ),
    _claim(
        "localization-dose",
        "The gain rises with the quality of localization.",
        "argued, not measured",
        "slope of success on the measured share of exact hits over rrpo, oracles that hit in 25, 50 and 75 % and miss "
        f"on either side, and the oracle; {OVER_SEEDS}; Page's trend in that order beside it",
        below(LOCAL, what="the slope, or srpo_oracle minus rrpo, "),
        tests.localization_dose,
        "dose",
        needs=Needs(tests.DOSE_ARMS, PLACE),
        read=OWN,
        family="headline",
        effect=LOCAL,
    ),
    _claim(
        "position-control",
        "The effect is credit assignment, not earliness.",
        "no control in paper or code",
        f"success of srpo_oracle minus position_control; {OVER_SEEDS}",
        f"{below(LOCAL)}: resets at the same positions, drawn blindly, do as well",
        tests.position_control,
        "contrasts",
        "positions",
        needs=Needs(("srpo_oracle", "position_control", "rrpo"), PLACE),
        read=OWN,
        family="headline",
        effect=LOCAL,
        premise="srpo-vs-rrpo",
        by_labels=True,
    ),
    _claim(
        "clean-prefix",
        "Clean prefixes are corrected more often than erroneous ones.",
        "{prefix.raw.clean.solved} of {prefix.raw.clean.groups} groups of four suffixes solved after a clean prefix, "
        "{prefix.raw.erroneous.solved} of {prefix.raw.erroneous.groups} after an erroneous one",
        "log odds ratio of a solved group over the resets of rrpo, position_control and srpo_degraded; "
        f"{OVER_SEEDS}; beside it the odds ratio at equal chain length and step",
        f"{below(ODDS_MARGIN, 'times', 'the raw odds ratio ', 'above 1')}; explained by earliness if the raw one holds "
        f"and the adjusted interval includes 1 and ends below {ODDS_MARGIN:g}",
        tests.clean_prefix,
        "localization",
        needs=Needs(("rrpo",), PLACE, absent=(ORACLE,)),
        family="headline",
        effect=ODDS_MARGIN,
    ),
    _claim(
        "split-mixture",
        "A base group matters: 1x4 > 2x4 > 1x8.",
        "means over ten benchmarks "
        + ", ".join(
            f"{' / '.join(f'{published_split(model, place):.1f}' for place in range(3))} ({model})" for model in MODELS
        ),
        f"trend of success over {LOCALIZED}, srpo_2x4, srpo_1x8 (there srpo_asked_2x4, srpo_asked_1x8), a slope a "
        f"seed; {OVER_SEEDS}; one localizer for all",
        f"{below(half_of_splits())}, half the published gap",
        tests.split_mixture,
        "contrasts",
        needs=Needs((("srpo_2x4", "srpo_asked_2x4"), ("srpo_1x8", "srpo_asked_1x8")), PLACE),
        read="paper Tables 2, 3, 6 (read directly; means own)",
        effect=half_of_splits(),
    ),
    _claim(
        "prefix-mask",
        "To mask the shared prefix is at least as good as not to.",
        "no number; the variant is in the code only",
        f"success of srpo_degraded minus unmasked_prefix; non-inferiority with a margin of {MARGIN_IN_DEVIATIONS:g} "
        f"standard deviations over seeds, {OVER_SEEDS}",
        "surely below minus the margin",
        tests.prefix_mask,
        "contrasts",
        needs=Needs(("srpo_degraded", "unmasked_prefix"), PLACE),
        read=OWN,
    ),
    _claim(
        "token-signal",
        "Signal per token is higher in the suffix group where both groups have signal.",
        f"above 1 in 10 of 11 steps, median {tests.median_signal_ratio():.2f}",
        f"log-ratio of |A|/T (1 - pi), suffix over base group, mean over steps, {LOCALIZED}; {OVER_SEEDS}",
        f"{below(SIGNAL, 'times', null='above 1')}, half of the published median on the scale of logarithms",
        tests.token_signal,
        "signal",
        needs=Needs((), PLACE),
        effect=SIGNAL,
        read="figure, paper App. G (read directly)",
    ),
    _claim(
        "clip-role",
        "To drop the clip does not hurt SRPO.",
        "no clip ahead in {clip-wins.no-clip} of 20 cells, behind in {clip-wins.clip}; one seed",
        f"success of srpo_updates minus srpo_clip, four updates a batch; non-inferiority with a margin of {LOCAL:.1f} "
        f"points, {OVER_SEEDS}; interaction with GRPO beside it",
        "surely below minus the margin",
        tests.clip_role,
        "contrasts",
        needs=Needs(("srpo_updates", "srpo_clip", "grpo_updates", "grpo_clip"), PLACE),
        effect=-LOCAL,
    ),
    _claim(
        "self-correction-rise",
        "Suffixes succeed more often as training goes on, and fewer suffix groups lack signal.",
        "r = {suffix-pass-rate.correlation} with the step; {suffix-pass-rate.first} to {suffix-pass-rate.last} % "
        "right; groups of one outcome {same-outcome.shared-prefix.first} to {same-outcome.shared-prefix.last} %",
        f"Pearson r of suffix success with the step, and fall of the share without signal, {LOCALIZED}; "
        f"{OVER_SEEDS}, both must hold; the base group's rise beside it",
        f"r surely below {RISE:g} hundredths, or the fall below {FALL:g} points, and not surely positive",
        tests.self_correction_rise,
        "self_correction",
        needs=Needs((), PLACE),
        effect=RISE,
    ),
    _claim(
        "g1-bias",
        "The biased base group of algorithm 2 changes results (ours).",
        "the paper calls the group independent",
        "success of srpo_degraded minus independent_base; two-sided sign-flip over seeds",
        f"surely inside {MARGIN_IN_DEVIATIONS:g} standard deviations over seeds, and the 95 % interval includes 0",
        tests.g1_bias,
        "contrasts",
        needs=Needs(("srpo_degraded", "independent_base"), PLACE),
        read=OWN,
    ),
    _claim(
        "format-transfer",
        "Gains out of domain are gains in answering at all (ours).",
        "the gain over GRPO is 5.6 and 3.3 points over ten benchmarks, 0.5 and -1.8 on the one of training",
        f"{LOCALIZED} minus grpo_reset_loss out of domain: share of episodes with an answer, one-sided exact "
        f"sign-flip over seeds; success among these, TOST within {FORMAT_MARGIN:g} points; both must hold",
        f"the gain in success among answers surely above {FORMAT_MARGIN:g} points",
        tests.format_transfer,
        needs=Needs(("grpo_reset_loss",), PLACE, seeds=10),
        read=TABLE_3,
        effect=FORMAT_MARGIN,
    ),
    _claim(
        "localization-profile",
        "The localizer finds errors rather than early places.",
        "exact in {deviation.raw.localizations.0} of {localizations.graded} graded resets; mean position "
        "{position-summary.SRPO.mean} of the chain, random {position-summary.RRPO.mean}",
        "agreement of srpo_learned with the true first error minus that of the same choices dealt among chains of "
        f"equal length; {OVER_SEEDS}",
        below(AGREEMENT_MARGIN),
        tests.localization_profile,
        "localization",
        needs=Needs(("srpo_learned", "srpo_entropy", "rrpo"), PLACE),
        effect=AGREEMENT_MARGIN,
    ),
)
