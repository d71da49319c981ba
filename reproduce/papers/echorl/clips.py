"""Controls of the choice of clips: other steps, other extents, other groups than the method's.

`selection`: which step ends the clip. `highest_entropy` is the method; `lowest_entropy` takes the step of lowest mean
entropy, `random` a step of the pool, `last_step` the last step of a success drawn at random, `length_matched_random`
the peak's positions in another success drawn at random. `extent`: everything up to the step, the step alone, or all of
the step's episode. `scope`: groups with a success, or only those where every episode succeeds. `unit`: one clip per
group, or one per success. `split`: steps end at newlines, or an episode is one step.

Two rivals are such choices: VAPO's positive examples (arXiv 2504.05118, every token of every success) and an imitation
like ExGRPO's (arXiv 2510.02245, the whole success of lowest mean entropy).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from methods.echo_clips import (
    Clips,
    EchoConfig,
    RowCandidates,
    Steps,
    best_row_of_groups,
    best_steps,
    steps_from,
    weighted_clips,
)
from methods.echorl import EchoTrainer
from methods.grpo import policy_tokens
from methods.rivals.dynamic_sampling import EchoWithDynamicSampling

Selection = Literal["highest_entropy", "lowest_entropy", "random", "last_step", "length_matched_random"]
Extent = Literal["prefix", "step", "rollout"]
Scope = Literal["any_success", "all_success"]
Unit = Literal["group", "rollout"]
Split = Literal["newline", "rollout"]


@dataclass(frozen=True)
class ClipConfig(EchoConfig):
    """The method's configuration and a choice of clips. seed: of the random selections. Raises ValueError for an
    unknown choice."""

    selection: Selection = "highest_entropy"
    extent: Extent = "prefix"
    scope: Scope = "any_success"
    unit: Unit = "group"
    split: Split = "newline"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = {"selection": Selection, "extent": Extent, "scope": Scope, "unit": Unit, "split": Split}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if self.unit == "rollout" and self.selection == "length_matched_random":
            raise ValueError("length_matched_random takes one clip a group: set unit to group")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


class ClipTrainer(EchoTrainer):
    """`EchoTrainer` with clips chosen as `echo`, a `ClipConfig`, says."""

    echo: ClipConfig
    _words: tuple[int, ...] = ()

    def _echoable(self, inputs: list[dict[str, Any]]) -> torch.Tensor:
        # The address of this batch: what its random choices are drawn by.
        self._words = (self.echo.seed, *self._next_address())
        groups = torch.arange(len(self._successes), device=self._successes.device) // self.num_generations
        return super()._echoable(inputs) & in_scope(self._successes, groups, self.echo.scope)

    def _steps(self, inputs: dict[str, Any], entropies: torch.Tensor) -> Steps:
        if self.echo.split == "rollout":
            return whole_episodes(policy_tokens(inputs), entropies)
        return super()._steps(inputs, entropies)

    def _candidates(self, steps: Steps, rows: torch.Tensor) -> RowCandidates:
        return candidates_of(steps, rows, self.echo, self._words)

    def _choose(
        self, candidates: RowCandidates, echoable: torch.Tensor, groups: torch.Tensor, group_count: int
    ) -> Clips:
        return clips_of(candidates, echoable, groups, group_count, self.echo, self._words)


class ClipTrainerOnDapo(EchoWithDynamicSampling, ClipTrainer):
    """The same on DAPO."""


def in_scope(success: torch.Tensor, groups: torch.Tensor, scope: Scope) -> torch.Tensor:
    """(rows,) booleans: successes, of any group or only of groups in which every episode succeeds."""
    if scope == "any_success":
        return success
    failures = torch.zeros_like(groups).scatter_add_(0, groups, (~success).long())
    return success & (failures[groups] == 0)


def whole_episodes(policy: torch.Tensor, entropies: torch.Tensor) -> Steps:
    """Each episode as one step; both are (rows, tokens)."""
    return steps_from(policy & (policy.long().cumsum(dim=1) == 1), policy, entropies)


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


def candidates_of(steps: Steps, rows: torch.Tensor, config: ClipConfig, words: tuple[int, ...]) -> RowCandidates:
    """The step each row would be cut at. rows: numbers of the rows; words: of the random numbers."""
    keys = uniform_keys(words, rows, steps.first.shape[1])
    score = steps.mean_entropy
    if config.selection == "lowest_entropy":
        score = -steps.mean_entropy
    elif config.selection == "random":
        score = keys
    elif config.selection == "last_step":
        score = torch.where(steps.last == steps.lengths.sum(dim=1, keepdim=True), keys[:, :1], -torch.inf)
    return best_steps(steps, score, config.minimum_step_tokens)


def clips_of(
    candidates: RowCandidates,
    echoable: torch.Tensor,
    groups: torch.Tensor,
    group_count: int,
    config: ClipConfig,
    words: tuple[int, ...],
) -> Clips:
    """The clips of all groups and their weights. candidates, echoable, groups: one entry per row, of all rows."""
    score = torch.where(echoable, candidates.score, -torch.inf)
    chosen = score > -torch.inf if config.unit == "rollout" else best_row_of_groups(score, groups)
    first, last, tokens = candidates.first.long(), candidates.last.long(), candidates.tokens.long()
    if config.selection == "length_matched_random":
        keys = uniform_keys(words, torch.arange(len(score), device=score.device), 1)[:, 0]
        chosen, first, last = _matched(chosen, first, last, tokens, keys, echoable, groups)
    if config.extent == "rollout":
        last = tokens
    if config.extent != "step":
        first = torch.zeros_like(first)
    return weighted_clips(chosen, first, last, groups, group_count, config.reduction)


def _matched(
    peak: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    tokens: torch.Tensor,
    key: torch.Tensor,
    echoable: torch.Tensor,
    groups: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The peak's positions on another success of its group, drawn by key; on the peak's own row where it is alone."""
    count = int(groups.max()) + 1

    def of_peak(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(count).scatter_add_(0, groups, torch.where(peak, values, 0))[groups]

    has_peak = of_peak(torch.ones_like(first)) > 0
    other = torch.where(peak, key - 1.0, key)
    chosen = best_row_of_groups(torch.where(echoable & has_peak, other, -torch.inf), groups)
    matched_last = torch.minimum(of_peak(last), tokens)
    matched_first = (matched_last - of_peak(last - first)).clamp(min=0)
    return chosen, matched_first, matched_last
