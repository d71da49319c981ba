"""ReuseRL: the reward and its order, the dictionary's controls, and buffer and dictionary through TRL and resume."""

from __future__ import annotations

import doctest
import itertools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import GRPOConfig

import methods.reuserl
from benchmarks.reuserl import smallest_bits
from methods.grpo import GRPOWithGroupMetrics
from methods.reuserl import PENALTIES, PenaltySettings, SkillReuseReward
from methods.reuserl_dictionary import DictionaryLearner, DictionarySettings, longest_runs, success_metrics
from reproduce.core.config import PolicyConfig
from reproduce.papers.reuserl.dictionaries import (
    ControlledLearner,
    ControlSettings,
    in_random_order,
    matched_random_dictionary,
)
from reproduce.rollouts.policies import build_model, build_tokenizer
from theory.segmentation import phrase_counts
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_grammar import SkillGrammar
from theory.skill_strings import SkillDictionary, SkillStrings

VERBS = ("search", "take", "transport", "process", "deliver")
ALPHABET = (*VERBS, "invalid")
HORIZON = 20
ROUTINES = ((0, 0), (1, 2), (3, 4), (1, 2, 3, 4))
GRAMMAR = SkillGrammar(5, ROUTINES, (1.0, 1.0, 1.0, 1.0), most_routines=4, horizon=HORIZON)
TOKENIZER = build_tokenizer(list(VERBS))
LEARNED = DictionarySettings(min_corpus=8, buffer_size=40)
# A few steps on a few episodes are often too little to learn a phrase from; one test asks for the warning.
pytestmark = pytest.mark.filterwarnings("ignore:the dictionary held single symbols:UserWarning")


def strings_of(count: int, seed: int) -> list[bytes]:
    return GRAMMAR.draw(count, np.random.default_rng(seed))


def habits_of(count: int, habit: int) -> list[bytes]:
    """Strings with routines of their own for each `habit`: the same law with the symbols renamed."""
    return [bytes((symbol + habit) % 5 for symbol in string) for string in strings_of(count, habit)]


class Advantages(GRPOWithGroupMetrics):
    """Keeps what TRL made of the rewards, before it shuffles them."""

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.rewards = super()._calculate_rewards(*args, **kwargs)
        return self.rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        self.advantages = output["advantages"].clone()
        return output


def episodes(step: int, rows: int, all_right: bool = False, rank: int = 0) -> dict[str, list[Any]]:
    """What a `rollout_func` returns, a function of step, process and row alone: tokens, outcomes and skills."""
    generator = np.random.default_rng((7, step, rank))
    strings = GRAMMAR.draw(rows, generator)
    tokens = generator.integers(5, len(TOKENIZER), (rows, 6)).tolist()
    success = [True] * rows if all_right else (generator.random(rows) < 0.6).tolist()
    return {
        "prompt_ids": [[6, 7]] * rows,
        "completion_ids": tokens,
        "env_mask": [[1, 1, 0, 1, 1, 1]] * rows,
        "logprobs": [[-1.0] * 6] * rows,
        "success": success,
        "skills": [tuple(VERBS[symbol] for symbol in string) for string in strings],
    }


def trainer_of(folder: Path, reward: Any, all_right: bool = False, **changes: Any) -> Any:
    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        beta=0.0,
        loss_type="grpo",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        max_completion_length=8,
        shuffle_dataset=False,
        **({"per_device_train_batch_size": 16, "num_generations": 4, "max_steps": 1, "save_strategy": "no"} | changes),
    )

    def rollout(prompts: list[str], current: Any) -> dict[str, list[Any]]:
        return episodes(current.state.global_step, len(prompts), all_right, current.accelerator.process_index)

    return Advantages(
        model=build_model(PolicyConfig(layers=1, width=16, heads=2, feed_forward=32), TOKENIZER, seed=0),
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": verb} for verb in VERBS[:4] * 8]),
        processing_class=TOKENIZER,
        rollout_func=rollout,
        callbacks=[reward] if isinstance(reward, SkillReuseReward) else None,
    )


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def outcome_only(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
    return [float(value) for value in success]


# ---- the reward


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=20),
    st.sampled_from(PENALTIES),
    st.floats(0, 0.999),
)
def test_every_success_lies_above_every_failure(cases: list[tuple[bool, float]], penalty: str, weight: float) -> None:
    success, costs = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    found = PenaltySettings(weight, penalty=penalty).rewards(success, costs)
    assert found[success].min(initial=2.0) > 0 and (found[~success] == 0).all()


