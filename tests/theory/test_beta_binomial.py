import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import betaln
from scipy.stats import beta as beta_law
from scipy.stats import betabinom, chi2

from theory.beta_binomial import _log_likelihood, fit_weighted, tabulate
from theory.pass_kt import (
    beta_from_pass_values,
    beta_pass_at_k,
    boundary_membership,
    extrapolate_pass_at_k,
    fit_beta_binomial,
    fit_zero_inflated_beta_binomial,
    posterior_pass_at_k,
    posterior_zero_mass,
    zero_mass_interval,
)


@pytest.fixture
def panel():
    rng = np.random.default_rng(11)
    return rng.binomial(128, rng.beta(0.5, 0.7, 500) * (rng.random(500) < 0.8))


def test_curve_is_the_integral():
    for k in (1, 3, 64):
        integral = quad(lambda p, k=k: (1 - (1 - p) ** k) * beta_law.pdf(p, 2.5, 3.5), 0, 1)[0]
        assert beta_pass_at_k(2.5, 3.5, k) == pytest.approx(integral, abs=1e-9)
        assert beta_pass_at_k(2.5, 3.5, k, 0.25) == pytest.approx(0.75 * integral, abs=1e-9)
    assert beta_pass_at_k(2.5, 3.5, 0) == 0


def test_likelihood_value_and_gradient(panel):
    n, c, weights = tabulate(128, panel)
    point = np.array([-0.3, 0.4, 0.15])

    def value(x):
        return _log_likelihood(x[0], x[1], x[2], n, c, weights)[0]

    a, b = np.exp(point[:2])
    none = c == 0
    reference = np.where(none, 0.15 + 0.85 * betabinom.pmf(0, n, a, b), 0.85 * betabinom.pmf(c, n, a, b))
    constant = betabinom.logpmf(c, n, a, b) - _log_pmf_without_coefficient(c, n, a, b)
    assert value(point) == pytest.approx(float(weights @ (np.log(reference) - constant)), rel=1e-10)
    gradient = _log_likelihood(*point, n, c, weights)[1]
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-6
        assert gradient[axis] == pytest.approx((value(point + step) - value(point - step)) / 2e-6, rel=1e-4)


def _log_pmf_without_coefficient(c, n, a, b):
    return betaln(a + c, b + n - c) - betaln(a, b)


def test_fit_is_a_maximum_and_reports_the_scipy_likelihood(panel):
    fit = fit_beta_binomial(128, panel)
    assert fit.log_likelihood == pytest.approx(betabinom.logpmf(panel, 128, fit.alpha, fit.beta).sum(), rel=1e-10)
    for a, b in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)):
        assert betabinom.logpmf(panel, 128, fit.alpha * a, fit.beta * b).sum() < fit.log_likelihood
    assert not fit.at_bound
    assert fit.questions == 500


def test_fits_recover_the_truth_and_the_mass(panel):
    rng = np.random.default_rng(3)
    n = rng.integers(32, 129, 4000)
    plain = fit_beta_binomial(n, rng.binomial(n, rng.beta(0.25, 0.44, 4000)))
    assert (plain.alpha, plain.beta) == pytest.approx((0.25, 0.44), rel=0.1)
    inflated = fit_zero_inflated_beta_binomial(128, panel)
    assert inflated.zero_mass == pytest.approx(0.2, abs=0.06)
    assert inflated.log_likelihood > fit_beta_binomial(128, panel).log_likelihood


def test_without_a_mass_the_inflated_fit_is_the_plain_one():
    c = np.array([3, 9, 14, 20, 25, 31, 40, 55])
    assert fit_zero_inflated_beta_binomial(64, c) == fit_beta_binomial(64, c)


def test_fewer_zeros_than_expected_give_no_mass():
    c = np.array([0, 1, 1, 2, 3, 5, 9, 14, 20, 31, 40, 55])
    assert fit_zero_inflated_beta_binomial(64, c) == fit_beta_binomial(64, c)
    assert zero_mass_interval(64, c).p_value == 1


def test_weights_are_multiplicities(panel):
    n, c, weights = tabulate(128, panel)
    assert fit_weighted(n, c, weights * 2, True).zero_mass == pytest.approx(
        fit_zero_inflated_beta_binomial(128, np.repeat(panel, 2)).zero_mass, abs=1e-5
    )


def test_degenerate_panels():
    for c in ([0, 0, 0], [8, 8, 8]):
        with pytest.raises(ValueError, match="same outcome"):
            fit_beta_binomial(8, c)
    with pytest.raises(ValueError, match="no episodes"):
        fit_beta_binomial([0, 0], [0, 0])
    assert fit_beta_binomial(64, [32] * 20).at_bound
    assert fit_beta_binomial([64, 0, 32], [3, 0, 9]).questions == 2


