"""RRPO and SRPO: group relative policy optimisation with resets (Samanta et al. 2026, arXiv 2605.25507).

    grad J = E[ 1/G sum_i A_i 1/T_i sum_{t >= s_i} grad log pi(y_it) ],   G = |G1| + |G2| = 4 + 4
    A_i = (r_i - mean) / std within G1 and within G2 apart, std with ddof 0; all zero where std < 1e-8
    G1: chains from the prompt x0, s_i = 0
    G2: chains from x* = (x0, steps 1 .. h* - 1 of a failed chain), s_i = tokens of those steps, T_i = tokens from s_i
    RRPO: h* ~ Unif{1 .. H};  SRPO: h* = first erroneous step by a localizer (`methods/localizers.py`)

The change with respect to GRPO is where half of the episodes begin, and with it the advantage, which is taken within
each half, and the prefix, which gets no gradient. Without ratio, clip and KL term the loss is a sequence mean of token
means: TRL's loss type `grpo` at ratio 1, which has the gradient above. `GRPOWithResets` on fresh chains alone is GRPO
with this loss, the control that the paper lacks; with `PUBLISHED_GRPO` it is the paper's baseline.

Read directly: the paper's text (version 2) and its released code, by way of the specification. Deviations: a step is
what the sampler says it is (`Chain.step_ends`), a thought up to its delimiter or an action with its observation; steps
may hold tokens of an environment, which are never trained. A chain is sampled in waves over all prompts; what is drawn
has the law of the sequential loop. Switches the paper has not: `independent_base`, `suffix_allowance`, `keep_failure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from trl.models import unwrap_model_for_generation

from methods.grpo import GRPOWithGroupMetrics, _has_advantage

# ---- chains and what is asked of a sampler


@dataclass(frozen=True)
class Chain:
    """One rollout after its prompt, from its first token to its last, a prefix that was given included."""

    token_ids: tuple[int, ...]
    step_ends: tuple[int, ...]
    """For each step, the number of tokens up to and with it: increasing, at most len(token_ids)."""
    reward: float
    correct: bool
    """Whether the verifier accepts it; a reward may be partial, a chain that is reset must have failed."""
    from_policy: tuple[bool, ...] | None = None
    """False where an environment wrote the token; None where the policy wrote all."""
    log_probabilities: tuple[float, ...] | None = None
    """Of each token at the sampling temperature, nats; any value under a prefix."""
    entropies: tuple[float, ...] | None = None
    """Of the distribution each token was drawn from, nats."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What reward functions shall see besides: success, rounds, skills, ..."""

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
    """How the trained chains of a prompt divide: `base` from the prompt, `suffixes` from each of `seeds` resets."""

    base: int = 4
    seeds: int = 1
    suffixes: int = 4

    @property
    def size(self) -> int:
        return self.base + self.seeds * self.suffixes


ONE_BY_FOUR = Split()
TWO_BY_FOUR = Split(base=0, seeds=2, suffixes=4)
ONE_BY_EIGHT = Split(base=0, seeds=1, suffixes=8)


