"""Rules of resets that the experiment controls: exact on known chains, in law on random ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chisquare

from methods.reset_buffer import Chain, Request, Seed
from reproduce.papers.resets.rules import (
    Oracle,
    PositionHistogram,
    PositionsByLength,
    fit_to_resampling,
    positions_by_length,
    resample_first_errors,
    step_features,
)
from tests.methods.test_localizers import fresh_generator, seed_of

ERROR = 3


def test_exact_oracle() -> None:
    seeds = [seed_of(5), seed_of(2), seed_of(4)]
    truth = {5: 3, 2: 9, 4: None}
    rule = Oracle(lambda seed: truth[seed.chain.steps])
    assert [one.step for one in rule(seeds, fresh_generator())] == [3, 2, 4]


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5])
@pytest.mark.parametrize(("offset", "spread"), [(0, 0), (2, 0), (-4, 0), (0, 3), (4, 1)])
def test_degraded_oracle_has_the_rate_of_hits_it_was_given(rate: float, offset: int, spread: int) -> None:
    trials = 3000
    rule = Oracle(lambda seed: ERROR, rate, offset, spread)
    steps = np.array([one.step for one in rule([seed_of(9)] * trials, fresh_generator(offset + 9))])
    assert ((steps >= 1) & (steps <= 9)).all()
    assert abs((steps == ERROR).mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / trials)
    misses = steps[steps != ERROR] - ERROR
    if spread == 0 and offset == 2:
        assert (misses == 2).all()
    if spread == 0 and offset == -4:
        assert (misses == 1 - ERROR).all()  # The chain ends there.
    if offset == 0 and spread == 0:
        assert set(misses) == {-1, 1} and abs(misses.mean()) <= 4 / np.sqrt(len(misses))


def test_an_offset_that_meets_the_end_of_the_chain_still_misses() -> None:
    rule = Oracle(lambda seed: 1, 0.0, offset=-4)
    assert {one.step for one in rule([seed_of(6)] * 50, fresh_generator())} == {2}
    assert [one.step for one in rule([seed_of(1)], fresh_generator())] == [1]


def test_hit_rates_share_their_random_numbers() -> None:
    seeds = [seed_of(9)] * 500
    low, high = (Oracle(lambda seed: ERROR, rate, spread=2)(seeds, fresh_generator()) for rate in (0.25, 0.5))
    hits = [[one.step == ERROR for one in found] for found in (low, high)]
    assert all(better or not worse for worse, better in zip(*hits, strict=True))


@pytest.mark.parametrize("settings", [{"hit_rate": 1.5}, {"spread": -1}])
def test_oracle_refuses_nonsense(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="are needed"):
        Oracle(lambda seed: 1, **settings)


def lost_at(step: int, generator: np.random.Generator, before: float = 0.8, after: float = 0.1) -> object:
    """A sampler whose continuations mostly succeed from prefixes that end before this step."""

    def sample(requests: Sequence[Request]) -> list[Chain]:
        chains = []
        for one in requests:
            clean = len(one.prefix_ids) // 2 < step
            right = bool(generator.random() < (before if clean else after))
            chains.append(Chain((*one.prefix_ids, 7, 8, 9), (len(one.prefix_ids) + 3,), float(right), right))
        return chains

    return sample


@pytest.mark.parametrize("lost", [1, 3, 5])
def test_resampling_finds_where_success_is_lost(lost: int) -> None:
    found = resample_first_errors([seed_of(5)] * 4, lost_at(lost, fresh_generator()), continuations=60)
    assert found.steps == (lost,) * 4
    assert [len(values) for values in found.values] == [5] * 4
    assert found.generated_tokens == 4 * 5 * 60 * 3  # The prefix is given, not generated.
    assert resample_first_errors([], lost_at(1, fresh_generator()), 4).steps == ()


def test_a_learned_rule_takes_the_step_its_labels_point_to() -> None:
    generator = fresh_generator()

    def chain_with_peak(peak: int) -> Seed:
        entropies = generator.uniform(0, 0.4, 12)
        entropies[2 * peak - 2 : 2 * peak] += 1
        return seed_of(6, entropies=tuple(entropies), log_probabilities=tuple(-generator.random(12)))

    peaks = generator.integers(1, 7, 80).tolist()
    seeds = [chain_with_peak(peak) for peak in peaks]
    rule = fit_to_resampling(seeds, peaks, step_features, ridge=0.1)
    unseen = generator.integers(1, 7, 40).tolist()
    found = rule([chain_with_peak(peak) for peak in unseen], generator)
    assert np.mean([one.step == truth for one, truth in zip(found, unseen, strict=True)]) > 0.95


def test_the_fit_is_the_penalised_maximum() -> None:
    generator = fresh_generator(1)
    tables = [generator.normal(size=(4, 2)) for _ in range(30)]
    seeds = [seed_of(4) for _ in tables]
    steps = generator.integers(1, 5, 30).tolist()
    table_of = {id(seed): table for seed, table in zip(seeds, tables, strict=True)}
    rule = fit_to_resampling(seeds, steps, lambda seed: table_of[id(seed)], ridge=0.5)

    def objective(weights: np.ndarray) -> float:
        scores = [table @ weights for table in tables]
        likelihood = sum(
            score[step - 1] - np.log(np.exp(score).sum()) for score, step in zip(scores, steps, strict=True)
        )
        return float(likelihood - 0.25 * weights @ weights)

    best = objective(rule.weights)
    for direction in np.concatenate([np.eye(2), -np.eye(2)]):
        assert objective(rule.weights + 1e-3 * direction) < best


def test_positions_are_drawn_again_at_each_length() -> None:
    """Mixed lengths whose positions differ: early in long chains, late in short ones."""
    generator = fresh_generator(1)
    lengths = generator.choice([3, 5, 7, 8], 2000)
    chosen = np.where(lengths > 5, generator.integers(1, 4, 2000), lengths - generator.integers(0, 2, 2000))
    rule = positions_by_length(chosen, lengths)
    seeds = [seed_of(int(steps)) for steps in np.repeat([3, 5, 7, 8], 2000)]
    found = np.array([one.step for one in rule(seeds, generator)]).reshape(4, 2000)
    for steps, drawn in zip([3, 5, 7, 8], found, strict=True):
        own = chosen[lengths == steps]
        share = np.bincount(own - 1, minlength=steps) / len(own)
        counts = np.bincount(drawn - 1, minlength=steps)
        assert len(counts) == steps and (counts[share == 0] == 0).all()
        assert chisquare(counts[share > 0], 2000 * share[share > 0]).pvalue > 1e-3
        assert (drawn / steps).mean() == pytest.approx((own / steps).mean(), abs=0.01)


def test_a_length_that_was_never_chosen_in_takes_the_nearest() -> None:
    rule = positions_by_length([2, 2, 8], [4, 4, 8])
    found = np.array([one.step for one in rule([seed_of(6)] * 400 + [seed_of(20)] * 100, fresh_generator())])
    # Six is as near to four: the second quarter of six steps is half of step 2 and step 3.
    assert chisquare([(found[:400] == 2).sum(), (found[:400] == 3).sum()], [400 / 3, 800 / 3]).pvalue > 1e-3
    assert (found[400:] >= 18).all()


def test_a_uniform_histogram_is_a_random_reset() -> None:
    found = PositionHistogram((1.0,))([seed_of(7)] * 4000, fresh_generator())
    assert chisquare(np.bincount([one.step for one in found], minlength=8)[1:]).pvalue > 1e-3


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0)])
def test_histograms_refuse_nonsense(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a histogram needs weights"):
        PositionHistogram(weights)


@pytest.mark.parametrize("chosen", [[], [0], [5]])
def test_steps_outside_the_chain_are_refused(chosen: list[int]) -> None:
    with pytest.raises(ValueError, match="each from 1"):
        positions_by_length(chosen, [4] * len(chosen))
    with pytest.raises(ValueError, match="at least one length"):
        PositionsByLength({3: (1.0,)})