def test_rewards_by_hand() -> None:
    success, costs = [True, True, False], [0.5, 0.25, 0.5]
    assert PenaltySettings(0.4).rewards(success, costs).tolist() == pytest.approx([0.8, 0.9, 0.0])
    # The paper's: a success that needs as many phrases as there are rounds is worth a failure.
    assert PenaltySettings().rewards([True, True, False], [1.0, 0.25, 0.5]).tolist() == [0.0, 0.75, 0.0]
    # gamma^seg with gamma = 0.51^(1/T): half and a quarter of the horizon.
    found = PenaltySettings(0.49, penalty="discount").rewards(success, costs)
    assert found.tolist() == pytest.approx([0.51**0.5, 0.51**0.25, 0.0])


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=9), st.floats(0, 0.99))
def test_scaled_is_additive_where_outcomes_are_binary(cases: list[tuple[bool, float]], weight: float) -> None:
    success, costs = [case[0] for case in cases], [case[1] for case in cases]
    additive = PenaltySettings(weight).rewards(success, costs)
    assert np.array_equal(PenaltySettings(weight, penalty="scaled").rewards(success, costs), additive)


@pytest.mark.parametrize("change", [{"weight": 1.1}, {"weight": -0.1}, {"weight": float("nan")}, {"penalty": "log"}])
def test_senseless_penalties_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        PenaltySettings(**change)
    with pytest.raises(ValueError, match="to nothing"):
        PenaltySettings(1.0, penalty="discount")


class Mode:
    """Stands where the trainer puts its model; the reward reads its mode only."""

    def __init__(self, training: bool = True) -> None:
        self.training = training


def reward_of(**settings: Any) -> SkillReuseReward:
    reward = SkillReuseReward(ALPHABET, HORIZON, **settings)
    reward.model = Mode()
    return reward


def called(reward: SkillReuseReward, strings: list[bytes], success: list[bool]) -> tuple[list[float], dict[str, float]]:
    metrics: dict[str, float] = {}
    skills = [tuple(ALPHABET[symbol] for symbol in string) for string in strings]
    columns: dict[str, Any] = {"skills": skills, "success": success, "log_metric": metrics.__setitem__}
    return reward(prompts=[""] * len(strings), completions=[""] * len(strings), **columns), metrics


@settings(max_examples=50)
@given(st.integers(0, 2**20), st.floats(0, 1))
def test_without_phrases_the_cost_is_the_length_penalty_bit_for_bit(seed: int, weight: float) -> None:
    strings = strings_of(24, seed)
    success = (np.random.default_rng(seed).random(24) < 0.5).tolist()
    frozen = reward_of(
        penalty=PenaltySettings(weight),
        dictionary=ControlSettings(dictionary="frozen_singletons"),
        learner=ControlledLearner,
    )
    no_merges = reward_of(
        penalty=PenaltySettings(weight), dictionary=DictionarySettings(extraction=ExtractionSettings(1))
    )
    length = [solved - weight * (len(s) / HORIZON) * solved for s, solved in zip(strings, success, strict=True)]
    for reward in (frozen, no_merges):
        assert called(reward, strings, success)[0] == length
        assert not reward.phrases


def test_the_cost_is_that_of_the_dictionary_of_the_same_step() -> None:
    first, second = habits_of(60, 0), habits_of(60, 1)
    solved = [True] * 60
    reward = reward_of(penalty=PenaltySettings(0.5))
    of_first, of_both = extract_dictionary(first, 6), extract_dictionary([*first, *second], 6)
    assert of_first.phrases and of_first != of_both
    for strings, dictionary in ((first, of_first), (second, of_both)):
        expected = (1 - 0.5 * (phrase_counts(strings, dictionary) / HORIZON)).tolist()
        assert called(reward, strings, solved)[0] == expected


def test_repetition_is_cheap_and_alternating_junk_is_not() -> None:
    """The reward hack: a looped symbol whose repetition is a phrase costs a quarter of its length."""
    loops, alternating = bytes([0] * 8), bytes([0, 2] * 4)
    frozen = SkillDictionary(6, 4, ((0, 0, 0, 0), (1, 2)))
    reward = reward_of(
        penalty=PenaltySettings(0.5),
        dictionary=ControlSettings(dictionary="frozen", frozen=frozen),
        learner=ControlledLearner,
    )
    found, metrics = called(reward, [loops, alternating], [True, True])
    assert found == [1 - 0.5 * (2 / HORIZON), 1 - 0.5 * (8 / HORIZON)]
    assert metrics["reuse/longest_run"] == (8 + 1) / 2


