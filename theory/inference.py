"""Tests, intervals, bootstraps and power: the names to import.

The parts live in `theory.randomization` (sign flips, maxT), `theory.paired` (t, TOST, McNemar, Wilson, Holm),
`theory.bootstrap` (seeds and questions) and `theory.power`.
"""

from theory.bootstrap import (
    SeedQuestionInterval,
    crossed_t_interval,
    hierarchical_bootstrap,
)
from theory.paired import (
    EquivalenceResult,
    MeanInterval,
    holm,
    mcnemar_exact,
    mcnemar_mid_p,
    mean_interval,
    paired_tost,
    wilson_interval,
)
from theory.power import (
    mcnemar_questions,
    minimum_detectable_effect,
    power_mcnemar,
    power_paired_t,
    sign_flip_minimum_detectable_effect,
)
from theory.randomization import MaxTResult, SignFlipResult, sign_flip_test, westfall_young_maxt

__all__ = [
    "EquivalenceResult",
    "MaxTResult",
    "MeanInterval",
    "SeedQuestionInterval",
    "SignFlipResult",
    "crossed_t_interval",
    "hierarchical_bootstrap",
    "holm",
    "mcnemar_exact",
    "mcnemar_mid_p",
    "mcnemar_questions",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_tost",
    "power_mcnemar",
    "power_paired_t",
    "sign_flip_minimum_detectable_effect",
    "sign_flip_test",
    "westfall_young_maxt",
    "wilson_interval",
]
