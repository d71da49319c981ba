"""EchoRL: what the excerpt of its main table supports: averages, counts behind percentages, size of the gains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

from reproduce.claims.published import load_published, load_settings, published_number
from theory.inference import holm
from theory.published import chance_of_fit, consistent_trials

KEY = "echorl"
IN_DOMAIN = ("AIME24", "AIME25", "AMC", "MATH500", "Minerva", "Olympiad")
OUT_OF_DOMAIN = ("ARC-c", "GPQA", "MMLU-Pro")
DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}
AVERAGED = ("AIME24", "AIME25", "AMC")
"""Benchmarks that LUFFY scores by the mean over 32 samples a problem; all others by one."""
BASES = ("LUFFY", "UFT")
"""Methods that the excerpt shows with and without EchoRL."""
DECIMALS = 1
HALF = 0.5 * 10.0**-DECIMALS
MOST_SAMPLES = 64


@dataclass(frozen=True)
class AverageCheck:
    """A printed average and the mean of its printed cells."""

    method: str
    domain: str
    printed: float
    recomputed: float

    @property
    def difference(self) -> float:
        return self.printed - self.recomputed

    @property
    def agrees(self) -> bool:
        """The mean of the printed cells rounds to the printed average."""
        return abs(self.difference) <= HALF + 1e-9

    @property
    def possible(self) -> bool:
        """Some unrounded cells behind the printed ones have a mean that rounds to the printed average."""
        return abs(self.difference) <= 2 * HALF + 1e-9


@dataclass(frozen=True)
class CountFit:
    """Printed accuracies of one benchmark as counts among its problems, each solved or not in `samples` attempts."""

    benchmark: str
    problems: int
    samples: int
    chance: float
    """Share of all values with one decimal that fit: how little a fit means."""
    printed: int
    reference_printed: int
    misfits: tuple[tuple[str, float, int | None], ...]
    """Method, value and fewest samples a problem that fit it, for the values that do not fit."""
    reference_misfits: tuple[tuple[str, float], ...]
    """The same among LUFFY's own table."""


@dataclass(frozen=True)
class Gain:
    """Gain of EchoRL over a base, with the standard error of sampling problems (unpaired, one attempt each), points."""

    base: str
    measure: str
    before: float
    gain: float
    standard_error: float
    before_error: float
    p_value: float
    adjusted: float
    power: float
    """Power of the two-sided 5 % test if the true gain is the printed one."""
    problems_factor: float
    """Times as many problems for 80 % power; infinite without a gain."""


@dataclass(frozen=True)
class SignCount:
    """How many benchmarks improve when EchoRL joins a base, with the exact two-sided sign test."""

    base: str
    improved: int
    benchmarks: int
    fallen: tuple[str, ...]
    p_value: float
    adjusted: float


def accuracies(quantity: str = "accuracy") -> dict[str, dict[str, float]]:
    """Printed accuracies, in percent, by method and benchmark; `luffy-accuracy` is LUFFY's own table."""
    table: dict[str, dict[str, float]] = {}
    for entry in load_published(KEY):
        if entry.quantity == quantity:
            table.setdefault(str(entry.cell["method"]), {})[str(entry.cell["benchmark"])] = float(entry.value)
    return table


def problems() -> dict[str, int]:
    """Problems of each benchmark, from general knowledge."""
    prefix = "evaluation.problems."
    return {
        setting.id.removeprefix(prefix): int(str(setting.value))
        for setting in load_settings(KEY)
        if setting.id.startswith(prefix)
    }


def setting_number(identifier: str) -> float:
    """A published setting that is a number."""
    return next(float(str(setting.value)) for setting in load_settings(KEY) if setting.id == identifier)


def average_checks(quantity: str = "accuracy") -> tuple[AverageCheck, ...]:
    """Every printed average with all of its cells printed, section 5.2 of the specification."""
    cells = accuracies(quantity)
    return tuple(
        AverageCheck(
            str(entry.cell["method"]),
            str(entry.cell["domain"]),
            float(entry.value),
            _mean(cells[str(entry.cell["method"])], str(entry.cell["domain"])),
        )
        for entry in load_published(KEY)
        if entry.quantity == quantity.replace("accuracy", "average-accuracy")
    )


def count_fits() -> tuple[CountFit, ...]:
    """Which printed accuracies can be counts: with the usual samples a problem, and AIME and AMC also with one."""
    usual = [_count_fit(benchmark, samples_of(benchmark)) for benchmark in problems()]
    return (*usual, *(_count_fit(benchmark, 1) for benchmark in AVERAGED))