def test_failures_teach_nothing() -> None:
    strings = [bytes([1, 5, 2]), bytes([5, 5, 3])] * 30
    reward = reward_of(dictionary=LEARNED)
    values, metrics = called(reward, strings, [True, False] * 30)
    assert set(reward.learner.buffer) == {bytes([1, 5, 2])}
    assert reward.phrases == (("take", "invalid"), ("take", "invalid", "transport"))
    assert metrics["reuse/invalid_share"] == 0.5
    assert values[1] == 0.0


def test_evaluation_scores_and_changes_nothing() -> None:
    reward = reward_of(dictionary=LEARNED)
    called(reward, strings_of(60, 1), [True] * 60)
    before = reward.state()
    reward.model.training = False
    fresh = strings_of(30, 3)
    found, _ = called(reward, fresh, [True] * 30)
    assert reward.state() == before
    assert found == (1 - 1.0 * (phrase_counts(fresh, reward.learner.dictionary) / HORIZON)).tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"skills": [("fly",)], "success": [True]}, "symbol 'fly' is not in the alphabet"),
        ({"skills": [("take",) * 21], "success": [True]}, "21 symbols, more than the horizon of 20"),
        ({"skills": [("take",)], "success": [0.5]}, "an outcome must be 1"),
        ({"skills": [("take",)]}, "no column `success`"),
        ({"success": [True]}, "no column `skills`"),
    ],
)
def test_bad_episodes_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reward_of()(prompts=[""], completions=[""], **columns)


def test_the_callback_is_asked_for() -> None:
    with pytest.raises(ValueError, match="pass the object in `callbacks` too"):
        SkillReuseReward(ALPHABET, HORIZON)(prompts=[""], completions=[""], skills=[()], success=[True])


# ---- the dictionary and its controls


def test_the_buffer_is_first_in_first_out_and_may_be_absent() -> None:
    with_buffer = DictionaryLearner(5, DictionarySettings(buffer_size=5, min_corpus=1))
    without = DictionaryLearner(5, DictionarySettings(buffer_size=0, min_corpus=1))
    batches = [strings_of(4, seed) for seed in range(3)]
    for batch in batches:
        with_buffer.observe(batch)
        without.observe(batch)
    assert list(with_buffer.buffer) == [batches[1][3], *batches[2]]
    # The latest strings, those of the batch among them (algorithm 1).
    assert with_buffer.corpus_size == 5
    assert not without.buffer and without.corpus_size == 4
    large = strings_of(80, 9)
    for learner in (with_buffer, without):
        learner.observe(large)
        assert learner.dictionary == extract_dictionary(large, 5)
    without.observe([])
    assert without.dictionary == extract_dictionary(large, 5)


def test_when_the_dictionary_is_extracted() -> None:
    batches = [habits_of(40, habit) for habit in range(5)]

    def sizes(**changes: Any) -> list[tuple[Any, ...]]:
        learner = ControlledLearner(5, ControlSettings(**({"buffer_size": 0} | changes)))
        found = []
        for batch in batches:
            learner.observe(batch)
            found.append(learner.dictionary.phrases)
        return found

    own = [extract_dictionary(batch, 5).phrases for batch in batches]
    assert len(set(own)) > 2
    assert sizes() == own
    assert sizes(freeze_after=2) == [own[0], own[1], own[1], own[1], own[1]]
    assert sizes(min_corpus=41) == [()] * 5
    assert sizes(min_corpus=50, buffer_size=100)[0] == () != sizes(min_corpus=50, buffer_size=100)[1]
    assert (
        sizes(extraction=ExtractionSettings(2))[4] == extract_dictionary(batches[4], 5, ExtractionSettings(2)).phrases
    )


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(0, 99))
def test_random_order_keeps_the_symbols(strings: list[bytes], seed: int) -> None:
    shuffled = in_random_order(strings, np.random.default_rng(seed))
    assert [Counter(string) for string in shuffled] == [Counter(string) for string in strings]


