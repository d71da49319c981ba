"""Other remedies for groups whose rewards are all equal, where GRPO's advantage is zero: the rivals of EchoRL.

    Dr. GRPO (2503.20783)      A = r - mean; token sum / constant                        `dr_grpo_settings`
    DAPO (2503.14476)          keep a group iff 0 < sum r < G, resample until the batch is full; token mean; clip
                               to [0.8, 1.28]                       `dapo_settings`, `DynamicSamplingTrainer`
    RL-ZVP (2509.21880)        in groups of equal rewards only: A_t = alpha H_t if all are right,
                               A_t = -alpha (max_k H_k - H_t) if all are wrong           `ZeroVarianceTrainer`
    sign advantage (2605.07689) A = 2 r - 1, without centring                             `SignAdvantageTrainer`
    positive examples (VAPO, 2504.05118)  loss + mu * token mean of the NLL of all right episodes, mu = 0.1
                                                                    `positive_example_echo`
    ExGRPO-like (2510.02245)   loss + lambda * NLL of the right episode of lowest mean entropy
                                                                    `lowest_entropy_success_echo`

The last two are EchoRL's loss with another choice of what is echoed, so they run through `methods.echorl.EchoTrainer`.
The only change with respect to GRPO is, in each, the formula on its line. What was read are summaries and public code
of these works (specification of EchoRL, section 10). Deviations: DAPO's overlong reward shaping belongs to the reward
function; of VAPO and ExGRPO only the imitation term is here, without value model or replay across steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from methods.echorl import EchoConfig, GRPOWithRolloutSignals
from methods.grpo import policy_tokens, select_rows


def dr_grpo_settings() -> dict[str, Any]:
    """Arguments of `trl.GRPOConfig` for Dr. GRPO; the constant is its `max_completion_length`."""
    return {"loss_type": "dr_grpo", "scale_rewards": "none"}


def dapo_settings() -> dict[str, Any]:
    """Arguments of `trl.GRPOConfig` for DAPO's loss, to be used with `DynamicSamplingTrainer`."""
    return {"loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.28, "beta": 0.0}


def positive_example_echo(weight: float = 0.1) -> EchoConfig:
    """Every token of every right episode is imitated with equal weight (VAPO's positive-example loss)."""
    return EchoConfig(weight=weight, selection="last_step", extent="rollout", unit="rollout", reduction="tokens")


def lowest_entropy_success_echo(weight: float = 1e-3) -> EchoConfig:
    """The whole right episode of lowest mean token entropy in its group is imitated (ExGRPO's choice)."""
    return EchoConfig(weight=weight, selection="lowest_entropy", extent="rollout", split="rollout")


class SignAdvantageTrainer(GRPOWithRolloutSignals):
    """A = 2 r - 1 for every row: right answers are pushed up and wrong ones down whatever the rest of the group did."""

    _name = "sign advantage"

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rewards = self._total_rewards[self._local_slice(len(inputs))]
        # A row that no reward function scored carries no signal.
        output["advantages"] = torch.nan_to_num(2.0 * rewards - 1.0, nan=0.0).to(output["advantages"].dtype)
        self._log_trained_tokens(output, output["advantages"] != 0)
        return output


class ZeroVarianceTrainer(GRPOWithRolloutSignals):
    """RL-ZVP: `ZeroVarianceTrainer(..., alpha=0.1)`; groups of equal rewards get advantages from token entropies.

    alpha: weight of the entropies, in advantage per nat (the default is ours). A group of equal total rewards is all
    right where its episodes succeed, else all wrong. Raises ValueError for a negative alpha.
    """

    _name = "RL-ZVP"
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
        self._log_trained_tokens(output, output["advantages"].ne(0).any(dim=1))
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


class DynamicSamplingTrainer(GRPOWithRolloutSignals):
    """DAPO's dynamic sampling: `DynamicSamplingTrainer(..., largest_rounds=10, resampling_seed=0)`.

    Groups with equal rewards are replaced by groups of other training prompts, drawn at random, until every place
    holds a mixed group or `largest_rounds` batches were sampled; places still degenerate then stay so. The first batch
    is the one the data loader gives. Logs `groups/resampling_rounds` and `groups/kept_mixed`; `tokens/sampled` and
    `episodes/sampled` count all rounds. Needs a training set with a length and whole groups in each process (ValueError
    otherwise); sampler columns other than text are those TRL itself understands.
    """

    _name = "DAPO"

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
            output = select_rows(joined_batches(rounds, self._tokenizer.pad_token_id), rows)
        output["num_items_in_batch"] = self.accelerator.gather(policy_tokens(output).sum()).sum()
        metrics["tokens/sampled"][before:] = [sum(metrics["tokens/sampled"][before:])]
        metrics["tokens/trained"][before:] = metrics["tokens/trained"][-1:]
        self._log_trained_tokens(output, output["advantages"].ne(0))
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
        """(groups,) booleans of this process's last batch: is the group neither all right nor all wrong?"""
        groups = self._successes[self._local_slice(rows)].view(-1, self.num_generations)
        return groups.any(dim=1) & ~groups.all(dim=1)


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

    Entries that are no column are those of the first. Raises ValueError for columns that are no tensors.
    """
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