def test_zero_mass_interval_bounds_the_profile(panel):
    interval = zero_mass_interval(128, panel)
    assert interval.low < interval.estimate < interval.high
    assert interval.low < 0.2 < interval.high
    plain, inflated = fit_beta_binomial(128, panel), fit_zero_inflated_beta_binomial(128, panel)
    ratio = 2 * (inflated.log_likelihood - plain.log_likelihood)
    assert interval.p_value == pytest.approx(chi2.sf(ratio, 1) / 2, rel=1e-4)
    for edge in (interval.low, interval.high):

        def negative(x, edge=edge):
            a, b = np.exp(x)
            zero = np.log(edge + (1 - edge) * betabinom.pmf(0, 128, a, b))
            return -np.where(panel == 0, zero, np.log(1 - edge) + betabinom.logpmf(panel, 128, a, b)).sum()

        profile = -minimize(negative, [-0.5, -0.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8}).fun
        assert inflated.log_likelihood - profile == pytest.approx(chi2.ppf(0.95, 1) / 2, abs=1e-3)
    rng = np.random.default_rng(2)
    without = zero_mass_interval(64, rng.binomial(64, rng.beta(2.0, 3.0, 300)))
    assert without.low == 0
    assert without.p_value > 0.05
    assert without.high < 0.1


def test_posterior_mean_is_the_integral():
    for c in (0, 2):
        law = beta_law(0.6 + c, 1.5 + 10 - c)
        exact = quad(lambda p, law=law: (1 - (1 - p) ** 5) * law.pdf(p), 0, 1)[0]
        assert posterior_pass_at_k(0.6, 1.5, 10, c, 5) == pytest.approx(exact, abs=1e-6)


def test_membership_is_the_tail_of_the_posterior():
    for c in (0, 1, 5):
        expected = beta_law.sf(1 - 0.5 ** (1 / 64), 0.3 + c, 0.5 + 64 - c)
        assert boundary_membership(0.3, 0.5, 64, c, 64) == pytest.approx(expected, rel=1e-9)
    assert boundary_membership(0.3, 0.5, 64, 0, 1, 0.02) == pytest.approx(beta_law.sf(0.02, 0.3, 64.5), rel=1e-9)
    assert boundary_membership(0.3, 0.5, 64, 0, 64, 0.0) == 1
    massive = boundary_membership(0.3, 0.5, 64, [0, 1], 64, zero_mass=0.4)
    plain = boundary_membership(0.3, 0.5, 64, [0, 1], 64)
    np.testing.assert_allclose(massive, plain * (1 - posterior_zero_mass(0.3, 0.5, 64, [0, 1], 0.4)))
    with pytest.raises(ValueError, match="level"):
        boundary_membership(0.3, 0.5, 64, 0, 64, 1.0)


def test_zero_mass_enters_the_posterior_only_without_success():
    mass = posterior_zero_mass(1.0, 1.0, 9, [0, 1], 0.5)
    np.testing.assert_allclose(mass, [0.5 / (0.5 + 0.5 * 0.1), 0])
    plain, inflated = posterior_pass_at_k(1, 1, 9, 0, 4), posterior_pass_at_k(1, 1, 9, 0, 4, 0.5)
    assert inflated == pytest.approx(plain * (1 - mass[0]))


def test_two_point_fit_round_trip_and_limits():
    a, b = beta_from_pass_values(0.2, 0.6, 32)
    np.testing.assert_allclose(beta_pass_at_k(a, b, [1, 32]), [0.2, 0.6], rtol=1e-9)
    for bad in ((0.5, 0.4, 8), (0.2, 1.0, 8), (0.2, 0.36, 2), (0.2, 0.3, 1)):
        with pytest.raises(ValueError, match="no Beta"):
            beta_from_pass_values(*bad)


def test_extrapolation_says_what_it_is(panel):
    forecast = extrapolate_pass_at_k(128, panel, [64, 128, 129], np.random.default_rng(0), resamples=60)
    np.testing.assert_array_equal(forecast.extrapolated, [False, False, True])
    assert np.all((forecast.low < forecast.estimate) & (forecast.estimate < forecast.high))
    assert "extrapolation" in forecast.method
    assert forecast.failed_fits == 0
    again = extrapolate_pass_at_k(128, panel, [64, 128, 129], np.random.default_rng(0), resamples=60)
    np.testing.assert_array_equal(forecast.low, again.low)
    with pytest.raises(ValueError, match="k must"):
        extrapolate_pass_at_k(128, panel, [0], np.random.default_rng(0))


def test_extrapolation_counts_resamples_without_a_fit():
    forecast = extrapolate_pass_at_k(4, [1, 0, 0, 0], [2, 8], np.random.default_rng(0), resamples=40)
    assert 0 < forecast.failed_fits < 40
