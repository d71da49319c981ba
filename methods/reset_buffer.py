"""Chains that RRPO and SRPO train for a prompt: base group, failed seed, reset, suffixes (arXiv 2605.25507, 4.2).

A step is what the sampler says it is (`Chain.step_ends`): a thought up to its delimiter, or an action with its
observation. Chains are sampled in waves over all prompts; what is drawn has the law of the sequential loop of
algorithm 2. A switch that the paper has not: `independent_base`. No torch in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

# ---- chains and what is asked of a sampler


@dataclass(frozen=True)
class Chain:
    """One rollout after its prompt, from its first token to its last, a prefix that was given included."""

    token_ids: tuple[int, ...]
    step_ends: tuple[int, ...]
    """For each step, the number of tokens up to and with it: increasing, at most len(token_ids)."""
    reward: float
    correct: bool
    """True where the verifier accepts it; a reward may be partial, a chain that is reset must have failed."""
    from_policy: tuple[bool, ...] | None = None
    """False where an environment wrote the token; None where the policy wrote all."""
    log_probabilities: tuple[float, ...] | None = None
    """Of each token at the sampling temperature, nats; any value under a prefix."""
    entropies: tuple[float, ...] | None = None
    """Of the distribution each token was drawn from, nats."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns for reward functions: success, rounds, skills, ..."""

    def __post_init__(self) -> None:
        ends = np.array((0, *self.step_ends))
        if (np.diff(ends) <= 0).any() or ends[-1] > len(self.token_ids):
            raise ValueError(f"step ends {self.step_ends} do not rise from 1 to at most {len(self.token_ids)} tokens")
        for name in ("from_policy", "log_probabilities", "entropies"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.token_ids):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.token_ids)} tokens")

    @property
    def steps(self) -> int:
        return len(self.step_ends)

    def prefix(self, step: int) -> tuple[int, ...]:
        """Tokens of steps 1 .. step - 1; empty for step 1."""
        return self.token_ids[: self.step_ends[step - 2]] if step > 1 else ()

    def policy_mask(self, start: int = 0) -> list[int]:
        """1 for each token of the policy from place `start` on, else 0."""
        written = self.from_policy or (True,) * len(self.token_ids)
        return [int(own and place >= start) for place, own in enumerate(written)]


@dataclass(frozen=True)
class Request:
    """Continue this prefix after this prompt, to the end."""

    place: int
    """Place of the prompt in the batch."""
    draw: int
    """Number of this chain among all of its prompt: (place, draw) names a stream of random numbers."""
    prompt_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...]
    steps: int
    """Most steps that may follow the prefix."""


@dataclass(frozen=True)
class Seed:
    """The failed chain that is reset, with its prompt."""

    prompt_ids: tuple[int, ...]
    chain: Chain


@dataclass(frozen=True)
class ResetChoice:
    """The step h*, from 1, that is sampled anew, and the tokens that were generated to find it."""

    step: int
    generated_tokens: int = 0


Sampler = Callable[[Sequence[Request]], Sequence[Chain | None]]
"""Chains in the order of the requests, each beginning with its prefix; None where a continuation failed."""
ResetRule = Callable[[Sequence[Seed], np.random.Generator], Sequence[ResetChoice]]


def one_at_a_time(continue_from: Callable[[tuple[int, ...], tuple[int, ...], int], Chain | None]) -> Sampler:
    """A sampler from `continue_from(prompt_ids, prefix_ids, steps)`, for engines that serve one chain a call."""
    return lambda requests: [continue_from(one.prompt_ids, one.prefix_ids, one.steps) for one in requests]


