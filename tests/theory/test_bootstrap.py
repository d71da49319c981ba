import numpy as np
import pytest

from theory.inference import crossed_t_interval, hierarchical_bootstrap
from theory.resampling import all_bits, block_sizes, multinomial_counts, random_bits


def crossed(rng, seeds, questions, shape=(), seed_sd=1.0, question_sd=3.0, noise_sd=4.0):
    return (
        rng.normal(0, seed_sd, (seeds, 1, *shape))
        + rng.normal(0, question_sd, (1, questions, *shape))
        + rng.normal(0, noise_sd, (seeds, questions, *shape))
    )


def test_crossed_bootstrap_error_equals_its_exact_conditional_variance():
    """Var* of sum w_s w_q v_sq for independent multinomial weights, written out."""
    rng = np.random.default_rng(0)
    v = crossed(rng, 6, 40)
    s, q = v.shape
    centred = v - v.mean()
    covariance_s = (np.eye(s) - 1 / s) / s**2
    covariance_q = (np.eye(q) - 1 / q) / q**2
    by_seed, by_question = v.mean(axis=1), v.mean(axis=0)
    exact = (
        by_seed @ covariance_s @ by_seed
        + by_question @ covariance_q @ by_question
        + np.einsum("sq,st,tr,qr->", centred, covariance_s, centred, covariance_q)
    )
    result = hierarchical_bootstrap(v, np.random.default_rng(1), resamples=40_000)
    assert result.standard_error == pytest.approx(np.sqrt(exact), rel=0.015)
    assert result.estimate == pytest.approx(v.mean())


def test_nested_bootstrap_error_equals_its_exact_conditional_variance():
    rng = np.random.default_rng(0)
    v = crossed(rng, 6, 25)
    s, q = v.shape
    exact = v.mean(axis=1).var() / s + v.var(axis=1).mean() / (s * q)
    result = hierarchical_bootstrap(v, np.random.default_rng(1), resamples=20_000, nested=True)
    assert result.standard_error == pytest.approx(np.sqrt(exact), rel=0.02)
    assert result.method == "nested expanded percentile bootstrap"


def test_shared_questions_stay_in_the_crossed_error_only():
    v = np.random.default_rng(0).normal(0, 1, (1, 50)) + np.zeros((8, 1))
    shared = hierarchical_bootstrap(v, np.random.default_rng(1), resamples=4000).standard_error
    apart = hierarchical_bootstrap(v, np.random.default_rng(1), resamples=4000, nested=True).standard_error
    assert shared == pytest.approx(v[0].std() / np.sqrt(50), rel=0.05)
    assert apart == pytest.approx(shared / np.sqrt(8), rel=0.05)


@pytest.mark.parametrize("nested", [False, True])
def test_cells_are_resampled_together(nested):
    v = np.random.default_rng(0).normal(size=(5, 30))
    result = hierarchical_bootstrap(
        np.stack([v, 2 * v, v + 1], axis=2), np.random.default_rng(3), 200, nested=nested, keep_draws=True
    )
    assert result.draws.shape == (200, 3)
    np.testing.assert_allclose(result.draws[:, 1], 2 * result.draws[:, 0], atol=1e-12)
    np.testing.assert_allclose(result.draws[:, 2], result.draws[:, 0] + 1, atol=1e-12)
    np.testing.assert_allclose(result.estimate, [v.mean(), 2 * v.mean(), v.mean() + 1])
    # t(4) over normal quantile, and sqrt(5 / 4) for five seeds.
    factor = 2.7764451 / 1.9599640 * np.sqrt(5 / 4)
    low, high = result.estimate + factor * (np.quantile(result.draws, [0.025, 0.975], axis=0) - result.estimate)
    np.testing.assert_allclose((result.low, result.high), (low, high))


