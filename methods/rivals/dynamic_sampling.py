"""DAPO's dynamic sampling (Yu et al. 2025, arXiv 2503.14476), and EchoRL on top of it.

    DAPO:  keep a group iff 0 < sum r < G, resample until the batch is full; token mean; clip to [0.8, 1.28]
    both:  loss of DAPO on the groups it keeps + lambda * mean over ALL sampled groups with a clip of NLL

The change with respect to GRPO is which groups are trained, and the arguments of `dapo_settings`. Dynamic sampling
drops the groups in which every episode succeeds, which are those the echo is for. So clips are mined in each round
before groups are dropped, and the rows that hold clips of dropped groups are fed in addition: the policy loss does not
read them. EchoRL has DAPO among its bases, and does not say in which order the two work; mined after the filter, the
echo could touch mixed groups alone (specification of EchoRL, 2.5 and 3.7).

Deviations: DAPO's overlong reward shaping belongs to the reward function; with several updates per batch TRL divides by
their mean number of tokens (see `methods.grpo`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from methods.echorl import EchoTrainer
from methods.entropies import GRPOWithEntropies
from methods.grpo import has_images, paper_of, policy_tokens, take_rows

ROW_MEANS = ("grpo", "sapo", "dr_grpo", "luspo")
"""TRL's loss types that divide by the number of rows."""


