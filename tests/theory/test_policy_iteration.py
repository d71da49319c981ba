import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from theory.advantage_estimate_law import failure_probability, return_laws, samples_for_failure, term_law
from theory.markov_decision_process import (
    MarkovDecisionProcess,
    evaluate_policy,
    expected_return,
    greedy_policy,
    policy_advantage,
    state_laws,
    stationary_process,
)
from theory.policy_iteration import (
    conservative_step,
    coverage,
    estimate_advantage,
    fit_action_values,
    gain,
    improvable_set,
    mix_policies,
    restrict_policy,
    step_size,
)
from theory.reset_bounds import (
    advantage_spread,
    conservative_gain_bound,
    credit_gain_bound,
    state_shift_bound,
    term_variance_bound,
)
from theory.reset_rollouts import (
    ResetRollouts,
    credit_reset_law,
    draw_resets,
    monte_carlo_values,
    random_reset_law,
)

seeds = st.integers(0, 2**32 - 1)


def random_process(generator, horizon=4, states=3, actions=3, bernoulli=False, reward_bound=1.0):
    return MarkovDecisionProcess(
        generator.dirichlet(np.ones(states)),
        # Sparse rows make some states unreachable at some times.
        generator.dirichlet(np.full(states, 0.3), (horizon, states, actions)),
        reward_bound * generator.random((horizon, states, actions)),
        reward_bound,
        bernoulli,
    )


def random_policy(generator, process, *leading):
    return generator.dirichlet(np.full(process.actions, 0.5), (*leading, process.horizon, process.states))


def trajectories(process, policy):
    """Every trajectory as (probability, states, actions): enumeration, independent of the recursions."""
    times = range(process.horizon)
    for states in itertools.product(range(process.states), repeat=process.horizon):
        for actions in itertools.product(range(process.actions), repeat=process.horizon):
            probability = process.initial[states[0]]
            for h in times:
                probability *= policy[h, states[h], actions[h]]
                if h + 1 < process.horizon:
                    probability *= process.transition[h, states[h], actions[h], states[h + 1]]
            yield probability, states, actions


def test_values_laws_and_advantage_equal_enumeration():
    generator = np.random.default_rng(0)
    process = random_process(generator, horizon=3, states=2)
    policy, other = random_policy(generator, process), random_policy(generator, process)
    laws, visits = np.zeros((3, 2)), np.zeros((3, 2, 3))
    returns, conditional = 0.0, np.zeros((3, 2, 3))
    for probability, states, actions in trajectories(process, policy):
        rewards = [process.reward[h, states[h], actions[h]] for h in range(3)]
        returns += probability * sum(rewards)
        for h in range(3):
            laws[h, states[h]] += probability
            visits[h, states[h], actions[h]] += probability
            conditional[h, states[h], actions[h]] += probability * sum(rewards[h:])
    evaluation = evaluate_policy(process, policy)
    np.testing.assert_allclose(state_laws(process, policy), laws, atol=1e-12)
    np.testing.assert_allclose(evaluation.action_values, conditional / visits)
    np.testing.assert_allclose(evaluation.values, conditional.sum(axis=-1) / laws)
    assert expected_return(process, policy) == pytest.approx(returns)
    advantage = conditional / visits - (conditional.sum(axis=-1) / laws)[..., None]
    assert policy_advantage(process, policy, other) == pytest.approx((laws[..., None] * other * advantage).sum() / 3)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_performance_difference_lemma(seed):
    """J(pi') - J(pi) = sum_h E_{d_h^{pi'}, pi'} A_h^pi (Kakade and Langford 2002, lemma 6.1), over a batch."""
    generator = np.random.default_rng(seed)
    process = random_process(generator)
    policy, others = random_policy(generator, process), random_policy(generator, process, 2, 3)
    mean = (others * evaluate_policy(process, policy).advantages).sum(axis=-1)
    expected = (state_laws(process, others) * mean).sum(axis=(-2, -1))
    np.testing.assert_allclose(gain(process, policy, others), expected, atol=1e-12)
    one = expected_return(process, others[1, 2])
    assert expected_return(process, others)[1, 2] == pytest.approx(one)
    assert policy_advantage(process, policy, policy) == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0.01, 0.6), st.floats(0, 1))
