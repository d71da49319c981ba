from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.pass_kt import crossing_k, saturation_depth

NAN = float("nan")


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ([-1, 1, 1, 1], 2**0.5),
        ([-3, -1, 1, 3], 2**1.5),
        ([-1, -1, 0, 1], 4),
        ([-1, 0, 0, 1], 2),
        ([-1, 0, -1, 1], 2**2.5),
        ([-1, 0, 0, 0], NAN),
        ([1, 1, -1, -1], NAN),
        ([1, -1, -1, 1], 2**2.5),
        ([0, 1, 1, 1], NAN),
        ([-1, -1, -1, -1], NAN),
        ([-1, NAN, 1, 1], NAN),
        ([-1, 1, NAN, NAN], 2**0.5),
        ([-1, 1, -1, 1], 2**0.5),
    ],
)
def test_crossing_on_hand_made_curves(delta, expected):
    np.testing.assert_allclose(crossing_k([1, 2, 4, 8], delta), expected)


def test_crossing_keeps_leading_axes():
    delta = np.array([[[-1.0, 1.0], [1.0, 2.0]], [[-1.0, 3.0], [-1.0, -2.0]]])
    found = crossing_k([1, 16], delta)
    np.testing.assert_allclose(found, [[4, NAN], [2, NAN]])


@given(st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=8))
def test_crossing_lies_where_the_sign_turns(delta):
    ks = 2 ** np.arange(len(delta))
    found = float(crossing_k(ks, delta))
    signs = [np.sign(x) for x in delta if x != 0]
    turns = any(a < 0 < b for a, b in pairwise(signs))
    assert np.isnan(found) != turns
    if turns:
        assert np.interp(np.log2(found), np.log2(ks), delta) == pytest.approx(0, abs=1e-9)
        assert min(delta[: int(np.floor(np.log2(found) - 1e-9)) + 1]) < 0


@pytest.mark.parametrize(("ks", "delta"), [([1], [0]), ([2, 1], [0, 1]), ([1, 2], [0, 1, 2]), ([0, 2], [0, 1])])
def test_crossing_refuses_bad_grids(ks, delta):
    with pytest.raises(ValueError, match=r"ks|delta"):
        crossing_k(ks, delta)


def test_saturation():
    depths = [0, 1, 2, 3, 5]
    curves = [[0.1, 0.4, 0.80, 0.81, 0.805], [0.1, 0.4, 0.7, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5, 0.5], [0.5, NAN, 1, 1, 1]]
    np.testing.assert_array_equal(saturation_depth(depths, curves, 0.01), [2, 5, 0, NAN])
    assert saturation_depth(depths, curves[0], 0.0) == 3
    with pytest.raises(ValueError, match="tolerance"):
        saturation_depth(depths, curves[0], -0.1)
    with pytest.raises(ValueError, match="depths"):
        saturation_depth([0, 0], [1, 2])
