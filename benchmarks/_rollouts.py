"""The rollouts that are compared, each sampling the same episodes' law from the same model and tasks.

`sample_ours` is the sampler of the package. `sample_with_prefill` is what one writes first with `generate`: at every
turn the whole history of every live episode goes through the model again. `ToolLoop` is TRL's own `environment_factory`
loop in `GRPOTrainer`, with a chat template and a response template that render and parse the policy's own words, so
that its token sequences are those of the other rollouts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from benchmarks._kit import clock, grpo_arguments
from benchmarks._roofline import CountSampled, CountWork, Work
from reproduce.core.config import SamplingConfig
from reproduce.environments.retrieval import RetrievalEnvironment, RetrievalTask
from reproduce.environments.retrieval.vocabulary import ANSWER, SEARCH
from reproduce.environments.sequences import BEGIN, END, TURN
from reproduce.rollouts import EpisodeSampler, UniformStreams


@dataclass(frozen=True)
class Measured:
    """One timed rollout. The arrays have one entry an episode."""

    seconds: float
    success: np.ndarray
    rounds: np.ndarray
    sampled: np.ndarray
    """Tokens that the policy wrote."""
    work: Work


def sample_ours(
    sampler: EpisodeSampler[RetrievalTask],
    tasks: Sequence[RetrievalTask],
    task_of_episode: np.ndarray,
    rounds: int,
    stream: str,
    coalesce: bool,
) -> Measured:
    """The sampler of the package; coalesce: whether episodes with the same history share its computation."""
    count = len(task_of_episode)
    streams = UniformStreams((stream,), count)
    with CountSampled(sampler) as counted:
        caps, numbers = np.full(count, rounds), np.arange(count)
        seconds, batch = clock(
            lambda: sampler.sample(tasks, task_of_episode, caps, numbers, streams, coalesce), time.process_time
        )
    counted.work.forward_tokens = batch.forward_tokens
    episodes = [batch.trajectories[place] for place in batch.trajectory_of_episode]
    return Measured(
        seconds,
        batch.successes,
        np.array([episode.rounds for episode in episodes]),
        np.array([int(episode.from_policy.sum()) for episode in episodes]),
        counted.work,
    )


def sample_with_prefill(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    config: SamplingConfig,
    tasks: Sequence[RetrievalTask],
    task_of_episode: np.ndarray,
    rounds: int,
    seed: int,
) -> Measured:
    """`generate` on the left-padded histories of all live episodes at every turn; nothing is kept between turns."""
    environment, texts, ids_of_text = RetrievalEnvironment(), dict[tuple[int, ...], str](), dict[str, list[int]]()
    turn, end, pad = tokenizer.convert_tokens_to_ids(TURN), tokenizer.eos_token_id, tokenizer.pad_token_id
    generation = GenerationConfig(
        do_sample=True,
        temperature=config.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=config.longest_action,
        eos_token_id=end,
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
    )

    def encode(text: str) -> list[int]:
        if text not in ids_of_text:
            ids_of_text[text] = tokenizer(text, add_special_tokens=False).input_ids
        return ids_of_text[text]

    count, work = len(task_of_episode), Work()
    success, used, sampled = np.zeros(count, dtype=bool), np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    past: list[tuple[str, ...]] = [()] * count
    with CountWork(model) as counted, torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = time.process_time()
        histories = []
        for task in task_of_episode.tolist():
            message = encode(environment.close(tasks[task])) if rounds == 0 else []
            histories.append([tokenizer.bos_token_id, *encode(environment.reset(tasks[task])), *message, turn])
        live = list(range(count))
        while live:
            longest = max(len(histories[episode]) for episode in live)
            padded = np.full((len(live), longest), pad, dtype=np.int64)
            mask = np.zeros((len(live), longest), dtype=np.int64)
            for row, episode in enumerate(live):
                padded[row, longest - len(histories[episode]) :] = histories[episode]
                mask[row, longest - len(histories[episode]) :] = 1
            written = model.generate(
                input_ids=torch.from_numpy(padded), attention_mask=torch.from_numpy(mask), generation_config=generation
            )[:, longest:].tolist()
            going_on = []
            for episode, ids in zip(live, written, strict=True):
                ended = end in ids
                ids = ids[: ids.index(end) + 1] if ended else ids
                sampled[episode] += len(ids)
                # The last token drawn has not gone through the model: the next turn's prefill would take it.
                work.forward_tokens += len(histories[episode]) + len(ids) - 1
                key = tuple(ids[:-1] if ended else ids)
                if key not in texts:
                    texts[key] = tokenizer.decode(list(key), skip_special_tokens=False)
                task = tasks[task_of_episode[episode]]
                step = environment.step_closed if used[episode] == rounds else environment.step
                observation = step(task, past[episode], texts[key])
                if observation.done:
                    success[episode] = observation.success
                    continue
                past[episode] += (texts[key],)
                used[episode] += 1
                message = encode(environment.close(task)) if used[episode] == rounds else []
                histories[episode] += [*ids, *encode(observation.text), *message, turn]
                going_on.append(episode)
            live = going_on
        seconds = time.process_time() - start
    work.computed_positions = counted.work.computed_positions
    return Measured(seconds, success, used, sampled, work)


# ---- TRL's own loop

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    f"{{%- if message.role == 'user' -%}}{{{{ '{BEGIN} ' + message.content }}}}"
    f"{{%- elif message.role == 'assistant' -%}}{{{{ ' {TURN} ' + message.content }}}}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{ ' ' + call.function.name + ' ' + call.function.arguments | tojson }}"
    f"{{%- endfor -%}}{{{{ ' {END} ' }}}}"
    "{%- else -%}{{ message.content }}"
    "{%- endif -%}{%- endfor -%}"
    f"{{%- if add_generation_prompt -%}}{{{{ ' {TURN}' }}}}{{%- endif -%}}"
)
"""A chat in the policy's own words: question, `<turn>`, action, `<end>`, observation, `<turn>`, and so on."""

