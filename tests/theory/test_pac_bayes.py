import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from theory.pac_bayes import (
    binary_kl,
    binary_kl_inverse,
    catoni_bound,
    mcallester_maurer_bound,
    occam_chernoff_bound,
    occam_hoeffding_bound,
    seeger_langford_bound,
)

BOUNDS = (occam_hoeffding_bound, mcallester_maurer_bound, seeger_langford_bound, catoni_bound, occam_chernoff_bound)
# Specification, table 3.3: dictionary bits, m, then (A), (A) + 1 nat, (B), (C), (E) + 1 nat at mean 0.08, delta 0.05.
TABLE = (
    (90, 128, 0.585, 0.589, 0.597, 0.566, 0.558),
    (90, 512, 0.333, 0.335, 0.340, 0.290, 0.284),
    (90, 2048, 0.206, 0.207, 0.211, 0.170, 0.167),
    (30, 128, 0.385, 0.391, 0.404, 0.357, 0.343),
    (30, 512, 0.232, 0.236, 0.244, 0.198, 0.191),
)


def test_check_values_of_the_specification():
    bits, m, *published = np.array(TABLE).T
    nats = bits * math.log(2)
    ours = (
        occam_hoeffding_bound(0.08, nats, m),
        occam_hoeffding_bound(0.08, nats + 1, m),
        mcallester_maurer_bound(0.08, nats, m),
        seeger_langford_bound(0.08, nats, m),
        occam_chernoff_bound(0.08, nats + 1, m),
    )
    np.testing.assert_allclose(ours, published, atol=5.1e-4, rtol=0)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("m", [1, 5, 20, 100])
@pytest.mark.parametrize("delta", [0.05, 0.5])
def test_coverage_is_exact_for_a_coin_fixed_in_advance(bound, m, delta):
    """Complexity 0, Bernoulli losses: the probability that the bound lies below the truth is a binomial sum."""
    successes = np.arange(m + 1)
    values = bound(successes / m, 0.0, m, delta)
    for p in np.linspace(0.01, 0.99, 50):
        assert binom.pmf(successes, m, p)[values < p].sum() <= delta


def test_union_over_a_prior_is_exact_for_independent_coins():
    """512 coins of one law, each with complexity ln 512, and the one with the lowest bound is chosen."""
    m, delta, coins = 12, 0.2, 512
    successes = np.arange(m + 1)
    for bound in BOUNDS:
        paid, free = bound(successes / m, math.log(coins), m, delta), bound(successes / m, 0.0, m, delta)
        failing = {"paid": 0.0, "free": 0.0}
        for p in np.linspace(0.05, 0.95, 19):
            law = binom.pmf(successes, m, p)
            for name, values in (("paid", paid), ("free", free)):
                failing[name] = max(failing[name], 1 - (1 - law[values < p].sum()) ** coins)
        assert failing["paid"] <= delta
        # Without the complexity the same choice breaks every bound: the term is needed.
        assert failing["free"] > delta


def test_maurer_constant_covers_the_exact_one():
    """xi(m) = sum of C(m,k) (k/m)^k (1-k/m)^(m-k) <= 2 sqrt(m) at every m from 1, not only from Maurer's 8."""
    for m in range(1, 400):
        k = np.arange(m + 1)
        assert binom.pmf(k, m, k / m).sum() <= 2 * math.sqrt(m)


@given(st.floats(0, 1), st.floats(0, 5))
def test_inverse_kl_equals_a_root_finder(q, budget):
    value = float(binary_kl_inverse(q, budget))
    assert q <= value <= 1
    if q < 1 and budget > 1e-6 and binary_kl(q, 1 - 1e-12) > budget:
        root = brentq(lambda p: float(binary_kl(q, p)) - budget, q, 1 - 1e-13, xtol=1e-14)
        assert value == pytest.approx(root, abs=1e-9)


def test_kl_at_the_edges():
    assert binary_kl(0, 0) == 0
    assert binary_kl(0.5, 0) == math.inf
    assert binary_kl(0, 0.5) == pytest.approx(math.log(2))
    assert binary_kl_inverse(0, math.log(2)) == pytest.approx(0.5)
    assert binary_kl_inverse(1, 0.0) == 1
    assert binary_kl_inverse(0.3, 0.0) == pytest.approx(0.3)


@given(st.floats(0, 1), st.floats(0, 50), st.integers(1, 4096))
def test_order_of_the_forms(mean, nats, m):
    """Pinsker: (E) <= (A) and (C) <= (B); the mixture forms pay ln(2 sqrt m) more than the Occam forms."""
    slack = 1e-9
    assert occam_chernoff_bound(mean, nats, m) <= occam_hoeffding_bound(mean, nats, m) + slack
    assert seeger_langford_bound(mean, nats, m) <= mcallester_maurer_bound(mean, nats, m) + slack
    assert occam_chernoff_bound(mean, nats, m) <= seeger_langford_bound(mean, nats, m) + slack


def test_best_catoni_slope_reaches_the_chernoff_form():
    """Catoni's bound at its best beta is the inverse kl (Germain et al. 2009), so a fixed beta never beats it."""
    best = catoni_bound(0.08, 20.0, 128, beta=np.geomspace(0.01, 20, 4000)).min()
    assert best == pytest.approx(float(occam_chernoff_bound(0.08, 20.0, 128)), abs=1e-4)


@pytest.mark.parametrize("bound", BOUNDS)
def test_losses_in_bits_scale_with_their_range(bound):
    scale = 50 * math.log2(12)
    assert bound(0.08 * scale, 30, 128, loss_range=scale) == pytest.approx(scale * bound(0.08, 30, 128))
    assert bound([0.1, 0.2], [[5.0], [6.0], [7.0]], 64).shape == (3, 2)
    assert bound(0.1, 5.0, 1 << 40) == pytest.approx(0.1 if bound is not catoni_bound else 0.1506, abs=1e-3)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.1, 1, 10), "mean_loss"),
        ((-0.1, 1, 10), "mean_loss"),
        ((math.nan, 1, 10), "mean_loss"),
        ((0.1, -1, 10), "complexity"),
        ((0.1, 1, 0), "sample"),
        ((0.1, 1, 10, 0.0), "delta"),
        ((0.1, 1, 10, 1.0), "delta"),
        ((0.1, 1, 10, 0.05, 0.0), "loss_range"),
    ],
)
def test_bad_input(bound, arguments, message):
    with pytest.raises(ValueError, match=message):
        bound(*arguments)


def test_catoni_refuses_a_slope_that_is_not_positive():
    with pytest.raises(ValueError, match="beta"):
        catoni_bound(0.1, 1, 10, beta=0)