def dapo_settings() -> dict[str, Any]:
    """Arguments of `trl.GRPOConfig` for DAPO's loss, to be used with `DynamicSamplingTrainer`."""
    return {"loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.28, "beta": 0.0}


class DynamicSamplingTrainer(GRPOWithEntropies):
    """DAPO's dynamic sampling: `DynamicSamplingTrainer(..., largest_rounds=10, resampling_seed=0)`.

    Groups with equal rewards are replaced by groups of other training prompts, drawn at random, until every place
    holds a mixed group or `largest_rounds` batches were sampled; places still degenerate then stay so. The first batch
    is the one the data loader gives. Logs `groups/resampling_rounds` and `groups/kept_mixed`; `tokens/sampled` and
    `episodes/sampled` count all rounds. Needs a training set with a length and whole groups in each process (ValueError
    otherwise); sampler columns other than text are those TRL itself understands.
    """

    _keeps_rows = False
    _name = "DAPO"
    _tag_names: tuple[str, ...] = ("trl", "grpo", "dapo")
    _paper = paper_of("DAPO: An Open-Source LLM Reinforcement Learning System at Scale", "2503.14476")

    def __init__(self, *args: Any, largest_rounds: int = 10, resampling_seed: int = 0, **kwargs: Any) -> None:
        if largest_rounds < 1 or resampling_seed < 0:
            raise ValueError(f"largest_rounds must be positive and the seed not negative, got {largest_rounds}")
        self.largest_rounds, self.resampling_seed = largest_rounds, resampling_seed
        super().__init__(*args, **kwargs)
        rows = self.args.per_device_train_batch_size * self.args.steps_per_generation
        if rows % self.num_generations:
            raise ValueError(f"{rows} rows a process do not divide into groups of {self.num_generations}")
        if not hasattr(self.train_dataset, "__len__"):
            raise ValueError("dynamic sampling draws prompts at random, so the training set needs a length")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        generator = np.random.default_rng(
            # The same prompts after a resume as without one, and others in each process.
            [self.resampling_seed, *self._next_address(), self.accelerator.process_index]
        )
        metrics = self._metrics["train"]
        before = len(metrics["tokens/sampled"])
        rounds, filled = [self._sampled_round(inputs)], self._mixed_groups(len(inputs))
        chosen = torch.arange(len(filled), device=filled.device)
        while len(rounds) < self.largest_rounds and not bool(self.accelerator.gather(filled).all()):
            rounds.append(self._sampled_round(self._drawn_prompts(generator, len(inputs))))
            chosen, filled = _replaced(chosen, filled, self._mixed_groups(len(inputs)), len(rounds) - 1)
        output = rounds[0]
        if len(rounds) > 1:
            members = torch.arange(self.num_generations, device=chosen.device)
            rows = (chosen[:, None] * self.num_generations + members).flatten()
            output = take_rows(joined_batches(rounds, self._tokenizer.pad_token_id), rows)
        output["num_items_in_batch"] = self.accelerator.gather(policy_tokens(output).sum()).sum()
        metrics["tokens/sampled"][before:] = [sum(metrics["tokens/sampled"][before:])]
        self._log("episodes/sampled", len(rounds) * len(self._total_rewards))
        self._log("groups/resampling_rounds", len(rounds) - 1)
        self._log("groups/kept_mixed", float(self.accelerator.gather(filled).double().mean()))
        return output

    def _sampled_round(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """One batch, as it is without dynamic sampling."""
        return super()._generate_and_score_completions(inputs)

    def _drawn_prompts(self, generator: np.random.Generator, rows: int) -> list[dict[str, Any]]:
        drawn = generator.integers(0, len(self.train_dataset), rows // self.num_generations)
        return [dict(self.train_dataset[int(place)]) for place in drawn for _ in range(self.num_generations)]

    def _mixed_groups(self, rows: int) -> torch.Tensor:
        """(groups,) booleans of this process's last batch: does it hold a success and a failure, both scored?"""
        local = self._local_slice(rows)
        success, known = self._successes[local], ~self._total_rewards[local].isnan()
        right, wrong = ((one & known).view(-1, self.num_generations).any(dim=1) for one in (success, ~success))
        return right & wrong


def _replaced(
    chosen: torch.Tensor, filled: torch.Tensor, usable: torch.Tensor, number: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`chosen` with its empty places taken by usable groups of round `number`, in order; and which are filled now.

    chosen: numbers of groups, counted through all rounds; filled, usable: booleans. All are (groups,).
    """
    places, sources = (~filled).nonzero()[:, 0], usable.nonzero()[:, 0]
    places, sources = places[: len(sources)], sources[: len(places)]
    chosen, filled = chosen.clone(), filled.clone()
    chosen[places], filled[places] = number * len(filled) + sources, True
    return chosen, filled


def joined_batches(batches: list[dict[str, Any]], padding_id: int) -> dict[str, Any]:
    """The rows of several batches as TRL makes them, one after the other, padded to the widest.

    Entries that are no column are those of the first. Raises ValueError for columns that are no tensors, and images.
    """
    if any(map(has_images, batches)):
        raise ValueError("dynamic sampling cannot merge batches with images")
    merged = dict(batches[0])
    for name, value in batches[0].items():
        if isinstance(value, list):
            raise ValueError(f"dynamic sampling cannot merge the column {name} of a batch")
        if torch.is_tensor(value) and value.ndim:
            padding = padding_id if name in ("prompt_ids", "completion_ids") else 0
            merged[name] = _padded_together([batch[name] for batch in batches], name.startswith("prompt_"), padding)
    return merged


def _padded_together(values: list[torch.Tensor], left: bool, padding: int) -> torch.Tensor:
    """(all rows, tokens), padded on the left or on the right; or (all rows,)."""
    if values[0].ndim > 1:
        width = max(value.shape[1] for value in values)
        missing = [width - value.shape[1] for value in values]
        sides = [(more, 0) if left else (0, more) for more in missing]
        values = [
            torch.nn.functional.pad(value, side, value=padding) for value, side in zip(values, sides, strict=True)
        ]
    return torch.cat(values)


class EchoWithDynamicSampling(DynamicSamplingTrainer, EchoTrainer):
    """Both trainers in one: `EchoWithDynamicSampling(..., echo=EchoConfig(..), largest_rounds=10)`.

    A batch grows by the rows with clips of dropped groups, up to a multiple of the number of micro-batches and to the
    same number in each process; `echo/extra_rows` counts them over all processes, and `tokens/trained` has their
    tokens. The other metrics of the echo are means over rounds. Raises ValueError for an entropy bonus or a
    router loss beside a loss type that averages over rows.
    """

    _name = "EchoRL on DAPO"
    _tag_names = (*EchoTrainer._tag_names, "dapo")
    _paper = EchoTrainer._paper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.loss_type in ROW_MEANS and (self._entropy_bonus_enabled or self.aux_loss_enabled):
            raise ValueError(f"rows are added, so no other term may stand beside the row mean of {self.loss_type}")
        self._mines_at_update = False  # At the update, groups have been dropped.
        self._rounds: list[dict[str, Any]] = []
        self._rows_fed = 1.0
        """Rows of a batch over those that the policy loss reads."""

    def _sampled_round(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._sampled_round(inputs)
        rows = len(inputs)
        output["echo_episode"] = torch.arange(rows, device=output["advantages"].device) + rows * len(self._rounds)
        self._rounds.append(output)
        return output

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rounds, self._rows_fed = [], 1.0
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
        """Divisor of the weights (rows, tokens) of a round, this process's part."""
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
        output = take_rows(sampled, torch.cat([kept, extra, kept[:1].expand(unread)]))
        place = torch.arange(len(output["advantages"]), device=kept.device)
        policy_reads, echo_reads = place < len(kept), place < len(kept) + len(extra)
        output["advantages"] = torch.where(policy_reads, output["advantages"], 0.0)
        output["echo_weights"] = torch.where(echo_reads[:, None], output["echo_weights"], 0.0)
        self._rows_fed = len(place) / len(kept)
        written = output.get("tool_mask", torch.ones_like(output["completion_mask"]))
        output["written"] = policy_tokens(output)
        output["tool_mask"] = torch.where(policy_reads[:, None], written, 0)
        return output

    def _written(self, inputs: dict[str, Any]) -> torch.Tensor:
        return inputs.get("written", policy_tokens(inputs))

    def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # A mean over rows is brought back to the rows that it would have been taken over.
        return super()._policy_loss(model, inputs) * (self._rows_fed if self.loss_type in ROW_MEANS else 1.0)
