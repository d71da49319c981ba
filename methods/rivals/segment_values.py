"""Segment values: advantages of steps from resampled continuations, after SPO (arXiv 2505.23564; VinePPO, 2410.01679).

    V(h) = mean reward of K continuations from the prompt and steps 1 .. h - 1;   V(H + 1) = reward of the chain itself
    A_t  = V(h + 1) - V(h) for each token t of step h
    loss = mean over chains of the mean over the policy's tokens of -A_t log pi(y_t)

A rival of resets: it pays for continuations too, yet uses them for values only and trains on fresh chains. The change
with respect to GRPO is the advantage, which is one a step and not one an episode.

Read was one line of a summary and the release's re-implementation, by way of the specification of the resets paper
(section 10). Deviations: segments are the sampler's steps rather than cuts at low-probability tokens, without SPO's
probability mask; V(1) is shared by the chains of a prompt, as the mean of their estimates; no ratio and no clip, as in
the arms with resets; SPO's tree variant is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from methods.grpo import paper_of, policy_tokens
from methods.reset_buffer import Block, BufferSettings, Chain, Request, ResetRule, Sampler, Seed, plain_blocks
from methods.resets import GRPOWithResets, ResetRollouts


def step_advantages(chain: Chain, values: np.ndarray) -> np.ndarray:
    """A of each token of the chain, (tokens,); tokens behind the last step count as its own.

    values: V(1) .. V(H). A chain without a step gets zeros.
    """
    if not chain.steps:
        return np.zeros(len(chain.token_ids))
    gains = np.diff(np.append(values, chain.reward))
    ends = [0, *chain.step_ends[:-1], len(chain.token_ids)]
    return np.repeat(gains, np.diff(ends))


def with_shared_start(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """V(1) .. V(H) of the chains of one prompt with one V(1) for all, the mean of theirs."""
    starts = [value[0] for value in values if len(value)]
    return [np.append(np.mean(starts), value[1:]) if len(value) else value for value in values]


def prefix_values(
    seeds: Sequence[Seed],
    sample: Sampler,
    continuations: int,
    longest: int,
    score: Callable[[Chain], float],
    first_draw: int = 0,
) -> tuple[tuple[np.ndarray, ...], int, int]:
    """V(1) .. V(H) of each chain: mean score of continuations from steps 1 .. h - 1; chains and tokens generated.

    first_draw: number of the first continuation of each seed, above those of chains already drawn for it. Continuations
    that failed to come score 0.
    """
    requests = [
        Request(place, first_draw + step * continuations + draw, seed.prompt_ids, seed.chain.prefix(step + 1), left)
        for place, seed in enumerate(seeds)
        for step, left in enumerate(range(longest, longest - seed.chain.steps, -1))
        for draw in range(continuations)
    ]
    found = [(one, chain) for one, chain in zip(requests, sample(requests) if requests else [], strict=True)]
    tokens = sum(sum(chain.policy_mask(len(one.prefix_ids))) for one, chain in found if chain is not None)
    scores = np.array([0.0 if chain is None else score(chain) for _, chain in found])
    bounds = np.cumsum([seed.chain.steps * continuations for seed in seeds])[:-1]
    values = [part.reshape(-1, continuations).mean(axis=1) for part in np.split(scores, bounds)]
    return tuple(values) if seeds else (), sum(chain is not None for _, chain in found), tokens


class SegmentValueRollouts(ResetRollouts):
    """TRL's `rollout_func`: fresh chains with `continuations` side rollouts from the start of each of their steps.

    The other arguments are those of `ResetRollouts`, of whose `settings` only `longest` is read. A batch costs
    chains * (1 + H * continuations) rollouts, all of them counted in `tokens/generated` and `chains/generated`.
    """

    def __init__(
        self,
        sample: Sampler,
        encode: Callable[[Any], Sequence[int]],
        continuations: int = 4,
        settings: BufferSettings | None = None,
    ) -> None:
        if continuations < 1:
            raise ValueError(f"continuations must be at least 1, got {continuations}")
        super().__init__(None, sample, encode, settings)
        self.continuations = continuations

    def _blocks(
        self,
        prompts: list[Any],
        ids: Sequence[Sequence[int]],
        sample: Sampler,
        rule: ResetRule | None,
        trainer: Any,
        training: bool,
    ) -> list[Block]:
        blocks, size = plain_blocks(ids, sample, self.settings), trainer.num_generations
        if not training:
            return blocks
        if len(prompts) % size or any(prompt != prompts[row - row % size] for row, prompt in enumerate(prompts)):
            raise ValueError(f"{len(prompts)} prompts of this process are not whole groups of {size} equal ones")
        rows = [block.rows[0] for block in blocks]
        seeds = [Seed(row.prompt_ids, row.chain) for row in rows]
        values, chains, tokens = prefix_values(
            seeds, sample, self.continuations, self.settings.longest, lambda chain: chain.reward, first_draw=1
        )
        shared = [
            value for start in range(0, len(rows), size) for value in with_shared_start(values[start : start + size])
        ]
        for place, (row, value) in enumerate(zip(rows, shared, strict=True)):
            told = {**row.chain.columns, "token_advantages": step_advantages(row.chain, value).tolist()}
            blocks[place] = replace(blocks[place], rows=(replace(row, chain=replace(row.chain, columns=told)),))
        first = blocks[0]
        blocks[0] = replace(
            first,
            generated_chains=first.generated_chains + chains,
            generated_tokens=first.generated_tokens + tokens,
        )
        return blocks


class GRPOWithSegmentValues(GRPOWithResets):
    """GRPO whose advantages are those of `SegmentValueRollouts`, one a token; same loss and metrics as with resets.

    Rewards are logged and not trained on. In evaluation the rollouts are plain.
    """

    _name = "GRPO with segment values"
    _tag_names = ("trl", "grpo", "segment-values")
    _paper = paper_of("Segment Policy Optimization", "2505.23564")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        advantages = torch.zeros(output["completion_ids"].shape, device=output["advantages"].device)
        for row, told in zip(advantages, inputs, strict=True):
            row[: len(told["token_advantages"])] = torch.tensor(told["token_advantages"])
        output["advantages"] = torch.where(policy_tokens(output), advantages, 0.0)
        return output
