from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind, ttest_ind_from_stats
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from theory.published import (
    chance_of_fit,
    consistent_trials,
    power_welch,
    rounded_counts,
    solved_count_multisets,
    trend_in_proportions,
    two_proportion_power,
    two_proportion_samples,
    welch_detectable_difference,
    welch_from_summary,
    welch_units,
)


@given(st.integers(1, 4000), st.integers(0, 3), st.data())
def test_the_true_count_is_always_among_those_of_its_printed_percentage(trials, decimals, data):
    count = data.draw(st.integers(0, trials))
    fewest, most = rounded_counts(round(100 * count / trials, decimals), trials, decimals)
    assert fewest <= count <= most


@given(st.integers(1, 300), st.integers(0, 2), st.data())
def test_counts_are_those_of_an_enumeration(trials, decimals, data):
    printed = data.draw(st.integers(0, 100 * 10**decimals)) / 10**decimals
    half = 0.5 * 10.0**-decimals + 1e-9
    fitting = [count for count in range(trials + 1) if abs(100 * count / trials - printed) <= half]
    fewest, most = rounded_counts(printed, trials, decimals)
    assert list(range(int(fewest), int(most) + 1)) == fitting


def test_a_value_half_way_may_be_rounded_either_way():
    assert rounded_counts([12, 13], 8, 0) == (pytest.approx([1, 1]), pytest.approx([1, 1]))
    fewest, most = rounded_counts([12, 13], 8, 0, half_way=False)
    assert (fewest > most).all()
    assert consistent_trials([12, 25], [8], 0).all()
    assert not consistent_trials([12, 25], [8], 0, half_way=False).any()


@given(st.integers(1, 4000), st.integers(0, 3), st.data())
def test_without_half_way_values_the_counts_are_the_unambiguous_ones(trials, decimals, data):
    count = data.draw(st.integers(0, trials))
    scaled = 100 * 10**decimals * count
    ambiguous = 2 * (scaled % trials) == trials
    printed = (2 * scaled + trials) // (2 * trials) / 10**decimals
    fewest, most = rounded_counts(printed, trials, decimals, half_way=False)
    assert (fewest <= count <= most) == (not ambiguous)


def test_consistent_trials_need_every_value():
    grid = np.arange(500, 10001, 500)
    both = consistent_trials([81.73, 83.5], grid, [2, 1])
    assert np.array_equal(both, consistent_trials(81.73, grid, 2) & consistent_trials(83.5, grid, 1))
    assert not consistent_trials([33.33, 50.0], [3, 2], 2).any()
    assert consistent_trials([33.33, 50.0], [6], 2).all()


def test_chance_of_fit_counts_the_printable_values():
    assert chance_of_fit(500, 1) == pytest.approx(501 / 1001)
    assert chance_of_fit(140, 2) == pytest.approx(141 / 10001)
    assert chance_of_fit(1000, 1) == chance_of_fit(2500, 1) == 1
    # Counts of 8 questions are half way between whole percentages: 12 and 13 both print 1/8.
    assert chance_of_fit(8, 0) == pytest.approx(13 / 101)


@pytest.mark.parametrize("ddof", [0, 1])
def test_multisets_are_those_of_a_full_enumeration(ddof):
    questions, runs = 12, 3
    table = {}
    for counts in product(range(questions + 1), repeat=runs):
        rates = 100 * np.array(counts) / questions
        printed = (round(rates.mean(), 1), round(rates.std(ddof=ddof), 1))
        table.setdefault(printed, set()).add(tuple(sorted(counts)))
    for (mean, deviation), multisets in table.items():
        found = solved_count_multisets(mean, deviation, questions, runs, ddof)
        assert multisets <= set(found)
        for counts in found:
            rates = 100 * np.array(counts) / questions
            assert abs(rates.mean() - mean) <= 0.05 + 1e-6
            assert abs(rates.std(ddof=ddof) - deviation) <= 0.05 + 1e-6


def test_no_multiset_where_the_deviation_cannot_be():
    assert solved_count_multisets(50.0, 0.0, 3, 3, 0) == ()
    assert solved_count_multisets(0.0, 0.0, 30, 3, 1) == ((0, 0, 0),)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_welch_from_summary_is_welch_of_the_data(first, second):
    a, b = np.array(first), np.array(second)
    if min(a.std(), b.std()) < 1e-3:
        return
    result = welch_from_summary((a.mean(), a.std(ddof=1), a.size), (b.mean(), b.std(ddof=1), b.size))
    assert result.p_value == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, abs=1e-9)
    assert result.low <= result.mean <= result.high


