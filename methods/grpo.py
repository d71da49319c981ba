"""GRPO: group relative policy optimisation, the baseline of every comparison (Shao et al. 2024, arXiv 2402.03300).

    J = E[ 1/G sum_i 1/|o_i| sum_t min(ratio_it A_i, clip(ratio_it, 1 - epsilon, 1 + epsilon) A_i) ] - beta KL
    A_i = (r_i - mean(r_1 .. r_G)) / (std(r_1 .. r_G) + 1e-4)

for the G episodes of one task, |o_i| counting the tokens that the policy wrote: what the environment wrote has
`env_mask` 0 and is neither trained nor counted.

The only change with respect to `trl.GRPOTrainer` is in what is logged: the shares of groups that are all wrong, all
right or mixed, and the tokens sampled and trained.

Deviations from the papers that use it as their baseline: the standard deviation is Bessel-corrected (TRL) where
PASS@(k,T)'s sister paper uses the population's; with one update per batch the ratio is 1 and clipping is inactive, as
in that paper. With several, TRL's loss types `dapo`, `cispo` and `vespo` divide each update by the mean number of
tokens per update of the batch, not by its own: updates with more tokens weigh more. The trainers below warn of it.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import trl

TOKEN_MEANS = ("dapo", "cispo", "vespo")
"""TRL's loss types that divide by the tokens of the generation batch."""
ROUNDING = 1e-6
"""By which a weighted sum of rewards may miss the reward of a success."""


def group_shares(success: torch.Tensor, group_size: int, known: torch.Tensor | None = None) -> dict[str, float]:
    """Shares of groups in which no episode, every episode, or some episodes are right; NaN without any group.

    success: (episodes,) booleans in consecutive groups of `group_size`. known: (episodes,) booleans, False for episodes
    that nobody could score: they have no part in their group, and a group of them alone is not counted. Raises
    ValueError if the episodes do not divide into groups.
    """
    if len(success) % group_size:
        raise ValueError(f"{len(success)} episodes do not divide into groups of {group_size}")
    known = torch.ones_like(success) if known is None else known
    scored = known.view(-1, group_size).sum(dim=1)
    right = (success & known).view(-1, group_size).sum(dim=1)[scored > 0]
    scored = scored[scored > 0]
    if not len(scored):
        return dict.fromkeys(("all_wrong", "all_right", "mixed"), float("nan"))
    all_wrong, all_right = float((right == 0).float().mean()), float((right == scored).float().mean())
    return {"all_wrong": all_wrong, "all_right": all_right, "mixed": 1.0 - all_wrong - all_right}


def has_advantage(advantages: torch.Tensor) -> torch.Tensor:
    """Rows with a non-zero advantage; advantages are (rows,) or (rows, tokens)."""
    return advantages.reshape(len(advantages), -1).ne(0).any(dim=1)


def policy_tokens(inputs: dict[str, Any]) -> torch.Tensor:
    """(rows, tokens) booleans: what the policy loss reads, `completion_mask * tool_mask`."""
    return (inputs["completion_mask"] * inputs.get("tool_mask", 1)).bool()


def paper_of(title: str, identifier: str) -> dict[str, str]:
    """A paper as TRL names it on a model's card. identifier: of arXiv."""
    citation = f"@misc{{{identifier}, title = {{{title}}}, eprint = {{{identifier}}}, archivePrefix = {{arXiv}}}}"
    return {"title": title, "id": identifier, "citation": citation}


def has_images(inputs: dict[str, Any]) -> bool:
    """True for a batch with images, whose tensors count pixels, tiles or images and not rows."""
    return "pixel_values" in inputs or "num_images" in inputs