@dataclass(frozen=True)
class BufferSettings:
    """Which chains of a prompt are trained; the defaults are the paper's 1 x 4 (section 4.2, algorithm 2, table 5)."""

    split: Split = ONE_BY_FOUR
    fresh_limit: int = 12
    """Most chains drawn from the prompt in search of failures."""
    independent_base: bool = False
    """Take the first chains as base group, failures and all, and leave it untouched: unbiased. The published sampler
    drops the first failure but keeps the successes before it, which overstates success (`theory/base_group.py`)."""
    keep_failure: bool = False
    """Without a base group and with too few failures: keep those found. The published list drops them."""
    longest: int = 20
    """Most steps of a chain."""
    suffix_allowance: bool = False
    """Whether a suffix has `longest` steps of its own; in the paper the steps of the prefix count."""
    mask_prefix: bool = True
    """Whether the prefix gets no gradient and counts in no denominator."""

    def __post_init__(self) -> None:
        split = self.split
        if split.base < 0 or min(split.seeds, split.suffixes) < 1:
            raise ValueError(f"{split} needs base >= 0, seeds >= 1 and suffixes >= 1")
        needed = split.base + split.seeds if split.base else split.size
        if self.fresh_limit < needed:
            raise ValueError(f"fresh_limit is {self.fresh_limit}, below the {needed} chains that {split} may need")


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
    """What is trained on one prompt, and all that was generated for it."""

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
        return max(0, min(wanted, self.settings.fresh_limit - drawn))

    def seeds(self) -> list[Seed]:
        """The first failures, those without a step excepted: there is nothing to reset in them."""
        found = [chain for chain in self.fresh_chains if not chain.correct and chain.steps]
        return [Seed(self.prompt_ids, chain) for chain in found[: self.settings.split.seeds]]

    def to_reset(self) -> list[Seed]:
        """The seeds, if there are as many as the split needs."""
        seeds = self.seeds()
        return seeds if len(seeds) == self.settings.split.seeds else []

    def fresh(self) -> list[Request]:
        return [self._request((), self.settings.longest) for _ in range(self.missing())]

    def reset(self, seed: Seed, choice: ResetChoice, first_error: Callable[[Seed], int] | None) -> None:
        step = min(max(choice.step, 1), seed.chain.steps)
        self.tokens += choice.generated_tokens
        self.resets.append((seed, step, step - first_error(seed) if first_error else float("nan")))

    def rest(self) -> list[Request]:
        """What fills the block: suffixes, or fresh chains where too few failures were found."""
        split, requests = self.settings.split, list[Request]()
        self.rows = [Row(self.prompt_ids, chain) for chain in self._kept()]
        if not self.resets:
            for _ in range(split.size - len(self.rows)):
                requests.append(self._request((), self.settings.longest))
                self.wanted[requests[-1].draw] = partial(Row, self.prompt_ids)
        for group, (seed, step, deviation) in enumerate(self.resets, start=1):
            prefix, position = seed.chain.prefix(step), step / seed.chain.steps
            steps = self.settings.longest - (0 if self.settings.suffix_allowance else step - 1)
            for _ in range(split.suffixes):
                requests.append(self._request(prefix, steps))
                self.wanted[requests[-1].draw] = partial(
                    Row, self.prompt_ids, group=group, prefix_length=len(prefix), position=position, deviation=deviation
                )
        return requests

    def replacements(self) -> list[Request]:
        """A fresh chain, in the same group, for each continuation that failed; `wanted` holds nothing else by now."""
        requests = []
        for draw, make in list(self.wanted.items()):
            del self.wanted[draw]
            requests.append(self._request((), self.settings.longest))
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
        return (seeds + others if settings.keep_failure else others + seeds)[: split.size]

    def _request(self, prefix: tuple[int, ...], steps: int) -> Request:
        self.draws += 1
        return Request(self.place, self.draws - 1, self.prompt_ids, prefix, steps)


def rollout_columns(blocks: Sequence[Block], mask_prefix: bool = True) -> dict[str, list[Any]]:
    """The blocks as TRL's `rollout_func` returns them; `env_mask` is 0 on what is not trained.

    `generated_tokens` and `generated_chains` of a block stand on its first row, so that the columns add up.
    """
    rows = [row for block in blocks for row in block.rows]
    logprobs: list[Any] | None = [row.chain.log_probabilities for row in rows]
    if any(values is None for values in logprobs or ()):
        logprobs = None
    columns: dict[str, Any] = {
        "prompt_ids": [list(row.prompt_ids) for row in rows],
        "completion_ids": [list(row.chain.token_ids) for row in rows],
        "logprobs": logprobs and [list(values) for values in logprobs],
        "env_mask": [row.chain.policy_mask(row.prefix_length if mask_prefix else 0) for row in rows],
        "chain_reward": [row.chain.reward for row in rows],
        "reset_group": [row.group for row in rows],
        "reset_position": [row.position for row in rows],
        "reset_deviation": [row.deviation for row in rows],
    }
    for name in ("generated_tokens", "generated_chains"):
        columns[name] = [
            getattr(block, name) if place == 0 else 0 for block in blocks for place in range(len(block.rows))
        ]
    for name in sorted({name for row in rows for name in row.chain.columns}):
        columns[name] = [row.chain.columns[name] for row in rows]
    return columns


def chain_reward(completions: list[Any], chain_reward: list[float], **columns: Any) -> list[float]:
    """The reward that the sampler found; in a script, any reward function on text will do."""
    return chain_reward


