"""GRPO on TRL: what the trainer is relied on for, and that only the policy's own tokens are trained."""

from __future__ import annotations

import inspect
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback
from trl import GRPOConfig

from methods.grpo import GRPOWithGroupMetrics, group_shares, has_advantage
from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
from reproduce.environments.retrieval.vocabulary import words
from reproduce.rollouts import EpisodeSampler, UniformStreams, rollout_columns
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.training.row_dropping import trimmed, without_idle_rows
from reproduce.training.train import exact_match

TOKENIZER = build_tokenizer(words())
TASKS = build_panels(4, 1, 1)["train"].tasks
SAMPLING = SamplingConfig(longest_action=6)


class KeepsGradients(TrainerCallback):
    """Copies the gradients before the optimiser uses them."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.gradients = model, {}

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        for name, parameter in self.model.named_parameters():
            self.gradients[name] = parameter.grad.clone()


class Recording(GRPOWithGroupMetrics):
    """Keeps what the loss was made from."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self.scored = inputs  # After the trainer has shuffled the batch.
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if found[0].requires_grad:
            self.log_probabilities = found[0]
            self.log_probabilities.retain_grad()
        return found


def every_second(rows: int) -> list[bool]:
    """Outcomes that vary within every group, since a random policy never succeeds."""
    return [place % 2 == 1 for place in range(rows)]


def trainer_of(
    folder: Path,
    outcomes: Any = every_second,
    kind: type[trl.GRPOTrainer] = Recording,
    reward: Any = exact_match,
    **settings: Any,
) -> Any:
    """outcomes: from the number of rows to what stands in the column `success`; None leaves what was sampled."""
    model = build_model(PolicyConfig(layers=2, width=32, heads=2, feed_forward=64), TOKENIZER, seed=0)
    sampler = EpisodeSampler(model, TOKENIZER, RetrievalEnvironment(), SAMPLING)
    place = {task.question: number for number, task in enumerate(TASKS)}
    batches: list[Any] = []

    def rollout(prompts: list[str], current: Any) -> dict[str, list[Any]]:
        streams = UniformStreams((f"step {current.state.global_step}",), len(prompts))
        model.eval()
        tasks = [place[prompt] for prompt in prompts]
        batches.append(sampler.sample(TASKS, tasks, [2] * len(prompts), range(len(prompts)), streams))
        model.train()
        columns = rollout_columns(batches[-1])
        return columns if outcomes is None else columns | {"success": outcomes(len(prompts))}

    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        num_generations=4,
        max_steps=1,
        learning_rate=1e-3,
        beta=0.0,
        temperature=SAMPLING.temperature,
        max_completion_length=256,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        **({"loss_type": "grpo", "per_device_train_batch_size": 16} | settings),
    )
    made = kind(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": task.question} for task in TASKS]),
        processing_class=TOKENIZER,
        rollout_func=rollout,
    )
    made.batches = batches
    kept = KeepsGradients(model)
    made.add_callback(kept)
    made.gradients = kept.gradients
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    trainer = trainer_of(tmp_path_factory.mktemp("grpo"))
    trainer.train()
    return trainer


def test_observation_tokens_get_exactly_zero_gradient(trained: Any) -> None:
    mask = (trained.scored["completion_mask"] * trained.scored["tool_mask"]).bool()
    gradient = trained.log_probabilities.grad
    assert not mask.all() and mask.any()
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).all()


def test_the_loss_reads_the_log_probabilities_at_policy_tokens_only(trained: Any) -> None:
    """Finite differences through TRL's loss: moving an observation's log-probability moves nothing."""
    scored = {name: value.clone() if torch.is_tensor(value) else value for name, value in trained.scored.items()}
    mask = (scored["completion_mask"] * scored["tool_mask"]).bool()
    base = trained.log_probabilities.detach()
    trained.model.train()

    def loss(shift: torch.Tensor) -> float:
        moved = (base + shift).requires_grad_()
        entropies = torch.zeros_like(moved)
        original = trained._get_per_token_logps_and_entropies
        trained._get_per_token_logps_and_entropies = lambda *args, **kwargs: (moved, entropies, None)
        # With explicit old log-probabilities the ratio moves with the shift.
        try:
            return float(trained._compute_loss(trained.model, scored | {"old_per_token_logps": base}).detach())
        finally:
            trained._get_per_token_logps_and_entropies = original

    row = int(torch.nonzero(scored["advantages"] > 0)[0])
    observed = int(torch.nonzero(scored["completion_mask"][row].bool() & ~mask[row])[0])
    written = int(torch.nonzero(mask[row])[0])
    at = torch.zeros_like(base)
    still = loss(at)
    at[row, observed] = 1e-2
    assert loss(at) == still
    at[row, observed], at[row, written] = 0.0, 1e-2
    slope = (loss(at) - still) / 1e-2
    assert slope == pytest.approx(float(trained.log_probabilities.grad[row, written]), rel=0.05)


