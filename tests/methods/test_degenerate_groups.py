"""The rivals of EchoRL: advantages against hand-written ones, resampling against what was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import GRPOConfig

from methods.grpo import GRPOWithGroupMetrics
from methods.rivals.degenerate_groups import (
    SignAdvantageTrainer,
    ZeroVarianceTrainer,
    dr_grpo_settings,
    zero_variance_advantages,
)
from methods.rivals.dynamic_sampling import DynamicSamplingTrainer, dapo_settings
from reproduce.core.config import PolicyConfig
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.training.row_dropping import without_idle_rows

WORDS = tuple("abcdefghij")
TOKENIZER = build_tokenizer(("\n", *WORDS))
GROUP = 4
# Episodes of each prompt that are right.
RIGHT = {"a": 4, "b": 2, "c": 0, "d": 1, "e": 3, "f": 4, "g": 0, "h": 2}


def episode(prompt: str, member: int) -> dict[str, Any]:
    generator = np.random.default_rng([ord(prompt), member])
    length = int(generator.integers(3, 9))
    return {
        "prompt_ids": TOKENIZER(" ".join([prompt] * (1 + ord(prompt) % 3)))["input_ids"],
        "completion_ids": [*generator.integers(5, 5 + len(WORDS), length).tolist(), TOKENIZER.eos_token_id],
        "env_mask": [*(generator.random(length) < 0.8).astype(int).tolist(), 1],
        "success": member < RIGHT[prompt],
    }


def success_reward(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    return [float(value) for value in success]


def fresh_model() -> Any:
    config = PolicyConfig(layers=2, width=16, heads=2, feed_forward=32, initial_deviation=0.3)
    return build_model(config, TOKENIZER, seed=0).double()


def trainer_of(
    folder: Path, kind: Any, prompts: str = "abcd", method: Any = None, episodes: Any = episode, **settings: Any
) -> Any:
    """A trainer of `kind` that keeps its batches and the prompts whose groups were sampled."""

    class Recording(kind):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            self.batch = super()._generate_and_score_completions(inputs)
            return self.batch

    sampled: list[str] = []

    def rollout(given: list[str], current: Any) -> dict[str, list[Any]]:
        sampled.extend(given[::GROUP])
        rows = [episodes(prompt, place % GROUP) for place, prompt in enumerate(given)]
        return {name: [row[name] for row in rows] for name in rows[0]} | {"logprobs": None}

    defaults = {"loss_type": "grpo", "per_device_train_batch_size": 16, "max_steps": 1, "learning_rate": 1e-3}
    defaults |= {"save_strategy": "no"}
    made = Recording(
        model=fresh_model(),
        reward_funcs=success_reward,
        args=GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            num_generations=GROUP,
            max_grad_norm=0.0,
            max_completion_length=16,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            shuffle_dataset=False,
            dataloader_pin_memory=False,
            **(defaults | settings),
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=TOKENIZER,
        rollout_func=rollout,
        **(method or {}),
    )
    made.sampled = sampled
    return made


def gradient(trainer: Any) -> dict[str, torch.Tensor]:
    """The gradient of the loss of one generation batch, in as many micro-batches as the trainer makes of it."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.zero_grad()
    for inputs in trainer._buffered_inputs:
        trainer._compute_loss(trainer.model, inputs).backward()
    return {name: value.grad for name, value in trainer.model.named_parameters()}


def token_log_probabilities(model: Any, row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, entropies) of the policy's tokens of a completion, by a pass without padding."""
    prompt = len(row["prompt_ids"])
    ids = torch.tensor([row["prompt_ids"] + row["completion_ids"]])
    log_probabilities = model(ids).logits[0, prompt - 1 : -1].log_softmax(dim=-1)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    own = torch.tensor(row["env_mask"]).bool()
    return log_probabilities.gather(1, ids[0, prompt:, None])[:, 0][own], entropies[own]


def assert_gradient(found: dict[str, torch.Tensor], loss: torch.Tensor, model: Any) -> None:
    loss.backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=1e-5, atol=1e-6)
    assert any(value.abs().max() > 1e-4 for value in found.values())


