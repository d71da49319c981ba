"""EchoRL: clips against enumeration, the echo's gradient against a hand-written NLL, and GRPO at weight 0."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainerCallback
from trl import GRPOConfig

from methods.echo_clips import (
    Clips,
    RowCandidates,
    best_steps,
    choose_clips,
    find_steps,
    token_weights,
)
from methods.echorl import EchoConfig, EchoTrainer
from methods.grpo import GRPOWithGroupMetrics
from methods.steps import newline_tokens
from reproduce.core.config import PolicyConfig
from reproduce.rollouts.policies import build_model, build_tokenizer
from reproduce.training.row_dropping import without_idle_rows

WORDS = tuple("abcdefghij")
TOKENIZER = build_tokenizer(("\n", *WORDS))
NEWLINE = TOKENIZER.convert_tokens_to_ids("\n")
PROMPTS = ("a b", "c", "d e f", "g")
GROUP = 4
ALL_RIGHT, MIXED = ("1111", "1111", "1111", "1111"), ("1111", "0101", "0000", "1110")


# Clips against enumeration -----------------------------------------------------------------------------------------


def steps_by_hand(
    newline: list[bool], policy: list[bool], entropies: list[float], end: list[bool]
) -> list[tuple[int, int, float]]:
    """(first, last, mean entropy) of each step, in policy tokens, read token by token."""
    steps: list[list[float]] = []
    content, closed, before = False, False, False
    for breaks, own, entropy, ends in zip(newline, policy, entropies, end, strict=True):
        if own:
            if not before or (closed and not breaks and not ends):
                steps.append([])
                content = closed = False
            steps[-1].append(entropy)
            content = content or not (breaks or ends)
            closed = content and breaks
        before = own
    ends = np.cumsum([len(step) for step in steps]).tolist()
    return [(end - len(step), end, sum(step) / len(step)) for end, step in zip(ends, steps, strict=True)]


kinds = st.sampled_from([(False, False), (True, False), (False, True)])
token_rows = st.lists(st.tuples(kinds, st.booleans(), st.floats(0, 3, width=32)), min_size=9, max_size=9)


@given(st.lists(token_rows, min_size=1, max_size=3))
def test_steps_equal_those_read_token_by_token(drawn: list[list[tuple[tuple[bool, bool], bool, float]]]) -> None:
    rows = [[(newline, own, entropy, end) for (newline, end), own, entropy in row] for row in drawn]
    newline, policy, entropies, end = (
        torch.tensor([[token[part] for token in row] for row in rows]) for part in range(4)
    )
    found = find_steps(newline, policy, end, entropies)
    for row, tokens in enumerate(rows):
        expected = steps_by_hand(*(list(part) for part in zip(*tokens, strict=True)))
        used = found.lengths[row] > 0
        assert used.tolist() == [slot < len(expected) for slot in range(9)]
        assert found.first[row][used].tolist() == [step[0] for step in expected]
        assert found.last[row][used].tolist() == [step[1] for step in expected]
        np.testing.assert_allclose(found.mean_entropy[row][used], [step[2] for step in expected], rtol=1e-12)


def test_newlines_end_their_step_and_blank_steps_do_not_exist() -> None:
    text = "\n a \n \n b c <environment> \n d \n <end>".split(" ")
    newline = torch.tensor([[word == "\n" for word in text]])
    policy = torch.tensor([[word != "<environment>" for word in text]])
    end = torch.tensor([[word == "<end>" for word in text]])
    steps = find_steps(newline, policy, end, torch.arange(len(text)).float()[None])
    used = steps.lengths[0] > 0
    # The end of the sequence after a newline is no step of its own, whatever its entropy.
    assert steps.lengths[0][used].tolist() == [4, 2, 4]
    assert steps.mean_entropy[0][used].tolist() == [1.5, 4.5, 8.5]


def clips_of(
    newline: torch.Tensor, entropies: torch.Tensor, success: torch.Tensor, config: EchoConfig
) -> tuple[Clips, torch.Tensor]:
    """The clips of groups of GROUP rows in which the policy wrote every token."""
    policy = torch.ones_like(newline)
    steps = find_steps(newline, policy, torch.zeros_like(newline), entropies)
    found = RowCandidates.from_table(best_steps(steps, steps.mean_entropy, config.minimum_step_tokens).as_table())
    groups = torch.arange(len(success)) // GROUP
    clips = choose_clips(found, success, groups, len(success) // GROUP, config.reduction)
    return clips, token_weights(clips, policy)


@settings(max_examples=60)
@given(st.integers(0, 2**20), st.integers(1, 4))
def test_clips_equal_those_found_by_enumeration(seed: int, minimum: int) -> None:
    generator = np.random.default_rng(seed)
    newline = generator.random((8, 7)) < 0.35
    # Few values, so that ties are common.
    entropies = generator.integers(0, 3, (8, 7)).astype(np.float32)
    success = generator.random(8) < 0.7
    config = EchoConfig(minimum_step_tokens=minimum)
    clips, weights = clips_of(*(torch.from_numpy(part) for part in (newline, entropies, success)), config)
    expected = {}
    for group in (0, 1):
        pool = [
            (mean, -row, -last)
            for row in range(group * GROUP, (group + 1) * GROUP)
            if success[row]
            for first, last, mean in steps_by_hand(
                newline[row].tolist(), [True] * 7, entropies[row].tolist(), [False] * 7
            )
            if last - first >= minimum
        ]
        if pool:
            _, row, last = max(pool)
            expected[-row] = -last
    assert {row: int(clips.last[row]) for row in clips.chosen.nonzero()[:, 0].tolist()} == expected
    for row in range(8):
        length = expected.get(row, 0)
        np.testing.assert_allclose(weights[row, :length], 1 / max(1, length) / max(1, len(expected)), rtol=1e-12)
        assert (weights[row, length:] == 0).all()


SUCCESS = torch.tensor([1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1]).bool()
BREAKS = torch.zeros(12, 6).bool()
BREAKS[:, [1, 3]] = True
PEAKS = torch.zeros(12, 6)
PEAKS[1, 2:4], PEAKS[9, 0:2], PEAKS[2] = 1.0, 2.0, 9.0


@pytest.mark.parametrize(("reduction", "total"), [("groups_with_clip", 1.0), ("all_groups", 2 / 3), ("tokens", 1.0)])
def test_reductions(reduction: Any, total: float) -> None:
    clips, weights = clips_of(BREAKS, PEAKS, SUCCESS, EchoConfig(reduction=reduction))
    assert {row: int(clips.last[row]) for row in clips.chosen.nonzero()[:, 0].tolist()} == {1: 4, 9: 2}
    assert float(weights.sum()) == pytest.approx(total)
    shares = weights.sum(dim=1)[[1, 9]] / total
    expected = [2 / 3, 1 / 3] if reduction == "tokens" else [0.5, 0.5]
    np.testing.assert_allclose(shares, expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": -1.0}, "weight"),
        ({"reduction": "mean"}, "reduction must be one of groups_with_clip"),
        ({"minimum_step_tokens": 0}, "minimum_step_tokens"),
        ({"start_step": -1}, "start_step"),
        ({"start_step": 3, "stop_step": 2}, "start_step <= stop_step"),
    ],
)
def test_bad_configurations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EchoConfig(**wrong)


def test_newlines_by_text_and_by_id() -> None:
    assert newline_tokens(TOKENIZER, len(TOKENIZER), None).nonzero()[:, 0].tolist() == [NEWLINE]
    assert newline_tokens(TOKENIZER, len(TOKENIZER), (3, 7)).nonzero()[:, 0].tolist() == [3, 7]
    with pytest.raises(ValueError, match="198"):
        newline_tokens(TOKENIZER, len(TOKENIZER), (198, 271))


# The trainer -------------------------------------------------------------------------------------------------------


class KeepsGradients(TrainerCallback):
    """Copies the gradients of every optimiser step before they are used."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.steps = model, []

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.steps.append({name: value.grad.clone() for name, value in self.model.named_parameters()})


