from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.pass_kt import PassSurface, crossing_k, pass_at_k, pass_at_k_variance, question_bands, saturation_depth


@pytest.fixture
def surface():
    rng = np.random.default_rng(1)
    base = rng.beta(0.4, 0.8, (60, 1)) * np.array([0.2, 0.7, 1.0])
    p = np.stack([base, np.clip(0.5 * base + 0.12, 0, 1)])
    return PassSurface.from_counts(32, rng.binomial(32, p), policies=["base", "rl"], depths=[1, 2, 5])


def test_values_and_means(surface):
    assert surface.ks == (1, 2, 4, 8, 16, 32)
    assert surface.values.shape == (2, 60, 3, 6)
    assert surface.mean[1, 2, 3] == pytest.approx(np.mean(pass_at_k(32, surface.c[1, :, 2], 8)))
    assert np.all(surface.available == 60)
    assert np.isnan(surface.standard_error_fixed[..., -1]).all()
    by_hand = np.sqrt(pass_at_k_variance(32, surface.c[1, :, 2], 4).sum()) / 60
    assert surface.standard_error_fixed[1, 2, 2] == pytest.approx(by_hand)


def test_a_short_question_makes_the_cell_unknown_until_it_is_dropped():
    n = np.array([8, 8, 4])[None, :, None]
    surface = PassSurface.from_counts(n, np.array([1, 0, 2])[None, :, None], ks=[1, 4, 8])
    assert np.isnan(surface.mean[0, 0]).tolist() == [False, False, True]
    assert surface.available[0, 0].tolist() == [3, 3, 2]
    kept = surface.complete()
    assert kept.questions == (0, 1)
    assert kept.mean[0, 0, 2] == pytest.approx(0.5)
    assert surface.complete(4).questions == (0, 1, 2)
    with pytest.raises(ValueError, match="no question"):
        surface.complete(9)


def test_boundary_of_unequal_n_is_refused_with_a_remedy():
    n = np.array([[[8], [8]], [[8], [4]]])
    surface = PassSurface.from_counts(n, np.array([[[0], [2]], [[1], [1]]]), policies=["base", "rl"])
    with pytest.raises(ValueError, match="expected_boundary_difference"):
        surface.boundary_difference("rl", "base", 0)
    gained, lost = surface.expected_boundary_difference("rl", "base", 0, 4)
    solved_base, solved_new = pass_at_k(8, [0, 2], 4), pass_at_k([8, 4], [1, 1], 4)
    assert gained == pytest.approx((solved_new * (1 - solved_base)).sum())
    assert lost == pytest.approx((solved_base * (1 - solved_new)).sum())


def test_boundary_sets(surface):
    gained, lost = surface.boundary_difference("rl", "base", 5)
    new, old = surface.boundary("rl", 5), surface.boundary("base", 5)
    assert gained == (new & ~old).sum() > 0
    assert lost == (old & ~new).sum()
    expected = surface.expected_boundary_difference("rl", "base", 5, 32)
    assert expected == (gained, lost)


def test_crossing_with_interval(surface):
    found = surface.crossing("rl", "base", 5, np.random.default_rng(0))
    assert found.low <= found.k <= found.high
    assert found.probability_none < 0.5
    never = surface.crossing("base", "base", 5, np.random.default_rng(0), resamples=50)
    assert np.isnan(never.k)
    assert never.probability_none == 1


def test_saturation_by_estimate_and_by_certificate():
    rng = np.random.default_rng(4)
    p = np.array([0.1, 0.5, 0.5])
    large = PassSurface.from_counts(64, rng.binomial(64, np.broadcast_to(p, (1, 4000, 3))), depths=[1, 2, 3], ks=[1, 4])
    found = large.saturation(0, rng, tolerance=0.02)
    assert (found.depth, found.certified_depth, found.k) == (2, 2, 4)
    small = PassSurface.from_counts(8, rng.binomial(8, np.broadcast_to(p, (1, 12, 3))), depths=[1, 2, 3], ks=[1, 4])
    assert small.saturation(0, rng, tolerance=0.001).certified_depth == 3
    single = PassSurface.from_counts(8, [[[1], [2]]])
    assert single.saturation(0, rng).certified_depth == 0


def test_certificate_needs_the_simultaneous_bound():
    """A tolerance between the pointwise and the simultaneous upper bound of the later gains certifies nothing early."""
    rng = np.random.default_rng(4)
    c = rng.binomial(64, np.full((1, 200, 4), 0.5))
    surface = PassSurface.from_counts(64, c, depths=[1, 2, 3, 4], ks=[1])
    rates = c[0] / 64
    gains = np.stack([rates[:, b] - rates[:, a] for a in range(4) for b in range(a + 1, 4)], axis=1)
    together = question_bands(gains, np.random.default_rng(0), 2000, 0.9, simultaneous=True).high[:3].max()
    alone = question_bands(gains, np.random.default_rng(0), 2000, 0.9).high[:3].max()
    assert alone < together
    wide = surface.saturation(0, np.random.default_rng(0), tolerance=together + 1e-9)
    narrow = surface.saturation(0, np.random.default_rng(0), tolerance=(together + alone) / 2)
    assert wide.certified_depth == 1 < narrow.certified_depth


