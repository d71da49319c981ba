"""EchoRL: the tables of its printed accuracies."""

from __future__ import annotations

from reproduce.papers.echorl.audit.scores import (
    BASES,
    DOMAINS,
    Gain,
    average_checks,
    average_gains,
    cell_gains,
    cell_that_would_repair,
    count_fits,
    mean_standard_error,
    printed_average_gain,
    samples_of,
    sign_counts,
)
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import NOTHING, count, listed, number, probability

UNPAIRED = (
    "The standard error holds the sampling of problems only, one attempt each, and takes the two arms as "
    "independent. Both were scored on the same problems, so a paired test would be sharper, but no result of a "
    "single problem is published. Nothing holds the variation between training runs: one checkpoint an arm."
)


def averages_table() -> AuditTable:
    """Section 5.2: averages that do not add up."""
    checks = average_checks()
    rows = tuple(
        AuditRow(
            (
                check.method,
                check.domain,
                number(check.recomputed, 2),
                number(check.printed),
                number(check.difference, 2, signed=True),
                "yes" if check.agrees else "only if cells were rounded" if check.possible else "no",
            ),
            DIGEST,
        )
        for check in checks
    )
    impossible = [check for check in checks if not check.possible]
    strained = [f"{check.method}, {check.domain}" for check in checks if check.possible and not check.agrees]
    theirs = average_checks("luffy-accuracy")
    wrong = [
        f"the {check.domain} average of {check.method} is printed as {number(check.printed)} and its cells average to "
        f"{number(check.recomputed, 2)} (one cell would have to be off by {number(cell_that_would_repair(check))} "
        "points)"
        for check in impossible
    ]
    return AuditTable(
        "averages",
        "Averages that do not add up",
        "The mean of the printed cells against the printed average. Rounding of an average and of its cells, each to "
        "one decimal, can move it by at most 0.1.",
        ("method", "domain", "mean of cells", "printed", "difference", "agrees"),
        rows,
        f"{len(checks) - len(impossible)} of {len(checks)} averages are possible; "
        f"{listed(wrong) if wrong else 'none is impossible'}.",
        (
            f"Possible only because the cells are rounded too: {listed(strained) if strained else 'none'}.",
            f"For comparison, {sum(check.agrees for check in theirs)} of {len(theirs)} averages of LUFFY's own table "
            "agree.",
        ),
    )


def count_fits_table() -> AuditTable:
    """Can the printed percentages be counts?"""
    fits = count_fits()
    rows = tuple(
        AuditRow(
            (
                fit.benchmark,
                count(fit.problems),
                str(fit.samples),
                number(fit.chance, 2),
                f"{len(fit.misfits)} of {fit.printed}",
                f"{len(fit.reference_misfits)} of {fit.reference_printed}",
                listed([f"{method}, {number(value)}" for method, value, _ in fit.misfits])
                if fit.misfits and fit.samples == samples_of(fit.benchmark)
                else NOTHING,
            ),
            DIGEST,
        )
        for fit in fits
    )
    usual = [fit for fit in fits if fit.samples == samples_of(fit.benchmark)]
    single = [fit for fit in fits if fit.samples != samples_of(fit.benchmark)]
    odd = [f"{fit.benchmark} {number(value)} ({method})" for fit in usual for method, value, _ in fit.misfits]
    enough = [
        f"{samples} for {number(value)}" if samples else f"none tried for {number(value)}"
        for fit in usual
        for _, value, samples in fit.misfits
    ]
    theirs = sum(len(fit.reference_misfits) for fit in usual)
    return AuditTable(
        "counts",
        "Can the printed accuracies be counts?",
        "Is there a whole number of solved problems that rounds to the printed percentage? One sample a problem for "
        "most benchmarks, 32 for AIME and AMC (LUFFY's protocol); the last rows ask the same of AIME and AMC with "
        "one sample. LUFFY's own table is the control.",
        ("benchmark", "problems", "samples", "chance of a fit", "misfits", "misfits in LUFFY's table", "which"),
        rows,
        f"No count explains {listed(odd) if odd else 'nothing: all values fit'} with one sample a problem, while "
        f"{'every value' if theirs == 0 else f'all but {theirs} values'} of LUFFY's own table fits; "
        f"{sum(len(fit.misfits) for fit in single)} of {sum(fit.printed for fit in single)} AIME and AMC values "
        "cannot be single attempts, although one sample is the default of the released evaluation script.",
        (
            "Numbers of problems are general knowledge, stated in no source of the paper.",
            "The chance of a fit is the share of all one-decimal percentages that would fit: where it is 1, fitting "
            "says nothing.",
            "A misfit can come from another number of samples, another version of the benchmark, or an error of "
            f"copying. Fewest samples a problem that would fit: {listed(enough) if enough else 'no misfits'}.",
        ),
    )


