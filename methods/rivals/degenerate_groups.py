"""Other remedies for groups whose rewards are all equal, where GRPO's advantage is zero: the rivals of EchoRL.

    Dr. GRPO (2503.20783)      A = r - mean; token sum / constant                        `dr_grpo_settings`
    RL-ZVP (2509.21880)        in groups of equal rewards only: A_t = alpha H_t if all are right,
                               A_t = -alpha (max_k H_k - H_t) if all are wrong           `ZeroVarianceTrainer`
    sign advantage (2605.07689) A = 2 r - 1, without centring                             `SignAdvantageTrainer`

The only change with respect to GRPO is, in each, the formula on its line. DAPO is in `methods.rivals.dynamic_sampling`.
What was read are summaries and public code of these works (specification of EchoRL, section 11).
"""

from __future__ import annotations

from typing import Any

import torch

from methods.entropies import GRPOWithEntropies
from methods.grpo import GRPOWithGroupMetrics, paper_of, policy_tokens


def dr_grpo_settings() -> dict[str, Any]:
    """Arguments of `trl.GRPOConfig` for Dr. GRPO; the constant is its `max_completion_length`."""
    return {"loss_type": "dr_grpo", "scale_rewards": "none"}


class SignAdvantageTrainer(GRPOWithGroupMetrics):
    """A = 2 r - 1 for every row: right answers are pushed up and wrong ones down whatever the rest of the group did."""

    _name = "sign advantage"
    _tag_names = ("trl", "grpo", "sign-advantage")
    _paper = paper_of("Sign advantage", "2605.07689")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rewards = self._total_rewards[self._local_slice(len(inputs))]
        # A row that no reward function scored carries no signal.
        output["advantages"] = torch.nan_to_num(2.0 * rewards - 1.0, nan=0.0).to(output["advantages"].dtype)
        return output


class ZeroVarianceTrainer(GRPOWithEntropies):
    """RL-ZVP: `ZeroVarianceTrainer(..., alpha=0.1)`; groups of equal rewards get advantages from token entropies.

    alpha: weight of the entropies, in advantage per nat (the default is ours). A group of equal total rewards is all
    right where its episodes succeed, else all wrong. Raises ValueError for a negative alpha.
    """

    _name = "RL-ZVP"
    _tag_names = ("trl", "grpo", "rl-zvp")
    _paper = paper_of("RL-ZVP", "2509.21880")
    _wants_entropies = True

    def __init__(self, *args: Any, alpha: float = 0.1, **kwargs: Any) -> None:
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        self.alpha = alpha
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        local = self._local_slice(len(inputs))
        groups = self._total_rewards.view(-1, self.num_generations)
        equal = (groups == groups[:, :1]).all(dim=1).repeat_interleave(self.num_generations)[local]
        entropies = self._rollout_entropies(inputs, output, equal)
        shaped = zero_variance_advantages(entropies, policy_tokens(output), self._successes[local], self.alpha)
        advantages = output["advantages"][:, None]
        output["advantages"] = torch.where(equal[:, None], shaped.to(advantages.dtype), advantages)
        return output


def zero_variance_advantages(
    entropies: torch.Tensor, policy: torch.Tensor, right: torch.Tensor, alpha: float
) -> torch.Tensor:
    """RL-ZVP's advantages, (rows, tokens), 0 where the policy wrote nothing.

    entropies: (rows, tokens) in nats; policy: (rows, tokens) booleans; right: (rows,) booleans.
    """
    own = torch.where(policy, entropies.detach(), 0.0)
    highest = own.amax(dim=1, keepdim=True)
    return torch.where(policy, alpha * torch.where(right[:, None], own, own - highest), 0.0)
