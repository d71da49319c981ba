import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar

from theory.inference import (
    holm,
    mcnemar_exact,
    mcnemar_mid_p,
    mean_interval,
    paired_tost,
    wilson_interval,
)


def test_tost_is_two_t_tests_and_its_interval_decides():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.3, 0.5, 0.9):
        d = rng.normal(shift, 1, 40)
        result = paired_tost(d, 0.6)
        expected = max(
            ttest_1samp(d, -0.6, alternative="greater").pvalue, ttest_1samp(d, 0.6, alternative="less").pvalue
        )
        assert result.p_value == pytest.approx(expected, rel=1e-10)
        assert result.equivalent == (min(result.low + 0.6, 0.6 - result.high) > 0)
        low, high = ttest_1samp(d, 0).confidence_interval(0.9)
        assert (result.low, result.high) == pytest.approx((low, high))


def test_tost_with_an_asymmetric_margin_and_without_spread():
    assert paired_tost([0.2] * 5, 0.3).p_value == 0.5**5 and not paired_tost([0.2] * 4, 0.3).equivalent
    assert paired_tost([0.4] * 5, 0.3).p_value == 1
    assert paired_tost([0.4] * 5, (-0.1, 0.5)).equivalent
    assert paired_tost([0.0] * 5, 0.1).equivalent
    for margin in (0.0, -1.0, (0.2, 0.1), float("nan")):
        with pytest.raises(ValueError, match="margin"):
            paired_tost([0.0, 0.1], margin)
    with pytest.raises(ValueError, match="at least 2"):
        paired_tost([0.1], 0.2)
    with pytest.raises(ValueError, match="alpha"):
        paired_tost([0.1, 0.2], 0.2, alpha=0.6)


def test_size_of_tost_at_the_edge_of_the_margin():
    rng = np.random.default_rng(1)
    passed = [paired_tost(d, 0.5).equivalent for d in rng.normal(0.5, 1, (2500, 60))]
    assert 0.035 <= np.mean(passed) <= 0.065


def test_the_mean_interval_equals_scipy():
    rng = np.random.default_rng(2)
    a = rng.normal(0.5, 1, 30)
    one, scipy_one = mean_interval(a, 0.9), ttest_1samp(a, 0)
    assert one.p_value == pytest.approx(scipy_one.pvalue)
    assert (one.low, one.high) == pytest.approx(tuple(scipy_one.confidence_interval(0.9)))
    assert mean_interval([1.0, 1.0]).p_value == 0
    assert mean_interval([0.0, 0.0]).p_value == 1


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_equals_statsmodels_and_scipy(b, c):
    assert mcnemar_exact(b, c) == pytest.approx(mcnemar([[3, b], [c, 3]], exact=True).pvalue if b + c else 1.0)
    if b + c:
        for side in ("greater", "less"):
            assert mcnemar_exact(b, c, side) == pytest.approx(binomtest(b, b + c, 0.5, side).pvalue, rel=1e-9)
    assert mcnemar_exact(b, c) == mcnemar_exact(c, b)
    assert 0 < mcnemar_mid_p(b, c) <= mcnemar_exact(b, c)


def test_mid_p_by_its_definition():
    """P(more extreme) + P(as extreme) / 2 under the binomial."""
    for b, c in ((5, 1), (3, 7), (4, 4), (0, 1)):
        outcomes = np.arange(b + c + 1)
        law = np.array([binomtest(int(x), b + c, 0.5, "less").pvalue for x in outcomes])
        law = np.diff(law, prepend=0.0)
        distance, here = np.abs(outcomes - (b + c) / 2), abs(b - c) / 2
        assert mcnemar_mid_p(b, c) == pytest.approx(law[distance > here].sum() + law[distance == here].sum() / 2)


def test_no_discordant_pair_and_bad_counts():
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact([5, 0], [1, 0]).shape == (2,)
    for bad in ((-1, 2), (1.5, 2)):
        with pytest.raises(ValueError, match=r"discordant|whole"):
            mcnemar_exact(*bad)
    with pytest.raises(ValueError, match="alternative"):
        mcnemar_exact(1, 2, "more")


def test_wilson_equals_scipy():
    for hits, n in ((0, 64), (3, 10), (64, 64)):
        low, high = wilson_interval(hits, n, 0.9)
        expected = binomtest(hits, n).proportion_ci(0.9, method="wilson")
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson_interval([1, 2], 4)[0].shape == (2,)
    for bad in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="proportion"):
            wilson_interval(*bad)


@settings(max_examples=25, deadline=None)  # statsmodels collects garbage at every call, which takes most of the time
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_by_its_definition(p):
    adjusted = holm(p)
    order = np.argsort(p, kind="stable")
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        assert adjusted[index] == pytest.approx(running, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("bad", [[0.1, float("nan")], [-0.1], [1.1], [[0.1]]])
def test_holm_refuses_what_is_no_p_value(bad):
    with pytest.raises(ValueError, match=r"p-values|p_values"):
        holm(bad)
