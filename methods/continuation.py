"""Chains of the policy by the trainer's own generation, for `methods.resets.ResetRollouts`.

A prefix is continued by handing it to TRL as a part of the prompt, token ids as they were sampled, whether Hugging
Face's `generate` or vLLM writes the rest. A step is a line. Rewards are those of the trainer's reward functions.

Deviation from the paper, where each thought is a generation call of its own with a stop string: a chain is sampled in
one call and cut into steps afterwards. The law of the tokens is the same, up to the paper's caps of tokens per thought.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object

from methods.reset_buffer import Chain, Request, Seed
from methods.steps import newline_tokens, step_starts

REPLY = {"temperature": 0.3, "top_p": 0.95}
"""Sampling parameters of a localizer's reply (released code)."""
LONGEST_REPLY = 4096
"""Tokens of a reply (released code)."""


class TrainerChains:
    """A `Sampler` of `methods.reset_buffer` that asks `trainer`, for the prompts of one batch.

    rows: the columns of the data set of each prompt, by its place. As one call with all requests is one generation,
    several processes divide the requests and exchange the chains: all of them must call alike. Chains are as long as
    `max_completion_length`, prefix included, and end after `Request.steps` more steps. Raises ValueError for a reward
    model, which cannot be asked for single chains here.
    """

    def __init__(self, trainer: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        self.trainer, self.rows = trainer, rows
        self.tokenizer = trainer._tokenizer
        self.limit = trainer.max_completion_length
        self.ends = [token for token in trainer.eos_token_ids if token is not None]
        vocabulary = int(trainer.model.config.get_text_config().vocab_size)
        self.newlines = newline_tokens(self.tokenizer, vocabulary, None)
        self.row_of_prompt: dict[tuple[int, ...], Mapping[str, Any]] = {}

    def __call__(self, requests: Sequence[Request]) -> list[Chain | None]:
        """The chains of the requests; None where a prefix leaves no room."""
        for one in requests:
            self.row_of_prompt[one.prompt_ids] = self.rows[one.place]
        return self._divided(requests, self._chains)

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """Token ids of prompts, by the chat template where they are conversations. Raises ValueError for images."""
        ids, images, _ = self.trainer._tokenize_prompts(list(prompts))
        if images is not None:
            raise ValueError("resets continue text; prompts with images need a sampler of their own")
        return [list(one) for one in ids]

    def problem_and_steps(self, seed: Seed) -> tuple[str, list[str]]:
        """The prompt of a seed and its steps as text; of a conversation the last message counts."""
        prompt = self.row_of_prompt[seed.prompt_ids]["prompt"]
        bounds = zip((0, *seed.chain.step_ends), seed.chain.step_ends, strict=False)
        steps = self.tokenizer.batch_decode(
            [list(seed.chain.token_ids[start:end]) for start, end in bounds], skip_special_tokens=True
        )
        return prompt if isinstance(prompt, str) else str(prompt[-1]["content"]), [step.strip() for step in steps]

    def replies(self, texts: Sequence[str]) -> list[tuple[str, int]]:
        """Answers of the policy to texts, sent as a user's message where there is a chat template, and their tokens."""
        asked: list[Any] = list(texts)
        if self.tokenizer.chat_template is not None:
            asked = [[{"role": "user", "content": text}] for text in texts]

        def answer(prompts: Sequence[Any]) -> list[tuple[str, int]]:
            with sampling(self.trainer, LONGEST_REPLY, **REPLY):
                ids, _ = self.trainer._generate_single_turn(self.encode(prompts), None, {}, num_generations=1)
            written = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
            return list(zip(written, map(len, ids), strict=True))

        return self._divided(asked, answer)

    def entropies(self, seeds: Sequence[Seed]) -> list[list[float]]:
        """Entropy of the policy at each token of each chain, nats at the sampling temperature."""

        def score(mine: Sequence[Seed]) -> list[list[float]]:
            found = []
            for seed in mine:
                ids = torch.tensor([[*seed.prompt_ids, *seed.chain.token_ids]], device=self.trainer.accelerator.device)
                _, entropies, _ = self.trainer._get_per_token_logps_and_entropies(
                    self.trainer.model, ids, torch.ones_like(ids), len(seed.chain.token_ids), compute_entropy=True
                )
                found.append(entropies[0].float().tolist())
            return found

        # Every process scores every seed: sharded weights meet in each forward pass.
        return score(seeds)

    def _chains(self, requests: Sequence[Request]) -> list[Chain | None]:
        rooms = [self.limit - len(one.prefix_ids) for one in requests]
        with sampling(self.trainer, max(1, *rooms)):
            written, log_probabilities = self.trainer._generate_single_turn(
                [[*one.prompt_ids, *one.prefix_ids] for one in requests], None, {}, num_generations=1
            )
        found: list[tuple[Request, list[int], tuple[int, ...], Any] | None] = []
        for place, (one, new, room) in enumerate(zip(requests, written, rooms, strict=True)):
            tokens, ends = self._cut([*one.prefix_ids, *new[: max(0, room)]], one)
            told = None if log_probabilities is None else log_probabilities[place]
            found.append((one, tokens, ends, told) if len(tokens) > len(one.prefix_ids) else None)
        kept = [item for item in found if item is not None]
        outcomes = iter(self._graded([(self.rows[one.place], tokens) for one, tokens, _, _ in kept]))
        return [None if item is None else self._chain(*item, *next(outcomes)) for item in found]

    def _cut(self, tokens: list[int], request: Request) -> tuple[list[int], tuple[int, ...]]:
        """The chain up to the last step that may be written, and where its steps end."""
        given = self.step_ends(list(request.prefix_ids))
        ends = self.step_ends(tokens)[: len(given) + request.steps]
        return tokens[: ends[-1]], ends

    def step_ends(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """For each line with a word in it the tokens up to and with it; blank lines belong to the one before."""
        if not tokens:
            return ()
        ids = torch.tensor([list(tokens)])
        everything = torch.ones_like(ids, dtype=torch.bool)
        starts = step_starts(self.newlines[ids], everything, torch.isin(ids, torch.tensor(self.ends)))
        return (*starts[0].nonzero()[1:, 0].tolist(), len(tokens))

    def _chain(
        self, one: Request, tokens: list[int], ends: tuple[int, ...], told: Any, reward: float, correct: bool
    ) -> Chain:
        logprobs = None
        if told is not None:
            # Nobody sampled the prefix; the policy mask keeps it out of every loss.
            new = len(tokens) - len(one.prefix_ids)
            logprobs = (*[0.0] * len(one.prefix_ids), *(float("nan") if x is None else float(x) for x in told[:new]))
        return Chain(tuple(tokens), ends, reward, correct, log_probabilities=logprobs)

    def _graded(self, chains: Sequence[tuple[Mapping[str, Any], list[int]]]) -> list[tuple[float, bool]]:
        """Weighted total reward of each chain, and whether it is a success by the rule of `methods.grpo`.

        A chain that no reward function scores is no failure to be reset.
        """
        if not chains:
            return []
        trainer, rows = self.trainer, [row for row, _ in chains]
        ids = [tokens for _, tokens in chains]
        completions: list[Any] = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        if not isinstance(rows[0]["prompt"], str):
            completions = [[{"role": "assistant", "content": text}] for text in completions]
        extra: dict[str, list[Any]] = {}
        columns: dict[str, Any] = {
            name: [row[name] for row in rows] for name in rows[0] if name not in ("prompt", "completion")
        }
        columns |= {"trainer_state": trainer.state, "log_extra": lambda name, values: extra.update({name: values})}
        columns |= {"log_metric": lambda name, value: None, "prompts": [row["prompt"] for row in rows]}
        totals, known = torch.zeros(len(rows)), torch.zeros(len(rows), dtype=torch.bool)
        for function, weight in zip(trainer.reward_funcs, trainer.reward_weights.tolist(), strict=True):
            if isinstance(function, torch.nn.Module):
                raise ValueError("a reward model cannot be asked for single chains: give `sample`, or a function")
            rewards = function(completions=completions, completion_ids=ids, **columns)
            rewards = asyncio.run(rewards) if inspect.iscoroutine(rewards) else rewards
            for row, reward in enumerate(rewards):
                if reward is not None:
                    totals[row], known[row] = totals[row] + weight * reward, True
        told = extra.get("success") or [None] * len(rows)
        return [
            (total, not scored or trainer.is_success(total) if right is None else bool(right))
            for total, scored, right in zip(totals.tolist(), known.tolist(), told, strict=True)
        ]

    def _divided(self, items: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
        """`work` on all items, divided among the processes, each of which calls it once or none does."""
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1 or not items:
            return work(items) if items else []
        mine = items[accelerator.process_index :: accelerator.num_processes]
        # A process without a share works on the first item all the same: generation is a call of all processes.
        found = gather_object([work(mine or items[:1])])
        done: list[Any] = [None] * len(items)
        for rank, part in enumerate(found):
            places = range(rank, len(items), accelerator.num_processes)
            for place, value in zip(places, part, strict=False):
                done[place] = value
        return done


@contextmanager
def sampling(trainer: Any, longest: int, **changes: float) -> Iterator[None]:
    """While the trainer samples at most `longest` tokens, with other parameters where these are given."""
    if trainer.use_vllm:
        engine, told = trainer.vllm_generation, {"max_completion_length": longest, **changes}
        before = {name: getattr(engine, name) for name in told}
        set_all(engine, told)
        try:
            yield
        finally:
            set_all(engine, before)
        return
    usual, arguments = trainer.generation_config, trainer.generation_kwargs
    changed = arguments | {"max_new_tokens": longest} | changes
    trainer.generation_kwargs = changed
    trainer.generation_config = type(usual)(**changed, disable_compile=True)
    try:
        yield
    finally:
        trainer.generation_config, trainer.generation_kwargs = usual, arguments


def set_all(target: Any, values: Mapping[str, Any]) -> None:
    """Set attributes by name."""
    for name, value in values.items():
        setattr(target, name, value)
