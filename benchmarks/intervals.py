"""Coverage of the intervals of `pass-kt` and `compare-logs`, from 3 to 500 questions.

    python -m benchmarks.intervals

Questions are drawn from populations whose success rates run from all 0 to all 1, from equal (nothing but the episodes
varies) to nearly all or nothing, with equal and unequal numbers of episodes. Measured: the mean of PASS@k, of G-Pass@k
and cover@tau, a paired difference, one over clusters, the gain beyond the self-null, the band over all k at once, and
the sets of the first gain and the first loss, over questions and over training seeds. Each line is the worst design
of its kind and number of questions; the error of one coverage is sqrt(.95 x .05 / repetitions).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, logit

from benchmarks import _kit
from theory.bounded_means import bounded_mean_interval, simultaneous_confidence
from theory.crossing import Crossings, crossings_of_questions, crossings_of_seeds
from theory.pass_kt import excess_gain, g_pass_at_k, pass_at_k

RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0)
CONCENTRATIONS = (0.3, 1.0, 10.0, np.inf)
"""Sum of the Beta's parameters: small is all or nothing, infinite is one rate for all questions."""
EPISODES = (1, 2, 4, 16, 64, 0)
"""0 stands for 1, 2, 4 or 32 episodes at random, a question."""
UNEQUAL = (1, 2, 4, 32)
POPULATION = 4000
BAND_RATES = (0.01, 0.2, 0.5, 0.95)
BAND_EPISODES, BAND_DRAWS = 32, 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    questions: tuple[int, ...] = (3, 5, 10, 20, 50, 100, 500)
    repetitions: int = _kit.size(1000)
    """Samples of each design for single cells."""
    band_repetitions: int = _kit.size(200)
    """Samples of each design for bands and sets, which take longer."""
    seed: int = 0


@dataclass(frozen=True)
class Coverage:
    """Of one design: the share of intervals that hold the truth, and their mean width."""

    kind: str
    questions: int
    design: str
    coverage: float
    width: float


def population(rate: float, concentration: float, generator: np.random.Generator) -> np.ndarray:
    """Success rates of POPULATION questions, from which samples draw; the truth is their exact mean."""
    if rate in (0, 1) or np.isinf(concentration):
        return np.full(POPULATION, rate)
    return generator.beta(rate * concentration, (1 - rate) * concentration, POPULATION)


def true_pass(rates: np.ndarray, k: np.ndarray | int) -> np.ndarray:
    """PASS@k of each question, shape (questions, ks)."""
    return -np.expm1(np.asarray(k) * np.log1p(-np.minimum(rates, 1 - 1e-16)[:, None]))