def rows_of(prompts: str) -> list[dict[str, Any]]:
    return [episode(prompt, member) for prompt in prompts for member in range(GROUP)]


def policy_gradient_loss(model: Any, prompts: str, advantage: Any) -> torch.Tensor:
    """GRPO's loss at ratio one: mean over rows of the token mean of -A log pi."""
    terms = []
    for row in rows_of(prompts):
        log_probabilities, entropies = token_log_probabilities(model, row)
        terms.append(-(advantage(row, entropies.detach()) * log_probabilities).mean())
    return torch.stack(terms).mean()


def test_sign_advantage_is_two_r_minus_one(tmp_path: Path) -> None:
    trainer, model = trainer_of(tmp_path, SignAdvantageTrainer), fresh_model()
    loss = policy_gradient_loss(model, "abcd", lambda row, entropies: 2.0 * row["success"] - 1.0)
    assert_gradient(gradient(trainer), loss, model)
    metrics = trainer._metrics["train"]
    assert metrics["tokens/trained"] == metrics["tokens/sampled"]


def zero_variance_by_hand(row: dict[str, Any], entropies: torch.Tensor) -> torch.Tensor:
    return 0.2 * entropies if row["success"] else -0.2 * (entropies.max() - entropies)


def test_zero_variance_groups_get_entropy_advantages(tmp_path: Path) -> None:
    trainer, model = trainer_of(tmp_path, ZeroVarianceTrainer, prompts="acfg", method={"alpha": 0.2}), fresh_model()
    assert_gradient(gradient(trainer), policy_gradient_loss(model, "acfg", zero_variance_by_hand), model)


def test_mixed_groups_keep_the_advantages_of_grpo(tmp_path: Path) -> None:
    ours, plain = trainer_of(tmp_path, ZeroVarianceTrainer), trainer_of(tmp_path, GRPOWithGroupMetrics)
    ours.train()
    plain.train()
    mixed = plain.batch["advantages"] != 0
    assert mixed.sum() == 8
    found = ours.batch["advantages"]
    assert torch.equal(found[mixed], plain.batch["advantages"][mixed, None].expand(-1, found.shape[1]))
    entries = [trainer.state.log_history[0] for trainer in (ours, plain)]
    assert entries[0]["tokens/trained"] > entries[1]["tokens/trained"]


def trained_weights(trainer: Any) -> dict[str, torch.Tensor]:
    """To be called before the next trainer is made: the trainer's shuffle draws from the generator set at its start."""
    trainer.train()
    return trainer.model.state_dict()


def test_alpha_zero_is_grpo(tmp_path: Path) -> None:
    ours = trained_weights(trainer_of(tmp_path, ZeroVarianceTrainer, method={"alpha": 0.0}, max_steps=3))
    plain = trained_weights(trainer_of(tmp_path, GRPOWithGroupMetrics, max_steps=3))
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), min_size=1, max_size=8), st.booleans(), st.floats(0, 2))
def test_zero_variance_advantages_token_by_token(tokens: list[tuple[bool, float]], right: bool, alpha: float) -> None:
    policy, entropies = torch.tensor([[own for own, _ in tokens]]), torch.tensor([[value for _, value in tokens]])
    found = zero_variance_advantages(entropies, policy, torch.tensor([right]), alpha)[0].tolist()
    highest = max([value for own, value in tokens if own], default=0.0)
    for (own, value), advantage in zip(tokens, found, strict=True):
        expected = 0.0 if not own else alpha * value if right else -alpha * (highest - value)
        assert advantage == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_dr_grpo_divides_by_a_constant_and_does_not_scale(tmp_path: Path) -> None:
    trainer, model = trainer_of(tmp_path, GRPOWithGroupMetrics, **dr_grpo_settings()), fresh_model()
    terms = [
        -(row["success"] - RIGHT[prompt] / GROUP) * token_log_probabilities(model, row)[0].sum()
        for prompt in "abcd"
        for row in rows_of(prompt)
    ]
    assert_gradient(gradient(trainer), torch.stack(terms).sum() / (16 * 16), model)


# Dynamic sampling --------------------------------------------------------------------------------------------------


