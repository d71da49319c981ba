"""EchoRL: what the excerpt of its main table supports: averages, counts behind percentages, copies, size of gains."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import load_published, setting_values, whole_setting
from reproduce.report.audit_tables import Analysis, filled, numbers, probabilities, texts
from reproduce.report.text import NOTHING, count, listed, number
from theory.inference import holm
from theory.published import chance_of_fit, consistent_trials
from theory.resampling import FloatArray

KEY = "echorl"
IN_DOMAIN = ("AIME24", "AIME25", "AMC", "MATH500", "Minerva", "Olympiad")
OUT_OF_DOMAIN = ("ARC-c", "GPQA", "MMLU-Pro")
DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}
AVERAGED = ("AIME24", "AIME25", "AMC")
"""Benchmarks that LUFFY scores by the mean over 32 samples per problem; all others by one."""
BASES = ("LUFFY", "UFT")
"""Methods that the excerpt shows with and without EchoRL."""
OWN_ROWS = ("GRPO", "UFT", "UFT+EchoRL", "LUFFY+EchoRL")
"""Rows that LUFFY's table does not hold."""
DECIMALS = 1
HALF = 0.5 * 10.0**-DECIMALS
MOST_SAMPLES = 64
UNPAIRED = (
    "The standard error holds the sampling of problems only, one attempt each, and takes the two arms as "
    "independent. Both were scored on the same problems, so a paired test would be sharper, but no result of a "
    "single problem is published. Nothing holds the variation between training runs: one checkpoint an arm."
)


@cache
def accuracies(quantity: str = "accuracy") -> pd.DataFrame:
    """Printed accuracies in percent, a row per method and a column per benchmark, NaN where nothing is printed.

    `luffy-accuracy` is LUFFY's own table.
    """
    table: dict[str, dict[str, float]] = {}
    for entry in load_published(KEY):
        if entry.quantity == quantity:
            table.setdefault(str(entry.cell["method"]), {})[str(entry.cell["benchmark"])] = float(entry.value)
    return pd.DataFrame.from_dict(table, orient="index")


@cache
def problems() -> pd.Series:
    """Problems of each benchmark, from general knowledge."""
    prefix = "evaluation.problems."
    sizes = {name: int(str(value)) for name, value in setting_values(KEY).items() if name.startswith(prefix)}
    return pd.Series(sizes).rename(lambda name: name.removeprefix(prefix))


def printed_averages(quantity: str = "accuracy") -> pd.DataFrame:
    """Every printed average beside the mean of its printed cells, section 5.2 of the specification.

    It `agrees` if the mean of the printed cells rounds to it, and is `possible` if some unrounded cells behind the
    printed ones have a mean that does.
    """
    cells = accuracies(quantity)
    rows = [
        (str(entry.cell["method"]), str(entry.cell["domain"]), float(entry.value))
        for entry in load_published(KEY)
        if entry.quantity == quantity.replace("accuracy", "average-accuracy")
    ]
    found = pd.DataFrame(rows, columns=["method", "domain", "printed"])
    found["recomputed"] = [float(cells.loc[method, list(DOMAINS[domain])].mean()) for method, domain, _ in rows]
    found["difference"] = found.printed - found.recomputed
    found["agrees"] = found.difference.abs() <= HALF + 1e-9
    found["possible"] = found.difference.abs() <= 2 * HALF + 1e-9
    return found


def samples_of(benchmark: str) -> int:
    """Samples per problem under the usual protocol."""
    return whole_setting(KEY, "evaluation.samples-averaged") if benchmark in AVERAGED else 1


def fewest_samples(value: float, size: int) -> int | None:
    """Fewest attempts per problem with which the printed percentage can be a count; None up to MOST_SAMPLES."""
    grid = np.arange(1, MOST_SAMPLES + 1)
    fitting = grid[consistent_trials([value], size * grid, DECIMALS)]
    return int(fitting[0]) if fitting.size else None


def misfits(benchmark: str, trials: int, quantity: str = "accuracy") -> dict[str, float]:
    """The printed percentages of a benchmark, by method, that are no count among `trials`."""
    column = accuracies(quantity)[benchmark].dropna()
    return {name: value for name, value in column.items() if not consistent_trials([value], [trials], DECIMALS)[0]}


def standard_errors(method: str) -> pd.Series:
    """Binomial standard errors in points of one attempt at each problem, by benchmark."""
    row = accuracies().loc[method] / 100
    return 100 * np.sqrt(row * (1 - row) / problems())


def mean_standard_error(method: str, domain: str) -> float:
    """Standard error in points of the average over the benchmarks of a domain, problems sampled independently."""
    errors = standard_errors(method)[list(DOMAINS[domain])]
    return float(np.sqrt(np.square(errors).sum()) / len(errors))