def test_lemmas_of_the_credit_restricted_policy(seed, threshold, alpha):
    """Lemmas 2 and 3 and corollary 5 on random processes."""
    generator = np.random.default_rng(seed)
    process = random_process(generator)
    policy = random_policy(generator, process)
    improvable = improvable_set(process, policy, threshold)
    p = coverage(process, policy, improvable)
    assume(p > 1e-6)
    evaluation = evaluate_policy(process, policy)
    restricted = restrict_policy(policy, greedy_policy(evaluation.action_values), improvable)
    given_improvable = (credit_reset_law(process, policy, improvable) * evaluation.advantages.max(axis=-1)).sum()
    assert policy_advantage(process, policy, restricted) == pytest.approx(p * given_improvable)
    assert given_improvable >= threshold - 1e-12

    mixture = mix_policies(policy, restricted, alpha)
    shift = np.abs(state_laws(process, mixture) - state_laws(process, policy)).sum() / 2
    assert shift <= state_shift_bound(alpha, p, process.horizon) + 1e-12
    spread = advantage_spread(process, policy, restricted)
    bound = credit_gain_bound(alpha, given_improvable, p, spread, process.horizon)
    assert gain(process, policy, mixture) >= bound - 1e-12


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0, 1))
def test_gain_bound_of_any_mixture(seed, alpha):
    """Lemma 4 for the greedy policy with max |A|, for any policy with the spread and with H R."""
    generator = np.random.default_rng(seed)
    process = random_process(generator, reward_bound=2.5)
    policy, other = random_policy(generator, process), random_policy(generator, process)
    advantages = evaluate_policy(process, policy).advantages
    greedy = greedy_policy(advantages)
    horizon, most = process.horizon, process.horizon * process.reward_bound
    for new, epsilons in (
        (greedy, [advantages.max(axis=-1).max(), advantage_spread(process, policy, greedy), most]),
        (other, [advantage_spread(process, policy, other), most]),
    ):
        advantage = policy_advantage(process, policy, new)
        for epsilon in epsilons:
            bound = conservative_gain_bound(alpha, advantage, epsilon, horizon)
            assert gain(process, policy, mix_policies(policy, new, alpha)) >= bound - 1e-12


def test_largest_absolute_advantage_is_too_small_an_epsilon_for_lemma_four():
    """A new policy that gains before and loses after it has left the base policy's states."""
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, :, 1] = 1
    horizon = 3
    reward = np.full((horizon, 2, 2), 0.5)
    reward[1:, 0, 1], reward[1:, 1, 1] = 1.0, 0.0
    process = MarkovDecisionProcess(np.eye(2)[0], np.broadcast_to(transition, (horizon, 2, 2, 2)), reward)
    base, new = (np.broadcast_to(np.eye(2)[a], reward.shape) for a in (0, 1))
    mean = evaluate_policy(process, base).advantages[..., 1]
    alpha, advantage = 0.05, policy_advantage(process, base, new)
    achieved = gain(process, base, mix_policies(base, new, alpha))
    assert achieved < conservative_gain_bound(alpha, advantage, np.abs(mean).max(), horizon)
    assert achieved >= conservative_gain_bound(alpha, advantage, advantage_spread(process, base, new), horizon)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 0.5))
def test_greedy_transfer_loses_at_most_twice_the_error(seed, error):
    """Lemma 6."""
    generator = np.random.default_rng(seed)
    process = random_process(generator)
    policy = random_policy(generator, process)
    action_values = evaluate_policy(process, policy).action_values
    estimated = action_values + error * generator.uniform(-1, 1, action_values.shape)
    lost = policy_advantage(process, policy, greedy_policy(action_values)) - policy_advantage(
        process, policy, greedy_policy(estimated)
    )
    assert -1e-12 <= lost <= 2 * np.abs(estimated - action_values).max() + 1e-12


def single_rollout(process, policy, generator, improvable=None):
    """One reset and rollout, step by step, and the number of states shown to the oracle."""
    queries = 0
    while True:
        h = generator.integers(process.horizon)
        state = generator.choice(process.states, p=process.initial)
        for time in range(h):
            action = generator.choice(process.actions, p=policy[time, state])
            state = generator.choice(process.states, p=process.transition[time, state, action])
        if improvable is None:
            break
        queries += 1
        if improvable[h, state]:
            break
    action = generator.integers(process.actions)
    cell, total = (h, state, action), 0.0
    for time in range(h, process.horizon):
        if time > h:
            action = generator.choice(process.actions, p=policy[time, state])
        mean = process.reward[time, state, action]
        total += float(generator.random() < mean) if process.bernoulli else mean
        state = generator.choice(process.states, p=process.transition[time, state, action])
    return cell, total, queries


