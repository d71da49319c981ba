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

Which chains are drawn and trained is in `methods/reset_buffer.py`. Read directly: the paper's text (version 2) and its
released code, by way of the specification. Deviations: those of the buffer; steps may hold tokens of an environment,
which are never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl.models import unwrap_model_for_generation

from methods.continuation import TrainerChains
from methods.grpo import GRPOWithGroupMetrics, paper_of
from methods.reset_buffer import (
    ONE_BY_EIGHT,
    ONE_BY_FOUR,
    TWO_BY_FOUR,
    Block,
    BufferSettings,
    Chain,
    Request,
    ResetChoice,
    ResetRule,
    Row,
    Sampler,
    Seed,
    Split,
    build_blocks,
    one_at_a_time,
    plain_blocks,
    uniform_step,
)

# What a script needs can be had from here, whichever of the two files holds it.
__all__ = [
    "ONE_BY_EIGHT",
    "ONE_BY_FOUR",
    "PUBLISHED_GRPO",
    "TWO_BY_FOUR",
    "Block",
    "BufferSettings",
    "Chain",
    "GRPOWithResets",
    "Request",
    "ResetChoice",
    "ResetLoss",
    "ResetRollouts",
    "ResetRule",
    "Row",
    "Sampler",
    "Seed",
    "Split",
    "build_blocks",
    "chain_reward",
    "one_at_a_time",
    "reset_metrics",
    "rollout_columns",
    "standardised_in_groups",
    "uniform_step",
]

# ---- the rollouts