def test_bands_contain_the_estimate_and_simultaneous_ones_are_wider(surface):
    d = surface.difference("rl", "base")
    pointwise = surface.difference_bands("rl", "base", np.random.default_rng(0), resamples=8000)
    together = surface.difference_bands("rl", "base", np.random.default_rng(0), resamples=8000, simultaneous=True)
    np.testing.assert_allclose(pointwise.estimate, d.mean(axis=0))
    # The error of a mean over questions like these, by normal theory.
    np.testing.assert_allclose(pointwise.standard_error, d.std(axis=0) / np.sqrt(60), rtol=0.05)
    assert np.all((pointwise.low <= pointwise.estimate) & (pointwise.estimate <= pointwise.high))
    assert together.critical > 2
    assert np.all(together.high - together.low > pointwise.high - pointwise.low)
    assert surface.bands(np.random.default_rng(0), resamples=200).estimate.shape == (2, 3, 6)


def test_unknown_and_constant_cells_stay_out_of_the_simultaneous_band():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=50), np.full(50, np.nan), np.full(50, 0.3)], axis=1)
    bands = question_bands(values, rng, resamples=3000, simultaneous=True)
    assert np.isnan(bands.low).tolist() == [False, True, False]
    assert bands.critical == pytest.approx(1.96, abs=0.12)
    assert bands.high[2] == pytest.approx(0.3)
    assert np.isnan(question_bands(values[:, 1:2], rng, resamples=10).low).all()
    assert question_bands(values[:, 2:], rng, resamples=10, simultaneous=True).low[0] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 8, "c": [[1, 2]]}, "shape"),
        ({"n": 8, "c": np.zeros((1, 0, 1), int)}, "shape"),
        ({"n": 8, "c": [[[9]]]}, "exceed"),
        ({"n": [[[8]], [[8]]], "c": [[[1]]]}, "broadcast"),
        ({"n": 0, "c": [[[0]]]}, "no episodes"),
        ({"n": 8, "c": [[[1]]], "ks": [2, 1]}, "increase"),
        ({"n": 8, "c": [[[1]]], "ks": []}, "increase"),
        ({"n": 8, "c": [[[1]]], "policies": ["a", "b"]}, "policies"),
        ({"n": 8, "c": [[[1], [1]]], "questions": ["q", "q"]}, "distinct"),
        ({"n": 8, "c": [[[1, 2]]], "depths": [2, 1]}, "increase"),
        ({"n": 8, "c": [[[1, 2]]], "depths": [2]}, "depths"),
    ],
)
def test_bad_counts_give_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        PassSurface.from_counts(**arguments)
    assert "\n" not in str(caught.value)


def test_unknown_names_list_what_there_is(surface):
    with pytest.raises(ValueError, match="'base', 'rl'"):
        surface.difference("sft", "base")
    with pytest.raises(ValueError, match="unknown depth 3"):
        surface.boundary("rl", 3)


def test_episodes_and_counts_give_the_same_surface():
    rng = np.random.default_rng(2)
    policy = rng.choice(["b", "a"], 3000)
    question = rng.integers(0, 12, 3000)
    depth = rng.choice([5, 0, 2], 3000)
    success = rng.random(3000) < 0.3
    surface = PassSurface.from_episodes(policy, question, depth, success)
    assert surface.policies == tuple(dict.fromkeys(policy.tolist()))
    assert surface.depths == (0.0, 2.0, 5.0)
    at = (surface.policies.index("a"), surface.questions.index(7), 2)
    rows = (policy == "a") & (question == 7) & (depth == 5)
    assert surface.n[at] == rows.sum()
    assert surface.c[at] == success[rows].sum()
    assert surface.ks[-1] <= surface.n.min() < 2 * surface.ks[-1]


def test_depth_may_be_left_out():
    surface = PassSurface.from_episodes(["a"] * 4, ["q", "q", "r", "r"], None, [1, 0, 0, 0])
    assert surface.depths == (0.0,)
    assert surface.mean[0, 0].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([], [], [], []), "at least one"),
        ((["a"], ["q"], [1], [0.5]), "whole"),
        ((["a"], ["q"], [1], [2]), "0 or 1"),
        ((["a"], ["q"], [1], [float("nan")]), "whole"),
        ((["a", "b"], ["q"], [1], [1]), "rows"),
        ((["a"], ["q"], [float("nan")], [1]), "depth"),
        ((["a"], [float("nan")], [1], [1]), "missing"),
        ((["a"], [None], [1], [1]), "missing"),
        ((["a"], ["q"], [1], ["yes"]), "whole"),
    ],
)
def test_bad_episodes_give_one_line(rows, message):
    with pytest.raises(ValueError, match=message):
        PassSurface.from_episodes(*rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=2), st.integers(0, 2)),
            st.integers(0, 3),
            st.sampled_from([0, 1, 2.5]),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_any_log_gives_a_surface_that_conserves_its_episodes(rows):
    surface = PassSurface.from_episodes(*[list(column) for column in zip(*rows, strict=True)])
    assert surface.n.sum() == len(rows)
    assert surface.c.sum() == sum(row[3] for row in rows)
    known = surface.values[~np.isnan(surface.values)]
    assert np.all((known >= 0) & (known <= 1))
    assert np.isnan(surface.mean).any() == bool((surface.available < len(surface.questions)).any())


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
