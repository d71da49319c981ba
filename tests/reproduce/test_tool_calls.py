"""TRL's `environment_factory` on our environments: the same observations and rewards as our own protocol."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from benchmarks._rollouts import CHAT_TEMPLATE, RESPONSE_TEMPLATE
from reproduce.core.config import PolicyConfig
from reproduce.environments.protocol import NoForcedAnswer, Turn
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
from reproduce.environments.retrieval.expert import Demonstrator, demonstrate
from reproduce.environments.retrieval.vocabulary import words
from reproduce.environments.tool_calls import OVER, EpisodeTools, dataset_rows
from reproduce.rollouts.policies import build_model, build_tokenizer

TASKS = build_panels(4, 8, 2)["test"].select("bridge") + build_panels(4, 8, 2)["test"].select("comparison")
CARELESS = Demonstrator(early_answer=0.3, useless_search=0.3)


def actions_of(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.text for turn in turns if turn.by_policy]


def play_protocol(environment: Any, task: Any, rounds: int, actions: list[str]) -> tuple[list[str], float]:
    """The episode by the protocol: what the environment wrote after each action, and the reward."""
    history: tuple[str, ...] = ()
    written: list[str] = []
    for action in actions:
        closed = len(history) == rounds
        observation = (environment.step_closed if closed else environment.step)(task, history, action)
        history += (action,)
        if observation.done:
            return [*written, observation.text or OVER], float(observation.success)
        written.append(observation.text)
        if len(history) == rounds:
            closing = environment.close(task)
            if closing is None:
                return written, 0.0
            written[-1] += f" {closing}"
    return written, 0.0


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_tools_and_protocol_agree(rounds: int) -> None:
    environment, rewards = RetrievalEnvironment(), set()
    tools = EpisodeTools(environment, TASKS, rounds)
    for place, task in enumerate(TASKS):
        for attempt in range(6):
            actions = actions_of(demonstrate(task, rounds, random.Random(f"{place} {attempt}"), CARELESS))
            actions = actions if attempt else ["nonsense", *actions]
            tools.reset(place=place)
            written = [tools.act(action) for action in actions]
            expected, reward = play_protocol(environment, task, rounds, actions)
            assert written[: len(expected)] == expected
            assert all(text == OVER for text in written[len(expected) :])
            assert tools.get_reward() == reward
            rewards.add(reward)
    assert 0.0 in rewards and (rounds == 1 or 1.0 in rewards)


class SearchOnly(NoForcedAnswer):
    """Retrieval whose episodes just end when the rounds are used up."""

    reset, step, _grade = RetrievalEnvironment.reset, RetrievalEnvironment.step, RetrievalEnvironment._grade


def test_without_a_forced_answer_the_episode_ends_with_the_rounds() -> None:
    tools = EpisodeTools(SearchOnly(), TASKS, 1)
    tools.reset(place=0)
    assert tools.act("nonsense") == "invalid"
    assert tools.act(f"answer {TASKS[0].answer}") == OVER and tools.get_reward() == 0.0
    tools.reset(place=0)
    tools.act(f"answer {TASKS[0].answer}")
    assert tools.get_reward() == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        EpisodeTools(SearchOnly(), TASKS, 0)


ENGINES = ("countdown", "cooking", "household", "reasoning")


@pytest.mark.parametrize("name", ENGINES)
def test_tools_and_protocol_agree_on_every_engine(name: str) -> None:
    """Expert, random and mixed play of every environment: the same texts and rewards by either way."""
    module = importlib.import_module(f"reproduce.environments.{name}")
    tasks = module.build_panels(1, 1, 1)["test"].tasks
    environment = getattr(module, f"{name.capitalize()}Environment")()
    rewards = []
    for place, task in enumerate(tasks):
        rounds = getattr(task, "horizon", module.HORIZON)
        generator = random.Random(place)
        drawn = [module.random_action(task, (), generator) for _ in range(rounds)]
        solution = list(module.solve(task))
        # Two environments: nothing that one of them remembers may help the other.
        tools = EpisodeTools(getattr(module, f"{name.capitalize()}Environment")(), tasks, rounds)
        for actions in (solution, drawn, [*drawn[:1], *solution], ["%s \x00 ../", *solution]):
            tools.reset(place=place)
            written = [tools.act(action) for action in actions]
            expected, reward = play_protocol(environment, task, rounds, actions)
            assert written[: len(expected)] == expected
            assert tools.get_reward() == reward
            rewards.append(reward)
        assert rewards[-4] == 1.0, "the expert wins"
    assert 0.0 in rewards


def test_trl_plays_it(tmp_path: Path) -> None:
    """Through a real GRPOTrainer: what the policy wrote, replayed by the protocol, earns the rewards TRL computed."""
    tokenizer = build_tokenizer(words())
    tokenizer.chat_template = CHAT_TEMPLATE
    # Every generation is one call of `act`, whatever it says.
    call = {"type": "function", "function": {"name": "act", "arguments": {"action": "{action}"}}}
    pattern = {"open_pattern": r"\A(?P<action>.*?)(?: ?<end>)?\Z", "repeats": True, "content": "text"}
    tokenizer.response_template = {**RESPONSE_TEMPLATE, "fields": {"tool_calls": {**pattern, "transform": call}}}
    environment, rounds, seen = RetrievalEnvironment(), 2, []

    class Recorded(EpisodeTools):
        def reset(self, place: int, **row: Any) -> None:
            super().reset(place)
            self._place, self._actions = place, []

        def act(self, action: str) -> str:
            """
            Carry out one action.

            Args:
                action: The action.

            Returns:
                What happened.
            """
            self._actions.append(action)
            return super().act(action)

        def get_reward(self) -> float:
            seen.append((self._place, list(self._actions), super().get_reward()))
            return super().get_reward()

    trainer = GRPOTrainer(
        model=build_model(PolicyConfig(layers=1, width=32, heads=2, feed_forward=64), tokenizer, 0),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=200,
            generation_kwargs={"max_new_tokens": 6},
            max_tool_calling_iterations=rounds + 1,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            max_steps=1,
        ),
        train_dataset=Dataset.from_list(dataset_rows(environment, TASKS)),
        processing_class=tokenizer,
        environment_factory=lambda: Recorded(environment, TASKS, rounds),
    )
    trainer.train()
    assert len(seen) == 8
    for place, actions, reward in seen:
        assert actions
        assert play_protocol(environment, TASKS[place], rounds, actions)[1] == reward
