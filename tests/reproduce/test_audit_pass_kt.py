"""Each re-analysis of PASS@(k,T) against the value its specification states, or against an independent way to it."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import beta, binomtest, multivariate_normal, norm
from statsmodels.stats.contingency_tables import mcnemar

from reproduce.papers.pass_kt.audit import counts, designs, noise
from reproduce.papers.pass_kt.audit.designs import Design

TESTS = counts.boundary_counts().data.set_index("label")
SELF_NULL = noise.self_null().data.set_index(["arm", "against"])


@pytest.mark.parametrize(
    ("name", "exact", "mid_p", "one_sided", "half_width", "in_category", "overall"),
    [
        ("A, RL against base", 1.000, 0.84375, 0.656, 4.8, np.nan, 1.0),
        ("B, RL against base", 0.219, 0.125, 0.109, 4.7, np.nan, 0.875),
        ("C, RL against base", 0.219, 0.125, 0.109, 4.7, 0.4375, 0.875),
        ("C, SFT against base", 0.344, 0.227, 0.945, 6.1, 0.4375, 0.875),
        ("C, RL against SFT", 0.0215, 0.012, 0.011, 6.0, 0.0645, 0.107),
    ],
)
def test_paired_tests(name, exact, mid_p, one_sided, half_width, in_category, overall):
    test = TESTS.loc[name]
    found = (test.exact, test.mid_p, test.one_sided, test.adjusted, test.adjusted_in_category)
    assert found == pytest.approx((exact, mid_p, one_sided, overall, in_category), abs=5e-4, nan_ok=True)
    assert test.half_width == pytest.approx(half_width, abs=0.06)


def test_paired_tests_against_a_table_of_all_questions():
    for pair in TESTS.itertuples():
        both = pair.before - pair.lost
        neither = 100 - both - pair.gained - pair.lost
        table = [[both, pair.lost], [pair.gained, neither]]
        assert pair.exact == pytest.approx(mcnemar(table, exact=True).pvalue)
        differences = np.repeat([1.0, -1.0, 0.0], [pair.gained, pair.lost, both + neither])
        assert pair.half_width == pytest.approx(196 * differences.std() / np.sqrt(100), rel=1e-4)


def test_sums_agree_and_the_pairs_of_c_fit_together_in_two_ways():
    assert (TESTS.before + TESTS.net == TESTS.after).all()
    found = counts.boundary_sums()
    assert found.reading.startswith("All boundary sums agree; the three pairs of C fit together in 2 ways")
    fitting = [
        cells
        for cells in product(range(6), range(6), range(2), range(2), range(4), range(8))
        if _pairs_of(*cells) == (5, 1, 3, 7, 9, 1)
    ]
    assert list(found.data.itertuples(index=False, name=None)) == fitting
    assert sorted(found.data.trained_and_tuned) == [2, 3]


def _pairs_of(trained, trained_tuned, base, base_tuned, tuned, base_trained):
    """(gained, lost) of RL against base, SFT against base and RL against SFT."""
    rl_base = trained + trained_tuned, base + base_tuned
    sft_base = trained_tuned + tuned, base + base_trained
    return (*rl_base, *sft_base, trained + base_trained, base_tuned + tuned)


def test_categories_b_and_c_do_not_differ():
    contrasts = {row.categories: row for row in counts.task_specific().data.itertuples()}
    assert (contrasts["B", "C"].p, contrasts["B", "C"].difference) == (1, 0)
    # Every split of the 8 gains but the even one is at least as extreme: 1 - C(8, 4) C(4, 2) / C(12, 6).
    assert contrasts["A", "C"].p == pytest.approx(1 - 70 * 6 / 924)
    assert contrasts["A", "C"].half_width == pytest.approx(np.hypot(4.80, 4.74), abs=0.01)


def test_equality_of_the_static_category_from_its_counts():
    results = counts.static_inert().data
    assert results.high[3] == pytest.approx(1.6604 * 100 * np.sqrt(6 / 99) / 10, abs=1e-3)
    assert list(results.index[results.p <= 0.05]) == [5, 10]
    assert results.p[5] == pytest.approx(0.0225, abs=5e-4)


def test_changes_of_size_alone_cannot_be_significant():
    changes = counts.sizes_only().data.set_index("label")
    assert len(changes) == 7
    assert (changes.adjusted == 1).all()
    assert tuple(changes.loc["B, base, T = 1 to T = 2"])[:3] == (84, 82, pytest.approx(0.5))
    assert tuple(changes.loc["C, RL+bonus against RL"])[:3] == (81, 78, pytest.approx(0.25))
    assert changes.smallest_p["B, base, T = 2 to T = 5"] == 1
    for change in changes.itertuples():
        splits = [(lost + change.after - change.before, lost) for lost in range(change.before + 1)]
        possible = [binomtest(gained, gained + lost).pvalue for gained, lost in splits if gained >= 0 and gained + lost]
        assert change.smallest_p == pytest.approx(min(possible))


def test_laws_curves_and_crossing():
    assert noise.rate_law("base") == pytest.approx((0.251, 0.440), abs=5.1e-4)
    assert noise.rate_law("RL") == pytest.approx((0.323, 0.641), abs=5.1e-4)
    assert noise.fitted_crossing() == pytest.approx(3.4, abs=0.05)


def test_self_null_of_the_published_design():
    null = noise.self_null_law()
    assert null.expected_discordants == pytest.approx(7.3, abs=0.05)
    assert null.discordant_range() == (3, 13)
    assert null.standard_deviation_of_net == pytest.approx(2.7, abs=0.05)
    headline, against_sft = SELF_NULL.loc["RL", "base"], SELF_NULL.loc["RL", "SFT"]
    assert headline.one_sided == pytest.approx(0.094, abs=0.002)
    assert headline.pair == pytest.approx(0.036, abs=0.002)
    assert 0.001 <= against_sft.pair <= 0.002
    assert SELF_NULL.two_sided["SFT", "base"] == headline.two_sided
    assert against_sft.adjusted == pytest.approx(3 * against_sft.two_sided)


def test_self_null_against_simulated_panels():
    rng = np.random.default_rng(3)
    rates = beta.rvs(*noise.rate_law("base"), size=(20_000, 100), random_state=rng)
    first, second = (rng.random(rates.shape) < 1 - (1 - rates) ** 64 for _ in range(2))
    gained, lost = (first & ~second).sum(axis=1), (second & ~first).sum(axis=1)
    headline = SELF_NULL.loc["RL", "base"]
    assert (gained - lost >= 4).mean() == pytest.approx(headline.one_sided, abs=0.007)
    assert ((gained >= 5) & (lost <= 1)).mean() == pytest.approx(headline.pair, abs=0.005)
    assert (gained - lost >= 8).mean() == pytest.approx(SELF_NULL.one_sided["RL", "SFT"], abs=0.0015)


def test_self_null_by_episodes():
    np.testing.assert_allclose(noise.self_null_episodes().data.base, [10.3, 8.7, 7.3, 6.2, 5.2, 4.4], atol=0.06)


def test_bounds_after_no_success_and_detection():
    found = noise.no_success().data
    np.testing.assert_allclose(found.one_sided, [0.0457, 0.0231, 0.0116], atol=5e-5)
    exact = [binomtest(0, int(n)).proportion_ci(0.95, method="exact").high for n in found.episodes]
    np.testing.assert_allclose(found.two_sided, exact)
    np.testing.assert_allclose(found.pass_at_bound, [0.95, 0.78, 0.53], atol=0.005)
    assert found.membership[0] == pytest.approx(0.11, abs=0.005)
    assert noise.detection_rate(0.5, 64) == pytest.approx(0.011, abs=5e-4)
    assert noise.detection_rate(0.95, 64) == pytest.approx(0.046, abs=5e-4)


def test_priors_and_bias_with_replacement():
    found = noise.priors().data[["at_64", "at_256", "panel"]]
    expected = [(0.496, 0.80, 0.862), (0.29, 0.55, 0.8065), (0.16, 0.33, 0.770)]
    np.testing.assert_allclose(found, expected, atol=0.005)
    biased = noise.plug_in().data
    np.testing.assert_allclose(biased.with_replacement, [0.538, 0.665, 0.710, 0.742], atol=6e-4)
    np.testing.assert_allclose(biased.unbiased, [0.541, 0.675, 0.727, 0.770], atol=6e-4)


def test_power_for_the_headline():
    found = designs.design_power().data.set_index(["questions", "episodes"])
    expected = {
        # paired t, sign-flip, exact McNemar, mid-p: the second values of the specification
        (100, 64): (0.21, 0.13, 0.14, 0.21),
        (100, 128): (0.35, 0.37, 0.16, 0.23),
        (300, 64): (0.57, 0.49, 0.50, 0.55),
        (300, 128): (0.82, 0.82, 0.59, 0.65),
        (1000, 64): (0.98, 0.97, 0.97, 0.98),
    }
    assert list(found.index) == list(expected)
    for row, (paired_t, sign_flip, exact, mid_p) in zip(found.itertuples(), expected.values(), strict=True):
        assert row.paired_t == pytest.approx(paired_t, abs=0.03)
        assert row.sign_flip == pytest.approx(sign_flip, abs=0.06)
        assert (row.mcnemar, row.mid_p) == pytest.approx((exact, mid_p), abs=0.02)


def test_power_for_widening():
    expected = {
        Design(100, 64): ((0.52, 0.66), (0.65, 0.78)),
        # Between the two values of the specification, .73 and .70; 20,000 panels give .723.
        Design(100, 128): ((0.72, 0.77), (0.81, 0.86)),
        Design(300, 128, 0.8): ((0.87, 0.88), (0.93, 0.93)),
    }
    for design, (two_sided, one_sided) in expected.items():
        found = designs.widening_power(design)
        assert (found["two_sided_64"], found["two_sided_32"]) == pytest.approx(two_sided, abs=0.035)
        assert (found["one_sided_64"], found["one_sided_32"]) == pytest.approx(one_sided, abs=0.035)
        power = norm.cdf(designs.published_contrast() / found["error"] - norm.isf(0.05))
        assert power == pytest.approx(one_sided[0], abs=0.05)


def test_power_for_equality():
    found = designs.equality().data[["within_3", "within_5", "within_10"]]
    expected = [(0.00, 0.07, 0.84), (0.35, 0.94, 1.0), (0.01, 0.18, 0.93), (0.71, 0.99, 1.0)]
    np.testing.assert_allclose(found, expected, atol=0.035)


def test_panel_sizes():
    found = designs.panel_sizes().data
    np.testing.assert_allclose(found.needed, [310, 520, 125], atol=5)
    np.testing.assert_allclose(found.round_power, [0.904, 0.86, 0.88], atol=0.005)


def test_discordance_by_quadrature_equals_that_of_a_sampled_copula():
    gained, lost = designs.discordance_rates("RL", "base", Design(100, 64, 0.8))
    draws = multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).rvs(200_000, random_state=np.random.default_rng(2))
    none = [
        (1 - beta.ppf(norm.cdf(draws[:, place]), *noise.rate_law(arm))) ** 64
        for place, arm in enumerate(("base", "RL"))
    ]
    assert gained == pytest.approx((none[0] * (1 - none[1])).mean(), abs=0.001)
    assert lost == pytest.approx((none[1] * (1 - none[0])).mean(), abs=0.001)
    assert gained - lost == pytest.approx(0.04, abs=0.0005)


def test_mechanism_numbers_agree():
    found = counts.mechanism().data
    np.testing.assert_allclose(found.recomputed, [0.728, 1.125, 1.488, 2.73], atol=5e-3)
    assert (found.low < found.recomputed).all()
    assert (found.recomputed < found.high).all()
    assert found.agrees.all()


def test_novelty_of_a_policy_against_itself_by_sampling():
    rng = np.random.default_rng(4)
    expected_unique, spread, one_mode = counts.novelty_of_itself("base")
    # Between 61 and 62 equally likely sequences yield 40.1 distinct ones of 64.
    for sequences in (61, 62):
        first, second = rng.integers(0, sequences, (2, 4000, 64))
        unique = np.mean([len(set(row.tolist())) for row in second])
        new = np.mean([len(set(b.tolist()) - set(a.tolist())) for a, b in zip(first, second, strict=True)])
        assert unique == pytest.approx(expected_unique, abs=0.5)
        assert new / unique == pytest.approx(spread, abs=0.015)
    assert one_mode == pytest.approx(39.1 / 40.1, abs=0.001)


def test_effort():
    *exact, three_arms = counts.effort().data.episodes
    assert exact == [16_000, 200, 70_400]
    assert three_arms == pytest.approx(205_000, abs=500)
