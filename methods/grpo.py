"""GRPO: group relative policy optimisation, the baseline of every comparison (Shao et al. 2024, arXiv 2402.03300).

    J = E[ 1/G sum_i 1/|o_i| sum_t min(ratio_it A_i, clip(ratio_it, 1 - epsilon, 1 + epsilon) A_i) ] - beta KL
    A_i = (r_i - mean(r_1 .. r_G)) / (std(r_1 .. r_G) + 1e-4)

for the G episodes of one task, |o_i| counting the tokens that the policy wrote: what the environment wrote has
`env_mask` 0 and is neither trained nor counted.

The only change with respect to `trl.GRPOTrainer` is what is logged: the shares of groups that are all wrong, all
right or mixed (only mixed groups carry a gradient), and the tokens sampled and trained.

Deviations from the papers that use it as their baseline: the standard deviation is Bessel-corrected (TRL) where
PASS@(k,T)'s sister paper uses the population's; with one update a batch the ratio is 1 and clipping is inactive, as
in that paper.
"""

from __future__ import annotations

from typing import Any

import torch
import trl


def group_shares(rewards: torch.Tensor, group_size: int) -> dict[str, float]:
    """Shares of groups in which no episode, every episode, or some episodes are right.

    rewards: (episodes,) in consecutive groups of `group_size`, of which 1 or more means success; a partial reward is
    none. Raises ValueError if the episodes do not divide into groups.
    """
    if len(rewards) % group_size:
        raise ValueError(f"{len(rewards)} rewards do not divide into groups of {group_size}")
    right = (rewards.view(-1, group_size) >= 1.0).float().mean(dim=1)
    all_wrong, all_right = float((right == 0).float().mean()), float((right == 1).float().mean())
    return {"all_wrong": all_wrong, "all_right": all_right, "mixed": 1.0 - all_wrong - all_right}


class GRPOWithGroupMetrics(trl.GRPOTrainer):
    """`trl.GRPOTrainer` that also logs `groups/{all_wrong,all_right,mixed}` and `tokens/{sampled,trained}`."""

    _name = "GRPO"

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        total = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        for name, share in group_shares(total, group_size).items():
            self._log(f"groups/{name}", share)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        policy_tokens = output["completion_mask"] * output.get("tool_mask", 1)
        sampled = self.accelerator.gather(policy_tokens.sum()).sum()
        # A row whose advantage is zero adds nothing to the gradient, so its tokens are sampled but not trained.
        trained = self.accelerator.gather((policy_tokens * (output["advantages"] != 0)[:, None]).sum()).sum()
        self._log("tokens/sampled", float(sampled))
        self._log("tokens/trained", float(trained))
        return output

    def _log(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
