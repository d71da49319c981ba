"""The claims on RRPO and SRPO as registered: statement, test, rule of refutation (section 7 of the specification)."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import quote
from reproduce.claims.verdicts import Claim, Evidence
from reproduce.papers.resets import tests
from reproduce.papers.resets.audit.scores import MODELS, mean_scores
from reproduce.papers.resets.tests import (
    AGREEMENT_MARGIN,
    FORMAT_MARGIN,
    MARGIN_IN_DEVIATIONS,
    ODDS_MARGIN,
    half,
    published_split,
)

KEY = "resets"
OVER_SEEDS = "one-sided exact sign-flip over seeds"
NEEDS_ARMS = "its arms are not part of the laptop's budget"


def _means(arm: str, against: str) -> str:
    gaps = [mean_scores(model, arm)[0] - mean_scores(model, against)[0] for model in MODELS]
    shown = " and ".join(f"{gap:+.1f} ({model})" for gap, model in zip(gaps, MODELS, strict=True))
    return f"{arm} - {against}: {shown} points, our means over the ten benchmarks of Table 3"


def _claim(
    name: str,
    statement: str,
    published: str,
    test: str,
    refuted_if: str,
    examine: Callable[[MethodRecords], Evidence],
    *figures: str,
    read: str = "",
    full_only: str = "",
) -> Claim:
    """read: where numbers without an identifier were read, where the text names none that has one."""
    text, provenance = quote(KEY, published)
    return Claim(
        f"{KEY}.{name}", statement, text, read or provenance, test, refuted_if, examine, figures, full_only=full_only
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
        f"the 95 % interval includes 0 or less and ends below {half('SRPO', 'RRPO'):.1f} points, half the published "
        "gain",
        tests.srpo_vs_rrpo,
        "contrasts",
        read=TABLE_3,
    ),
    _claim(
        "srpo-vs-grpo",
        "SRPO beats GRPO: GRPO with SRPO's loss, and GRPO as published.",
        _means("SRPO", "GRPO"),
        f"success of {LOCALIZED} minus grpo_reset_loss and minus grpo; {OVER_SEEDS}, the larger p",
        f"the 95 % interval over grpo_reset_loss includes 0 or less and ends below {half('SRPO', 'GRPO'):.1f} points, "
        "half the published gain; a gain over grpo alone is the loss's",
        tests.srpo_vs_grpo,
        "contrasts",
        "curves",
        read=TABLE_3,
    ),
    _claim(
        "speed-up",
        "SRPO reaches GRPO's final level faster.",
        "{speed-up.GRPO} times fewer steps than GRPO, {speed-up.RRPO} times fewer than RRPO",
        f"generated tokens of grpo over those of {LOCALIZED} until the smoothed success on training prompts reaches "
        "grpo's mean final level, a run of grpo that does not reach it charged whole and one of the other arm the "
        f"larger budget of both, half of the other arm's runs at least reaching it; log-ratio, {OVER_SEEDS}",
        "the 95 % interval of the ratio in generated tokens ends at or below 1",
        tests.speed_up,
        "curves",
    ),
    _claim(
        "rrpo-like-grpo",
        "Random resets are comparable to no resets.",
        _means("RRPO", "GRPO"),
        f"success of rrpo minus grpo_reset_loss; TOST with a margin of {half('SRPO', 'GRPO'):.1f} points, half the "
        "published SRPO-GRPO effect",
        "the 90 % interval lies outside the margin on either side",
        tests.rrpo_like_grpo,
        "contrasts",
        read=TABLE_3,
        full_only="eight seeds cannot show equivalence within its margin (planned effects)",
    ),
    _claim(
        "localization-dose",
        "The gain rises with the quality of localization.",
        "argued, not measured",
        "slope of success on the measured share of exact hits over rrpo, oracles that hit in 25, 50 and 75 % and miss "
        f"on either side, and the oracle; {OVER_SEEDS}; Page's trend in that order beside it",
        "the slope is not above 0 (95 % interval) and either its interval ends at or below 0 or that of srpo_oracle "
        f"minus rrpo includes 0 or less and ends below {half('SRPO', 'RRPO'):.1f} points",
        tests.localization_dose,
        "dose",
        read=OWN,
        full_only=NEEDS_ARMS,
    ),
    _claim(
        "position-control",
        "The effect is credit assignment, not earliness.",
        "no control in paper or code",
        f"success of srpo_oracle minus position_control; {OVER_SEEDS}; equivalence within "
        f"{half('SRPO', 'RRPO'):.1f} points beside it",
        f"the 95 % interval is not above 0 and the 90 % interval ends below {half('SRPO', 'RRPO'):.1f} points: resets "
        "at the same positions, drawn blindly, do as well",
        tests.position_control,
        "contrasts",
        "positions",
        read=OWN,
    ),
    _claim(
        "clean-prefix",
        "Clean prefixes are corrected more often than erroneous ones.",
        "{prefix.raw.clean.solved} of {prefix.raw.clean.groups} groups of four suffixes solved after a clean prefix, "
        "{prefix.raw.erroneous.solved} of {prefix.raw.erroneous.groups} after an erroneous one",
        "log odds ratio of a solved group over the resets of rrpo, position_control and srpo_degraded; "
        f"{OVER_SEEDS}; beside it the odds ratio at equal chain length and step",
        f"the 95 % interval of the raw odds ratio ends below {ODDS_MARGIN:g}; explained by earliness if the raw one "
        f"holds and the adjusted interval includes 1 and ends below {ODDS_MARGIN:g}",
        tests.clean_prefix,
        "localization",
    ),
    _claim(
        "split-mixture",
        "A base group matters: 1x4 > 2x4 > 1x8.",
        "means over ten benchmarks "
        + ", ".join(
            f"{' / '.join(f'{published_split(model, place):.1f}' for place in range(3))} ({model})" for model in MODELS
        ),
        f"success of {LOCALIZED} minus srpo_1x8 (there srpo_asked_1x8); p of Page's trend over the three splits; one "
        "localizer for all",
        "the 95 % interval of 1x4 minus 1x8 includes 0 or less and ends below half the published gap",
        tests.split_mixture,
        "contrasts",
        read="paper Tables 2, 3, 6 (read directly; means own)",
        full_only=NEEDS_ARMS,
    ),
    _claim(
        "prefix-mask",
        "To mask the shared prefix is at least as good as not to.",
        "no number; the variant is in the code only",
        f"success of srpo_degraded minus unmasked_prefix; t test against minus {MARGIN_IN_DEVIATIONS:g} standard "
        "deviations over seeds",
        "the 95 % interval lies below 0",
        tests.prefix_mask,
        "contrasts",
        read=OWN,
        full_only=NEEDS_ARMS,
    ),
    _claim(
        "token-signal",
        "Signal per token is higher in the suffix group where both groups have signal.",
        f"above 1 in 10 of 11 steps, median {tests.median_signal_ratio():.2f}",
        f"log-ratio of |A|/T (1 - pi), suffix over base group, mean over steps, {LOCALIZED}; {OVER_SEEDS}",
        "the 95 % interval of the ratio lies below 1",
        tests.token_signal,
        "signal",
        read="figure, paper App. G (read directly)",
    ),
    _claim(
        "clip-role",
        "To drop the clip does not hurt SRPO.",
        "no clip ahead in {clip-wins.no-clip} of 20 cells, behind in {clip-wins.clip}; one seed",
        f"success of srpo_updates minus srpo_clip, four updates a batch; {OVER_SEEDS}; interaction with GRPO beside it",
        "the 95 % interval lies below 0",
        tests.clip_role,
        "contrasts",
        full_only=NEEDS_ARMS,
    ),
    _claim(
        "self-correction-rise",
        "Suffixes succeed more often as training goes on, and fewer suffix groups lack signal.",
        "r = {suffix-pass-rate.correlation} with the step; {suffix-pass-rate.first} to {suffix-pass-rate.last} % "
        "right; groups of one outcome {same-outcome.shared-prefix.first} to {same-outcome.shared-prefix.last} %",
        f"Pearson r of suffix success with the step, and fall of the share without signal, {LOCALIZED}; "
        f"{OVER_SEEDS}, the larger p; the base group's rise beside it",
        "the 95 % interval of r, or of the fall, ends at or below 0",
        tests.self_correction_rise,
        "self_correction",
    ),
    _claim(
        "g1-bias",
        "The biased base group of algorithm 2 changes results (ours).",
        "the paper calls the group independent",
        f"success of srpo_degraded minus independent_base; two-sided sign-flip over seeds; equivalence within "
        f"{MARGIN_IN_DEVIATIONS:g} standard deviations over seeds beside it",
        "the 95 % interval includes 0 and the 90 % interval lies inside the margin",
        tests.g1_bias,
        "contrasts",
        read=OWN,
        full_only=NEEDS_ARMS,
    ),
    _claim(
        "format-transfer",
        "Gains out of domain are gains in answering at all (ours).",
        "the gain over GRPO is 5.6 and 3.3 points over ten benchmarks, 0.5 and -1.8 on the one of training",
        f"{LOCALIZED} minus grpo_reset_loss out of domain: share of episodes with an answer, one-sided exact "
        f"sign-flip over seeds; success among these, TOST within {FORMAT_MARGIN:g} points; the larger p",
        "the 95 % interval of the gain in success among answers lies above 0",
        tests.format_transfer,
        read=TABLE_3,
        full_only="the laptop's panel out of domain is too small",
    ),
    _claim(
        "localization-profile",
        "The localizer finds errors rather than early places.",
        "exact in {deviation.raw.localizations.0} of {localizations.graded} graded resets; mean position "
        "{position-summary.SRPO.mean} of the chain, random {position-summary.RRPO.mean}",
        "agreement of srpo_learned with the true first error minus that of the same choices dealt among chains of "
        f"equal length; {OVER_SEEDS}",
        f"the 95 % interval ends below {AGREEMENT_MARGIN:g} points",
        tests.localization_profile,
        "localization",
        full_only="the laptop's localizers are made from the oracle; only those that are not can find or miss errors",
    ),
)