_NEITHER = f"(?!(?:{SEARCH}|{ANSWER})(?: |$))"
_FINAL = rf"(?:{_NEITHER}\S+ )*{ANSWER}(?: {_NEITHER}(?!{END})\S+)+(?: {END})?\Z"
"""An action with one command, `answer`, and an argument: what the environment accepts as an answer."""

RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": TURN,
    "fields": {
        # Whatever is not an answer goes to the tool whole, reasoning included, and the tool parses it as the
        # environment does: an invalid action costs a round and gets its message there too.
        "tool_calls": {
            "open_pattern": rf"\A(?!{_FINAL})(?P<action>.*?)(?: ?{END})?\Z",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "search", "arguments": {"query": "{action}"}}},
        },
        "content": {"content": "text"},
    },
}


class SearchTool:
    """The retrieval environment as TRL wants it: public functions are tools."""

    def __init__(self, tasks: Sequence[RetrievalTask], rounds: int) -> None:
        self._tasks, self._rounds, self._environment = tasks, rounds, RetrievalEnvironment()

    def reset(self, place: int, **row: Any) -> None:
        self._task, self._past = self._tasks[place], ()

    def search(self, query: str) -> str:
        """
        Search the paragraphs.

        Args:
            query: The action, with its reasoning.

        Returns:
            The best paragraph, and after the last round that only an answer is accepted now.
        """
        observation = self._environment.step(self._task, self._past, query)
        self._past += (query,)
        closing = f" {self._environment.close(self._task)}" if len(self._past) == self._rounds else ""
        return observation.text + closing

    def _grade(self, completion: list[dict[str, Any]]) -> bool:
        last = completion[-1]
        answer = "" if last.get("tool_calls") else last["content"]
        return self._environment.step_closed(self._task, self._past, answer).success


def exact_match(completions: list[Any], environments: list[SearchTool], **columns: Any) -> list[float]:
    """1 for an episode that ended with the right answer, else 0."""
    return [
        float(environment._grade(completion)) for environment, completion in zip(environments, completions, strict=True)
    ]


class _Timed(GRPOTrainer):
    """Times generation alone: chat template, `generate`, parsing and tool calls, without rewards and advantages."""

    def _generate(self, prompts: list[Any]) -> Any:
        self.work = Work()
        with CountWork(self.model) as counted:
            self.generation_seconds, output = clock(lambda: super(_Timed, self)._generate(prompts), time.process_time)
        self.work.computed_positions = counted.work.computed_positions
        self.sampled = np.array([sum(mask) for mask in output[2]])
        return output

    def _generate_single_turn(self, prompt_ids: Any, *arguments: Any, **named: Any) -> Any:
        output = super()._generate_single_turn(prompt_ids, *arguments, **named)
        self.work.forward_tokens += sum(map(len, prompt_ids)) + sum(map(len, output[0])) - len(prompt_ids)
        return output

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> Any:
        self.scores = super()._calculate_rewards(*arguments, **named)
        return self.scores


class ToolLoop:
    """TRL's `environment_factory` loop on the given tasks, every task asked `samples` times. Takes over the model."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        config: SamplingConfig,
        tasks: Sequence[RetrievalTask],
        samples: int,
        rounds: int,
        folder: Path,
    ) -> None:
        tokenizer.chat_template, tokenizer.response_template = CHAT_TEMPLATE, RESPONSE_TEMPLATE
        # Otherwise the parser notes once for each response where its anchor is not.
        logging.getLogger("transformers.utils.chat_parsing").setLevel(logging.WARNING)
        rows = [
            {"prompt": [{"role": "user", "content": task.question}], "place": place} for place, task in enumerate(tasks)
        ]
        self.inputs = [row for row in rows for _ in range(samples)]
        arguments = GRPOConfig(
            **grpo_arguments(folder),
            per_device_train_batch_size=len(self.inputs),
            num_generations=samples,
            temperature=config.temperature,
            top_p=1.0,
            top_k=0,
            # One generation is one action; without this it could be as long as the whole episode.
            generation_kwargs={"max_new_tokens": config.longest_action},
            max_completion_length=int(model.config.max_position_embeddings),
            max_tool_calling_iterations=rounds,
        )
        self.trainer = _Timed(
            model=model,
            reward_funcs=exact_match,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            environment_factory=lambda: SearchTool(tasks, rounds),
        )

    def sample(self, seed: int) -> Measured:
        """One batch, through the trainer's own path from inputs to advantages; only its generation is timed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trainer._generate_and_score_completions(self.inputs)
        return Measured(
            self.trainer.generation_seconds,
            self.trainer.scores[:, 0].bool().numpy(),
            np.array([len(environment._past) for environment in self.trainer.environments]),
            self.trainer.sampled,
            self.trainer.work,
        )