def test_sampled_log_probabilities_equal_the_training_forward_pass(trained: Any) -> None:
    batch = trained.batches[0]
    rows = trained.scored["completion_ids"].shape[0]
    assert rows == len(batch.trajectory_of_episode) == 16
    compared = 0
    for ids, mask, found in zip(
        trained.scored["completion_ids"], trained.scored["tool_mask"], trained.log_probabilities.detach(), strict=True
    ):
        wanted = next(
            item
            for item in batch.trajectories
            if item.token_ids[item.prompt_length :].tolist() == ids[: len(item.token_ids) - item.prompt_length].tolist()
        )
        own = wanted.from_policy[wanted.prompt_length :]
        assert mask[: len(own)].bool().tolist() == own.tolist()
        sampled = wanted.log_probabilities[wanted.prompt_length :][own]
        np.testing.assert_allclose(found[: len(own)].numpy()[own], sampled, atol=1e-4)
        compared += own.sum()
    assert compared > 100


def test_what_is_logged(trained: Any) -> None:
    entry = next(entry for entry in trained.state.log_history if "reward" in entry)
    assert entry["groups/mixed"] == 1.0
    assert entry["groups/all_wrong"] == entry["groups/all_right"] == 0.0
    batch = trained.batches[0]
    own = sum(int(batch.trajectories[place].from_policy.sum()) for place in batch.trajectory_of_episode)
    assert entry["tokens/sampled"] == own
    assert entry["tokens/trained"] == own
    assert entry["reward"] == pytest.approx(0.5)


def test_equal_rewards_train_nothing(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, outcomes=None)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert entry["groups/all_wrong"] == 1.0
    assert entry["tokens/trained"] == 0.0 < entry["tokens/sampled"]
    assert entry["grad_norm"] == 0.0
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def first_groups(rows: int) -> list[bool]:
    """Only the first group of four is mixed; the second is all right, the others all wrong."""
    return [True, False, False, True, True, True, True, True] + [False] * (rows - 8)


