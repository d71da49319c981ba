"""Theorem 1 and the coverage law on a chain with k decisive of 16 steps."""

import numpy as np
import pytest

from theory.advantage_estimate_law import failure_probability, normal_samples_for_failure, samples_for_failure
from theory.decisive_chain import coverage_exponent, decisive_chain, simulated_samples_for_failure
from theory.inference import minimum_detectable_effect
from theory.markov_decision_process import evaluate_policy, greedy_policy, policy_advantage
from theory.policy_iteration import conservative_step, coverage, estimate_advantage, gain, improvable_set
from theory.reset_bounds import guaranteed_gain, sufficient_samples
from theory.reset_lower_bound import TwoStateConstruction
from theory.reset_rollouts import draw_resets, monte_carlo_values

HORIZON, LEVELS, TAU = 16, (8, 4, 2, 1), 0.25
COVERAGE = np.array(LEVELS) / HORIZON


def chains(**options):
    return [decisive_chain(HORIZON, k, **options) for k in LEVELS]


def sample_ratios(centred, count=samples_for_failure, **options):
    return [count(chain.terms(False, centred)) / count(chain.terms(True, centred)) for chain in chains(**options)]


@pytest.mark.parametrize("bernoulli", [False, True])
def test_coverage_is_set_by_design(bernoulli):
    for chain, p in zip(chains(nuisance=1e-6, bernoulli=bernoulli), COVERAGE, strict=True):
        evaluation = evaluate_policy(chain.process, chain.base)
        reached = np.zeros((HORIZON, 3), dtype=bool)
        reached[:, 0] = True
        np.testing.assert_array_equal(improvable_set(chain.process, chain.base, TAU - 1e-4) & reached, chain.improvable)
        assert coverage(chain.process, chain.base, chain.improvable) == pytest.approx(p)
        np.testing.assert_allclose(evaluation.values[:, 0], 0.5)
        best = greedy_policy(evaluation.action_values)
        np.testing.assert_array_equal(best[:, 0], chain.right[:, 0])
        advantage = policy_advantage(chain.process, chain.base, chain.right)
        assert advantage == pytest.approx(p * TAU + (1 - p) * 1e-6)


def test_random_resets_on_the_chain_have_the_law_of_proposition_ten():
    for chain, p in zip(chains(nuisance=0.01), COVERAGE, strict=True):
        for with_oracle in (False, True):
            here = chain.terms(with_oracle)
            there = TwoStateConstruction(p, nuisance=0.01).terms(with_oracle)
            np.testing.assert_allclose(here.values, there.values, atol=1e-9)
            np.testing.assert_allclose(here.probabilities, there.probabilities, atol=1e-12)


def test_exact_exponents_of_the_samples():
    """Two without centring and one with it, when the return is free of noise wherever nothing can be improved."""
    uncentred = coverage_exponent(COVERAGE, sample_ratios(False, advantage=0.05))
    assert uncentred.mean == pytest.approx(2, abs=0.03)
    centred = coverage_exponent(COVERAGE, sample_ratios(True))
    assert centred.mean == pytest.approx(1, abs=0.03)


def test_large_advantages_bend_the_law_at_moderate_coverage():
    """Var(Y) grows with p when tau is not small against R: at tau = R/4 the exponent over 1/2 .. 1/16 is 1.89."""
    bent = coverage_exponent(COVERAGE, sample_ratios(False))
    assert bent.mean == pytest.approx(1.89, abs=0.01)
    assert bent.high < 2
    small = np.array([1, 2, 4]) / 1024
    ratios = [normal_samples_for_failure(TwoStateConstruction(p).terms(with_oracle=False)) for p in small]
    assert coverage_exponent(small, ratios).mean == pytest.approx(2, abs=0.01)


def test_noise_of_the_verdict_restores_the_square_for_the_centred_estimator():
    """Subtracting V leaves Var(G | x): with right-or-wrong outcomes off G the centred exponent is 2, not 1."""
    centred = coverage_exponent(COVERAGE, sample_ratios(True, bernoulli=True))
    assert centred.mean == pytest.approx(2, abs=0.03)
    chain = decisive_chain(HORIZON, 1, bernoulli=True)
    off = chain.terms(False, centred=True)
    assert off.variance > 0.9 * 2 * 4 * 0.25


