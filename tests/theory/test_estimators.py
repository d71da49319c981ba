"""The estimators against exact rationals, enumeration and other implementations."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from theory.pass_kt import all_at_k, cover_at, g_pass_at_k, pass_at_k, pass_at_k_variance


def exact_failure(n, c, k):
    return Fraction(comb(n - c, k), comb(n, k))


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000, 1024])
def test_pass_at_k_equals_exact_rationals(n):
    ks = sorted({1, 2, 3, 16, 64, 500, n - 1, n} & set(range(1, n + 1)))
    cs = np.unique(np.concatenate([np.arange(min(n, 40) + 1), np.linspace(0, n, 40).astype(int)]))
    ours = pass_at_k(n, cs[:, None], np.array(ks)[None, :])
    for i, c in enumerate(cs.tolist()):
        for j, k in enumerate(ks):
            exact = 1 - exact_failure(n, c, k)
            assert abs(Fraction(float(ours[i, j])) - exact) <= Fraction(1, 10**14) * exact, (n, c, k)


@pytest.mark.parametrize("n", [5, 64, 1024])
def test_all_at_k_equals_exact_rationals(n):
    for c in np.linspace(0, n, 9).astype(int).tolist():
        for k in {1, 2, n // 2, n}:
            exact = Fraction(comb(c, k), comb(n, k))
            assert abs(Fraction(float(all_at_k(n, c, k))) - exact) <= Fraction(1, 10**12) * exact


def test_pass_at_k_equals_the_product_form_of_human_eval():
    for n, c, k in ((10, 3, 4), (64, 1, 64), (64, 60, 16), (200, 0, 7)):
        product = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
        assert pass_at_k(n, c, k) == pytest.approx(product, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("n_shape", "c_shape", "k_shape"),
    [
        ((), (3, 1), (4,)),
        ((3, 1), (1,), (4,)),
        ((2, 1, 1), (3, 1), (4,)),
        ((), (3, 4), (3, 1)),
        ((), (3, 1), (1,)),
        ((), (), (4,)),
    ],
)
def test_every_way_to_broadcast_gives_the_same_numbers(n_shape, c_shape, k_shape):
    rng = np.random.default_rng(0)
    c, k = rng.integers(0, 9, c_shape), rng.integers(1, 9, k_shape)
    n = np.full(n_shape, 8)
    shape = np.broadcast_shapes(n_shape, c_shape, k_shape)
    one_by_one = [
        float(pass_at_k(*cell)) for cell in zip(*(np.broadcast_to(x, shape).ravel() for x in (n, c, k)), strict=True)
    ]
    result = pass_at_k(n, c, k)
    assert result.shape == shape
    np.testing.assert_array_equal(result.ravel(), one_by_one)


def test_more_draws_than_episodes_is_not_a_number():
    assert np.isnan(pass_at_k(8, 3, 9))
    assert np.isnan(all_at_k(8, 8, 9))
    assert np.isnan(g_pass_at_k(8, 3, 9, 0.5))
    assert np.isnan(pass_at_k(0, 0, 1))
    assert np.isnan(pass_at_k_variance(8, 3, 5))
    assert not np.isnan(pass_at_k_variance(8, 3, 4))


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (8, -1, 1, "c must be at least 0"),
        (8, 9, 1, "must not exceed n"),
        ([8, 8], [3, 9], 1, r"index \(1,\)"),
        (8, 3, 0, "k must be at least 1"),
        (8, 3, 1.5, "whole"),
        (8, 2.5, 1, "whole"),
        (float("nan"), 0, 1, "whole"),
        (float("inf"), 0, 1, "whole"),
        ("eight", 0, 1, "whole"),
        (-1, 0, 1, "must"),
        ([8, 8], [1, 2, 3], 1, "broadcast"),
        ([8, 8], [1, 2], [1, 2, 3], "broadcast"),
    ],
)
def test_bad_counts_are_refused(n, c, k, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)


def test_whole_floats_are_accepted_and_shapes_broadcast():
    assert pass_at_k(8.0, 3.0, 2.0) == pass_at_k(8, 3, 2)
    assert pass_at_k(np.full((2, 1, 1), 8), np.arange(3)[:, None], [1, 2, 4, 8]).shape == (2, 3, 4)
    assert pass_at_k(8, np.zeros((0,), dtype=int), 2).shape == (0,)


def test_unequal_n_gives_the_same_as_one_call_for_each():
    n, c = np.array([3, 64, 5, 64, 128]), np.array([1, 60, 5, 0, 7])
    k = np.array([1, 2, 4, 64])
    together = pass_at_k(n[:, None], c[:, None], k)
    apart = np.array([pass_at_k(int(a), int(b), k) for a, b in zip(n, c, strict=True)])
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("k", [1, 4, 16, 32])
def test_variance_is_unbiased_by_enumeration(p, k):
    n, c = 64, np.arange(65)
    law = binom.pmf(c, n, p)
    estimate = pass_at_k(n, c, k)
    true_variance = law @ estimate**2 - (law @ estimate) ** 2
    assert law @ estimate == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    assert law @ pass_at_k_variance(n, c, k) == pytest.approx(true_variance, abs=1e-12)


def test_variance_is_never_negative_in_exact_arithmetic():
    n = 20
    for k in range(1, n // 2 + 1):
        for c in range(n + 1):
            exact = exact_failure(n, c, k) ** 2 - exact_failure(n, c, 2 * k)
            assert exact >= 0
            assert float(pass_at_k_variance(n, c, k)) == pytest.approx(float(exact), abs=1e-14)


def test_single_variances_vanish_where_the_data_cannot_tell():
    assert pass_at_k_variance(64, 0, 16) == 0
    assert pass_at_k_variance(64, 60, 16) == 0


@pytest.mark.parametrize(("p", "excess"), [(0.01, 1.08), (0.05, 1.46), (0.3, 5.7)])
def test_jackknife_overstates_the_variance_at_large_k(p, excess):
    """Check values of the specification: +8 %, +46 %, 5.7 times at k = 32, n = 64; exact at k = 1."""
    n, c = 64, np.arange(65)
    law = binom.pmf(c, n, p)
    for k, ratio in ((1, 1.0), (32, excess)):
        drop_success = np.where(c > 0, pass_at_k(n - 1, np.maximum(c - 1, 0), k), 0.0)
        drop_failure = np.where(c < n, pass_at_k(n - 1, np.minimum(c, n - 1), k), 0.0)
        mean = (c * drop_success + (n - c) * drop_failure) / n
        squares = c * (drop_success - mean) ** 2 + (n - c) * (drop_failure - mean) ** 2
        jackknife = law @ ((n - 1) / n * squares)
        assert jackknife / (law @ pass_at_k_variance(n, c, k)) == pytest.approx(ratio, rel=0.006)


def test_g_pass_by_enumeration_and_at_its_two_ends():
    n, k = 9, 5
    for c in range(n + 1):
        assert g_pass_at_k(n, c, k, 0.0) == pytest.approx(pass_at_k(n, c, k), abs=1e-12)
        assert g_pass_at_k(n, c, k, 1.0) == pytest.approx(all_at_k(n, c, k), abs=1e-12)
        for tau, needed in ((0.2, 1), (0.21, 2), (0.6, 3), (0.8, 4)):
            exact = sum(Fraction(comb(c, j) * comb(n - c, k - j), comb(n, k)) for j in range(needed, k + 1))
            assert g_pass_at_k(n, c, k, tau) == pytest.approx(float(exact), abs=1e-12)
    # .55 of 100 is 55, though the floating product is a little more.
    assert g_pass_at_k(100, 55, 100, 0.55) == 1
    with pytest.raises(ValueError, match="tau"):
        g_pass_at_k(9, 3, 5, 1.1)


def test_cover_counts_questions_at_the_threshold():
    c = np.array([[0, 1, 2, 8], [8, 8, 4, 0]])
    np.testing.assert_allclose(
        cover_at(8, c, [0.0, 0.125, 0.25, 0.5, 1.0]), [[1, 0.75, 0.5, 0.25, 0.25], [1, 0.75, 0.75, 0.75, 0.5]]
    )
    assert cover_at(8, c, 0.25).shape == (2,)
    assert cover_at(10, [3], 0.3) == 1
    with pytest.raises(ValueError, match="episode"):
        cover_at([0, 1], [0, 1], 0.5)
    with pytest.raises(ValueError, match="question"):
        cover_at(8, np.zeros((2, 0), dtype=int), 0.5)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_curves_rise_in_k_and_in_c(data):
    n = data.draw(st.integers(1, 300))
    c = data.draw(st.integers(0, n))
    curve = pass_at_k(n, c, np.arange(1, n + 1))
    assert np.all((curve >= 0) & (curve <= 1))
    assert np.all(np.diff(curve) >= -1e-14)
    assert curve[0] == pytest.approx(c / n, rel=1e-13)
    assert curve[-1] == float(c > 0)
    if c < n:
        assert np.all(pass_at_k(n, c + 1, np.arange(1, n + 1)) >= curve - 1e-14)
    np.testing.assert_allclose(
        all_at_k(n, c, np.arange(1, n + 1)), 1 - pass_at_k(n, n - c, np.arange(1, n + 1)), atol=1e-12
    )