def episode(prompt: str, member: int, success: str) -> dict[str, Any]:
    """A fixed completion of one member of a group: words, newlines, and in some places what the environment wrote."""
    generator = np.random.default_rng([PROMPTS.index(prompt), member])
    length = int(generator.integers(5, 13))
    ids = generator.choice([NEWLINE, *TOKENIZER.convert_tokens_to_ids(list(WORDS))], length).tolist()
    written = (generator.random(length) < 0.8).astype(int).tolist()
    return {
        "prompt_ids": TOKENIZER(prompt)["input_ids"],
        "completion_ids": [*ids, TOKENIZER.eos_token_id],
        "env_mask": [*written, 1],
        "success": success[member] == "1",
    }


def success_reward(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    return [float(value) for value in success]


def trainer_of(
    folder: Path,
    success: tuple[str, ...] = MIXED,
    kind: type[trl.GRPOTrainer] = EchoTrainer,
    echo: EchoConfig | None = EchoConfig(weight=0.3),  # noqa: B008
    entropies: Any = None,
    **settings: Any,
) -> Any:
    config = PolicyConfig(layers=2, width=16, heads=2, feed_forward=32, initial_deviation=0.3)
    model = build_model(config, TOKENIZER, seed=0).double()

    def rollout(prompts: list[str], current: Any) -> dict[str, list[Any]]:
        begin = current.accelerator.process_index * len(prompts)
        group = success[: len(PROMPTS)]
        rows = [
            episode(prompt, (begin + place) % GROUP, group[PROMPTS.index(prompt)])
            for place, prompt in enumerate(prompts)
        ]
        columns = {name: [row[name] for row in rows] for name in rows[0]} | {"logprobs": None}
        return columns if entropies is None else columns | {"entropies": [entropies(row) for row in rows]}

    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        num_generations=GROUP,
        beta=0.0,
        max_grad_norm=0.0,
        max_completion_length=64,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        **(
            {"loss_type": "grpo", "save_strategy": "no", "max_steps": 1, "learning_rate": 1e-3}
            | {"per_device_train_batch_size": 16}
            | settings
        ),
    )
    made = kind(
        model=model,
        reward_funcs=success_reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        processing_class=TOKENIZER,
        rollout_func=rollout,
        **({"echo": echo} if issubclass(kind, EchoTrainer) else {}),
    )
    made.kept = KeepsGradients(model)
    made.add_callback(made.kept)
    return made