def groups_of(batch: dict[str, Any]) -> list[tuple[tuple[int, ...], ...]]:
    """The policy's and the environment's tokens of each row, without padding, in groups."""
    rows = []
    for name in ("prompt", "completion"):
        ids, mask = batch[f"{name}_ids"], batch[f"{name}_mask"].bool()
        rows.append([tuple(row[own].tolist()) for row, own in zip(ids, mask, strict=True)])
    joined = [prompt + completion for prompt, completion in zip(*rows, strict=True)]
    return [tuple(joined[start : start + GROUP]) for start in range(0, len(joined), GROUP)]


def expected_group(prompt: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row["prompt_ids"] + row["completion_ids"]) for row in rows_of(prompt))


@settings(max_examples=6, deadline=None)
@given(st.permutations("abcdefgh"), st.integers(0, 99))
def test_degenerate_groups_are_replaced_in_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], seed: int
) -> None:
    method = {"largest_rounds": 30, "resampling_seed": seed}
    folder = tmp_path_factory.mktemp("dapo")
    trainer = trainer_of(folder, DynamicSamplingTrainer, "".join(order), method, **dapo_settings())
    trainer.train()
    mixed = [prompt for prompt in trainer.sampled if 0 < RIGHT[prompt] < GROUP]
    first = trainer.sampled[:4]
    refills = iter([prompt for prompt in trainer.sampled[4:] if prompt in mixed])
    kept = [prompt if 0 < RIGHT[prompt] < GROUP else next(refills) for prompt in first]
    batch = trainer.batch
    assert groups_of(batch) == [expected_group(prompt) for prompt in kept]
    tool = (batch["completion_mask"] * batch["tool_mask"]).sum()
    assert tool == batch["num_items_in_batch"] == sum(sum(row["env_mask"]) for row in rows_of("".join(kept)))
    for place, prompt in enumerate(kept):
        rewards = torch.tensor([float(row["success"]) for row in rows_of(prompt)])
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        torch.testing.assert_close(batch["advantages"][place * GROUP : (place + 1) * GROUP].float(), advantages)
    entry = trainer.state.log_history[0]
    assert entry["episodes/sampled"] == GROUP * len(trainer.sampled)
    assert entry["tokens/sampled"] == sum(sum(row["env_mask"]) for row in rows_of("".join(trainer.sampled)))
    assert entry["tokens/trained"] == tool
    assert entry["groups/kept_mixed"] == 1.0
    assert entry["groups/resampling_rounds"] == len(trainer.sampled) / 4 - 1


def test_dynamic_sampling_gives_up_in_the_end(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, DynamicSamplingTrainer, "acfg", {"largest_rounds": 3}, **dapo_settings())
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["episodes/sampled"] == 48 and entry["groups/kept_mixed"] == 0.0
    assert entry["grad_norm"] == 0.0


def test_replaced_groups_are_not_given_the_entropies_of_those_that_they_replace(tmp_path: Path) -> None:
    def told(prompt: str, member: int) -> dict[str, Any]:
        row = episode(prompt, member)
        return row | {"entropies": [0.5] * len(row["completion_ids"])}

    kind = without_idle_rows(DynamicSamplingTrainer)
    trainer = trainer_of(tmp_path, kind, "abcdefgh", {"largest_rounds": 9}, episodes=told, **dapo_settings())
    trainer.train()
    assert trainer.state.log_history[0]["groups/resampling_rounds"] > 0
    assert "entropy_of_row" not in trainer.batch


def test_without_degenerate_groups_dynamic_sampling_is_grpo(tmp_path: Path) -> None:
    ours = trained_weights(trainer_of(tmp_path, DynamicSamplingTrainer, "bdeh", max_steps=3))
    plain = trained_weights(trainer_of(tmp_path, GRPOWithGroupMetrics, "bdeh", max_steps=3))
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())


@pytest.mark.parametrize(
    ("kind", "method", "message"),
    [
        (ZeroVarianceTrainer, {"alpha": -1.0}, "alpha"),
        (DynamicSamplingTrainer, {"largest_rounds": 0}, "largest_rounds"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, kind: Any, method: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer_of(tmp_path, kind, method=method)