def _count_fit(benchmark: str, samples: int) -> CountFit:
    size = problems()[benchmark]
    ours, theirs = (
        {method: row[benchmark] for method, row in accuracies(quantity).items() if benchmark in row}
        for quantity in ("accuracy", "luffy-accuracy")
    )
    misfits = [(method, value) for method, value in ours.items() if not fits_count(value, size * samples)]
    return CountFit(
        benchmark,
        size,
        samples,
        chance_of_fit(size * samples, DECIMALS),
        len(ours),
        len(theirs),
        tuple((method, value, fewest_samples(value, size)) for method, value in misfits),
        tuple((method, value) for method, value in theirs.items() if not fits_count(value, size * samples)),
    )


def samples_of(benchmark: str) -> int:
    """Samples a problem under the usual protocol."""
    return int(setting_number("evaluation.samples-averaged")) if benchmark in AVERAGED else 1


def fits_count(value: float, trials: int) -> bool:
    """Whether a printed percentage can be a count among `trials`."""
    return bool(consistent_trials([value], [trials], DECIMALS)[0])


def fewest_samples(value: float, size: int) -> int | None:
    """Fewest attempts a problem with which the printed percentage can be a count; None up to MOST_SAMPLES."""
    grid = np.arange(1, MOST_SAMPLES + 1)
    fitting = grid[consistent_trials([value], size * grid, DECIMALS)]
    return int(fitting[0]) if fitting.size else None


def standard_error(accuracy: float, size: int) -> float:
    """Binomial standard error in points of one attempt at each of `size` problems."""
    return float(100 * np.sqrt(accuracy / 100 * (1 - accuracy / 100) / size))


def mean_standard_error(method: str, domain: str) -> float:
    """Standard error in points of the average over the benchmarks of a domain, problems sampled independently."""
    row, sizes = accuracies()[method], problems()
    errors = [standard_error(row[name], sizes[name]) for name in DOMAINS[domain]]
    return float(np.sqrt(np.square(errors).sum()) / len(errors))


def cell_gains() -> tuple[Gain, ...]:
    """Gain on each benchmark, Holm over all cells of both bases."""
    cells, sizes = accuracies(), problems()
    raw = []
    for base in BASES:
        for benchmark, size in sizes.items():
            before, after = cells[base][benchmark], cells[f"{base}+EchoRL"][benchmark]
            errors = standard_error(before, size), standard_error(after, size)
            raw.append((base, benchmark, before, after - before, *errors))
    return _tested(raw)


def average_gains() -> tuple[Gain, ...]:
    """Gain of each average, recomputed from the cells, Holm over the four."""
    cells = accuracies()
    raw = []
    for base in BASES:
        for domain in DOMAINS:
            before, after = _mean(cells[base], domain), _mean(cells[f"{base}+EchoRL"], domain)
            errors = mean_standard_error(base, domain), mean_standard_error(f"{base}+EchoRL", domain)
            raw.append((base, domain, before, after - before, *errors))
    return _tested(raw)


def sign_counts() -> tuple[SignCount, ...]:
    """Benchmarks that improve, for each base; Holm over the two."""
    cells = accuracies()
    found = []
    for base in BASES:
        changes = {name: cells[f"{base}+EchoRL"][name] - value for name, value in cells[base].items()}
        improved = sum(change > 0 for change in changes.values())
        fallen = tuple(name for name, change in changes.items() if change < 0)
        found.append((base, improved, len(changes), fallen, float(binomtest(improved, improved + len(fallen)).pvalue)))
    adjusted = holm([item[-1] for item in found])
    return tuple(SignCount(*item, float(value)) for item, value in zip(found, adjusted, strict=True))


def cell_that_would_repair(check: AverageCheck) -> float:
    """By how many points one cell would have to be off for the printed average to be the mean."""
    return check.difference * len(DOMAINS[check.domain])


def printed_average_gain(base: str, domain: str) -> float:
    """Difference of the two printed averages."""
    after, before = (
        published_number(KEY, f"average-accuracy.{name}.{domain}").value for name in (f"{base}+EchoRL", base)
    )
    return float(after - before)


def _tested(raw: list[tuple[str, str, float, float, float, float]]) -> tuple[Gain, ...]:
    """Normal tests of (base, measure, before, gain, error before, error after)."""
    critical, wanted = float(norm.isf(0.025)), float(norm.ppf(0.8))
    shifts = [gain / np.hypot(first, second) for _, _, _, gain, first, second in raw]
    p_values = [float(2 * norm.sf(abs(shift))) for shift in shifts]
    adjusted = holm(p_values)
    return tuple(
        Gain(
            base,
            measure,
            before,
            gain,
            float(np.hypot(first, second)),
            first,
            p_values[place],
            float(adjusted[place]),
            float(norm.sf(critical - shifts[place]) + norm.cdf(-critical - shifts[place])),
            float(((critical + wanted) / shifts[place]) ** 2) if shifts[place] else float("inf"),
        )
        for place, (base, measure, before, gain, first, second) in enumerate(raw)
    )


def _mean(row: dict[str, float], domain: str) -> float:
    return float(np.mean([row[name] for name in DOMAINS[domain]]))
