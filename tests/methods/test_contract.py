"""What every trainer of `methods` keeps of TRL: one table of trainers, one of settings (`docs/trainers.md`)."""

from __future__ import annotations

import os
import re
import socket
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from methods.echorl import EchoConfig, EchoTrainer
from methods.grpo import GRPOWithGroupMetrics
from methods.localizers import AskedPolicy, LeastConfidentStep
from methods.resets import (
    BufferSettings,
    Chain,
    GRPOWithResets,
    Request,
    ResetLoss,
    ResetRollouts,
    Split,
    uniform_step,
)
from methods.reuserl import SkillReuseReward
from methods.rivals.degenerate_groups import SignAdvantageTrainer, ZeroVarianceTrainer
from methods.rivals.dynamic_sampling import DynamicSamplingTrainer, EchoWithDynamicSampling
from methods.rivals.segment_values import GRPOWithSegmentValues, SegmentValueRollouts
from reproduce.training.row_dropping import without_idle_rows
from tests.methods.tiny_vision import questions, vision_model, vision_processor
from tests.reproduce.general_models import general_model, general_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:the dictionary held single symbols:UserWarning"),
    pytest.mark.filterwarnings("ignore:loss_type=:UserWarning"),
]
WORDS = ["<pad>", "<eos>", "<end>", "\n", "q0", "q1", "q2", "q3", *(f"w{number}" for number in range(8))]
NEWLINE, FIRST_WORD = WORDS.index("\n"), WORDS.index("w0")
PROMPTS = ("q0", "q1 q0", "q2 q0 q1", "q3")
GROUP = 4
MIXED = {"q0": "1100", "q1 q0": "0101", "q2 q0 q1": "1000", "q3": "1110"}
HALVES = BufferSettings(split=Split(base=2, seeds=1, suffixes=2))
LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def tiny_model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {"vocab_size": len(WORDS), "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    config = Qwen3Config(**shape, **sizes, pad_token_id=0, eos_token_id=1, tie_word_embeddings=False)
    return Qwen3ForCausalLM(config).double()


# ---- what is sampled: a function of prompt and member alone


def written(prompt: str, member: int, end: int = 1, prefix: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Lines of words; the number of words differs between the members."""
    generator = np.random.default_rng([PROMPTS.index(prompt), member, len(prefix)])
    lines = [[*generator.integers(FIRST_WORD, len(WORDS), 1 + generator.integers(3)), NEWLINE] for _ in range(3)]
    kept = lines[len([token for token in prefix if token == NEWLINE]) :]
    return (*prefix, *(int(token) for line in kept for token in line), end)


def ends_of(tokens: Sequence[int]) -> tuple[int, ...]:
    places = [place + 1 for place, token in enumerate(tokens) if token == NEWLINE]
    return (*places[:-1], len(tokens))


class Sampled:
    """A `Sampler` and a `rollout_func` of the episodes above. success: of each prompt's members, in order."""

    def __init__(self, success: dict[str, str], end: int = 1, log_probability: float | None = None) -> None:
        self.success, self.end, self.log_probability = success, end, log_probability

    def __call__(self, requests: Sequence[Request]) -> list[Chain]:
        chains = []
        for one in requests:
            prompt = " ".join(WORDS[token] for token in one.prompt_ids)
            member = one.place + one.draw
            tokens = written(prompt, member, self.end, one.prefix_ids)
            right = self.success[prompt][member % GROUP] == "1"
            told = None if self.log_probability is None else (self.log_probability,) * len(tokens)
            chains.append(Chain(tokens, ends_of(tokens), float(right), right, log_probabilities=told))
        return chains

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        members = [place % GROUP for place in range(len(prompts))]
        tokens = [written(prompt, member, self.end) for prompt, member in zip(prompts, members, strict=True)]
        right = [self.success[prompt][member] == "1" for prompt, member in zip(prompts, members, strict=True)]
        return {
            "prompt_ids": [tokenizer()(prompt).input_ids for prompt in prompts],
            "completion_ids": [list(one) for one in tokens],
            "logprobs": None,
            # The second token of each episode is the environment's.
            "env_mask": [[int(place != 1) for place in range(len(one))] for one in tokens],
            "success": right,
            "skills": [[("a", "b")[token % 2] for token in one[:-1]] for one in tokens],
        }


def outcome(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    return [float(value) for value in success]


def unknown_failures(completions: list[Any], success: list[bool], **columns: Any) -> list[float | None]:
    return [1.0 if value else None for value in success]


def encode(prompt: str) -> list[int]:
    return list(tokenizer()(prompt).input_ids)


def reuse() -> SkillReuseReward:
    return SkillReuseReward(("a", "b"), horizon=40)


class Gradients(TrainerCallback):
    """Copies the gradients of every optimiser step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.steps.append({name: value.grad.clone() for name, value in named if value.grad is not None})


KINDS: dict[str, tuple[type[GRPOTrainer], dict[str, Any]]] = {
    "grpo": (GRPOWithGroupMetrics, {}),
    "grpo, idle rows left out": (without_idle_rows(GRPOWithGroupMetrics), {}),
    "echorl": (EchoTrainer, {"echo": EchoConfig(weight=0.3)}),
    "echorl, idle rows left out": (without_idle_rows(EchoTrainer), {"echo": EchoConfig(weight=0.3)}),
    "reuserl": (GRPOWithGroupMetrics, {}),
    "resets": (GRPOWithResets, {}),
    "sign advantage": (SignAdvantageTrainer, {}),
    "rl-zvp": (ZeroVarianceTrainer, {}),
    "dapo": (DynamicSamplingTrainer, {"largest_rounds": 2}),
    "echorl on dapo": (EchoWithDynamicSampling, {"largest_rounds": 2, "echo": EchoConfig(weight=0.3)}),
    "segment values": (GRPOWithSegmentValues, {}),
}
EVERY = pytest.mark.parametrize("kind", KINDS)
WITH_RESETS = ("resets", "segment values")


def made(folder: Path, kind: str, sampled: Sampled | None = None, reward: Any = outcome, **settings: Any) -> Any:
    """A trainer on four prompts of unequal length, in groups of four."""
    trainer, method = KINDS[kind]
    sampled = sampled or Sampled(MIXED)
    rollout: Any = sampled.rollout
    if kind == "resets":
        rollout = ResetRollouts(uniform_step, sampled, encode, HALVES)
    elif kind == "segment values":
        rollout = SegmentValueRollouts(sampled, encode, continuations=2)
    elif kind == "reuserl":
        reward = reuse() if reward is outcome else reward
    own = {name: settings.pop(name) for name in ("model", "processing_class", "peft_config") if name in settings}
    usual: dict[str, Any] = {"per_device_train_batch_size": 16, "max_steps": 1, "learning_rate": 1e-2}
    usual |= {"loss_type": "grpo", "save_strategy": "no", "max_grad_norm": 0.0, "beta": 0.0}
    found = trainer(
        **({"model": tiny_model(), "processing_class": tokenizer()} | own),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            num_generations=GROUP,
            max_completion_length=16,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            shuffle_dataset=False,
            lr_scheduler_type="constant",
            **(usual | settings),
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        rollout_func=rollout,
        **({"callbacks": [reward]} if isinstance(reward, SkillReuseReward) else {}),
        **method,
    )
    found.kept = Gradients()
    found.add_callback(found.kept)
    return found


def gradients(*args: Any, **settings: Any) -> list[dict[str, torch.Tensor]]:
    trainer = made(*args, **settings)
    trainer.train()
    return list(trainer.kept.steps)


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys() and largest(expected) > 1e-4
    for name, value in expected.items():
        # Normalisation layers compute in single precision whatever the weights are.
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-6)


def largest(gradient: dict[str, torch.Tensor]) -> float:
    return max(float(value.abs().max()) for value in gradient.values())


def logged(trainer: Any) -> dict[str, float]:
    return next(entry for entry in trainer.state.log_history if "reward" in entry)


# ---- the contract


@EVERY
def test_the_update_does_not_depend_on_how_a_batch_is_fed(tmp_path: Path, kind: str) -> None:
    whole = gradients(tmp_path, kind)[0]
    split = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert_close(gradients(tmp_path, kind, **split)[0], whole)
    # Padding of prompts on the left and of completions on the right, and what the tokenizer would prefer.
    assert_close(gradients(tmp_path, kind, pad_to_multiple_of=8)[0], whole)
    right = tokenizer()
    right.padding_side = "right"
    assert_close(gradients(tmp_path, kind, processing_class=right)[0], whole)
    padded_by_end = tokenizer()
    padded_by_end.pad_token = padded_by_end.eos_token
    assert_close(gradients(tmp_path, kind, processing_class=padded_by_end)[0], whole)


@EVERY
def test_several_updates_of_a_batch_begin_as_one(tmp_path: Path, kind: str) -> None:
    whole = gradients(tmp_path, kind)[0]
    for found in gradients(tmp_path, kind, num_iterations=2, max_steps=2, learning_rate=0.0):
        assert_close(found, whole)
    spread = {"per_device_train_batch_size": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 1}
    steps = gradients(tmp_path, kind, **spread, max_steps=4, learning_rate=0.0)
    assert_close({name: torch.stack([step[name] for step in steps]).mean(dim=0) for name in whole}, whole)


@EVERY
def test_a_reference_model_adds_no_gradient_before_the_policy_moves(tmp_path: Path, kind: str) -> None:
    tiny_model().float().save_pretrained(tmp_path / "model")
    trainer = made(tmp_path, kind, model=str(tmp_path / "model"), beta=0.1, max_steps=2)
    trainer.train()
    assert_close(trainer.kept.steps[0], gradients(tmp_path, kind, model=tiny_model().float())[0])
    assert [entry["kl"] for entry in trainer.state.log_history if "kl" in entry][1] > 0


@EVERY
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_every_scale_of_rewards_trains(tmp_path: Path, kind: str, loss: str) -> None:
    level = "sequence" if loss == "luspo" else "token"
    for scale in ("group", "batch", "none") if loss == "grpo" else ("group",):
        arguments = {"loss_type": loss, "scale_rewards": scale, "importance_sampling_level": level}
        if kind in WITH_RESETS and (loss != "grpo" or scale != "group"):
            with pytest.raises(ValueError, match=r"needs loss_type='grpo'|scale_rewards='group'"):
                made(tmp_path, kind, **arguments)
            continue
        found = gradients(tmp_path, kind, **arguments)[0]
        assert all(value.isfinite().all() for value in found.values()) and largest(found) > 0


@EVERY
@pytest.mark.parametrize(
    "adapters",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [NEWLINE, FIRST_WORD]},
    ],
    ids=["attention", "embeddings", "single tokens"],
)
def test_adapters_are_what_is_trained(tmp_path: Path, kind: str, adapters: dict[str, Any]) -> None:
    # Adapters multiply by a matrix of zeros at first, so that it alone has a gradient.
    trainer = made(tmp_path, kind, peft_config=LoraConfig(r=2, task_type="CAUSAL_LM", **adapters))
    trainer.train()
    found = trainer.kept.steps[0]
    assert largest(found) > 0 and all(value.isfinite().all() for value in found.values())
    assert all(re.search(r"lora|trainable_tokens", name) for name in found)


@EVERY
def test_any_of_several_ends_of_sequence_ends_an_episode(tmp_path: Path, kind: str) -> None:
    model = tiny_model()
    model.generation_config.eos_token_id = [1, 2]
    trainer = made(tmp_path, kind, Sampled(MIXED, end=2), model=model, mask_truncated_completions=True)
    trainer.train()
    assert logged(trainer)["completions/clipped_ratio"] == 0.0
    assert largest(trainer.kept.steps[0]) > 0


@EVERY
def test_truncated_episodes_are_sampled_and_not_trained(tmp_path: Path, kind: str) -> None:
    trainer = made(tmp_path, kind, Sampled(MIXED, end=FIRST_WORD), mask_truncated_completions=True)
    trainer.train()
    assert largest(trainer.kept.steps[0]) == 0.0
    assert logged(trainer)["tokens/trained"] == 0.0
    counted = made(tmp_path, kind, Sampled(MIXED, end=FIRST_WORD))
    counted.train()
    assert logged(trainer)["tokens/sampled"] == logged(counted)["tokens/sampled"] > 0


@EVERY
def test_an_episode_that_nobody_scores_has_no_part_in_its_group(tmp_path: Path, kind: str) -> None:
    """Rewards (None, 1, 1, 1) are a group that is all right."""
    success = dict.fromkeys(PROMPTS, "0111")
    trainer = made(tmp_path, kind, Sampled(success), reward=unknown_failures)
    trainer.train()
    entry = logged(trainer)
    assert (entry["groups/all_right"], entry["groups/mixed"]) == (1.0, 0.0)
    assert all(value.isfinite().all() for value in trainer.kept.steps[0].values())
    if kind in ("grpo", "reuserl", "resets", "dapo"):
        assert largest(trainer.kept.steps[0]) == 0.0


@EVERY
def test_a_run_continues_from_a_checkpoint(tmp_path: Path, kind: str) -> None:
    plan = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}
    whole = made(tmp_path, kind, **plan)
    whole.train()
    between = made(tmp_path, kind, **plan)
    between.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, value in between.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name])
    # Inside a batch TRL samples anew: the run goes on, with other numbers.
    plan |= {"num_iterations": 4}
    made(tmp_path / "inside", kind, **plan).train()
    inside = made(tmp_path / "inside", kind, **plan)
    inside.train(resume_from_checkpoint=str(tmp_path / "inside" / "checkpoint-2"))
    assert inside.state.global_step == 4 and largest(inside.kept.steps[-1]) > 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITH_RESETS])
def test_pictures_stay_with_their_rows(tmp_path: Path, kind: str) -> None:
    """The gradient of a batch with images is that of feeding every row; who cannot keep every row says so."""
    processor, rows = vision_processor(), questions(4)
    trainer, method = KINDS[kind]

    def first_of_first_groups(completions: list[Any], **columns: Any) -> list[float]:
        # The last group is all wrong, so its rows are the ones that would be left out.
        return [float(place % GROUP == 0 and place < 3 * GROUP) for place in range(len(completions))]

    def steps(chosen: Any, **options: Any) -> list[dict[str, torch.Tensor]]:
        kept = Gradients()
        arguments = GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            loss_type="grpo",
            num_generations=GROUP,
            per_device_train_batch_size=16,
            max_completion_length=6,
            max_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        chosen(
            model=vision_model(processor.tokenizer),
            reward_funcs=first_of_first_groups,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=processor,
            callbacks=[kept],
            **options,
        ).train()
        return kept.steps

    if kind in ("dapo", "echorl on dapo"):
        with pytest.raises(ValueError, match="batches with images"):
            steps(trainer, **method)
        return
    found = steps(trainer, **method)[0]
    assert largest(found) > 0
    if kind in ("grpo", "grpo, idle rows left out"):
        expected = steps(GRPOTrainer)[0]
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_the_table_in_the_documentation_is_of_these_trainers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| | grpo"))
    named = [cell.strip() for cell in header.strip("|").split("|")[1:]]
    assert named == [kind for kind in KINDS if "left out" not in kind]


# ---- what was wrong


def pretend_vllm(trainer: Any) -> None:
    """TRL's path for vLLM, with the rollouts still those of the test."""
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = SimpleNamespace(sync_weights=lambda: None)


@pytest.mark.parametrize("log_probability", [-0.1, -4.0])
def test_no_ratio_of_vllm_enters_a_loss_without_one(tmp_path: Path, log_probability: float) -> None:
    """Whatever the sampler's log-probabilities are: TRL's correction would scale rows, or erase them."""
    trainer = made(tmp_path, "resets", Sampled(MIXED, log_probability=log_probability))
    pretend_vllm(trainer)
    trainer.train()
    assert_close(trainer.kept.steps[0], gradients(tmp_path, "resets")[0])


def test_a_ratio_at_a_prefix_that_nobody_sampled_is_refused(tmp_path: Path) -> None:
    trainer = made(tmp_path, "resets", Sampled(MIXED, log_probability=-1.0))
    trainer.rollout_func = ResetRollouts(
        uniform_step, Sampled(MIXED), encode, BufferSettings(split=HALVES.split, mask_prefix=False)
    )
    pretend_vllm(trainer)
    trainer.reset_loss, trainer.vllm_importance_sampling_correction = ResetLoss(clip=True), True
    with pytest.raises(ValueError, match="without the prefix mask"):
        trainer.train()


def test_the_echo_hears_of_successes_that_cost(tmp_path: Path) -> None:
    """The reward of ReuseRL is below 1 for a success: it tells the trainer of it apart."""
    reward = SkillReuseReward(
        ("a", "b"),
        horizon=40,
        outcome=lambda completions, **columns: [float("w0" in text) for text in completions],
        skills=lambda completion: ["a"] * len(completion.split()),
    )
    trainer = made(tmp_path, "echorl", reward=reward)
    columns = Sampled(MIXED).rollout
    trainer.rollout_func = lambda prompts, current: {
        name: values for name, values in columns(prompts, current).items() if name not in ("success", "skills")
    }
    trainer.train()
    entry = logged(trainer)
    assert entry["reward"] < 1.0 and entry["echo/groups_with_clip"] == 1.0
    assert entry["reuse/success"] == pytest.approx(float(trainer._successes.float().mean())) and entry["echo/loss"] > 0


def test_rewards_that_no_success_reaches_are_warned_of(tmp_path: Path) -> None:
    def halves(completions: list[Any], **columns: Any) -> list[float]:
        return [0.5 * (place % 2) for place in range(len(completions))]

    trainer = made(tmp_path, "echorl", reward=halves)
    columns = Sampled(MIXED).rollout
    trainer.rollout_func = lambda prompts, current: {
        name: values for name, values in columns(prompts, current).items() if name != "success"
    }
    with pytest.warns(UserWarning, match="none reaches 1, from where an episode counts as a success"):
        trainer.train()
    trainer.success_reward, trainer._has_warned = 0.5, False
    trainer.args.max_steps = 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.train()
    assert trainer.state.log_history[-2]["groups/mixed"] == 1.0


@pytest.mark.filterwarnings("default:loss_type=:UserWarning")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITH_RESETS])
def test_updates_that_are_not_divided_by_their_own_tokens_are_warned_of(tmp_path: Path, kind: str) -> None:
    spread = {"per_device_train_batch_size": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 1}
    with pytest.warns(UserWarning, match="divides each of the 4 updates"):
        made(tmp_path, kind, **spread, loss_type="dapo")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        made(tmp_path, kind, loss_type="dapo")
        made(tmp_path, kind, **spread)


def test_dapo_divides_an_update_by_the_mean_tokens_of_the_updates(tmp_path: Path) -> None:
    """What the warning says, held against TRL: the mean over updates is the token mean over the batch."""
    spread = {"per_device_train_batch_size": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 1}
    whole = gradients(tmp_path, "grpo", loss_type="dapo")[0]
    steps = gradients(tmp_path, "grpo", **spread, loss_type="dapo", max_steps=4, learning_rate=0.0)
    assert_close({name: torch.stack([step[name] for step in steps]).mean(dim=0) for name in whole}, whole)


@pytest.mark.parametrize("entropies", [False, True])
def test_metrics_of_trl_do_not_move_when_rows_are_left_out(tmp_path: Path, entropies: bool) -> None:
    """Three of four groups carry no gradient. After an update of the batch some ratios are clipped."""
    one_group = {**dict.fromkeys(PROMPTS, "1111"), "q0": "0110"}
    found = []
    for kind in ("grpo", "grpo, idle rows left out"):
        plan = {"max_steps": 1} if entropies else {"num_iterations": 3, "max_steps": 3, "learning_rate": 0.2}
        trainer = made(tmp_path, kind, Sampled(one_group), **plan)
        rollout = Sampled(one_group).rollout

        def told(prompts: list[str], current: Any, rollout: Any = rollout) -> dict[str, list[Any]]:
            columns = rollout(prompts, current)
            exact = []
            for start, rest in zip(columns["prompt_ids"], columns["completion_ids"], strict=True):
                with torch.no_grad():
                    logits = current.model(torch.tensor([start + rest])).logits[0, len(start) - 1 : -1]
                exact.append(torch.distributions.Categorical(logits=logits).entropy().tolist())
            return columns | {"entropies": exact}

        trainer.rollout_func = told if entropies else rollout
        trainer.train()
        found.append([entry for entry in trainer.state.log_history if "grad_norm" in entry])
    for every, kept in zip(*found, strict=True):
        names = {name for name in every if name.startswith("clip_ratio")} | ({"entropy"} if entropies else set())
        assert ("entropy" in kept) is entropies
        for name in names:
            assert kept[name] == pytest.approx(every[name], rel=1e-5, abs=1e-9), name
    assert entropies or any(entry["clip_ratio/region_mean"] > 0 for entry in found[0])


@EVERY
def test_the_model_card_names_method_and_paper(tmp_path: Path, kind: str) -> None:
    trainer = made(tmp_path, kind)
    trainer.create_model_card(model_name="tiny")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    papers = {"echorl": "2605.31228", "resets": "2605.25507", "sign advantage": "2605.07689", "rl-zvp": "2509.21880"}
    papers |= {"dapo": "2503.14476", "segment values": "2505.23564"}
    assert papers.get(kind.split(",")[0].split(" on ")[0], "2402.03300") in card
    assert type(trainer)._name in card and {"trl", "grpo"} <= set(trainer._tag_names)
    assert type(trainer)._name != GRPOTrainer._name


# ---- resets by the trainer's own generation


def says_e(completions: list[Any], letter: list[str], **columns: Any) -> list[float]:
    return [
        float(sign in one[0]["content"] and len(one[0]["content"]) % 2 == 0)
        for one, sign in zip(completions, letter, strict=True)
    ]


@pytest.mark.parametrize("rule", [uniform_step, AskedPolicy(), LeastConfidentStep()], ids=["random", "asked", "least"])
@pytest.mark.parametrize("template", ["chat", "text"])
def test_resets_continue_prefixes_with_the_trainers_own_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: Any, template: str
) -> None:
    monkeypatch.setattr("methods.continuation.LONGEST_REPLY", 8)
    # A random policy names no step.
    monkeypatch.setattr("methods.localizers.parse_step", lambda reply, steps: steps)
    words = general_tokenizer()
    chat = template == "chat"
    prompts: list[Any] = [f"Which word is it, {number}?" for number in range(2)]
    if chat:
        prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
    reward: Any = says_e if chat else (lambda completions, **columns: [float(len(text) % 2) for text in completions])
    rows: list[Any] = []

    class Watching(GRPOWithResets):
        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            output = super()._generate_and_score_completions(inputs)
            rows.append(output | {"group": [row["reset_group"] for row in inputs]})
            return output

    trainer = Watching(
        model=general_model("qwen3", words),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            loss_type="grpo",
            num_generations=8,
            per_device_train_batch_size=16,
            max_completion_length=64,
            max_steps=2,
            # Many lines.
            generation_kwargs={"sequence_bias": [[words("\n").input_ids, 4.0]]},
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt, "letter": "e"} for prompt in prompts]),
        processing_class=words,
        rollout_func=ResetRollouts(rule),
    )
    usual = trainer.generation_config
    trainer.train()
    assert trainer.generation_config is usual and usual.max_new_tokens == 64 and usual.temperature == 1.0
    prefixes = 0
    for batch in rows:
        lengths = batch["completion_mask"].sum(dim=1)
        assert lengths.max() <= 64
        groups = torch.tensor(batch["group"])
        given = (batch["completion_mask"].bool() & (batch["tool_mask"] == 0)).sum(dim=1)
        assert (given[groups == 0] == 0).all()
        prefixes += int((given > 0).sum())
        for start in range(0, len(groups), 8):
            own = slice(start, start + 8)
            suffixes = groups[own] == 1
            ids, shared = batch["completion_ids"][own][suffixes], int(given[own].max())
            # All suffixes of a block begin with the same steps of the failed chain, which end with a line.
            assert (ids[:, :shared] == ids[:1, :shared]).all()
            assert not shared or "\n" in words.decode(ids[0, shared - 1])
    entry = logged(trainer)
    assert prefixes > 0 and entry["resets/share"] > 0
    assert entry["tokens/generated"] >= entry["tokens/sampled"]
    plain = trainer.model
    assert not plain.training or trainer.evaluate(trainer.train_dataset)["eval_resets/share"] == 0.0


