"""RRPO and SRPO on TRL: rollouts, advantages and gradient against their equation."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl import GRPOConfig

from methods.grpo import GRPOWithGroupMetrics
from methods.resets import (
    ONE_BY_EIGHT,
    ONE_BY_FOUR,
    PUBLISHED_GRPO,
    TWO_BY_FOUR,
    Block,
    BufferSettings,
    Chain,
    GRPOWithResets,
    Request,
    ResetLoss,
    ResetRollouts,
    build_blocks,
    chain_reward,
    rollout_columns,
    standardised_in_groups,
    uniform_step,
)
from tests.methods.stub_policy import StubPolicy, outcomes_of, third_step


def test_columns_add_up() -> None:
    prompts = [(1, 2, place) for place in range(3)]
    blocks = build_blocks(prompts, StubPolicy(0.3), third_step, BufferSettings(), np.random.default_rng(0))
    columns = rollout_columns(blocks)
    assert {len(values) for name, values in columns.items() if values is not None} == {24}
    assert columns["logprobs"] is None
    assert sum(columns["generated_tokens"]) == sum(block.generated_tokens for block in blocks)
    assert columns["env_mask"][-1] == [0] * 4 + [1] * 4
    assert rollout_columns(blocks, mask_prefix=False)["env_mask"][-1] == [1] * 8
    assert columns["success"] == [row.chain.correct for block in blocks for row in block.rows]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from((0.0, 0.1, 0.5, 1.0))), min_size=1, max_size=16))
def test_advantages_have_mean_zero_and_population_deviation_one_or_are_zero(pairs: list[tuple[int, float]]) -> None:
    groups, rewards = (torch.tensor(values) for values in zip(*pairs, strict=True))
    advantages = standardised_in_groups(rewards, groups).numpy()
    for group in groups.unique():
        inside = (groups == group).numpy()
        own, given_rewards = advantages[inside], rewards.numpy()[inside]
        if (given_rewards == given_rewards[0]).all():
            assert (own == 0).all()
        else:
            assert own.mean() == pytest.approx(0, abs=1e-6)
            assert own.std() == pytest.approx(1, abs=1e-6)


def test_an_unknown_reward_is_left_out() -> None:
    found = standardised_in_groups(torch.tensor([0.0, float("nan"), 1.0]), torch.zeros(3, dtype=torch.long))
    assert found.tolist() == [-1.0, 0.0, 1.0]


# ---- on TRL

WORDS = ["<pad>", "<eos>", "q0", "q1", *(f"w{number}" for number in range(8))]
PROMPTS = ["q0", "q1"]
PAPER = BufferSettings()


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def tiny_model(seed: int = 0) -> Qwen3ForCausalLM:
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {"vocab_size": len(WORDS), "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    return Qwen3ForCausalLM(Qwen3Config(**shape, **sizes, pad_token_id=0, eos_token_id=1))


class KeepsGradients(TrainerCallback):
    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.gradients = model, list[dict[str, torch.Tensor]]()

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.gradients.append({name: value.grad.clone() for name, value in self.model.named_parameters()})


class Recording(GRPOWithResets):
    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self.scored = inputs
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if found[0].requires_grad:
            self.log_probabilities = found[0]
            self.log_probabilities.retain_grad()
        return found


def deterministic_policy(requests: Sequence[Request]) -> list[Chain]:
    """Chains that depend on the request alone, so that two trainers see the same."""
    chains = []
    for one in requests:
        policy = StubPolicy(0.3, seed=1000 * one.prompt_ids[0] + one.draw)
        chain = policy.chain(tuple(token - 3 for token in one.prefix_ids))
        tokens = one.prefix_ids + tuple(token + 3 for token in chain.token_ids[len(one.prefix_ids) :])
        # Unequal lengths: some chains end early.
        longest = len(tokens) - (one.draw % 2)
        ends = tuple(dict.fromkeys(min(end, longest) for end in chain.step_ends))
        chains.append(Chain(tokens[:longest], ends, chain.reward, chain.correct))
    return chains


def trainer_of(
    folder: Path,
    settings: BufferSettings = PAPER,
    rollout: Any = None,
    kind: Any = Recording,
    reward: Any = chain_reward,
    method: dict[str, Any] | None = None,
    **config: Any,
) -> Any:
    model, words = tiny_model(), tokenizer()
    rollouts = rollout or ResetRollouts(third_step, deterministic_policy, lambda text: words(text).input_ids, settings)
    usual = {"per_device_train_batch_size": 16, "loss_type": "grpo", "max_steps": 1, "num_generations": 8}
    chosen = usual | {"learning_rate": 1e-2, "save_strategy": "no"} | config
    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        beta=0.0,
        max_completion_length=16,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        **chosen,
    )
    made = kind(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS * 4]),
        eval_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        processing_class=words,
        rollout_func=rollouts,
        **(method or {}),
    )
    kept = KeepsGradients(model)
    made.add_callback(kept)
    made.gradients = kept.gradients
    return made


def trained_by(folder: Path, **settings: Any) -> Any:
    trainer = trainer_of(folder, **settings)
    trainer.train()
    return trainer


def assert_same_gradients(one: Any, other: Any, atol: float = 1e-6) -> None:
    assert len(one.gradients) == len(other.gradients) > 0
    assert max(float(value.abs().max()) for value in one.gradients[0].values()) > 1e-4
    for first, second in zip(one.gradients, other.gradients, strict=True):
        for name, gradient in first.items():
            torch.testing.assert_close(gradient, second[name], rtol=1e-4, atol=atol)


def expected_gradient(blocks: Sequence[Block], mask_prefix: bool = True) -> dict[str, torch.Tensor]:
    """The equation of the method, one sequence at a time."""
    model = tiny_model()
    rows = [row for block in blocks for row in block.rows]
    advantages = np.concatenate(
        [
            standard(np.array([row.chain.reward for row in block.rows if row.group == group]))
            for block in blocks
            for group in sorted({row.group for row in block.rows})
        ]
    )
    loss = torch.zeros(())
    for row, advantage in zip(rows, advantages, strict=True):
        ids = torch.tensor([[*row.prompt_ids, *row.chain.token_ids]])
        start = len(row.prompt_ids) + (row.prefix_length if mask_prefix else 0)
        written = model(ids).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[start - 1 :, 0]
        loss = loss - float(advantage) * written.mean() / len(rows)
    loss.backward()
    return {name: value.grad for name, value in model.named_parameters()}


def standard(rewards: np.ndarray) -> np.ndarray:
    deviation = rewards.std()
    return np.zeros_like(rewards) if deviation < 1e-8 else (rewards - rewards.mean()) / deviation


def reference_blocks() -> list[Block]:
    prompts = [tokenizer()(text).input_ids for text in PROMPTS]
    return build_blocks(prompts, deterministic_policy, third_step, BufferSettings(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained_by(tmp_path_factory.mktemp("resets"), max_grad_norm=0.0)


def test_the_stub_gives_signal_in_both_halves() -> None:
    for group in (0, 1):
        assert any(0 < sum(outcomes_of(block, group)) < 4 for block in reference_blocks())


@pytest.mark.parametrize("mask", [True, False])
def test_the_gradient_is_the_one_of_the_equation(tmp_path: Path, mask: bool) -> None:
    trainer = trained_by(tmp_path, settings=BufferSettings(mask_prefix=mask), max_grad_norm=0.0)
    expected = expected_gradient(reference_blocks(), mask)
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-4
    for name, gradient in trainer.gradients[0].items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)


def test_the_prefix_gets_exactly_no_gradient(trained: Any) -> None:
    mask = (trained.scored["completion_mask"] * trained.scored["tool_mask"]).bool()
    heard = trained.scored["advantages"].ne(0)
    gradient = trained.log_probabilities.grad
    assert (gradient[~mask] == 0).all() and (gradient[heard][mask[heard]] != 0).all()
    assert (trained.scored["completion_mask"].bool() & ~mask)[heard].any()


def test_per_token_gradient_is_the_advantage_over_the_length(trained: Any) -> None:
    mask = (trained.scored["completion_mask"] * trained.scored["tool_mask"]).double()
    weight = -trained.scored["advantages"].double() / mask.sum(dim=1) / len(mask)
    np.testing.assert_allclose(trained.log_probabilities.grad.numpy(), mask * weight[:, None], rtol=1e-4)


@pytest.mark.parametrize("batch", [4, 8])
def test_micro_batches_change_nothing(tmp_path: Path, trained: Any, batch: int) -> None:
    split = trained_by(
        tmp_path, max_grad_norm=0.0, per_device_train_batch_size=batch, gradient_accumulation_steps=16 // batch
    )
    assert_same_gradients(trained, split)


def test_a_prefix_in_the_prompt_gives_the_same_update(tmp_path: Path, trained: Any) -> None:
    def in_prompt(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        columns = rollout_columns(reference_blocks())
        starts = [row.prefix_length for block in reference_blocks() for row in block.rows]
        for row, start in enumerate(starts):
            columns["prompt_ids"][row] += columns["completion_ids"][row][:start]
            for name in ("completion_ids", "env_mask"):
                columns[name][row] = columns[name][row][start:]
        return columns

    assert_same_gradients(trained, trained_by(tmp_path, rollout=in_prompt, max_grad_norm=0.0))


def test_what_is_logged(trained: Any) -> None:
    entry = next(entry for entry in trained.state.log_history if "reward" in entry)
    blocks = reference_blocks()
    assert entry["resets/share"] == 1.0
    assert entry["tokens/generated"] == sum(block.generated_tokens for block in blocks)
    assert entry["chains/generated"] == sum(block.generated_chains for block in blocks)
    assert entry["suffix/success"] == pytest.approx(np.mean([outcomes_of(block, 1) for block in blocks]))
    silent = [len(set(outcomes_of(block, 0))) == 1 for block in blocks]
    assert entry["base/zero_std"] == pytest.approx(np.mean(silent))
    positions = [row.position for block in blocks for row in block.rows if row.group]
    assert entry["resets/position"] == pytest.approx(np.mean(positions))
    trained_tokens = sum(
        sum(row.chain.policy_mask(row.prefix_length))
        for block in blocks
        for row in block.rows
        if len(set(outcomes_of(block, row.group))) == 2
    )
    assert entry["tokens/trained"] == trained_tokens


def test_without_the_clip_no_ratio_enters_later_updates(tmp_path: Path) -> None:
    """The second update on one batch has the gradient of the first equation at the weights of that moment."""
    found = {}
    for clip in (False, True):
        trainer = trainer_of(
            tmp_path / str(clip),
            method={"loss": ResetLoss(clip=clip)},
            num_iterations=2,
            max_steps=2,
            learning_rate=0.1,
        )
        trainer.train()
        advantages, log_probabilities = trainer.scored["advantages"], trainer.log_probabilities
        mask = trainer.scored["completion_mask"] * trainer.scored["tool_mask"]
        plain = -(mask * (advantages / mask.sum(dim=1) / len(mask))[:, None])
        found[clip] = float((log_probabilities.grad - plain).abs().max())
    assert found[False] < 1e-7
    assert found[True] > 1e-4


def plain_rollouts(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
    """Chains without any column of resets, as a sampler for GRPO gives them."""
    requests = [Request(0, row, (2 + int(prompt[1]),), (), 20) for row, prompt in enumerate(prompts)]
    chains = deterministic_policy(requests)
    return {
        "prompt_ids": [list(one.prompt_ids) for one in requests],
        "completion_ids": [list(chain.token_ids) for chain in chains],
        "logprobs": None,
        "chain_reward": [chain.reward for chain in chains],
    }


def test_without_resets_and_with_trls_deviation_it_is_grpo(tmp_path: Path) -> None:
    ours = trained_by(
        tmp_path / "ours", rollout=plain_rollouts, method={"loss": ResetLoss(clip=True, ddof=1, epsilon=1e-4)}
    )
    grpo = trained_by(tmp_path / "grpo", rollout=plain_rollouts, kind=GRPOWithGroupMetrics)
    assert_same_gradients(ours, grpo, atol=1e-7)


def test_without_a_rule_every_block_is_one_group_of_fresh_chains(tmp_path: Path) -> None:
    words = tokenizer()
    control = ResetRollouts(None, deterministic_policy, lambda text: words(text).input_ids)
    trainer = trained_by(tmp_path, rollout=control)
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert entry["resets/share"] == 0.0 and entry["chains/generated"] == 16.0
    assert trainer.scored["tool_mask"][trainer.scored["completion_mask"].bool()].all()


@pytest.mark.parametrize(("truth", "exact", "clean"), [(2, 0.0, 0.0), (3, 1.0, 1.0), (4, 0.0, 1.0)])
def test_localization_is_logged_against_the_truth(tmp_path: Path, truth: int, exact: float, clean: float) -> None:
    words = tokenizer()
    rollouts = ResetRollouts(
        third_step, deterministic_policy, lambda text: words(text).input_ids, first_error=lambda seed: truth
    )
    trainer = trained_by(tmp_path, rollout=rollouts)
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    found = [entry[f"localization/{name}"] for name in ("exact", "clean", "deviation")]
    assert found == [exact, clean, 3 - truth]


def test_published_grpo_is_a_token_mean(tmp_path: Path) -> None:
    trainer = trained_by(tmp_path, rollout=plain_rollouts, method={"loss": PUBLISHED_GRPO}, loss_type="dapo")
    mask = trainer.scored["completion_mask"]
    expected = -(mask * trainer.scored["advantages"][:, None]) / mask.sum()
    np.testing.assert_allclose(trainer.log_probabilities.grad.numpy(), expected.numpy(), rtol=1e-4, atol=1e-9)


def test_evaluation_is_plain_and_has_its_own_group_size(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, num_generations_eval=2, per_device_eval_batch_size=4)
    found = trainer.evaluate()
    assert found["eval_resets/share"] == 0.0
    assert found["eval_chains/generated"] == 4.0
    assert trainer.model.training is False


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, trained: Any) -> None:
    again = trained_by(tmp_path, max_grad_norm=0.0)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    words = tokenizer()

    def rollouts() -> ResetRollouts:
        return ResetRollouts(uniform_step, deterministic_policy, lambda text: words(text).input_ids)

    config = {"max_steps": 3, "save_strategy": "steps", "save_steps": 2}
    whole = trainer_of(tmp_path, rollout=rollouts(), **config)
    whole.train()
    resumed = trainer_of(tmp_path, rollout=rollouts(), **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"loss_type": "dapo"}, "needs loss_type='grpo'"),
        ({"scale_rewards": "batch"}, "scale_rewards='group'"),
    ],
)
def test_a_configuration_that_would_do_something_else_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainer_of(tmp_path, **config)


def test_a_group_size_that_is_not_the_buffers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_generations is 4"):
        trained_by(tmp_path, num_generations=4)


def share_of_first_word(completions: list[str], **columns: Any) -> list[float]:
    """A reward on text."""
    return [float(text.split().count("w0") >= 2) for text in completions]


def test_a_plain_script_with_generate_and_a_reward_on_text(tmp_path: Path) -> None:
    words = tokenizer()
    begun: list[tuple[int, ...]] = []

    def sample(requests: Sequence[Request]) -> list[Chain]:
        chains = []
        for one in requests:
            given_ids = [*one.prompt_ids, *one.prefix_ids]
            new = 8 - len(one.prefix_ids)
            written = trainer.model.generate(
                torch.tensor([given_ids]), do_sample=True, max_new_tokens=new, min_new_tokens=new
            )
            tokens = tuple(written[0, len(one.prompt_ids) :].tolist())
            right = bool(share_of_first_word([words.decode(tokens)])[0])
            begun.append(one.prefix_ids)
            chains.append(Chain(tokens, (2, 4, 6, 8), float(right), right))
        return chains

    rollouts = ResetRollouts(uniform_step, sample, lambda text: words(text).input_ids)
    trainer = trainer_of(tmp_path, rollout=rollouts, reward=share_of_first_word, learning_rate=2e-2, max_steps=12)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert any(begun) and any(
        not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items()
    )
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert np.mean([entry["reward"] for entry in log[-3:]]) > np.mean([entry["reward"] for entry in log[:3]])


def one_of_two_processes(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    trainer = trained_by(Path(folder), max_grad_norm=0.0, per_device_train_batch_size=8)
    assert trainer.accelerator.num_processes == 2
    with pytest.raises(ValueError, match="a process generates 4 rows, not whole groups of 8"):
        trainer_of(Path(folder), per_device_train_batch_size=4)
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    logged = {name: entry[name] for name in ("tokens/trained", "tokens/generated", "base/zero_std", "suffix/success")}
    torch.save({"gradients": trainer.gradients, "logged": logged}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_update_of_one(tmp_path: Path, trained: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two_processes, (str(tmp_path), port), nprocs=2)
    entry = next(entry for entry in trained.state.log_history if "reward" in entry)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in found["logged"].items():
            assert value == pytest.approx(entry[name])
        for name, gradient in trained.gradients[0].items():
            torch.testing.assert_close(found["gradients"][0][name], gradient, rtol=1e-4, atol=1e-6)


def test_what_is_relied_on_in_trl() -> None:
    assert list(inspect.signature(trl.GRPOTrainer._compute_loss).parameters) == ["self", "model", "inputs"]
    source = inspect.getsource(trl.GRPOTrainer._compute_loss)
    assert 'inputs.get("old_per_token_logps")' in source
    assert ONE_BY_FOUR.size == TWO_BY_FOUR.size == ONE_BY_EIGHT.size == 8
