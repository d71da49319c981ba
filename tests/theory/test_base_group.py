"""Check values of section 2.5 of the specification: the base group of algorithm 2 is biased."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.base_group import base_group_law, independent_group_mixed

RATES = [0.05, 0.10, 0.25, 0.50, 0.75, 0.90]


def base_group(outcomes, size, limit):
    """The sampling loop of algorithm 2 on a fixed sequence of outcomes: (group, whether there was a seed, draws)."""
    group, seed, drawn = [], False, 0
    while (len(group) < size or not seed) and drawn < limit:
        success = outcomes[drawn]
        drawn += 1
        if not seed and not success:
            seed = True
        elif len(group) < size:
            group.append(success)
    return group, seed, drawn


def test_published_table():
    law = base_group_law(RATES)
    np.testing.assert_allclose(law.success_rate, [0.063, 0.125, 0.312, 0.617, 0.878, 0.977], atol=6e-4)
    simulated = [0.063, 0.125, 0.313, 0.618, 0.874, 0.968]
    np.testing.assert_allclose(law.success_rate_given_reset, simulated, atol=4 * 0.25 / np.sqrt(40_000))
    np.testing.assert_allclose(law.mixed, [0.226, 0.409, 0.747, 0.781, 0.366, 0.081], atol=6e-4)
    assert law.mixed_given_reset[4] == pytest.approx(0.38, abs=0.005)
    np.testing.assert_allclose(independent_group_mixed(RATES, 4), [0.185, 0.344, 0.680, 0.875, 0.680, 0.344], atol=6e-4)
    np.testing.assert_allclose(independent_group_mixed(RATES, 8), [0.337, 0.570, 0.900, 0.992, 0.900, 0.570], atol=6e-4)


def test_chains_generated():
    """Section 2.8: 9.0 up to p = .25 (9.06 at .5), 9.8 at .75 and 12.1 at .9."""
    rollouts = base_group_law(RATES).rollouts
    np.testing.assert_allclose(rollouts, [9.0, 9.0, 9.0, 9.06, 9.82, 12.08], atol=0.005)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(1, 4), st.integers(0, 4))
def test_closed_forms_equal_enumeration(p, size, more):
    limit = size + 1 + more
    rate = mixed = reset = rate_reset = mixed_reset = draws = 0.0
    for outcomes in itertools.product([0, 1], repeat=limit):
        weight = p ** sum(outcomes) * (1 - p) ** (limit - sum(outcomes))
        group, seed, drawn = base_group(outcomes, size, limit)
        assert len(group) == size
        both = 0 < sum(group) < size
        rate += weight * sum(group) / size
        mixed += weight * both
        draws += weight * drawn
        if seed:
            reset += weight
            rate_reset += weight * sum(group) / size
            mixed_reset += weight * both
    law = base_group_law(p, size, limit, suffixes=3)
    assert law.success_rate == pytest.approx(rate, abs=1e-12)
    assert law.mixed == pytest.approx(mixed, abs=1e-12)
    assert law.reset == pytest.approx(reset, abs=1e-12)
    assert law.rollouts == pytest.approx(draws + 3, abs=1e-9)
    if reset > 1e-3:
        assert law.success_rate_given_reset == pytest.approx(rate_reset / reset, abs=1e-9)
        assert law.mixed_given_reset == pytest.approx(mixed_reset / reset, abs=1e-9)


def test_closed_forms_equal_simulation_at_the_defaults():
    generator = np.random.default_rng(12)
    for p in (0.1, 0.5, 0.9):
        groups = [base_group(row, 4, 12)[0] for row in (generator.random((4000, 12)) < p).astype(int).tolist()]
        rates = np.mean(groups, axis=1)
        law = base_group_law(p)
        assert rates.mean() == pytest.approx(float(law.success_rate), abs=4 * rates.std() / np.sqrt(4000))
        mixed = ((rates > 0) & (rates < 1)).mean()
        assert mixed == pytest.approx(float(law.mixed), abs=4 * np.sqrt(0.25 / 4000))


def test_ends_and_bad_input():
    law = base_group_law([0.0, 1.0])
    np.testing.assert_array_equal(law.success_rate, [0, 1])
    np.testing.assert_array_equal(law.mixed, [0, 0])
    assert law.success_rate_given_reset[0] == 0
    assert np.isnan(law.success_rate_given_reset[1])
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="success"):
            base_group_law(bad)
    with pytest.raises(ValueError, match="limit"):
        base_group_law(0.5, size=4, limit=4)