class Engine:
    """What TRL's vLLM client offers, writing lines at random: prompts come back as they went in."""

    def __init__(self) -> None:
        self.generator, self.calls = np.random.default_rng(0), list[tuple[int, float, int]]()
        self.temperature, self.top_p, self.max_completion_length = 1.0, 1.0, 16

    def sync_weights(self) -> None:
        pass

    def generate(self, prompts: list[list[int]], images: None, num_generations: int, profiler: Any) -> tuple[Any, ...]:
        self.calls.append((num_generations, self.temperature, self.max_completion_length))
        written = []
        for _ in prompts:
            tokens = self.generator.integers(FIRST_WORD - 5, len(WORDS), self.max_completion_length)
            written.append([*np.where(tokens < FIRST_WORD, NEWLINE, tokens)[:-1].tolist(), 1])
        logprobs = [[[-0.5] for _ in tokens] for tokens in written]
        return prompts, written, logprobs, None


def first_word(completions: list[str], **columns: Any) -> list[float]:
    return [float("w0" in text) for text in completions]


def test_resets_continue_prefixes_with_vllm_through_trl(tmp_path: Path) -> None:
    trainer = made(tmp_path, "resets", reward=first_word)
    trainer.rollout_func = ResetRollouts(AskedPolicy(), settings=BufferSettings(HALVES.split, longest=50))
    pretend_vllm(trainer)
    engine = trainer.vllm_generation = Engine()
    trainer.train()
    assert {number for number, _, _ in engine.calls} == {1}
    # Chains at the temperature of training, replies at the localizer's own and with room of their own.
    assert {(temperature, limit == 4096) for _, temperature, limit in engine.calls} == {(1.0, False), (0.3, True)}
    assert (engine.temperature, engine.max_completion_length) == (1.0, 16)
    entry = logged(trainer)
    assert entry["resets/share"] > 0 and largest(trainer.kept.steps[0]) > 0
    assert entry["completions/max_length"] <= 16


def one_of_two_processes(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    trainer = made(Path(folder), "resets", reward=first_word, per_device_train_batch_size=8)
    trainer.rollout_func = ResetRollouts(LeastConfidentStep(), settings=BufferSettings(HALVES.split, longest=50))
    trainer.train()
    found = {"entry": {name: logged(trainer)[name] for name in ("chains/generated", "tokens/generated", "reward")}}
    found["weights"] = {name: value.detach() for name, value in trainer.model.state_dict().items()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_plan_one_batch_of_resets(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two_processes, (str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["entry"] == second["entry"] and first["entry"]["chains/generated"] >= 16
    moved = tiny_model().state_dict()
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name])
    assert any(not torch.equal(value, moved[name]) for name, value in first["weights"].items())
