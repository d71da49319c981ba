"""Step-down maxT: closed forms, agreement with the single step, family-wise error and power by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory.detectable import Correction, Design, detectable_effect, formula_effect, units_needed
from theory.inference import holm, sign_flip_minimum_detectable_effect, westfall_young_maxt
from theory.step_down import Component, step_down_maxt


def adjusted_of(values):
    return step_down_maxt([(Component(values=column),) for column in np.asarray(values).T])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_p_values_alone_are_corrected_as_by_holm(p_values):
    found = step_down_maxt([(Component(p_value=p),) for p in p_values])
    assert found == pytest.approx(holm(p_values), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_step_is_the_single_step_and_later_ones_are_smaller(seed):
    values = np.random.default_rng(seed).normal((1.0, 0.4, 0.0), 1, (8, 3))
    single, found = westfall_young_maxt(values, alternative="greater"), adjusted_of(values)
    first = int(np.argmin(single.adjusted_p_value))
    assert found[first] == pytest.approx(single.adjusted_p_value[first])
    assert (found <= single.adjusted_p_value + 1e-12).all() and (found >= single.p_value - 1e-12).all()


def test_one_hypothesis_keeps_its_own_p_and_copies_cost_nothing():
    values = np.random.default_rng(1).normal(0.5, 1, 9)
    own = float(westfall_young_maxt(values[:, None], alternative="greater").p_value[0])
    assert adjusted_of(values[:, None])[0] == pytest.approx(own)
    assert adjusted_of(np.column_stack([values] * 5)) == pytest.approx(own)
    assert step_down_maxt([(Component(values=values), Component(values=values))])[0] == pytest.approx(own)


def test_the_floor_is_one_pattern_however_large_the_family():
    """Holm's floor is the size of the family times 1/256."""
    values = np.random.default_rng(0).normal(0, 1, (8, 10))
    values[:, 0] = 10 + np.arange(8)
    assert adjusted_of(values)[0] == 2**-8


def test_a_hypothesis_of_several_components_is_as_weak_as_its_weakest():
    strong, weak = np.arange(8) + 5.0, np.array([1.0, -2, 1, -1, 2, 0.5, -0.3, 0.1])
    found = step_down_maxt([(Component(values=strong), Component(values=weak)), (Component(p_value=1e-9),)])
    assert found[0] >= float(westfall_young_maxt(weak[:, None], alternative="greater").p_value[0])
    assert found[1] < 0.01


def test_missing_units_and_many_units():
    values = np.random.default_rng(2).normal(1, 1, 8)
    values[3] = np.nan
    alone = westfall_young_maxt(values[np.isfinite(values)][:, None], alternative="greater").p_value[0]
    assert adjusted_of(values[:, None])[0] == pytest.approx(float(alone))
    many = np.random.default_rng(3).normal(0.8, 1, 20)
    with pytest.raises(ValueError, match="too many to enumerate"):
        step_down_maxt([(Component(values=many),)])
    p = step_down_maxt([(Component(values=many),)], np.random.default_rng(0), 2_000)[0]
    assert p == pytest.approx(stats.ttest_1samp(many, 0, alternative="greater").pvalue, abs=0.01)


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        ([()], "needs a component"),
        ([(Component(values=np.ones(3)),), (Component(values=np.ones(4)),)], "one shape"),
        ([(Component(p_value=1.5),)], r"\[0, 1\]"),
        ([(Component(),)], r"\[0, 1\]"),
    ],
)
def test_what_cannot_be_corrected_is_refused(hypotheses, message):
    with pytest.raises(ValueError, match=message):
        step_down_maxt(hypotheses)


def family(generator, effects, units=8, correlation=0.5):
    """Flips of as many hypotheses as effects, the last entering by its t test's p."""
    shared = generator.standard_normal((units, 1))
    values = np.sqrt(1 - correlation) * generator.standard_normal((units, len(effects))) + np.sqrt(correlation) * shared
    values = values + np.asarray(effects)
    p = stats.ttest_1samp(values[:, -1], 0, alternative="greater").pvalue
    return [*((Component(values=column),) for column in values[:, :-1].T), (Component(p_value=float(p)),)]


def test_family_wise_error_is_kept_beside_true_effects_and_power_exceeds_holms():
    generator, simulations = np.random.default_rng(0), 600
    effects = np.array([1.5, 0.0, 1.5, 0.0, 0.0, 1.5, 0.0])
    wrong = right = by_holm = 0
    for _ in range(simulations):
        hypotheses = family(generator, effects)
        rejected = step_down_maxt(hypotheses) <= 0.05
        raw = [
            float(one[0].p_value if one[0].values is None else adjusted_of(one[0].values[:, None])[0])
            for one in hypotheses
        ]
        wrong += bool(rejected[effects == 0].any())
        right += int(rejected[effects > 0].sum())
        # Holm rejects in order of the p until one is above its level.
        order = np.argsort(raw)
        kept = np.cumprod(np.array(raw)[order] <= 0.05 / np.arange(len(raw), 0, -1)).astype(bool)
        by_holm += int((effects[order[kept]] > 0).sum())
    assert wrong / simulations <= 0.05 + 2 * (0.05 * 0.95 / simulations) ** 0.5
    assert right / (3 * simulations) > 0.7 and right > by_holm + 0.1 * 3 * simulations


def test_the_detectable_effect_without_family_equals_the_sign_flips_where_the_interval_is_no_stricter():
    alone = Design.of_units(8, np.array([[2.0]]))
    # At one pattern in 256 the flips are stricter than the interval.
    found = detectable_effect(alone, [0], Correction(level=2**-8))
    known = sign_flip_minimum_detectable_effect(2.0, 8, np.random.default_rng(0), 2**-8, alternative="greater")
    assert found == pytest.approx(known, rel=0.05)
    # At 5 % the interval is: the formula of the t test is right.
    assert detectable_effect(alone, [0]) == pytest.approx(formula_effect(2.0, 8), rel=0.05)
    assert detectable_effect(Design.of_units(4, np.eye(1)), [0], Correction(0.025)) == np.inf


def test_a_planted_effect_of_that_size_is_found_in_four_of_five():
    generator, units = np.random.default_rng(5), 8
    factor = np.diag(np.full(4, 3.0))
    design = Design.of_units(units, factor)
    effect = detectable_effect(design, [0, 1], Correction(0.025, others=((2,), (3,))), simulations=1_000)
    assert effect > detectable_effect(design, [0, 1]) > detectable_effect(design, [0])
    found, simulations, limit = 0, 800, stats.t.ppf(0.975, units - 1) / units**0.5
    for _ in range(simulations):
        values = generator.normal(0, 3, (units, 4)) + effect * np.array([1, 1, 0, 0])
        parts = [Component(values=column) for column in values.T]
        above = bool((values.mean(axis=0) > limit * values.std(axis=0, ddof=1))[:2].all())
        found += above and step_down_maxt([parts[:2], parts[2:3], parts[3:]])[0] <= 0.025
    assert 0.75 <= found / simulations <= 0.85


def test_units_needed_obey_test_interval_and_questions():
    needed = units_needed(1.0, 2.0)
    assert needed is not None
    assert formula_effect(2.0, needed) <= 1.0 < formula_effect(2.0, needed - 1)
    corrected = units_needed(1.0, 2.0, level=0.025 / 5)
    assert corrected is not None and corrected > needed
    assert units_needed(1.0, 2.0, question_variance=0.2) is None
    assert units_needed(-1.0, 2.0) is None
    assert units_needed(50.0, 2.0, level=0.025) == 6
