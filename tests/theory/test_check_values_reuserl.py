"""Check values of the specification of ReuseRL, section 7: what so many seeds and instances can show."""

import numpy as np
import pytest

from theory.inference import minimum_detectable_effect, sign_flip_test

SEEDS = {
    5: (1.36, 1.68, 0.031, 0.063),
    6: (1.19, 1.43, 0.016, 0.031),
    8: (0.98, 1.16, 0.004, 0.008),
    10: (0.85, 1.00, 0.001, 0.002),
    16: (0.65, 0.75, None, None),
    20: (0.58, 0.66, None, None),
}
"""Seeds: smallest paired effect in standard deviations at 80 % power, one- and two-sided 5 %, and smallest p."""


@pytest.mark.parametrize("seeds", SEEDS)
def test_detectable_effects_and_smallest_p(seeds):
    one_sided, two_sided, least_one, least_two = SEEDS[seeds]
    # The specification rounds, or is one unit off in the last place.
    assert minimum_detectable_effect(1.0, seeds, alternative="greater") == pytest.approx(one_sided, abs=0.011)
    assert minimum_detectable_effect(1.0, seeds) == pytest.approx(two_sided, abs=0.011)
    if least_one is not None:
        assert sign_flip_test(np.ones(seeds), "greater").p_value == pytest.approx(least_one, abs=0.0006)
        assert sign_flip_test(np.ones(seeds)).p_value == pytest.approx(least_two, abs=0.0006)


@pytest.mark.parametrize(("success", "points"), [(0.5, 2.2), (0.8, 1.8), (0.95, 1.0)])
def test_evaluation_noise_of_a_difference_at_1000_instances(success, points):
    generator = np.random.default_rng(0)
    rates = generator.binomial(1000, success, (2, 20_000)) / 1000
    assert 100 * (rates[0] - rates[1]).std() == pytest.approx(points, abs=0.06)
