"""DAPO with the echo: what dynamic sampling drops still gives its echo, and what it keeps is trained as without one."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.echorl import EchoConfig
from methods.grpo import take_rows
from methods.rivals.dynamic_sampling import DynamicSamplingTrainer, EchoWithDynamicSampling, dapo_settings
from reproduce.papers.echorl.clips import ClipConfig, ClipTrainerOnDapo
from tests.methods.test_degenerate_groups import (
    GROUP,
    RIGHT,
    TOKENIZER,
    fresh_model,
    gradient,
    groups_of,
    token_log_probabilities,
    trainer_of,
)

NEWLINE, UNCERTAIN, CERTAIN, *FILLERS = TOKENIZER.convert_tokens_to_ids(["\n", "i", "j", *"abcdefgh"])
UNCERTAIN_MEMBERS = (1, 2)
WEIGHT = 0.3


def branch_episode(prompt: str, member: int) -> dict[str, Any]:
    """The two-branch toy: a step that picks a branch (ln 2), one of entropy ln 8 or 0.1 after it, and a sure end."""
    uncertain = member in UNCERTAIN_MEMBERS
    second = math.log(8) if uncertain else 0.1
    return {
        "prompt_ids": TOKENIZER(" ".join([prompt] * (1 + ord(prompt) % 3)))["input_ids"],
        "completion_ids": [
            *(UNCERTAIN if uncertain else CERTAIN, NEWLINE),
            *(FILLERS[member], FILLERS[ord(prompt) % 8], NEWLINE),
            *(FILLERS[0], TOKENIZER.eos_token_id),
        ],
        "env_mask": [1] * 7,
        "entropies": [math.log(2)] * 2 + [second] * 3 + [0.01] * 2,
        "success": member < RIGHT[prompt],
    }


def toy(folder: Path, kind: Any = EchoWithDynamicSampling, prompts: str = "abde", **settings: Any) -> Any:
    """Prompts a and f are always right, c and g never; b, d, e and h give mixed groups."""
    echo = settings.pop("echo", EchoConfig(weight=WEIGHT))
    method = {"largest_rounds": settings.pop("largest_rounds", 10), "resampling_seed": settings.pop("seed", 1)}
    method |= {"echo": echo} if issubclass(kind, EchoWithDynamicSampling) else {}
    return trainer_of(folder, kind, prompts, method, branch_episode, **(dapo_settings() | settings))


def clip_losses(model: Any, prompts: str) -> list[torch.Tensor]:
    """The clip's token-mean NLL of each group with a success, written down from the toy.

    The first right member on the uncertain branch holds the step of highest entropy; where none of them is right, the
    first member does, with its choice of a branch.
    """
    losses = []
    for prompt in (one for one in prompts if RIGHT[one]):
        right = [member for member in UNCERTAIN_MEMBERS if member < RIGHT[prompt]]
        member, length = (right[0], 5) if right else (0, 2)
        losses.append(-token_log_probabilities(model, branch_episode(prompt, member))[0][:length].mean())
    return losses


def echo_gradient(prompts: str, reduction: str = "groups_with_clip") -> dict[str, torch.Tensor]:
    model = fresh_model()
    losses = clip_losses(model, prompts)
    (torch.stack(losses).sum() / (len(losses) if reduction == "groups_with_clip" else len(prompts))).backward()
    return {name: value.grad for name, value in model.named_parameters()}


SPLITS = [
    {},
    {"loss_type": "grpo"},
    {"loss_type": "dr_grpo"},
    {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "loss_type": "grpo"},
    {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "loss_type": "dr_grpo"},
]


@pytest.mark.parametrize("split", SPLITS)
def test_the_echo_of_every_sampled_group_is_added_to_dapos_gradient(tmp_path: Path, split: dict[str, Any]) -> None:
    both = toy(tmp_path / "both", **split)
    found = gradient(both)
    dapo = toy(tmp_path / "dapo", DynamicSamplingTrainer, **split)
    without = gradient(dapo)
    assert both.sampled == dapo.sampled and len(both.sampled) > 4
    assert set("a") <= set(both.sampled)
    expected = echo_gradient("".join(both.sampled))
    for name, value in expected.items():
        torch.testing.assert_close(found[name] - without[name], WEIGHT * value, rtol=1e-5, atol=1e-6)
    assert any(value.abs().max() > 1e-3 for value in expected.values())
    assert any(value.abs().max() > 1e-3 for value in without.values())


def test_reductions_count_all_rounds(tmp_path: Path) -> None:
    for reduction in ("all_groups", "tokens"):
        trainer = toy(
            tmp_path / reduction, prompts="acfg", largest_rounds=3, echo=EchoConfig(WEIGHT, reduction=reduction)
        )
        found, prompts = gradient(trainer), "".join(trainer.sampled)
        # Every clip of this bed has five tokens, so that the mean over tokens is the one over clips.
        expected = echo_gradient(prompts, "groups_with_clip" if reduction == "tokens" else reduction)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], WEIGHT * value, rtol=1e-5, atol=1e-6)


class KeepsLogProbabilities(ClipTrainerOnDapo):
    """Keeps the log-probabilities that the loss was made from, with their gradient."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self.scored = inputs
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self.log_probabilities = found[0]
        self.log_probabilities.retain_grad()
        return found