def test_shuffled_order_loses_the_structure() -> None:
    strings = strings_of(400, 0)
    learned, shuffled = (
        ControlledLearner(5, ControlSettings(dictionary=kind, buffer_size=1024))
        for kind in ("learned", "shuffled_order")
    )
    learned.observe(strings)
    shuffled.observe(strings)
    # Order is all that the two differ in, and the strings are written with fewer phrases where it counts.
    means = [phrase_counts(strings, learner.dictionary).mean() for learner in (learned, shuffled)]
    assert means[0] < 0.8 * means[1]
    assert list(shuffled.buffer) == in_random_order(strings, np.random.default_rng((0, 0)))
    # The same successes come in another order at the next batch.
    before = list(shuffled.buffer)
    shuffled.observe(strings)
    assert list(shuffled.buffer)[400:] != before


def test_the_random_dictionary_matches_sizes_and_covers_all_phrases() -> None:
    model = SkillDictionary(3, 3, ((0, 0), (0, 1), (1, 2, 0)))
    drawn = [matched_random_dictionary(model, seed) for seed in range(300)]
    assert all(sorted(map(len, one.phrases)) == [2, 2, 3] for one in drawn)
    assert matched_random_dictionary(model, 5) == drawn[5]
    pairs = Counter(phrase for one in drawn for phrase in one.phrases if len(phrase) == 2)
    # 9 pairs, two of them in each dictionary: 66.7 times each, standard deviation 7.2.
    assert len(pairs) == 9 and all(abs(count - 300 * 2 / 9) < 5 * 7.2 for count in pairs.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dictionary": "best"}, "dictionary must be one of"),
        ({"dictionary": "frozen"}, "`frozen` holds the dictionary"),
        ({"frozen": SkillDictionary(5, 4)}, "`frozen` holds the dictionary"),
        ({"min_corpus": 0}, "min_corpus must be at least 1"),
        ({"buffer_size": -1}, "buffer_size must be at least 0"),
    ],
)
def test_senseless_dictionaries_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ControlSettings(**change)


def test_a_frozen_dictionary_needs_the_alphabet_of_the_episodes() -> None:
    with pytest.raises(ValueError, match="has 5 symbols, the alphabet 6"):
        ControlledLearner(6, ControlSettings(dictionary="frozen", frozen=SkillDictionary(5, 4)))


def test_the_brute_force_of_the_benchmark_finds_the_optimum_worked_out_by_hand() -> None:
    # Twenty symbols 0 1 0 1 ..: 20 bits alone; with (0, 1) 2 + 10 log2 3; with (1, 0) 2 + 11 log2 3; with both 4 + 20.
    assert smallest_bits([bytes([0, 1] * 10)], 2, 2) == pytest.approx(2 + 10 * np.log2(3))


# ---- what is logged


@given(st.lists(st.binary(max_size=12).map(lambda raw: bytes(b % 3 for b in raw)), min_size=1, max_size=8))
def test_metrics_of_successes(strings: list[bytes]) -> None:
    counts = phrase_counts(strings, SkillDictionary(3, 2, ((0, 0),)))
    found = success_metrics(strings, counts, 3, horizon=10)
    shares = np.array(list(Counter(strings).values())) / len(strings)
    assert found["reuse/success_entropy"] == pytest.approx(-(shares * np.log2(shares)).sum())
    assert found["reuse/distinct_successes"] == len(set(strings))
    assert found["reuse/success_length"] == pytest.approx(np.mean([len(string) for string in strings]))
    assert found["reuse/success_cost"] == pytest.approx(counts.mean() / 10)
    packed = SkillStrings.pack(strings, 3)

    def run(string: bytes) -> int:
        return max((n for n in range(1, len(string) + 1) for b in range(3) if bytes([b] * n) in string), default=0)

    assert longest_runs(packed)[packed.column_of].tolist() == [run(string) for string in strings]


# ---- on TRL


