"""The bounds on a known law: where the assumptions hold they hold, and where they are broken the check can fail."""

from dataclasses import replace

import numpy as np
import pytest

from theory.description_length_check import (
    BOUNDS,
    HOUSEHOLD,
    PREFIX_CODE,
    SHORT_CUT,
    CheckSetting,
    bound_table,
    check_bounds,
    draw_once,
    standard_settings,
)
from theory.mdl import description_length
from theory.segmentation import segment

ALL = {*BOUNDS, PREFIX_CODE}
BROKEN = {"buffer of a short cut no longer taken", "dictionary not paid for"}


def small(name):
    """The standard setting of this name with fewer fresh strings."""
    return {setting.name: setting for setting in standard_settings(fresh=300)}[name]


def rows_of(name, draws=8):
    return {row.bound: row for row in bound_table(draws, settings=[small(name)])}


def test_costs_are_those_of_the_dictionary():
    """Batch and fresh cost again, one string at a time, from the same random stream."""
    setting = CheckSetting("one", HOUSEHOLD, 40, SHORT_CUT, 10, fresh=30)
    draw = draw_once(setting, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    corpus = HOUSEHOLD.draw(40, rng) + SHORT_CUT.draw(10, rng)
    for strings, cost in ((corpus, draw.batch_cost), (HOUSEHOLD.draw(30, rng), draw.fresh_cost)):
        assert cost == pytest.approx(np.mean([len(segment(s, draw.dictionary)) for s in strings]) / 50)
    assert draw.dictionary.phrases
    assert description_length(corpus, draw.dictionary).strings == 50


def test_bounds_hold_for_a_frozen_policy():
    rows = rows_of("frozen policy, m = 128")
    assert set(rows) == ALL
    for row in rows.values():
        assert row.violations == 0
        assert row.coverage == 1
        assert not row.refuted
        # The dictionary fits its own batch better than fresh strings, but not by much.
        assert row.batch_cost < row.fresh_cost < 1.2 * row.batch_cost
        assert 1.5 < row.looseness < 15
    assert rows["E"].bound_value < rows["A"].bound_value < rows["B"].bound_value
    assert rows["C"].bound_value < rows["B"].bound_value


def test_bounds_tighten_with_m_and_loosen_with_the_dictionary():
    few, many = rows_of("frozen policy, m = 32", 4), rows_of("frozen policy, m = 512", 4)
    large = rows_of("frozen policy, units_sum, weight 1.0", 2)
    for name in ALL:
        assert many[name].looseness < 0.6 * few[name].looseness
        assert large[name].bound_value > many[name].bound_value
    assert large["A"].dictionary_bits > 2 * many["A"].dictionary_bits


def test_a_buffer_of_a_similar_policy_does_no_visible_harm():
    assert all(row.violations == 0 for row in rows_of("buffer of a slightly older policy").values())


def test_a_buffer_of_another_policy_breaks_every_bound():
    for row in rows_of("buffer of a short cut no longer taken").values():
        assert row.coverage == 0
        assert row.refuted


def test_a_dictionary_that_is_not_paid_for_breaks_every_bound():
    for row in rows_of("dictionary not paid for", 4).values():
        assert row.coverage == 0
    assert all(row.coverage == 1 for row in rows_of("the same dictionary paid for", 2).values())


def test_the_smallest_bound_of_one_batch_is_one_without_phrases():
    """At m = 128 the dictionary's bits cost more than it saves: singletons alone give the smallest bound (A)."""
    chosen, fixed = rows_of("cap chosen and not paid for", 4), rows_of("frozen policy, m = 128", 4)
    assert chosen["A"].phrases == 0
    assert chosen["A"].bound_value < fixed["A"].bound_value
    assert chosen["A"].fresh_cost > fixed["A"].fresh_cost


def test_streams_do_not_depend_on_the_other_settings():
    pair = [small("frozen policy, m = 32"), small("buffer of a slightly older policy")]
    both = bound_table(2, seed=3, settings=pair)
    assert both == bound_table(2, seed=3, settings=pair[:1]) + bound_table(2, seed=3, settings=pair[1:])
    assert both != bound_table(2, seed=4, settings=pair)


def test_bad_settings():
    with pytest.raises(ValueError, match="draws"):
        check_bounds(small("frozen policy, m = 32"), 0, np.random.default_rng(0))
    for change, message in (
        ({"successes": 0}, "at least one string"),
        ({"older_policy": SHORT_CUT}, "go together"),
        ({"older_policy": replace(SHORT_CUT, horizon=9), "older_successes": 1}, "one horizon"),
        ({"caps": ()}, "a cap"),
        ({"fresh": 0}, "fresh"),
    ):
        with pytest.raises(ValueError, match=message):
            CheckSetting(**{"name": "bad", "policy": HOUSEHOLD, "successes": 4, **change})


@pytest.mark.slow
def test_the_whole_table():
    """reuserl.bound-coverage at 200 draws and 1000 fresh successes: refuted exactly where an assumption is broken."""
    rows = bound_table(200)
    assert {row.setting for row in rows if row.violations} == BROKEN
    assert {row.setting for row in rows if row.refuted} == BROKEN
    for row in rows:
        if row.setting in BROKEN:
            assert row.coverage == 0
        else:
            assert row.violation_high < row.delta