@pytest.mark.parametrize("with_oracle", [False, True])
def test_counted_rollouts_have_the_law_of_single_ones(with_oracle):
    generator = np.random.default_rng(3)
    process = random_process(generator, horizon=3, states=2, actions=2, bernoulli=True)
    policy = random_policy(generator, process)
    improvable = improvable_set(process, policy, 0.3) if with_oracle else None
    assert improvable is None or 0 < improvable.sum() < improvable.size
    rollouts = draw_resets(process, policy, 5, 3000, generator, improvable)
    assert np.all(rollouts.counts.sum(axis=(1, 2, 3)) == 5)

    singles = [single_rollout(process, policy, generator, improvable) for _ in range(3000)]
    law = np.zeros(process.reward.shape)
    for cell, _, _ in singles:
        law[cell] += 1 / len(singles)
    np.testing.assert_allclose(rollouts.counts.mean(axis=0) / 5, law, atol=4 * np.sqrt(0.25 / 3000))
    ours, theirs = rollouts.returns.sum(axis=(1, 2, 3)), np.array([s[1] for s in singles]).reshape(-1, 5).sum(axis=1)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=4 * theirs.std() / np.sqrt(600) * 1.2)
    assert ours.std() == pytest.approx(theirs.std(), rel=4 / np.sqrt(2 * 600) * 1.2)
    queries = np.array([s[2] for s in singles])
    if improvable is None:
        assert not rollouts.oracle_queries.any()
        return
    p = coverage(process, policy, improvable)
    assert np.all(rollouts.counts[:, ~improvable] == 0)
    assert rollouts.oracle_queries.mean() == pytest.approx(5 / p, abs=4 * np.sqrt(5 * (1 - p) / p**2 / 3000))
    assert queries.mean() == pytest.approx(1 / p, abs=4 * np.sqrt((1 - p) / p**2 / 3000))
    assert rollouts.oracle_queries.var() == pytest.approx(5 * queries.var(), rel=0.3)


def test_mean_returns_of_a_cell_are_its_action_value():
    generator = np.random.default_rng(4)
    for bernoulli in (False, True):
        process = random_process(generator, bernoulli=bernoulli, reward_bound=2.0)
        policy = random_policy(generator, process)
        rollouts = draw_resets(process, policy, 400_000, 1, generator)
        evaluation = evaluate_policy(process, policy)
        visited = rollouts.counts[0] > 200
        assert visited.sum() > 20
        error = fit_action_values(rollouts)[0] - evaluation.action_values
        deviation = process.horizon * process.reward_bound / 2
        assert np.all(np.abs(error[visited]) < 5 * deviation / np.sqrt(rollouts.counts[0][visited]))
        estimates = monte_carlo_values(process, policy, 50, 400, generator)
        assert estimates.shape == (400, 4, 3)
        np.testing.assert_allclose(estimates.mean(axis=0), evaluation.values, atol=5 * deviation / np.sqrt(20_000))


@settings(max_examples=15, deadline=None)
@given(seeds, st.booleans())
def test_tabular_fit_is_least_squares_and_gives_the_estimate_of_the_returns(seed, centred):
    generator = np.random.default_rng(seed)
    process = random_process(generator, horizon=3, states=2)
    policy = random_policy(generator, process)
    baseline = evaluate_policy(process, policy).values if centred else None
    rollouts = draw_resets(process, policy, 20, 4, generator)
    fitted = fit_action_values(rollouts, baseline=baseline)
    for trial in range(4):
        # One row a cell, weighted by the square root of its count: the normal equations of the single rollouts.
        counts = rollouts.counts[trial].ravel()
        target = rollouts.returns[trial].ravel()
        if centred:
            target = target - counts * np.repeat(baseline.ravel(), process.actions)
        root = np.sqrt(counts)
        solution = np.linalg.lstsq(np.diag(root), np.divide(target, root, where=root > 0, out=0 * target), rcond=None)
        np.testing.assert_allclose(fitted[trial].ravel(), solution[0], atol=1e-9)
    new = random_policy(generator, process)
    weight = process.actions * (new - policy)
    by_fit = (rollouts.counts * weight * fitted).sum(axis=(1, 2, 3)) / 20
    np.testing.assert_allclose(estimate_advantage(policy, new, rollouts, baseline), by_fit, atol=1e-12)


