"""Which tokens EchoRL echoes: steps, their entropies, and the clip of a group (specification of EchoRL, 2.2, 2.3, 6).

A row is an episode's completion. Its policy tokens are those that the loss reads (`completion_mask * tool_mask`);
positions are counted in policy tokens, so that a clip [first, last) is the same thing with and without environment
text in between. Nothing here loops over tokens, rows or groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from methods.steps import step_starts

Selection = Literal["highest_entropy", "lowest_entropy", "random", "last_step", "length_matched_random"]
Extent = Literal["prefix", "step", "rollout"]
Scope = Literal["any_success", "all_success"]
Unit = Literal["group", "rollout"]
Split = Literal["newline", "rollout"]
Reduction = Literal["groups_with_clip", "all_groups", "tokens"]
EntropyPolicy = Literal["rollout", "current"]

# "\n" and "\n\n" in the vocabularies of Qwen 2, Qwen 2.5 and Llama 3 (official script, `newline_token_ids`).
PUBLISHED_NEWLINE_TOKEN_IDS = (198, 271)


@dataclass(frozen=True)
class EchoConfig:
    """The one extra configuration of EchoRL: lambda and every choice that the readable sources leave open (section 6).

    weight: lambda. selection: which step ends the clip; `highest_entropy` is the method, the others are controls:
    `random` draws a step of the pool, `last_step` the last step of a success drawn at random, `length_matched_random`
    takes the peak's positions to another success drawn at random. extent: echo everything up to the step, the step
    alone, or all of the step's episode. scope: groups with a success, or only those where every episode succeeds.
    unit: one clip a group or one a success; the clips of a group then share the weight of one. split: steps end at
    newlines, or an episode is one step. newline_token_ids: as published by id; None means every token whose text holds
    a newline. minimum_step_tokens: shorter steps are not chosen. entropy_policy: the policy that sampled, or the one
    being updated (the same without a second pass when every batch is used once). reduction: the mean over groups with
    a clip, over all groups, or over clip tokens. start_step: optimiser steps before the echo begins.
    include_demonstrations: may rows whose column `demonstration` is true be echoed? seed: of the random selections.

    Raises ValueError for a value outside its range.
    """

    weight: float = 1e-3
    selection: Selection = "highest_entropy"
    extent: Extent = "prefix"
    scope: Scope = "any_success"
    unit: Unit = "group"
    split: Split = "newline"
    newline_token_ids: tuple[int, ...] | None = None
    minimum_step_tokens: int = 1
    entropy_policy: EntropyPolicy = "rollout"
    reduction: Reduction = "groups_with_clip"
    start_step: int = 0
    include_demonstrations: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        kinds = {"selection": Selection, "extent": Extent, "scope": Scope, "unit": Unit, "split": Split}
        kinds |= {"entropy_policy": EntropyPolicy, "reduction": Reduction}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight must be finite and not negative, got {self.weight}")
        if self.minimum_step_tokens < 1:
            raise ValueError(f"minimum_step_tokens must be at least 1, got {self.minimum_step_tokens}")
        if self.start_step < 0 or self.seed < 0:
            raise ValueError(f"start_step and seed must not be negative, got {self.start_step} and {self.seed}")
        if self.unit == "rollout" and self.selection == "length_matched_random":
            raise ValueError("length_matched_random takes one clip a group: set unit to group")

    @property
    def reads_entropies(self) -> bool:
        """Whether the choice of clips depends on entropies at all."""
        return self.selection in ("highest_entropy", "lowest_entropy", "length_matched_random")


@dataclass(frozen=True)
class Steps:
    """The steps of each row. All are (rows, slots); slot s holds step s and is empty where first == last.

    mean_entropy in nats, NaN in empty slots; first and last in policy tokens, last exclusive.
    """

    mean_entropy: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        return self.last - self.first


def find_steps(
    newline: torch.Tensor, policy: torch.Tensor, end: torch.Tensor, entropies: torch.Tensor, split: Split = "newline"
) -> Steps:
    """The steps of every row with their mean token entropy (section 2.2).

    newline, policy, end: (rows, tokens) booleans, see `step_starts`; entropies: (rows, tokens) in nats, read at policy
    tokens only.
    """
    if split == "rollout":
        starts = policy & (policy.long().cumsum(dim=1) == 1)
    else:
        starts = step_starts(newline, policy, end)
    slot = (starts.long().cumsum(dim=1) - 1).clamp(min=0)
    lengths = torch.zeros_like(slot).scatter_add_(1, slot, policy.long())
    # Double precision, so that equal means are equal whatever stands around them.
    read = torch.where(policy, entropies, 0.0).double()
    totals = torch.zeros_like(read).scatter_add_(1, slot, read)
    last = lengths.cumsum(dim=1)
    return Steps(torch.where(lengths > 0, totals / lengths, torch.nan), last - lengths, last)


def uniform_keys(words: tuple[int, ...], rows: torch.Tensor, width: int) -> torch.Tensor:
    """(rows, width) numbers in [0, 1), a function of `words`, the row's number and the column alone.

    They do not depend on how rows are spread over processes. Source: SplitMix64 (Steele, Lea and Flood 2014).
    """
    seed = np.random.SeedSequence(words).generate_state(1, np.uint64)[0]
    columns = np.arange(width, dtype=np.uint64)
    value = rows.cpu().numpy().astype(np.uint64)[:, None] * np.uint64(1 << 32) + columns
    value = (value + seed) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value = (value ^ (value >> np.uint64(31))) >> np.uint64(11)
    return torch.from_numpy(value.astype(np.float64) / 2.0**53).to(rows.device)


@dataclass(frozen=True)
class RowCandidates:
    """Each row's best step, the small table that processes exchange. All are (rows,), float64.

    score: -inf where the row has no step to offer; first, last, tokens: the step and the row's length in policy tokens;
    entropy: of the step; key: in [0, 1), for random choices among rows; steps, short: the row's steps, and those of 3
    tokens or fewer.
    """

    score: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    tokens: torch.Tensor
    entropy: torch.Tensor
    key: torch.Tensor
    steps: torch.Tensor
    short: torch.Tensor

    def as_table(self) -> torch.Tensor:
        """(rows, fields)."""
        return torch.stack(list(vars(self).values()), dim=1).double()

    @staticmethod
    def from_table(table: torch.Tensor) -> RowCandidates:
        return RowCandidates(*table.unbind(dim=1))


def best_steps(steps: Steps, keys: torch.Tensor, config: EchoConfig) -> RowCandidates:
    """The step each row would be cut at; among equals the first. keys: (rows, slots) in [0, 1)."""
    lengths = steps.lengths
    if config.selection == "lowest_entropy":
        score = -steps.mean_entropy
    elif config.selection == "random":
        score = keys
    elif config.selection == "last_step":
        tokens = lengths.sum(dim=1, keepdim=True)
        score = torch.where(steps.last == tokens, keys[:, :1], -torch.inf)
    else:
        score = steps.mean_entropy
    score = torch.where(lengths >= config.minimum_step_tokens, score, -torch.inf)
    best = score.argmax(dim=1, keepdim=True)

    def at(values: torch.Tensor) -> torch.Tensor:
        return values.gather(1, best)[:, 0].double()

    return RowCandidates(
        score=at(score),
        first=at(steps.first),
        last=at(steps.last),
        tokens=lengths.sum(dim=1).double(),
        entropy=at(steps.mean_entropy),
        key=keys[:, 0].double(),
        steps=(lengths > 0).sum(dim=1).double(),
        short=((lengths > 0) & (lengths <= 3)).sum(dim=1).double(),
    )


def best_row_of_groups(score: torch.Tensor, rows: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """(rows,) booleans: the row of the highest score in each group, the lowest number among equals; -inf is nobody.

    rows: numbers that order the rows; groups: 0, 1, .. for each row.
    """
    count = int(groups.max()) + 1
    highest = score.new_full((count,), -torch.inf).scatter_reduce_(0, groups, score, "amax")
    best = (score == highest[groups]) & (score > -torch.inf)
    beyond = int(rows.max()) + 1
    named = torch.where(best, rows, beyond)
    lowest = rows.new_full((count,), beyond).scatter_reduce_(0, groups, named, "amin")
    return best & (rows == lowest[groups])


@dataclass(frozen=True)
class Clips:
    """The clip of each row. first, last: (rows,) in policy tokens, equal where the row has none; token_weight: (rows,).

    token_weight is what each token of the clip adds to the echo: the echo is the weighted sum of the negative
    log-probabilities of all clip tokens.
    """

    first: torch.Tensor
    last: torch.Tensor
    token_weight: torch.Tensor

    @property
    def chosen(self) -> torch.Tensor:
        return self.last > self.first


def echoable_rows(success: torch.Tensor, groups: torch.Tensor, scope: Scope) -> torch.Tensor:
    """(rows,) booleans: successes, of any group or only of groups in which every episode succeeds."""
    if scope == "any_success":
        return success
    failures = torch.zeros_like(groups).scatter_add_(0, groups, (~success).long())
    return success & (failures[groups] == 0)


def choose_clips(
    candidates: RowCandidates,
    echoable: torch.Tensor,
    rows: torch.Tensor,
    groups: torch.Tensor,
    config: EchoConfig,
    group_count: int,
) -> Clips:
    """The clips of all groups (section 2.3) and their weights (section 2.4).

    candidates, echoable, rows, groups: one entry a row, of all rows of the groups that can be echoed. group_count: how
    many groups there are, with and without a clip.
    """
    score = torch.where(echoable, candidates.score, -torch.inf)
    if config.unit == "rollout":
        chosen = score > -torch.inf
    else:
        chosen = best_row_of_groups(score, rows, groups)
    first, last, tokens = candidates.first.long(), candidates.last.long(), candidates.tokens.long()
    if config.selection == "length_matched_random":
        chosen, first, last = _matched(chosen, first, last, tokens, candidates.key, echoable, rows, groups)
    if config.extent == "rollout":
        last = tokens
    if config.extent != "step":
        first = torch.zeros_like(first)
    first, last = torch.where(chosen, first, 0), torch.where(chosen, last, 0)
    lengths = (last - first).double()
    clips_of_group = torch.zeros(group_count, dtype=torch.float64, device=score.device)
    clips_of_group.scatter_add_(0, groups, chosen.double())
    if config.reduction == "tokens":
        weight = chosen / lengths.sum().clamp(min=1.0)
    else:
        divisor = group_count if config.reduction == "all_groups" else (clips_of_group > 0).sum().clamp(min=1)
        weight = chosen / (lengths * clips_of_group[groups]).clamp(min=1.0) / divisor
    return Clips(first, last, weight)


def _matched(
    peak: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    tokens: torch.Tensor,
    key: torch.Tensor,
    echoable: torch.Tensor,
    rows: torch.Tensor,
    groups: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The peak's positions on another success of its group, drawn by key; on the peak's own row where it is alone."""
    count = int(groups.max()) + 1

    def of_peak(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(count).scatter_add_(0, groups, torch.where(peak, values, 0))[groups]

    has_peak = of_peak(torch.ones_like(first)) > 0
    other = torch.where(peak, key - 1.0, key)
    chosen = best_row_of_groups(torch.where(echoable & has_peak, other, -torch.inf), rows, groups)
    matched_last = torch.minimum(of_peak(last), tokens)
    matched_first = (matched_last - of_peak(last - first)).clamp(min=0)
    return chosen, matched_first, matched_last


def token_weights(clips: Clips, policy: torch.Tensor) -> torch.Tensor:
    """(rows, tokens): each clip token's weight, 0 elsewhere and on whatever the policy did not write."""
    place = policy.long().cumsum(dim=1) - 1
    inside = policy & (place >= clips.first[:, None]) & (place < clips.last[:, None])
    return torch.where(inside, clips.token_weight[:, None], 0.0)