def test_exponent_of_the_gain():
    """One step from estimates that have converged; the ratio of gains is 1/(2p) up to the curvature of J."""
    ratios = []
    for chain, p in zip(chains(), COVERAGE, strict=True):
        gains = []
        for with_oracle in (False, True):
            generator = np.random.default_rng(13)
            mask = chain.improvable if with_oracle else None
            rollouts = draw_resets(chain.process, chain.base, 10**7, 40, generator, mask)
            step = conservative_step(chain.process, chain.base, rollouts, mask)
            gained = gain(chain.process, chain.base, step.policy)
            assert np.all(gained >= guaranteed_gain(TAU, p, HORIZON, 1.0, with_oracle))
            gains.append(gained.mean())
        ratios.append(gains[1] / gains[0])
        assert ratios[-1] == pytest.approx(1 / (2 * p), rel=0.02)
    exponent = coverage_exponent(COVERAGE, ratios)
    assert exponent.mean == pytest.approx(1, abs=0.01)


def theorem_failure(chain, samples, with_oracle, trials, generator, centred=False):
    """Share of trials whose gain stays below what theorem 1 guarantees; the class holds Q^pi alone."""
    truth = evaluate_policy(chain.process, chain.base)
    mask = chain.improvable if with_oracle else None
    rollouts = draw_resets(chain.process, chain.base, samples, trials, generator, mask)
    baseline = truth.values if centred else None
    step = conservative_step(chain.process, chain.base, rollouts, mask, truth.action_values[None], baseline)
    promised = guaranteed_gain(TAU, chain.coverage, HORIZON, chain.process.reward_bound, with_oracle)
    return (gain(chain.process, chain.base, step.policy) < promised).mean()


def test_theorem_one_at_its_sample_sizes():
    """One constant serves all coverages and both samplers: .0045 |Y| H^2 R^2 log(1/delta)/(tau p)^2 suffices."""
    generator = np.random.default_rng(14)
    for chain, p in zip(chains(nuisance=1e-6), COVERAGE, strict=True):
        for with_oracle in (False, True):
            arguments = (TAU, p, HORIZON, 1.0, 4, 1, 0.05)
            enough = int(sufficient_samples(*arguments, constant=0.0045, with_oracle=with_oracle))
            assert theorem_failure(chain, enough, with_oracle, 500, generator) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 500)
        # As few as suffice with the oracle do not with random resets.
        few = int(sufficient_samples(*arguments, constant=0.0045, with_oracle=True))
        assert theorem_failure(chain, few, False, 500, generator) > 0.1


def smallest_sample(failure):
    """n at which the failure share falls to 5 %, to 3 %."""
    upper = 1
    while failure(upper) > 0.05:
        upper *= 2
    lower = upper // 2
    while upper - lower > max(1, 0.03 * upper):
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if failure(middle) > 0.05 else (lower, middle)
    return upper


@pytest.mark.slow
@pytest.mark.parametrize(
    ("centred", "bernoulli", "expected"), [(False, False, 1.89), (True, False, 1.02), (True, True, 1.98)]
)
def test_exponent_of_the_samples_theorem_one_needs(centred, bernoulli, expected):
    """n for 5 % of gains below the guarantee, whole steps; expected are the exact exponents of P(A <= 0)."""
    generator = np.random.default_rng(15)
    ratios = []
    for chain in chains(nuisance=1e-6, bernoulli=bernoulli):
        needed = [
            smallest_sample(lambda n, c=chain, o=oracle: theorem_failure(c, n, o, 1000, generator, centred))
            for oracle in (False, True)
        ]
        ratios.append(needed[0] / needed[1])
    assert coverage_exponent(COVERAGE, ratios).mean == pytest.approx(expected, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("centred", "bernoulli", "expected"), [(False, False, 2), (True, False, 1), (True, True, 2)])
def test_simulated_exponents_over_twenty_seeds(centred, bernoulli, expected):
    """Interval over seeds, against the exact exponent at these coverages; 1.98, 1.02 and 2.00."""
    options = {"advantage": 0.05 if expected == 2 else TAU, "bernoulli": bernoulli}
    ratios = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        ratios.append(
            sample_ratios(centred, lambda law, g=generator: simulated_samples_for_failure(law, 2000, g), **options)
        )
    fitted = coverage_exponent(COVERAGE, ratios)
    assert fitted.degrees_of_freedom == 19
    exact = coverage_exponent(COVERAGE, sample_ratios(centred, **options)).mean
    assert abs(fitted.mean - exact) <= 4 * fitted.standard_error + 0.03
    assert fitted.mean == pytest.approx(expected, abs=0.1)
    assert fitted.high - fitted.low < 0.1


def test_simulated_sample_size_finds_the_exact_one():
    law = decisive_chain(HORIZON, 4).terms(with_oracle=False)
    found = [simulated_samples_for_failure(law, 4000, np.random.default_rng(seed)) for seed in range(6)]
    assert np.mean(found) == pytest.approx(samples_for_failure(law), rel=0.06)
    assert failure_probability(law, round(np.mean(found))) == pytest.approx(0.05, abs=0.01)