def test_finite_class_is_chosen_by_squared_error():
    generator = np.random.default_rng(5)
    process = random_process(generator, horizon=3, states=2)
    policy = random_policy(generator, process)
    rollouts = draw_resets(process, policy, 30, 50, generator)
    truth = evaluate_policy(process, policy)
    members = truth.action_values + np.array([0.0, 0.05, -0.05])[:, None, None, None]
    means = fit_action_values(rollouts)
    loss = (rollouts.counts[:, None] * (members - means[:, None]) ** 2).sum(axis=(2, 3, 4))
    chosen = fit_action_values(rollouts, members)
    np.testing.assert_array_equal(chosen, members[loss.argmin(axis=1)])
    assert len(set(loss.argmin(axis=1).tolist())) > 1, "the sample must be small enough to err"
    shifted = fit_action_values(rollouts, members, truth.values)
    np.testing.assert_allclose(shifted, chosen - truth.values[..., None])
    with pytest.raises(ValueError, match="function_class"):
        fit_action_values(rollouts, members[0])


@pytest.mark.parametrize("with_oracle", [False, True])
def test_estimate_is_unbiased_with_and_without_baseline(with_oracle):
    """Mean and variance of the sampled estimate, the enumerated law of its terms, and the exact advantage agree."""
    generator = np.random.default_rng(6)
    process = random_process(generator, horizon=3, states=2, bernoulli=True)
    policy = random_policy(generator, process)
    improvable = improvable_set(process, policy, 0.3)
    p = coverage(process, policy, improvable)
    assert 0.1 < p < 0.9
    new = random_policy(generator, process)
    if with_oracle:
        new = restrict_policy(policy, new, improvable)
        law, expected = credit_reset_law(process, policy, improvable), policy_advantage(process, policy, new) / p
    else:
        law, expected = random_reset_law(process, policy), policy_advantage(process, policy, new)
    rollouts = draw_resets(process, policy, 25, 4000, generator, improvable if with_oracle else None)
    for baseline in (None, evaluate_policy(process, policy).values):
        terms = term_law(process, policy, new, law, baseline)
        assert terms.probabilities.sum() == pytest.approx(1)
        assert terms.mean == pytest.approx(float(expected), abs=1e-9)
        assert terms.variance <= term_variance_bound(process.actions, process.horizon, process.reward_bound)
        estimates = estimate_advantage(policy, new, rollouts, baseline)
        error = np.sqrt(terms.variance / 25)
        assert estimates.mean() == pytest.approx(terms.mean, abs=4 * error / np.sqrt(4000))
        assert estimates.std() == pytest.approx(error, rel=0.06)


def test_return_laws_have_the_moments_of_the_action_values():
    generator = np.random.default_rng(7)
    for bernoulli in (False, True):
        process = random_process(generator, horizon=3, states=2, actions=2, bernoulli=bernoulli)
        policy = random_policy(generator, process)
        laws = return_laws(process, policy)
        means = [[[sum(g * q for g, q in law.items()) for law in row] for row in table] for table in laws]
        np.testing.assert_allclose(means, evaluate_policy(process, policy).action_values, atol=1e-9)
        assert all(sum(law.values()) == pytest.approx(1) for table in laws for row in table for law in row)


def test_one_step_of_each_algorithm():
    generator = np.random.default_rng(8)
    process = random_process(generator)
    policy = random_policy(generator, process)
    improvable = improvable_set(process, policy, 0.4)
    truth = evaluate_policy(process, policy)
    for with_oracle, divisor in ((False, 1), (True, 2)):
        mask = improvable if with_oracle else None
        rollouts = draw_resets(process, policy, 200, 60, generator, mask)
        step = conservative_step(process, policy, rollouts, mask)
        scale = divisor * process.horizon**2 * process.reward_bound
        np.testing.assert_allclose(step.step_size, np.clip(step.advantage_estimate / scale, 0, 1))
        alpha = step.step_size[:, None, None, None]
        np.testing.assert_allclose(step.policy, (1 - alpha) * policy + alpha * step.direction)
        if with_oracle:
            np.testing.assert_array_equal(
                step.direction[:, ~improvable], policy[None, ~improvable][0][None].repeat(60, 0)
            )
        assert (gain(process, policy, step.policy) > 0).mean() > 0.9
        known = conservative_step(process, policy, rollouts, mask, truth.action_values[None], truth.values)
        best = greedy_policy(truth.action_values)
        target = restrict_policy(policy, best, improvable) if with_oracle else best
        np.testing.assert_array_equal(known.direction, np.broadcast_to(target, known.direction.shape))


