"""Resets on our environments: episodes as chains of steps, and a step of training through TRL."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig

from methods.reset_buffer import BufferSettings, Chain, Request, Seed, build_blocks, uniform_step
from methods.resets import GRPOWithResets, ResetRollouts, chain_reward
from reproduce.core.config import PolicyConfig, SamplingConfig
from reproduce.environments.reasoning import (
    NEWLINE,
    Demonstrator,
    ReasoningEnvironment,
    build_panels,
    demonstrate,
    first_wrong_step,
    split_steps,
    words,
)
from reproduce.environments.retrieval import RetrievalEnvironment
from reproduce.environments.retrieval import build_panels as build_questions
from reproduce.environments.retrieval.vocabulary import words as words_of_questions
from reproduce.papers.resets.rules import Oracle, resample_first_errors
from reproduce.rollouts import EpisodeSampler, Trajectory
from reproduce.rollouts.continuation import EpisodeChains
from reproduce.rollouts.policies import build_model, build_tokenizer

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

TOKENIZER = build_tokenizer(words())
CHAINS = build_panels(6, 2, 1)["train"].select("medium")
SAMPLING = SamplingConfig(temperature=1.0, longest_action=60)
SIZE = PolicyConfig(layers=2, width=32, heads=2, feed_forward=64, longest=96)


def policy() -> torch.nn.Module:
    """A tiny policy after a second of learning: it writes lines of the right form, mostly with wrong digits."""
    model = build_model(SIZE, TOKENIZER, seed=0)
    generator, optimiser = random.Random(0), torch.optim.Adam(model.parameters(), 1e-2)
    careless = Demonstrator(stops=0.05, skips=0.2)
    for _ in range(60):
        turns = [demonstrate(generator.choice(CHAINS), 1, generator, careless) for _ in range(32)]
        texts = [f"<begin> {question.text} <turn> {solution.text} <end>" for question, solution in turns]
        batch = TOKENIZER(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        optimiser.zero_grad()
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimiser.step()
    return model.eval()


STATE = policy().state_dict()


def fresh_model() -> torch.nn.Module:
    model = build_model(SIZE, TOKENIZER, seed=0)
    model.load_state_dict(STATE)
    return model.eval()


def chains_of(model: torch.nn.Module | None = None, name: str = "chains") -> EpisodeChains:
    sampler = EpisodeSampler(model or fresh_model(), TOKENIZER, ReasoningEnvironment(), SAMPLING)
    chains = EpisodeChains(sampler, CHAINS, line_break=NEWLINE)
    chains.begin(name)
    return chains


def requests_for(chains: EpisodeChains, count: int, steps: int = 60) -> list[Request]:
    prompts = [tuple(chains.sampler.prompt_ids(task)) for task in CHAINS]
    return [Request(place, draw, ids, (), steps) for place, ids in enumerate(prompts) for draw in range(count)]


def action_of(chain: Chain) -> str:
    return TOKENIZER.decode([token for token in chain.token_ids if token != TOKENIZER.eos_token_id])


def test_steps_of_a_chain_are_the_lines_that_the_oracle_counts() -> None:
    chains = chains_of()
    requests = requests_for(chains, 16)
    found = chains(requests)
    assert {chain.steps for chain in found} >= {1, 2, 3, 4, 5}
    for request, chain in zip(requests, found, strict=True):
        assert chains.steps_of(chain) == split_steps(action_of(chain))
        assert chain.step_ends[-1] == len(chain.token_ids)
        newline = TOKENIZER.convert_tokens_to_ids(NEWLINE)
        assert all(chain.token_ids[end - 1] == newline for end in chain.step_ends[:-1])
        verdict = ReasoningEnvironment().step(chains.task_of(request.prompt_ids), (), action_of(chain))
        assert (chain.correct, chain.columns["failure"]) == (verdict.success, verdict.failure)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("3 plus 4 = 7 N answer 7 <end>", ["3 plus 4 = 7", "answer 7"]),
        ("N N 3 N N N 4 N <end>", ["3", "4"]),
        ("N 3 4", ["3 4"]),
        ("3 N 4 N", ["3", "4"]),
        ("N N <end>", []),
        ("<end>", []),
    ],
)
def test_blank_lines_are_no_steps(text: str, steps: list[str]) -> None:
    chains = chains_of()
    ids = np.array(TOKENIZER(text.replace("N", NEWLINE), add_special_tokens=False).input_ids, dtype=np.int32)
    zeros = np.zeros(len(ids), dtype=np.float32)
    made = Trajectory(0, ids, np.ones(len(ids), dtype=bool), zeros, zeros, 0, 0, False, False, ("invalid",))
    chain = chains._chain(made)
    assert chains.steps_of(chain) == tuple(steps) == split_steps(action_of(chain))


def test_a_limit_of_lines_cuts_the_chain_after_them() -> None:
    limited, free = chains_of(), chains_of()
    whole = free(requests_for(free, 16))
    for limit in (1, 3):
        limited.begin("chains")
        cut = 0
        for long, short in zip(whole, limited(requests_for(limited, 16, steps=limit)), strict=True):
            assert short.steps == min(limit, long.steps)
            cut += short.steps < long.steps
            # The break is the last token of the last line; further blank lines would belong to it.
            assert long.token_ids[: len(short.token_ids)] == short.token_ids
            assert len(short.token_ids) <= long.step_ends[short.steps - 1]
        assert cut > 10


def test_suffixes_keep_the_tokens_of_their_prefix_and_count_their_own() -> None:
    chains = chains_of()
    prompts = [tuple(chains.sampler.prompt_ids(task)) for task in CHAINS]
    settings = BufferSettings(longest=8)
    batches = []
    whole = chains.sampler.sample_from
    chains.sampler.sample_from = lambda *args, **kwargs: batches.append(whole(*args, **kwargs)) or batches[-1]
    blocks = build_blocks(prompts, chains, uniform_step, settings, np.random.default_rng(1))
    assert sum(block.generated_tokens for block in blocks) == sum(batch.sampled_tokens for batch in batches)
    suffixes = [(block, row) for block in blocks for row in block.rows if row.prefix_length]
    assert len(suffixes) >= 8
    for block, row in suffixes:
        seed = block.seeds[0].chain
        assert row.chain.token_ids[: row.prefix_length] == seed.token_ids[: row.prefix_length]
        given = slice(None, row.prefix_length)
        # Of the prefix they are stored ones, be it of another episode that began alike.
        np.testing.assert_allclose(row.chain.log_probabilities[given], seed.log_probabilities[given], atol=1e-5)
        np.testing.assert_allclose(row.chain.entropies[given], seed.entropies[given], atol=1e-5)
        assert row.prefix_length in seed.step_ends and row.chain.steps <= 8
    assert len({row.chain.token_ids for _, row in suffixes}) > len(suffixes) / 2


def test_equal_episodes_are_chains_of_their_own_and_calls_draw_anew() -> None:
    chains = chains_of()
    requests = requests_for(chains, 8)
    first = chains(requests)
    assert len({id(chain) for chain in first}) == len(first)
    second = chains(requests)
    assert [chain.token_ids for chain in first] != [chain.token_ids for chain in second]
    chains.begin("chains")
    assert [chain.token_ids for chain in chains(requests)] == [chain.token_ids for chain in first]
    alone = chains_of()(requests[11:12])
    assert alone[0].token_ids == first[11].token_ids
    assert chains([]) == []


def test_prompts_and_draws_may_have_any_number() -> None:
    chains = chains_of()
    prompt = tuple(chains.sampler.prompt_ids(CHAINS[0]))
    found = chains([Request(10**9, draw, prompt, (), 60) for draw in (3, 10**9, 3)])
    assert found[0].token_ids == found[2].token_ids != found[1].token_ids


def test_the_oracle_and_resampling_work_on_the_chains() -> None:
    chains = chains_of()

    def first_error(seed: Seed) -> int | None:
        found = first_wrong_step(chains.task_of(seed.prompt_ids), chains.steps_of(seed.chain))
        return None if found is None else found + 1

    requests = requests_for(chains, 8)
    pairs = zip(requests, chains(requests), strict=True)
    seeds = [Seed(request.prompt_ids, chain) for request, chain in pairs if not chain.correct][:6]
    errors = [choice.step for choice in Oracle(first_error)(seeds, np.random.default_rng(0))]
    assert all(1 <= step <= seed.chain.steps for step, seed in zip(errors, seeds, strict=True))
    assert len(set(errors)) > 1
    sampled = resample_first_errors(seeds, chains, continuations=2)
    assert sampled.generated_tokens > 0 and len(sampled.steps) == len(seeds)


def test_what_no_episode_began_with_is_refused() -> None:
    chains = chains_of()
    prompt = tuple(chains.sampler.prompt_ids(CHAINS[0]))
    (chain,) = chains([Request(0, 0, prompt, (), 60)])
    for prefix in (chain.token_ids, (5, 5, 5, 5, 5)):
        with pytest.raises(ValueError, match="no earlier episode"):
            chains([Request(0, 1, prompt, prefix, 60)])
    chains.begin("next")
    with pytest.raises(ValueError, match="no earlier episode"):
        chains([Request(0, 1, prompt, chain.token_ids[:1], 60)])
    with pytest.raises(ValueError, match="no task has this prompt"):
        chains([Request(0, 1, (1, 2), (), 60)])
    sampler = chains.sampler
    with pytest.raises(ValueError, match="same prompt"):
        EpisodeChains(sampler, [*CHAINS, CHAINS[0]], line_break=NEWLINE)
    with pytest.raises(ValueError, match="is no token"):
        EpisodeChains(sampler, CHAINS, line_break="\n")
    questions = build_questions(1, 1, 1)["test"].tasks[:1]
    asking = EpisodeSampler(sampler.model, TOKENIZER, RetrievalEnvironment(), SAMPLING)
    with pytest.raises(ValueError, match="second, forced one"):
        EpisodeChains(asking, questions, line_break=NEWLINE)


# ---- several actions


WORDS = build_tokenizer(words_of_questions())
QUESTIONS = build_questions(4, 4, 2)["test"].select("bridge")


class Searching(torch.nn.Module):
    """A random policy that searches, answers and ends often enough for chains of every length."""

    def __init__(self) -> None:
        super().__init__()
        self.model = build_model(PolicyConfig(layers=2, width=32, heads=2, feed_forward=64), WORDS, seed=3).eval()
        self.config, self.bias = self.model.config, torch.zeros(len(WORDS))
        for word, value in {"search": 3.0, "answer": 2.0, "<end>": 4.0, "ada": 2.0}.items():
            self.bias[WORDS.convert_tokens_to_ids(word)] = value

    def forward(self, **arguments):
        output = self.model(**arguments)
        output.logits = output.logits + self.bias
        return output


def test_steps_of_several_actions_end_where_the_policy_speaks_again() -> None:
    sampler = EpisodeSampler(Searching(), WORDS, RetrievalEnvironment(), SamplingConfig(longest_action=8))
    chains = EpisodeChains(sampler, QUESTIONS)
    chains.begin("several actions")
    prompts = [tuple(chains.sampler.prompt_ids(task)) for task in QUESTIONS] * 8
    blocks = build_blocks(prompts, chains, uniform_step, BufferSettings(longest=4), np.random.default_rng(0))
    turn = WORDS.convert_tokens_to_ids("<turn>")
    reset_after, actions_after = set(), set()
    for block in blocks:
        for row in block.rows:
            chain, before = row.chain, 0
            for end in chain.step_ends[:-1]:
                assert chain.token_ids[end - 1] == turn and chain.from_policy[end] and not chain.from_policy[end - 1]
            assert chain.step_ends[-1] == len(chain.token_ids) and chain.steps == len(chain.columns["skills"])
            assert chain.columns["rounds"] == chain.steps - 1
            if row.group:
                seed = block.seeds[0].chain
                assert chain.token_ids[: row.prefix_length] == seed.token_ids[: row.prefix_length]
                assert chain.from_policy[: row.prefix_length] == seed.from_policy[: row.prefix_length]
                before = (0, *seed.step_ends).index(row.prefix_length)
                reset_after.add(before)
            actions_after.add(chain.steps - before)
            assert chain.steps <= 4
            assert sum(chain.policy_mask(row.prefix_length)) > 0
    assert reset_after == {0, 1, 2, 3}
    assert max(actions_after) == 4


# ---- training


class Recorder(TrainerCallback):
    """Weights before the first update, and its gradient."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.gradient = {name: value.grad.clone() for name, value in self.model.named_parameters()}


