"""The re-analysis of ReuseRL gives the values worked out by hand from the digests' numbers."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import proportions_ztest

from reproduce.claims.published import load_published, load_settings
from reproduce.papers.reuserl.audit.audit import audit
from reproduce.papers.reuserl.audit.scores import (
    ARMS,
    BENCHMARKS,
    burned,
    chance_of_whole_scenes,
    difference_checks,
    episodes,
    fits,
    gain_contrast,
    instances,
    needs,
    rate,
    rate_tests,
    round_sizes,
    value,
)
from reproduce.report.audit_tables import DIGEST
from theory.inference import holm


def by_comparison():
    return {(item.benchmark, item.arm, item.against): item for item in rate_tests()}


def test_nothing_was_read_directly():
    assert not any(item.read_directly for item in (*load_published("reuserl"), *load_settings("reuserl")))


def test_differences_follow_from_the_main_table():
    checks = difference_checks()
    assert len(checks) == 12
    for check in checks:
        assert check.reported == pytest.approx(check.recomputed, abs=1e-9)


def test_counts_print_as_the_reported_rates():
    for fit in fits():
        assert fit.fits
        for arm, wins in zip(ARMS, fit.counts, strict=True):
            assert round(100 * wins / fit.episodes, 2) == rate(arm, fit.benchmark)


def test_counts_and_sizes():
    by_benchmark = {fit.benchmark: fit for fit in fits()}
    assert by_benchmark["ALFWorld-IID"].counts == (118, 135, 136)
    assert by_benchmark["ALFWorld-OOD"].counts == (107, 123, 125)
    assert by_benchmark["TextWorld-Cooking"].counts == (2249, 1921, 2452)
    assert by_benchmark["Countdown"].counts == (2103, 2366, 2469)
    assert by_benchmark["Countdown"].smallest == 1284
    assert [episodes(name) for name in BENCHMARKS] == [140, 134, 3000, 3072]
    assert [instances()[name] for name in BENCHMARKS] == [140, 134, 1000, 1024]


def test_sizes_that_fit_in_round_numbers():
    assert round_sizes("TextWorld-Cooking", half_way=False, with_best=True) == (3000, 6000, 7000, 9000, 10000)
    assert set(round_sizes("TextWorld-Cooking", half_way=True, with_best=True)) == {
        *round_sizes("TextWorld-Cooking", half_way=False, with_best=True),
        4000,
        8000,
    }
    assert round_sizes("Countdown", half_way=True, with_best=False)[0] == 6500


def test_chance_of_whole_scenes():
    assert chance_of_whole_scenes() == pytest.approx(8.5e-6, abs=0.05e-6)


@pytest.mark.parametrize(
    ("benchmark", "arm", "against", "p", "tolerance"),
    [
        ("ALFWorld-IID", "SegCost-buf", "GRPO", 3e-4, 0.5e-4),
        ("ALFWorld-IID", "SegCost-buf", "length", 1.0, 1e-9),
        ("ALFWorld-OOD", "SegCost-buf", "GRPO", 2e-3, 0.5e-3),
        ("ALFWorld-OOD", "SegCost-buf", "length", 0.82, 0.005),
        ("TextWorld-Cooking", "SegCost-buf", "GRPO", 2e-10, 0.5e-10),
        ("TextWorld-Cooking", "length", "GRPO", 4e-20, 0.5e-20),
        ("Countdown", "SegCost-buf", "length", 1.5e-3, 0.05e-3),
    ],
)
def test_fisher_by_episode(benchmark, arm, against, p, tolerance):
    assert by_comparison()[(benchmark, arm, against)].p_value == pytest.approx(p, abs=tolerance)


@pytest.mark.parametrize(
    ("benchmark", "arm", "against", "wins", "p", "tolerance"),
    [
        ("TextWorld-Cooking", "SegCost-buf", "GRPO", (817, 750), 3e-4, 0.5e-4),
        ("TextWorld-Cooking", "length", "GRPO", (640, 750), 1e-7, 0.5e-7),
        ("Countdown", "SegCost-buf", "length", (823, 789), 0.07, 0.005),
    ],
)
def test_fisher_by_instance(benchmark, arm, against, wins, p, tolerance):
    found = by_comparison()[(benchmark, arm, against)]
    assert found.clustered_wins == wins
    assert found.clustered_p == pytest.approx(p, abs=tolerance)


def test_fisher_is_near_the_normal_test_and_adjusted_over_all_twelve():
    found = rate_tests()
    assert len(found) == 12
    for item in found:
        if 1e-4 < item.p_value < 0.1:
            approximate = proportions_ztest([item.wins, item.wins_against], [item.episodes] * 2)[1]
            assert np.log(item.p_value / approximate) == pytest.approx(0, abs=0.7)
    assert [item.adjusted for item in found] == pytest.approx(list(holm([item.p_value for item in found])))
    assert [item.clustered_adjusted for item in found] == pytest.approx(
        list(holm([item.clustered_p for item in found]))
    )


def test_gain_out_of_distribution():
    found = gain_contrast()
    assert found.difference == pytest.approx(0.6, abs=0.05)
    assert found.half_width == pytest.approx(10.4, abs=0.05)
    assert found.p_value == pytest.approx(2 * norm.sf(1.96 * found.difference / found.half_width), abs=1e-3)


@pytest.mark.parametrize(
    ("benchmark", "against", "samples", "rounding"),
    [
        # 9,700 in the specification comes from the difference of the rounded rates, .71 points instead of .714.
        ("ALFWorld-IID", "length", 9570, 10),
        ("ALFWorld-OOD", "length", 4900, 50),
        ("Countdown", "length", 2350, 50),
        ("TextWorld-Cooking", "length", 100, 10),
        ("TextWorld-Cooking", "GRPO", 580, 10),
        ("Countdown", "GRPO", 210, 10),
    ],
)
def test_samples_for_eighty_per_cent_power(benchmark, against, samples, rounding):
    found = {(item.benchmark, item.arm, item.against): item for item in needs()}
    assert found[(benchmark, "SegCost-buf", against)].needed == pytest.approx(samples, abs=rounding)


def test_power_is_eighty_per_cent_exactly_where_the_need_is_met():
    for item in needs():
        assert (item.power >= 0.8) == (item.needed <= item.episodes)
        assert item.clustered_power <= item.power + 1e-12


def test_burned_share_of_all_episodes():
    found = {item.arm: item for item in burned()}
    assert [round(found[arm].burned, 1) for arm in ARMS] == [5.3, 26.6, 0.6]
    assert [round(found[arm].other, 1) for arm in ARMS] == [19.7, 9.4, 17.7]
    for item in found.values():
        assert item.burned + item.other == pytest.approx(item.failures)


def test_the_best_value_that_no_row_has():
    conflicts = [name for name in BENCHMARKS if value(f"best.{name}") > max(rate(arm, name) for arm in ARMS)]
    assert conflicts == ["TextWorld-Cooking"]
    assert value("best.TextWorld-Cooking") == 83.5


def test_the_audit_marks_every_row_and_says_what_it_found():
    found = audit()
    assert found.paper == "reuserl"
    assert len({table.identifier for table in found.tables}) == len(found.tables)
    assert {row.source for table in found.tables for row in table.rows} == {DIGEST}
    readings = {table.identifier: table.reading for table in found.tables}
    assert "significant on TextWorld-Cooking and Countdown by episode" in readings["success-tests"]
    assert "on TextWorld-Cooking by instance" in readings["success-tests"]
    assert "+0.6 points" in readings["gain-contrast"]
    assert "83.5" in readings["differences"]
    assert "all 6 are whole scenes" in readings["counts"]
