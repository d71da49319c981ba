"""A policy that writes noise and succeeds by chance, for the tests of resets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from methods.reset_buffer import Block, Chain, Request, ResetChoice, Seed

STEPS = 4


class StubPolicy:
    """Chains of four steps of two tokens; each succeeds with a given probability, in the order they are asked for."""

    def __init__(self, success: float, seed: int = 0, fail_continuations: bool = False) -> None:
        self.success, self.fail = success, fail_continuations
        self.generator = np.random.default_rng(seed)
        self.requests: list[Request] = []

    def __call__(self, requests: Sequence[Request]) -> list[Chain | None]:
        self.requests += requests
        return [None if self.fail and one.prefix_ids else self.chain(one.prefix_ids) for one in requests]

    def chain(self, prefix: tuple[int, ...] = ()) -> Chain:
        right = bool(self.generator.random() < self.success)
        tokens = prefix + tuple(self.generator.integers(3, 9, 2 * STEPS - len(prefix)).tolist())
        ends = tuple(range(2, 2 * STEPS + 1, 2))
        return Chain(tokens, ends, float(right), right, columns={"success": right})


def third_step(seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
    return [ResetChoice(3, generated_tokens=5) for _ in seeds]


def outcomes_of(block: Block, group: int) -> list[bool]:
    return [row.chain.correct for row in block.rows if row.group == group]