def train_one_step(folder: Path, seed: int = 0) -> tuple[Any, Recorder, dict[str, list[Any]], int]:
    """A step of RRPO on reasoning; also the rollouts' columns, and the tokens that the sampler says it sampled."""
    model = fresh_model()
    chains, seen, sampled = chains_of(model), {}, []
    whole = chains.sampler.sample_from

    def counted(*args: Any, **kwargs: Any) -> Any:
        batch = whole(*args, **kwargs)
        sampled.append(batch.sampled_tokens)
        return batch

    chains.sampler.sample_from = counted
    prompt_ids = {task.identifier: chains.sampler.prompt_ids(task) for task in CHAINS}
    rollouts = ResetRollouts(uniform_step, chains, prompt_ids.__getitem__, BufferSettings(longest=8), seed)

    def rollout(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        chains.begin(f"run {seed} step {trainer.state.global_step}")
        seen.update(rollouts(prompts, trainer))
        return dict(seen)

    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=8 * len(CHAINS),
        num_generations=8,
        max_steps=1,
        learning_rate=1e-3,
        max_grad_norm=0.0,
        beta=0.0,
        temperature=SAMPLING.temperature,
        loss_type="grpo",
        max_completion_length=64,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        save_strategy="no",
    )
    trainer = GRPOWithResets(
        model=model,
        reward_funcs=chain_reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": task.identifier} for task in CHAINS]),
        processing_class=TOKENIZER,
        rollout_func=rollout,
    )
    recorder = Recorder(model)
    trainer.add_callback(recorder)
    trainer.train()
    return trainer, recorder, seen, sum(sampled)