def advantages_of(folder: Path, weight: float, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """TRL's advantages of an all-success batch in groups of four, and the costs."""
    reward = SkillReuseReward(ALPHABET, HORIZON, penalty=PenaltySettings(weight), dictionary=LEARNED)
    trainer = trainer_of(folder, reward, all_right=True, scale_rewards=scale)
    trainer.train()
    strings = [bytes(ALPHABET.index(name) for name in row) for row in episodes(0, 16, all_right=True)["skills"]]
    costs = phrase_counts(strings, extract_dictionary(strings, 6)) / HORIZON
    np.testing.assert_allclose(trainer.rewards[:, 0], 1 - weight * costs, rtol=1e-6)
    return trainer.advantages.numpy().reshape(4, 4), costs.reshape(4, 4)


def test_lambda_cancels_with_the_standard_deviation_and_not_without(tmp_path: Path) -> None:
    """Trap 9.1, with the trainer's own advantages."""
    light, costs = advantages_of(tmp_path / "light", 0.2, "group")
    heavy, _ = advantages_of(tmp_path / "heavy", 0.8, "group")
    centred = costs - costs.mean(axis=1, keepdims=True)
    spread = costs.std(axis=1, ddof=1, keepdims=True)
    assert (spread > 0).any() and np.abs(heavy).max() > 0.5
    for weight, found in ((0.2, light), (0.8, heavy)):
        # The small constant of TRL's denominator is all that lambda leaves behind.
        np.testing.assert_allclose(found, -centred / (spread + 1e-4 / weight), atol=1e-4)
    np.testing.assert_allclose(light, heavy, rtol=0.02, atol=1e-4)
    none, _ = advantages_of(tmp_path / "none", 0.0, "group")
    assert (none == 0).all()
    light, _ = advantages_of(tmp_path / "light centred", 0.2, "none")
    heavy, _ = advantages_of(tmp_path / "heavy centred", 0.8, "none")
    np.testing.assert_allclose(light, -0.2 * centred, atol=1e-6)
    np.testing.assert_allclose(heavy, 4 * light, atol=1e-6)


def test_lambda_zero_is_grpo_bit_for_bit(tmp_path: Path) -> None:
    zero = SkillReuseReward(ALPHABET, HORIZON, penalty=PenaltySettings(0.0), dictionary=LEARNED)
    found = []
    for name, reward in (("zero", zero), ("plain", outcome_only)):
        trainer = trainer_of(tmp_path / name, reward, max_steps=2)
        before = weights(trainer)
        trainer.train()
        found.append(weights(trainer))
        assert not same(before, found[-1])
    assert same(*found)
    assert zero.phrases


def test_accumulation_changes_neither_dictionary_nor_update(tmp_path: Path) -> None:
    whole, parts = (SkillReuseReward(ALPHABET, HORIZON, dictionary=LEARNED) for _ in range(2))
    one = trainer_of(tmp_path / "whole", whole, max_steps=2)
    four = trainer_of(
        tmp_path / "parts", parts, max_steps=2, per_device_train_batch_size=4, gradient_accumulation_steps=4
    )
    one.train()
    four.train()
    assert whole.state() == parts.state() and whole.phrases
    norms = [[e["grad_norm"] for e in trainer.state.log_history if "grad_norm" in e] for trainer in (one, four)]
    np.testing.assert_allclose(*norms, rtol=1e-4)
    assert min(norms[0]) > 0


@pytest.mark.parametrize(
    "changes",
    [{}, {"freeze_after": 2}, {"dictionary": "shuffled_order"}],
)
def test_resume_keeps_buffer_and_dictionary_exactly(tmp_path: Path, changes: dict[str, Any]) -> None:
    def reward() -> SkillReuseReward:
        made = ControlSettings(min_corpus=8, buffer_size=20, **changes)
        return SkillReuseReward(ALPHABET, HORIZON, dictionary=made, learner=ControlledLearner)

    whole, again, first = reward(), reward(), reward()
    straight = trainer_of(tmp_path / "straight", whole, max_steps=4)
    straight.train()
    trainer_of(tmp_path / "halves", first, max_steps=2, save_strategy="steps", save_steps=2).train()
    assert first.state() != whole.state()
    continued = trainer_of(tmp_path / "halves", again, max_steps=4)
    continued.train(resume_from_checkpoint=str(tmp_path / "halves" / "checkpoint-2"))
    assert again.state() == whole.state()
    assert len(again.learner.buffer) == 20 and again.learner.batches == 4
    assert again.phrases or changes.get("dictionary") == "shuffled_order"
    assert same(weights(straight), weights(continued))
    keys = ("reuse/success_cost", "reuse/phrases", "reward", "grad_norm")
    logs = [
        [[entry[key] for key in keys] for entry in trainer.state.log_history if "reward" in entry]
        for trainer in (straight, continued)
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 4


def test_evaluation_through_the_trainer_leaves_the_dictionary_alone(tmp_path: Path) -> None:
    reward = SkillReuseReward(ALPHABET, HORIZON, dictionary=LEARNED)
    trainer = trainer_of(tmp_path, reward, max_steps=3, per_device_eval_batch_size=16)
    trainer.train()
    before = reward.state()
    found = trainer.evaluate(Dataset.from_list([{"prompt": verb} for verb in VERBS[:4]]))
    assert reward.state() == before and reward.phrases
    assert 0 < found["eval_reuse/success_cost"] < 1


def test_a_checkpoint_made_without_the_reward_can_be_continued_and_saved(tmp_path: Path) -> None:
    trainer_of(tmp_path, outcome_only, save_strategy="steps", save_steps=1).train()
    reward = SkillReuseReward(ALPHABET, HORIZON, dictionary=LEARNED)
    trainer_of(tmp_path, reward, max_steps=2, save_strategy="steps", save_steps=1).train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-1")
    )
    assert reward.learner.batches == 1


def test_another_alphabet_or_a_replaced_callback_is_refused(tmp_path: Path) -> None:
    reward = SkillReuseReward(ALPHABET, HORIZON, dictionary=LEARNED)
    trainer_of(tmp_path, reward, save_strategy="steps", save_steps=1).train()
    other = SkillReuseReward((*ALPHABET, "open"), HORIZON, dictionary=LEARNED)
    with pytest.raises(ValueError, match="the checkpoint's alphabet is search"):
        trainer_of(tmp_path, other, max_steps=2).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    with pytest.raises(ValueError, match="leave restore_callback_states_from_checkpoint off"):
        trainer_of(tmp_path, reward, restore_callback_states_from_checkpoint=True)


def test_a_dictionary_without_phrases_is_told(tmp_path: Path) -> None:
    reward = SkillReuseReward(ALPHABET, HORIZON, dictionary=DictionarySettings(min_corpus=1000))
    with pytest.warns(UserWarning, match="the cost was a length penalty"):
        trainer_of(tmp_path, reward).train()


def test_the_example_of_the_docstring_trains(tmp_path: Path) -> None:
    arguments = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        max_steps=1,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )

    def make(model: Any, **kwargs: Any) -> trl.GRPOTrainer:
        return trl.GRPOTrainer(model, processing_class=TOKENIZER, **kwargs)

    names = {
        "VERBS": VERBS,
        "GRPOTrainer": make,
        "model": build_model(PolicyConfig(layers=1, width=16, heads=2, feed_forward=32), TOKENIZER, seed=0),
        "arguments": arguments,
        "dataset": Dataset.from_list([{"prompt": verb} for verb in VERBS]),
    }
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(SkillReuseReward, module=methods.reuserl, globs=names)
    assert 0 < len(example.examples) <= 5
    assert doctest.DocTestRunner().run(example, clear_globs=False).failed == 0
    trainer = example.globs["trainer"]
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert entry["rewards/SkillReuseReward/mean"] == entry["reward"]
    assert entry["reuse/dictionary_size"] == len(VERBS)


