import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from theory.inference import (
    mcnemar_exact,
    mcnemar_mid_p,
    mcnemar_questions,
    minimum_detectable_effect,
    paired_tost,
    power_mcnemar,
    power_paired_t,
    sign_flip_minimum_detectable_effect,
    westfall_young_maxt,
)
from theory.power import units_for_effect, units_for_equivalence

STATSMODELS = {"two-sided": "two-sided", "greater": "larger", "less": "smaller"}


@pytest.mark.parametrize("alternative", list(STATSMODELS))
def test_power_equals_statsmodels(alternative):
    for units in (2, 5, 8, 30, 300):
        for effect in (-0.7, 0.0, 0.2, 1.1):
            expected = TTestPower().power(effect / 1.3, units, 0.05, alternative=STATSMODELS[alternative])
            ours = float(power_paired_t(effect, 1.3, units, alternative=alternative))
            assert ours == pytest.approx(expected if np.isfinite(expected) else 0.0, abs=1e-9)


def test_power_without_effect_is_the_level_and_far_effects_are_certain():
    assert power_paired_t(0.0, 1.0, 10) == pytest.approx(0.05)
    assert power_paired_t(50.0, 1.0, 10) == pytest.approx(1)
    assert power_paired_t(-50.0, 1.0, 10) == pytest.approx(1)
    assert power_paired_t(-50.0, 1.0, 10, alternative="greater") == pytest.approx(0)
    assert power_paired_t([0.1, 0.2], 1.0, [[5], [6], [7]]).shape == (3, 2)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.01, 10),
    st.integers(2, 400),
    st.floats(0.001, 0.2),
    st.floats(0.5, 0.95),
    st.sampled_from([*STATSMODELS]),
)
def test_detectable_effect_has_the_stated_power(deviation, units, alpha, power, alternative):
    effect = float(minimum_detectable_effect(deviation, units, alpha, power, alternative))
    sign = -1 if alternative == "less" else 1
    assert effect > 0
    assert power_paired_t(sign * effect, deviation, units, alpha, alternative) == pytest.approx(power, abs=1e-6)


def test_detectable_effect_equals_statsmodels_and_broadcasts():
    expected = TTestPower().solve_power(nobs=8, alpha=0.05, power=0.8)
    assert minimum_detectable_effect(2.0, 8) == pytest.approx(2 * expected, rel=1e-6)
    table = minimum_detectable_effect(np.array([0.0, 0.1, 0.2]), np.array([[5], [8]]))
    assert table.shape == (2, 3)
    assert np.all(table[:, 0] == 0)
    assert np.all(table[0, 1:] > table[1, 1:])


@pytest.mark.parametrize(("units", "alternative"), [(6, "two-sided"), (8, "two-sided"), (8, "greater"), (10, "less")])
def test_sign_flip_effect_has_the_stated_power(units, alternative):
    effect = sign_flip_minimum_detectable_effect(1.0, units, np.random.default_rng(0), alternative=alternative)
    signed = -effect if alternative == "less" else effect
    d = np.random.default_rng(1).normal(signed, 1.0, (units, 4000))
    found = (westfall_young_maxt(d, alternative=alternative).p_value <= 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.03)


def test_sign_flip_effect_and_the_t_test():
    five = sign_flip_minimum_detectable_effect(1.0, 5, np.random.default_rng(0))
    assert np.isinf(five), "with five units the smallest two-sided p is .0625"
    assert np.isfinite(sign_flip_minimum_detectable_effect(1.0, 5, np.random.default_rng(0), alternative="greater"))
    twelve = sign_flip_minimum_detectable_effect(1.0, 12, np.random.default_rng(0))
    assert twelve == pytest.approx(float(minimum_detectable_effect(1.0, 12)), rel=0.04)
    assert sign_flip_minimum_detectable_effect(0.0, 8, np.random.default_rng(0)) == 0


@pytest.mark.parametrize("mid_p", [False, True])
def test_mcnemar_power_against_simulation(mid_p):
    rng = np.random.default_rng(0)
    draws = rng.multinomial(150, [0.09, 0.03, 0.88], 40_000)
    p = (mcnemar_mid_p if mid_p else mcnemar_exact)(draws[:, 0], draws[:, 1])
    assert power_mcnemar(0.09, 0.03, 150, mid_p=mid_p) == pytest.approx((p <= 0.05).mean(), abs=0.009)


def test_mcnemar_size_is_at_most_nominal_and_mid_p_is_closer():
    for questions in (50, 100, 300, 1000):
        exact, mid = power_mcnemar(0.05, 0.05, questions), power_mcnemar(0.05, 0.05, questions, mid_p=True)
        assert exact < mid <= 0.055
        assert exact <= 0.05


def test_mcnemar_extremes():
    assert power_mcnemar(1.0, 0.0, 6) == 1
    assert power_mcnemar(1.0, 0.0, 5) == 0
    assert mcnemar_questions(1.0, 0.0) == 6
    with pytest.raises(ValueError, match="more than 200"):
        mcnemar_questions(0.05, 0.04, limit=200)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_paired_t(1, 0, 5), "standard_deviation"),
        (lambda: power_paired_t(1, 1, 1), "2 units"),
        (lambda: minimum_detectable_effect(1, 1), "2 units"),
        (lambda: minimum_detectable_effect(-1, 5), "standard_deviation"),
        (lambda: minimum_detectable_effect(1, 5, alpha=0), "alpha"),
        (lambda: minimum_detectable_effect(1, 5, power=0.01), "power"),
        (lambda: minimum_detectable_effect(1, 5, alternative="up"), "alternative"),
        (lambda: sign_flip_minimum_detectable_effect(1, 16, np.random.default_rng(0)), "15"),
        (lambda: sign_flip_minimum_detectable_effect(-1, 8, np.random.default_rng(0)), "standard_deviation"),
        (lambda: power_mcnemar(0.6, 0.6, 10), "rates"),
        (lambda: power_mcnemar(0.0, 0.0, 10), "rates"),
        (lambda: power_mcnemar(0.1, 0.1, 0), "questions"),
        (lambda: mcnemar_questions(0.1, 0.1), "equal rates"),
    ],
)
def test_bad_designs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("deviation", "effect", "alpha"), [(1.0, 0.5, 0.05), (0.4, -0.03, 0.01), (1.0, 10.0, 0.05)])
def test_units_for_effect_equals_statsmodels_rounded_up(deviation, effect, alpha):
    found = units_for_effect(deviation, effect, alpha)
    assert power_paired_t(effect, deviation, found, alpha) >= 0.8
    if found > 3:
        exact = TTestPower().solve_power(abs(effect) / deviation, alpha=alpha, power=0.8)
        assert found == np.ceil(exact)
    assert units_for_effect(1.0, 1e-9) == float("inf")
    with pytest.raises(ValueError, match="effect of 0"):
        units_for_effect(1.0, 0.0)


def test_units_for_equivalence_reach_their_power():
    rng = np.random.default_rng(0)
    units = int(units_for_equivalence(1.0, 0.3))
    passed = [paired_tost(d, 0.3).equivalent for d in rng.standard_normal((2000, units))]
    # Three standard errors, .027, and what the normal approximation leaves out.
    assert 0.76 <= np.mean(passed) <= 0.84
    with pytest.raises(ValueError, match="positive"):
        units_for_equivalence(0.0, 0.1)
