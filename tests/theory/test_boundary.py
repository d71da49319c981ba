from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from theory.inference import mean_interval
from theory.pass_kt import (
    beta_self_null,
    boundary_difference,
    excess_gain,
    expected_self_null_discordants,
    self_null_from_counts,
)


def test_difference_counts_both_directions_along_leading_axes():
    new = np.array([[0, 3, 1, 0], [5, 0, 0, 0]])
    reference = np.array([[1, 1, 0, 0], [0, 0, 2, 2]])
    gained, lost = boundary_difference(new, reference)
    np.testing.assert_array_equal(gained, [1, 1])
    np.testing.assert_array_equal(lost, [1, 2])
    with pytest.raises(ValueError, match="successes"):
        boundary_difference([-1], [0])


def test_self_null_against_simulation():
    rng = np.random.default_rng(5)
    p = rng.beta(0.4, 0.8, (4000, 50))
    first, second = rng.binomial(16, p), rng.binomial(16, p)
    gained, lost = boundary_difference(first, second)
    null = beta_self_null(0.4, 0.8, 16, 50)
    assert (gained + lost).mean() == pytest.approx(null.expected_discordants, rel=0.03)
    assert null.expected_discordants == pytest.approx(float(expected_self_null_discordants(0.4, 0.8, 16, 50)))
    assert (gained - lost).std() == pytest.approx(null.standard_deviation_of_net, rel=0.04)
    assert ((gained - lost) >= 3).mean() == pytest.approx(null.probability(net_at_least=3), abs=0.02)
    assert ((gained >= 3) & (lost <= 1)).mean() == pytest.approx(null.probability(3, 1), abs=0.02)
    assert null.probability() == pytest.approx(1)


def test_self_null_from_counts_averages_over_all_splits():
    outcomes = np.array([1, 1, 0, 0, 0, 0, 0])
    positions = range(outcomes.size)
    splits = [
        (first, second)
        for first in combinations(positions, 3)
        for second in combinations(sorted(set(positions) - set(first)), 3)
    ]
    won = [outcomes[list(first)].any() and not outcomes[list(second)].any() for first, second in splits]
    assert self_null_from_counts(7, [2], 3).gain_rate == pytest.approx(np.mean(won), abs=1e-12)
    with pytest.raises(ValueError, match="at least 8"):
        self_null_from_counts(7, [2], 4)


@pytest.mark.parametrize(("p", "r"), [(0.1, 0.1), (0.3, 0.05), (0.0, 0.2)])
def test_excess_gain_is_unbiased_by_enumeration(p, r):
    m, n_new, n_reference = 3, 5, 8
    c_new, c_reference = np.arange(n_new + 1), np.arange(n_reference + 1)
    table = excess_gain(n_new, c_new[:, None], n_reference, c_reference[None, :], m)
    mean = binom.pmf(c_new, n_new, p) @ table @ binom.pmf(c_reference, n_reference, r)
    none = (1 - r) ** m
    assert mean == pytest.approx(none * (none - (1 - p) ** m), abs=1e-12)
    with pytest.raises(ValueError, match="new policy"):
        excess_gain(2, [1], 8, [1], 3)


def test_excess_gain_keeps_its_level_when_nothing_changed():
    rng = np.random.default_rng(7)
    p = rng.beta(0.25, 0.44, (600, 300))
    new, reference = rng.binomial(64, p), rng.binomial(128, p)
    rejected = [
        mean_interval(excess_gain(64, a, 128, b, 64)).p_value <= 0.05 for a, b in zip(new, reference, strict=True)
    ]
    assert 0.02 <= np.mean(rejected) <= 0.08


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"beta": -1}, {"n": 0}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        expected_self_null_discordants(**({"alpha": 1, "beta": 1, "n": 4, "questions": 10} | bad))
