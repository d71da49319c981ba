"""Segment values: advantages against exact values and the equation's gradient on TRL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.reset_buffer import BufferSettings, Chain, Request
from methods.rivals.segment_values import (
    GRPOWithSegmentValues,
    SegmentValueRollouts,
    step_advantages,
    with_shared_start,
)
from tests.methods.test_resets import deterministic_policy, tiny_model, tokenizer, trainer_of

GROUP = 4
SUCCESS = {5: {7: 0.9, 8: 0.5}, 6: {7: 0.2, 8: 0.0}}
"""Two steps of one token, each of two equally likely: chance of success by the tokens of both."""


class TwoSteps:
    """A policy on the tree of `SUCCESS`; keeps what it was asked for."""

    def __init__(self) -> None:
        self.generator, self.requests = np.random.default_rng(0), list[Request]()

    def __call__(self, requests: Sequence[Request]) -> list[Chain]:
        self.requests += requests
        return [self.chain(one.prefix_ids) for one in requests]

    def chain(self, prefix: tuple[int, ...]) -> Chain:
        first = prefix[0] if prefix else int(self.generator.choice([5, 6]))
        second = int(self.generator.choice([7, 8]))
        right = bool(self.generator.random() < SUCCESS[first][second])
        return Chain((first, second, 1), (1, 2), float(right), right)


class InTraining:
    """What a rollout function reads of a trainer."""

    num_generations = GROUP


def rows_of(policy: TwoSteps, prompts: int, continuations: int) -> list[Any]:
    rollouts = SegmentValueRollouts(policy, lambda prompt: [prompt], continuations)
    repeated = [prompt for prompt in range(prompts) for _ in range(GROUP)]
    blocks = rollouts._blocks(repeated, [[prompt] for prompt in repeated], policy, None, InTraining(), True)
    assert (
        sum(block.generated_chains for block in blocks)
        == len(policy.requests)
        == len(repeated) * (1 + 2 * continuations)
    )
    # A chain has three tokens, a continuation from its second step two.
    assert sum(block.generated_tokens for block in blocks) == len(repeated) * (3 + 5 * continuations)
    return [block.rows[0] for block in blocks]


def test_advantages_are_unbiased_for_the_gain_in_value() -> None:
    value = {first: np.mean(list(rest.values())) for first, rest in SUCCESS.items()}
    start = np.mean(list(value.values()))
    rows = rows_of(TwoSteps(), 1500, 2)
    tokens = np.array([row.chain.token_ids for row in rows])
    found = np.array([row.chain.columns["token_advantages"] for row in rows])
    assert (found[:, 1] == found[:, 2]).all()  # The end of the chain belongs to its last step.
    for first, rest in SUCCESS.items():
        own = tokens[:, 0] == first
        assert abs(found[own, 0].mean() - (value[first] - start)) < 4 * found[own, 0].std() / np.sqrt(own.sum() / GROUP)
        for second, chance in rest.items():
            both = own & (tokens[:, 1] == second)
            gain = found[both, 1]
            assert abs(gain.mean() - (chance - value[first])) < 4 * gain.std() / np.sqrt(both.sum()) + 1e-12


def test_no_chain_shares_its_random_numbers_with_a_continuation() -> None:
    policy = TwoSteps()
    rows_of(policy, 3, 2)
    assert len({(one.place, one.draw) for one in policy.requests}) == len(policy.requests)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.integers(0, 2), st.data())
def test_advantages_of_the_steps_add_up_to_reward_minus_start(lengths: list[int], tail: int, data: Any) -> None:
    ends = np.cumsum(lengths)
    values = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(lengths), max_size=len(lengths))))
    chain = Chain((3,) * int(ends[-1] + tail), tuple(ends.tolist()), 1.0, True)
    found = step_advantages(chain, values)
    assert len(found) == len(chain.token_ids)
    assert found[ends - 1].sum() == pytest.approx(1 - values[0])
    assert (found[ends[-1] :] == found[ends[-1] - 1]).all()


def test_chains_of_a_prompt_share_its_value_and_those_without_steps_have_none() -> None:
    shared = with_shared_start([np.array([0.0, 0.5]), np.array([]), np.array([1.0])])
    assert [value.tolist() for value in shared] == [[0.5, 0.5], [], [0.5]]
    assert step_advantages(Chain((4, 5), (), 1.0, True), np.array([])).tolist() == [0.0, 0.0]


# ---- on TRL


def sample(requests: Sequence[Request]) -> list[Chain]:
    """Chains that depend on place and draw alone."""
    return deterministic_policy([replace(one, draw=64 * one.draw + one.place) for one in requests])


def rollouts(continuations: int = 2) -> SegmentValueRollouts:
    words = tokenizer()
    return SegmentValueRollouts(sample, lambda text: words(text).input_ids, continuations, BufferSettings())


def trainer(folder: Path, **config: Any) -> Any:
    return trainer_of(folder, rollout=rollouts(), kind=GRPOWithSegmentValues, max_grad_norm=0.0, **config)


def expected_gradient() -> dict[str, torch.Tensor]:
    """The equation, one chain at a time, with values taken from continuations asked for one by one."""
    model, loss, prompts = tiny_model(), torch.zeros(()), [(2,)] * 8 + [(3,)] * 8
    chains = sample([Request(place, 0, ids, (), 20) for place, ids in enumerate(prompts)])
    values = [
        [
            np.mean(
                [
                    sample([Request(place, 1 + 2 * step + draw, ids, chain.prefix(step + 1), 20 - step)])[0].reward
                    for draw in range(2)
                ]
            )
            for step in range(chain.steps)
        ]
        for place, (ids, chain) in enumerate(zip(prompts, chains, strict=True))
    ]
    for place, (ids, chain) in enumerate(zip(prompts, chains, strict=True)):
        group = slice(8 * (place // 8), 8 * (place // 8) + 8)
        reached = [np.mean([value[0] for value in values[group]]), *values[place][1:], chain.reward]
        begins = [0, *chain.step_ends[:-1]]
        advantages = torch.zeros(len(chain.token_ids))
        for step, begin in enumerate(begins):
            advantages[begin:] = float(reached[step + 1] - reached[step])
        whole = torch.tensor([[*ids, *chain.token_ids]])
        written = model(whole).logits.log_softmax(-1)[0, :-1].gather(-1, whole[0, 1:, None])[len(ids) - 1 :, 0]
        loss = loss - (advantages * written).mean() / len(chains)
    loss.backward()
    return {name: value.grad for name, value in model.named_parameters()}


@pytest.mark.parametrize("batch", [16, 8])
def test_the_gradient_is_the_one_of_the_equation(tmp_path: Path, batch: int) -> None:
    made = trainer(tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=16 // batch)
    made.train()
    expected = expected_gradient()
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-4
    for name, gradient in made.gradients[0].items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)
    entry = next(entry for entry in made.state.log_history if "reward" in entry)
    assert entry["chains/generated"] > 16 * 5 and entry["tokens/generated"] > entry["tokens/sampled"]
    assert 0 < entry["tokens/trained"] <= entry["tokens/sampled"]


def test_evaluation_is_plain(tmp_path: Path) -> None:
    made = trainer(tmp_path, num_generations_eval=2, per_device_eval_batch_size=4)
    assert made.evaluate()["eval_chains/generated"] == 4.0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="continuations must be at least 1"):
        rollouts(0)
    made = SegmentValueRollouts(TwoSteps(), lambda prompt: [prompt])
    with pytest.raises(ValueError, match="not whole groups of 4"):
        made._blocks([1, 1, 1, 2], [[1]] * 4, TwoSteps(), None, InTraining(), True)
