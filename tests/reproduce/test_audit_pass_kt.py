"""Each re-analysis of PASS@(k,T) against the value its specification states, or against an independent way to it."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import beta, binomtest, multivariate_normal, norm
from statsmodels.stats.contingency_tables import mcnemar

from reproduce.papers.pass_kt.audit import audit as pass_kt
from reproduce.papers.pass_kt.audit import counts as pass_kt_counts
from reproduce.papers.pass_kt.audit import designs as pass_kt_designs
from reproduce.papers.pass_kt.audit import mechanism as pass_kt_mechanism
from reproduce.papers.pass_kt.audit import noise as pass_kt_noise
from reproduce.papers.pass_kt.audit.designs import Design
from reproduce.report.audit_tables import DIGEST

PAIRS = pass_kt_counts.boundary_pairs()
TESTS = {test.pair.name: test for test in pass_kt_counts.pair_tests(PAIRS)}


def test_every_table_is_complete_and_every_row_comes_from_a_digest():
    audit = pass_kt.audit()
    identifiers = [table.identifier for table in audit.tables]
    assert len(set(identifiers)) == len(identifiers) == 18
    for table in audit.tables:
        assert table.rows
        assert {row.source for row in table.rows} == {DIGEST}
        assert table.reading.endswith(".")
        assert "nan" not in table.reading
        assert all(cell for row in table.rows for cell in row.cells)


@pytest.mark.parametrize(
    ("name", "exact", "mid_p", "one_sided", "half_width", "in_category", "overall"),
    [
        ("A, RL against base", 1.000, 0.84375, 0.656, 4.8, None, 1.0),
        ("B, RL against base", 0.219, 0.125, 0.109, 4.7, None, 0.875),
        ("C, RL against base", 0.219, 0.125, 0.109, 4.7, 0.4375, 0.875),
        ("C, SFT against base", 0.344, 0.227, 0.945, 6.1, 0.4375, 0.875),
        ("C, RL against SFT", 0.0215, 0.012, 0.011, 6.0, 0.0645, 0.107),
    ],
)
def test_paired_tests(name, exact, mid_p, one_sided, half_width, in_category, overall):
    test = TESTS[name]
    assert test.exact == pytest.approx(exact, abs=5e-4)
    assert test.mid_p == pytest.approx(mid_p, abs=5e-4)
    assert test.one_sided == pytest.approx(one_sided, abs=5e-4)
    assert test.half_width == pytest.approx(half_width, abs=0.06)
    assert test.adjusted == pytest.approx(overall, abs=5e-4)
    assert test.adjusted_in_category == (None if in_category is None else pytest.approx(in_category, abs=5e-4))


def test_paired_tests_against_a_table_of_all_questions():
    for pair in PAIRS:
        both = pair.before - pair.lost
        neither = pair.questions - both - pair.gained - pair.lost
        table = [[both, pair.lost], [pair.gained, neither]]
        assert TESTS[pair.name].exact == pytest.approx(mcnemar(table, exact=True).pvalue)
        differences = np.repeat([1.0, -1.0, 0.0], [pair.gained, pair.lost, both + neither])
        expected = 196 * differences.std() / np.sqrt(pair.questions)
        assert TESTS[pair.name].half_width == pytest.approx(expected, rel=1e-4)


def test_sums_agree_and_the_pairs_of_c_fit_together_in_two_ways():
    assert all(pair.adds_up for pair in PAIRS)
    found = pass_kt_counts.solved_patterns(PAIRS)
    fitting = [
        cells
        for cells in product(range(6), range(6), range(2), range(2), range(4), range(8))
        if _pairs_of(*cells) == (5, 1, 3, 7, 9, 1)
    ]
    assert [tuple(vars(pattern).values()) for pattern in found] == fitting
    assert sorted(pattern.trained_and_tuned for pattern in found) == [2, 3]


def _pairs_of(trained, trained_tuned, base, base_tuned, tuned, base_trained):
    """(gained, lost) of RL against base, SFT against base and RL against SFT."""
    rl_base = trained + trained_tuned, base + base_tuned
    sft_base = trained_tuned + tuned, base + base_trained
    return (*rl_base, *sft_base, trained + base_trained, base_tuned + tuned)


def test_categories_b_and_c_do_not_differ():
    contrasts = {(item.first.category, item.second.category): item for item in pass_kt_counts.category_contrasts(PAIRS)}
    assert contrasts["B", "C"].p_value == 1
    assert contrasts["B", "C"].difference == 0
    # Every split of the 8 gains but the even one is at least as extreme: 1 - C(8, 4) C(4, 2) / C(12, 6).
    assert contrasts["A", "C"].p_value == pytest.approx(1 - 70 * 6 / 924)
    assert contrasts["A", "C"].half_width == pytest.approx(np.hypot(4.80, 4.74), abs=0.01)


def test_equality_of_the_static_category_from_its_counts():
    results = {item.margin: item for item in pass_kt_counts.equality_of_static(PAIRS)}
    assert results[3].high == pytest.approx(1.6604 * 100 * np.sqrt(6 / 99) / 10, abs=1e-3)
    assert [margin for margin, item in results.items() if item.p_value <= 0.05] == [5, 10]
    assert results[5].p_value == pytest.approx(0.0225, abs=5e-4)


def test_changes_of_size_alone_cannot_be_significant():
    changes = {change.name: change for change in pass_kt_counts.size_changes()}
    assert len(changes) == 7
    falling = changes["B, base, T = 1 to T = 2"]
    assert (falling.before, falling.after, falling.smallest_p) == (84, 82, pytest.approx(0.5))
    assert changes["B, base, T = 2 to T = 5"].smallest_p == 1
    bonus = changes["C, RL+bonus against RL"]
    assert (bonus.before, bonus.after, bonus.smallest_p) == (81, 78, pytest.approx(0.25))
    assert all(change.adjusted == 1 for change in changes.values())
    for change in changes.values():
        splits = [(lost + change.after - change.before, lost) for lost in range(change.before + 1)]
        possible = [binomtest(gained, gained + lost).pvalue for gained, lost in splits if gained >= 0 and gained + lost]
        assert change.smallest_p == pytest.approx(min(possible))


def test_laws_curves_and_crossing():
    base, trained = pass_kt_noise.rate_law("base"), pass_kt_noise.rate_law("RL")
    assert base.parameters == pytest.approx((0.251, 0.440), abs=5.1e-4)
    assert trained.parameters == pytest.approx((0.323, 0.641), abs=5.1e-4)
    assert pass_kt_noise.fitted_crossing() == pytest.approx(3.4, abs=0.05)


def test_self_null_of_the_published_design():
    null = pass_kt_noise.self_null()
    assert null.expected_discordants == pytest.approx(7.3, abs=0.05)
    assert null.discordant_range() == (3, 13)
    assert null.standard_deviation_of_net == pytest.approx(2.7, abs=0.05)
    comparisons = {(item.pair.arm, item.pair.against): item for item in pass_kt_noise.self_null_comparisons()}
    assert comparisons["RL", "base"].net_probability == pytest.approx(0.094, abs=0.002)
    assert comparisons["RL", "base"].pair_probability == pytest.approx(0.036, abs=0.002)
    assert 0.001 <= comparisons["RL", "SFT"].pair_probability <= 0.002
    assert comparisons["SFT", "base"].two_sided == comparisons["RL", "base"].two_sided
    assert comparisons["RL", "SFT"].adjusted == pytest.approx(3 * comparisons["RL", "SFT"].two_sided)


def test_self_null_against_simulated_panels():
    rng = np.random.default_rng(3)
    rates = beta.rvs(*pass_kt_noise.rate_law("base").parameters, size=(20_000, 100), random_state=rng)
    first, second = (rng.random(rates.shape) < 1 - (1 - rates) ** 64 for _ in range(2))
    gained, lost = (first & ~second).sum(axis=1), (second & ~first).sum(axis=1)
    comparisons = {(item.pair.arm, item.pair.against): item for item in pass_kt_noise.self_null_comparisons()}
    headline = comparisons["RL", "base"]
    assert (gained - lost >= 4).mean() == pytest.approx(headline.net_probability, abs=0.007)
    assert ((gained >= 5) & (lost <= 1)).mean() == pytest.approx(headline.pair_probability, abs=0.005)
    assert (gained - lost >= 8).mean() == pytest.approx(comparisons["RL", "SFT"].net_probability, abs=0.0015)


def test_self_null_by_episodes():
    expected = [10.3, 8.7, 7.3, 6.2, 5.2, 4.4]
    np.testing.assert_allclose(pass_kt_noise.self_null_by_episodes("base"), expected, atol=0.06)


@pytest.mark.parametrize(
    ("n", "one_sided", "two_sided", "at_bound"),
    [(64, 0.0457, 0.056, 0.95), (128, 0.0231, None, 0.78), (256, 0.0116, None, 0.53)],
)
def test_bounds_after_no_success(n, one_sided, two_sided, at_bound):
    result = pass_kt_noise.no_success(n)
    assert result.one_sided_bound == pytest.approx(one_sided, abs=5e-5)
    assert result.two_sided_bound == pytest.approx(binomtest(0, n).proportion_ci(0.95, method="exact").high)
    assert two_sided is None or result.two_sided_bound == pytest.approx(two_sided, abs=5e-4)
    assert result.pass_at_bound == pytest.approx(at_bound, abs=0.005)
    if n == 64:
        assert result.membership == pytest.approx(0.11, abs=0.005)


def test_detection_of_the_boundary():
    assert pass_kt_noise.detection_rate(0.5, 64) == pytest.approx(0.011, abs=5e-4)
    assert pass_kt_noise.detection_rate(0.95, 64) == pytest.approx(0.046, abs=5e-4)


def test_priors():
    uniform, jeffreys, truth = pass_kt_noise.prior_effects()
    assert (uniform.at_64, uniform.at_256, uniform.panel) == pytest.approx((0.496, 0.80, 0.862), abs=0.003)
    assert (jeffreys.at_64, jeffreys.at_256, jeffreys.panel) == pytest.approx((0.29, 0.55, 0.8065), abs=0.005)
    assert (truth.at_64, truth.at_256, truth.panel) == pytest.approx((0.16, 0.33, 0.770), abs=0.005)


def test_bias_with_replacement():
    expected = {4: (0.538, 0.541), 16: (0.665, 0.675), 32: (0.710, 0.727), 64: (0.742, 0.770)}
    for item in pass_kt_noise.plug_in_biases():
        assert (item.with_replacement, item.unbiased) == pytest.approx(expected[item.k], abs=6e-4)


END_POWERS = [
    # questions, episodes, paired t, sign-flip, exact McNemar, mid-p: the second values of the specification
    (100, 64, 0.21, 0.13, 0.14, 0.21),
    (100, 128, 0.35, 0.37, 0.16, 0.23),
    (300, 64, 0.57, 0.49, 0.50, 0.55),
    (300, 128, 0.82, 0.82, 0.59, 0.65),
]


@pytest.mark.parametrize(("questions", "episodes", "paired_t", "sign_flip", "exact", "mid_p"), END_POWERS)
def test_power_for_the_headline(questions, episodes, paired_t, sign_flip, exact, mid_p):
    result = pass_kt_designs.end_power(Design(questions, episodes))
    assert result.paired_t == pytest.approx(paired_t, abs=0.03)
    assert result.sign_flip == pytest.approx(sign_flip, abs=0.06)
    assert result.mcnemar == pytest.approx(exact, abs=0.02)
    assert result.mid_p == pytest.approx(mid_p, abs=0.02)


def test_power_of_a_thousand_questions():
    result = pass_kt_designs.end_power(Design(1000, 64))
    assert (result.paired_t, result.sign_flip, result.mcnemar, result.mid_p) == pytest.approx(
        (0.98, 0.97, 0.97, 0.98), abs=0.015
    )


def test_power_for_widening():
    expected = {
        Design(100, 64): ((0.52, 0.66), (0.65, 0.78)),
        # Between the two values of the specification, .73 and .70; 20,000 panels give .723.
        Design(100, 128): ((0.72, 0.77), (0.81, 0.86)),
        Design(300, 128, 0.8): ((0.87, 0.88), (0.93, 0.93)),
    }
    for design, (two_sided, one_sided) in expected.items():
        result = pass_kt_designs.widening_power(design)
        assert result.two_sided == pytest.approx(two_sided, abs=0.035)
        assert result.one_sided == pytest.approx(one_sided, abs=0.035)
        power = norm.cdf(pass_kt_designs.published_contrast() / result.standard_error - norm.isf(0.05))
        assert power == pytest.approx(one_sided[0], abs=0.05)


def test_power_for_equality():
    expected = {
        Design(100, 64, 0.95): (0.00, 0.07, 0.84),
        Design(300, 128, 0.95): (0.35, 0.94, 1.0),
        Design(100, 64, 0.99): (0.01, 0.18, 0.93),
        Design(300, 128, 0.99): (0.71, 0.99, 1.0),
    }
    for design, power in expected.items():
        assert pass_kt_designs.equality_power(design).power == pytest.approx(power, abs=0.035)


def test_panel_sizes():
    first, second, third = pass_kt_designs.panel_sizes()
    assert (first.needed, second.needed, third.needed) == pytest.approx((310, 520, 125), abs=5)
    assert (first.round_power, second.round_power, third.round_power) == pytest.approx((0.904, 0.86, 0.88), abs=0.005)


def test_discordance_by_quadrature_equals_that_of_a_sampled_copula():
    design = Design(100, 64, 0.8)
    gained, lost = pass_kt_designs.discordance_rates("RL", "base", design)
    draws = multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).rvs(200_000, random_state=np.random.default_rng(2))
    none = [
        (1 - beta.ppf(norm.cdf(draws[:, place]), *pass_kt_noise.rate_law(arm).parameters)) ** 64
        for place, arm in enumerate(("base", "RL"))
    ]
    assert gained == pytest.approx((none[0] * (1 - none[1])).mean(), abs=0.001)
    assert lost == pytest.approx((none[1] * (1 - none[0])).mean(), abs=0.001)
    assert gained - lost == pytest.approx(0.04, abs=0.0005)


def test_mechanism_numbers_agree():
    query, reasoning, ratio = pass_kt_mechanism.perplexity_agreements()
    assert query.recomputed == pytest.approx(0.728, abs=5e-4)
    assert reasoning.recomputed == pytest.approx(1.125, abs=5e-4)
    assert ratio.recomputed == pytest.approx(1.488, abs=5e-4)
    collapse = pass_kt_mechanism.collapse_agreement()
    assert collapse.recomputed == pytest.approx(2.7, abs=0.05)
    assert all(item.agrees for item in (query, reasoning, ratio, collapse))


def test_novelty_of_a_policy_against_itself_by_sampling():
    rng = np.random.default_rng(4)
    null = pass_kt_mechanism.novelty_null("base")
    # Between 61 and 62 equally likely sequences yield 40.1 distinct ones of 64.
    for sequences in (61, 62):
        first, second = rng.integers(0, sequences, (2, 4000, 64))
        unique = np.mean([len(set(row.tolist())) for row in second])
        new = np.mean([len(set(b.tolist()) - set(a.tolist())) for a, b in zip(first, second, strict=True)])
        assert unique == pytest.approx(null.unique, abs=0.5)
        assert new / unique == pytest.approx(null.spread, abs=0.015)
    assert null.one_mode == pytest.approx(39.1 / 40.1, abs=0.001)


def test_effort():
    value = pass_kt_mechanism.effort()
    assert (value.training, value.tuning, value.arm) == (16_000, 200, 70_400)
    assert value.three_arms == pytest.approx(205_000, abs=500)
