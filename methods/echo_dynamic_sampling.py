"""EchoRL on top of DAPO: dynamic sampling for the policy gradient, the echo for whatever was sampled on the way.

    loss = loss of DAPO on the groups it keeps + lambda * mean over ALL sampled groups with a clip of NLL

Dynamic sampling drops the groups in which every episode succeeds, which are those the echo is for. So clips are mined
in each round before groups are dropped, and the rows that hold clips of dropped groups are fed in addition: the policy
loss does not read them. EchoRL has DAPO among its bases, and its readable sources do not say in which order the two
work (specification of EchoRL, sections 2.5 and 6, "DAPO combination"); mined after the filter, the echo could touch
mixed groups alone.
"""

from __future__ import annotations

from typing import Any

import torch

from methods.degenerate_groups import DynamicSamplingTrainer, joined_batches
from methods.echorl import EchoTrainer
from methods.grpo import has_advantage, select_rows

ROW_MEANS = ("grpo", "sapo", "dr_grpo", "luspo")
"""TRL's loss types that divide by the number of rows."""


class EchoWithDynamicSampling(DynamicSamplingTrainer, EchoTrainer):
    """Both trainers in one: `EchoWithDynamicSampling(..., echo=EchoConfig(..), largest_rounds=10)`.

    A batch grows by the rows with clips of dropped groups, up to a multiple of the number of micro-batches and to the
    same number in each process; `echo/extra_rows` counts them over all processes, and `tokens/trained` has their
    tokens. The other metrics of the echo are means over rounds. Raises ValueError for `entropy_policy="current"`, which
    chooses clips only after groups are dropped, and for an entropy bonus or a router loss beside a loss type that
    averages over rows.
    """

    _name = "EchoRL on DAPO"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._mines_at_update:
            raise ValueError("entropy_policy='current' would choose clips after dynamic sampling has dropped groups")
        if self.loss_type in ROW_MEANS and (self._entropy_bonus_enabled or self.aux_loss_enabled):
            raise ValueError(f"rows are added, so no other term may stand beside the row mean of {self.loss_type}")
        self._same_at_update = False
        self._rounds: list[dict[str, Any]] = []

    def _sampled_round(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._sampled_round(inputs)
        rows = len(inputs)
        output["echo_episode"] = torch.arange(rows, device=output["advantages"].device) + rows * len(self._rounds)
        self._rounds.append(output)
        return output

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rounds = []
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        kept = output.pop("echo_episode")
        if len(self._rounds) == 1 or self._echo_weight == 0:
            return output
        sampled = joined_batches(self._rounds, self._tokenizer.pad_token_id)
        divisors = torch.stack([self._clips_counted(batch["echo_weights"]) for batch in self._rounds])
        share = self.accelerator.gather(divisors[None]).sum(dim=0)
        share = share / share.sum().clamp(min=1)
        sampled["echo_weights"] = sampled["echo_weights"] * share.repeat_interleave(len(inputs))[:, None].float()
        return self._with_dropped_clips(sampled, kept) | {"num_items_in_batch": output["num_items_in_batch"]}

    def _clips_counted(self, weights: torch.Tensor) -> torch.Tensor:
        """What the weights (rows, tokens) of a round were divided by, this process's part."""
        tokens = weights.ne(0)
        if self.echo.reduction == "tokens":
            return tokens.sum().double()
        groups = tokens.view(-1, self.num_generations, tokens.shape[1]).flatten(1).any(dim=1)
        return (torch.ones_like(groups) if self.echo.reduction == "all_groups" else groups).sum().double()

    def _with_dropped_clips(self, sampled: dict[str, Any], kept: torch.Tensor) -> dict[str, Any]:
        """The rows `kept`, then those of dropped groups that hold a clip, which only the echo reads."""
        has_clip = sampled["echo_weights"].ne(0).any(dim=1)
        dropped = has_clip.clone()
        dropped[kept] = False
        extra = dropped.nonzero()[:, 0]
        counts = self.accelerator.gather(torch.tensor([len(extra)], device=kept.device))
        self._log("echo/extra_rows", float(counts.sum()))
        parts = self.args.steps_per_generation
        # Rows that nobody reads make up the number: a micro-batch has as many rows as any other, in every process.
        unread = -(-int(counts.max()) // parts) * parts - len(extra)
        output = select_rows(sampled, torch.cat([kept, extra, kept[:1].expand(unread)]))
        place = torch.arange(len(output["advantages"]), device=kept.device)
        policy_reads, echo_reads = place < len(kept), place < len(kept) + len(extra)
        output["advantages"] = torch.where(policy_reads, output["advantages"], 0.0)
        output["echo_weights"] = torch.where(echo_reads[:, None], output["echo_weights"], 0.0)
        clips = output["echo_weights"].ne(0).any(dim=1)
        self._log_trained_tokens(output, has_advantage(output["advantages"]) | clips)
        written = output.get("tool_mask", torch.ones_like(output["completion_mask"]))
        output["tool_mask"] = torch.where(policy_reads[:, None], written, 0)
        return output

    def _share_of_rows(self, kept: dict[str, Any], inputs: dict[str, Any]) -> float:
        # Without the rows that were added a micro-batch has as many as the arguments say.
        return len(kept["advantages"]) / self.args.per_device_train_batch_size if self.loss_type in ROW_MEANS else 1.0