class ResetRollouts:
    """TRL's `rollout_func` for RRPO and SRPO: blocks with resets in training, plain rollouts in evaluation.

    sample: gives chains of the model that is trained; it runs in eval mode and without gradients. rule: None for plain
    rollouts in training too, the control without resets.
    encode: prompt, as it stands in the data set, to token ids. seed: of the reset steps; those of a step of training do
    not depend on the steps before it, so that a run continued from a checkpoint draws the same.
    """

    def __init__(
        self,
        sample: Sampler,
        rule: ResetRule | None,
        encode: Callable[[Any], Sequence[int]],
        settings: BufferSettings = BufferSettings(),
        seed: int = 0,
        first_error: Callable[[Seed], int] | None = None,
    ) -> None:
        self.sample, self.rule, self.encode, self.settings = sample, rule, encode, settings
        self.seed, self.first_error = seed, first_error
        self._address: tuple[int, int] = (-1, 0)

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        training = trainer.model.training
        with torch.no_grad(), unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            model.eval()
            try:
                blocks = self._blocks(prompts, trainer, self.rule) if training and self.rule else self._plain(prompts)
            finally:
                model.train(training)
        return rollout_columns(blocks, self.settings.mask_prefix)

    def _blocks(self, prompts: list[Any], trainer: Any, rule: ResetRule) -> list[Block]:
        size = self.settings.split.size
        if trainer.num_generations != size:
            raise ValueError(f"num_generations is {trainer.num_generations}, but {self.settings.split} makes {size}")
        if len(prompts) % size or any(prompt != prompts[row - row % size] for row, prompt in enumerate(prompts)):
            raise ValueError(f"{len(prompts)} prompts of this process are not whole groups of {size} equal ones")
        step = int(trainer.state.global_step)
        self._address = (step, self._address[1] + 1 if self._address[0] == step else 0)
        entropy = (self.seed, trainer.accelerator.process_index, *self._address)
        generator = np.random.default_rng(entropy)
        ids = [self.encode(prompt) for prompt in prompts[::size]]
        return build_blocks(ids, self.sample, rule, self.settings, generator, self.first_error)

    def _plain(self, prompts: list[Any]) -> list[Block]:
        work = [_Prompt(place, tuple(self.encode(prompt)), self.settings) for place, prompt in enumerate(prompts)]
        requests = [one._request((), self.settings.longest) for one in work]
        _deliver(work, requests, self.sample(requests))
        return [Block((Row(one.prompt_ids, one.fresh_chains[0]),), (), one.chains, one.tokens) for one in work]


# ---- the loss


@dataclass(frozen=True)
class ResetLoss:
    """Defaults: the paper's loss for RRPO and SRPO (section 4.3 and appendix C)."""

    clip: bool = False
    """Importance ratio and its clip, which matter where a batch is used for several updates."""
    token_mean: bool = False
    """Mean over all tokens (TRL's `dapo`) rather than over sequences of their token means (TRL's `grpo`)."""
    ddof: int = 0
    epsilon: float = 0.0
    """Added to the standard deviation."""

    @property
    def loss_type(self) -> str:
        """What `GRPOConfig.loss_type` must be."""
        return "dapo" if self.token_mean else "grpo"


PUBLISHED_GRPO = ResetLoss(clip=True, token_mean=True, ddof=1, epsilon=1e-6)
"""The loss of the paper's GRPO baseline: clip, token mean, sample standard deviation."""


def standardised_in_groups(
    rewards: torch.Tensor, groups: torch.Tensor, ddof: int = 0, epsilon: float = 0.0
) -> torch.Tensor:
    """(r - mean) / (std + epsilon) within each group, all zero where std < 1e-8 (section 4.3); (rows,) in and out.

    groups: (rows,) integers, in any order. A NaN reward is left out of its group and gets advantage 0.
    """
    known = ~torch.isnan(rewards)
    _, group = torch.unique(groups, return_inverse=True)
    values = torch.where(known, rewards, 0.0).double()

    def total(summands: torch.Tensor) -> torch.Tensor:
        return torch.zeros(int(group.max()) + 1, dtype=torch.float64, device=rewards.device).index_add(
            0, group, summands
        )

    count = total(known.double())
    centred = torch.where(known, values - (total(values) / count.clamp(min=1))[group], 0.0)
    deviation = (total(centred.square()) / (count - ddof).clamp(min=1)).sqrt()[group]
    return torch.where(deviation < 1e-8, 0.0, centred / (deviation + epsilon)).to(rewards.dtype)