# ---- several processes

WORKER = """
import json, sys
from pathlib import Path
from methods.reuserl import SkillReuseReward
from tests.methods.test_reuserl import ALPHABET, HORIZON, LEARNED, trainer_of, weights

reward = SkillReuseReward(ALPHABET, HORIZON, dictionary=LEARNED)
trainer = trainer_of(Path(sys.argv[1]), reward, max_steps=2, per_device_train_batch_size=8)
trainer.train()
total = sum(float(value.double().abs().sum()) for value in weights(trainer).values())
print("told " + json.dumps({"state": reward.state(), "rewards": trainer.rewards[:, 0].tolist(), "weights": total}))
"""


@pytest.mark.slow
def test_two_processes_learn_one_dictionary_from_both(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).resolve().parents[2])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=root,
            text=True,
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
            | {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=240)[0] for process in started]
    lines = [[line for line in text.splitlines() if line.startswith("told ")] for text in printed]
    first, second = (json.loads(found[-1].removeprefix("told ")) for found in lines)
    assert first == second
    alone, strings = DictionaryLearner(len(ALPHABET), LEARNED), list[bytes]()
    for step in range(2):
        both = [episodes(step, 8, rank=rank) for rank in range(2)]
        strings = [bytes(map(ALPHABET.index, row)) for columns in both for row in columns["skills"]]
        success = [solved for columns in both for solved in columns["success"]]
        alone.observe(list(itertools.compress(strings, success)))
    assert first["state"]["attributes"]["dictionary"] == alone.state() and alone.dictionary.phrases
    costs = phrase_counts(strings, alone.dictionary) / HORIZON
    np.testing.assert_allclose(first["rewards"], PenaltySettings().rewards(success, costs), rtol=1e-6)
