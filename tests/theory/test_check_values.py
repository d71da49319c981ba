"""Check values of the PASS@(k,T) specification, each named by the statement it belongs to."""

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest

from theory.inference import holm, mcnemar_exact, mcnemar_mid_p, mcnemar_questions, power_mcnemar
from theory.pass_kt import (
    beta_from_pass_values,
    beta_pass_at_k,
    beta_self_null,
    boundary_difference,
    boundary_membership,
    crossing_k,
    expected_self_null_discordants,
    pass_at_k,
    posterior_pass_at_k,
)

BASE = beta_from_pass_values(0.363, 0.770, 64)
TRAINED = beta_from_pass_values(0.335, 0.810, 64)
GRID = [1, 2, 4, 8, 16, 32, 64, 256, 1024]


def test_two_point_beta_parameters():
    assert pytest.approx((0.251, 0.440), abs=5.1e-4) == BASE
    assert pytest.approx((0.323, 0.641), abs=5.1e-4) == TRAINED


def test_beta_curves():
    published_base = [0.363, 0.457, 0.541, 0.614, 0.675, 0.726, 0.770, 0.837, 0.885]
    published_trained = [0.335, 0.444, 0.545, 0.632, 0.704, 0.763, 0.810, 0.878, 0.922]
    np.testing.assert_allclose(beta_pass_at_k(*BASE, GRID), published_base, atol=6e-4)
    np.testing.assert_allclose(beta_pass_at_k(*TRAINED, GRID), published_trained, atol=6e-4)


def test_fitted_curves_cross_at_three_and_a_half():
    delta = beta_pass_at_k(*TRAINED, GRID) - beta_pass_at_k(*BASE, GRID)
    assert crossing_k(GRID, delta) == pytest.approx(3.4, abs=0.05)


@pytest.mark.parametrize(
    ("gained", "lost", "exact", "mid", "one_sided"),
    [(3, 3, 1.0, None, 0.656), (5, 1, 0.219, 0.125, 0.109), (3, 7, 0.344, 0.227, 0.945), (9, 1, 0.0215, 0.012, 0.011)],
)
def test_paired_tests_on_the_reported_counts(gained, lost, exact, mid, one_sided):
    assert mcnemar_exact(gained, lost) == pytest.approx(exact, abs=5e-4)
    assert mcnemar_exact(gained, lost, "greater") == pytest.approx(one_sided, abs=5e-4)
    if mid is not None:
        assert mcnemar_mid_p(gained, lost) == pytest.approx(mid, abs=5e-4)


def test_mid_p_of_equal_counts_follows_its_source():
    """1 - P(3)/2 = .84375 by Fagerland et al.; subtracting the whole P(3) would give .6875."""
    assert mcnemar_mid_p(3, 3) == pytest.approx(0.84375, abs=1e-12)


def test_holm_on_the_reported_counts():
    sequential = mcnemar_exact([5, 3, 9], [1, 7, 1])
    np.testing.assert_allclose(holm(sequential), [0.4375, 0.4375, 0.0645], atol=5e-5)
    everything = mcnemar_exact([3, 5, 5, 3, 9], [3, 1, 1, 7, 1])
    np.testing.assert_allclose(holm(everything), [1.0, 0.875, 0.875, 0.875, 0.107], atol=5e-4)


def test_sums_of_the_reported_boundaries():
    questions = np.arange(100)
    base = (questions < 77).astype(int)
    trained = ((questions >= 1) & (questions < 82)).astype(int)
    assert boundary_difference(trained, base) == (5, 1)
    assert trained.sum() == 81