@pytest.mark.parametrize(
    ("selection", "pulls"), [("highest_entropy", (1 / 5, 0.0)), ("lowest_entropy", (0.0, 1 / 7)), ("last_step", None)]
)
def test_a_dropped_group_of_the_two_branch_toy_still_pulls_at_the_branch(
    tmp_path: Path, selection: Any, pulls: tuple[float, float] | None
) -> None:
    """The groups of `a` are replaced by others. The argmax raises its uncertain branch, the argmin its certain one."""
    echo = ClipConfig(WEIGHT, selection=selection, scope="all_success")
    trainer = toy(tmp_path, KeepsLogProbabilities, prompts="abbd", echo=echo, seed=3)
    gradient(trainer)
    of_a = (trainer.scored["prompt_ids"] == TOKENIZER.convert_tokens_to_ids("a")).any(dim=1)
    assert "a" in trainer.sampled and of_a.any() and (trainer.scored["advantages"][of_a] == 0).all()
    pull = -trainer.log_probabilities.grad[of_a, 0]
    branch = trainer.scored["completion_ids"][of_a, 0]
    found = tuple(float(pull[branch == one].sum()) / WEIGHT for one in (UNCERTAIN, CERTAIN))
    # The last steps of all rows are alike: the row is drawn at random, and all of it is echoed.
    assert found == pytest.approx(pulls) if pulls else sum(found) == pytest.approx(1 / 7)


def expected_toy_group(prompt: str) -> tuple[tuple[int, ...], ...]:
    rows = [branch_episode(prompt, member) for member in range(GROUP)]
    return tuple(tuple(row["prompt_ids"] + row["completion_ids"]) for row in rows)


def test_rows_of_dropped_clips_are_read_by_the_echo_alone(tmp_path: Path) -> None:
    trainer = toy(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=4)
    trainer.train()
    batch, rows = trainer.batch, 4 * GROUP
    kept = take_rows(batch, torch.arange(rows))
    assert "a" in trainer.sampled and all(group != expected_toy_group("a") for group in groups_of(kept))
    extra = len(batch["advantages"]) - rows
    assert extra > 0 and extra % 4 == 0
    assert (batch["advantages"][rows:] == 0).all() and (batch["tool_mask"][rows:] == 0).all()
    assert float(batch["echo_weights"].sum()) == pytest.approx(1.0)
    entry = trainer.state.log_history[0]
    kept_places = [place for place, prompt in enumerate(trainer.sampled) if 0 < RIGHT[prompt] < GROUP][:4]
    dropped = [prompt for place, prompt in enumerate(trainer.sampled) if place not in kept_places and RIGHT[prompt]]
    assert entry["echo/extra_rows"] == len(dropped) == int(batch["echo_weights"][rows:].ne(0).any(dim=1).sum())
    assert batch["num_items_in_batch"] == 7 * rows
    assert entry["tokens/trained"] == 7 * (rows + len(dropped))
    assert entry["tokens/sampled"] == 7 * GROUP * len(trainer.sampled)
    shares = [RIGHT[prompt] > 0 for prompt in trainer.sampled]
    assert entry["echo/groups_with_clip"] == pytest.approx(sum(shares) / len(shares))


def trained(trainer: Any) -> dict[str, torch.Tensor]:
    trainer.train()
    return trainer.model.state_dict()


def test_weight_zero_is_dapo_bit_for_bit(tmp_path: Path) -> None:
    placebo = trained(toy(tmp_path / "echo", echo=EchoConfig(weight=0.0), max_steps=3))
    plain = trained(toy(tmp_path / "dapo", DynamicSamplingTrainer, max_steps=3))
    assert all(torch.equal(value, plain[name]) for name, value in placebo.items())


def test_without_degenerate_groups_nothing_is_added(tmp_path: Path) -> None:
    trainer = toy(tmp_path, prompts="bdeh")
    found = gradient(trainer)
    assert len(trainer.batch["advantages"]) == 16 and "echo_episode" not in trainer.batch
    without = gradient(toy(tmp_path / "dapo", DynamicSamplingTrainer, prompts="bdeh"))
    for name, value in echo_gradient("bdeh").items():
        torch.testing.assert_close(found[name] - without[name], WEIGHT * value, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    plan = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    plan["echo"] = ClipConfig(WEIGHT, selection="random")
    whole = trained(toy(tmp_path, ClipTrainerOnDapo, **plan))
    resumed = toy(tmp_path, ClipTrainerOnDapo, **plan)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_type": "grpo", "entropy_coef": 0.01}, "row mean of grpo"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy(tmp_path, **settings)


# ---- several processes


def one_of_two_processes(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    trainer = toy(Path(folder), prompts="afcg", largest_rounds=3, per_device_train_batch_size=8, loss_type="grpo")
    gradients: list[dict[str, torch.Tensor]] = []
    step = trainer.create_optimizer().step
    trainer.optimizer.step = lambda *given, **named: (gradients.append(copied(trainer.model)), step(*given, **named))[1]
    trainer.train()
    assert trainer.accelerator.num_processes == 2
    found = {"gradients": gradients[0], "sampled": "".join(trainer.sampled), "rows": len(trainer.batch["advantages"])}
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def copied(model: Any) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): value.grad.clone() for name, value in model.named_parameters()}


@pytest.mark.slow
def test_two_processes_echo_the_groups_of_both(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two_processes, (str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["sampled"] != second["sampled"] and first["rows"] == second["rows"] > 8
    for name, value in echo_gradient(first["sampled"] + second["sampled"]).items():
        torch.testing.assert_close(first["gradients"][name], WEIGHT * value, rtol=1e-5, atol=1e-6)