def test_welch_from_summary_agrees_with_scipy_and_knows_no_spread():
    expected = ttest_ind_from_stats(55.2, 0.9, 3, 52.1, 1.5, 3, equal_var=False).pvalue
    assert welch_from_summary((55.2, 0.9, 3), (52.1, 1.5, 3)).p_value == pytest.approx(expected)
    assert welch_from_summary((1.0, 0.0, 3), (1.0, 0.0, 3)).p_value == 1
    assert welch_from_summary((2.0, 0.0, 3), (1.0, 0.0, 3)).p_value == 0


def test_the_trend_is_the_regression_of_the_outcome_on_the_score():
    hits, trials, scores = np.array([8, 12, 30]), np.array([100, 90, 110]), np.array([-1.0, 0.0, 2.0])
    x = np.repeat(scores, trials)
    y = np.concatenate([np.repeat([1.0, 0.0], [h, n - h]) for h, n in zip(hits, trials, strict=True)])
    z, p = trend_in_proportions(hits, trials, scores)
    assert z == pytest.approx(np.corrcoef(x, y)[0, 1] * np.sqrt(y.size))
    assert 0 < p < 0.01
    assert trend_in_proportions(hits[::-1], trials[::-1], scores)[0] < 0
    assert trend_in_proportions([0, 0], [5, 5], [0, 1]) == (0.0, 1.0)


def test_two_groups_in_a_trend_are_the_pooled_comparison():
    z, _ = trend_in_proportions([30, 45], [200, 210], [0, 1])
    pooled = 75 / 410
    expected = (45 / 210 - 30 / 200) / np.sqrt(pooled * (1 - pooled) * (1 / 200 + 1 / 210))
    assert z == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second"), [(0.97, 0.84), (0.5, 0.55), (0.02, 0.3)])
def test_two_proportion_samples_reach_their_power(first, second):
    samples = two_proportion_samples(first, second)
    assert two_proportion_power(first, second, samples) == pytest.approx(0.8, abs=1e-4)
    variance = (first * (1 - first) + second * (1 - second)) / 2
    expected = NormalIndPower().power((first - second) / np.sqrt(variance), samples, 0.05)
    assert two_proportion_power(first, second, samples) == pytest.approx(expected)


def test_two_proportion_power_agrees_with_a_simulation():
    rng = np.random.default_rng(0)
    x, y = rng.binomial(400, 0.6, 40_000) / 400, rng.binomial(400, 0.5, 40_000) / 400
    z = (x - y) / np.sqrt((x * (1 - x) + y * (1 - y)) / 400)
    assert (np.abs(z) > 1.959964).mean() == pytest.approx(two_proportion_power(0.6, 0.5, 400), abs=0.01)
    assert two_proportion_power(1.0, 1.0, 10) == 0
    assert two_proportion_power(1.0, 0.0, 10) == 1


def test_power_of_welch_equals_the_two_sample_t_where_that_is_exact():
    for effect, units in [(1.0, 5), (2.0, 10), (0.3, 30)]:
        expected = TTestIndPower().power(effect, units, 0.05)
        assert power_welch(effect, (1.0, 1.0), (units, units)) == pytest.approx(expected, abs=1e-9)
    assert power_welch(0.0, (1.0, 1.0), (5, 5)) == pytest.approx(0.05)


def test_detectable_difference_and_units_invert_the_power():
    difference = welch_detectable_difference((2.0, 3.0), (4, 6))
    assert power_welch(difference, (2.0, 3.0), (4, 6)) == pytest.approx(0.8, abs=1e-6)
    units = welch_units(5.0, (9.0, 8.0))
    assert power_welch(5.0, (9.0, 8.0), (units, units)) >= 0.8
    assert power_welch(5.0, (9.0, 8.0), (units - 1, units - 1)) < 0.8


def test_bad_arguments_are_refused():
    refused = [
        lambda: rounded_counts(101, 10, 1),
        lambda: rounded_counts(50, 0, 1),
        lambda: rounded_counts(50, 10, -1),
        lambda: solved_count_multisets(50, 1, 30, 1, 0),
        lambda: solved_count_multisets(50, 1, 30, 3, 2),
        lambda: welch_from_summary((1, 1, 1), (1, 1, 3)),
        lambda: welch_from_summary((1, -1, 3), (1, 1, 3)),
        lambda: trend_in_proportions([1], [2], [0]),
        lambda: trend_in_proportions([3, 1], [2, 2], [0, 1]),
        lambda: trend_in_proportions([1, 1], [2, 2], [1, 1]),
        lambda: two_proportion_samples(0.5, 0.5),
        lambda: two_proportion_power(1.5, 0.5, 10),
        lambda: power_welch(1, (0, 0), (3, 3)),
        lambda: power_welch(1, (1, 1), (1, 3)),
        lambda: welch_units(1e-6, (1.0, 1.0), limit=100),
    ]
    for call in refused:
        with pytest.raises(ValueError, match=r".+"):
            call()