def test_leaving_out_rows_without_advantage_changes_no_gradient(tmp_path: Path) -> None:
    ours = trainer_of(tmp_path / "ours", outcomes=first_groups, kind=without_idle_rows(Recording))
    plain = trainer_of(tmp_path / "plain", outcomes=first_groups, kind=trl.GRPOTrainer)
    ours.train()
    plain.train()
    assert ours.log_probabilities.shape[0] == 4
    norms = [trainer.state.log_history[0]["grad_norm"] for trainer in (ours, plain)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert norms[0] > 0
    assert len(ours.gradients) == len(plain.gradients) > 0
    for name, gradient in ours.gradients.items():
        torch.testing.assert_close(gradient, plain.gradients[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("settings", [{"entropy_coef": 0.1}, {"top_entropy_quantile": 0.3}, {"loss_type": "dapo"}])
def test_terms_that_speak_of_every_row_keep_every_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    trainer = trainer_of(tmp_path, outcomes=first_groups, kind=without_idle_rows(Recording), **settings)
    trainer.train()
    assert trainer.log_probabilities.shape[0] == 16


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.integers(0, 2**16))
def test_rows_that_are_kept_keep_every_token(trained_row: list[bool], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = len(trained_row)
    prompt_lengths = torch.randint(1, 6, (rows,), generator=generator)
    lengths = torch.randint(1, 8, (rows,), generator=generator)
    prompt_mask = (torch.arange(6) >= 6 - prompt_lengths[:, None]).long()
    completion_mask = (torch.arange(8) < lengths[:, None]).long()
    inputs = {
        "prompt_ids": torch.randint(1, 9, (rows, 6), generator=generator) * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(1, 9, (rows, 8), generator=generator) * completion_mask,
        "completion_mask": completion_mask,
        "tool_mask": torch.ones(rows, 8),
        "advantages": torch.tensor([float(value) for value in trained_row]),
        "num_items_in_batch": torch.tensor(99),
        "names": [str(row) for row in range(rows)],
    }
    kept = trimmed(inputs, has_advantage(inputs["advantages"]))
    expected = [row for row, value in enumerate(trained_row) if value] or [0]
    assert kept["names"] == [str(row) for row in expected]
    assert kept["num_items_in_batch"] == 99
    for place, row in enumerate(expected):
        for name in ("prompt_ids", "completion_ids"):
            before, after = inputs[name][row], kept[name][place]
            assert before[before > 0].tolist() == after[after > 0].tolist()
    assert kept["tool_mask"].shape == kept["completion_mask"].shape == kept["completion_ids"].shape


def test_advantages_are_group_standardised(trained: Any) -> None:
    rewards = torch.tensor([0.0, 1.0, 0.0, 1.0])
    expected = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    found = sorted(trained.scored["advantages"].tolist())
    np.testing.assert_allclose(found, sorted((expected.repeat(4)).tolist()), atol=1e-5)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, trained: Any) -> None:
    again = trainer_of(tmp_path)
    again.train()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


@pytest.mark.parametrize("method", ["_calculate_rewards", "_generate_and_score_completions", "_compute_loss"])
def test_the_methods_we_build_on_are_there(method: str) -> None:
    assert callable(getattr(trl.GRPOTrainer, method))


def test_signatures_of_the_methods_we_build_on() -> None:
    scored = inspect.signature(trl.GRPOTrainer._generate_and_score_completions)
    assert list(scored.parameters) == ["self", "inputs"]
    rewards = inspect.signature(trl.GRPOTrainer._calculate_rewards)
    assert list(rewards.parameters) == ["self", "inputs", "prompts", "completions", "completion_ids_list"]
    assert "rollout_func" in inspect.signature(trl.GRPOTrainer.__init__).parameters


def penalised(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    """A success earns less than one, as with a cost of skills; a failure earns two."""
    return [0.7 + 0.01 * (place % 4) if right else 2.0 for place, right in enumerate(success)]


def told_by_reward_alone(completions: list[Any], **columns: Any) -> list[float]:
    """Whole, partial and no credit."""
    return [1.0, 1.0, 1.0, 2.0] + [0.5] * 4 + [0.5, 1.0, 0.0, 0.0] + [0.0] * (len(completions) - 12)


@pytest.mark.parametrize(
    ("reward", "outcomes", "all_wrong", "all_right"),
    [(penalised, first_groups, 0.5, 0.25), (told_by_reward_alone, lambda rows: [None] * rows, 0.5, 0.25)],
)
def test_the_column_tells_successes_and_the_reward_where_there_is_none(
    tmp_path: Path, reward: Any, outcomes: Any, all_wrong: float, all_right: float
) -> None:
    trainer = trainer_of(tmp_path, outcomes=outcomes, reward=reward)
    trainer.train()
    entry = trainer.state.log_history[0]
    found = [entry[f"groups/{name}"] for name in ("all_wrong", "all_right", "mixed")]
    assert found == pytest.approx([all_wrong, all_right, 1 - all_wrong - all_right])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8))
def test_group_shares_count_groups(groups: list[list[bool]]) -> None:
    shares = group_shares(torch.tensor(groups).flatten(), 3)
    right = [sum(group) for group in groups]
    assert shares["all_wrong"] == pytest.approx(sum(count == 0 for count in right) / len(groups))
    assert shares["all_right"] == pytest.approx(sum(count == 3 for count in right) / len(groups))
    assert sum(shares.values()) == pytest.approx(1.0)


def test_group_shares_refuse_a_broken_group() -> None:
    with pytest.raises(ValueError, match="7 episodes do not divide into groups of 4"):
        group_shares(torch.zeros(7, dtype=torch.bool), 4)


# ---- several processes


def one_of_two_processes(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # Groups of four over processes of six rows: the second group is spread over both.
    told = {0: [True, True, True, True, False, False], 1: [False, False, True, False, True, True]}[rank]
    # Of the first process alone, the column knows some rows; the others are told by their reward of 0.7 or 2.
    if rank == 0:
        told[0] = None
    trainer = trainer_of(Path(folder), lambda rows: told, reward=penalised, per_device_train_batch_size=6)
    trainer.train()
    assert trainer.accelerator.num_processes == 2
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    logged = {name: entry[f"groups/{name}"] for name in ("all_wrong", "all_right", "mixed")}
    torch.save({"logged": logged, "successes": trainer._successes}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_that_share_a_group_count_it_once(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two_processes, (str(tmp_path), port), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["successes"].tolist() == [True] * 4 + [False] * 4 + [True, False, True, True]
        assert found["logged"] == pytest.approx({"all_wrong": 1 / 3, "all_right": 1 / 3, "mixed": 1 / 3})