def uniform_step(seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
    """RRPO: h* ~ Unif{1 .. H} (section 4.2, algorithm 2)."""
    return [ResetChoice(int(generator.integers(1, seed.chain.steps + 1))) for seed in seeds]


# ---- the buffer


@dataclass(frozen=True)
class Split:
    """Division of the trained chains of a prompt: `base` from the prompt, `suffixes` from each of `seeds` resets."""

    base: int = 4
    seeds: int = 1
    suffixes: int = 4

    @property
    def size(self) -> int:
        return self.base + self.seeds * self.suffixes


ONE_BY_FOUR = Split()
TWO_BY_FOUR = Split(base=0, seeds=2, suffixes=4)
ONE_BY_EIGHT = Split(base=0, seeds=1, suffixes=8)


FRESH_LIMIT = 12
"""Most chains drawn from a prompt in search of failures (released code)."""


@dataclass(frozen=True)
class BufferSettings:
    """Chains that are trained on a prompt; the defaults are the paper's 1 x 4 (section 4.2, algorithm 2, table 5)."""

    split: Split = ONE_BY_FOUR
    independent_base: bool = False
    """Take the first chains as base group, failures and all, and leave it untouched: unbiased. The published sampler
    drops the first failure but keeps the successes before it, which overstates success (`theory/base_group.py`)."""
    longest: int = 20
    """Most steps of a chain, those of its prefix counted."""
    mask_prefix: bool = True
    """Keep the prefix out of gradient and denominators."""

    def __post_init__(self) -> None:
        split = self.split
        if split.base < 0 or min(split.seeds, split.suffixes) < 1:
            raise ValueError(f"{split} needs base >= 0, seeds >= 1 and suffixes >= 1")
        needed = split.base + split.seeds if split.base else split.size
        if needed > FRESH_LIMIT:
            raise ValueError(f"{split} may need {needed} chains, and at most {FRESH_LIMIT} are drawn from a prompt")


@dataclass(frozen=True)
class Row:
    """A chain that is trained: from `prefix_length` on, in advantage group `group`."""

    prompt_ids: tuple[int, ...]
    chain: Chain
    group: int = 0
    """0 for the base group; 1, 2, ... for the suffixes of the first, second, ... seed."""
    prefix_length: int = 0
    """Tokens given rather than sampled."""
    position: float = float("nan")
    """h*/H of the reset; NaN for a base chain."""
    deviation: float = float("nan")
    """h* minus the true first error; NaN where none is known."""


@dataclass(frozen=True)
class Block:
    """The chains trained on one prompt, and all that was generated for it."""

    rows: tuple[Row, ...]
    seeds: tuple[Seed, ...]
    """The chains that were reset; empty for the fallback, a plain group of fresh chains."""
    generated_chains: int
    generated_tokens: int
    """Sampled by the policy: prefixes not counted; seeds, chains thrown away and localization counted."""


def build_blocks(
    prompts: Sequence[Sequence[int]],
    sample: Sampler,
    rule: ResetRule,
    settings: BufferSettings,
    generator: np.random.Generator,
    first_error: Callable[[Seed], int] | None = None,
) -> list[Block]:
    """The rollout buffer of algorithm 2, a block of `settings.split.size` chains for each prompt (token ids).

    first_error: the true first erroneous step of a seed, from 1; only logged. Steps chosen outside 1 .. H are clamped.
    Raises ValueError if a chain does not begin with its prefix or if a fresh chain failed to come.
    """
    work = [_Prompt(place, tuple(ids), settings) for place, ids in enumerate(prompts)]
    while wave := [request for one in work for request in one.fresh()]:
        _deliver(work, wave, sample(wave))
    seeds = [(one, seed) for one in work for seed in one.to_reset()]
    choices = rule([seed for _, seed in seeds], generator) if seeds else []
    for (one, seed), choice in zip(seeds, choices, strict=True):
        one.reset(seed, choice, first_error)
    for ask in (_Prompt.rest, _Prompt.replacements):
        if wave := [request for one in work for request in ask(one)]:
            _deliver(work, wave, sample(wave))
    return [one.block() for one in work]


def plain_blocks(prompts: Sequence[Sequence[int]], sample: Sampler, settings: BufferSettings) -> list[Block]:
    """One fresh chain for each prompt (token ids), each in a block of its own; errors as `build_blocks`."""
    work = [_Prompt(place, tuple(ids), settings) for place, ids in enumerate(prompts)]
    requests = [one.request() for one in work]
    _deliver(work, requests, sample(requests))
    return [Block((Row(one.prompt_ids, one.fresh_chains[0]),), (), one.chains, one.tokens) for one in work]


def _deliver(work: Sequence[_Prompt], requests: Sequence[Request], chains: Sequence[Chain | None]) -> None:
    for request, chain in zip(requests, chains, strict=True):
        if chain is None and not request.prefix_ids:
            raise ValueError(f"no chain came back for prompt {request.place}, which had no prefix to fail on")
        if chain is not None and chain.token_ids[: len(request.prefix_ids)] != request.prefix_ids:
            raise ValueError(f"a continuation of prompt {request.place} does not begin with its prefix")
        if chain is not None and len(chain.token_ids) == len(request.prefix_ids):
            raise ValueError(f"a chain of prompt {request.place} has no token of its own")
        work[request.place].receive(request, chain)


class _Prompt:
    """One prompt while its block is built. Fresh chains are those drawn in search of failures, in order."""

    def __init__(self, place: int, prompt_ids: tuple[int, ...], settings: BufferSettings) -> None:
        self.place, self.prompt_ids, self.settings = place, prompt_ids, settings
        self.fresh_chains: list[Chain] = []
        self.resets: list[tuple[Seed, int, float]] = []
        self.rows: list[Row] = []
        self.wanted: dict[int, partial[Row]] = {}
        self.draws = self.chains = self.tokens = 0

    def missing(self) -> int:
        """Fewest chains still needed: with failures left out of the base group, that group needs as many more."""
        split, drawn = self.settings.split, len(self.fresh_chains)
        left_out = 0 if self.settings.independent_base else split.seeds
        wanted = max(split.base + left_out - drawn, split.seeds - len(self.seeds()))
        return max(0, min(wanted, FRESH_LIMIT - drawn))

    def seeds(self) -> list[Seed]:
        """The first failures, those without a step excepted: there is nothing to reset in them."""
        found = [chain for chain in self.fresh_chains if not chain.correct and chain.steps]
        return [Seed(self.prompt_ids, chain) for chain in found[: self.settings.split.seeds]]

    def to_reset(self) -> list[Seed]:
        """The seeds, if there are as many as the split needs."""
        seeds = self.seeds()
        return seeds if len(seeds) == self.settings.split.seeds else []

    def fresh(self) -> list[Request]:
        return [self.request() for _ in range(self.missing())]

    def reset(self, seed: Seed, choice: ResetChoice, first_error: Callable[[Seed], int] | None) -> None:
        step = min(max(choice.step, 1), seed.chain.steps)
        self.tokens += choice.generated_tokens
        self.resets.append((seed, step, step - first_error(seed) if first_error else float("nan")))

    def rest(self) -> list[Request]:
        """Requests that fill the block: suffixes, or fresh chains where too few failures were found."""
        split, requests = self.settings.split, list[Request]()
        self.rows = [Row(self.prompt_ids, chain) for chain in self._kept()]
        if not self.resets:
            for _ in range(split.size - len(self.rows)):
                requests.append(self.request())
                self.wanted[requests[-1].draw] = partial(Row, self.prompt_ids)
        for group, (seed, step, deviation) in enumerate(self.resets, start=1):
            prefix, position = seed.chain.prefix(step), step / seed.chain.steps
            steps = self.settings.longest - (step - 1)
            for _ in range(split.suffixes):
                requests.append(self.request(prefix, steps))
                self.wanted[requests[-1].draw] = partial(
                    Row, self.prompt_ids, group=group, prefix_length=len(prefix), position=position, deviation=deviation
                )
        return requests

    def replacements(self) -> list[Request]:
        """A fresh chain, in the same group, for each continuation that failed; `wanted` holds nothing else by now."""
        requests = []
        for draw, make in list(self.wanted.items()):
            del self.wanted[draw]
            requests.append(self.request())
            self.wanted[requests[-1].draw] = partial(make, prefix_length=0)
        return requests

    def receive(self, request: Request, chain: Chain | None) -> None:
        if chain is None:
            return
        self.chains += 1
        self.tokens += sum(chain.policy_mask(len(request.prefix_ids)))
        if request.draw in self.wanted:
            self.rows.append(self.wanted.pop(request.draw)(chain))
        else:
            self.fresh_chains.append(chain)

    def block(self) -> Block:
        rows = sorted(self.rows, key=lambda row: row.group)
        return Block(tuple(rows), tuple(seed for seed, _, _ in self.resets), self.chains, self.tokens)

    def _kept(self) -> list[Chain]:
        """The fresh chains that are trained."""
        split, settings, seeds = self.settings.split, self.settings, [seed.chain for seed in self.seeds()]
        others = [chain for chain in self.fresh_chains if not any(chain is seed for seed in seeds)]
        if split.base:
            return (self.fresh_chains if settings.independent_base or not self.resets else others)[: split.base]
        if self.resets:
            return []
        # With too few failures for the split those found come last: the published list drops them.
        return (others + seeds)[: split.size]

    def request(self, prefix: tuple[int, ...] = (), steps: int | None = None) -> Request:
        """The next chain of this prompt; a fresh one may be as long as any."""
        self.draws += 1
        longest = self.settings.longest if steps is None else steps
        return Request(self.place, self.draws - 1, self.prompt_ids, prefix, longest)