def sample(
    rates: np.ndarray, shape: tuple[int, int], episodes: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in the population, n and c, each of shape (questions, repetitions)."""
    drawn = generator.integers(rates.size, size=shape)
    n = np.full(shape, episodes) if episodes else generator.choice(UNEQUAL, shape)
    return drawn, n, generator.binomial(n, rates[drawn])


def _held(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> np.ndarray:
    return (low <= truth + 1e-9) & (truth <= high + 1e-9)


def single_means(questions: int, options: Options, generator: np.random.Generator) -> Iterator[Coverage]:
    """PASS@k, G-Pass@k and cover@.5 of one policy."""
    for rate, concentration, episodes in product(RATES, CONCENTRATIONS, EPISODES):
        rates = population(rate, concentration, generator)
        _, n, c = sample(rates, (questions, options.repetitions), episodes, generator)
        design = f"rate {rate:g}, concentration {concentration:g}, n {episodes or 'unequal'}"
        smallest = episodes or min(UNEQUAL)
        for k in sorted({1, max(1, smallest // 4), max(1, smallest // 2), smallest}):
            kinds = {"PASS@k": (pass_at_k(n, c, k), float(true_pass(rates, k).mean()))}
            if k == smallest and k > 1:
                wins = generator.binomial(k, np.broadcast_to(rates, (400, POPULATION)))
                kinds["G-Pass@k"] = (g_pass_at_k(n, c, k, 0.5), float((wins >= k / 2).mean()))
            for kind, (values, truth) in kinds.items():
                found = bounded_mean_interval(values, LEVEL)
                yield Coverage(
                    kind,
                    questions,
                    f"{design}, k {k}",
                    float(_held(found.low, found.high, truth).mean()),
                    float((found.high - found.low).mean()),
                )


def paired_population(
    rate: float, concentration: float, shift: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rates of a baseline and of a policy that is better or worse by about `shift` logits, and not on all questions."""
    old = population(rate, concentration, generator)
    if rate in (0, 1):
        return old, old
    noise = 0.0 if np.isinf(concentration) else 0.5
    moved = logit(np.clip(old, 1e-12, 1 - 1e-12)) + shift + noise * generator.standard_normal(old.size)
    return old, expit(moved)


def paired(questions: int, options: Options, generator: np.random.Generator) -> Iterator[Coverage]:
    """Paired differences, over questions and over clusters, and the gain beyond the self-null."""
    for rate, concentration, shift, episodes in product(RATES, CONCENTRATIONS, (0.0, 1.0), EPISODES):
        old, new = paired_population(rate, concentration, shift, generator)
        drawn, n, c = sample(old, (questions, options.repetitions), episodes, generator)
        m = n if episodes else generator.choice(UNEQUAL, n.shape)
        d = generator.binomial(m, new[drawn])
        design = f"rate {rate:g}, concentration {concentration:g}, shift {shift:g}, n {episodes or 'unequal'}"
        smallest = episodes or min(UNEQUAL)
        for k in sorted({1, smallest}):
            found = bounded_mean_interval(pass_at_k(m, d, k) - pass_at_k(n, c, k), LEVEL, -1.0, 1.0)
            truth = float((true_pass(new, k) - true_pass(old, k)).mean())
            held = float(_held(found.low, found.high, truth).mean())
            yield Coverage("difference", questions, f"{design}, k {k}", held, float((found.high - found.low).mean()))
        half = smallest // 2
        if half:
            each = excess_gain(m.ravel(), d.ravel(), n.ravel(), c.ravel(), half).reshape(n.shape)
            found = bounded_mean_interval(each, LEVEL, -1.0, 1.0)
            none_new, none_old = 1 - true_pass(new, half), 1 - true_pass(old, half)
            truth = float((none_old * (none_old - none_new)).mean())
            held = float(_held(found.low, found.high, truth).mean())
            yield Coverage("excess gain", questions, design, held, float((found.high - found.low).mean()))


def clustered(questions: int, options: Options, generator: np.random.Generator) -> Iterator[Coverage]:
    """Differences over `questions` clusters of 1 to 8 questions, which share their rates."""
    for rate, concentration in product(BAND_RATES, CONCENTRATIONS):
        old, new = paired_population(rate, concentration, 0.5, generator)
        sizes = generator.integers(1, 9, POPULATION)
        truth = float((sizes * (new - old)).sum() / sizes.sum())
        held, width = [], []
        for _ in range(options.band_repetitions):
            drawn = generator.integers(POPULATION, size=questions)
            cluster = np.repeat(np.arange(questions), sizes[drawn])
            place = drawn[cluster]
            values = (generator.random(place.size) < new[place]) * 1.0 - (generator.random(place.size) < old[place])
            found = bounded_mean_interval(values, LEVEL, -1.0, 1.0, cluster)
            held.append(bool(_held(found.low, found.high, truth)))
            width.append(float(found.high - found.low))
        design = f"rate {rate:g}, concentration {concentration:g}"
        yield Coverage("clustered difference", questions, design, float(np.mean(held)), float(np.mean(width)))


def bands(questions: int, options: Options, generator: np.random.Generator) -> Iterator[Coverage]:
    """The band of differences over k = 1 to 32, and the sets of the first gain and loss that follow from it."""
    ks = np.arange(1, BAND_EPISODES + 1)
    for rate, concentration, shift in product(BAND_RATES, (0.3, 1.0, np.inf), (-0.5, 0.7)):
        old, new = paired_population(rate, concentration, shift, generator)
        truth = (true_pass(new, ks) - true_pass(old, ks)).mean(axis=0)
        found, shared = [], []
        for _ in range(options.band_repetitions):
            drawn, n, c = sample(old, (questions, 1), BAND_EPISODES, generator)
            d = generator.binomial(n, new[drawn])
            values = pass_at_k(n, d, ks) - pass_at_k(n, c, ks)
            found.append(crossings_of_questions(values, generator, LEVEL, BAND_DRAWS))
            own = pass_at_k(n, c, ks[::4])
            level = simultaneous_confidence(own, generator, LEVEL, BAND_DRAWS)
            band = bounded_mean_interval(own, level)
            shared.append(bool(_held(band.low, band.high, true_pass(old, ks[::4]).mean(axis=0)).all()))
        design = f"rate {rate:g}, concentration {concentration:g}, shift {shift:g}"
        yield from _of_crossings("question", questions, design, found, truth)
        yield Coverage("band of PASS", questions, design, float(np.mean(shared)), float("nan"))


def over_seeds(questions: int, options: Options, generator: np.random.Generator) -> Iterator[Coverage]:
    """The same over training seeds, each of which moves all rates of the policy by a normal number of logits."""
    ks = np.arange(1, BAND_EPISODES + 1)
    for rate, seeds, spread, shift in product((0.05, 0.5), (3, 10), (0.0, 0.3), (0.0, 0.5)):
        old, new = paired_population(rate, 1.0, shift, generator)
        moves = spread * np.linspace(-2, 2, 41)
        weights = np.exp(-(np.linspace(-2, 2, 41) ** 2) / 2)
        moved = [true_pass(expit(logit(np.clip(new, 1e-12, 1 - 1e-12)) + move), ks).mean(axis=0) for move in moves]
        truth = np.average(moved, axis=0, weights=weights) - true_pass(old, ks).mean(axis=0)
        found = []
        for _ in range(options.band_repetitions):
            drawn, n, c = sample(old, (questions, 1), BAND_EPISODES, generator)
            own = generator.choice(moves, size=seeds, p=weights / weights.sum())
            rates = expit(logit(np.clip(new[drawn[:, 0]], 1e-12, 1 - 1e-12)) + own[:, None])
            values = pass_at_k(BAND_EPISODES, generator.binomial(BAND_EPISODES, rates)[..., None], ks)
            found.append(crossings_of_seeds(values - pass_at_k(n, c, ks), generator, LEVEL, BAND_DRAWS))
        design = f"rate {rate:g}, {seeds} seeds, spread {spread:g}, shift {shift:g}"
        yield from _of_crossings("seed", questions, design, found, truth)


def _of_crossings(
    unit: str, questions: int, design: str, found: list[Crossings], truth: np.ndarray
) -> Iterator[Coverage]:
    held = [bool(_held(each.low, each.high, truth).all()) for each in found]
    width = float(np.mean([(each.high - each.low).mean() for each in found]))
    yield Coverage(f"band of differences ({unit})", questions, design, float(np.mean(held)), width)
    for name, sign in (("first gain", 1), ("first loss", -1)):
        reached = np.flatnonzero(sign * truth > 1e-9)
        first = int(reached[0]) + 1 if reached.size else None
        right = []
        for each in found:
            low, high = each.first_gain if sign > 0 else each.first_loss
            right.append(high is None if first is None else low <= first and (high is None or first <= high))
        yield Coverage(f"{name} ({unit})", questions, design, float(np.mean(right)), float("nan"))


def measure(options: Options) -> list[Coverage]:
    """All designs of all kinds."""
    found: list[Coverage] = []
    for place, questions in enumerate(options.questions):
        for kind, part in enumerate((single_means, paired, clustered, bands, over_seeds)):
            if part is not over_seeds or questions >= 10:
                generator = np.random.default_rng([options.seed, place, kind])
                found += part(questions, options, generator)
    return found


def worst(found: list[Coverage]) -> list[Coverage]:
    """The design of least coverage for each kind and number of questions."""
    keys = dict.fromkeys((each.kind, each.questions) for each in found)
    return [
        min((each for each in found if (each.kind, each.questions) == key), key=lambda each: each.coverage)
        for key in keys
    ]


def numbers(options: Options) -> dict[str, Any]:
    """The worst designs, ready for the file, with the mean coverage of their kind and the number of all designs."""
    found = measure(options)
    rows = []
    for each in worst(found):
        alike = [one.coverage for one in found if (one.kind, one.questions) == (each.kind, each.questions)]
        width = None if np.isnan(each.width) else each.width
        rows.append(asdict(each) | {"width": width, "mean_coverage": float(np.mean(alike))})
    return {"designs": len(found), "worst": rows}


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """The worst design of each kind."""
    rows = [
        (
            each["kind"],
            str(each["questions"]),
            f"{each['coverage']:.3f}",
            f"{each['mean_coverage']:.3f}",
            each["design"],
        )
        for each in result["worst"]
    ]
    title = f"Least coverage at nominal {LEVEL:.0%}, {result['designs']:,} designs"
    return [_kit.Block(title, ("kind", "questions", "coverage", "mean of kind", "design"), rows)]


main = _kit.Benchmark("intervals", __doc__, Options, numbers, blocks)

if __name__ == "__main__":
    sys.exit(main())