def take_rows(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Some rows of a batch as TRL hands it to its loss; entries that are no columns are passed on.

    rows: numbers of rows, or (rows,) booleans. Raises ValueError for a batch with images.
    """
    if has_images(inputs):
        raise ValueError("rows cannot be taken from a batch with images")
    count = len(inputs["advantages"])
    numbers = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
    taken = {}
    for name, value in inputs.items():
        if torch.is_tensor(value) and value.shape[:1] == (count,):
            taken[name] = value[numbers]
        elif isinstance(value, list) and len(value) == count:
            taken[name] = [value[row] for row in numbers.tolist()]
        else:
            taken[name] = value
    return taken


class GRPOWithGroupMetrics(trl.GRPOTrainer):
    """`trl.GRPOTrainer` that also logs `groups/{all_wrong,all_right,mixed}` and `tokens/{sampled,trained}`.

    Success is told apart from reward here, for every trainer of this package: an episode is right where the column
    `success` of the data set or the rollout says so (1 or True), else where a reward function said so by
    `log_extra("success", values)`, else where its weighted total reward reaches `success_reward`. A reward with a
    penalty in it does not tell successes: warns where none of the three finds one although rewards differ.

    `tokens/sampled` counts what the policy wrote; `tokens/trained` the tokens of rows with an advantage, even where a
    KL term or an entropy bonus trains others. Warns where TRL's loss does not divide an update by its own tokens.
    """

    _keeps_rows = True
    """True where a scored batch has a row for each input, in their order."""
    _name = "GRPO with group metrics"
    _tag_names: tuple[str, ...] = ("trl", "grpo")
    _successes: torch.Tensor
    """Of the last batch over all processes, (rows,) booleans."""
    _total_rewards: torch.Tensor
    """Of the same, (rows,); NaN where no reward function knew one."""

    def __init__(self, *args: Any, success_reward: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.success_reward = success_reward
        self._batch_is_new = self._has_warned = False
        updates = self.args.steps_per_generation / self.args.gradient_accumulation_steps
        if self.loss_type in TOKEN_MEANS and updates > 1:
            warnings.warn(
                f"loss_type={self.loss_type!r} divides each of the {updates:g} updates of a batch by their mean number "
                "of tokens, so that updates with more tokens weigh more; with one update it is the token mean",
                stacklevel=2,
            )

    def _generate(self, prompts: list[Any]) -> Any:
        found = super()._generate(prompts)
        _, completion_ids, written, *_ = found
        # Counted here, before `mask_truncated_completions` erases rows.
        tokens = sum(map(len, completion_ids)) if written is None else sum(map(sum, written))
        device = self.accelerator.device
        self._log("tokens/sampled", float(self.accelerator.gather(torch.tensor([tokens], device=device)).sum()))
        return found

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, *args, **kwargs)
        self._total_rewards = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        self._total_rewards[rewards.isnan().all(dim=1)] = torch.nan
        # Every process gathers, told or not, so that none waits for another.
        outcome = self.accelerator.gather(torch.tensor(self._told(inputs), device=rewards.device))
        self._successes = torch.where(outcome.isnan(), self.is_success(self._total_rewards), outcome >= 1.0)
        known = ~self._total_rewards.isnan()
        self._warn_of_rewards_without_success(self._total_rewards[known], bool(outcome.isnan().all()))
        for name, share in group_shares(self._successes, self._group_size, known).items():
            self._log(f"groups/{name}", share)
        return rewards

    def is_success(self, total_reward: Any) -> Any:
        """Tell successes by weighted total rewards, a tensor or a number, for want of anything better."""
        return total_reward >= self.success_reward - ROUNDING

    def _told(self, inputs: list[dict[str, Any]]) -> list[float]:
        """Success of each of this process's episodes as the rollout or a reward function tells it, else NaN."""
        logged = self._pending_extra_logs.get("success", [])[: len(inputs)] or [None] * len(inputs)
        told = [
            by_reward if row.get("success") is None else row["success"]
            for row, by_reward in zip(inputs, logged, strict=True)
        ]
        return [torch.nan if value is None else float(value) for value in told]

    def _warn_of_rewards_without_success(self, rewards: torch.Tensor, by_reward: bool) -> None:
        if self._has_warned or not by_reward or not len(rewards) or rewards.max() == rewards.min():
            return
        if not self.is_success(rewards.max()):
            self._has_warned = True
            warnings.warn(
                f"rewards differ, but none reaches {self.success_reward:g}, from where an episode counts as a success: "
                "give a column `success`, or `success_reward`",
                stacklevel=2,
            )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._batch_is_new = True
        return super()._generate_and_score_completions(inputs)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        inputs = super()._prepare_inputs(generation_batch)
        if self._batch_is_new:
            # Here every subclass has had its say about the batch.
            self._batch_is_new = False
            self._log_trained_tokens(self._buffered_inputs if self.model.training else [inputs])
        return inputs

    def _log_trained_tokens(self, batches: list[dict[str, Any]]) -> None:
        tokens = torch.stack([(self._written(one) * self._trained_rows(one)[:, None]).sum() for one in batches]).sum()
        self._log("tokens/trained", float(self.accelerator.gather(tokens).sum()))

    def _written(self, inputs: dict[str, Any]) -> torch.Tensor:
        """(rows, tokens) booleans: what the policy wrote, as far as the loss may read it."""
        return policy_tokens(inputs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        return self._policy_loss(model, inputs)

    def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss, to which a subclass may add terms of its own."""
        return super()._compute_loss(model, inputs)

    def _trained_rows(self, inputs: dict[str, Any]) -> torch.Tensor:
        """(rows,) booleans: the rows of a batch that the loss has a gradient for, KL and entropy terms aside."""
        return has_advantage(inputs["advantages"])

    @property
    def _group_size(self) -> int:
        return int(self.num_generations if self.model.training else self.num_generations_eval)

    def _local_slice(self, rows: int) -> slice:
        """This process's part of what was gathered from all."""
        return slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)

    def _log(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