def test_step_size_stops_at_nothing_and_at_one():
    process = stationary_process([1.0], np.ones((1, 2, 1)), [[0.5, 0.5]], horizon=1)
    np.testing.assert_allclose(step_size(process, [-1.0, 0.0, 0.3, 4.0], with_oracle=False), [0, 0, 0.3, 1])
    np.testing.assert_allclose(step_size(process, [-1.0, 0.0, 0.3, 4.0], with_oracle=True), [0, 0, 0.15, 1])
    with pytest.raises(ValueError, match="step size"):
        mix_policies(np.ones((1, 1, 1)), np.ones((1, 1, 1)), 1.5)


def test_failure_probability_equals_enumeration():
    generator = np.random.default_rng(9)
    for bernoulli, samples in ((False, 3), (True, 5)):
        process = stationary_process([0.3, 0.7], np.full((2, 2, 2), 0.5), [[0.5, 0.75], [0.5, 0.55]], 1, 1, bernoulli)
        base, new = (np.broadcast_to(np.eye(2)[a], (1, 2, 2)) for a in (0, 1))
        law = term_law(process, base, new, random_reset_law(process, base))
        expected = sum(
            np.prod(law.probabilities[list(draw)])
            for draw in itertools.product(range(law.values.size), repeat=samples)
            if law.values[list(draw)].sum() <= 1e-12
        )
        assert failure_probability(law, samples) == pytest.approx(expected, abs=1e-12)
    simulated = generator.choice(law.values, p=law.probabilities, size=(20_000, 60)).mean(axis=1) <= 1e-12
    assert failure_probability(law, 60) == pytest.approx(simulated.mean(), abs=4 * np.sqrt(0.25 / 20_000))
    enough = samples_for_failure(law)
    assert failure_probability(law, enough) <= 0.05 < failure_probability(law, enough - 1)


def test_bad_input_is_named():
    good = {"initial": [1.0], "transition": np.ones((1, 1, 2, 1)), "reward": np.zeros((1, 1, 2))}
    for change, message in (
        ({"initial": [0.9]}, "initial"),
        ({"transition": np.ones((1, 1, 1, 1))}, "transition needs shape"),
        ({"reward": np.full((1, 1, 2), 2.0)}, "rewards"),
        ({"reward": np.full((1, 1, 2), np.nan)}, "rewards"),
        ({"reward": np.zeros(2)}, "reward needs shape"),
        ({"reward_bound": 0.0}, "reward_bound"),
    ):
        with pytest.raises(ValueError, match=message):
            MarkovDecisionProcess(**{**good, **change})
    process, policy = MarkovDecisionProcess(**good), np.full((1, 1, 2), 0.5)
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="policy"):
        evaluate_policy(process, policy * 1.1)
    with pytest.raises(ValueError, match="policy needs shape"):
        evaluate_policy(process, policy[0])
    with pytest.raises(ValueError, match="never visits"):
        draw_resets(process, policy, 1, 1, generator, np.zeros((1, 1), dtype=bool))
    with pytest.raises(ValueError, match="booleans"):
        draw_resets(process, policy, 1, 1, generator, [[1.0]])
    with pytest.raises(ValueError, match="samples"):
        draw_resets(process, policy, 0, 1, generator)
    with pytest.raises(ValueError, match="horizon"):
        stationary_process([1.0], np.ones((1, 2, 1)), [[0.5, 0.5]], horizon=0)
    with pytest.raises(ValueError, match="fail however many"):
        samples_for_failure(term_law(process, policy, policy, [[1.0]]))
    assert isinstance(draw_resets(process, policy, 3, 2, generator), ResetRollouts)