def test_exponent_of_a_power_law_is_recovered():
    generator = np.random.default_rng(16)
    exact = coverage_exponent(COVERAGE, 3 / COVERAGE**1.5)
    assert (exact.mean, exact.low, exact.high) == pytest.approx((1.5, 1.5, 1.5))
    noisy = 3 / COVERAGE**1.5 * np.exp(generator.normal(0, 0.1, (20, 4)))
    fitted = coverage_exponent(COVERAGE, noisy)
    assert fitted.mean == pytest.approx(np.mean([np.polyfit(-np.log(COVERAGE), np.log(r), 1)[0] for r in noisy]))
    assert fitted.low < 1.5 < fitted.high
    for bad in ([1.0, 2.0], [1.0, 2.0, 3.0, -1.0]):
        with pytest.raises(ValueError, match="ratio"):
            coverage_exponent(COVERAGE, bad)


def test_bad_chains_and_bounds():
    for arguments in ({"decisive": 0}, {"decisive": 17}, {"actions": 1}, {"nuisance": 0.3}, {"advantage": 0.6}):
        with pytest.raises(ValueError, match=r"decisive|actions|nuisance"):
            decisive_chain(**{"horizon": 16, "decisive": 2, **arguments})
    with pytest.raises(ValueError, match="coverage"):
        guaranteed_gain(0.1, 0.0, 4, 1.0, with_oracle=False)
    with pytest.raises(ValueError, match="failure"):
        sufficient_samples(0.1, 0.5, 4, 1.0, 2, 3, 1.5, 1.0, with_oracle=True)


def test_stated_gains_and_sample_sizes_of_theorem_one():
    random = guaranteed_gain(TAU, 0.1, 8, 2.0, with_oracle=False)
    oracle = guaranteed_gain(TAU, 0.1, 8, 2.0, with_oracle=True)
    assert random == pytest.approx(TAU**2 * 0.01 / 128)
    assert oracle / random == pytest.approx(1 / (2 * 0.1))
    arguments = (TAU, 0.1, 8, 2.0, 4, 10, 0.05, 36.0)
    few, many = (sufficient_samples(*arguments, with_oracle=flag) for flag in (True, False))
    assert few == pytest.approx(36 * 4 * 64 * 4 * np.log(200) / TAU**2)
    assert many / few == pytest.approx(100)


@pytest.mark.parametrize(("units", "expected"), [(5, 1.69), (10, 1.00), (20, 0.67), (30, 0.53)])
def test_detectable_paired_differences(units, expected):
    """Section 7 of the specification, 80 % power, two-sided 5 %, in standard deviations."""
    assert minimum_detectable_effect(1.0, units) == pytest.approx(expected, abs=0.011)


def test_direction_fitted_without_a_class_is_optimistic():
    """With all tables as the class the same returns choose and judge the direction: A <= 0 says nothing any more.

    The estimate lies far above the advantage of the direction it was made for, and P(A <= 0) is near 0 at sizes where
    most gains are still below the guarantee. Proposition 10 and its exponents are about a known direction.
    """
    chain = decisive_chain(HORIZON, 1, bernoulli=True)
    rollouts = draw_resets(chain.process, chain.base, 100, 1000, np.random.default_rng(17))
    step = conservative_step(chain.process, chain.base, rollouts)
    true = policy_advantage(chain.process, chain.base, step.direction)
    assert step.advantage_estimate.mean() > 10 * true.mean()
    assert (step.advantage_estimate <= 0).mean() < 0.05
    promised = guaranteed_gain(TAU, chain.coverage, HORIZON, 1.0, with_oracle=False)
    assert (gain(chain.process, chain.base, step.policy) < promised).mean() > 0.3


def test_estimated_values_centre_almost_as_well_as_exact_ones():
    """A baseline from m fresh rollouts adds Var(G)/m to the noise and leaves the mean alone."""
    chain = decisive_chain(HORIZON, 4, bernoulli=True)
    generator, trials, samples = np.random.default_rng(18), 4000, 50
    exact = evaluate_policy(chain.process, chain.base).values
    rollouts = draw_resets(chain.process, chain.base, samples, trials, generator)
    spreads = []
    for baseline in (None, exact, monte_carlo_values(chain.process, chain.base, 8, trials, generator)):
        estimates = estimate_advantage(chain.base, chain.right, rollouts, baseline)
        spreads.append(estimates.std())
        assert estimates.mean() == pytest.approx(chain.coverage * TAU, abs=4 * estimates.std() / np.sqrt(trials))
    uncentred, centred, estimated = spreads
    assert centred < estimated < uncentred
    assert estimated == pytest.approx(centred, rel=0.15)