def train(trainer: Any) -> Any:
    trainer.train()
    return trainer


def token_log_probabilities(model: Any, row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, entropies) of a completion by a forward pass of its own, without padding."""
    prompt = len(row["prompt_ids"])
    ids = torch.tensor([row["prompt_ids"] + row["completion_ids"]])
    log_probabilities = model(ids).logits[0, prompt - 1 : -1].log_softmax(dim=-1)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    return log_probabilities.gather(1, ids[0, prompt:, None])[:, 0], entropies


def echo_by_hand(model: Any, success: tuple[str, ...]) -> torch.Tensor:
    """The mean over groups with a success of the clip's token-mean NLL, found without any of our code."""
    clips = []
    for prompt, right in zip(PROMPTS, success, strict=True):
        pool = []
        for member in (place for place in range(GROUP) if right[place] == "1"):
            row = episode(prompt, member, right)
            log_probabilities, entropies = token_log_probabilities(model, row)
            breaks = [token == NEWLINE for token in row["completion_ids"]]
            own = [bool(value) for value in row["env_mask"]]
            end = [token == TOKENIZER.eos_token_id for token in row["completion_ids"]]
            for _, last, mean in steps_by_hand(breaks, own, entropies.tolist(), end):
                pool.append((mean, -member, -last, log_probabilities[torch.tensor(own)][:last]))
        if pool:
            clips.append(-max(pool, key=lambda item: item[:3])[3].mean())
    return torch.stack(clips).mean()


def fresh_model() -> Any:
    config = PolicyConfig(layers=2, width=16, heads=2, feed_forward=32, initial_deviation=0.3)
    return build_model(config, TOKENIZER, seed=0).double()


def gradient_by_hand(success: tuple[str, ...]) -> dict[str, torch.Tensor]:
    model = fresh_model()
    echo_by_hand(model, success).backward()
    return {name: value.grad for name, value in model.named_parameters()}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], scale: float = 1.0) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # The model's normalisation layers compute in single precision whatever its weights are.
        torch.testing.assert_close(found[name], value * scale, rtol=1e-6, atol=1e-6)


