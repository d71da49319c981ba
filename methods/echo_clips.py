"""The tokens that EchoRL echoes: steps, their entropies, and the clip of a group (specification of EchoRL, 2.2, 2.3).

A row is an episode's completion. Its policy tokens are those that the loss reads (`completion_mask * tool_mask`);
positions are counted in policy tokens, so that a clip [first, last) is the same thing with and without environment
text in between. Nothing here loops over tokens, rows or groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from methods.steps import step_starts

Reduction = Literal["groups_with_clip", "all_groups", "tokens"]

# "\n" and "\n\n" in the vocabularies of Qwen 2, Qwen 2.5 and Llama 3 (appendix A-D).
PUBLISHED_NEWLINE_TOKEN_IDS = (198, 271)


@dataclass(frozen=True)
class EchoConfig:
    """The one extra configuration of EchoRL: lambda and the choices that the paper leaves open.

    weight: lambda. newline_token_ids: as published by id; None means every token whose text holds a newline.
    minimum_step_tokens: shorter steps are not chosen. reduction: the mean over groups with a clip, over all groups, or
    over clip tokens. start_step, stop_step: the echo is on from the one optimiser step to before the other (windows of
    appendix A-C). Raises ValueError for a value outside its range.
    """

    weight: float = 1e-3
    newline_token_ids: tuple[int, ...] | None = None
    minimum_step_tokens: int = 1
    reduction: Reduction = "groups_with_clip"
    start_step: int = 0
    stop_step: int | None = None

    def __post_init__(self) -> None:
        if self.reduction not in get_args(Reduction):
            raise ValueError(f"reduction must be one of {', '.join(get_args(Reduction))}, got {self.reduction!r}")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight must be finite and not negative, got {self.weight}")
        if self.minimum_step_tokens < 1:
            raise ValueError(f"minimum_step_tokens must be at least 1, got {self.minimum_step_tokens}")
        if self.start_step < 0 or (self.stop_step is not None and self.stop_step < self.start_step):
            raise ValueError(f"0 <= start_step <= stop_step is needed, got {self.start_step} and {self.stop_step}")

    def weight_at(self, step: int) -> float:
        """Lambda at an optimiser step, from 0."""
        return self.weight if self.start_step <= step and (self.stop_step is None or step < self.stop_step) else 0.0


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


def find_steps(newline: torch.Tensor, policy: torch.Tensor, end: torch.Tensor, entropies: torch.Tensor) -> Steps:
    """The steps of every row with their mean token entropy (equation 6).

    newline, policy, end: (rows, tokens) booleans, see `step_starts`; entropies: (rows, tokens) in nats, read at policy
    tokens only.
    """
    return steps_from(step_starts(newline, policy, end), policy, entropies)


def steps_from(starts: torch.Tensor, policy: torch.Tensor, entropies: torch.Tensor) -> Steps:
    """The steps that begin at `starts`; all are (rows, tokens)."""
    slot = (starts.long().cumsum(dim=1) - 1).clamp(min=0)
    lengths = torch.zeros_like(slot).scatter_add_(1, slot, policy.long())
    # Double precision, so that equal means are equal whatever stands around them.
    read = torch.where(policy, entropies, 0.0).double()
    totals = torch.zeros_like(read).scatter_add_(1, slot, read)
    last = lengths.cumsum(dim=1)
    return Steps(torch.where(lengths > 0, totals / lengths, torch.nan), last - lengths, last)


@dataclass(frozen=True)
class RowCandidates:
    """Each row's best step, the small table that processes exchange. All are (rows,), float64.

    score: -inf where the row has no step to offer; first, last, tokens: the step and the row's length in policy tokens;
    entropy: of the step; steps, short: the row's steps, and those of 3 tokens or fewer.
    """

    score: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    tokens: torch.Tensor
    entropy: torch.Tensor
    steps: torch.Tensor
    short: torch.Tensor

    def as_table(self) -> torch.Tensor:
        """(rows, fields)."""
        return torch.stack(list(vars(self).values()), dim=1).double()

    @staticmethod
    def from_table(table: torch.Tensor) -> RowCandidates:
        return RowCandidates(*table.unbind(dim=1))


def best_steps(steps: Steps, score: torch.Tensor, minimum_tokens: int = 1) -> RowCandidates:
    """The step of each row with the highest score (rows, slots), among equals the first; shorter ones do not count."""
    lengths = steps.lengths
    score = torch.where(lengths >= minimum_tokens, score, -torch.inf)
    best = score.argmax(dim=1, keepdim=True)

    def at(values: torch.Tensor) -> torch.Tensor:
        return values.gather(1, best)[:, 0].double()

    return RowCandidates(
        score=at(score),
        first=at(steps.first),
        last=at(steps.last),
        tokens=lengths.sum(dim=1).double(),
        entropy=at(steps.mean_entropy),
        steps=(lengths > 0).sum(dim=1).double(),
        short=((lengths > 0) & (lengths <= 3)).sum(dim=1).double(),
    )


def best_row_of_groups(score: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """(rows,) booleans: the row of the highest score in each group, the first among equals; -inf is nobody.

    groups: 0, 1, .. for each row.
    """
    count, rows = int(groups.max()) + 1, torch.arange(len(score), device=score.device)
    highest = score.new_full((count,), -torch.inf).scatter_reduce_(0, groups, score, "amax")
    best = (score == highest[groups]) & (score > -torch.inf)
    named = torch.where(best, rows, len(score))
    first = rows.new_full((count,), len(score)).scatter_reduce_(0, groups, named, "amin")
    return best & (rows == first[groups])


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


def choose_clips(
    candidates: RowCandidates, echoable: torch.Tensor, groups: torch.Tensor, group_count: int, reduction: Reduction
) -> Clips:
    """The clips of all groups and their weights (equations 7 to 9): one per group, from the episode's first token.

    candidates, echoable, groups: one entry per row, of all rows. group_count: how many groups there are, with and
    without a clip.
    """
    chosen = best_row_of_groups(torch.where(echoable, candidates.score, -torch.inf), groups)
    last = candidates.last.long()
    return weighted_clips(chosen, torch.zeros_like(last), last, groups, group_count, reduction)


def weighted_clips(
    chosen: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    groups: torch.Tensor,
    group_count: int,
    reduction: Reduction,
) -> Clips:
    """Clips [first, last) in the rows `chosen`, with their weights; the clips of a group share the weight of one."""
    first, last = torch.where(chosen, first, 0), torch.where(chosen, last, 0)
    lengths = (last - first).double()
    clips_of_group = torch.zeros(group_count, dtype=torch.float64, device=chosen.device)
    clips_of_group.scatter_add_(0, groups, chosen.double())
    if reduction == "tokens":
        weight = chosen / lengths.sum().clamp(min=1.0)
    else:
        divisor = group_count if reduction == "all_groups" else (clips_of_group > 0).sum().clamp(min=1)
        weight = chosen / (lengths * clips_of_group[groups]).clamp(min=1.0) / divisor
    return Clips(first, last, weight)


def token_weights(clips: Clips, policy: torch.Tensor) -> torch.Tensor:
    """(rows, tokens): each clip token's weight, 0 elsewhere and on whatever the policy did not write."""
    place = policy.long().cumsum(dim=1) - 1
    inside = policy & (place >= clips.first[:, None]) & (place < clips.last[:, None])
    return torch.where(inside, clips.token_weight[:, None], 0.0)
