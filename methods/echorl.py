"""EchoRL: the high-entropy prefix of a success, echoed as an auxiliary loss (Bi et al. 2026, arXiv 2605.31228).

    V       = the episodes of a group that succeed
    s*      = argmax over the steps s of all of V of the mean token entropy of s
    o_echo  = the episode that holds s*, from its first token to the end of s*
    NLL     = -1/|o_echo| sum_t log pi(o_echo,t | q, o_echo,<t)
    loss    = loss of GRPO + lambda * mean over groups with a clip of NLL,          lambda = 0.001

The only change with respect to GRPO is the second term, which is there for groups whose advantages are all zero. It
is read off the forward pass of the policy loss; |o_echo| and the sum count the tokens the policy loss reads.

What was read: the abstracts, the configuration in the authors' scripts and one digest that carries the formulas. The
body of the paper was not read, and the released code does not contain the method. So each choice that those sources
leave open is a switch of `EchoConfig`, and its default follows the digest. Deviations and additions: an episode of
several turns is also cut into steps between turns; without published newline ids a step ends at any token whose text
holds a newline; where a generation batch is spread over several optimiser steps, the mean over groups with a clip is
taken over the generation batch, so that the update does not depend on how it is split or shuffled.
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
    best_steps,
    choose_clips,
    echoable_rows,
    find_steps,
    token_weights,
    uniform_keys,
)
from methods.entropies import GRPOWithEntropies
from methods.grpo import has_advantage, paper_of, policy_tokens
from methods.steps import newline_tokens

__all__ = ["PUBLISHED_NEWLINE_TOKEN_IDS", "EchoConfig", "EchoTrainer"]


@dataclass(frozen=True)
class _EchoBatch:
    """What the choice of clips needs to know of a generation batch over all processes; echoable: (rows,)."""

    words: tuple[int, ...]
    echoable: torch.Tensor
    local_rows: int


class EchoTrainer(GRPOWithEntropies):
    """`trl.GRPOTrainer` with the echo: `EchoTrainer(model, reward_funcs, args=GRPOConfig(..), echo=EchoConfig(..))`.

    Logs `echo/loss` (lambda * NLL, as added) and, of the clips of each generation batch, `echo/groups_with_clip` (share
    of groups), `echo/clip_tokens`, `echo/clip_share` (of their episodes), `echo/step_tokens`, `echo/step_entropy`,
    `echo/short_steps` (share of picked steps of 3 tokens or fewer), `echo/short_steps_of_pool` (the same for all steps
    that could have been picked) and `echo/first_steps` (share of clips whose step is the episode's first).

    Where each batch is used once and its groups are whole, the entropies of the policy's forward pass choose the clips
    and no pass is added. Raises ValueError where `entropy_policy="current"` meets batches that may split a group.
    """

    _name = "EchoRL"
    _tag_names: tuple[str, ...] = ("trl", "grpo", "echorl")
    _paper = paper_of("EchoRL: Reinforcement Learning via Rollout Echoing", "2605.31228")
    _echo_batch: _EchoBatch  # Of the last generation batch, where clips are chosen at the update.
    _forward: tuple[torch.Tensor, torch.Tensor]  # Log-probabilities and entropies of the policy loss.
    _watching = _clips_are_due = False

    def __init__(self, *args: Any, echo: EchoConfig | None = None, **kwargs: Any) -> None:
        self.echo = echo or EchoConfig()
        super().__init__(*args, **kwargs)
        whole_groups = self.args.steps_per_generation == 1
        whole_groups = whole_groups and self.args.per_device_train_batch_size % self.num_generations == 0
        self._mines_at_update = self.echo.entropy_policy == "current" and self.echo.reads_entropies
        # With one update a batch the policy being updated is the one that sampled.
        once = whole_groups and self.args.steps_per_generation * self.num_iterations == 1
        self._same_at_update = once and self.echo.reads_entropies
        self._wants_entropies = self.echo.reads_entropies and not self._mines_at_update
        if self._mines_at_update and not whole_groups:
            raise ValueError(
                "entropy_policy='current' chooses clips within a micro-batch, so it needs steps_per_generation=1 and a "
                f"per-device batch of whole groups; got {self.args.steps_per_generation} and "
                f"{self.args.per_device_train_batch_size} rows for groups of {self.num_generations}"
            )
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
        batch = self._new_batch(inputs)
        rows = torch.arange(len(inputs), device=batch.echoable.device)
        no_pass = "old_per_token_logps" not in output and any(row.get("entropies") is None for row in inputs)
        if self._mines_at_update or (self._same_at_update and no_pass):
            self._echo_batch, self._clips_are_due = batch, True
            output["echo_row"] = rows
            return output
        if self._wants_entropies:
            entropies = self._rollout_entropies(inputs, output, batch.echoable[self._local_slice(len(inputs))])
        else:
            entropies = torch.zeros_like(output["completion_mask"], dtype=torch.float32)
        clips = self._clips(batch, output, entropies, rows)
        output["echo_weights"] = token_weights(clips, policy_tokens(output)).float()
        return output

    def _new_batch(self, inputs: list[dict[str, Any]]) -> _EchoBatch:
        success = self._successes
        groups = torch.arange(len(success), device=success.device) // self.num_generations
        echoable = echoable_rows(success, groups, self.echo.scope)
        if not self.echo.include_demonstrations:
            shown = torch.tensor([bool(row.get("demonstration", False)) for row in inputs], device=success.device)
            echoable = echoable & ~self.accelerator.gather(shown)
        return _EchoBatch((self.echo.seed, *self._next_address()), echoable, len(inputs))

    @property
    def _echo_weight(self) -> float:
        return self.echo.weight if self.state.global_step >= self.echo.start_step else 0.0

    def _clips(self, batch: _EchoBatch, inputs: dict[str, Any], entropies: torch.Tensor, places: torch.Tensor) -> Clips:
        """The clips of the rows of `inputs`, which are the rows `places` of this process's batch.

        Groups may be spread over processes: only one candidate a row is exchanged, and every process chooses alike.
        """
        local = self._local_slice(batch.local_rows)
        ids, policy = inputs["completion_ids"], policy_tokens(inputs)
        steps = find_steps(self._newlines[ids], policy, self._ends[ids], entropies.detach(), self.echo.split)
        keys = uniform_keys(batch.words, places + local.start, entropies.shape[1])
        found = best_steps(steps, keys, self.echo).as_table()
        table = found.new_zeros(batch.local_rows, found.shape[1])
        table[:, 0] = -torch.inf
        table[places] = found
        candidates = RowCandidates.from_table(self.accelerator.gather(table))
        rows = torch.arange(len(batch.echoable), device=found.device)
        groups = rows // self.num_generations
        group_count = len(rows) // self.num_generations
        clips = choose_clips(candidates, batch.echoable, rows, groups, self.echo, group_count)
        self._log_clips(candidates, clips, batch.echoable, groups)
        mine = places + local.start
        return Clips(clips.first[mine], clips.last[mine], clips.token_weight[mine])

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
        if self.echo.reads_entropies:
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