SPLITS = [
    {"per_device_train_batch_size": 16},
    {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
    {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "loss_type": "dapo"},
]


@pytest.mark.parametrize("split", SPLITS)
def test_with_all_groups_right_the_gradient_is_the_hand_written_nll(tmp_path: Path, split: dict[str, Any]) -> None:
    trainer = train(trainer_of(tmp_path, success=ALL_RIGHT, **split))
    assert_close(trainer.kept.steps[0], gradient_by_hand(ALL_RIGHT), 0.3)
    entry = trainer.state.log_history[0]
    assert entry["groups/all_right"] == entry["echo/groups_with_clip"] == 1.0
    assert entry["echo/loss"] == pytest.approx(0.3 * echo_by_hand(fresh_model(), ALL_RIGHT).item(), rel=1e-6)
    assert entry["grad_norm"] > 0


@pytest.mark.parametrize("split", SPLITS[:3])
def test_with_all_groups_right_grpo_has_exactly_no_gradient(tmp_path: Path, split: dict[str, Any]) -> None:
    trainer = train(trainer_of(tmp_path, success=ALL_RIGHT, echo=EchoConfig(weight=0.0), **split))
    assert all((value == 0).all() for value in trainer.kept.steps[0].values())
    assert trainer.state.log_history[0]["echo/groups_with_clip"] == 1.0


@pytest.mark.parametrize("split", SPLITS)
def test_the_echo_adds_to_the_policy_gradient_of_mixed_groups(tmp_path: Path, split: dict[str, Any]) -> None:
    with_echo = train(trainer_of(tmp_path / "echo", **split)).kept.steps[0]
    without = train(trainer_of(tmp_path / "grpo", kind=trl.GRPOTrainer, **split)).kept.steps[0]
    added = {name: value - without[name] for name, value in with_echo.items()}
    assert_close(added, gradient_by_hand(MIXED), 0.3)


@pytest.mark.parametrize(
    "plan",
    [
        {"num_iterations": 2, "max_steps": 2},
        {"per_device_train_batch_size": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 1, "max_steps": 4},
        {"per_device_train_batch_size": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 2},
    ],
)
def test_several_updates_of_a_batch_average_to_the_same_echo(tmp_path: Path, plan: dict[str, Any]) -> None:
    trainer = train(trainer_of(tmp_path, success=ALL_RIGHT, learning_rate=0.0, **plan))
    steps = trainer.kept.steps
    assert len(steps) == plan["max_steps"]
    mean = {name: torch.stack([step[name] for step in steps]).mean(dim=0) for name in steps[0]}
    assert_close(mean, gradient_by_hand(ALL_RIGHT), 0.3)


def test_entropies_of_the_sampler_are_used_without_a_pass(tmp_path: Path) -> None:
    passes = []

    class Counting(EchoTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            passes.append(torch.is_grad_enabled())
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    model = fresh_model()

    def sampled(row: dict[str, Any]) -> list[float]:
        with torch.no_grad():
            return token_log_probabilities(model, row)[1].tolist()

    found = train(trainer_of(tmp_path / "own", kind=Counting, entropies=sampled)).kept.steps[0]
    assert passes == [True]
    assert_close(found, train(trainer_of(tmp_path / "pass")).kept.steps[0])
    with pytest.raises(ValueError, match="entropies for"):
        trainer_of(tmp_path, entropies=lambda row: [0.0]).train()


def test_trls_pass_for_old_log_probabilities_also_gives_the_entropies(tmp_path: Path) -> None:
    passes = []

    class Counting(EchoTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            passes.append(torch.is_grad_enabled())
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    train(trainer_of(tmp_path, kind=Counting, num_iterations=2, max_steps=2))
    assert passes == [False, True, True]


def test_no_pass_is_added_where_every_row_is_scored_once_anyway(tmp_path: Path) -> None:
    passes = []

    class Counting(EchoTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            passes.append(torch.is_grad_enabled())
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    trainer = train(trainer_of(tmp_path / "free", ALL_RIGHT, kind=Counting, loss_type="dapo"))
    assert passes == [True]
    assert_close(trainer.kept.steps[0], gradient_by_hand(ALL_RIGHT), 0.3)
    passed = train(trainer_of(tmp_path / "pass", ALL_RIGHT))
    logged = [each.state.log_history[0] for each in (trainer, passed)]
    for name in ("tokens/trained", "echo/clip_tokens", "echo/loss", "echo/step_entropy"):
        assert logged[0][name] == pytest.approx(logged[1][name], rel=1e-6)


def test_an_entropy_bonus_gives_grpo_a_gradient_where_all_are_right(tmp_path: Path) -> None:
    placebo = EchoConfig(weight=0.0)
    bonus = train(trainer_of(tmp_path, ALL_RIGHT, echo=placebo, entropy_coef=0.001)).kept.steps[0]
    assert any((value != 0).any() for value in bonus.values())


@pytest.mark.parametrize(("loss", "base"), [("grpo", GRPOWithGroupMetrics), ("dapo", trl.GRPOTrainer)])
def test_weight_zero_is_grpo_bit_for_bit(tmp_path: Path, loss: str, base: type[trl.GRPOTrainer]) -> None:
    plan = {"loss_type": loss, "max_steps": 20}
    placebo = train(trainer_of(tmp_path / "echo", echo=EchoConfig(weight=0.0), **plan)).model.state_dict()
    plain = train(trainer_of(tmp_path / "grpo", kind=base, **plan)).model.state_dict()
    first = fresh_model().state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in placebo.items())
    assert any(not torch.equal(value, first[name]) for name, value in placebo.items())


def test_echoed_rows_without_advantage_stay_and_others_are_left_out(tmp_path: Path) -> None:
    seen = []

    class Watching(EchoTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            if torch.is_grad_enabled():
                seen.append(len(found[0]))
            return found

    trainer = train(trainer_of(tmp_path, kind=without_idle_rows(Watching)))
    assert seen == [12]  # Eight rows of the two mixed groups and those of the group that is all right.
    sampled = trainer_of(tmp_path, kind=without_idle_rows(Watching), entropies=lambda row: [0.0] * len(row["env_mask"]))
    train(sampled)
    assert seen[1:] == [9]  # Eight rows of the two mixed groups and one clip, known before the update.
    entry = trainer.state.log_history[0]
    assert entry["tokens/sampled"] > entry["tokens/trained"] > 0
    assert entry["echo/groups_with_clip"] == 0.75


def test_the_echo_has_a_window(tmp_path: Path) -> None:
    echo = EchoConfig(weight=0.3, start_step=1, stop_step=2)
    windowed = train(trainer_of(tmp_path, ALL_RIGHT, echo=echo, max_steps=3))
    norms = [entry["grad_norm"] for entry in windowed.state.log_history if "grad_norm" in entry]
    assert norms[0] == norms[2] == 0.0 < norms[1]


def test_demonstrations_are_not_echoed(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, ALL_RIGHT)
    trainer.train_dataset = trainer.train_dataset.add_column("demonstration", [True, False, True, True])
    assert train(trainer).state.log_history[0]["echo/groups_with_clip"] == 0.25


def test_the_echo_does_not_depend_on_the_scale_of_the_rewards(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, ALL_RIGHT, reward_weights=[7.0])
    assert_close(train(trainer).kept.steps[0], gradient_by_hand(ALL_RIGHT), 0.3)


def test_a_reward_below_one_does_not_hide_a_success_that_the_rollout_tells(tmp_path: Path) -> None:
    trainer = train(trainer_of(tmp_path, ALL_RIGHT, reward_weights=[0.6]))
    assert_close(trainer.kept.steps[0], gradient_by_hand(ALL_RIGHT), 0.3)
    assert trainer.state.log_history[0]["groups/all_right"] == 1.0


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    plan = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    whole = train(trainer_of(tmp_path, **plan)).model.state_dict()
    resumed = trainer_of(tmp_path, **plan)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.model.state_dict().items())


def test_in_a_plain_script_with_text_rewards(tmp_path: Path) -> None:
    def always_right(completions: list[str], **columns: Any) -> list[float]:
        return [1.0] * len(completions)

    trainer = EchoTrainer(
        model=fresh_model().float(),
        reward_funcs=always_right,
        args=GRPOConfig(
            str(tmp_path),
            max_steps=2,
            use_cpu=True,
            bf16=False,
            num_generations=4,
            max_completion_length=8,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        processing_class=TOKENIZER,
        echo=EchoConfig(weight=0.1),
    )
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["grad_norm"] > 0 and entry["echo/groups_with_clip"] == 1.0
    assert entry["echo/clip_tokens"] >= 1


# Several processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_that_share_groups_give_the_gradient_of_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    root = str(Path(__file__).parents[2])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": root}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    # Six rows a process for groups of four: the second group is spread over both, the fourth prompt comes later.
    expected = gradient_by_hand((*ALL_RIGHT[:3], "0000"))
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    assert_close({name.removeprefix("module."): value for name, value in found.items()}, expected, 0.3)


def _train_in_one_of_two_processes(folder: Path) -> None:
    trainer = trainer_of(folder, success=ALL_RIGHT, per_device_train_batch_size=6)
    trainer.train()
    if trainer.accelerator.is_main_process:
        torch.save(trainer.kept.steps[0], folder / "gradients.pt")


if __name__ == "__main__":
    _train_in_one_of_two_processes(Path(sys.argv[1]))