def gradient_of_the_paper(columns: dict[str, list[Any]]) -> tuple[dict[str, torch.Tensor], float]:
    """Gradient of - mean_i A_i mean_(t >= s_i) log pi(y_it), row by row; and the greatest error of the rollouts'
    log-probabilities."""
    model, error, total = fresh_model(), 0.0, torch.zeros(())
    rewards, groups = np.array(columns["chain_reward"]), np.array(columns["reset_group"])
    for row in range(len(rewards)):
        block = slice(row - row % 8, row - row % 8 + 8)
        group = rewards[block][groups[block] == groups[row]]
        advantage = (rewards[row] - group.mean()) / group.std() if group.std() > 0 else 0.0
        prompt, completion = columns["prompt_ids"][row], columns["completion_ids"][row]
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        log_probabilities = torch.log_softmax(logits / SAMPLING.temperature, -1)
        chosen = log_probabilities.gather(1, torch.tensor(completion)[:, None])[:, 0]
        error = max(error, float((chosen.detach() - torch.tensor(columns["logprobs"][row])).abs().max()))
        mask = torch.tensor(columns["env_mask"][row])
        total = total - advantage * (chosen * mask).sum() / mask.sum() / len(rewards)
    total.backward()
    return {name: value.grad for name, value in model.named_parameters()}, error


