"""Check values of section 3.4 of the specification (Proposition 10)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from theory.advantage_estimate_law import (
    failure_probability,
    normal_samples_for_failure,
    samples_for_failure,
    simulate_estimates,
)
from theory.markov_decision_process import evaluate_policy, greedy_policy
from theory.policy_iteration import conservative_step, coverage, gain, improvable_set
from theory.reset_lower_bound import (
    TwoStateConstruction,
    centred_failure_probability,
    centred_samples_for_failure,
    failure_window,
    limiting_gain,
)
from theory.reset_rollouts import draw_resets

SIZES = [50, 200, 800, 3200, 12800, 51200]
RANDOM = {
    0.5: [0.311, 0.139, 0.015, 0, 0, 0],
    0.2: [0.421, 0.322, 0.171, 0.031, 0, 0],
    0.1: [0.470, 0.415, 0.323, 0.168, 0.027, 0],
    0.05: [0.502, 0.458, 0.410, 0.307, 0.164, 0.025],
}
ORACLE = {
    0.5: [0.172, 0.024, 0, 0, 0, 0],
    0.2: [0.170, 0.024, 0, 0, 0, 0],
    0.1: [0.172, 0.025, 0, 0, 0, 0],
    0.05: [0.177, 0.025, 0, 0, 0, 0],
}
FOUR_ERRORS = 4 * 0.0036 + 0.0005  # of the table's 20,000 trials, and its rounding


@pytest.mark.parametrize("p", list(RANDOM))
@pytest.mark.parametrize("with_oracle", [False, True])
def test_failure_table(p, with_oracle):
    """Exact probabilities within the table's own error, and a simulation of ours within its error of the exact ones."""
    law = TwoStateConstruction(p).terms(with_oracle)
    exact = np.array([failure_probability(law, n) for n in SIZES])
    np.testing.assert_allclose(exact, (ORACLE if with_oracle else RANDOM)[p], atol=FOUR_ERRORS)
    generator = np.random.default_rng(10)
    simulated = np.array([(simulate_estimates(law, n, 20_000, generator) <= 0).mean() for n in SIZES])
    error = np.sqrt(exact * (1 - exact) / 20_000)
    assert np.all(np.abs(simulated - exact) <= 4 * error + 2e-4)


@pytest.mark.parametrize(("p", "expected"), [(0.5, 452), (0.2, 2432), (0.1, 9196), (0.05, 35710), (1.0, 138)])
def test_samples_for_five_percent_failure(p, expected):
    law = TwoStateConstruction(p).terms(with_oracle=False)
    assert round(normal_samples_for_failure(law)) == expected
    assert samples_for_failure(law) == pytest.approx(expected, rel=0.025)
    oracle = TwoStateConstruction(p).terms(with_oracle=True)
    assert round(normal_samples_for_failure(oracle)) == 138


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 1), st.integers(2, 8), st.floats(0.01, 0.5), st.floats(0, 0.9), st.floats(0.5, 3))
def test_terms_have_the_stated_law(p, actions, tau, share, bound):
    tau, nuisance = tau * bound, share * tau * bound
    law = TwoStateConstruction(p, actions, bound, tau, nuisance).terms(with_oracle=False)
    mean = p * tau + (1 - p) * nuisance
    second = (bound / 2) ** 2 + p * (bound / 2 + tau) ** 2 + (1 - p) * (bound / 2 + nuisance) ** 2
    assert law.mean == pytest.approx(mean, abs=1e-8)
    assert law.variance == pytest.approx(actions * second - mean**2, rel=1e-6)
    assert law.values.min() == pytest.approx(-actions * bound / 2)
    assert law.probabilities[0] == pytest.approx(1 / actions)


def test_construction_is_what_it_says():
    construction = TwoStateConstruction(0.1, nuisance=0.01)
    process, base = construction.process, construction.base
    np.testing.assert_array_equal(greedy_policy(evaluate_policy(process, base).action_values), construction.greedy)
    np.testing.assert_array_equal(improvable_set(process, base, 0.25), construction.improvable)
    assert coverage(process, base, construction.improvable) == pytest.approx(0.1)


@pytest.mark.parametrize(("p", "upper"), [(0.1, 850), (0.05, 3300), (0.02, 20250), (0.01, 80500), (0.008, 125600)])
def test_stated_window_is_empty_for_moderate_coverage(p, upper):
    low, high = failure_window(TwoStateConstruction(p))
    assert low == 102_400
    assert high == pytest.approx(upper, rel=0.001)
    assert (low < high) == (p < 0.009)


def test_stated_window_with_two_actions():
    assert failure_window(TwoStateConstruction(0.01, actions=2)) == pytest.approx((25_600, 40_250), rel=1e-5)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.02, 0.008])
def test_failure_is_likely_up_to_the_upper_end_outside_the_window_too(p):
    """P(A <= 0) >= .18 for every n up to sigma^2/(4 E[A]^2), where it is about Phi(-1/2)."""
    construction = TwoStateConstruction(p)
    law, high = construction.terms(with_oracle=False), failure_window(construction)[1]
    sizes = np.unique(np.geomspace(1, high, 60).astype(int))
    assert min(failure_probability(law, int(n)) for n in sizes) >= 0.18
    assert failure_probability(law, int(high)) == pytest.approx(norm.cdf(-0.5), abs=0.03 if p > 0.2 else 0.01)


def test_samples_follow_the_inverse_square_of_small_coverage():
    p = np.array([1e-2, 1e-3])
    n = [normal_samples_for_failure(TwoStateConstruction(x).terms(with_oracle=False)) for x in p]
    assert np.log(n[1] / n[0]) / np.log(p[0] / p[1]) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(("p", "expected"), [(0.5, 22.4), (0.2, 58.4), (0.1, 118), (0.05, 238), (1.0, 10.4)])
def test_centred_estimator(p, expected):
    construction = TwoStateConstruction(p)
    assert centred_samples_for_failure(construction) == pytest.approx(expected, abs=0.5 if expected > 100 else 0.05)
    law = construction.terms(with_oracle=False, centred=True)
    for n in (1, 7, 40, 300):
        closed = centred_failure_probability(construction, n)
        assert closed == pytest.approx((1 - p / 4) ** n)
        assert failure_probability(law, n) == pytest.approx(closed, abs=1e-12)
    assert samples_for_failure(law) == int(np.ceil(centred_samples_for_failure(construction)))
    with pytest.raises(ValueError, match="nuisance"):
        centred_failure_probability(TwoStateConstruction(p, nuisance=0.1), 5)


def test_gains_of_one_step():
    construction = TwoStateConstruction(0.1)
    assert limiting_gain(construction, with_oracle=False) == pytest.approx(0.000625)
    assert limiting_gain(construction, with_oracle=True) == pytest.approx(0.003125)
    process, base, generator = construction.process, construction.base, np.random.default_rng(11)
    members = evaluate_policy(process, construction.base).action_values[None]
    for with_oracle in (False, True):
        mask = construction.improvable if with_oracle else None
        rollouts = draw_resets(process, base, 10**8, 20, generator, mask)
        step = conservative_step(process, base, rollouts, mask, members)
        assert gain(process, base, step.policy).mean() == pytest.approx(
            limiting_gain(construction, with_oracle), rel=0.01
        )


def test_bad_constructions():
    for change in ({"coverage": 0}, {"actions": 1}, {"advantage": 0.6}, {"nuisance": 0.25}):
        with pytest.raises(ValueError, match=r"coverage|actions|nuisance"):
            TwoStateConstruction(**{"coverage": 0.1, **change})
