"""EchoRL: the high-entropy prefix of a success, echoed as an auxiliary loss (Bi et al. 2026, arXiv 2605.31228).

    V       = the episodes of a group that succeed
    s*      = argmax over the steps s of all of V of the mean token entropy of s
    o_echo  = the episode that holds s*, from its first token to the end of s*
    NLL     = -1/|o_echo| sum_t log pi(o_echo,t | q, o_echo,<t)
    loss    = loss of GRPO + lambda * mean over groups with a clip of NLL,          lambda = 0.001

The only change with respect to GRPO is the second term, which is there for groups whose advantages are all zero. It
is read off the forward pass of the policy loss; |o_echo| and the sum count the tokens the policy loss reads.

Read: the paper's full text, by way of its specification; the released code does not contain the method. Choices that
the paper leaves open are fields of `EchoConfig`. Deviations and additions: the sign is that of figure 2, for equation
10 as printed would make clips less likely; an episode of several turns is also cut into steps between turns; without
published newline ids a step ends at any token whose text holds a newline, and the end of a sequence belongs to the
last step; where a generation batch is spread over several optimiser steps, the mean over groups with a clip is taken
over the generation batch, so that the update does not depend on how it is split or shuffled. Episodes whose column
`demonstration` is true are not the model's own and never echoed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from methods.echo_clips import (
    PUBLISHED_NEWLINE_TOKEN_IDS,
    Clips,
    EchoConfig,
    RowCandidates,
    Steps,
    best_steps,
    choose_clips,
    find_steps,
    token_weights,
)
from methods.entropies import GRPOWithEntropies
from methods.grpo import has_advantage, paper_of, policy_tokens
from methods.steps import newline_tokens

__all__ = ["PUBLISHED_NEWLINE_TOKEN_IDS", "EchoConfig", "EchoTrainer"]


@dataclass(frozen=True)
class _EchoBatch:
    """A generation batch over all processes, as the choice of clips needs to know it; echoable: (rows,)."""

    echoable: torch.Tensor
    local_rows: int


class EchoTrainer(GRPOWithEntropies):
    """`trl.GRPOTrainer` with the echo: `EchoTrainer(model, reward_funcs, args=GRPOConfig(..), echo=EchoConfig(..))`.

    Logs `echo/loss` (lambda * NLL, as added) and, of the clips of each generation batch, `echo/groups_with_clip` (share
    of groups), `echo/clip_tokens`, `echo/clip_share` (of their episodes), `echo/step_tokens`, `echo/step_entropy`,
    `echo/short_steps` (share of picked steps of 3 tokens or fewer), `echo/short_steps_of_pool` (the same for all steps
    that could have been picked) and `echo/first_steps` (share of clips whose step is the episode's first).

    Where each batch is used once and its groups are whole, the policy being updated is the one that sampled: then the
    entropies of its forward pass choose the clips and no pass is added.
    """

    _name = "EchoRL"
    _tag_names: tuple[str, ...] = ("trl", "grpo", "echorl")
    _paper = paper_of("EchoRL: Reinforcement Learning via Rollout Echoing", "2605.31228")
    _echo_batch: _EchoBatch  # Of the last generation batch, where clips are chosen at the update.
    _forward: tuple[torch.Tensor, torch.Tensor]  # Log-probabilities and entropies of the policy loss.
    _watching = _clips_are_due = False
    _wants_entropies = True

    def __init__(self, *args: Any, echo: EchoConfig | None = None, **kwargs: Any) -> None:
        self.echo = echo or EchoConfig()
        super().__init__(*args, **kwargs)
        whole_groups = self.args.per_device_train_batch_size % self.num_generations == 0
        self._mines_at_update = whole_groups and self.args.steps_per_generation * self.num_iterations == 1
        # The configuration knows the size whatever wraps or shards the embedding.
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        device = self.accelerator.device
        self._newlines = newline_tokens(self._tokenizer, vocabulary, self.echo.newline_token_ids).to(device)
        self._ends = torch.zeros_like(self._newlines)
        self._ends[[token for token in self.eos_token_ids if token is not None]] = True

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        batch = _EchoBatch(self._echoable(inputs), len(inputs))
        rows = torch.arange(len(inputs), device=batch.echoable.device)
        no_pass = "old_per_token_logps" not in output and any(row.get("entropies") is None for row in inputs)
        if self._mines_at_update and no_pass:
            self._echo_batch, self._clips_are_due = batch, True
            output["echo_row"] = rows
            return output
        entropies = self._rollout_entropies(inputs, output, batch.echoable[self._local_slice(len(inputs))])
        clips = self._clips(batch, output, entropies, rows)
        output["echo_weights"] = token_weights(clips, policy_tokens(output)).float()
        return output

    def _echoable(self, inputs: list[dict[str, Any]]) -> torch.Tensor:
        """(rows,) booleans over all processes: the successes V that the model sampled itself."""
        device = self._successes.device
        shown = torch.tensor([bool(row.get("demonstration", False)) for row in inputs], device=device)
        return self._successes & ~self.accelerator.gather(shown)

    @property
    def _echo_weight(self) -> float:
        return self.echo.weight_at(self.state.global_step)

    def _clips(self, batch: _EchoBatch, inputs: dict[str, Any], entropies: torch.Tensor, places: torch.Tensor) -> Clips:
        """The clips of the rows of `inputs`, which are the rows `places` of this process's batch.

        Groups may be spread over processes: only one candidate a row is exchanged, and every process chooses alike.
        """
        mine = places + self._local_slice(batch.local_rows).start
        found = self._candidates(self._steps(inputs, entropies.detach()), mine).as_table()
        table = found.new_zeros(batch.local_rows, found.shape[1])
        table[:, 0] = -torch.inf
        table[places] = found
        candidates = RowCandidates.from_table(self.accelerator.gather(table))
        groups = torch.arange(len(batch.echoable), device=found.device) // self.num_generations
        clips = self._choose(candidates, batch.echoable, groups, len(groups) // self.num_generations)
        self._log_clips(candidates, clips, batch.echoable, groups)
        return Clips(clips.first[mine], clips.last[mine], clips.token_weight[mine])

    def _steps(self, inputs: dict[str, Any], entropies: torch.Tensor) -> Steps:
        ids = inputs["completion_ids"]
        return find_steps(self._newlines[ids], policy_tokens(inputs), self._ends[ids], entropies)

    def _candidates(self, steps: Steps, rows: torch.Tensor) -> RowCandidates:
        """The step each row would be cut at. rows: numbers of the rows over all processes."""
        return best_steps(steps, steps.mean_entropy, self.echo.minimum_step_tokens)

    def _choose(
        self, candidates: RowCandidates, echoable: torch.Tensor, groups: torch.Tensor, group_count: int
    ) -> Clips:
        return choose_clips(candidates, echoable, groups, group_count, self.echo.reduction)

    def _log_clips(self, candidates: RowCandidates, clips: Clips, echoable: torch.Tensor, groups: torch.Tensor) -> None:
        chosen = clips.chosen
        self._log("echo/groups_with_clip", len(groups[chosen].unique()) / len(groups.unique()))
        if not chosen.any():
            return
        picked = (candidates.last - candidates.first)[chosen]
        lengths = (clips.last - clips.first)[chosen].double()
        self._log("echo/clip_tokens", float(lengths.mean()))
        self._log("echo/clip_share", float((lengths / candidates.tokens[chosen]).mean()))
        self._log("echo/step_tokens", float(picked.mean()))
        self._log("echo/short_steps", float((picked <= 3).double().mean()))
        self._log(
            "echo/short_steps_of_pool", float(candidates.short[echoable].sum() / candidates.steps[echoable].sum())
        )
        self._log("echo/first_steps", float((candidates.first[chosen] == 0).double().mean()))
        self._log("echo/step_entropy", float(candidates.entropy[chosen].mean()))

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if self._watching:
            self._forward = (found[0], found[1])
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        self._watching = True
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self._watching = False
        return loss + self._echo_weight * self._echo(inputs)

    def _trained_rows(self, inputs: dict[str, Any]) -> torch.Tensor:
        trained = super()._trained_rows(inputs)
        if not self.model.training or self._echo_weight == 0:
            return trained
        if "echo_weights" in inputs:
            return trained | has_advantage(inputs["echo_weights"])
        # Clips are chosen at the update, among these.
        batch = self._echo_batch
        return trained | batch.echoable[self._local_slice(batch.local_rows)][inputs["echo_row"]]

    def _echo(self, inputs: dict[str, Any]) -> torch.Tensor:
        """This micro-batch's part of the mean NLL of the clips, scaled for accumulation and processes."""
        log_probabilities, entropies = self._forward
        del self._forward  # It holds the graph.
        if "echo_weights" in inputs:
            weights = inputs["echo_weights"]
        else:
            clips = self._clips(self._echo_batch, inputs, entropies, inputs["echo_row"])
            weights = token_weights(clips, policy_tokens(inputs)).to(log_probabilities.dtype)
            if self._clips_are_due:
                # Until now every row that might be echoed was counted.
                self._clips_are_due = False
                self._metrics["train"]["tokens/trained"].pop()
                self._log_trained_tokens([inputs | {"echo_weights": weights}])
        # The weights add up to one over the generation batch of all processes. Gradients are averaged over processes,
        # and a generation batch is spread over steps_per_generation / accumulation optimiser steps.
        nll = -(weights * log_probabilities).sum() * self.accelerator.num_processes * self.args.steps_per_generation
        self._log("echo/loss", self._echo_weight * float(self.accelerator.gather(nll.detach()).mean()))
        return nll / self.current_gradient_accumulation_steps