def test_self_null_of_the_base():
    discordants = expected_self_null_discordants(*BASE, [16, 32, 64, 128, 256, 512], 100)
    np.testing.assert_allclose(discordants, [10.3, 8.7, 7.3, 6.2, 5.2, 4.4], atol=0.06)
    null = beta_self_null(*BASE, 64, 100)
    assert null.discordant_range(0.95) == (3, 13)
    assert null.standard_deviation_of_net == pytest.approx(2.7, abs=0.05)
    assert null.probability(net_at_least=4) == pytest.approx(0.094, abs=0.002)
    assert null.probability(gained_at_least=5, lost_at_most=1) == pytest.approx(0.036, abs=0.002)
    assert 0.001 <= null.probability(gained_at_least=9, lost_at_most=1) <= 0.002


@pytest.mark.parametrize(
    ("k", "plug_in", "unbiased"), [(4, 0.538, 0.541), (16, 0.665, 0.675), (32, 0.710, 0.727), (64, 0.742, 0.770)]
)
def test_plug_in_bias(k, plug_in, unbiased):
    c = np.arange(65)
    law = betabinom.pmf(c, 64, *BASE)
    assert law @ (1 - (1 - c / 64) ** k) == pytest.approx(plug_in, abs=6e-4)
    assert law @ pass_at_k(64, c, k) == pytest.approx(unbiased, abs=6e-4)
    assert law @ pass_at_k(64, c, k) == pytest.approx(float(beta_pass_at_k(*BASE, k)), abs=1e-12)


@pytest.mark.parametrize(
    ("prior", "at_64", "at_256", "panel"),
    [((1.0, 1.0), 0.496, 0.80, 0.862), ((0.5, 0.5), 0.29, 0.55, 0.8065), (BASE, 0.16, 0.33, 0.770)],
)
def test_prior_trap(prior, at_64, at_256, panel):
    c = np.arange(65)
    assert posterior_pass_at_k(*prior, 64, 0, 64) == pytest.approx(at_64, abs=0.005)
    assert posterior_pass_at_k(*prior, 64, 0, 256) == pytest.approx(at_256, abs=0.005)
    assert betabinom.pmf(c, 64, *BASE) @ posterior_pass_at_k(*prior, 64, c, 64) == pytest.approx(panel, abs=6e-4)


def test_membership_after_no_success():
    assert boundary_membership(*BASE, 64, 0, 64, 0.5) == pytest.approx(0.11, abs=0.005)


@pytest.mark.parametrize(("n", "bound", "pass_at_64"), [(64, 0.0457, 0.95), (128, 0.0231, 0.78), (256, 0.0116, 0.53)])
def test_upper_bounds_after_no_success(n, bound, pass_at_64):
    one_sided = binomtest(0, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert one_sided == pytest.approx(bound, abs=5e-5)
    assert -np.expm1(64 * np.log1p(-one_sided)) == pytest.approx(pass_at_64, abs=0.005)


def test_detection_threshold_of_a_boundary_at_64():
    assert pytest.approx(0.5, abs=0.01) == 1 - (1 - 0.011) ** 64
    assert pytest.approx(0.95, abs=0.001) == 1 - (1 - 0.0457) ** 64


@pytest.mark.parametrize(
    ("gained", "lost", "around", "round_size", "power_there"),
    [(0.05, 0.01, 310, 400, 0.904), (0.09, 0.01, 125, 150, 0.88), (0.03, 0.07, 520, 600, 0.86)],
)
def test_panel_sizes_for_mcnemar(gained, lost, around, round_size, power_there):
    needed = mcnemar_questions(gained, lost)
    assert needed == pytest.approx(around, abs=5)
    assert power_mcnemar(gained, lost, needed) >= 0.8 > power_mcnemar(gained, lost, needed - 1)
    assert power_mcnemar(gained, lost, round_size) == pytest.approx(power_there, abs=0.005)


def test_one_success_in_four_is_no_certain_best_of_four():
    """Drawing four of four with replacement gives .68 where the unbiased answer is 1."""
    assert pass_at_k(4, 1, 4) == 1
    assert pytest.approx(0.684, abs=5e-4) == 1 - (1 - 1 / 4) ** 4
