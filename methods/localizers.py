"""Rules of where to reset a failed chain, for SRPO (arXiv 2605.25507; section 2.3 of the paper's digest).

    h* = first erroneous step, from 1; steps 1 .. h* - 1 are kept, step h* is sampled anew

Each rule is a `methods.reset_buffer.ResetRule`. SRPO's own is `AskedPolicy`: the policy under training is told that its
answer is wrong and names the step. `LeastConfidentStep` needs no words.

The prompt was written anew from the elements that the specification lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from methods.reset_buffer import Chain, ResetChoice, Seed

# ---- the policy itself

_BOX = "\\boxed{"
_PROSE = re.compile(r"[Ss]tep\s+(\d+)")
_DIGITS = 9
"""Longest number that is read: Python refuses to convert very long ones."""
_DELIMITER = "</thought>"


def parse_step(reply: str, steps: int) -> int:
    """The step that a reply names, 1 .. steps, as the released parser reads it (section 2.3 of the specification).

    The last box counts alone: 0 in it is step 1, a step of the chain is that step. Where it holds anything else, is not
    closed or is not there, the last "Step N" or "step N" counts, and that is 1 where the chain has no such step.
    """
    boxed = _number(_last_box(reply))
    if boxed is not None and 0 <= boxed <= steps:
        return max(1, boxed)
    named = _PROSE.findall(reply)
    found = _number(named[-1]) if named else None
    return found if found is not None and 1 <= found <= steps else 1


def _last_box(reply: str) -> str:
    """Content of the last box; nothing without one, or where its braces do not close."""
    start, depth = reply.rfind(_BOX) + len(_BOX), 1
    if start < len(_BOX):
        return ""
    for place in range(start, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[place], 0)
        if depth == 0:
            return reply[start:place]
    return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text.lstrip("0")) <= _DIGITS else None


def localization_prompt(problem: str, steps: Sequence[str]) -> str:
    """Asks for the first erroneous step of the policy's own solution, without telling the answer (appendix D)."""
    lines = [f"Step {place}: {step.replace(_DELIMITER, '').strip()}" for place, step in enumerate(steps, start=1)]
    return "\n".join(
        [
            "You solved the problem below step by step. Find the first step of your solution that is wrong.",
            "",
            f"Problem: {problem}",
            "",
            *lines,
            "",
            "The final answer is wrong, so at least one step is wrong. Look for where the derailment begins, not",
            "for where it becomes apparent: an early slip may stay hidden for several steps. A step is wrong if the",
            "problem and the steps accepted before it do not support it. Do not solve the problem again.",
            f"Choose exactly one number from 1 to {len(steps)}: the first unsupported step.",
            "End with a last line that holds \\boxed{N} and nothing after it.",
        ]
    )


@dataclass(frozen=True)
class AskedPolicy:
    """SRPO: one call for each seed, no vote, the reply not trained on. `ResetRollouts` fills in what is left out."""

    text_of: Callable[[Seed], tuple[str, Sequence[str]]] | None = None
    """The problem and the steps of a seed, as text."""
    reply: Callable[[Sequence[str]], Sequence[tuple[str, int]]] | None = None
    """Replies of the current policy to prompts, each with its number of tokens (the paper samples at 0.3)."""

    def with_policy(self, policy: Any) -> AskedPolicy:
        """The rule for the policy that samples, a `methods.continuation.TrainerChains`."""
        return AskedPolicy(self.text_of or policy.problem_and_steps, self.reply or policy.replies)

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        if self.text_of is None or self.reply is None:
            raise ValueError("nobody to ask: give `text_of` and `reply`")
        replies = self.reply([localization_prompt(*self.text_of(seed)) for seed in seeds])
        return [
            ResetChoice(parse_step(text, seed.chain.steps), tokens)
            for seed, (text, tokens) in zip(seeds, replies, strict=True)
        ]


# ---- entropy


def step_means(values: Sequence[float], chain: Chain) -> np.ndarray:
    """Mean of a per-token value over the policy's own tokens of each step, (steps,); 0 for a step without any."""
    ends = np.array(chain.step_ends)
    starts = np.concatenate([[0], ends[:-1]])
    own = np.array(chain.policy_mask(), dtype=float)[: ends[-1]]
    totals = np.add.reduceat(own * np.asarray(values, dtype=float)[: ends[-1]], starts)
    return totals / np.maximum(np.add.reduceat(own, starts), 1)


@dataclass(frozen=True)
class LeastConfidentStep:
    """The step whose tokens were drawn from the highest mean entropy, the first of equals.

    Raises ValueError where neither the chains nor `entropies` tell entropies.
    """

    entropies: Callable[[Sequence[Seed]], Sequence[Sequence[float]]] | None = None
    """Entropy of the policy at each token of each chain; asked where the sampler told none."""

    def with_policy(self, policy: Any) -> LeastConfidentStep:
        """The rule for the policy that samples, a `methods.continuation.TrainerChains`."""
        return LeastConfidentStep(self.entropies or policy.entropies)

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        if self.entropies is None:
            told: Sequence[Sequence[float]] = [told_entropies(seed.chain) for seed in seeds]
        else:
            told = self.entropies(seeds)
        found = [step_means(values, seed.chain) for values, seed in zip(told, seeds, strict=True)]
        return [ResetChoice(int(np.argmax(means)) + 1) for means in found]


def told_entropies(chain: Chain) -> Sequence[float]:
    """The sampler's entropies; raises ValueError where it told none."""
    if chain.entropies is None:
        raise ValueError("the sampler gave no entropies with its chains, which this rule needs")
    return chain.entropies
