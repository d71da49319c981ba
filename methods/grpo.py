"""GRPO: group relative policy optimisation, the baseline of every comparison (Shao et al. 2024, arXiv 2402.03300).

    J = E[ 1/G sum_i 1/|o_i| sum_t min(ratio_it A_i, clip(ratio_it, 1 - epsilon, 1 + epsilon) A_i) ] - beta KL
    A_i = (r_i - mean(r_1 .. r_G)) / (std(r_1 .. r_G) + 1e-4)

for the G episodes of one task, |o_i| counting the tokens that the policy wrote: what the environment wrote has
`env_mask` 0 and is neither trained nor counted.

The only change with respect to `trl.GRPOTrainer` is in what is logged and in what is computed for nothing. Logged are
the shares of groups that are all wrong, all right or mixed, and the tokens sampled and trained. Only mixed groups carry
a gradient: rows with advantage zero are left out of the forward pass where that changes no gradient (loss type `grpo`
without KL term, entropy bonus, entropy quantile or router loss), and stay in the denominator.

Deviations from the papers that use it as their baseline: the standard deviation is Bessel-corrected (TRL) where
PASS@(k,T)'s sister paper uses the population's; with one update a batch the ratio is 1 and clipping is inactive, as
in that paper.
"""

from __future__ import annotations

from typing import Any

import torch
import trl


def group_shares(success: torch.Tensor, group_size: int) -> dict[str, float]:
    """Shares of groups in which no episode, every episode, or some episodes are right.

    success: (episodes,) booleans in consecutive groups of `group_size`. Raises ValueError if the episodes do not divide
    into groups.
    """
    if len(success) % group_size:
        raise ValueError(f"{len(success)} episodes do not divide into groups of {group_size}")
    right = success.view(-1, group_size).float().mean(dim=1)
    all_wrong, all_right = float((right == 0).float().mean()), float((right == 1).float().mean())
    return {"all_wrong": all_wrong, "all_right": all_right, "mixed": 1.0 - all_wrong - all_right}


def has_advantage(advantages: torch.Tensor) -> torch.Tensor:
    """Rows with a non-zero advantage; advantages are (rows,) or (rows, tokens)."""
    return advantages.reshape(len(advantages), -1).ne(0).any(dim=1)


def policy_tokens(inputs: dict[str, Any]) -> torch.Tensor:
    """(rows, tokens) booleans: what the policy loss reads, `completion_mask * tool_mask`."""
    return (inputs["completion_mask"] * inputs.get("tool_mask", 1)).bool()


def trained_rows(inputs: dict[str, Any]) -> dict[str, Any]:
    """The rows with an advantage, cut to the longest of them; one row where none has, so that there is a loss."""
    return select_rows(inputs, has_advantage(inputs["advantages"]))


def select_rows(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Some rows of a batch, cut to the longest of them.

    inputs: what TRL hands to its loss: tensors with the batch as first dimension, prompts padded on the left and
    completions on the right; other entries are passed on. rows: numbers of rows, or (rows,) booleans; where these mark
    none, the first row is taken.
    """
    count = len(inputs["advantages"])
    if rows.dtype == torch.bool:
        rows = rows.nonzero()[:, 0] if rows.any() else rows.new_zeros(1, dtype=torch.long)
    kept = {}
    for name, value in inputs.items():
        if torch.is_tensor(value) and value.shape[:1] == (count,):
            kept[name] = value[rows]
        elif isinstance(value, list) and len(value) == count:
            kept[name] = [value[row] for row in rows.tolist()]
        else:
            kept[name] = value
    prompt = int(kept["prompt_mask"].sum(dim=1).max())
    completion = max(1, int(kept["completion_mask"].sum(dim=1).max()))
    width = inputs["completion_mask"].shape[1]
    for name, value in kept.items():
        if name.startswith("prompt_") and torch.is_tensor(value):
            kept[name] = value[:, value.shape[1] - prompt :]
        elif torch.is_tensor(value) and value.ndim == 2 and value.shape[1] == width:
            kept[name] = value[:, :completion]
    return kept


class GRPOWithGroupMetrics(trl.GRPOTrainer):
    """`trl.GRPOTrainer` that also logs `groups/{all_wrong,all_right,mixed}` and `tokens/{sampled,trained}`.

    An episode is right where the rollout column `success` says so, 1 or True; where there is no such column, where the
    weighted total reward is 1 or more: a reward with a penalty in it does not tell successes. Rows without advantage
    are left out only with `loss_type="grpo"`, which is not TRL's default; TRL's own `entropy` metric is then one of the
    rows that are trained.
    `tokens/trained` counts the tokens of rows with an advantage, even where a KL term or an entropy bonus trains
    others.
    """

    _name = "GRPO"
    _success_reward = 1.0
    _total_rewards: torch.Tensor
    """Of the last batch over all processes, (rows,); NaN where no reward function knew one."""
    _successes: torch.Tensor
    """Of the same, (rows,) booleans."""

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, *args, **kwargs)
        self._total_rewards = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        self._total_rewards[rewards.isnan().all(dim=1)] = torch.nan
        # Every process gathers, with the column and without it, so that none waits for another.
        told = [torch.nan if row.get("success") is None else float(row["success"]) for row in inputs]
        outcome = self.accelerator.gather(torch.tensor(told, device=rewards.device))
        self._successes = torch.where(outcome.isnan(), self._total_rewards >= self._success_reward, outcome >= 1.0)
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        for name, share in group_shares(self._successes, group_size).items():
            self._log(f"groups/{name}", share)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        self._log("tokens/sampled", float(self.accelerator.gather(policy_tokens(output).sum()).sum()))
        self._log("tokens/trained", 0.0)
        # A row whose advantage is zero adds nothing to the gradient, so its tokens are sampled but not trained.
        self._log_trained_tokens(output, has_advantage(output["advantages"]))
        return output

    def _log_trained_tokens(self, output: dict[str, Any], trained: torch.Tensor) -> None:
        """Says anew how many tokens of this batch are trained: those of the rows `trained`, (rows,) booleans."""
        tokens = self.accelerator.gather((policy_tokens(output) * trained[:, None]).sum()).sum()
        self._metrics["train" if self.model.training else "eval"]["tokens/trained"][-1] = float(tokens)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # A KL term, an entropy bonus, an entropy quantile or a router loss speaks of every row.
        every_row = self.beta != 0 or self._entropy_bonus_enabled or self.aux_loss_enabled
        every_row = every_row or self.top_entropy_quantile < 1 or self.loss_type != "grpo" or not self.model.training
        # TRL gathers one clip ratio a row, so all processes must hold equally many.
        every_row = every_row or self.accelerator.num_processes > 1
        if every_row:
            return super()._compute_loss(model, inputs)
        trained, rows = trained_rows(inputs), len(inputs["advantages"])
        # The loss is a mean over rows, so the rows left out come back as a factor.
        return super()._compute_loss(model, trained) * (len(trained["advantages"]) / rows)

    def _log(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
