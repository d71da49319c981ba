"""Intervals of bounded means: the exact one where that exists, in range and honest everywhere, and with coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from benchmarks.intervals import Options, measure, worst
from theory.bounded_means import (
    bounded_mean_interval,
    bounded_mean_p_value,
    cluster_means,
    simultaneous_confidence,
)

VALUES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=40)


@pytest.mark.parametrize(("wins", "n"), [(0, 1), (2, 3), (3, 3), (17, 60), (100, 100), (0, 500)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_of_zeros_and_ones_it_is_clopper_pearson(wins, n, confidence):
    values = np.repeat([1.0, 0.0], [wins, n - wins])
    found = bounded_mean_interval(values, confidence)
    expected = proportion_confint(wins, n, alpha=1 - confidence, method="beta")
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-9)
    for null in (0.2, 0.7):
        p_value = bounded_mean_p_value(values, null, "greater", 0.0, 1.0)
        assert p_value == pytest.approx(binomtest(wins, n, null, alternative="greater").pvalue, abs=1e-9)
        p_value = bounded_mean_p_value(values, null, "less", 0.0, 1.0)
        assert p_value == pytest.approx(binomtest(wins, n, null, alternative="less").pvalue, abs=1e-9)


@given(VALUES, st.floats(0.5, 0.999))
def test_in_range_around_the_mean_and_never_without_width(values, confidence):
    found = bounded_mean_interval(values, confidence, -1.0, 1.0)
    assert -1 <= found.low <= np.mean(values) + 1e-9 and np.mean(values) - 1e-9 <= found.high <= 1
    assert found.high - found.low > 1e-4
    mirrored = bounded_mean_interval(-np.array(values), confidence, -1.0, 1.0)
    assert mirrored.low == pytest.approx(-found.high, abs=1e-6)


@given(VALUES, st.floats(-0.9, 0.9))
def test_the_test_is_the_interval_read_backwards(values, null):
    greater, less = (float(bounded_mean_p_value(values, null, side)) for side in ("greater", "less"))
    for p_value, side in ((greater, "low"), (less, "high")):
        if 0.001 < p_value < 0.25:
            limit = getattr(bounded_mean_interval(values, 1 - 2 * p_value, -1.0, 1.0), side)
            assert limit == pytest.approx(null, abs=1e-6)


def test_constant_values_have_the_p_of_what_was_not_seen():
    """No unit of ten differs: a tenth of all units may, and the p of "less than .05" says so."""
    assert bounded_mean_p_value(np.zeros(10), -0.05) == pytest.approx(0.95**10)
    assert bounded_mean_p_value(np.ones(60)) == pytest.approx(2.0**-60)


def test_clusters_are_the_units():
    rng = np.random.default_rng(0)
    values, clusters = rng.random(60), np.repeat(np.arange(20), 3)
    means = values.reshape(20, 3).mean(axis=1)
    np.testing.assert_allclose(cluster_means(values, clusters), means)
    found = bounded_mean_interval(values, clusters=clusters)
    assert found.low == pytest.approx(float(bounded_mean_interval(means).low)) and found.units == 20
    uneven = np.repeat([0, 1, 2], [1, 10, 49])
    assert cluster_means(values, uneven).mean() == pytest.approx(values.mean())


def test_all_cells_at_once():
    rng = np.random.default_rng(1)
    one = rng.random((200, 1))
    assert simultaneous_confidence(np.repeat(one, 5, axis=1), rng) == pytest.approx(0.95, abs=0.006)
    # Of m independent cells each must hold with the m-th root.
    for questions in (40, 4000):
        level = simultaneous_confidence(rng.standard_normal((questions, 50)), rng)
        assert level == pytest.approx(0.95 ** (1 / 50), abs=4e-4)
    assert simultaneous_confidence(np.zeros((5, 3)), rng) == 0.95


@pytest.mark.parametrize(
    "call",
    [
        lambda: bounded_mean_interval([]),
        lambda: bounded_mean_interval([0.5, 1.1]),
        lambda: bounded_mean_interval([0.5], 1.0),
        lambda: bounded_mean_interval([0.5], low=1.0),
        lambda: bounded_mean_interval([0.5, 0.5], clusters=[1]),
        lambda: bounded_mean_p_value([0.5], alternative="two-sided"),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ValueError, match=r"must|at least"):
        call()


@pytest.mark.slow
def test_coverage():
    """Worst of all designs; 500 samples of one design leave an error of .01, 60 of bands one of .03."""
    found = measure(Options(questions=(3, 20), repetitions=500, band_repetitions=60))
    assert min(each.coverage for each in worst(found)) >= 0.88
    assert np.mean([each.coverage < 0.93 for each in found]) < 0.01
