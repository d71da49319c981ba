import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law
from scipy.stats import betabinom

from theory.pass_kt import (
    beta_from_pass_values,
    beta_pass_at_k,
    boundary_membership,
    fit_beta_binomial,
    posterior_pass_at_k,
)


@pytest.fixture
def panel():
    rng = np.random.default_rng(11)
    return rng.binomial(128, rng.beta(0.5, 0.7, 500))


def test_curve_is_the_integral():
    for k in (1, 3, 64):
        integral = quad(lambda p, k=k: (1 - (1 - p) ** k) * beta_law.pdf(p, 2.5, 3.5), 0, 1)[0]
        assert beta_pass_at_k(2.5, 3.5, k) == pytest.approx(integral, abs=1e-9)
    assert beta_pass_at_k(2.5, 3.5, 0) == 0


def test_fit_is_a_maximum_and_reports_the_scipy_likelihood(panel):
    fit = fit_beta_binomial(128, panel)
    assert fit.log_likelihood == pytest.approx(betabinom.logpmf(panel, 128, fit.alpha, fit.beta).sum(), rel=1e-10)
    for a, b in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)):
        assert betabinom.logpmf(panel, 128, fit.alpha * a, fit.beta * b).sum() < fit.log_likelihood
    assert not fit.at_bound
    assert fit.questions == 500


def test_fits_recover_the_truth():
    rng = np.random.default_rng(3)
    n = rng.integers(32, 129, 4000)
    plain = fit_beta_binomial(n, rng.binomial(n, rng.beta(0.25, 0.44, 4000)))
    assert (plain.alpha, plain.beta) == pytest.approx((0.25, 0.44), rel=0.1)


def test_degenerate_panels():
    for c in ([0, 0, 0], [8, 8, 8]):
        with pytest.raises(ValueError, match="same outcome"):
            fit_beta_binomial(8, c)
    with pytest.raises(ValueError, match="no episodes"):
        fit_beta_binomial([0, 0], [0, 0])
    assert fit_beta_binomial(64, [32] * 20).at_bound
    assert fit_beta_binomial([64, 0, 32], [3, 0, 9]).questions == 2


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
    with pytest.raises(ValueError, match="level"):
        boundary_membership(0.3, 0.5, 64, 0, 64, 1.0)


def test_two_point_fit_round_trip_and_limits():
    a, b = beta_from_pass_values(0.2, 0.6, 32)
    np.testing.assert_allclose(beta_pass_at_k(a, b, [1, 32]), [0.2, 0.6], rtol=1e-9)
    for bad in ((0.5, 0.4, 8), (0.2, 1.0, 8), (0.2, 0.36, 2), (0.2, 0.3, 1)):
        with pytest.raises(ValueError, match="no Beta"):
            beta_from_pass_values(*bad)
