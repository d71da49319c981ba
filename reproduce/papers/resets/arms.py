"""The arms of RRPO and SRPO as plain data: what each changes, and which profile runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from reproduce.core.config import SamplingConfig
from reproduce.core.paper import Arm
from reproduce.report.colours import BASE, INK, OTHER, PURPLE, QUIET, TRAINED

Rule = Literal["none", "uniform", "first", "oracle", "asked", "entropy", "learned", "histogram", "values"]
LOCALIZER = SamplingConfig(temperature=0.3, top_p=0.95, longest_action=4096)
"""How the policy answers when it is asked for its first error (released code, all splits but 1x8, which has 0.0)."""


@dataclass(frozen=True)
class ResetSettings:
    """What determines an arm besides its bed. The defaults are RRPO."""

    rule: Rule = "uniform"
    """Where a failed chain is reset: `none` (plain groups), `uniform` (RRPO), `first` (always at step 1), `oracle`,
    `asked` (SRPO: the policy is asked for its first error), `entropy`, `learned`, or `histogram` (positions of the same
    seed's run of `source`, drawn blindly). `values` resets nothing: plain groups with an advantage for each step from
    continuations."""
    hit_rate: float = 1.0
    """Of the oracle: chance to name the true first error."""
    offset: int = 0
    """Of the oracle's misses: steps after the true first error at which they aim."""
    spread: int = 0
    """Of the oracle's misses: steps around that aim, either way."""
    source: str = ""
    """Arm whose positions the rule `histogram` draws from."""
    split: Literal["1x4", "2x4", "1x8"] = "1x4"
    """How the eight trained chains of a prompt divide."""
    mask_prefix: bool = True
    """Whether the prefix gets no gradient."""
    independent_base: bool = False
    """Whether the base group is a sample of independent chains; the published one is not."""
    published_loss: bool = False
    """The loss of the paper's GRPO baseline: ratio and clip, token mean, Bessel-corrected deviation."""
    clip: bool = False
    """Importance ratio and its clip in the reset arms' loss."""
    updates: int = 1
    """Optimiser steps on each batch (paper: 4). With one the ratio is 1 and the clip cannot act."""
    longest: int = 20
    """Most steps of a chain, those of the prefix counted (paper: 20)."""
    labelled_steps: int = 5
    """Of the rule `learned`: training steps whose failed chains are labelled by resampling, before the fit."""
    continuations: int = 4
    """Of the rules `learned` and `values`: continuations from each step of a chain."""
    localizer: SamplingConfig = field(default_factory=lambda: LOCALIZER)
    """Of the rule `asked`: how the policy answers."""
    probe_tasks: int = 0
    """Decisive chains of each coverage on which the base is probed before the run (`coverage_probe`)."""


ORACLE = ResetSettings(rule="oracle")
DEGRADED = ResetSettings(rule="oracle", hit_rate=0.35, offset=-4, spread=3)
"""The paper's localizer by what it adds to a random step: twice as many exact hits (there 12 to 16 % where chance has 6
to 8 %; here 35 % where chance has 17 %), at a mean position .63 times that of random resets (there .34 against .54)."""
CENTRED = ResetSettings(rule="oracle", spread=4)
"""Misses on either side, for the dose-response."""
PLAIN = ResetSettings(rule="none")
ASKED = ResetSettings(rule="asked")

ARMS = {
    "base": Arm("base", "the warm-started policy, evaluated only"),
    "grpo": Arm(
        "GRPO as published",
        "GRPO with the published baseline's loss: token mean, Bessel-corrected deviation, 8 chains a prompt",
        replace(PLAIN, published_loss=True),
        look={"color": QUIET, "linestyle": ":"},
    ),
    "grpo_reset_loss": Arm(
        "GRPO, same loss",
        "GRPO on 8 plain chains with the reset arms' loss: the control that the paper lacks",
        PLAIN,
        look={"color": INK, "linestyle": "--"},
    ),
    "rrpo": Arm(
        "RRPO",
        "resets at a uniformly drawn step of a failed chain",
        ResetSettings(),
        look={"color": BASE, "linestyle": "-"},
    ),
    "srpo_oracle": Arm(
        "SRPO, oracle", "resets at the true first error", ORACLE, look={"color": TRAINED, "linestyle": "-"}
    ),
    "srpo_degraded": Arm(
        "SRPO, degraded oracle",
        "SRPO at the paper's quality: the first error in 35 %, twice chance, else mostly earlier",
        DEGRADED,
        look={"color": OTHER, "linestyle": "-"},
    ),
    "position_control": Arm(
        "random at SRPO's positions",
        "resets at steps drawn from the positions of srpo_oracle of the same seed, blind to the chain",
        ResetSettings(rule="histogram", source="srpo_oracle"),
        look={"color": PURPLE, "linestyle": "-."},
    ),
    "srpo_hit_25": Arm(
        "srpo_hit_25",
        "resets at the true first error in 25 %, else at a step up to four away on either side",
        replace(CENTRED, hit_rate=0.25),
    ),
    "srpo_hit_50": Arm("srpo_hit_50", "as srpo_hit_25, exact in 50 %", replace(CENTRED, hit_rate=0.5)),
    "srpo_hit_75": Arm("srpo_hit_75", "as srpo_hit_25, exact in 75 %", replace(CENTRED, hit_rate=0.75)),
    "srpo_early": Arm(
        "srpo_early",
        "as srpo_hit_50, misses aimed three steps before the error: about two steps too early on average",
        replace(CENTRED, hit_rate=0.5, offset=-3, spread=1),
    ),
    "srpo_late": Arm(
        "srpo_late",
        "as srpo_hit_50, misses aimed three steps after the error: about two steps too late on average",
        replace(CENTRED, hit_rate=0.5, offset=3, spread=1),
    ),
    "srpo_entropy": Arm(
        "srpo_entropy",
        "resets at the step with the highest mean entropy",
        ResetSettings(rule="entropy"),
        reads_entropies=True,
    ),
    "srpo_learned": Arm(
        "srpo_learned",
        "resets by a localizer fitted to where the policy's own continuations stop succeeding",
        ResetSettings(rule="learned"),
        reads_entropies=True,
    ),
    "restart": Arm(
        "restart",
        "resets at step 1 always: two plain groups of four, each normalised by itself",
        ResetSettings(rule="first"),
    ),
    "unmasked_prefix": Arm(
        "unmasked_prefix", "srpo_degraded with a gradient on the prefix", replace(DEGRADED, mask_prefix=False)
    ),
    "srpo_2x4": Arm(
        "srpo_2x4",
        "srpo_degraded with two failed chains and four suffixes each, no base group",
        replace(DEGRADED, split="2x4"),
    ),
    "srpo_1x8": Arm(
        "srpo_1x8",
        "srpo_degraded with one failed chain and eight suffixes, no base group",
        replace(DEGRADED, split="1x8"),
    ),
    "independent_base": Arm(
        "independent_base", "srpo_degraded with an unbiased base group", replace(DEGRADED, independent_base=True)
    ),
    "srpo_updates": Arm(
        "srpo_updates", "srpo_degraded with four optimiser steps a batch", replace(DEGRADED, updates=4)
    ),
    "srpo_clip": Arm(
        "srpo_clip", "srpo_updates with importance ratio and clip", replace(DEGRADED, updates=4, clip=True)
    ),
    "grpo_updates": Arm("grpo_updates", "grpo_reset_loss with four optimiser steps a batch", replace(PLAIN, updates=4)),
    "grpo_clip": Arm("grpo_clip", "grpo_updates with importance ratio and clip", replace(PLAIN, updates=4, clip=True)),
    "segment_values": Arm(
        "segment_values",
        "a rival: plain chains, the advantage of each step from continuations of its prefix (SPO-style)",
        ResetSettings(rule="values"),
    ),
    "srpo": Arm(
        "SRPO, the policy asked",
        "SRPO itself: resets at the step that the policy, asked for its first error, names",
        ASKED,
        look={"color": TRAINED, "linestyle": "-"},
    ),
    "srpo_asked_2x4": Arm(
        "srpo_asked_2x4",
        "srpo with two failed chains and four suffixes each, no base group",
        replace(ASKED, split="2x4"),
    ),
    "srpo_asked_1x8": Arm(
        "srpo_asked_1x8", "srpo with one failed chain and eight suffixes, no base group", replace(ASKED, split="1x8")
    ),
}
"""By name, in plan order; those that a profile trains first have a look of their own in figures."""
TRAINED_ARMS = tuple(ARMS)[1:]

LAPTOP = ("grpo", "grpo_reset_loss", "rrpo", "srpo_oracle", "srpo_degraded", "position_control")
"""Trained arms of the laptop profile, in the order of their runs: what reads another run's file comes after it."""
PUBLISHED = ("grpo", "rrpo", "srpo", "srpo_asked_2x4", "srpo_asked_1x8")
"""The paper's own trained arms, which need no oracle."""
WITH_ORACLE = tuple(arm for arm in TRAINED_ARMS if ARMS[arm].settings.rule != "asked")
"""Arms for policies made here, which cannot read the question for the first error."""


def needs_oracle(arm: str) -> bool:
    """Whether the arm reads the true first errors, itself or by the positions of another arm."""
    settings = ARMS[arm].settings
    return settings.rule == "oracle" or (bool(settings.source) and needs_oracle(settings.source))