def test_one_axis_of_cells_is_scalar_without_cells():
    v = np.random.default_rng(0).normal(size=(5, 30))
    result = hierarchical_bootstrap(v, np.random.default_rng(3), 100)
    assert result.estimate.shape == result.low.shape == ()
    assert result.draws is None
    assert (result.n_seeds, result.n_questions, result.unit) == (5, 30, "seed and question")
    again = hierarchical_bootstrap(v, np.random.default_rng(3), 100)
    assert (result.low, result.high) == (again.low, again.high)


@pytest.mark.parametrize("method", [lambda v: hierarchical_bootstrap(v, np.random.default_rng(0)), crossed_t_interval])
@pytest.mark.parametrize(
    ("values", "message"),
    [(np.ones(4), "shape"), (np.ones((0, 4)), "empty"), (np.full((3, 4), np.nan), "NaN")],
)
def test_bad_tables_are_refused(method, values, message):
    with pytest.raises(ValueError, match=message):
        method(values)


def test_bad_arguments_are_refused():
    v = np.ones((3, 4))
    with pytest.raises(ValueError, match="resamples"):
        hierarchical_bootstrap(v, np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match="confidence"):
        hierarchical_bootstrap(v, np.random.default_rng(0), confidence=95)
    with pytest.raises(ValueError, match="2 seeds"):
        crossed_t_interval(v[:1])
    with pytest.raises(ValueError, match="2 questions"):
        crossed_t_interval(v[:, :1])


def test_crossed_variance_is_unbiased_where_the_floor_is_rare():
    rng = np.random.default_rng(5)
    v = crossed(rng, 8, 40, (4000,), seed_sd=2.0, question_sd=3.0, noise_sd=5.0)
    result = crossed_t_interval(v)
    truth = 4.0 / 8 + 9.0 / 40 + 25.0 / 320
    assert np.mean(result.standard_error**2) == pytest.approx(truth, rel=0.03)
    assert np.all((result.degrees_of_freedom > 1) & (result.degrees_of_freedom < 400))


def test_crossed_variance_has_a_floor():
    """Rows and columns that average to the same value leave nothing but the residual to subtract."""
    residual = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
    tilt = np.array([[0.1], [-0.1]])
    result = crossed_t_interval(residual + tilt)
    assert result.standard_error == pytest.approx(0.1)
    assert result.degrees_of_freedom == 1


def test_crossed_interval_without_any_spread():
    result = crossed_t_interval(np.full((4, 6), 0.3))
    assert result.low == pytest.approx(0.3)
    assert result.high == pytest.approx(0.3)


@pytest.mark.parametrize("seeds", [5, 8, 10])
def test_coverage_of_the_crossed_t_interval(seeds):
    """Within 2 points of 95 % where both factors matter; the slow test covers the whole range of designs."""
    v = crossed(np.random.default_rng(6), seeds, 100, (2500,), seed_sd=1.0, question_sd=4.0, noise_sd=5.0)
    result = crossed_t_interval(v)
    assert 0.93 <= np.mean((result.low <= 0) & (result.high >= 0)) <= 0.97


def test_multinomial_counts_have_the_law_of_drawing_with_replacement():
    counts = multinomial_counts(np.random.default_rng(0), 20_000, 7)
    assert np.all(counts.sum(axis=1) == 7)
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.cov(counts.T), np.eye(7) - 1 / 7, atol=0.03)


def test_bits_are_fair_and_enumeration_is_complete():
    bits = random_bits(np.random.default_rng(0), 20_000, 11)
    assert bits.shape == (20_000, 11)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.015)
    assert np.abs(np.corrcoef(bits.T) - np.eye(11)).max() < 0.04
    assert len({tuple(row) for row in all_bits(6).tolist()}) == 64


def test_blocks_bound_memory_and_lose_nothing():
    sizes = list(block_sizes(10_000, 100_000))
    assert sum(sizes) == 10_000
    assert max(sizes) * 100_000 * 8 <= 2**24
    assert list(block_sizes(3, 10**9)) == [1, 1, 1]
