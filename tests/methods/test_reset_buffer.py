"""The buffer of RRPO and SRPO against the closed forms of its law and on scripted chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from methods.reset_buffer import (
    ONE_BY_EIGHT,
    TWO_BY_FOUR,
    Block,
    BufferSettings,
    Chain,
    Request,
    ResetChoice,
    Split,
    build_blocks,
    one_at_a_time,
    plain_blocks,
    uniform_step,
)
from tests.methods.stub_policy import STEPS, StubPolicy, outcomes_of, third_step
from theory.base_group import base_group_law, independent_group_mixed


class Scripted(StubPolicy):
    """Fresh chains with given outcomes; suffixes fail."""

    def __init__(self, outcomes: Sequence[bool]) -> None:
        super().__init__(0.0)
        self.outcomes = list(outcomes)

    def chain(self, prefix: tuple[int, ...] = ()) -> Chain:
        self.success = 0.0 if prefix else float(self.outcomes.pop(0))
        return super().chain(prefix)


def blocks_of(policy: StubPolicy, prompts: int = 1, rule: Any = third_step, **settings: Any) -> list[Block]:
    ids = [(1, 2, place) for place in range(prompts)]
    return build_blocks(ids, policy, rule, BufferSettings(**settings), np.random.default_rng(0))


@pytest.mark.parametrize("success", [0.1, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("independent", [False, True])
def test_base_group_has_the_law_of_section_2_5(success: float, independent: bool) -> None:
    trials, rare = 800, 3 / 800  # What happens with less than 3/n is often not seen in n trials.
    blocks = blocks_of(StubPolicy(success), trials, independent_base=independent)
    base = np.array([[row.chain.correct for row in block.rows[:4]] for block in blocks])
    mixed = base.any(axis=1) & ~base.all(axis=1)
    law = base_group_law(success)
    reset = np.array([bool(block.seeds) for block in blocks])
    wanted = [success, independent_group_mixed(success, 4)] if independent else [law.success_rate, law.mixed]
    for found, expected in zip([base.mean(axis=1), mixed, reset], [*wanted, law.reset], strict=True):
        assert abs(found.mean() - expected) <= max(rare, 4 * found.std() / np.sqrt(trials))
    if not independent:
        chains = np.array([block.generated_chains for block in blocks])
        assert abs(chains.mean() - law.rollouts) <= max(rare, 4 * chains.std() / np.sqrt(trials))


def test_the_first_failure_is_the_seed_and_is_in_no_group() -> None:
    policy = Scripted([True, False, False, True, True])
    (block,) = blocks_of(policy)
    assert outcomes_of(block, 0) == [True, False, True, True]
    (seed,) = block.seeds
    assert not any(row.chain is seed.chain for row in block.rows)
    for row in block.rows[4:]:
        assert row.chain.token_ids[:4] == seed.chain.token_ids[:4]
        assert (row.group, row.prefix_length, row.position) == (1, 4, 0.75)
    assert block.generated_chains == 9
    assert block.generated_tokens == 5 * 8 + 4 * 4 + 5  # Prefixes are not generated, localization is.


def test_the_independent_base_keeps_its_failures() -> None:
    (block,) = blocks_of(Scripted([True, False, False, True]), independent_base=True)
    assert outcomes_of(block, 0) == [True, False, False, True]
    assert block.rows[1].chain is block.seeds[0].chain


def test_without_a_failure_eight_fresh_chains_are_one_group() -> None:
    (block,) = blocks_of(Scripted([True] * 12 + [False] * 4))
    assert [row.group for row in block.rows] == [0] * 8
    assert [row.prefix_length for row in block.rows] == [0] * 8
    assert block.seeds == () and block.generated_chains == 16
    assert outcomes_of(block, 0) == [True] * 4 + [False] * 4


def test_two_resets_of_four() -> None:
    (block,) = blocks_of(Scripted([False, True, False]), split=TWO_BY_FOUR)
    assert [row.group for row in block.rows] == [1] * 4 + [2] * 4
    assert [seed.chain.correct for seed in block.seeds] == [False, False]
    assert block.seeds[0].chain is not block.seeds[1].chain
    assert block.generated_chains == 11


def test_too_few_failures_for_two_resets() -> None:
    (block,) = blocks_of(Scripted([False] + [True] * 11), split=TWO_BY_FOUR)
    assert len(block.rows) == 8 and {row.group for row in block.rows} == {0}
    assert all(row.chain.correct for row in block.rows)


def test_one_reset_of_eight() -> None:
    (block,) = blocks_of(Scripted([True, True, False]), split=ONE_BY_EIGHT)
    assert [row.group for row in block.rows] == [1] * 8
    (plain,) = blocks_of(Scripted([True] * 12), split=ONE_BY_EIGHT)
    assert outcomes_of(plain, 0) == [True] * 8 and plain.generated_chains == 12


def test_a_failed_continuation_is_replaced_by_a_fresh_chain_of_its_group() -> None:
    (block,) = blocks_of(StubPolicy(0.0, fail_continuations=True))
    assert [row.group for row in block.rows] == [0] * 4 + [1] * 4
    assert [row.prefix_length for row in block.rows] == [0] * 8
    assert block.generated_chains == 9


def test_a_chain_without_steps_is_never_the_seed() -> None:
    policy = StubPolicy(0.0)
    empty = Chain((2,), (), 0.0, False)
    chains = iter([empty])
    sample = one_at_a_time(lambda prompt, prefix, steps: next(chains, None) or policy.chain(prefix))
    (block,) = build_blocks([(1,)], sample, third_step, BufferSettings(), np.random.default_rng(0))
    assert block.rows[0].chain is empty
    assert block.seeds[0].chain.steps == STEPS


def test_the_cap_on_steps_counts_the_prefix() -> None:
    policy = StubPolicy(0.0)
    blocks_of(policy)
    assert {one.steps for one in policy.requests if one.prefix_ids} == {20 - 2}
    assert {one.steps for one in policy.requests if not one.prefix_ids} == {20}
    assert len({one.draw for one in policy.requests}) == len(policy.requests) == 9


def test_random_resets_are_uniform_and_the_first_step_has_no_prefix() -> None:
    blocks = blocks_of(StubPolicy(0.0), 800, rule=uniform_step)
    steps = np.array([round(block.rows[-1].position * STEPS) for block in blocks])
    lengths = np.array([block.rows[-1].prefix_length for block in blocks])
    assert (lengths == 2 * (steps - 1)).all()
    assert chisquare(np.bincount(steps, minlength=STEPS + 1)[1:]).pvalue > 1e-3


@pytest.mark.parametrize(("chosen", "kept"), [(0, 1), (-3, 1), (99, STEPS)])
def test_a_step_outside_the_chain_is_clamped(chosen: int, kept: int) -> None:
    (block,) = blocks_of(StubPolicy(0.0), rule=lambda seeds, generator: [ResetChoice(chosen)])
    assert block.rows[-1].position == kept / STEPS


def test_a_sampler_that_loses_its_prefix_is_refused() -> None:
    def forgets(requests: Sequence[Request]) -> list[Chain]:
        return [StubPolicy(0.0).chain() if not one.prefix_ids else Chain((99,) * 8, (8,), 0, False) for one in requests]

    with pytest.raises(ValueError, match="prompt 0 does not begin with its prefix"):
        build_blocks([(1,)], forgets, third_step, BufferSettings(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"split": Split(base=12)}, "may need 13 chains"), ({"split": Split(suffixes=0)}, "suffixes >= 1")],
)
def test_settings_that_cannot_fill_a_block_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BufferSettings(**settings)


def test_chains_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="do not rise"):
        Chain((1, 2), (1, 1), 0.0, False)
    with pytest.raises(ValueError, match="entropies has 1 entries for 2 tokens"):
        Chain((1, 2), (1,), 0.0, False, entropies=(0.5,))


def test_environment_and_prefix_tokens_are_masked() -> None:
    chain = Chain((5, 6, 7, 8), (2, 4), 0.0, False, from_policy=(True, False, True, True))
    assert chain.policy_mask() == [1, 0, 1, 1]
    assert chain.policy_mask(2) == [0, 0, 1, 1]


def test_without_resets_there_is_one_fresh_chain_a_prompt() -> None:
    policy = StubPolicy(0.5)
    blocks = plain_blocks([(1,), (1,), (2,)], policy, BufferSettings(longest=7))
    assert [row.prompt_ids for block in blocks for row in block.rows] == [(1,), (1,), (2,)]
    assert [(one.place, one.draw, one.prefix_ids, one.steps) for one in policy.requests] == [
        (place, 0, (), 7) for place in range(3)
    ]
    assert [(block.seeds, block.generated_chains, block.generated_tokens) for block in blocks] == [((), 1, 8)] * 3
