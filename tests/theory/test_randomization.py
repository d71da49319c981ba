from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_1samp

from theory.inference import sign_flip_test, westfall_young_maxt

ALTERNATIVES = ["two-sided", "greater", "less"]


def as_or_more_extreme(values, reference, alternative):
    if alternative == "two-sided":
        return np.abs(values) >= abs(reference) - 1e-12
    return values >= reference - 1e-12 if alternative == "greater" else values <= reference + 1e-12


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("seed", range(3))
def test_small_samples_equal_enumeration_and_scipy(alternative, seed):
    d = np.random.default_rng(seed).normal(0.4, 1, 9).round(2)
    flipped = np.array([np.mean(np.array(signs) * d) for signs in product([1, -1], repeat=9)])
    expected = as_or_more_extreme(flipped, d.mean(), alternative).mean()
    result = sign_flip_test(d, alternative)
    assert result.exact
    assert result.p_value == pytest.approx(expected, abs=1e-15)
    assert result.statistic == pytest.approx(d.mean())
    assert (result.units, result.resamples) == (9, 512)
    scipy = permutation_test((d,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf)
    assert result.p_value == pytest.approx(scipy.pvalue, abs=1e-12)


def test_smallest_attainable_p_values():
    d = np.arange(1.0, 6.0)
    assert sign_flip_test(d, "greater").p_value == 2**-5
    assert sign_flip_test(d).p_value == 2**-4
    assert sign_flip_test(-d, "less").p_value == 2**-5
    assert sign_flip_test(d, "less").p_value == 1
    assert sign_flip_test([2.0], "greater").p_value == 0.5
    assert sign_flip_test([2.0]).p_value == 1


def test_ties_count_as_ties_in_spite_of_rounding():
    """Every pattern of equal magnitudes with as many plus signs has the same mean, whatever order it is summed in."""
    d = np.array([0.1, 0.1, 0.1, 0.1, 0.1, -0.1, -0.1])
    assert sign_flip_test(d, "greater").p_value == pytest.approx((21 + 7 + 1) / 128)
    assert sign_flip_test(np.zeros(6)).p_value == 1
    assert sign_flip_test(d * 1e-9, "greater").p_value == sign_flip_test(d, "greater").p_value


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_monte_carlo_comes_near_the_normal_limit_and_is_reproducible(alternative):
    d = np.random.default_rng(3).normal(0.1, 1, 300)
    result = sign_flip_test(d, alternative, np.random.default_rng(8), resamples=20_000)
    assert not result.exact
    assert result.p_value == pytest.approx(ttest_1samp(d, 0, alternative=alternative).pvalue, abs=0.012)
    assert result.p_value == sign_flip_test(d, alternative, np.random.default_rng(8), resamples=20_000).p_value


def test_monte_carlo_p_is_never_zero():
    result = sign_flip_test(np.full(40, 1.0), "greater", np.random.default_rng(0), resamples=99)
    assert result.p_value == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sign_flip_test([[1.0]]), "shape"),
        (lambda: sign_flip_test([]), "no values"),
        (lambda: sign_flip_test([1.0, float("nan")]), "NaN"),
        (lambda: sign_flip_test([1.0], "bigger"), "two-sided, greater, less"),
        (lambda: sign_flip_test(np.ones(16)), "Generator"),
        (lambda: sign_flip_test(np.ones(16), generator=np.random.default_rng(0), resamples=0), "resamples"),
        (lambda: westfall_young_maxt(np.ones(4)), "shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_maxt_equals_enumeration_of_t_statistics(alternative):
    d = np.random.default_rng(5).normal([0.9, 0.2, -0.6], [1.0, 0.1, 3.0], (8, 3))
    patterns = [np.array(signs)[:, None] * d for signs in product([1, -1], repeat=8)]
    t = np.array([ttest_1samp(pattern, 0).statistic for pattern in patterns])
    observed = ttest_1samp(d, 0).statistic
    size = {"two-sided": np.abs, "greater": np.array, "less": np.negative}[alternative]
    raw = (size(t) >= size(observed) - 1e-9).mean(axis=0)
    adjusted = (size(t).max(axis=1)[:, None] >= size(observed) - 1e-9).mean(axis=0)
    result = westfall_young_maxt(d, alternative=alternative)
    np.testing.assert_allclose(result.statistic, observed)
    np.testing.assert_allclose(result.p_value, raw, atol=1e-15)
    np.testing.assert_allclose(result.adjusted_p_value, adjusted, atol=1e-15)


def test_cells_that_do_not_vary_are_harmless():
    d = np.column_stack([np.zeros(8), np.full(8, 0.25), np.random.default_rng(0).normal(0, 1, 8)])
    result = westfall_young_maxt(d)
    assert result.statistic[0] == 0
    assert result.p_value[0] == result.adjusted_p_value[0] == 1
    assert np.isinf(result.statistic[1])
    assert result.p_value[1] == result.adjusted_p_value[1] == 2**-7
    alone = westfall_young_maxt(d[:, 2:])
    assert result.p_value[2] == alone.p_value[0]


def test_scale_of_a_cell_does_not_matter_and_cells_keep_their_shape():
    d = np.random.default_rng(1).normal(0.3, 1, (10, 2, 3))
    scaled = d * np.array([[1.0, 1e3, 1e-6], [5.0, 1.0, 1.0]])
    first, second = westfall_young_maxt(d), westfall_young_maxt(scaled)
    assert first.adjusted_p_value.shape == (2, 3)
    np.testing.assert_array_equal(first.adjusted_p_value, second.adjusted_p_value)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 2**31), st.sampled_from(ALTERNATIVES))