def test_a_step_of_training_with_resets_on_reasoning(tmp_path: Path) -> None:
    trainer, recorder, columns, sampled = train_one_step(tmp_path / "one")
    (entry,) = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert entry["resets/share"] == 1 and entry["tokens/generated"] == sampled
    assert 0 < np.mean(columns["success"]) < 1
    given = [mask.index(1) for mask in columns["env_mask"]]
    assert sum(length > 0 for length in given) >= 8
    newline = TOKENIZER.convert_tokens_to_ids(NEWLINE)
    for length, group, ids, mask in zip(
        given, columns["reset_group"], columns["completion_ids"], columns["env_mask"], strict=True
    ):
        assert all(mask[length:]) and (length == 0 or (group == 1 and ids[length - 1] == newline))
    expected, error = gradient_of_the_paper(columns)
    assert error < 1e-4
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-3
    for name, value in expected.items():
        torch.testing.assert_close(recorder.gradient[name], value, atol=1e-6, rtol=1e-4)
    assert any((recorder.before[name] != value).any() for name, value in trainer.model.named_parameters())


def test_training_with_resets_is_reproducible(tmp_path: Path) -> None:
    runs = [train_one_step(tmp_path / name, seed)[2] for name, seed in (("one", 0), ("two", 0), ("other", 1))]
    ids = [run["completion_ids"] for run in runs]
    assert ids[0] == ids[1] != ids[2]