UNLIMITED = 1_000_000
"""Most steps of a chain where its tokens are what is limited."""


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
        "success": [row.chain.correct for row in rows],
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

    rule: where failed chains are reset: `uniform_step` (RRPO), `AskedPolicy()` (SRPO), `LeastConfidentStep()`, any
    callable of that form; None for plain rollouts in training too, the control without resets.
    sample: gives chains of the model that is trained; it runs in eval mode and without gradients. Without one the
    trainer itself generates, by Hugging Face or vLLM, a step being a line (`methods.continuation`); `GRPOWithResets` is
    then needed, and its reward functions tell which chains failed.
    encode: prompt, as it stands in the data set, to token ids; needed with `sample`.
    settings: None for the paper's, without a limit of lines where the trainer generates.
    seed: of the reset steps; those of a step of training do not depend on the steps before it, so that a run continued
    from a checkpoint draws the same. first_error: the true first error of a chain, only logged.
    whole_batch: it is called with the prompts of all processes, each of which makes all blocks alike; `sample` divides
    the work.

    >>> trainer = GRPOWithResets(
    ...     "Qwen/Qwen3-0.6B", reward_funcs=solved, train_dataset=dataset, rollout_func=ResetRollouts(AskedPolicy()),
    ...     args=GRPOConfig("srpo", loss_type="grpo", num_generations=8, per_device_train_batch_size=16),
    ... )
    """

    def __init__(
        self,
        rule: ResetRule | None = uniform_step,
        sample: Sampler | None = None,
        encode: Callable[[Any], Sequence[int]] | None = None,
        settings: BufferSettings | None = None,
        seed: int = 0,
        first_error: Callable[[Seed], int] | None = None,
        whole_batch: bool = False,
    ) -> None:
        if (sample is None) != (encode is None):
            raise ValueError("`sample` and `encode` go together")
        self.settings = settings or (BufferSettings() if sample else BufferSettings(longest=UNLIMITED))
        self.rule, self.sample, self.encode = rule, sample, encode
        self.seed, self.first_error, self.whole_batch = seed, first_error, whole_batch
        self._address: tuple[int, int] = (-1, 0)

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        if not self.settings.mask_prefix and trainer.use_vllm and trainer.vllm_importance_sampling_correction:
            raise ValueError(
                "without the prefix mask, prefix tokens would enter vLLM's importance ratio, and nobody sampled them: "
                "set vllm_importance_sampling_correction=False"
            )
        if self.sample is None or self.encode is None:
            return self._generated(prompts, trainer)
        training = trainer.model.training
        with torch.no_grad(), unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            model.eval()
            try:
                ids = [self.encode(prompt) for prompt in prompts]
                blocks = self._blocks(prompts, ids, self.sample, self.rule, trainer, training)
            finally:
                model.train(training)
        return rollout_columns(blocks, self.settings.mask_prefix)

    def _generated(self, prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        """The columns of this process's prompts, sampled by the trainer: all processes plan the same blocks."""
        several, training = trainer.accelerator.num_processes > 1, trainer.model.training
        rows = getattr(trainer, "rollout_rows", None)
        if rows is None:
            raise ValueError("without `sample` the rollouts need a GRPOWithResets trainer")
        everyone, rows = (gather_object(list(part)) if several else part for part in (prompts, rows))
        chains = TrainerChains(trainer, rows[:: self._rows_of_place(training)])
        bind = getattr(self.rule, "with_policy", None)
        rule = bind(chains) if bind else self.rule
        trainer.model.eval()
        try:
            with torch.no_grad():
                blocks = self._blocks(everyone, chains.encode(everyone), chains, rule, trainer, training)
        finally:
            trainer.model.train(training)
        columns = rollout_columns(blocks, self.settings.mask_prefix)
        first = trainer.accelerator.process_index * len(prompts)
        return {name: values and values[first : first + len(prompts)] for name, values in columns.items()}

    def _rows_of_place(self, training: bool) -> int:
        """Rows of the data set that one place of a `Request` stands for."""
        return self.settings.split.size if training and self.rule is not None else 1

    def _blocks(
        self,
        prompts: list[Any],
        ids: Sequence[Sequence[int]],
        sample: Sampler,
        rule: ResetRule | None,
        trainer: Any,
        training: bool,
    ) -> list[Block]:
        if not training or rule is None:
            return plain_blocks(ids, sample, self.settings)
        size = self.settings.split.size
        if trainer.num_generations != size:
            raise ValueError(f"num_generations is {trainer.num_generations}, but {self.settings.split} makes {size}")
        if len(prompts) % size or any(prompt != prompts[row - row % size] for row, prompt in enumerate(prompts)):
            raise ValueError(f"{len(prompts)} prompts are not whole groups of {size} equal ones")
        step = int(trainer.state.global_step)
        self._address = (step, self._address[1] + 1 if self._address[0] == step else 0)
        alike = self.whole_batch or self.sample is None
        entropy = (self.seed, 0 if alike else trainer.accelerator.process_index, *self._address)
        generator = np.random.default_rng(entropy)
        return build_blocks(ids[::size], sample, rule, self.settings, generator, self.first_error)


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
        """Value that `GRPOConfig.loss_type` must have."""
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

    _name = "RRPO and SRPO"
    _tag_names = ("trl", "grpo", "resets")
    _paper = paper_of("Credit Assignment with Resets in Language Model Reasoning", "2605.25507")

    def __init__(self, *args: Any, loss: ResetLoss = ResetLoss(), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_loss = loss
        if self.loss_type != loss.loss_type:
            raise ValueError(f"{loss} needs loss_type={loss.loss_type!r}, got {self.loss_type!r}")
        if not loss.clip:
            # TRL's correction for vLLM would put a ratio, that of trainer and sampler, into a loss that has none.
            self.vllm_importance_sampling_correction = False
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
        self.rollout_rows = inputs  # What `ResetRollouts` knows of the prompts beside their text.
        output = super()._generate_and_score_completions(inputs)
        output["advantages"] = self._within_groups[self._local_slice(len(inputs))]
        return output

    def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.reset_loss.clip:
            # Without them TRL takes the current log-probabilities, detached: ratio 1, gradient A grad log pi.
            inputs = {name: value for name, value in inputs.items() if name != "old_per_token_logps"}
        return super()._policy_loss(model, inputs)


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
    """Metrics of one batch; NaN where there is nothing to tell. All tensors are (rows,).

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