def test_adjustment_follows_the_statistic_and_reduces_to_single_tests(units, cells, seed, alternative):
    d = np.random.default_rng(seed).normal(size=(units, cells)).round(1)
    result = westfall_young_maxt(d, alternative=alternative)
    assert np.all(result.p_value <= result.adjusted_p_value + 1e-15)
    towards = {"two-sided": np.abs, "greater": np.array, "less": np.negative}[alternative](result.statistic)
    order = np.argsort(-towards)
    assert np.all(np.diff(result.adjusted_p_value[order]) >= -1e-15)
    for cell in range(cells):
        assert sign_flip_test(d[:, cell], alternative).p_value == pytest.approx(result.p_value[cell])
    copies = westfall_young_maxt(np.repeat(d[:, :1], 5, axis=1), alternative=alternative)
    np.testing.assert_allclose(copies.adjusted_p_value, copies.p_value)


@pytest.mark.parametrize(("units", "alternative"), [(8, "two-sided"), (8, "greater"), (10, "two-sided")])
def test_size_of_the_sign_flip_test(units, alternative):
    """Four thousand null samples of a skewed but symmetric-under-exchange kind: differences of two exponentials."""
    rng = np.random.default_rng(21)
    d = rng.exponential(size=(units, 4000)) - rng.exponential(size=(units, 4000))
    rejected = (westfall_young_maxt(d, alternative=alternative).p_value <= 0.05).mean()
    assert 0.035 <= rejected <= 0.065


def test_size_of_the_sign_flip_test_with_many_units():
    rng = np.random.default_rng(22)
    d = rng.binomial(1, 0.06, (300, 4000)) - rng.binomial(1, 0.06, (300, 4000)) + rng.normal(0, 0.05, (300, 4000))
    rejected = (westfall_young_maxt(d, rng, resamples=999).p_value <= 0.05).mean()
    assert 0.035 <= rejected <= 0.065


def test_family_wise_error_and_power_of_maxt():
    rng = np.random.default_rng(23)
    shared = rng.normal(size=(1000, 10, 1))
    d = 0.7 * shared + 0.7 * rng.normal(size=(1000, 10, 12))
    any_rejected = [(westfall_young_maxt(x).adjusted_p_value <= 0.05).any() for x in d]
    assert 0.035 <= np.mean(any_rejected) <= 0.065
    planted = d + np.where(np.arange(12) == 4, 1.5, 0.0)
    found = [westfall_young_maxt(x).adjusted_p_value[4] <= 0.05 for x in planted[:300]]
    bonferroni = [12 * sign_flip_test(x[:, 4]).p_value <= 0.05 for x in planted[:300]]
    assert np.mean(found) > np.mean(bonferroni)
    assert np.mean(found) > 0.7