def _tested(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Unpaired normal tests of (base, measure, before, gain, error before, error after), all in points, with Holm.

    `power` is that of the two-sided 5 % test if the true gain is the printed one, `factor` says how many times as many
    problems give 80 %.
    """
    found = pd.DataFrame(rows, columns=["base", "measure", "before", "gain", "before_error", "after_error"])
    found["error"] = np.hypot(found.before_error, found.after_error)
    critical, shift = float(scipy.stats.norm.isf(0.025)), found.gain / found.error
    found["p"] = 2 * scipy.stats.norm.sf(shift.abs())
    found["adjusted"] = holm(found.p)
    found["power"] = scipy.stats.norm.sf(critical - shift) + scipy.stats.norm.cdf(-critical - shift)
    found["factor"] = ((critical + float(scipy.stats.norm.ppf(0.8))) / shift) ** 2
    return found


def tested_averages() -> pd.DataFrame:
    """Gain of each average, recomputed from the cells, Holm over the four."""
    rows = []
    for base in BASES:
        for domain, names in DOMAINS.items():
            methods = base, f"{base}+EchoRL"
            before, after = (float(accuracies().loc[method, list(names)].mean()) for method in methods)
            errors = (mean_standard_error(method, domain) for method in methods)
            rows.append((base, domain, before, after - before, *errors))
    return _tested(rows)


def coincidence_chances() -> FloatArray:
    """In-domain columns: share of the one-decimal values in its range that LUFFY's table holds, base left out."""
    theirs = accuracies("luffy-accuracy").drop(index="base")
    tenths = [{round(10 * value) for value in theirs[name].dropna()} for name in IN_DOMAIN]
    return np.array([len(values) / (max(values) - min(values) + 1) for values in tenths])


def coincidence_probability(at_least: int, chances: FloatArray) -> float:
    """P(at least so many of the independent events), by convolution of their laws (Poisson-binomial)."""
    law = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    return float(law[at_least:].sum())


def averages() -> Analysis:
    """Section 5.2: averages that do not add up."""
    found, theirs = printed_averages(), printed_averages("luffy-accuracy")
    rows = list(found.itertuples())
    wrong = [
        f"the {row.domain} average of {row.method} is printed as {number(row.printed)} and its cells average to "
        f"{number(row.recomputed, 2)} (one cell would have to be off by "
        f"{number(row.difference * len(DOMAINS[row.domain]))} points)"
        for row in rows
        if not row.possible
    ]
    strained = [f"{row.method}, {row.domain}" for row in rows if row.possible and not row.agrees]
    return Analysis(
        "averages",
        "Averages that do not add up",
        "The mean of the printed cells against the printed average. Rounding of an average and of its cells, each to "
        "one decimal, can move it by at most 0.1.",
        found,
        {
            "method": found.method,
            "domain": found.domain,
            "mean of cells": numbers(found.recomputed, 2),
            "printed": numbers(found.printed),
            "difference": numbers(found.difference, 2, signed=True),
            "agrees": ["yes" if row.agrees else "only if cells were rounded" if row.possible else "no" for row in rows],
        },
        f"{found.possible.sum()} of {len(found)} averages are possible; "
        f"{listed(wrong) if wrong else 'none is impossible'}.",
        (
            f"Possible only because the cells are rounded too: {listed(strained) if strained else 'none'}.",
            f"For comparison, {theirs.agrees.sum()} of {len(theirs)} averages of LUFFY's own table agree.",
        ),
    )


def counts() -> Analysis:
    """Printed accuracies that can be counts: with the usual samples per problem, and AIME and AMC also with one."""
    cases = [(name, samples_of(name)) for name in problems().index] + [(name, 1) for name in AVERAGED]
    found = pd.DataFrame(cases, columns=["benchmark", "samples"])
    found["problems"] = [int(problems()[name]) for name in found.benchmark]
    found["chance"] = [chance_of_fit(size, DECIMALS) for size in found.problems * found.samples]
    for name, quantity in (("misfits", "accuracy"), ("reference_misfits", "luffy-accuracy")):
        trials = zip(found.benchmark, found.problems * found.samples, strict=True)
        found[name] = [misfits(benchmark, size, quantity) for benchmark, size in trials]
        found[f"{name}_of"] = [accuracies(quantity)[benchmark].count() for benchmark in found.benchmark]
    usual, single = list(found.iloc[: len(problems())].itertuples()), found.iloc[len(problems()) :]
    odd = [(row, method, value) for row in usual for method, value in row.misfits.items()]
    needed = [(fewest_samples(value, row.problems), value) for row, _, value in odd]
    enough = [f"{samples or 'none tried'} for {number(value)}" for samples, value in needed]
    theirs = sum(len(row.reference_misfits) for row in usual)
    return Analysis(
        "counts",
        "Can the printed accuracies be counts?",
        "Is there a whole number of solved problems that rounds to the printed percentage? One sample a problem for "
        "most benchmarks, 32 for AIME and AMC (LUFFY's protocol); the last rows ask the same of AIME and AMC with "
        "one sample. LUFFY's own table is the control.",
        found,
        {
            "benchmark": found.benchmark,
            "problems": map(count, found.problems),
            "samples": texts(found.samples),
            "chance of a fit": numbers(found.chance, 2),
            "misfits": filled("{} of {}", found.misfits.map(len), found.misfits_of),
            "misfits in LUFFY's table": filled(
                "{} of {}", found.reference_misfits.map(len), found.reference_misfits_of
            ),
            "which": [
                *(listed([f"{m}, {number(v)}" for m, v in row.misfits.items()]) or NOTHING for row in usual),
                *[NOTHING] * len(single),
            ],
        },
        f"No count explains {listed([f'{row.benchmark} {number(value)} ({method})' for row, method, value in odd])} "
        f"with one sample a problem, while {f'all but {theirs} values' if theirs else 'every value'} of LUFFY's own "
        f"table fits; {single.misfits.map(len).sum()} of {single.misfits_of.sum()} AIME and AMC values "
        "cannot be single attempts, although one sample is the default of the released evaluation script.",
        (
            "Numbers of problems are general knowledge, stated in no source of the paper.",
            "The chance of a fit is the share of all one-decimal percentages that would fit: where it is 1, fitting "
            "says nothing.",
            "A misfit can come from another number of samples, another version of the benchmark, or an error of "
            f"copying. Fewest samples a problem that would fit: {listed(enough) if enough else 'no misfits'}.",
        ),
    )


def copies() -> Analysis:
    """Section 5.2: rows that equal LUFFY's, and a GRPO row put together from others.

    `elsewhere` maps an in-domain benchmark to the rows of LUFFY's table with the same value in its column; p is that
    of at least so many coincidences if every cell were drawn evenly from the range of its column.
    """
    ours, theirs, chances = accuracies(), accuracies("luffy-accuracy"), coincidence_chances()
    rows: list[tuple[Any, ...]] = []
    for method, row in ours.iterrows():
        holders = {name: tuple(theirs.index[theirs[name] == row[name]]) for name in IN_DOMAIN}
        elsewhere = {name: others for name, others in holders.items() if others}
        same = row == theirs.loc[method] if method in theirs.index else None
        shared = theirs.loc[method].notna() & row.notna() if method in theirs.index else None
        cells = (np.nan, np.nan) if same is None or shared is None else (same.sum(), shared.sum())
        rows.append((method, *cells, elsewhere, coincidence_probability(len(elsewhere), chances)))
    found = pd.DataFrame(rows, columns=["method", "same", "same_of", "elsewhere", "p"]).set_index("method", drop=False)
    own = list(OWN_ROWS)
    found.loc[own, "adjusted"] = holm(found.p[own])
    copied = [
        f"{row.method} ({row.same:g} of {row.same_of:g} cells)" for row in found.dropna(subset="same").itertuples()
    ]
    pieces = [
        f"{row.method}: all of "
        + ", ".join(f"{name} {number(ours.loc[row.method, name])} ({by[0]})" for name, by in row.elsewhere.items())
        for row in found[found.adjusted <= 0.05].itertuples()
    ]
    return Analysis(
        "copies",
        "Rows that LUFFY's table holds already",
        "Cells equal to the row of the same name in LUFFY's own table, and in-domain cells equal to any row of it in "
        "the same column; how many of the latter chance would give if values were even over the range of the column, "
        "and its tail probability, Holm over the four rows that LUFFY does not have.",
        found,
        {
            "row": found.method,
            "same row": [
                NOTHING if np.isnan(row.same) else f"{row.same:g} of {row.same_of:g}" for row in found.itertuples()
            ],
            "anywhere in the column": [f"{len(names)} of {len(IN_DOMAIN)}" for names in found.elsewhere],
            "expected by chance": numbers(found.adjusted.notna().map({True: chances.sum(), False: np.nan})),
            "p": probabilities(found.p.where(found.adjusted.notna())),
            "Holm": probabilities(found.adjusted),
        },
        f"{listed(copied)} repeat LUFFY's numbers, so these baselines look copied, not run again. More coincidences "
        f"than chance: {listed(pieces) if pieces else 'none'}.",
        (
            "Even values are a rough null: accuracies cluster. It is enough to tell six of six from one or two.",
            "LUFFY's repository prints no out-of-domain row for SFT.",
        ),
    )


def _gain_columns(found: pd.DataFrame, measure: str, digits: int) -> dict[str, list[str]]:
    return {
        "base": list(found.base),
        measure: list(found.measure),
        "before": numbers(found.before, digits),
        "error before": numbers(found.before_error, 2),
        "gain ± error": filled("{} ± {}", numbers(found.gain, signed=True), numbers(found.error)),
        "p": probabilities(found.p),
        "Holm": probabilities(found.adjusted),
    }


def _beyond(found: pd.DataFrame) -> str:
    """The gains that stay significant after Holm."""
    return listed([f"{row.measure} on {row.base}" for row in found[found.adjusted <= 0.05].itertuples()]) or "none"


def gains() -> Analysis:
    """Gain on each benchmark with the error of sampling problems, Holm over all cells of both bases."""
    rows = []
    for base in BASES:
        before, after = accuracies().loc[base], accuracies().loc[f"{base}+EchoRL"]
        errors = standard_errors(base), standard_errors(f"{base}+EchoRL")
        rows += [
            (base, name, before[name], after[name] - before[name], *(error[name] for error in errors))
            for name in problems().index
        ]
    found = _tested(rows)
    fallen = [f"{row.measure} on {row.base} by {number(-row.gain)}" for row in found[found.gain < 0].itertuples()]
    return Analysis(
        "gains",
        "Gain on each benchmark against the error of sampling problems",
        "EchoRL minus its base in points, the standard error of one attempt at the base's accuracy, the unpaired "
        f"normal test of the gain, Holm over all {len(found)} cells.",
        found,
        _gain_columns(found, "benchmark", 1),
        f"Single gains beyond the sampling of problems after Holm: {_beyond(found)}. Accuracy "
        f"falls on {listed(fallen) if fallen else 'none'}; a gain for every method holds for averages only.",
        (
            UNPAIRED,
            "AIME and AMC are probably means over 32 samples, which removes the noise of attempts but not that of "
            "problems.",
        ),
    )


def average_gains() -> Analysis:
    """Gains of the averages, their power and the problems they would need."""
    found, averaged = tested_averages(), printed_averages().set_index(["method", "domain"]).printed
    base, domain = found.base[0], found.measure[0]
    stated = averaged[f"{base}+EchoRL", domain] - averaged[base, domain]
    errors = [f"{number(mean_standard_error(base, name))} ({name})" for name in DOMAINS]
    return Analysis(
        "average-gains",
        "Gain of the averages, and the power to find it",
        "Averages recomputed from the cells; test as above, Holm over the four. Power of the two-sided 5 % test if "
        "the gain is real, and how many times as many problems 80 % power would need.",
        found,
        {
            **_gain_columns(found, "domain", 2),
            "power": numbers(found.power, 2),
            "problems for 80 %": [f"× {factor}" for factor in numbers(found.factor)],
        },
        f"Recomputed, the {domain} gain on {base} is {number(found.gain[0], 1, signed=True)} points instead of the "
        f"stated {number(stated, 1, signed=True)}. Standard errors at {base}'s accuracies are {' and '.join(errors)} "
        f"points. Beyond them after Holm: {_beyond(found)}; the power for the printed gains is "
        f"{number(found.power.min(), 2)}–{number(found.power.max(), 2)}.",
        (UNPAIRED,),
    )


def signs() -> Analysis:
    """Consistency of the gains over benchmarks: exact two-sided sign test, Holm over the two bases."""
    rows = []
    for base in BASES:
        changes = accuracies().loc[f"{base}+EchoRL"] - accuracies().loc[base]
        improved, fallen = int((changes > 0).sum()), list(changes.index[changes < 0])
        rows.append(
            (
                base,
                improved,
                len(changes),
                fallen,
                float(scipy.stats.binomtest(improved, improved + len(fallen)).pvalue),
            )
        )
    found = pd.DataFrame(rows, columns=["base", "improved", "benchmarks", "fallen", "p"])
    found["adjusted"] = holm(found.p)
    parts = [
        f"{row.improved} of {row.benchmarks} benchmarks on {row.base} (sign test, Holm {number(row.adjusted, 3)})"
        for row in found.itertuples()
    ]
    return Analysis(
        "signs",
        "On how many benchmarks does EchoRL improve its base?",
        "Exact two-sided sign test over the nine benchmarks, Holm over the two bases.",
        found,
        {
            "base": found.base,
            "improved": filled("{} of {}", found.improved, found.benchmarks),
            "fell": [listed(fallen) or NOTHING for fallen in found.fallen],
            "p": probabilities(found.p),
            "Holm": probabilities(found.adjusted),
        },
        f"EchoRL improves {listed(parts)}. "
        "That is the strongest evidence in the excerpt, and it is about two pairs of checkpoints.",
        (
            "The benchmark is the unit: the test says that one checkpoint is better than another across benchmarks, "
            "not that the method beats its base, for which training runs are the unit and none is repeated.",
            "Several benchmarks test the same skill, so they are not independent and the p-values are too small.",
        ),
    )
