"""Sets of the first gain and loss: by their definition, and on counts whose answer is known."""

import numpy as np
import pytest

from theory.crossing import crossings_of_questions, crossings_of_seeds, first_set
from theory.pass_kt import pass_at_k

KS = np.arange(1, 33)


@pytest.mark.parametrize(
    ("certified", "opposite", "expected"),
    [
        ("0000", "0000", (1, None)),
        ("0001", "1100", (3, 4)),
        ("1000", "0000", (1, 1)),
        ("0011", "0100", (1, 3)),
        ("0000", "1111", (5, None)),
    ],
)
def test_sets(certified, opposite, expected):
    marks = [[mark == "1" for mark in text] for text in (certified, opposite)]
    assert first_set(*marks) == expected


def curves(rng, questions, new, old, n=64, seeds=None):
    shape = questions if seeds is None else (seeds, questions)
    c_new, c_old = (rng.binomial(n, rates, size=shape) for rates in (new, old))
    return pass_at_k(n, c_new[..., None], KS) - pass_at_k(n, c_old[..., None], KS)


@pytest.mark.parametrize("seeds", [None, 6])
def test_a_planted_crossing_is_found_and_its_mirror_image_too(seeds):
    """The policy solves 60 % of the questions at .6 and the others never, the baseline all of them at .15."""
    rng = np.random.default_rng(0)
    new, old = np.where(np.arange(400) < 240, 0.6, 0.0), np.full(400, 0.15)
    truth = (1 - (1 - new[:, None]) ** KS).mean(axis=0) - (1 - 0.85**KS)
    first = int(KS[truth < 0][0])
    judge = crossings_of_questions if seeds is None else crossings_of_seeds
    values = curves(rng, 400, new, old, seeds=seeds)
    found, mirrored = judge(values, np.random.default_rng(1)), judge(-values, np.random.default_rng(1))
    assert found.gain_then_loss and not found.loss_then_gain
    assert found.first_gain == (1, 1) and found.first_loss[0] <= first <= found.first_loss[1]
    assert (found.low <= truth).all() and (truth <= found.high).all()
    assert mirrored.first_gain == found.first_loss and mirrored.loss_then_gain
    np.testing.assert_allclose(mirrored.low, -found.high, atol=1e-9)


def test_equal_policies_are_not_told_apart_and_constant_ones_have_room():
    rng = np.random.default_rng(2)
    found = crossings_of_questions(curves(rng, 60, 0.3, 0.3), rng)
    assert found.first_gain == (1, None) == found.first_loss and not found.gain_then_loss
    constant = crossings_of_questions(np.zeros((60, 4)), rng)
    assert (constant.low < -0.05).all() and (constant.high > 0.05).all()
    assert (crossings_of_seeds(np.zeros((3, 60, 4)), rng).low < -0.05).all()
    with pytest.raises(ValueError, match="2 seeds"):
        crossings_of_seeds(np.zeros((1, 60, 4)), rng)
    with pytest.raises(ValueError, match="NaN"):
        crossings_of_questions(np.full((3, 2), np.nan), rng)


def test_seeds_that_differ_widen_the_band():
    rng = np.random.default_rng(3)
    alike, apart = (
        curves(rng, 100, np.clip(0.3 + spread * rng.standard_normal((5, 1)), 0, 1), 0.3, seeds=5)
        for spread in (0.0, 0.15)
    )
    narrow, wide = (np.mean(b.high - b.low) for b in (crossings_of_seeds(v, rng) for v in (alike, apart)))
    assert wide > 2 * narrow