def cell_gains_table() -> AuditTable:
    """Every gain with the error of sampling problems."""
    gains = cell_gains()
    beyond = [f"{gain.measure} on {gain.base}" for gain in gains if gain.adjusted <= 0.05]
    fallen = [f"{gain.measure} on {gain.base} by {number(-gain.gain)}" for gain in gains if gain.gain < 0]
    return AuditTable(
        "gains",
        "Gain on each benchmark against the error of sampling problems",
        "EchoRL minus its base in points, the standard error of one attempt at the base's accuracy, the unpaired "
        f"normal test of the gain, Holm over all {len(gains)} cells.",
        ("base", "benchmark", "before", "error before", "gain ± error", "p", "Holm"),
        tuple(_gain_row(gain) for gain in gains),
        f"Single gains beyond the sampling of problems after Holm: {listed(beyond) if beyond else 'none'}. Accuracy "
        f"falls on {listed(fallen) if fallen else 'none'}; a gain for every method holds for averages only.",
        (
            UNPAIRED,
            "AIME and AMC are probably means over 32 samples, which removes the noise of attempts but not that of "
            "problems.",
        ),
    )


def average_gains_table() -> AuditTable:
    """Gains of the averages, their power and the problems they would need."""
    gains = average_gains()
    rows = tuple(
        AuditRow(
            (
                *_gain_row(gain, 2).cells,
                number(gain.power, 2),
                f"× {number(gain.problems_factor)}",
            ),
            DIGEST,
        )
        for gain in gains
    )
    base = BASES[0]
    domain = next(iter(DOMAINS))
    first = next(gain for gain in gains if (gain.base, gain.measure) == (base, domain))
    beyond = [f"{gain.measure} on {gain.base}" for gain in gains if gain.adjusted <= 0.05]
    powers = [gain.power for gain in gains]
    return AuditTable(
        "average-gains",
        "Gain of the averages, and the power to find it",
        "Averages recomputed from the cells; test as above, Holm over the four. Power of the two-sided 5 % test if "
        "the gain is real, and how many times as many problems 80 % power would need.",
        ("base", "domain", "before", "error before", "gain ± error", "p", "Holm", "power", "problems for 80 %"),
        rows,
        f"Recomputed, the {domain} gain on {base} is {number(first.gain, 1, signed=True)} points instead of the "
        f"stated {number(printed_average_gain(base, domain), 1, signed=True)}. Standard errors at {base}'s accuracies "
        f"are {' and '.join(f'{number(mean_standard_error(base, name))} ({name})' for name in DOMAINS)} points. "
        f"Beyond them after Holm: {listed(beyond) if beyond else 'none'}; the power for the printed gains is "
        f"{number(min(powers), 2)}–{number(max(powers), 2)}.",
        (UNPAIRED,),
    )


def signs_table() -> AuditTable:
    """How consistent the gains are over benchmarks."""
    counts = sign_counts()
    rows = tuple(
        AuditRow(
            (
                item.base,
                f"{item.improved} of {item.benchmarks}",
                listed(list(item.fallen)) if item.fallen else NOTHING,
                probability(item.p_value),
                probability(item.adjusted),
            ),
            DIGEST,
        )
        for item in counts
    )
    parts = [
        f"{item.improved} of {item.benchmarks} benchmarks on {item.base} (sign test, Holm {number(item.adjusted, 3)})"
        for item in counts
    ]
    return AuditTable(
        "signs",
        "On how many benchmarks does EchoRL improve its base?",
        "Exact two-sided sign test over the nine benchmarks, Holm over the two bases.",
        ("base", "improved", "fell", "p", "Holm"),
        rows,
        f"EchoRL improves {listed(parts)}. "
        "That is the strongest evidence in the excerpt, and it is about two pairs of checkpoints.",
        (
            "The benchmark is the unit: the test says that one checkpoint is better than another across benchmarks, "
            "not that the method beats its base, for which training runs are the unit and none is repeated.",
            "Several benchmarks test the same skill, so they are not independent and the p-values are too small.",
        ),
    )


def _gain_row(gain: Gain, digits: int = 1) -> AuditRow:
    cells = (
        gain.base,
        gain.measure,
        number(gain.before, digits),
        number(gain.before_error, 2),
        f"{number(gain.gain, 1, signed=True)} ± {number(gain.standard_error)}",
        probability(gain.p_value),
        probability(gain.adjusted),
    )
    return AuditRow(cells, DIGEST)