class GRPOWithResets(GRPOWithGroupMetrics):
    """GRPO whose advantages are taken within `reset_group`, and whose loss has no ratio unless asked.

    Without a column `reset_group` every block is one group. Logged besides: `resets/{share,position}`,
    `{base,suffix}/{success,zero_std}`, `localization/{exact,clean,deviation}` and `{tokens,chains}/generated`.
    """

    def __init__(self, *args: Any, loss: ResetLoss = ResetLoss(), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_loss = loss
        if self.loss_type != loss.loss_type:
            raise ValueError(f"{loss} needs loss_type={loss.loss_type!r}, got {self.loss_type!r}")
        if self.scale_rewards != "group" or self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError("resets need scale_rewards='group' and multi_objective_aggregation='sum_then_normalize'")
        rows = self.args.per_device_train_batch_size * self.args.steps_per_generation
        if rows % self.num_generations:
            raise ValueError(f"a process generates {rows} rows, not whole groups of {self.num_generations}")

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, *args, **kwargs)
        total = self._total_rewards
        told = [[float(row.get(name, absent)) for name, absent in _TOLD.items()] for row in inputs]
        columns = self.accelerator.gather(torch.tensor(told, dtype=torch.float64, device=rewards.device)).unbind(dim=1)
        described = dict(zip(_TOLD, columns, strict=True))
        size = self.num_generations if self.model.training else self.num_generations_eval
        block = torch.arange(len(total), device=rewards.device) // size
        group = described["reset_group"].long()
        label = block * (group.max() + 1) + group
        self._within_groups = standardised_in_groups(total, label, self.reset_loss.ddof, self.reset_loss.epsilon)
        for name, value in reset_metrics(total, self._successes, block, described).items():
            self._log(name, value)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        first = self.accelerator.process_index * len(inputs)
        output["advantages"] = self._within_groups[first : first + len(inputs)]
        trained = output["completion_mask"] * output.get("tool_mask", 1) * _has_advantage(output["advantages"])[:, None]
        # What the parent logged spoke of the advantages that were replaced.
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["tokens/trained"][-1] = float(self.accelerator.gather(trained.sum()).sum())
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.reset_loss.clip:
            # Without them TRL takes the current log-probabilities, detached: ratio 1, gradient A grad log pi.
            inputs = {name: value for name, value in inputs.items() if name != "old_per_token_logps"}
        if self.accelerator.num_processes > 1:
            # TRL gathers per-row metrics here, so every process must score as many rows: none may be left out.
            return super(GRPOWithGroupMetrics, self)._compute_loss(model, inputs)
        return super()._compute_loss(model, inputs)


_TOLD = {
    "reset_group": 0.0,
    "reset_position": float("nan"),
    "reset_deviation": float("nan"),
    "generated_tokens": float("nan"),
    "generated_chains": float("nan"),
}
"""Columns of the rollouts that the trainer reads, and what stands for an absent one."""


def reset_metrics(
    rewards: torch.Tensor, success: torch.Tensor, block: torch.Tensor, described: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """What is logged of one batch; NaN where there is nothing to tell. All tensors are (rows,).

    `zero_std` is the share of groups without signal. Base groups are those of blocks with a reset and of those without.
    A clean prefix ends before the first error.
    """
    group, position = described["reset_group"].long(), described["reset_position"]
    label = block * (group.max() + 1) + group
    silent = standardised_in_groups(rewards, label) == 0
    suffix = group > 0
    deviation = described["reset_deviation"]
    located = deviation[~torch.isnan(deviation)]
    found = {
        "resets/share": float(len(block[suffix].unique()) / len(block.unique())),
        "resets/position": float(position.nanmean()),
        "localization/exact": float((located == 0).double().mean()),
        "localization/clean": float((located <= 0).double().mean()),
        "localization/deviation": float(located.mean()),
        "tokens/generated": float(described["generated_tokens"].sum()),
        "chains/generated": float(described["generated_chains"].sum()),
    }
    for name, rows in (("base", ~suffix), ("suffix", suffix)):
        found[f"{name}/success"] = float(success[rows].double().mean())
        heard = len(label[rows & ~silent].unique())
        found[f"{name}/zero_std"] = 1 - heard / len(label[rows].unique()) if rows.any() else float("nan")
    return found
